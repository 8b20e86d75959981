//! Claims: of volumes (`pkg/quota/v1/evaluator/core/persistent_volume_claims.go`) and of devices
//! (`…/resource_claims.go`).

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Amounts, one, units};
use crate::{
    meta,
    quantity::{Format, Quantity},
};

const CLASS: &str = ".storageclass.storage.k8s.io/";
/// Ending of the quota of a device class.
pub(super) const DEVICES: &str = ".deviceclass.resource.k8s.io/devices";
/// Most devices that one request can get: what "all" is counted as.
const MOST_DEVICES: usize = 32;
const CLAIMS: &str = "persistentvolumeclaims";
const STORAGE: &str = "requests.storage";

pub(super) fn tracks(name: &str) -> bool {
    let plain = |name: &str| matches!(name, CLAIMS | STORAGE);
    plain(name) || name.split_once(CLASS).is_some_and(|(_, rest)| plain(rest))
}

fn whole(quantity: Quantity) -> Quantity {
    if quantity.is_integer() {
        quantity
    } else {
        Quantity::from_units(quantity.value(), quantity.format())
    }
}

pub(super) fn usage(claim: &Value, used: &mut Amounts) {
    let class = meta::annotation(claim, "volume.beta.kubernetes.io/storage-class")
        .or_else(|| claim["spec"]["storageClassName"].as_str())
        .filter(|class| !class.is_empty());
    let read = |value: &Value| Quantity::from_value(value).ok();
    let asked = read(&claim["spec"]["resources"]["requests"]["storage"]);
    let given = read(&claim["status"]["allocatedResources"]["storage"]);
    let storage = match (asked, given) {
        (Some(asked), Some(given)) if given > asked => Some(given),
        (asked, _) => asked,
    };
    let mut put = |name: &str, amount: Quantity| {
        used.insert(name.to_owned(), amount);
        if let Some(class) = class {
            used.insert(format!("{class}{CLASS}{name}"), amount);
        }
    };
    put(CLAIMS, one());
    if let Some(storage) = storage {
        put(STORAGE, whole(storage));
    }
}

/// Names of every volume attributes class that a claim has or is to get.
pub(super) fn attributes_classes(claim: &Value) -> BTreeSet<&str> {
    let status = &claim["status"];
    [
        &claim["spec"]["volumeAttributesClassName"],
        &status["currentVolumeAttributesClassName"],
        &status["modifyVolumeStatus"]["targetVolumeAttributesClassName"],
    ]
    .into_iter()
    .filter_map(Value::as_str)
    .filter(|name| !name.is_empty())
    .collect()
}

/// Whether a status update changes what a claim uses or where it counts.
pub(super) fn changes_use(new: &Value, old: &Value) -> bool {
    let given = |claim: &Value| claim["status"]["allocatedResources"]["storage"].clone();
    given(new) != given(old) || attributes_classes(new) != attributes_classes(old)
}

pub(super) fn device_usage(claim: &Value, used: &mut Amounts) {
    let devices = |request: &Value| {
        if request["allocationMode"] == "All" {
            units(MOST_DEVICES)
        } else {
            Quantity::from_units(request["count"].as_i64().unwrap_or(1), Format::DecimalSi)
        }
    };
    let class = |request: &Value| {
        let name = request["deviceClassName"].as_str()?;
        Some(format!("{name}{DEVICES}"))
    };
    for request in claim["spec"]["devices"]["requests"]
        .as_array()
        .into_iter()
        .flatten()
    {
        // Of alternatives, the worst case for each class.
        let mut worst = Amounts::new();
        let alternatives = request["firstAvailable"]
            .as_array()
            .map_or(&[][..], Vec::as_slice);
        for alternative in alternatives.iter().chain([&request["exactly"]]) {
            let Some(name) = class(alternative) else { continue };
            let amount = devices(alternative);
            let known = worst.entry(name).or_insert(amount);
            *known = (*known).max(amount);
        }
        super::add(used, &worst);
    }
}

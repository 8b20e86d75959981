//! Volumes, claims and storage.k8s.io.

mod volumes;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::support::{
    immutable, label_selector, list, nonnegative, nonnegative_quantity, required, same, text,
};
use crate::field::{Error, ErrorList, Path};
use crate::names;

use volumes::{Within, volume_spec};
pub(super) use volumes::{claim_spec, claim_status, claim_update, volume, volume_update};

/// Parameters of a class: how many, and how long all together, in bytes.
const MAX_PARAMETERS: usize = 512;
const MAX_PARAMETERS_SIZE: usize = 256 * 1024;
/// Longest message of an attachment's error, and how long upstream says it may be, in bytes.
const MAX_ERROR: usize = 1024;
const MAX_ERROR_SAID: usize = 256 * 1024;
/// Longest id that a driver gives a node, in bytes.
const MAX_NODE_ID: usize = 256;

pub(super) fn create(kind: &str, o: &Value, errs: &mut ErrorList) {
    match kind {
        "StorageClass" => storage_class(o, errs),
        "VolumeAttachment" => {
            attachment(o, errs);
            let (s, p) = (&o["spec"], Path::new("spec"));
            driver_name(text(s, "attacher"), &p.child("attacher"), errs);
            if let Some(volume) = s["source"]["persistentVolumeName"].as_str() {
                let at = p.child("source").child("persistentVolumeName");
                errs.invalid_each(&at, volume, names::dns1123_subdomain(volume));
            }
        }
        "CSINode" => csi_node(o, errs),
        "CSIDriver" => csi_driver(o, errs),
        "CSIStorageCapacity" => {
            label_selector(&o["nodeTopology"], &Path::new("nodeTopology"), errs);
            let class = text(o, "storageClassName");
            errs.invalid_each(
                &Path::new("storageClassName"),
                class,
                names::dns1123_subdomain(class),
            );
            if !o["capacity"].is_null() {
                nonnegative_quantity(&o["capacity"], &Path::new("capacity"), errs);
            }
        }
        "VolumeAttributesClass" => {
            provisioner(text(o, "driverName"), &Path::new("driverName"), errs);
            parameters(&o["parameters"], false, errs);
        }
        _ => {}
    }
}

pub(super) fn update(kind: &str, new: &Value, old: &Value, errs: &mut ErrorList) {
    match kind {
        // Names may be tighter for what is new than for what is there.
        "VolumeAttachment" => attachment(new, errs),
        "CSINode" => {
            csi_node(new, errs);
            csi_node(new, errs);
        }
        _ => create(kind, new, errs),
    }
    let forbidden: &[&str] = match kind {
        "StorageClass" => &["parameters", "provisioner", "reclaimPolicy"],
        "VolumeAttributesClass" => &["driverName", "parameters"],
        _ => &[],
    };
    for f in forbidden.iter().filter(|f| !same(&new[**f], &old[**f])) {
        errs.push(Error::forbidden(
            &Path::new(f),
            format!("updates to {f} are forbidden."),
        ));
    }
    match kind {
        "StorageClass" => immutable(
            &new["volumeBindingMode"],
            &old["volumeBindingMode"],
            &Path::new("volumeBindingMode"),
            errs,
        ),
        "VolumeAttachment" => immutable(&new["spec"], &old["spec"], &Path::new("spec"), errs),
        "CSIStorageCapacity" => {
            for f in ["nodeTopology", "storageClassName"] {
                immutable(&new[f], &old[f], &Path::new(f), errs);
            }
        }
        "CSIDriver" => {
            let p = Path::new("spec");
            // As upstream spells them.
            for (field, shown) in [
                ("attachRequired", "attachedRequired"),
                ("volumeLifecycleModes", "volumeLifecycleModes"),
            ] {
                immutable(&new["spec"][field], &old["spec"][field], &p.child(shown), errs);
            }
        }
        "CSINode" => known_drivers(new, old, errs),
        _ => {}
    }
}

fn storage_class(o: &Value, errs: &mut ErrorList) {
    provisioner(text(o, "provisioner"), &Path::new("provisioner"), errs);
    parameters(&o["parameters"], true, errs);
    let known = |field: &str, known: &[&str], errs: &mut ErrorList| match o[field].as_str() {
        None => errs.push(Error::required(&Path::new(field), "")),
        Some(given) if known.contains(&given) => {}
        Some(given) => errs.push(Error::not_supported(&Path::new(field), given, known)),
    };
    if o["reclaimPolicy"] != "" {
        known("reclaimPolicy", &["Delete", "Retain"], errs);
    }
    known("volumeBindingMode", &["Immediate", "WaitForFirstConsumer"], errs);
    topologies(o, errs);
}

fn provisioner(name: &str, path: &Path, errs: &mut ErrorList) {
    if name.is_empty() {
        errs.push(Error::required(path, ""));
    } else {
        let lower = name.to_lowercase();
        errs.invalid_each(path, &lower, names::qualified_name(&lower));
    }
}

fn parameters(parameters: &Value, may_be_empty: bool, errs: &mut ErrorList) {
    let path = Path::new("parameters");
    let entries = parameters.as_object();
    let count = entries.map_or(0, serde_json::Map::len);
    if count > MAX_PARAMETERS {
        errs.push(Error::too_long(&path, MAX_PARAMETERS));
        return;
    }
    let mut size = 0;
    for (key, value) in entries.into_iter().flatten() {
        if key.is_empty() {
            errs.push(Error::invalid(&path, "", "field can not be empty."));
        }
        size += key.len() + value.as_str().unwrap_or("").len();
    }
    if size > MAX_PARAMETERS_SIZE {
        errs.push(Error::too_long(&path, MAX_PARAMETERS_SIZE));
    }
    if !may_be_empty && count == 0 {
        errs.push(Error::required(&path, "must contain at least one key/value pair"));
    }
}

fn topologies(o: &Value, errs: &mut ErrorList) {
    let path = Path::new("allowedTopologies");
    let terms = list(&o["allowedTopologies"]);
    // Upstream begins with as many empty ones as there are, so that an empty one repeats them all.
    let mut seen: Vec<BTreeMap<&str, BTreeSet<&str>>> = vec![BTreeMap::new(); terms.len()];
    for (i, term) in terms.iter().enumerate() {
        let at = path.index(i).child("matchLabelExpressions");
        let mut found = BTreeMap::new();
        for (j, expression) in list(&term["matchLabelExpressions"]).iter().enumerate() {
            let at = at.index(j);
            let (key, values) = (text(expression, "key"), list(&expression["values"]));
            if values.is_empty() {
                errs.push(Error::required(&at.child("values"), ""));
            }
            let mut set = BTreeSet::new();
            for (k, value) in values.iter().enumerate() {
                let value = value.as_str().unwrap_or("");
                if !set.insert(value) {
                    errs.push(Error::duplicate(&at.child("values").index(k), value));
                }
            }
            errs.invalid_each(&at.child("key"), key, names::qualified_name(key));
            if found.insert(key, set).is_some() {
                errs.push(Error::duplicate(&at.child("key"), key));
            }
        }
        for _ in seen.iter().filter(|other| **other == found) {
            errs.push(Error::duplicate(&at, ""));
        }
        seen.push(found);
    }
}

fn attachment(o: &Value, errs: &mut ErrorList) {
    let (s, p) = (&o["spec"], Path::new("spec"));
    required(&s["attacher"], &p.child("attacher"), errs);
    let at = p.child("source");
    let one = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
    let (inline, name) = (
        &s["source"]["inlineVolumeSpec"],
        &s["source"]["persistentVolumeName"],
    );
    match (inline.is_object(), name.as_str()) {
        (false, None) => errs.push(Error::required(&at, one)),
        (true, Some(_)) => errs.push(Error::forbidden(&at, one)),
        (false, Some("")) => errs.push(Error::required(
            &at.child("persistentVolumeName"),
            "must specify non empty persistentVolumeName",
        )),
        (false, Some(_)) => {}
        (true, None) => volume_spec(
            inline,
            "",
            Within::Attachment,
            &at.child("inlineVolumeSpec"),
            errs,
        ),
    }
    let node = text(s, "nodeName");
    errs.invalid_each(&p.child("nodeName"), node, names::dns1123_subdomain(node));
    for field in ["attachError", "detachError"] {
        let (error, at) = (&o["status"][field], Path::new("status").child(field));
        if text(error, "message").len() > MAX_ERROR {
            errs.push(Error::too_long(&at.child("message"), MAX_ERROR_SAID));
        }
        if let Some(code) = error["errorCode"].as_i64().filter(|code| *code < 0) {
            errs.push(Error::invalid(
                &at.child("errorCode"),
                code,
                names::inclusive_range_error(0, i64::from(i32::MAX)),
            ));
        }
    }
}

/// A CSI driver's name.
pub(super) fn driver_name(name: &str, path: &Path, errs: &mut ErrorList) {
    if name.is_empty() {
        errs.push(Error::required(path, ""));
        return;
    }
    if name.len() > 63 {
        errs.push(Error::too_long(path, 63));
    }
    errs.invalid_each(path, name, names::dns1123_subdomain(&name.to_lowercase()));
}

fn csi_node(o: &Value, errs: &mut ErrorList) {
    let mut seen = BTreeSet::new();
    for (i, driver) in list(&o["spec"]["drivers"]).iter().enumerate() {
        let p = Path::new("spec").child("drivers").index(i);
        let name = text(driver, "name");
        driver_name(name, &p.child("name"), errs);
        let (id, at) = (text(driver, "nodeID"), p.child("nodeID"));
        required(&driver["nodeID"], &at, errs);
        if id.len() > MAX_NODE_ID {
            errs.push(Error::invalid(
                &at,
                id,
                format!("must be {MAX_NODE_ID} characters or less"),
            ));
        }
        nonnegative(
            &driver["allocatable"]["count"],
            &p.child("allocatable").child("count"),
            errs,
        );
        if !seen.insert(name) {
            errs.push(Error::duplicate(&p.child("name"), name));
        }
        let mut keys = BTreeSet::new();
        for key in list(&driver["topologyKeys"]) {
            let key = key.as_str().unwrap_or("");
            if key.is_empty() {
                errs.push(Error::required(&p, ""));
            }
            if !keys.insert(key) {
                errs.push(Error::duplicate(&p, key));
            }
            errs.invalid_each(&p, key, names::qualified_name(key));
        }
    }
}

/// A driver that a node has stays as it is, but for how many volumes it can have (KEP-4876).
fn known_drivers(new: &Value, old: &Value, errs: &mut ErrorList) {
    let bare = |driver: &Value| {
        let mut driver = driver.clone();
        driver.as_object_mut().map(|fields| fields.remove("allocatable"));
        driver
    };
    for was in list(&old["spec"]["drivers"]) {
        for now in list(&new["spec"]["drivers"]) {
            if now["name"] == was["name"] {
                immutable(&bare(now), &bare(was), &Path::new("spec").child("drivers"), errs);
            }
        }
    }
}

fn csi_driver(o: &Value, errs: &mut ErrorList) {
    let (s, p) = (&o["spec"], Path::new("spec"));
    for (field, shown) in [
        ("attachRequired", "attachedRequired"),
        ("podInfoOnMount", "podInfoOnMount"),
        ("storageCapacity", "storageCapacity"),
    ] {
        if s[field].is_null() {
            errs.push(Error::required(&p.child(shown), ""));
        }
    }
    let policies = &["File", "None", "ReadWriteOnceWithFSType"];
    if let Some(policy) = s["fsGroupPolicy"]
        .as_str()
        .filter(|policy| !policies.contains(policy))
    {
        errs.push(Error::not_supported(&p.child("fsGroupPolicy"), policy, policies));
    }
    token_requests(&s["tokenRequests"], &p.child("tokenRequests"), errs);
    for mode in list(&s["volumeLifecycleModes"]) {
        let modes = &["Persistent", "Ephemeral"];
        let mode = mode.as_str().unwrap_or("");
        if !modes.contains(&mode) {
            errs.push(Error::not_supported(
                &p.child("volumeLifecycleModes"),
                mode,
                modes,
            ));
        }
    }
    if s["seLinuxMount"].is_null() {
        errs.push(Error::required(&p.child("seLinuxMount"), ""));
    }
    let field = "nodeAllocatableUpdatePeriodSeconds";
    if let Some(seconds) = s[field].as_i64().filter(|seconds| *seconds < 10) {
        errs.push(Error::invalid(
            &p.child(field),
            seconds,
            "must be greater than or equal to 10 seconds",
        ));
    }
    let field = "serviceAccountTokenInSecrets";
    if !s[field].is_null() && list(&s["tokenRequests"]).is_empty() {
        errs.push(Error::invalid(
            &p.child(field),
            json!(s[field]),
            "serviceAccountTokenInSecrets is set but no tokenRequests are specified",
        ));
    }
}

fn token_requests(requests: &Value, path: &Path, errs: &mut ErrorList) {
    let mut audiences = BTreeSet::new();
    for (i, request) in list(requests).iter().enumerate() {
        let at = path.index(i);
        let audience = text(request, "audience");
        if !audiences.insert(audience) {
            errs.push(Error::duplicate(&at.child("audience"), audience));
            continue;
        }
        let at = at.child("expirationSeconds");
        let Some(seconds) = request["expirationSeconds"].as_i64() else {
            continue;
        };
        if seconds < 600 {
            let why = "may not specify a duration less than 10 minutes";
            errs.push(Error::invalid(&at, seconds, why));
        }
        if seconds > 1 << 32 {
            let why = "may not specify a duration larger than 2^32 seconds";
            errs.push(Error::invalid(&at, seconds, why));
        }
    }
}

#[cfg(test)]
mod tests;

//! ResourceSlices. What belongs to features that are off was dropped before.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

use super::{driver, label, pool, qualified, sized, unique};
use crate::field::{Error, ErrorList, Path};
use crate::names;
use crate::validation::pod;
use crate::validation::support::{list, text};

const MOST_DEVICES: usize = 128;
/// Attributes and capacities of a device together.
const MOST_FACTS: usize = 32;
/// Bytes of the value of an attribute.
const LONGEST_VALUE: usize = 64;
/// Bytes of a name with its domain; longer ones are cut in paths.
const LONGEST_NAME: usize = 63 + 1 + 32;
const ONE_PLACE: &str =
    "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";

static SEMVER: LazyLock<Regex> = LazyLock::new(|| {
    let number = r"(0|[1-9]\d*)";
    let before = r"(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)";
    let build = r"[0-9a-zA-Z-]+";
    Regex::new(&format!(
        r"^{number}\.{number}\.{number}(-{before}(\.{before})*)?(\+{build}(\.{build})*)?$"
    ))
    .expect("a regular expression")
});

pub(super) fn check(spec: &Value, path: &Path, errs: &mut ErrorList) {
    driver(text(spec, "driver"), &path.child("driver"), errs);
    let p = path.child("pool");
    pool(text(&spec["pool"], "name"), &p.child("name"), errs);
    let number = |field: &str| spec["pool"][field].as_i64().unwrap_or(0);
    if number("resourceSliceCount") <= 0 {
        errs.push(Error::invalid(
            &p.child("resourceSliceCount"),
            number("resourceSliceCount"),
            "must be greater than zero",
        ));
    }
    if number("generation") < 0 {
        errs.push(Error::invalid(
            &p.child("generation"),
            number("generation"),
            "must be greater than or equal to zero",
        ));
    }
    place(spec, path, errs);
    let devices = path.child("devices");
    sized(&spec["devices"], MOST_DEVICES, &devices, errs);
    unique(&spec["devices"], &devices, errs);
    for (i, d) in list(&spec["devices"]).iter().enumerate() {
        device(d, &devices.index(i), errs);
    }
}

/// Where the devices are.
fn place(spec: &Value, path: &Path, errs: &mut ErrorList) {
    let mut set = vec![];
    if let Some(node) = spec["nodeName"].as_str() {
        let p = path.child("nodeName");
        if node.is_empty() {
            let why = "must be either unset or set to a non-empty string";
            errs.push(Error::invalid(&p, "", why));
        } else {
            set.push("`nodeName`");
            errs.invalid_each(&p, node, names::dns1123_subdomain(node));
        }
    }
    if spec["nodeSelector"].is_object() {
        set.push("`nodeSelector`");
        let p = path.child("nodeSelector");
        pod::node_selector(&spec["nodeSelector"], &p, errs);
        let terms = &spec["nodeSelector"]["nodeSelectorTerms"];
        if list(terms).len() != 1 {
            let why = "must have exactly one node selector term";
            errs.push(Error::invalid(&p.child("nodeSelectorTerms"), terms.clone(), why));
        }
    }
    match spec["allNodes"].as_bool() {
        Some(true) => set.push("`allNodes`"),
        Some(false) => {
            let why = "must be either unset or set to true";
            errs.push(Error::invalid(&path.child("allNodes"), false, why));
        }
        None => {}
    }
    match set.len() {
        0 => errs.push(Error::required(path, ONE_PLACE)),
        1 => {}
        _ => errs.push(Error::invalid(
            path,
            format!("{{{}}}", set.join(", ")),
            format!("{ONE_PLACE}, but multiple fields are set"),
        )),
    }
}

fn device(d: &Value, path: &Path, errs: &mut ErrorList) {
    label(text(d, "name"), &path.child("name"), errs);
    let count = |field: &str| d[field].as_object().map_or(0, serde_json::Map::len);
    let facts = count("attributes") + count("capacity");
    if facts > MOST_FACTS {
        let why = format!("the total number of attributes and capacities must not exceed {MOST_FACTS}");
        errs.push(Error::invalid(path, facts, why));
    }
    for field in ["attributes", "capacity"] {
        for (name, value) in d[field].as_object().into_iter().flatten() {
            let p = path.child(field).key(&shortened(name));
            qualified(name, &p, errs);
            if field == "attributes" {
                attribute(value, &p, errs);
            }
        }
    }
}

fn shortened(name: &str) -> String {
    if name.len() <= LONGEST_NAME || !name.is_ascii() {
        return name.to_owned();
    }
    let left = LONGEST_NAME - 3;
    format!(
        "{}...{}",
        &name[..left.div_ceil(2)],
        &name[name.len() - left / 2..]
    )
}

fn attribute(v: &Value, path: &Path, errs: &mut ErrorList) {
    for field in ["string", "version"] {
        let Some(value) = v[field].as_str() else { continue };
        let p = path.child(field);
        if field == "version" && !SEMVER.is_match(value) {
            let why = "must be a string compatible with semver.org spec 2.0.0";
            errs.push(Error::invalid(&p, value, why));
        }
        if value.len() > LONGEST_VALUE {
            errs.push(Error::too_long(&p, LONGEST_VALUE));
        }
    }
    let fields = ["int", "bool", "string", "version"];
    let why = "exactly one value must be specified";
    match fields.iter().filter(|f| !v[**f].is_null()).count() {
        0 => errs.push(Error::invalid(path, "", why)),
        1 => {}
        _ => errs.push(Error::invalid(path, v.clone(), why)),
    }
}

//! Volume sources of particular storage systems; of most only what must be given.

use serde_json::Value;

use super::super::storage::driver_name;
use super::super::support::{list, one_if_given, required, text};
use crate::field::{Error, ErrorList, Path};
use crate::names;

/// Fields of each source that must be given.
const REQUIRED: &[(&str, &[&str])] = &[
    ("gitRepo", &["repository"]),
    ("gcePersistentDisk", &["pdName"]),
    ("awsElasticBlockStore", &["volumeID"]),
    ("glusterfs", &["endpoints", "path"]),
    ("rbd", &["monitors", "image"]),
    ("cinder", &["volumeID"]),
    ("cephfs", &["monitors"]),
    ("flexVolume", &["driver"]),
    ("azureFile", &["secretName", "shareName"]),
    ("azureDisk", &["diskName", "diskURI"]),
    ("vsphereVolume", &["volumePath"]),
    ("photonPersistentDisk", &["pdID"]),
    ("portworxVolume", &["volumeID"]),
    ("scaleIO", &["gateway", "system", "volumeName"]),
    ("storageos", &["volumeName"]),
    ("iscsi", &["targetPortal", "iqn"]),
];

/// Where upstream's errors say another name than the field's.
pub(super) fn shown(name: &str) -> &str {
    match name {
        "gcePersistentDisk" => "persistentDisk",
        other => other,
    }
}

pub(super) fn source(name: &str, s: &Value, of_pod: bool, p: &Path, errs: &mut ErrorList) {
    let must = REQUIRED.iter().find(|(of, _)| *of == name);
    for field in must.map_or(&[][..], |(_, fields)| fields) {
        required(&s[*field], &p.child(field), errs);
    }
    match name {
        "gitRepo" => super::volume::descending_path(text(s, "directory"), &p.child("directory"), errs),
        "gcePersistentDisk" | "awsElasticBlockStore" => {
            if let Some(n) = s["partition"].as_i64().filter(|n| !(0..=255).contains(n)) {
                let why = names::inclusive_range_error(1, 255);
                errs.push(Error::invalid(&p.child("partition"), n, why));
            }
        }
        "cinder" | "storageos" if s["secretRef"].is_object() => {
            required(&s["secretRef"]["name"], &p.child("secretRef").child("name"), errs);
        }
        _ => {}
    }
    match name {
        "storageos" => {
            for field in ["volumeName", "volumeNamespace"] {
                let value = text(s, field);
                if !value.is_empty() {
                    errs.invalid_each(&p.child(field), value, names::dns1123_label(value));
                }
            }
        }
        "iscsi" => iscsi(s, of_pod, p, errs),
        "fc" => fibre_channel(s, p, errs),
        "quobyte" => quobyte(s, p, errs),
        "flocker" => flocker(s, p, errs),
        "flexVolume" => reserved_options(&s["options"], &p.child("options"), errs),
        "azureDisk" => azure_disk(s, p, errs),
        "csi" => {
            driver_name(text(s, "driver"), &p.child("driver"), errs);
            if of_pod && s["nodePublishSecretRef"].is_object() {
                let name = text(&s["nodePublishSecretRef"], "name");
                if name.is_empty() {
                    errs.push(Error::required(
                        &p.child("nodePublishSecretRef").child("name"),
                        "",
                    ));
                } else {
                    errs.invalid_each(&p.child("name"), name, names::dns1123_subdomain(name));
                }
            }
        }
        _ => {}
    }
}

/// What a PersistentVolume's source has beside.
pub(super) fn persistent(name: &str, s: &Value, volume: &str, p: &Path, errs: &mut ErrorList) {
    match name {
        "cinder" | "storageos" if s["secretRef"].is_object() => {
            let at = p.child("secretRef").child("namespace");
            required(&s["secretRef"]["namespace"], &at, errs);
        }
        "glusterfs" => match s["endpointsNamespace"].as_str() {
            None => {}
            Some("") => errs.push(Error::invalid(
                &p.child("endpointsNamespace"),
                "",
                "if the endpointnamespace is set, it must be a valid namespace name",
            )),
            Some(namespace) => errs.invalid_each(
                &p.child("endpointsNamespace"),
                namespace,
                names::dns1123_label(namespace),
            ),
        },
        "azureFile" if s["secretNamespace"] == "" => {
            errs.push(Error::required(&p.child("secretNamespace"), ""));
        }
        "iscsi" => {
            let portal = text(s, "targetPortal");
            if !s["initiatorName"].is_null() && volume.len() + 1 + portal.len() > 64 {
                let why = "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is specified.";
                errs.push(Error::invalid(&p.child("targetportal"), portal, why));
            }
            if s["secretRef"].is_object() {
                required(&s["secretRef"]["name"], &p.child("secretRef").child("name"), errs);
            }
        }
        "csi" => {
            required(&s["volumeHandle"], &p.child("volumeHandle"), errs);
            for field in [
                "controllerPublishSecretRef",
                "controllerExpandSecretRef",
                "nodePublishSecretRef",
                "nodeExpandSecretRef",
            ] {
                if s[field].is_object() {
                    secret_reference(&s[field], &p.child(field), errs);
                }
            }
        }
        _ => {}
    }
}

/// A secret in some namespace.
fn secret_reference(secret: &Value, p: &Path, errs: &mut ErrorList) {
    type Check = fn(&str) -> Vec<String>;
    for (field, check) in [
        ("name", names::dns1123_subdomain as Check),
        ("namespace", names::dns1123_label),
    ] {
        if required(&secret[field], &p.child(field), errs) {
            let value = text(secret, field);
            errs.invalid_each(&p.child(field), value, check(value));
        }
    }
}

fn iscsi(s: &Value, of_pod: bool, p: &Path, errs: &mut ErrorList) {
    for (field, shown) in [("iqn", "iqn"), ("initiatorName", "initiatorname")] {
        let name = text(s, field);
        if name.is_empty() && (field == "iqn" || s[field].is_null()) {
            continue;
        }
        let at = p.child(shown);
        if !["iqn", "eui", "naa"].iter().any(|kind| name.starts_with(kind)) {
            let why = match of_pod {
                true => "must be valid format starting with iqn, eui, or naa",
                false => "must be valid format",
            };
            errs.push(Error::invalid(&at, name, why));
        } else if !is_iscsi_name(name) {
            errs.push(Error::invalid(&at, name, "must be valid format"));
        }
    }
    if let Some(n) = s["lun"].as_i64().filter(|n| !(0..=255).contains(n)) {
        errs.push(Error::invalid(
            &p.child("lun"),
            n,
            names::inclusive_range_error(0, 255),
        ));
    }
    let authenticated = s["chapAuthDiscovery"] == true || s["chapAuthSession"] == true;
    if authenticated && s["secretRef"].is_null() {
        errs.push(Error::required(&p.child("secretRef"), ""));
    }
}

/// `iqn.YYYY-MM.domain:name`, `eui.` and 16 or `naa.` and 32 letters and digits.
fn is_iscsi_name(name: &str) -> bool {
    let Some((kind, rest)) = name.split_once('.') else {
        return false;
    };
    let alphanumeric = |text: &str| !text.is_empty() && text.bytes().all(|c| c.is_ascii_alphanumeric());
    match kind {
        "iqn" => {
            let date = rest.as_bytes();
            let dated = date.len() > 8
                && date[..4].iter().all(u8::is_ascii_digit)
                && date[4] == b'-'
                && date[5..7].iter().all(u8::is_ascii_digit)
                && date[7] == b'.';
            let bare = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.');
            let unique = |c: char| !c.is_whitespace() && !",;*&$|".contains(c);
            dated
                && rest[8..].split_once(':').is_some_and(|(domain, name)| {
                    !domain.is_empty()
                        && domain.bytes().all(bare)
                        && !name.is_empty()
                        && name.chars().all(unique)
                })
        }
        "eui" => rest.len() == 16 && alphanumeric(rest),
        "naa" => rest.len() == 32 && alphanumeric(rest),
        _ => false,
    }
}

fn fibre_channel(s: &Value, p: &Path, errs: &mut ErrorList) {
    let at = p.child("targetWWNs");
    let (targets, ids) = (list(&s["targetWWNs"]), list(&s["wwids"]));
    match (targets.is_empty(), ids.is_empty()) {
        (true, true) => errs.push(Error::required(
            &at,
            "must specify either targetWWNs or wwids, but not both",
        )),
        (false, false) => errs.push(Error::invalid(
            &at,
            s["targetWWNs"].clone(),
            "targetWWNs and wwids can not be specified simultaneously",
        )),
        _ => {}
    }
    if targets.is_empty() {
        return;
    }
    let at = p.child("lun");
    match s["lun"].as_i64() {
        None => errs.push(Error::required(&at, "lun is required if targetWWNs is specified")),
        Some(0..=255) => {}
        Some(n) => errs.push(Error::invalid(&at, n, names::inclusive_range_error(0, 255))),
    }
}

fn quobyte(s: &Value, p: &Path, errs: &mut ErrorList) {
    let why = "must be a host:port pair or multiple pairs separated by commas";
    let registry = text(s, "registry");
    if registry.is_empty() {
        errs.push(Error::required(&p.child("registry"), why));
    } else if text(s, "tenant").len() > 64 {
        errs.push(Error::required(
            &p.child("tenant"),
            "must be a UUID and may not exceed a length of 64 characters",
        ));
    } else {
        let is_pair = |pair: &str| pair.rsplit_once(':').is_some_and(|(host, _)| !host.contains(':'));
        for _ in registry.split(',').filter(|pair| !is_pair(pair)) {
            errs.push(Error::invalid(&p.child("registry"), registry, why));
        }
    }
    required(&s["volume"], &p.child("volume"), errs);
}

fn flocker(s: &Value, p: &Path, errs: &mut ErrorList) {
    let (name, id) = (text(s, "datasetName"), text(s, "datasetUUID"));
    match (name.is_empty(), id.is_empty()) {
        (true, true) => errs.push(Error::required(
            p,
            "one of datasetName and datasetUUID is required",
        )),
        (false, false) => errs.push(Error::invalid(
            p,
            "resource",
            "datasetName and datasetUUID can not be specified simultaneously",
        )),
        _ => {}
    }
    if name.contains('/') {
        errs.push(Error::invalid(
            &p.child("datasetName"),
            name,
            "must not contain '/'",
        ));
    }
}

fn reserved_options(options: &Value, path: &Path, errs: &mut ErrorList) {
    for key in options.as_object().into_iter().flat_map(|o| o.keys()) {
        let domain = key.split_once('/').map_or(&**key, |(domain, _)| domain);
        let domain = format!(".{}", domain.to_lowercase());
        if domain.ends_with(".kubernetes.io") || domain.ends_with(".k8s.io") {
            errs.push(Error::invalid(
                &path.key(key),
                key.as_str(),
                "kubernetes.io and k8s.io namespaces are reserved",
            ));
        }
    }
}

fn azure_disk(s: &Value, p: &Path, errs: &mut ErrorList) {
    one_if_given(
        &s["cachingMode"],
        &["None", "ReadOnly", "ReadWrite"],
        &p.child("cachingMode"),
        errs,
    );
    let kinds = ["Dedicated", "Managed", "Shared"];
    one_if_given(&s["kind"], &kinds, &p.child("kind"), errs);
    let uri = text(s, "diskURI");
    let (prefix, example) = match s["kind"].as_str() {
        None => return,
        Some("Managed") => (
            "/subscriptions/",
            "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}",
        ),
        Some(_) => (
            "https://",
            "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd",
        ),
    };
    if !uri.starts_with(prefix) {
        errs.push(Error::not_supported(&p.child("diskURI"), uri, &[example]));
    }
}

//! Volumes and their sources.

use std::collections::HashSet;

use serde_json::Value;

use super::super::support::{label_selector, list, nonnegative_quantity, required, text};
use super::env::{VOLUME_FIELDS, field_ref, resource_ref};
use super::{Of, sources};
use crate::field::{Error, ErrorList, Path};
use crate::names;

const HOST_PATH_TYPES: &[&str] = &[
    "",
    "BlockDevice",
    "CharDevice",
    "Directory",
    "DirectoryOrCreate",
    "File",
    "FileOrCreate",
    "Socket",
];

/// Checks all volumes; returns the names that can be mounted.
pub(super) fn all<'a>(spec: &'a Value, of: Of<'_>, path: &Path, errs: &mut ErrorList) -> Vec<&'a str> {
    let mut seen: HashSet<&str> = HashSet::new();
    let mut usable = vec![];
    for (i, v) in list(&spec["volumes"]).iter().enumerate() {
        let p = path.index(i);
        let before = errs.len();
        single(v, Whose::Pod(of), &p, errs);
        let name = text(v, "name");
        if v["ephemeral"].is_object() {
            claim_name(of, name, &p.child("name"), errs);
        }
        if name.is_empty() {
            errs.push(Error::required(&p.child("name"), ""));
        } else {
            errs.invalid_each(&p.child("name"), name, names::dns1123_label(name));
        }
        if seen.contains(name) {
            errs.push(Error::duplicate(&p.child("name"), name));
        }
        if errs.len() == before {
            seen.insert(name);
            usable.push(name);
        }
    }
    usable
}

/// A relative path that does not climb.
pub(super) fn descending_path(target: &str, path: &Path, errs: &mut ErrorList) {
    if target.starts_with('/') {
        errs.push(Error::invalid(path, target, "must be a relative path"));
    }
    no_backsteps(target, path, errs);
}

fn no_backsteps(target: &str, path: &Path, errs: &mut ErrorList) {
    if target.split('/').any(|s| s == "..") {
        errs.push(Error::invalid(path, target, "must not contain '..'"));
    }
}

/// A path in a volume: relative, and not of the names kept for the kubelet.
fn local_path(target: &str, path: &Path, errs: &mut ErrorList) {
    descending_path(target, path, errs);
    if target.starts_with("..") && !target.starts_with("../") {
        errs.push(Error::invalid(path, target, "must not start with '..'"));
    }
}

fn mode(v: &Value, path: &Path, errs: &mut ErrorList) {
    if let Some(n) = v.as_i64().filter(|n| !(0..=0o777).contains(n)) {
        errs.push(Error::invalid(
            path,
            n,
            "must be a number between 0 and 0777 (octal), both inclusive",
        ));
    }
}

/// Sources of pods' volumes in the order in which upstream looks at them: the first is the one.
const SOURCES: &[&str] = &[
    "emptyDir",
    "hostPath",
    "gitRepo",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "secret",
    "nfs",
    "iscsi",
    "glusterfs",
    "flocker",
    "persistentVolumeClaim",
    "rbd",
    "cinder",
    "cephfs",
    "quobyte",
    "downwardAPI",
    "fc",
    "flexVolume",
    "configMap",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "storageos",
    "projected",
    "scaleIO",
    "csi",
    "ephemeral",
    "image",
];

/// The same of PersistentVolumes.
const PERSISTENT: &[&str] = &[
    "hostPath",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "glusterfs",
    "flocker",
    "nfs",
    "rbd",
    "quobyte",
    "cephfs",
    "iscsi",
    "cinder",
    "fc",
    "flexVolume",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "scaleIO",
    "local",
    "storageos",
    "csi",
];

/// Whose volume it is: a PersistentVolume's sources have more to them, such as namespaces.
#[derive(Clone, Copy)]
enum Whose<'a> {
    Pod(Of<'a>),
    /// The name of the PersistentVolume.
    Volume(&'a str),
}

/// The single source of a PersistentVolume's spec.
pub(in super::super) fn persistent(v: &Value, name: &str, path: &Path, errs: &mut ErrorList) {
    single(v, Whose::Volume(name), path, errs);
}

fn single(v: &Value, of: Whose<'_>, path: &Path, errs: &mut ErrorList) {
    let mut found = 0;
    let sources = match of {
        Whose::Pod(_) => SOURCES,
        Whose::Volume(_) => PERSISTENT,
    };
    for name in sources {
        let s = &v[*name];
        if !s.is_object() {
            continue;
        }
        found += 1;
        // Upstream counts this one without looking at those before it.
        if found > 1 && !(matches!(of, Whose::Volume(_)) && *name == "flexVolume") {
            // As upstream spells them.
            let p = path.child(match *name {
                "cephfs" => "cephFS",
                "downwardAPI" => "downwarAPI",
                name => name,
            });
            errs.push(Error::forbidden(&p, "may not specify more than 1 volume type"));
            continue;
        }
        one(name, s, of, &path.child(sources::shown(name)), errs);
        if name == &"local" && v["nodeAffinity"].is_null() {
            errs.push(Error::required(
                &path.child("nodeAffinity"),
                "Local volume requires node affinity",
            ));
        }
    }
    if found == 0 {
        errs.push(Error::required(path, "must specify a volume type"));
    }
}

fn one(name: &str, s: &Value, of: Whose<'_>, p: &Path, errs: &mut ErrorList) {
    match name {
        "emptyDir" => size_limit(&s["sizeLimit"], &p.child("sizeLimit"), errs),
        "hostPath" => {
            let kind = text(s, "type");
            if host_path(s, p, errs) && !HOST_PATH_TYPES.contains(&kind) {
                errs.push(Error::not_supported(&p.child("type"), kind, HOST_PATH_TYPES));
            }
        }
        "secret" => {
            required(&s["secretName"], &p.child("secretName"), errs);
            mode(&s["defaultMode"], &p.child("defaultMode"), errs);
            items(s, p, errs);
        }
        "configMap" => {
            required(&s["name"], &p.child("name"), errs);
            mode(&s["defaultMode"], &p.child("defaultMode"), errs);
            items(s, p, errs);
        }
        "persistentVolumeClaim" => {
            required(&s["claimName"], &p.child("claimName"), errs);
        }
        "downwardAPI" => {
            mode(&s["defaultMode"], &p.child("defaultMode"), errs);
            downward(s, p, errs);
        }
        "projected" => projected(s, p, errs),
        "nfs" => {
            required(&s["server"], &p.child("server"), errs);
            required(&s["path"], &p.child("path"), errs);
            if !text(s, "path").starts_with('/') {
                errs.push(Error::invalid(
                    &p.child("path"),
                    text(s, "path"),
                    "must be an absolute path",
                ));
            }
        }
        "local" => {
            host_path(s, p, errs);
        }
        "ephemeral" => {
            let (t, p) = (&s["volumeClaimTemplate"], p.child("volumeClaimTemplate"));
            if t.is_object() {
                claim_template(t, &p, errs);
            } else {
                errs.push(Error::required(&p, ""));
            }
        }
        "image" if matches!(of, Whose::Pod(Of::Pod(_))) && text(s, "reference").is_empty() => {
            errs.push(Error::required(&p.child("reference"), ""));
            super::container::pull_policy(&s["pullPolicy"], &p.child("pullPolicy"), errs);
        }
        "image" => super::container::pull_policy(&s["pullPolicy"], &p.child("pullPolicy"), errs),
        _ => {
            sources::source(name, s, matches!(of, Whose::Pod(_)), p, errs);
            if let Whose::Volume(volume) = of {
                sources::persistent(name, s, volume, p, errs);
            }
        }
    }
}

/// A path on a node; whether it is given.
fn host_path(s: &Value, p: &Path, errs: &mut ErrorList) -> bool {
    let given = required(&s["path"], &p.child("path"), errs);
    if given {
        no_backsteps(text(s, "path"), &p.child("path"), errs);
    }
    given
}

/// The claim of an ephemeral volume is called after its pod and itself.
fn claim_name(of: Of<'_>, volume: &str, path: &Path, errs: &mut ErrorList) {
    let Of::Pod(pod) = of else { return };
    if pod.is_empty() || volume.is_empty() {
        return;
    }
    let name = format!("{pod}-{volume}");
    for why in names::dns1123_subdomain(&name) {
        errs.push(Error::invalid(path, volume, format!("PVC name {name:?}: {why}")));
    }
}

/// The claim of an ephemeral volume.
fn claim_template(t: &Value, p: &Path, errs: &mut ErrorList) {
    super::super::meta::claim_template(t, &p.child("metadata"), errs);
    super::super::storage::claim_spec(&t["spec"], &Value::Null, &p.child("spec"), errs);
}

fn size_limit(v: &Value, path: &Path, errs: &mut ErrorList) {
    if v.is_null() {
        return;
    }
    let mut found = ErrorList::new();
    nonnegative_quantity(v, path, &mut found);
    if !found.is_empty() {
        errs.push(Error::forbidden(
            path,
            "SizeLimit field must be a valid resource quantity",
        ));
    }
}

fn items(s: &Value, path: &Path, errs: &mut ErrorList) {
    for (i, item) in list(&s["items"]).iter().enumerate() {
        let p = path.child("items").index(i);
        required(&item["key"], &p.child("key"), errs);
        if required(&item["path"], &p.child("path"), errs) {
            local_path(text(item, "path"), &p.child("path"), errs);
        }
        mode(&item["mode"], &p.child("mode"), errs);
    }
}

fn downward(s: &Value, path: &Path, errs: &mut ErrorList) {
    for file in list(&s["items"]) {
        downward_file(file, path, errs);
    }
}

/// A file of the downward API; upstream's paths don't say which of them.
fn downward_file(f: &Value, p: &Path, errs: &mut ErrorList) {
    if required(&f["path"], &p.child("path"), errs) {
        local_path(text(f, "path"), &p.child("path"), errs);
    }
    let (by_field, by_resource) = (f["fieldRef"].is_object(), f["resourceFieldRef"].is_object());
    if by_field {
        field_ref(&f["fieldRef"], VOLUME_FIELDS, &p.child("fieldRef"), errs);
        if by_resource {
            errs.push(Error::invalid(
                p,
                "resource",
                "fieldRef and resourceFieldRef can not be specified simultaneously",
            ));
        }
    } else if by_resource {
        resource_ref(&f["resourceFieldRef"], true, &p.child("resourceFieldRef"), errs);
    } else {
        errs.push(Error::required(
            p,
            "one of fieldRef and resourceFieldRef is required",
        ));
    }
    mode(&f["mode"], &p.child("mode"), errs);
}

fn projected(s: &Value, path: &Path, errs: &mut ErrorList) {
    mode(&s["defaultMode"], &path.child("defaultMode"), errs);
    let mut paths: HashSet<&str> = HashSet::new();
    for (i, src) in list(&s["sources"]).iter().enumerate() {
        let at = path.child("sources").index(i);
        let mut found = 0;
        for kind in [
            "secret",
            "configMap",
            "downwardAPI",
            "serviceAccountToken",
            "clusterTrustBundle",
        ] {
            let v = &src[kind];
            if !v.is_object() {
                continue;
            }
            found += 1;
            let p = at.child(kind);
            match kind {
                "secret" | "configMap" => {
                    required(&v["name"], &p.child("name"), errs);
                    items(v, &p, errs);
                }
                "downwardAPI" => {
                    for file in list(&v["items"]) {
                        downward_file(file, &p, errs);
                    }
                }
                // Upstream leaves the source out of the path.
                "serviceAccountToken" => token(v, &p, path, errs),
                _ => trust_bundle(v, &p, errs),
            }
            for item in list(&v["items"]) {
                let name = text(item, "path");
                if !name.is_empty() && !paths.insert(name) {
                    let shown = if kind == "downwardAPI" {
                        name
                    } else {
                        text(v, "name")
                    };
                    errs.push(Error::invalid(path, shown, "conflicting duplicate paths"));
                }
            }
            if kind == "clusterTrustBundle" && !paths.insert(text(v, "path")) {
                errs.push(Error::invalid(
                    path,
                    text(v, "path"),
                    "conflicting duplicate paths",
                ));
            }
        }
        if found > 1 {
            errs.push(Error::forbidden(
                &at,
                "may not specify more than 1 volume type per source",
            ));
        }
    }
}

fn trust_bundle(v: &Value, p: &Path, errs: &mut ErrorList) {
    match (v["name"].as_str(), v["signerName"].as_str()) {
        (Some(_), Some(_)) => errs.push(Error::invalid(
            p,
            v.clone(),
            "only one of name and signerName may be used",
        )),
        (Some(name), None) => {
            let at = p.child("name");
            if name.is_empty() {
                errs.push(Error::required(&at, "must be a valid object name"));
            }
            for why in names::dns1123_subdomain(name.rsplit(':').next().unwrap_or(name)) {
                errs.push(Error::invalid(
                    &at,
                    name,
                    format!("not a valid clustertrustbundlename: {why}"),
                ));
            }
            if v["labelSelector"].is_object() {
                errs.push(Error::invalid(
                    &p.child("labelSelector"),
                    v["labelSelector"].clone(),
                    "labelSelector must be unset if name is specified",
                ));
            }
        }
        (None, Some(signer)) => {
            if signer.is_empty() {
                errs.push(Error::required(
                    &p.child("signerName"),
                    "must be a valid signer name",
                ));
            }
            super::super::rest::signer_name(signer, &p.child("signerName"), errs);
            label_selector(&v["labelSelector"], &p.child("labelSelector"), errs);
        }
        (None, None) => errs.push(Error::required(p, "either name or signerName must be specified")),
    }
    if required(&v["path"], &p.child("path"), errs) {
        local_path(text(v, "path"), &p.child("path"), errs);
    }
}

fn token(v: &Value, p: &Path, volume: &Path, errs: &mut ErrorList) {
    let seconds = v["expirationSeconds"].as_i64().unwrap_or(3600);
    if seconds < 600 {
        errs.push(Error::invalid(
            &p.child("expirationSeconds"),
            seconds,
            "may not specify a duration less than 10 minutes",
        ));
    }
    if seconds > 1 << 32 {
        errs.push(Error::invalid(
            &p.child("expirationSeconds"),
            seconds,
            "may not specify a duration larger than 2^32 seconds",
        ));
    }
    if required(&v["path"], &volume.child("path"), errs) {
        local_path(text(v, "path"), &volume.child("path"), errs);
    }
}

//! Environment variables and where they come from.

use serde_json::Value;

use super::super::support::{list, required, text};
use crate::field::{Error, ErrorList, Path};
use crate::names;

const ENV_FIELDS: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

pub(super) const VOLUME_FIELDS: &[&str] = &[
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
];

/// All that upstream's pods can be asked for by name.
const KNOWN_FIELDS: &[&str] = &[
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.serviceAccountName",
    "spec.schedulerName",
    "spec.hostNetwork",
    "status.phase",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
    "status.nominatedNodeName",
];

const RESOURCES: &[&str] = &[
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];

pub(super) fn env(c: &Value, path: &Path, errs: &mut ErrorList) {
    for (i, e) in list(&c["env"]).iter().enumerate() {
        let p = path.child("env").index(i);
        let name = text(e, "name");
        if name.is_empty() {
            errs.push(Error::required(&p.child("name"), ""));
        } else {
            errs.invalid_each(&p.child("name"), name, names::env_var_name(name));
        }
        if e["valueFrom"].is_object() {
            value_from(e, &p.child("valueFrom"), errs);
        }
    }
    let all = path.child("envFrom");
    for (i, e) in list(&c["envFrom"]).iter().enumerate() {
        let p = all.index(i);
        let prefix = text(e, "prefix");
        if !prefix.is_empty() {
            errs.invalid_each(&p.child("prefix"), prefix, names::env_var_name(prefix));
        }
        let sources: Vec<&str> = ["configMapRef", "secretRef"]
            .into_iter()
            .filter(|s| e[*s].is_object())
            .collect();
        for s in &sources {
            let (at, name) = (p.child(s).child("name"), text(&e[*s], "name"));
            if required(&e[*s]["name"], &at, errs) {
                errs.invalid_each(&at, name, super::super::meta::object_name(name, true));
            }
        }
        // Upstream's path leaves out which of them it is.
        let why = match sources.len() {
            0 => "must specify one of: `configMapRef` or `secretRef`",
            1 => continue,
            _ => "may not have more than one field specified at a time",
        };
        errs.push(Error::invalid(&all, "", why));
    }
}

fn value_from(e: &Value, p: &Path, errs: &mut ErrorList) {
    let from = &e["valueFrom"];
    let mut sources = 0;
    if from["fieldRef"].is_object() {
        sources += 1;
        field_ref(&from["fieldRef"], ENV_FIELDS, &p.child("fieldRef"), errs);
    }
    if from["resourceFieldRef"].is_object() {
        sources += 1;
        resource_ref(
            &from["resourceFieldRef"],
            false,
            &p.child("resourceFieldRef"),
            errs,
        );
    }
    for kind in ["configMapKeyRef", "secretKeyRef"] {
        let r = &from[kind];
        if r.is_object() {
            sources += 1;
            let p = p.child(kind);
            let name = text(r, "name");
            errs.invalid_each(&p.child("name"), name, names::dns1123_subdomain(name));
            if required(&r["key"], &p.child("key"), errs) {
                errs.invalid_each(
                    &p.child("key"),
                    text(r, "key"),
                    names::config_map_key(text(r, "key")),
                );
            }
        }
    }
    if from["fileKeyRef"].is_object() {
        sources += 1;
        file_ref(&from["fileKeyRef"], &p.child("fileKeyRef"), errs);
    }
    if !text(e, "value").is_empty() {
        if sources != 0 {
            errs.push(Error::invalid(
                p,
                "",
                "may not be specified when `value` is not empty",
            ));
        }
    } else if sources == 0 {
        errs.push(Error::invalid(
            p,
            "",
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`",
        ));
    } else if sources > 1 {
        errs.push(Error::invalid(
            p,
            "",
            "may not have more than one field specified at a time",
        ));
    }
}

/// A variable in a file (KEP-3721).
fn file_ref(r: &Value, p: &Path, errs: &mut ErrorList) {
    let (key, volume, path) = (text(r, "key"), text(r, "volumeName"), text(r, "path"));
    if required(&r["key"], &p.child("key"), errs) {
        errs.invalid_each(&p.child("key"), key, names::env_var_name(key));
    }
    if required(&r["volumeName"], &p.child("volumeName"), errs) {
        errs.invalid_each(&p.child("volumeName"), volume, names::dns1123_label(volume));
    }
    if required(&r["path"], &p.child("path"), errs) && path.split('/').any(|part| part == "..") {
        errs.push(Error::invalid(&p.child("path"), path, "must not contain '..'"));
    }
}

/// Files of variables lie in volumes that begin empty.
pub(super) fn file_volumes(spec: &Value, path: &Path, errs: &mut ErrorList) {
    for lists in ["initContainers", "containers", "ephemeralContainers"] {
        for (i, c) in list(&spec[lists]).iter().enumerate() {
            for (j, e) in list(&c["env"]).iter().enumerate() {
                let file = &e["valueFrom"]["fileKeyRef"];
                if !file.is_object() {
                    continue;
                }
                let at = path.child(lists).index(i).child("env").index(j);
                let at = at.child("valueFrom").child("fileKeyRef").child("volumeName");
                let name = text(file, "volumeName");
                let volumes = list(&spec["volumes"]);
                match volumes.iter().rev().find(|v| text(v, "name") == name) {
                    None => errs.push(Error::not_found(&at, name)),
                    Some(v) if v["emptyDir"].is_object() => {}
                    Some(_) => errs.push(Error::invalid(
                        &at,
                        name,
                        "referenced volume must be of type emptyDir",
                    )),
                }
            }
        }
    }
}

/// `metadata.labels['key']` => (`metadata.labels`, `key`).
fn subscript(path: &str) -> Option<(&str, &str)> {
    path.strip_suffix("']")?.split_once("['")
}

pub(super) fn field_ref(r: &Value, allowed: &[&str], p: &Path, errs: &mut ErrorList) {
    if !required(&r["apiVersion"], &p.child("apiVersion"), errs)
        || !required(&r["fieldPath"], &p.child("fieldPath"), errs)
    {
        return;
    }
    let field = text(r, "fieldPath");
    let p = p.child("fieldPath");
    let version = text(r, "apiVersion");
    if version != "v1" {
        let why = format!("error converting fieldPath: unsupported pod version: {version}");
        errs.push(Error::invalid(&p, field, why));
        return;
    }
    if let Some((base, key)) = subscript(field) {
        match base {
            "metadata.annotations" => {
                errs.invalid_each(&p, key, names::qualified_name(&key.to_lowercase()));
            }
            "metadata.labels" => errs.invalid_each(&p, key, names::qualified_name(key)),
            _ => errs.push(Error::invalid(&p, field, "does not support subscript")),
        }
        return;
    }
    if !KNOWN_FIELDS.contains(&field) {
        let why = format!("error converting fieldPath: field label not supported: {field}");
        errs.push(Error::invalid(&p, field, why));
    } else if !allowed.contains(&field) {
        errs.push(Error::not_supported(&p, field, allowed));
    }
}

pub(super) fn resource_ref(r: &Value, in_volume: bool, p: &Path, errs: &mut ErrorList) {
    if in_volume && text(r, "containerName").is_empty() {
        errs.push(Error::required(&p.child("containerName"), ""));
    } else if required(&r["resource"], &p.child("resource"), errs) {
        let resource = text(r, "resource");
        let huge = resource.starts_with("limits.hugepages-") || resource.starts_with("requests.hugepages-");
        if !RESOURCES.contains(&resource) && !huge {
            errs.push(Error::not_supported(&p.child("resource"), resource, RESOURCES));
        }
    }
}

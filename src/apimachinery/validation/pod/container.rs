//! Containers: names, images, ports, mounts, resources.

use std::collections::HashSet;

use serde_json::Value;

use super::super::resource_names;
use super::super::support::{list, nonnegative_quantity, required, required_one_of, text};
use super::volume::descending_path;
use super::{Around, claims, env, probe, restart, security};
use crate::field::{Error, ErrorList, Path};
use crate::names;
use crate::quantity::Quantity;

const NOT_FOR_INIT: &str = "may not be set for init containers without restartPolicy=Always";

pub(super) fn all(around: Around<'_>, path: &Path, errs: &mut ErrorList) {
    let spec = around.spec;
    let containers = list(&spec["containers"]);
    if containers.is_empty() {
        errs.push(Error::required(&path.child("containers"), ""));
    }
    let mut names: HashSet<&str> = HashSet::new();
    for (list_name, init) in [("containers", false), ("initContainers", true)] {
        let mut ports: HashSet<String> = HashSet::new();
        for (i, c) in list(&spec[list_name]).iter().enumerate() {
            let p = path.child(list_name).index(i);
            common(c, around, &p, errs);
            restart::policy(c, &p, init, errs);
            let name = text(c, "name");
            if !name.is_empty() && !names.insert(name) {
                errs.push(Error::duplicate(&p.child("name"), name));
            }
            let sidecar = text(c, "restartPolicy") == "Always";
            if init && !sidecar {
                for f in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
                    if c[f].is_object() {
                        errs.push(Error::forbidden(&p.child(f), NOT_FOR_INIT));
                    }
                }
            } else {
                let grace = spec["terminationGracePeriodSeconds"].as_i64();
                probe::lifecycle(&c["lifecycle"], grace, &p.child("lifecycle"), errs);
                probe::all(c, &p, errs);
            }
            conflicts(c, &p, &mut ports, errs);
        }
    }
}

/// What holds of containers of every kind.
pub(super) fn common(c: &Value, around: Around<'_>, p: &Path, errs: &mut ErrorList) {
    let name = text(c, "name");
    if name.is_empty() {
        errs.push(Error::required(&p.child("name"), ""));
    } else {
        errs.invalid_each(&p.child("name"), name, names::dns1123_label(name));
    }
    let image = text(c, "image");
    if image.is_empty() {
        errs.push(Error::required(&p.child("image"), ""));
    } else if around.is_pod && image.trim() != image {
        errs.push(Error::invalid(
            &p.child("image"),
            image,
            "must not have leading or trailing whitespace",
        ));
    }
    required_one_of(
        &c["terminationMessagePolicy"],
        &["File", "FallbackToLogsOnError"],
        &p.child("terminationMessagePolicy"),
        errs,
    );
    ports(c, &p.child("ports"), errs);
    env::env(c, p, errs);
    devices(c, around, &p.child("volumeDevices"), errs);
    mounts(c, p, around.volumes, errs);
    pull_policy(&c["imagePullPolicy"], &p.child("imagePullPolicy"), errs);
    let at = p.child("resources");
    resources(&c["resources"], &at, errs);
    claims::of_container(&c["resources"]["claims"], around.spec, &at.child("claims"), errs);
    let policy = text(around.spec, "restartPolicy");
    restart::resizes(c, policy, &p.child("resizePolicy"), errs);
    let own_users = around.spec["hostUsers"] == false;
    security::container(
        &c["securityContext"],
        own_users,
        &p.child("securityContext"),
        errs,
    );
}

pub(super) fn pull_policy(policy: &Value, path: &Path, errs: &mut ErrorList) {
    required_one_of(policy, &["Always", "IfNotPresent", "Never"], path, errs);
}

fn ports(c: &Value, path: &Path, errs: &mut ErrorList) {
    let mut seen: HashSet<&str> = HashSet::new();
    for (i, port) in list(&c["ports"]).iter().enumerate() {
        let p = path.index(i);
        let name = text(port, "name");
        if !name.is_empty() {
            let msgs = names::port_name(name);
            if !msgs.is_empty() {
                errs.invalid_each(&p.child("name"), name, msgs);
            } else if !seen.insert(name) {
                errs.push(Error::duplicate(&p.child("name"), name));
            }
        }
        let number = port["containerPort"].as_i64().unwrap_or(0);
        if number == 0 {
            errs.push(Error::required(&p.child("containerPort"), ""));
        } else {
            for m in names::port_num(number) {
                errs.push(Error::invalid(&p.child("containerPort"), number, m));
            }
        }
        let host = port["hostPort"].as_i64().unwrap_or(0);
        if host != 0 {
            for m in names::port_num(host) {
                errs.push(Error::invalid(&p.child("hostPort"), host, m));
            }
        }
        required_one_of(
            &port["protocol"],
            &["SCTP", "TCP", "UDP"],
            &p.child("protocol"),
            errs,
        );
    }
}

/// Two containers can't have one port of the host.
fn conflicts(c: &Value, path: &Path, seen: &mut HashSet<String>, errs: &mut ErrorList) {
    for (i, port) in list(&c["ports"]).iter().enumerate() {
        let host = port["hostPort"].as_i64().unwrap_or(0);
        if host == 0 {
            continue;
        }
        let id = format!("{}/{}/{host}", text(port, "protocol"), text(port, "hostIP"));
        if !seen.insert(id.clone()) {
            errs.push(Error::duplicate(
                &path.child("ports").index(i).child("hostPort"),
                id,
            ));
        }
    }
}

/// On the host's network a container's port is the host's port.
pub(super) fn host_ports(spec: &Value, path: &Path, is_pod: bool, errs: &mut ErrorList) {
    if spec["hostNetwork"] != true {
        return;
    }
    for (i, c) in list(&spec["containers"]).iter().enumerate() {
        for (j, port) in list(&c["ports"]).iter().enumerate() {
            let host = port["hostPort"].as_i64().unwrap_or(0);
            let own = port["containerPort"].as_i64().unwrap_or(0);
            if (is_pod || host != 0) && host != own {
                errs.push(Error::invalid(
                    &path
                        .child("containers")
                        .index(i)
                        .child("ports")
                        .index(j)
                        .child("hostPort"),
                    host,
                    "must match `containerPort` when `hostNetwork` is true",
                ));
            }
        }
    }
}

fn mounts(c: &Value, path: &Path, volumes: &[&str], errs: &mut ErrorList) {
    let mut points: HashSet<&str> = HashSet::new();
    let devices = list(&c["volumeDevices"]);
    for (i, m) in list(&c["volumeMounts"]).iter().enumerate() {
        let p = path.child("volumeMounts").index(i);
        let name = text(m, "name");
        if name.is_empty() {
            errs.push(Error::required(&p.child("name"), ""));
        }
        if !volumes.contains(&name) {
            errs.push(Error::not_found(&p.child("name"), name));
        }
        let at = text(m, "mountPath");
        if at.is_empty() {
            errs.push(Error::required(&p.child("mountPath"), ""));
        }
        if !points.insert(at) {
            errs.push(Error::invalid(&p.child("mountPath"), at, "must be unique"));
        }
        if devices.iter().any(|d| d["name"] == name) {
            errs.push(Error::invalid(
                &p.child("name"),
                name,
                "must not already exist in volumeDevices",
            ));
        }
        if devices.iter().any(|d| d["devicePath"] == at) {
            errs.push(Error::invalid(
                &p.child("mountPath"),
                at,
                "must not already exist as a path in volumeDevices",
            ));
        }
        // Upstream leaves out of these paths which mount is wrong.
        let all = path.child("volumeMounts");
        for f in ["subPath", "subPathExpr"] {
            let v = text(m, f);
            if !v.is_empty() {
                descending_path(v, &all.child(f), errs);
            }
        }
        if !text(m, "subPath").is_empty() && !text(m, "subPathExpr").is_empty() {
            errs.push(Error::invalid(
                &p.child("subPathExpr"),
                text(m, "subPathExpr"),
                "subPathExpr and subPath are mutually exclusive",
            ));
        }
        propagation(c, m, &all.child("mountPropagation"), errs);
        read_only(m, &all.child("recursiveReadOnly"), errs);
    }
}

fn propagation(c: &Value, m: &Value, path: &Path, errs: &mut ErrorList) {
    match m["mountPropagation"].as_str() {
        None | Some("None" | "HostToContainer") => {}
        Some("Bidirectional") if c["securityContext"]["privileged"] == true => {}
        Some("Bidirectional") => errs.push(Error::forbidden(
            path,
            "Bidirectional mount propagation is available only to privileged containers",
        )),
        Some(other) => errs.push(Error::not_supported(
            path,
            other,
            &["Bidirectional", "HostToContainer", "None"],
        )),
    }
}

/// Mounts that are read-only all the way down (KEP-3857).
fn read_only(m: &Value, path: &Path, errs: &mut ErrorList) {
    match m["recursiveReadOnly"].as_str() {
        None | Some("Disabled") => {}
        Some("Enabled" | "IfPossible") => {
            if m["readOnly"] != true {
                let why = "may only be specified when readOnly is true";
                errs.push(Error::forbidden(path, why));
            }
            if m["mountPropagation"].as_str().is_some_and(|how| how != "None") {
                let why = "may only be specified when mountPropagation is None or not specified";
                errs.push(Error::forbidden(path, why));
            }
        }
        Some(other) => errs.push(Error::not_supported(
            path,
            other,
            &["Disabled", "Enabled", "IfPossible"],
        )),
    }
}

fn devices(c: &Value, around: Around<'_>, path: &Path, errs: &mut ErrorList) {
    let (mut names, mut paths): (HashSet<&str>, HashSet<&str>) = Default::default();
    let mounts = list(&c["volumeMounts"]);
    for (i, d) in list(&c["volumeDevices"]).iter().enumerate() {
        let p = path.index(i).child("name");
        let (name, at) = (text(d, "name"), text(d, "devicePath"));
        required(&d["name"], &p, errs);
        if names.contains(name) {
            errs.push(Error::invalid(&p, name, "must be unique"));
        }
        if !around.volumes.contains(&name) {
            errs.push(Error::not_found(&p, name));
        } else if !around.is_claimed(name) {
            errs.push(Error::invalid(
                &p,
                name,
                "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode",
            ));
        }
        if mounts.iter().any(|m| m["name"] == name) {
            errs.push(Error::invalid(&p, name, "must not already exist in volumeMounts"));
        }
        if !name.is_empty() {
            names.insert(name);
        }
        let p = path.index(i).child("devicePath");
        required(&d["devicePath"], &p, errs);
        if paths.contains(at) {
            errs.push(Error::invalid(&p, at, "must be unique"));
        }
        if at.split('/').any(|part| part == "..") {
            errs.push(Error::invalid(&p, at, "can not contain backsteps ('..')"));
        } else {
            paths.insert(at);
        }
        if mounts.iter().any(|m| m["mountPath"] == at) {
            let why = "must not already exist as a path in volumeMounts";
            errs.push(Error::invalid(&p, at, why));
        }
    }
}

/// `ResourceRequirements`: names, amounts, requests within limits.
pub(in super::super) fn resources(r: &Value, path: &Path, errs: &mut ErrorList) {
    let limits = r["limits"].as_object();
    for list_name in ["limits", "requests"] {
        let base = path.child(list_name);
        for (name, amount) in r[list_name].as_object().into_iter().flatten() {
            let p = base.key(name);
            resource_names::of_container(name, &p, errs);
            nonnegative_quantity(amount, &p, errs);
            let Ok(q) = Quantity::from_value(amount) else {
                continue;
            };
            if resource_names::is_whole(name) && !q.is_integer() {
                errs.push(Error::invalid(&p, q.to_string(), "must be an integer"));
            }
            if list_name == "requests" {
                within_limit(name, q, limits.and_then(|l| l.get(name)), path, errs);
            }
        }
    }
}

fn within_limit(name: &str, request: Quantity, limit: Option<&Value>, path: &Path, errs: &mut ErrorList) {
    let requests = path.child("requests");
    match limit.and_then(|l| Quantity::from_value(l).ok()) {
        Some(limit) if request != limit && !resource_names::may_overcommit(name) => {
            errs.push(Error::invalid(
                &requests,
                request.to_string(),
                format!("must be equal to {name} limit of {limit}"),
            ))
        }
        Some(limit) if request > limit => errs.push(Error::invalid(
            &requests,
            request.to_string(),
            format!("must be less than or equal to {name} limit of {limit}"),
        )),
        Some(_) => {}
        None if !resource_names::may_overcommit(name) => errs.push(Error::required(
            &path.child("limits"),
            "Limit must be set for non overcommitable resources",
        )),
        None => {}
    }
}

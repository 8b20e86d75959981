//! What a resize may change in a pod: the cpu and memory of its containers (KEP-1287, upstream's
//! `ValidatePodResize`).

use serde_json::{Map, Value};

use super::super::support::{list, same, text};
use crate::field::{Error, ErrorList, Path};
use crate::strategy::qos_class;

const MIRROR: &str = "kubernetes.io/config.mirror";
const RESIZABLE: [&str; 2] = ["cpu", "memory"];

/// Containers of one list, in the words of upstream's messages.
struct Of {
    list: &'static str,
    moved: [&'static str; 2],
}

const CONTAINERS: Of = Of {
    list: "containers",
    moved: [
        "containers may not be added or removed on resize",
        "containers may not be renamed or reordered on resize",
    ],
};
const INIT_CONTAINERS: Of = Of {
    list: "initContainers",
    moved: [
        "initContainers may not be added or removed on resize",
        "initContainers may not be renamed or reordered on resize",
    ],
};

pub(in super::super) fn pod(new: &Value, old: &Value, errs: &mut ErrorList) {
    let refused = |why: &str| ErrorList::from(vec![Error::forbidden(&Path::new(""), why)]);
    if !old["metadata"]["annotations"][MIRROR].is_null() {
        *errs = refused("static pods cannot be resized");
        return;
    }
    if old["spec"]["os"]["name"] == "windows" {
        *errs = refused("windows pods cannot be resized");
        return;
    }
    let path = Path::new("spec");
    super::valid(new, errs);
    let class = match text(&old["status"], "qosClass") {
        "" => qos_class(old),
        class => class,
    };
    if class != qos_class(new) {
        errs.push(Error::invalid(
            &path,
            text(&new["status"], "qosClass"),
            "Pod QOS Class may not change as a result of resizing",
        ));
    }
    if !supported(old) {
        errs.push(Error::forbidden(
            &path,
            "Pod running on node without support for resize",
        ));
    }
    if [new, old].into_iter().any(has_own_resources) {
        errs.push(Error::forbidden(
            &Path::new(""),
            "resize of pods with pod-level resources is forbidden when InPlacePodLevelResourcesVerticalScalingEnabled feature gate is disabled",
        ));
        return;
    }
    let both = [&CONTAINERS, &INIT_CONTAINERS];
    if both.map(|of| moved(of, new, old, &path, errs)).contains(&true) {
        return;
    }
    for of in [&INIT_CONTAINERS, &CONTAINERS] {
        for (index, now, before) in pairs(of, new, old) {
            if of.list == CONTAINERS.list || is_sidecar(before) {
                let path = path.child(of.list).index(index).child("resources");
                removed(&now["resources"], &before["resources"], &path, errs);
            }
        }
    }
    for of in both {
        for (_, now, before) in pairs(of, new, old) {
            let (changed, why) = if of.list == CONTAINERS.list {
                (
                    others_changed(now, before),
                    "only cpu and memory resources are mutable",
                )
            } else if is_sidecar(now) {
                let why = "only cpu and memory resources for sidecar containers are mutable";
                (others_changed(now, before), why)
            } else {
                let why = "resources for non-sidecar init containers are immutable";
                (now != before, why)
            };
            if changed {
                errs.push(Error::forbidden(&path, why));
            }
        }
    }
}

fn pairs<'a>(of: &Of, new: &'a Value, old: &'a Value) -> impl Iterator<Item = (usize, &'a Value, &'a Value)> {
    let (new, old) = (list(&new["spec"][of.list]), list(&old["spec"][of.list]));
    new.iter()
        .zip(old)
        .enumerate()
        .map(|(index, (new, old))| (index, new, old))
}

fn is_sidecar(container: &Value) -> bool {
    container["restartPolicy"] == "Always"
}

fn has_own_resources(pod: &Value) -> bool {
    let own = &pod["spec"]["resources"];
    ["requests", "limits"]
        .iter()
        .any(|kind| !same(&own[*kind], &Value::Null))
}

/// A node that can resize says what its running containers have.
fn supported(pod: &Value) -> bool {
    list(&pod["status"]["containerStatuses"])
        .iter()
        .find(|status| status["state"]["running"].is_object())
        .is_none_or(|status| status["resources"].is_object())
}

/// Whether containers came, went, or changed names or places.
fn moved(of: &Of, new: &Value, old: &Value, path: &Path, errs: &mut ErrorList) -> bool {
    let path = path.child(of.list);
    let [count, names] = of.moved;
    if list(&new["spec"][of.list]).len() != list(&old["spec"][of.list]).len() {
        errs.push(Error::forbidden(&path, count));
        return true;
    }
    let mut found = false;
    for (index, now, before) in pairs(of, new, old) {
        if now["name"] != before["name"] {
            errs.push(Error::forbidden(&path.index(index).child("name"), names));
            found = true;
        }
    }
    found
}

fn removed(new: &Value, old: &Value, path: &Path, errs: &mut ErrorList) {
    for (kind, why) in [
        ("requests", "resource requests cannot be removed"),
        ("limits", "resource limits cannot be removed"),
    ] {
        let mut names = old[kind].as_object().into_iter().flat_map(Map::keys);
        if names.any(|name| new[kind].get(name).is_none()) {
            errs.push(Error::forbidden(&path.child(kind), why));
        }
    }
}

/// Whether more than cpu and memory changed.
fn others_changed(new: &Value, old: &Value) -> bool {
    let others = |container: &Value| {
        let mut container = container.clone();
        let resources = container["resources"].take();
        if let Some(container) = container.as_object_mut() {
            container.remove("resources");
        }
        let lists = ["requests", "limits"].map(|kind| {
            let mut amounts = resources[kind].as_object().cloned().unwrap_or_default();
            amounts.retain(|name, _| !RESIZABLE.contains(&name.as_str()));
            amounts
        });
        (container, lists)
    };
    // Upstream compares with requirements whose claims were dropped.
    others(new) != others(old) || !same(&old["resources"]["claims"], &Value::Null)
}

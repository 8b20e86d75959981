//! rbac.authorization.k8s.io.

use serde_json::Value;

use super::support::{list, required, same, text};
use crate::field::{Error, ErrorList, Path};
use crate::names;
use crate::selector::LabelSelector;

const GROUP: &str = "rbac.authorization.k8s.io";

pub(super) fn create(kind: &str, o: &Value, errs: &mut ErrorList) {
    match kind {
        "Role" => rules(o, true, errs),
        "ClusterRole" => {
            rules(o, false, errs);
            let aggregation = &o["aggregationRule"];
            if aggregation.is_object() {
                let p = Path::new("aggregationRule").child("clusterRoleSelectors");
                if list(&aggregation["clusterRoleSelectors"]).is_empty() {
                    errs.push(Error::required(
                        &p,
                        "at least one clusterRoleSelector required if aggregationRule is non-nil",
                    ));
                }
                for (i, s) in list(&aggregation["clusterRoleSelectors"]).iter().enumerate() {
                    let at = p.index(i);
                    super::support::label_selector(s, &at, errs);
                    if LabelSelector::from_meta(s).is_err() {
                        let why = "invalid label selector.";
                        errs.push(Error::invalid(&at, Value::Null, why));
                    }
                }
            }
        }
        "RoleBinding" => binding(o, &["Role", "ClusterRole"], errs),
        "ClusterRoleBinding" => binding(o, &["ClusterRole"], errs),
        _ => {}
    }
}

pub(super) fn update(kind: &str, new: &Value, old: &Value, errs: &mut ErrorList) {
    create(kind, new, errs);
    if kind.ends_with("Binding") && !same(&new["roleRef"], &old["roleRef"]) {
        errs.push(Error::invalid(
            &Path::new("roleRef"),
            new["roleRef"].clone(),
            "cannot change roleRef",
        ));
    }
}

fn rules(o: &Value, namespaced: bool, errs: &mut ErrorList) {
    for (i, r) in list(&o["rules"]).iter().enumerate() {
        let p = Path::new("rules").index(i);
        let filled = |f: &str| !list(&r[f]).is_empty();
        if !filled("verbs") {
            errs.push(Error::required(
                &p.child("verbs"),
                "verbs must contain at least one value",
            ));
        }
        if filled("nonResourceURLs") {
            if namespaced {
                errs.push(Error::invalid(
                    &p.child("nonResourceURLs"),
                    r["nonResourceURLs"].clone(),
                    "namespaced rules cannot apply to non-resource URLs",
                ));
            }
            if filled("apiGroups") || filled("resources") || filled("resourceNames") {
                errs.push(Error::invalid(
                    &p.child("nonResourceURLs"),
                    r["nonResourceURLs"].clone(),
                    "rules cannot apply to both regular resources and non-resource URLs",
                ));
            }
            continue;
        }
        if !filled("apiGroups") {
            errs.push(Error::required(
                &p.child("apiGroups"),
                "resource rules must supply at least one api group",
            ));
        }
        if !filled("resources") {
            errs.push(Error::required(
                &p.child("resources"),
                "resource rules must supply at least one resource",
            ));
        }
    }
}

fn binding(o: &Value, roles: &[&str], errs: &mut ErrorList) {
    let r = &o["roleRef"];
    let p = Path::new("roleRef");
    if text(r, "apiGroup") != GROUP {
        errs.push(Error::not_supported(
            &p.child("apiGroup"),
            text(r, "apiGroup"),
            &[GROUP],
        ));
    }
    if !roles.contains(&text(r, "kind")) {
        errs.push(Error::not_supported(&p.child("kind"), text(r, "kind"), roles));
    }
    if required(&r["name"], &p.child("name"), errs) {
        errs.invalid_each(
            &p.child("name"),
            text(r, "name"),
            names::path_segment(text(r, "name")),
        );
    }
    for (i, s) in list(&o["subjects"]).iter().enumerate() {
        let p = Path::new("subjects").index(i);
        let name = text(s, "name");
        if name.is_empty() {
            errs.push(Error::required(&p.child("name"), ""));
        }
        let group = text(s, "apiGroup");
        match text(s, "kind") {
            "ServiceAccount" => {
                if !name.is_empty() {
                    errs.invalid_each(&p.child("name"), name, names::dns1123_subdomain(name));
                }
                if !group.is_empty() {
                    errs.push(Error::not_supported(&p.child("apiGroup"), group, &[""]));
                }
                // In a namespace that is the account's, too.
                if !roles.contains(&"Role") {
                    required(&s["namespace"], &p.child("namespace"), errs);
                }
            }
            "User" | "Group" => {
                if group != GROUP {
                    errs.push(Error::not_supported(&p.child("apiGroup"), group, &[GROUP]));
                }
            }
            other => errs.push(Error::not_supported(
                &p.child("kind"),
                other,
                &["ServiceAccount", "User", "Group"],
            )),
        }
    }
}

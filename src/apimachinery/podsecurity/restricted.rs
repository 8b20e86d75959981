//! What `restricted` forbids beyond `baseline`: anything but today's best practice.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    Pod, Violation,
    baseline::{bad_seccomp, listed, masked, seccomp_set},
    named, own, plural, quoted, sorted, violation,
};

/// Volume sources that anybody may use.
const VOLUMES: [&str; 9] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
];

pub(super) fn check(pod: &Pod<'_>) -> Vec<Violation> {
    // Linux' means mean nothing to a Windows pod.
    let linux = !(pod.level.since(25) && pod.is_windows());
    let since = |minor: u32| pod.level.since(minor);
    let user_namespaced = since(35) && pod.is_user_namespaced();
    [
        (linux && since(8)).then(|| escalation(pod)).flatten(),
        (since(22)).then(|| capabilities(pod, linux)).flatten(),
        since(35).then(|| masked(pod)).flatten(),
        volumes(pod),
        (!user_namespaced).then(|| non_root(pod)).flatten(),
        (since(23) && !user_namespaced).then(|| user(pod)).flatten(),
        since(19).then(|| seccomp(pod, linux)).flatten(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn escalation(pod: &Pod<'_>) -> Option<Violation> {
    let containers = pod.who(|c| own(c, "allowPrivilegeEscalation") != false);
    (!containers.is_empty()).then(|| {
        violation(
            "allowPrivilegeEscalation != false",
            format!(
                "{} must set securityContext.allowPrivilegeEscalation=false",
                named(&containers)
            ),
        )
    })
}

fn capabilities(pod: &Pod<'_>, linux: bool) -> Option<Violation> {
    if !linux {
        return None;
    }
    let bad = |name: &&str| *name != "NET_BIND_SERVICE";
    let keeping = pod.who(|c| !listed(c, "drop").any(|name| name == "ALL"));
    let adding = pod.who(|c| listed(c, "add").any(|name| bad(&name)));
    let mut details = Vec::new();
    if !keeping.is_empty() {
        details.push(format!(
            "{} must set securityContext.capabilities.drop=[\"ALL\"]",
            named(&keeping)
        ));
    }
    if !adding.is_empty() {
        let names: BTreeSet<&str> = pod
            .containers()
            .flat_map(|c| listed(c, "add"))
            .filter(bad)
            .collect();
        details.push(format!(
            "{} must not include {} in securityContext.capabilities.add",
            named(&adding),
            quoted(&sorted(names))
        ));
    }
    (!details.is_empty()).then(|| violation("unrestricted capabilities", details.join("; ")))
}

fn volumes(pod: &Pod<'_>) -> Option<Violation> {
    let mut names = Vec::new();
    let mut sources: BTreeSet<&str> = BTreeSet::new();
    for volume in pod.spec["volumes"].as_array().into_iter().flatten() {
        let source = volume
            .as_object()
            .into_iter()
            .flatten()
            .find(|(key, value)| *key != "name" && !value.is_null())
            .map_or("unknown", |(key, _)| key.as_str());
        if !VOLUMES.contains(&source) {
            names.push(volume["name"].as_str().unwrap_or_default());
            sources.insert(source);
        }
    }
    (!names.is_empty()).then(|| {
        violation(
            "restricted volume types",
            format!(
                "{} {} {} {} {}",
                plural("volume", "volumes", names.len()),
                quoted(&names),
                plural("uses", "use", names.len()),
                plural("restricted volume type", "restricted volume types", sources.len()),
                quoted(&sorted(sources))
            ),
        )
    })
}

fn non_root(pod: &Pod<'_>) -> Option<Violation> {
    let of_pod = pod.context("runAsNonRoot");
    let explicit = pod.who(|c| own(c, "runAsNonRoot") == false);
    if let Some(setters) = pod.setters(of_pod == false, &explicit) {
        return Some(violation(
            "runAsNonRoot != true",
            format!("{setters} must not set securityContext.runAsNonRoot=false"),
        ));
    }
    let implicit = pod.who(|c| own(c, "runAsNonRoot").is_null() && of_pod != true);
    (!implicit.is_empty()).then(|| {
        violation(
            "runAsNonRoot != true",
            format!(
                "pod or {} must set securityContext.runAsNonRoot=true",
                named(&implicit)
            ),
        )
    })
}

fn user(pod: &Pod<'_>) -> Option<Violation> {
    let root = |value: &Value| value.as_i64() == Some(0);
    let containers = pod.who(|c| root(own(c, "runAsUser")));
    let setters = pod.setters(root(pod.context("runAsUser")), &containers)?;
    Some(violation(
        "runAsUser=0",
        format!("{setters} must not set runAsUser=0"),
    ))
}

fn seccomp(pod: &Pod<'_>, linux: bool) -> Option<Violation> {
    if !linux {
        return None;
    }
    if let Some(set) = seccomp_set(pod) {
        return Some(set);
    }
    let of_pod = pod.context("seccompProfile");
    let covered = of_pod.is_object() && bad_seccomp(of_pod).is_none();
    let implicit = pod.who(|c| !own(c, "seccompProfile").is_object() && !covered);
    (!implicit.is_empty()).then(|| {
        violation(
            "seccompProfile",
            format!(
                "pod or {} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"",
                named(&implicit)
            ),
        )
    })
}

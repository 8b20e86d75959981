//! Pods and pod templates (upstream's `ValidatePodSpec` and what hangs on it).

mod affinity;
mod container;
mod env;
mod ephemeral;
mod probe;
mod resize;
mod security;
mod sources;
mod update;
mod volume;

use serde_json::Value;

use super::meta::template_meta;
use super::support::{label_selector, list, one_of, required_one_of, text};
use crate::field::{Error, ErrorList, Path};
use crate::names;

pub(super) use affinity::node_selector;
pub(super) use container::resource_name as container_resource_name;
pub(super) use probe::port;
pub(super) use resize::pod as resize;
pub(super) use update::pod as update;
pub(super) use volume::persistent as volume_source;

/// What differs between a pod and a template of pods.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    Pod,
    Template,
}

/// What holds of any pod, new or old.
pub(super) fn valid(pod: &Value, errs: &mut ErrorList) {
    spec(&pod["spec"], &Path::new("spec"), Of::Pod, errs);
}

pub(super) fn create(pod: &Value, errs: &mut ErrorList) {
    valid(pod, errs);
    if !list(&pod["spec"]["ephemeralContainers"]).is_empty() {
        errs.push(Error::forbidden(
            &Path::new("spec").child("ephemeralContainers"),
            "cannot be set on create",
        ));
    }
}

/// A workload's `template`.
pub(super) fn template(t: &Value, path: &Path, errs: &mut ErrorList) {
    template_meta(t, path, errs);
    spec(&t["spec"], &path.child("spec"), Of::Template, errs);
    if !list(&t["spec"]["ephemeralContainers"]).is_empty() {
        errs.push(Error::forbidden(
            &path.child("spec").child("ephemeralContainers"),
            "ephemeral containers not allowed in pod template",
        ));
    }
}

const DNS_POLICIES: &[&str] = &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];

fn spec(s: &Value, path: &Path, of: Of, errs: &mut ErrorList) {
    let volumes = volume::all(s, &path.child("volumes"), errs);
    container::all(s, path, of == Of::Pod, &volumes, errs);
    ephemeral::all(s, path, of == Of::Pod, &volumes, errs);
    required_one_of(
        &s["restartPolicy"],
        &["Always", "OnFailure", "Never"],
        &path.child("restartPolicy"),
        errs,
    );
    required_one_of(&s["dnsPolicy"], DNS_POLICIES, &path.child("dnsPolicy"), errs);
    super::meta::labels(&s["nodeSelector"], &path.child("nodeSelector"), errs);
    security::pod(s, path, errs);
    container::host_ports(s, path, of == Of::Pod, errs);
    affinity::affinity(&s["affinity"], &path.child("affinity"), errs);
    dns_config(s, &path.child("dnsConfig"), errs);
    for (i, g) in list(&s["readinessGates"]).iter().enumerate() {
        let name = text(g, "conditionType");
        let p = path.child("readinessGates").index(i).child("conditionType");
        errs.invalid_each(&p, name, names::qualified_name(name));
    }
    scheduling_gates(s, &path.child("schedulingGates"), errs);
    spread(s, &path.child("topologySpreadConstraints"), errs);
    for (field, check) in [
        (
            "serviceAccountName",
            names::dns1123_subdomain as fn(&str) -> Vec<String>,
        ),
        ("nodeName", names::dns1123_subdomain),
        ("priorityClassName", names::dns1123_subdomain),
        ("runtimeClassName", names::dns1123_subdomain),
        ("hostname", names::dns1123_label),
        ("subdomain", names::dns1123_label),
    ] {
        let v = text(s, field);
        if !v.is_empty() {
            errs.invalid_each(&path.child(field), v, check(v));
        }
    }
    if let Some(n) = s["activeDeadlineSeconds"].as_i64()
        && !(1..=i64::from(i32::MAX)).contains(&n)
    {
        let p = path.child("activeDeadlineSeconds");
        errs.push(Error::invalid(
            &p,
            n,
            names::inclusive_range_error(1, i64::from(i32::MAX)),
        ));
    }
    affinity::tolerations(s, &path.child("tolerations"), errs);
    for (i, a) in list(&s["hostAliases"]).iter().enumerate() {
        let p = path.child("hostAliases").index(i);
        errs.invalid_each(&p.child("ip"), text(a, "ip"), names::ip(text(a, "ip")));
        for h in list(&a["hostnames"]) {
            let h = h.as_str().unwrap_or("");
            errs.invalid_each(&p.child("hostnames"), h, names::dns1123_subdomain(h));
        }
    }
    one_of(
        &s["preemptionPolicy"],
        &["Never", "PreemptLowerPriority"],
        &path.child("preemptionPolicy"),
        errs,
    );
    if s["os"].is_object() {
        required_one_of(
            &s["os"]["name"],
            &["linux", "windows"],
            &path.child("os").child("name"),
            errs,
        );
    }
    for (k, v) in s["overhead"].as_object().into_iter().flatten() {
        super::support::nonnegative_quantity(v, &path.child("overhead").key(k), errs);
    }
}

fn dns_config(s: &Value, path: &Path, errs: &mut ErrorList) {
    let c = &s["dnsConfig"];
    if text(s, "dnsPolicy") == "None" {
        if !c.is_object() {
            errs.push(Error::required(
                path,
                "must provide `dnsConfig` when `dnsPolicy` is None",
            ));
        } else if list(&c["nameservers"]).is_empty() {
            errs.push(Error::required(
                &path.child("nameservers"),
                "must provide at least one DNS nameserver when `dnsPolicy` is None",
            ));
        }
    }
    if !c.is_object() {
        return;
    }
    let servers = list(&c["nameservers"]);
    if servers.len() > 3 {
        errs.push(Error::invalid(
            &path.child("nameservers"),
            c["nameservers"].clone(),
            "must not have more than 3 nameservers",
        ));
    }
    for (i, ip) in servers.iter().enumerate() {
        let ip = ip.as_str().unwrap_or("");
        errs.invalid_each(&path.child("nameservers").index(i), ip, names::ip(ip));
    }
    let searches = list(&c["searches"]);
    if searches.len() > 32 {
        errs.push(Error::invalid(
            &path.child("searches"),
            c["searches"].clone(),
            "must not have more than 32 search paths",
        ));
    }
    for (i, d) in searches.iter().enumerate() {
        let d = d.as_str().unwrap_or("");
        // A lone dot and a trailing one are allowed, and so are underscores.
        if d != "." {
            let bare = d.strip_suffix('.').unwrap_or(d).replace('_', "-");
            errs.invalid_each(
                &path.child("searches").index(i),
                d,
                names::dns1123_subdomain(&bare),
            );
        }
    }
    for (i, o) in list(&c["options"]).iter().enumerate() {
        if text(o, "name").is_empty() {
            errs.push(Error::required(
                &path.child("options").index(i),
                "must not be empty",
            ));
        }
    }
}

fn scheduling_gates(s: &Value, path: &Path, errs: &mut ErrorList) {
    let mut seen: Vec<&str> = vec![];
    for (i, g) in list(&s["schedulingGates"]).iter().enumerate() {
        let name = text(g, "name");
        let p = path.index(i);
        errs.invalid_each(&p.child("name"), name, names::qualified_name(name));
        if seen.contains(&name) {
            errs.push(Error::duplicate(&p.child("name"), name));
        }
        seen.push(name);
    }
    if !seen.is_empty() && !text(s, "nodeName").is_empty() {
        errs.push(Error::forbidden(
            &Path::new("spec").child("nodeName"),
            "cannot be set until all schedulingGates have been cleared",
        ));
    }
}

fn spread(s: &Value, path: &Path, errs: &mut ErrorList) {
    let mut seen: Vec<(&str, &str)> = vec![];
    for (i, c) in list(&s["topologySpreadConstraints"]).iter().enumerate() {
        let p = path.index(i);
        let skew = c["maxSkew"].as_i64().unwrap_or(0);
        if skew <= 0 {
            errs.push(Error::invalid(
                &p.child("maxSkew"),
                skew,
                "must be greater than zero",
            ));
        }
        let key = text(c, "topologyKey");
        if key.is_empty() {
            errs.push(Error::required(&p.child("topologyKey"), "can not be empty"));
        } else {
            errs.invalid_each(&p.child("topologyKey"), key, names::qualified_name(key));
        }
        let action = text(c, "whenUnsatisfiable");
        if !matches!(action, "DoNotSchedule" | "ScheduleAnyway") {
            let supported = &["DoNotSchedule", "ScheduleAnyway"];
            errs.push(Error::not_supported(
                &p.child("whenUnsatisfiable"),
                action,
                supported,
            ));
        }
        if seen.contains(&(key, action)) {
            errs.push(Error::duplicate(
                &p.child("{topologyKey, whenUnsatisfiable}"),
                format!("{{{key}, {action}}}"),
            ));
        }
        seen.push((key, action));
        if let Some(n) = c["minDomains"].as_i64() {
            if n <= 0 {
                errs.push(Error::invalid(
                    &p.child("minDomains"),
                    n,
                    "must be greater than zero",
                ));
            }
            if action != "DoNotSchedule" {
                errs.push(Error::invalid(
                    &p.child("minDomains"),
                    n,
                    format!(
                        "can only use minDomains if whenUnsatisfiable={}, not {action}",
                        "DoNotSchedule"
                    ),
                ));
            }
        }
        for f in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            one_of(&c[f], &["Honor", "Ignore"], &p.child(f), errs);
        }
        label_selector(&c["labelSelector"], &p.child("labelSelector"), errs);
    }
}

#[cfg(test)]
mod tests;

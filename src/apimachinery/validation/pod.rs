//! Pods and pod templates (upstream's `ValidatePodSpec` and what hangs on it).

mod affinity;
mod claims;
mod container;
mod env;
mod ephemeral;
mod probe;
mod resize;
mod restart;
mod security;
mod sources;
mod update;
mod volume;
mod windows;

use serde_json::Value;

use super::meta::template_meta;
use super::resource_names::of_pod;
use super::support::{label_selector, list, one_if_given, required_one_of, text};
use crate::field::{Error, ErrorList, Path};
use crate::{meta, names};

pub(super) use affinity::node_selector;
pub(super) use affinity::tolerations;
pub(super) use container::resources;
pub(super) use probe::port;
pub(super) use resize::pod as resize;
pub(super) use update::pod as update;
pub(super) use volume::persistent as volume_source;

/// What differs between a pod and a template of pods.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of<'a> {
    /// Its name.
    Pod(&'a str),
    Template,
}

/// What a container stands in.
#[derive(Clone, Copy)]
struct Around<'a> {
    spec: &'a Value,
    is_pod: bool,
    /// Names of the volumes that are well said.
    volumes: &'a [&'a str],
}

impl Around<'_> {
    /// Whether a volume is a claim's.
    fn is_claimed(&self, name: &str) -> bool {
        list(&self.spec["volumes"]).iter().any(|volume| {
            text(volume, "name") == name
                && (volume["persistentVolumeClaim"].is_object() || volume["ephemeral"].is_object())
        })
    }
}

/// What holds of any pod, new or old.
pub(super) fn valid(pod: &Value, errs: &mut ErrorList) {
    let of = Of::Pod(meta::name(pod));
    spec(&pod["spec"], &Path::new("spec"), of, errs);
    if text(&pod["spec"], "serviceAccountName").is_empty() {
        unaccounted_tokens(&pod["spec"], errs);
    }
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

/// A token is somebody's.
fn unaccounted_tokens(s: &Value, errs: &mut ErrorList) {
    for (i, volume) in list(&s["volumes"]).iter().enumerate() {
        for (j, source) in list(&volume["projected"]["sources"]).iter().enumerate() {
            if source["serviceAccountToken"].is_object() {
                let at = Path::new("spec").child("volumes").index(i).child("projected");
                errs.push(Error::forbidden(
                    &at.child("sources").index(j).child("serviceAccountToken"),
                    "must not be specified when serviceAccountName is not set",
                ));
            }
        }
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

fn spec(s: &Value, path: &Path, of: Of<'_>, errs: &mut ErrorList) {
    let volumes = volume::all(s, of, &path.child("volumes"), errs);
    let is_pod = of != Of::Template;
    claims::of_pod(s, &path.child("resourceClaims"), errs);
    let around = Around {
        spec: s,
        is_pod,
        volumes: &volumes,
    };
    container::all(around, path, errs);
    ephemeral::all(around, path, errs);
    env::file_volumes(s, path, errs);
    if s["resources"].is_object() {
        let at = path.child("resources");
        for list in ["limits", "requests"] {
            let names = s["resources"][list].as_object().into_iter();
            for name in names.flat_map(|names| names.keys()) {
                of_pod(name, &at.child(list).key(name), errs);
            }
        }
        let shares = &s["resources"]["claims"];
        if !shares.is_null() {
            errs.push(Error::forbidden(
                &at.child("claims"),
                "claims may not be set for Resources at pod-level",
            ));
        }
        claims::of_container(shares, s, &at.child("claims"), errs);
    }
    windows::host_processes(s, path, errs);
    host_name(s, &path.child("hostnameOverride"), errs);
    required_one_of(
        &s["restartPolicy"],
        &["Always", "OnFailure", "Never"],
        &path.child("restartPolicy"),
        errs,
    );
    required_one_of(&s["dnsPolicy"], DNS_POLICIES, &path.child("dnsPolicy"), errs);
    super::meta::labels(&s["nodeSelector"], &path.child("nodeSelector"), errs);
    security::pod(s, path, errs);
    container::host_ports(s, path, is_pod, errs);
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
        for (j, h) in list(&a["hostnames"]).iter().enumerate() {
            let h = h.as_str().unwrap_or("");
            errs.invalid_each(&p.child("hostnames").index(j), h, names::dns1123_subdomain(h));
        }
    }
    one_if_given(
        &s["preemptionPolicy"],
        &["PreemptLowerPriority", "Never"],
        &path.child("preemptionPolicy"),
        errs,
    );
    match s["os"]["name"].as_str() {
        None | Some("linux" | "windows") => {}
        Some("") => errs.push(Error::required(&path.child("os").child("name"), "")),
        Some(other) => errs.push(Error::not_supported(
            &path.child("os"),
            other,
            &["linux", "windows"],
        )),
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
            let d = d.strip_suffix('.').unwrap_or(d);
            errs.invalid_each(
                &path.child("searches").index(i),
                d,
                names::dns1123_subdomain_with_underscores(d),
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
        errs.invalid_each(&p, name, names::qualified_name(name));
        if seen.contains(&name) {
            errs.push(Error::duplicate(&p, name));
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
        let rest = list(&s["topologySpreadConstraints"]).iter().skip(i + 1);
        let again =
            |other: &Value| (text(other, "topologyKey"), text(other, "whenUnsatisfiable")) == (key, action);
        if rest.into_iter().any(again) {
            errs.push(Error::duplicate(
                &p.child("{topologyKey, whenUnsatisfiable}"),
                format!("{{{key}, {action}}}"),
            ));
        }
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
            one_if_given(&c[f], &["Honor", "Ignore"], &p.child(f), errs);
        }
        affinity::label_keys(c, &p, errs);
        label_selector(&c["labelSelector"], &p.child("labelSelector"), errs);
    }
}

/// A `hostnameOverride` (KEP-4762).
fn host_name(s: &Value, path: &Path, errs: &mut ErrorList) {
    let Some(name) = s["hostnameOverride"].as_str() else {
        return;
    };
    for field in ["setHostnameAsFQDN", "hostNetwork"] {
        if s[field] == true {
            let why = format!("may not be specified when {field} is true");
            errs.push(Error::forbidden(path, why));
        }
    }
    if name.len() > 64 {
        errs.push(Error::too_long(path, 64));
    }
    errs.invalid_each(path, name, names::dns1123_subdomain(name));
}

#[cfg(test)]
mod tests;

//! Pods, pod templates, containers and volumes.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Object, child, each, ensure, or, or_num, or_str, text, unset};
use crate::quantity::Quantity;

pub(super) fn pod(o: &mut Object) {
    let Some(spec) = ensure(o, "spec") else { return };
    self::spec(spec);
    let host_network = spec.get("hostNetwork").is_some_and(|v| v == true);
    for list in ["containers", "initContainers"] {
        each(spec, list, |c| {
            if let Some(r) = child(c, "resources") {
                requests_from_limits(r);
            }
            if host_network {
                each(c, "ports", |p| {
                    if let Some(port) = p.get("containerPort").cloned()
                        && p.get("hostPort").is_none_or(|h| h.is_null() || h == 0)
                    {
                        p.insert("hostPort".into(), port);
                    }
                });
            }
        });
    }
    pod_level(spec);
    or(spec, "enableServiceLinks", true);
}

/// Amounts of a whole pod (KEP-2837), where some are given: requests from the
/// containers' or else from the pod's limits, limits where all containers
/// have one.
fn pod_level(spec: &mut Object) {
    let given = |list: &str| {
        spec.get("resources")
            .and_then(|r| r[list].as_object())
            .filter(|l| !l.is_empty())
            .cloned()
    };
    let (requests, limits) = (given("requests"), given("limits"));
    let supported = |r: &str| matches!(r, "cpu" | "memory") || r.starts_with("hugepages-");
    let overcommit = |r: &str| matches!(r, "cpu" | "memory");
    if let Some(limits) = limits {
        let mut requests = requests.unwrap_or_default();
        for (r, q) in aggregate(spec, "requests") {
            if overcommit(&r) {
                or(&mut requests, &r, q.to_string());
            }
        }
        for (r, q) in limits {
            if supported(&r) {
                or(&mut requests, &r, q);
            }
        }
        if let Some(own) = child(spec, "resources") {
            own.insert("requests".into(), requests.into());
        }
    } else if requests.is_some() {
        let everywhere = |r: &str| {
            let all = ["containers", "initContainers"];
            all.iter()
                .flat_map(|l| spec.get(*l).and_then(Value::as_array).into_iter().flatten())
                .all(|c| !c["resources"]["limits"][r].is_null())
        };
        let limits: Object = aggregate(spec, "limits")
            .into_iter()
            .filter(|(r, _)| overcommit(r) && everywhere(r))
            .map(|(r, q)| (r, Value::from(q.to_string())))
            .collect();
        if !limits.is_empty()
            && let Some(own) = child(spec, "resources")
        {
            own.insert("limits".into(), limits.into());
        }
    }
}

/// What all containers of a pod come to at the worst moment: the running ones
/// together, or one init container beside the sidecars started before it.
fn aggregate(spec: &Object, list: &str) -> BTreeMap<String, Quantity> {
    let containers = |l: &str| spec.get(l).and_then(Value::as_array).into_iter().flatten();
    let amounts = |c: &Value| -> Vec<(String, Quantity)> {
        let all = c["resources"][list].as_object().into_iter().flatten();
        all.filter_map(|(k, v)| Some((k.clone(), Quantity::from_value(v).ok()?)))
            .collect()
    };
    let add = |to: &mut BTreeMap<String, Quantity>, c: &Value| {
        for (r, q) in amounts(c) {
            *to.entry(r).or_default() += q;
        }
    };
    let mut running = BTreeMap::new();
    containers("containers").for_each(|c| add(&mut running, c));
    let mut sidecars: BTreeMap<String, Quantity> = BTreeMap::new();
    let mut starting: BTreeMap<String, Quantity> = BTreeMap::new();
    for c in containers("initContainers") {
        let mut at_once = sidecars.clone();
        add(&mut at_once, c);
        if c["restartPolicy"] == "Always" {
            sidecars = at_once.clone();
            add(&mut running, c);
        }
        for (r, q) in at_once {
            let most = starting.entry(r).or_insert(q);
            *most = (*most).max(q);
        }
    }
    for (r, q) in starting {
        let most = running.entry(r).or_insert(q);
        *most = (*most).max(q);
    }
    running
}

/// What has a limit but no request requests its limit.
fn requests_from_limits(r: &mut Object) {
    let Some(limits) = r.get("limits").and_then(Value::as_object).cloned() else {
        return;
    };
    let Some(requests) = ensure(r, "requests") else {
        return;
    };
    for (k, v) in limits {
        or(requests, &k, v);
    }
    if requests.is_empty() {
        r.remove("requests");
    }
}

pub(super) fn template(t: &mut Object) {
    ensure(t, "metadata");
    if let Some(s) = ensure(t, "spec") {
        spec(s);
    }
}

fn spec(s: &mut Object) {
    or_str(s, "dnsPolicy", "ClusterFirst");
    or_str(s, "restartPolicy", "Always");
    or(s, "securityContext", Object::new());
    or(s, "terminationGracePeriodSeconds", 30);
    or_str(s, "schedulerName", "default-scheduler");
    service_account_alias(s);
    if let Some(r) = child(s, "resources") {
        resources(r);
    }
    each(s, "volumes", volume);
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        each(s, list, container);
    }
    if let Some(overhead) = child(s, "overhead") {
        resource_list(overhead);
    }
}

/// `serviceAccount` is the old name of `serviceAccountName`; both are shown.
pub(super) fn service_account_alias(s: &mut Object) {
    if text(s, "serviceAccountName").is_empty() {
        let old = text(s, "serviceAccount").to_owned();
        if old.is_empty() {
            return;
        }
        s.insert("serviceAccountName".into(), old.into());
    }
    let name = text(s, "serviceAccountName").to_owned();
    s.insert("serviceAccount".into(), name.into());
}

fn container(c: &mut Object) {
    if text(c, "imagePullPolicy").is_empty() {
        let policy = pull_policy(text(c, "image"));
        c.insert("imagePullPolicy".into(), policy.into());
    }
    or_str(c, "terminationMessagePath", "/dev/termination-log");
    or_str(c, "terminationMessagePolicy", "File");
    if let Some(r) = ensure(c, "resources") {
        resources(r);
    }
    each(c, "ports", |p| or_str(p, "protocol", "TCP"));
    each(c, "env", |e| {
        if let Some(r) = child(e, "valueFrom").and_then(|v| child(v, "fieldRef")) {
            or_str(r, "apiVersion", "v1");
        }
    });
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(p) = child(c, name) {
            probe(p);
        }
    }
    if let Some(l) = child(c, "lifecycle") {
        for name in ["postStart", "preStop"] {
            if let Some(h) = child(l, name) {
                handler(h);
            }
        }
    }
}

fn resources(r: &mut Object) {
    for name in ["limits", "requests"] {
        if let Some(l) = child(r, name) {
            resource_list(l);
        }
    }
}

/// Amounts are held in thousandths at the finest, in canonical form.
pub(super) fn resource_list(l: &mut Object) {
    for v in l.values_mut() {
        if let Ok(q) = Quantity::from_value(v) {
            let fine = Quantity::from_milli(q.milli());
            *v = (if fine == q || q.milli() == i64::MAX {
                q
            } else {
                fine
            })
            .to_string()
            .into();
        }
    }
}

/// `Always` for the tag `latest`, given or implied.
pub(super) fn pull_policy(image: &str) -> &'static str {
    // A reference that can't be read has no tag to upstream.
    let digits = image.len() == 64 && image.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
    // With the registry's own prefix.
    let too_long = image.len() + "docker.io/library/".len() > 255 && !image.contains(['/', ':', '@']);
    if image.is_empty() || digits || too_long || image.contains(|c: char| c.is_whitespace() || c == '!') {
        return "IfNotPresent";
    }
    let (name, digest) = image.split_once('@').map_or((image, None), |(n, d)| (n, Some(d)));
    let tag = name
        .rsplit_once('/')
        .map_or(name, |(_, last)| last)
        .split_once(':')
        .map(|(_, t)| t);
    match (tag, digest) {
        (Some("latest"), _) | (None, None) => "Always",
        _ => "IfNotPresent",
    }
}

fn probe(p: &mut Object) {
    or_num(p, "timeoutSeconds", 1);
    or_num(p, "periodSeconds", 10);
    or_num(p, "successThreshold", 1);
    or_num(p, "failureThreshold", 3);
    handler(p);
    if let Some(g) = child(p, "grpc") {
        or(g, "service", "");
    }
}

fn handler(h: &mut Object) {
    if let Some(g) = child(h, "httpGet") {
        or_str(g, "path", "/");
        or_str(g, "scheme", "HTTP");
    }
}

fn volume(v: &mut Object) {
    if v.iter().all(|(k, x)| k == "name" || x.is_null()) {
        v.insert("emptyDir".into(), json!({}));
        return;
    }
    volume_source(v);
    if let Some(h) = child(v, "hostPath") {
        or(h, "type", "");
    }
    for name in ["secret", "configMap", "downwardAPI", "projected"] {
        if let Some(s) = child(v, name) {
            or(s, "defaultMode", 0o644);
        }
    }
    if let Some(d) = child(v, "downwardAPI") {
        downward(d);
    }
    if let Some(p) = child(v, "projected") {
        each(p, "sources", |s| {
            if let Some(t) = child(s, "serviceAccountToken") {
                or(t, "expirationSeconds", 3600);
            }
            if let Some(d) = child(s, "downwardAPI") {
                downward(d);
            }
        });
    }
    if let Some(i) = child(v, "image")
        && text(i, "pullPolicy").is_empty()
    {
        let policy = pull_policy(text(i, "reference"));
        i.insert("pullPolicy".into(), policy.into());
    }
    if let Some(spec) = child(v, "ephemeral")
        .and_then(|e| child(e, "volumeClaimTemplate"))
        .and_then(|t| child(t, "spec"))
    {
        or(spec, "volumeMode", "Filesystem");
    }
}

/// The sources that PersistentVolumes have as well.
pub(super) fn volume_source(v: &mut Object) {
    if let Some(s) = child(v, "iscsi") {
        or_str(s, "iscsiInterface", "default");
    }
    if let Some(s) = child(v, "rbd") {
        or_str(s, "pool", "rbd");
        or_str(s, "user", "admin");
        or_str(s, "keyring", "/etc/ceph/keyring");
    }
    if let Some(s) = child(v, "azureDisk") {
        or(s, "cachingMode", "ReadWrite");
        or(s, "kind", "Shared");
        or(s, "fsType", "ext4");
        or(s, "readOnly", false);
    }
    if let Some(s) = child(v, "scaleIO") {
        or_str(s, "storageMode", "ThinProvisioned");
        or_str(s, "fsType", "xfs");
    }
}

fn downward(d: &mut Object) {
    each(d, "items", |i| {
        if let Some(r) = child(i, "fieldRef") {
            or_str(r, "apiVersion", "v1");
        }
        if let Some(r) = child(i, "resourceFieldRef")
            && unset(r.get("divisor"))
        {
            r.insert("divisor".into(), "0".into());
        }
    });
}

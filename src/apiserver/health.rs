//! `/healthz`, `/livez`, `/readyz`, `/version`.

use std::collections::BTreeMap;

use axum::body::Body;
use http::{HeaderMap, Response, StatusCode};
use serde_json::{Value, json};

use crate::{
    core::Core,
    registry::render,
    request::{info::query_pairs, route},
};

/// The version this server reports.
pub(crate) fn version() -> Value {
    json!({
        "major": "1", "minor": "35", "emulationMajor": "1", "emulationMinor": "35",
        "minCompatibilityMajor": "1", "minCompatibilityMinor": "34",
        "gitVersion": crate::VERSION, "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z", "goVersion": "rust", "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, go_arch()),
    })
}

fn go_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Number of stored objects by resource.
pub(crate) fn object_counts(core: &Core) -> Vec<(String, usize)> {
    let catalog = core.catalog.now();
    let stored: BTreeMap<&str, (&str, &str)> = catalog
        .all()
        .iter()
        .map(|def| (def.storage_prefix, (def.resource, def.storage_group)))
        .collect();
    stored
        .into_iter()
        .filter_map(|(prefix, (resource, group))| {
            let count = core.cache.cacher(prefix)?.snapshot(0).objects.len();
            let name = if group.is_empty() {
                resource.to_owned()
            } else {
                format!("{resource}.{group}")
            };
            Some((name, count))
        })
        .collect()
}

/// A named check: its name and what is wrong, if anything.
type Check = (String, Option<String>);

/// What is set up before the server answers at all, by upstream's names and in upstream's order.
const HOOKS: [&str; 28] = [
    "start-apiserver-admission-initializer",
    "generic-apiserver-start-informers",
    "priority-and-fairness-config-consumer",
    "priority-and-fairness-filter",
    "storage-object-count-tracker-hook",
    "start-apiextensions-informers",
    "start-apiextensions-controllers",
    "crd-informer-synced",
    "start-system-namespaces-controller",
    "start-cluster-authentication-info-controller",
    "start-kube-apiserver-identity-lease-controller",
    "start-kube-apiserver-identity-lease-garbage-collector",
    "start-legacy-token-tracking-controller",
    "start-service-ip-repair-controllers",
    "rbac/bootstrap-roles",
    "scheduling/bootstrap-system-priority-classes",
    "priority-and-fairness-config-producer",
    "bootstrap-controller",
    "start-kubernetes-service-cidr-controller",
    "start-kube-aggregator-informers",
    "apiservice-status-local-available-controller",
    "apiservice-status-remote-available-controller",
    "apiservice-registration-controller",
    "apiservice-discovery-controller",
    "kube-apiserver-autoregistration",
    AUTOREGISTERED,
    "apiservice-openapi-controller",
    "apiservice-openapiv3-controller",
];

/// The one among [`HOOKS`] that goes on while the server answers; it has no prefix.
const AUTOREGISTERED: &str = "autoregister-completion";

/// Every health path.
pub(crate) const KINDS: [&str; 3] = ["healthz", "livez", "readyz"];

async fn checks(core: &Core, kind: &str) -> Vec<Check> {
    let store = core.store.health().err().map(|e| e.to_string());
    let mut all: Vec<Check> = vec![
        ("ping".into(), None),
        ("log".into(), None),
        ("etcd".into(), store.clone()),
    ];
    if kind == "readyz" {
        all.push(("etcd-readiness".into(), store));
        let behind = !core.cache.is_following();
        let why = "watch caches do not follow the store".to_owned();
        all.push(("informer-sync".into(), behind.then_some(why)));
    }
    all.extend(HOOKS.iter().map(|hook| match *hook {
        AUTOREGISTERED => {
            let missing = !core.aggregation.is_registered();
            (
                AUTOREGISTERED.to_owned(),
                missing.then(|| "missing APIService".to_owned()),
            )
        }
        hook => (format!("poststarthook/{hook}"), None),
    }));
    if kind != "livez"
        && let Some(encryption) = &core.encryption
        && let Some(outcome) = encryption.check().await
    {
        all.push(("kms-providers".into(), outcome.err()));
    }
    if kind == "readyz" {
        let leaving = core.leaving.is_cancelled() || core.shutdown.is_cancelled();
        all.push((
            "shutdown".into(),
            leaving.then(|| "process is shutting down".to_owned()),
        ));
    }
    all
}

/// The path of every health check.
pub(crate) async fn paths(core: &Core) -> Vec<String> {
    let mut all = Vec::new();
    for kind in KINDS {
        all.push(format!("/{kind}"));
        let single = checks(core, kind).await.into_iter();
        all.extend(single.map(|(name, _)| format!("/{kind}/{name}")));
    }
    all
}

/// `/metrics/slis`: the present result of each check.
/// Upstream: KEP-3466.
pub(crate) async fn slis(core: &Core) -> String {
    let mut lines: Vec<String> = Vec::new();
    for kind in KINDS {
        lines.extend(checks(core, kind).await.into_iter().map(|(name, why)| {
            let good = u8::from(why.is_none());
            format!("kubernetes_healthcheck{{name={name:?},type={kind:?}}} {good}\n")
        }));
    }
    lines.sort();
    format!(
        "# HELP kubernetes_healthcheck [STABLE] This metric records the result of a single healthcheck.\n\
         # TYPE kubernetes_healthcheck gauge\n{}",
        lines.concat()
    )
}

/// Whether a path is one of those that [`serve`] answers.
pub(crate) fn is_health(path: &str) -> bool {
    let first = path.trim_matches('/').split('/').next();
    matches!(first, Some("healthz" | "livez" | "readyz"))
}

/// Answers a health path; `None` when it is none.
pub(crate) async fn serve(core: &Core, path: &str, query: Option<&str>) -> Option<Response<Body>> {
    let path = path.strip_prefix('/')?;
    let (kind, single) = match path.split_once('/') {
        Some((kind, single)) => (kind, Some(single)),
        None => (path, None),
    };
    if !KINDS.contains(&kind) {
        return None;
    }
    let all = checks(core, kind).await;
    if let Some(single) = single {
        let (name, why) = all.into_iter().find(|(name, _)| name == single)?;
        let (code, text) = match why {
            None => (StatusCode::OK, "ok".to_owned()),
            Some(why) => {
                tracing::warn!(check = name, why, "health check failed");
                let text = format!("internal server error: {why}\n");
                (StatusCode::INTERNAL_SERVER_ERROR, text)
            }
        };
        let mut response = render::respond(code, "text/plain; charset=utf-8", text.into(), &HeaderMap::new());
        if code != StatusCode::OK {
            route::no_sniff(&mut response);
        }
        return Some(response);
    }
    let pairs = query_pairs(query);
    let excluded: Vec<&str> = pairs
        .iter()
        .filter(|(k, _)| k == "exclude")
        .map(|(_, v)| v.as_str())
        .collect();
    let failed = all
        .iter()
        .any(|(name, why)| why.is_some() && !excluded.contains(&name.as_str()));
    let verbose = pairs.iter().any(|(k, _)| k == "verbose");
    let mut text = String::new();
    if verbose || failed {
        for (name, why) in &all {
            match why {
                _ if excluded.contains(&name.as_str()) => text.push_str(&format!("[+]{name} excluded: ok\n")),
                None => text.push_str(&format!("[+]{name} ok\n")),
                Some(_) => text.push_str(&format!("[-]{name} failed: reason withheld\n")),
            }
        }
        text.push_str(&format!(
            "{kind} check {}\n",
            if failed { "failed" } else { "passed" }
        ));
    } else {
        text.push_str("ok");
    }
    let unknown: Vec<String> = excluded
        .iter()
        .filter(|wanted| !all.iter().any(|(name, _)| name == *wanted))
        .map(|name| format!("{name:?}"))
        .collect();
    if !unknown.is_empty() && (verbose || failed) {
        let warning = format!(
            "warn: some health checks cannot be excluded: no matches for {}\n",
            unknown.join(",")
        );
        let end = text.rfind(kind).unwrap_or(text.len());
        text.insert_str(end, &warning);
    }
    for (name, why) in all.iter().filter_map(|(n, w)| Some((n, w.as_ref()?))) {
        tracing::warn!(check = name, why, "health check failed");
    }
    let code = if failed {
        StatusCode::INTERNAL_SERVER_ERROR
    } else {
        StatusCode::OK
    };
    let mut response = render::respond(code, "text/plain; charset=utf-8", text.into(), &HeaderMap::new());
    route::no_sniff(&mut response);
    Some(response)
}

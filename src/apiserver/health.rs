//! `/healthz`, `/livez`, `/readyz`, `/version`.

use std::collections::BTreeMap;

use axum::body::Body;
use http::{HeaderMap, Response, StatusCode};
use serde_json::{Value, json};

use crate::{core::Core, registry::render, request::info::query_pairs};

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
type Check = (&'static str, Option<String>);

async fn checks(core: &Core, kind: &str) -> Vec<Check> {
    let store = core.store.health().err().map(|e| e.to_string());
    let mut all: Vec<Check> = vec![("ping", None), ("log", None), ("etcd", store)];
    if kind == "readyz" {
        all.push(("informer-sync", None));
    }
    if kind != "livez" {
        all.push(("poststarthook/rbac/bootstrap-roles", None));
        all.push(("poststarthook/priority-and-fairness-config-producer", None));
        all.push(("poststarthook/priority-and-fairness-config-consumer", None));
        all.push(("poststarthook/start-system-namespaces-controller", None));
        all.push(("poststarthook/apiservice-registration-controller", None));
        let registered = core.aggregation.is_registered();
        all.push((
            "autoregister-completion",
            (!registered).then(|| "missing APIService".to_owned()),
        ));
        all.push(("poststarthook/scheduling/bootstrap-system-priority-classes", None));
    }
    if kind != "livez"
        && let Some(encryption) = &core.encryption
        && let Some(outcome) = encryption.check().await
    {
        all.push(("kms-providers", outcome.err()));
    }
    if kind == "readyz" {
        let leaving = core.leaving.is_cancelled() || core.shutdown.is_cancelled();
        all.push(("shutdown", leaving.then(|| "process is shutting down".to_owned())));
    }
    all
}

/// Answers a health path; `None` when it is none.
pub(crate) async fn serve(core: &Core, path: &str, query: Option<&str>) -> Option<Response<Body>> {
    let path = path.trim_matches('/');
    let (kind, single) = path.split_once('/').unwrap_or((path, ""));
    if !matches!(kind, "healthz" | "livez" | "readyz") {
        return None;
    }
    let mut all = checks(core, kind).await;
    if !single.is_empty() {
        all.retain(|(name, _)| *name == single);
        if all.is_empty() {
            return None;
        }
    }
    let pairs = query_pairs(query);
    let excluded: Vec<&str> = pairs
        .iter()
        .filter(|(k, _)| k == "exclude")
        .map(|(_, v)| v.as_str())
        .collect();
    let failed = all
        .iter()
        .any(|(name, why)| why.is_some() && !excluded.contains(name));
    let verbose = pairs.iter().any(|(k, _)| k == "verbose");
    let mut text = String::new();
    if verbose || failed {
        for (name, why) in &all {
            match why {
                _ if excluded.contains(name) => text.push_str(&format!("[+]{name} excluded: ok\n")),
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
    response.headers_mut().insert(
        "x-content-type-options",
        http::HeaderValue::from_static("nosniff"),
    );
    Some(response)
}

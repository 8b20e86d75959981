//! Counters that the layers around the registry keep themselves.

use std::fmt::Write as _;

use crate::core::Core;

/// Aggregation, audit and tokens in text form.
pub(crate) fn render(core: &Core) -> String {
    let mut out = String::new();
    let remote = core.aggregation.availability();
    if !remote.is_empty() {
        head(
            &mut out,
            "aggregator_unavailable_apiservice",
            "gauge",
            "APIServices that are marked unavailable, by name.",
        );
        for (name, available) in remote {
            line(
                &mut out,
                "aggregator_unavailable_apiservice",
                &format!("name=\"{name}\""),
                u64::from(!available),
            );
        }
    }
    if let Some(audit) = &core.audit {
        let name = "apiserver_audit_event_total";
        head(
            &mut out,
            name,
            "counter",
            "Audit events generated and sent to the audit backend.",
        );
        line(&mut out, name, "", audit.events());
    }
    super::admission::render(&mut out, &core.admission.mutated, &core.admission.validated);
    let verdicts = &core.metrics.verdicts;
    for (name, help, results) in [
        (
            "authentication_attempts",
            "Counter of authenticated attempts.",
            [
                ("success", &verdicts.authenticated),
                ("failure", &verdicts.unauthenticated),
            ],
        ),
        (
            "authorization_attempts_total",
            "Counter of authorization attempts broken down by result. It can be either 'allowed', 'denied', 'no-opinion' or 'error'.",
            [("allowed", &verdicts.allowed), ("no-opinion", &verdicts.denied)],
        ),
    ] {
        head(&mut out, name, "counter", help);
        for (result, count) in results {
            let count = count.load(std::sync::atomic::Ordering::Relaxed);
            line(&mut out, name, &format!("result=\"{result}\""), count);
        }
    }
    let name = "serviceaccount_stale_tokens_total";
    head(
        &mut out,
        name,
        "counter",
        "Cumulative stale projected service account tokens used.",
    );
    line(&mut out, name, "", core.tokens.stale());
    core.metrics.reloads.render(&mut out);
    if let Some(size) = core.store.size() {
        let name = "apiserver_storage_size_bytes";
        head(&mut out, name, "gauge", "Bytes that the store takes on disk.");
        line(&mut out, name, "storage_cluster_id=\"etcd-0\"", size);
    }
    out
}

/// The lines above a metric.
pub(crate) fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    // Writing to a string does not fail.
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

/// One value; `labels` as they stand between braces.
pub(crate) fn line(out: &mut String, name: &str, labels: &str, value: impl std::fmt::Display) {
    let _ = match labels {
        "" => writeln!(out, "{name} {value}"),
        labels => writeln!(out, "{name}{{{labels}}} {value}"),
    };
}

//! Admission under upstream's names (`k8s.io/apiserver/pkg/admission/metrics`).

use std::{collections::BTreeMap, time::Duration};

use parking_lot::Mutex;

use super::{
    histogram::Histogram,
    layers::{head, line},
    timings::Timings,
};

/// Upper bounds of webhooks' durations, in seconds.
const BOUNDS: &[f64] = &[0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 10.0, 25.0];
/// Codes above are counted as this one.
const MAX_CODE: u16 = 600;

/// What a webhook's call came to.
pub(crate) enum Called {
    Allowed,
    /// Refused, with the code it told.
    Refused(u16),
    /// It could not be asked, and the request fails.
    Failed,
    /// It could not be asked, and the request passes.
    FailedOpen,
    /// This server could not use its answer.
    Unusable,
}

#[derive(Default)]
struct Tables {
    webhooks: BTreeMap<String, Histogram>,
    rejections: BTreeMap<String, u64>,
    open: BTreeMap<String, u64>,
    requests: BTreeMap<String, u64>,
}

/// How long plugins take: all that mutate or validate together, and each by its name.
pub(crate) struct Plugins {
    pub step: Timings,
    pub each: Vec<(&'static str, Timings)>,
}

impl Plugins {
    /// Of plugins in their order.
    pub(crate) fn new(names: impl Iterator<Item = &'static str>) -> Self {
        Plugins {
            step: Timings::default(),
            each: names.map(|name| (name, Timings::default())).collect(),
        }
    }
}

/// Plugins that mutate and plugins that validate, in text form.
pub(crate) fn render(out: &mut String, mutating: &Plugins, validating: &Plugins) {
    let both = [("admit", mutating), ("validate", validating)];
    let name = "apiserver_admission_step_admission_duration_seconds";
    let help = "Duration of all plugins of a kind in seconds, by operation and outcome.";
    head(out, name, "histogram", help);
    for (kind, plugins) in both {
        plugins.step.write(out, name, "", kind);
    }
    let name = "apiserver_admission_controller_admission_duration_seconds";
    let help = "Duration of admission plugins in seconds, by name, operation and outcome.";
    head(out, name, "histogram", help);
    for (kind, plugins) in both {
        for (plugin, timings) in &plugins.each {
            timings.write(out, name, &format!("name=\"{plugin}\","), kind);
        }
    }
}

/// What webhooks say, and how long they take.
#[derive(Default)]
pub(crate) struct Webhooks(Mutex<Tables>);

impl Webhooks {
    /// A webhook was called.
    pub(crate) fn called(
        &self,
        name: &str,
        mutating: bool,
        operation: &str,
        called: &Called,
        took: Duration,
    ) {
        let kind = if mutating { "admit" } else { "validating" };
        let rejected = !matches!(called, Called::Allowed | Called::FailedOpen);
        let (error, code, status) = match called {
            Called::Allowed => ("no_error", 0, 200),
            Called::Refused(code) => ("no_error", (*code).min(MAX_CODE), (*code).min(MAX_CODE)),
            Called::Failed | Called::FailedOpen => ("calling_webhook_error", 0, 0),
            Called::Unusable => ("apiserver_internal_error", 500, 500),
        };
        let mut tables = self.0.lock();
        let labels =
            format!("name=\"{name}\",operation=\"{operation}\",rejected=\"{rejected}\",type=\"{kind}\"");
        let durations = tables.webhooks.entry(labels);
        durations.or_insert_with(|| Histogram::new(BOUNDS)).observe(took);
        let labels = format!(
            "code=\"{status}\",name=\"{name}\",operation=\"{operation}\",rejected=\"{rejected}\",type=\"{kind}\""
        );
        *tables.requests.entry(labels).or_default() += 1;
        if rejected {
            let labels = format!(
                "error_type=\"{error}\",name=\"{name}\",operation=\"{operation}\",rejection_code=\"{code}\",type=\"{kind}\""
            );
            *tables.rejections.entry(labels).or_default() += 1;
        }
        if matches!(called, Called::FailedOpen) {
            let labels = format!("name=\"{name}\",type=\"{kind}\"");
            *tables.open.entry(labels).or_default() += 1;
        }
    }

    /// Everything in text form.
    pub(super) fn render(&self, out: &mut String) {
        let tables = self.0.lock();
        let name = "apiserver_admission_webhook_admission_duration_seconds";
        if !tables.webhooks.is_empty() {
            let help = "Duration of admission webhooks in seconds, by name, operation and outcome.";
            head(out, name, "histogram", help);
        }
        for (labels, durations) in &tables.webhooks {
            durations.write(out, name, labels, 0.0);
        }
        for (name, help, all) in [
            (
                "apiserver_admission_webhook_request_total",
                "Calls of admission webhooks, by name, operation, code and outcome.",
                &tables.requests,
            ),
            (
                "apiserver_admission_webhook_rejection_count",
                "Requests that admission webhooks rejected, by name, operation and kind of error.",
                &tables.rejections,
            ),
            (
                "apiserver_admission_webhook_fail_open_count",
                "Requests that passed although an admission webhook failed, by name.",
                &tables.open,
            ),
        ] {
            if !all.is_empty() {
                head(out, name, "counter", help);
            }
            for (labels, count) in all {
                line(out, name, labels, count);
            }
        }
    }
}

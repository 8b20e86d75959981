//! One webhook of a configuration, read once when the configuration changes.

use std::time::Duration;

use rkind_apimachinery::{meta, selector::LabelSelector};
use serde_json::Value;

use super::matching::selector;
use crate::{admission::conditions::Conditions, machinery::strings, webhook::Target};

/// A `RuleWithOperations`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::admission) struct Rule {
    pub operations: Vec<String>,
    pub groups: Vec<String>,
    pub versions: Vec<String>,
    pub resources: Vec<String>,
    /// `*`, `Namespaced` or `Cluster`.
    pub scope: String,
}

/// A webhook as a request meets it.
pub(super) struct Hook {
    /// Tells it apart from all others: configuration, name, and which of that name.
    pub uid: String,
    pub name: String,
    pub configuration: String,
    /// The error is what a call fails with.
    pub target: Result<Target, String>,
    pub rules: Vec<Rule>,
    pub namespaces: Result<LabelSelector, String>,
    pub objects: Result<LabelSelector, String>,
    /// A failed call lets the request pass.
    pub fails_open: bool,
    /// Other versions of a resource that a rule names are meant as well.
    pub equivalent: bool,
    pub timeout: Duration,
    /// Whether it may be called for a dry run; `None` when it does not say.
    pub dry_run: Option<bool>,
    /// May be asked again when a later plugin changed the object.
    pub reinvoke: bool,
    pub conditions: Conditions,
    /// `v1` or `v1beta1`, the first that it and this server know.
    pub review_version: Option<&'static str>,
}

impl Hook {
    /// All webhooks of a configuration object, in order.
    pub(super) fn all(configuration: &Value) -> Vec<Hook> {
        let of = meta::name(configuration);
        let hooks = configuration["webhooks"].as_array();
        let mut names: Vec<&str> = Vec::new();
        hooks
            .into_iter()
            .flatten()
            .map(|hook| {
                let name = hook["name"].as_str().unwrap_or_default();
                let nth = names.iter().filter(|known| **known == name).count();
                names.push(name);
                Hook::read(of, nth, hook)
            })
            .collect()
    }

    fn read(configuration: &str, nth: usize, hook: &Value) -> Hook {
        let name = hook["name"].as_str().unwrap_or_default();
        let rules = hook["rules"].as_array().into_iter().flatten();
        let versions = strings(&hook["admissionReviewVersions"]);
        Hook {
            uid: format!("{configuration}/{name}/{nth}"),
            name: name.to_owned(),
            configuration: configuration.to_owned(),
            target: Target::of(&hook["clientConfig"]).map_err(|e| e.to_string()),
            rules: rules
                .map(|rule| Rule {
                    operations: strings(&rule["operations"]),
                    groups: strings(&rule["apiGroups"]),
                    versions: strings(&rule["apiVersions"]),
                    resources: strings(&rule["resources"]),
                    scope: rule["scope"].as_str().unwrap_or("*").to_owned(),
                })
                .collect(),
            namespaces: selector(&hook["namespaceSelector"]),
            objects: selector(&hook["objectSelector"]),
            fails_open: hook["failurePolicy"] == "Ignore",
            equivalent: hook["matchPolicy"] != "Exact",
            timeout: Duration::from_secs(hook["timeoutSeconds"].as_u64().unwrap_or(10)),
            dry_run: hook["sideEffects"]
                .as_str()
                .map(|effects| matches!(effects, "None" | "NoneOnDryRun")),
            reinvoke: hook["reinvocationPolicy"] == "IfNeeded",
            conditions: Conditions::compile(&hook["matchConditions"]),
            review_version: versions.iter().find_map(|version| match version.as_str() {
                "v1" => Some("v1"),
                "v1beta1" => Some("v1beta1"),
                _ => None,
            }),
        }
    }
}

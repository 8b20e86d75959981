//! The pod security standards of namespaces are held. Upstream: `k8s.io/pod-security-admission/admission`.
//!
//! What a standard forbids is [`rkind_apimachinery::podsecurity`]'s. Unless the plugin is configured otherwise, no
//! namespace, user or runtime class is exempt, and a namespace without labels is privileged.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use rkind_apimachinery::{
    field::quote,
    meta::{self, GroupResource},
    podsecurity::{Level, LevelVersion, Policy, Violations, evaluate},
    status::Status,
};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Operation, Request, Validate};
use crate::{config_file::Kind, error::Result};

/// How many pods of a namespace are looked at when its standard changes, and for how long.
const MOST_PODS: usize = 3000;
const LONGEST: Duration = Duration::from_secs(1);

/// What the labels that set a namespace's standards begin with.
const LABELS: &str = "pod-security.kubernetes.io/";

/// Subresources of pods that are no pods.
const OTHERS: [&str; 8] = [
    "exec",
    "attach",
    "binding",
    "eviction",
    "log",
    "portforward",
    "proxy",
    "status",
];

const KIND: Kind = Kind {
    name: "PodSecurityConfiguration",
    group: "pod-security.admission.config.k8s.io",
    versions: &["v1"],
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Configuration {
    #[serde(default)]
    defaults: Map<String, Value>,
    #[serde(default)]
    exemptions: Exemptions,
}

/// Who and what no standard holds for.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct Exemptions {
    usernames: Vec<String>,
    namespaces: Vec<String>,
    runtime_classes: Vec<String>,
}

#[derive(Default)]
pub(super) struct PodSecurity {
    /// Of what namespaces do not say.
    defaults: Policy,
    exemptions: Exemptions,
}

impl PodSecurity {
    /// By the plugin's configuration.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn new(configuration: &Value) -> Result<Self, String> {
        let read: Configuration = KIND.of(configuration.clone())?;
        let defaults = Policy::configured(&read.defaults).map_err(|errors| {
            let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
            errors.join(", ")
        })?;
        Ok(PodSecurity {
            defaults,
            exemptions: read.exemptions,
        })
    }

    /// Whether a request is exempt; why is noted.
    fn exempts(&self, request: &Request<'_>, pod: &Value) -> bool {
        let has = |list: &[String], name: &str| !name.is_empty() && list.iter().any(|own| own == name);
        let class = pod["spec"]["runtimeClassName"].as_str().unwrap_or_default();
        let why = if has(&self.exemptions.namespaces, request.namespace) {
            "namespace"
        } else if has(&self.exemptions.usernames, &request.user.name) {
            "user"
        } else if has(&self.exemptions.runtime_classes, class) {
            "runtimeClass"
        } else {
            return false;
        };
        request.notes.annotate(format!("{LABELS}exempt"), why);
        true
    }
}

#[async_trait]
impl Validate for PodSecurity {
    fn name(&self) -> &'static str {
        "PodSecurity"
    }

    async fn validate(&self, request: &Request<'_>) -> Result<()> {
        if !matches!(request.operation, Operation::Create | Operation::Update) {
            return Ok(());
        }
        match (request.def.group, request.def.resource) {
            ("", "namespaces") if request.sub.is_empty() => self.namespace(request),
            ("", "pods") if !OTHERS.contains(&request.sub) => self.pod(request),
            ("", "replicationcontrollers")
            | ("apps", "replicasets" | "deployments" | "statefulsets" | "daemonsets")
            | ("batch", "jobs")
                if request.sub.is_empty() =>
            {
                self.template(request, &request.object["spec"]["template"])
            }
            ("", "podtemplates") => self.template(request, &request.object["template"]),
            ("batch", "cronjobs") if request.sub.is_empty() => self.template(
                request,
                &request.object["spec"]["jobTemplate"]["spec"]["template"],
            ),
            _ => Ok(()),
        }
    }
}

fn judge(level: LevelVersion, object: &Value) -> Violations {
    evaluate(level, meta::annotations(object), &object["spec"])
}

impl PodSecurity {
    /// The policy of the request's namespace; labels that cannot be read are noted.
    fn policy(&self, request: &Request<'_>) -> Result<Policy> {
        let gr = GroupResource::new("", "namespaces");
        let namespace = request
            .core
            .cached("core/namespaces", request.namespace)
            .ok_or_else(|| Status::not_found(&gr, request.namespace))?;
        // Most namespaces say nothing, which is no reason to read them whole.
        if !namespace.labels().keys().any(|key| key.starts_with(LABELS)) {
            return Ok(self.defaults);
        }
        let namespace = namespace.to_value();
        let (policy, errors) = Policy::of(meta::labels(&namespace), &self.defaults);
        if let Some(error) = errors.iter().next() {
            request.notes.annotate(
                "pod-security.kubernetes.io/error",
                format!("Failed to parse policy: {error}"),
            );
        }
        Ok(policy)
    }
}

fn would_violate(level: LevelVersion, found: &Violations) -> String {
    format!(
        "would violate PodSecurity {}: {}",
        quote(&level.to_string()),
        found.detail()
    )
}

impl PodSecurity {
    fn pod(&self, request: &Request<'_>) -> Result<()> {
        let policy = self.policy(request)?;
        if policy.is_privileged() || self.exempts(request, request.object) {
            return Ok(());
        }
        if let Some(old) = request.old
            && !is_significant(request.object, old)
        {
            return Ok(());
        }
        let found = judge(policy.enforce, request.object);
        request.notes.annotate(
            "pod-security.kubernetes.io/enforce-policy",
            policy.enforce.to_string(),
        );
        audit(request, &policy, request.object);
        if !found.is_empty() {
            return Err(request.forbidden(&format!(
                "violates PodSecurity {}: {}",
                quote(&policy.enforce.to_string()),
                found.detail()
            )));
        }
        warn(request, &policy, request.object);
        Ok(())
    }

    fn template(&self, request: &Request<'_>, template: &Value) -> Result<()> {
        if !template.is_object() {
            return Ok(());
        }
        let policy = self.policy(request)?;
        if self.exempts(request, template) {
            return Ok(());
        }
        audit(request, &policy, template);
        warn(request, &policy, template);
        Ok(())
    }
}

fn audit(request: &Request<'_>, policy: &Policy, pod: &Value) {
    let found = judge(policy.audit, pod);
    if !found.is_empty() {
        request.notes.annotate(
            "pod-security.kubernetes.io/audit-violations",
            would_violate(policy.audit, &found),
        );
    }
}

fn warn(request: &Request<'_>, policy: &Policy, pod: &Value) {
    let found = judge(policy.warn, pod);
    if !found.is_empty() {
        request.notes.warn(would_violate(policy.warn, &found));
    }
}

/// Whether an update of a pod changes what a standard could look at.
fn is_significant(new: &Value, old: &Value) -> bool {
    let list = |pod: &Value, name: &str| pod["spec"][name].as_array().cloned().unwrap_or_default();
    let changed = |new: &Value, old: &Value| new["image"] != old["image"];
    let grown = ["containers", "initContainers"].iter().any(|name| {
        let (new, old) = (list(new, name), list(old, name));
        new.len() != old.len() || new.iter().zip(&old).any(|(n, o)| changed(n, o))
    });
    let known = list(old, "ephemeralContainers");
    let debugged = list(new, "ephemeralContainers").iter().any(|container| {
        known
            .iter()
            .find(|o| o["name"] == container["name"])
            .is_none_or(|o| changed(container, o))
    });
    let seccomp = |pod: &Value| {
        let all = meta::annotations(pod).into_iter().flatten();
        let own = all.filter(|(key, _)| key.contains("seccomp.security.alpha.kubernetes.io/"));
        own.map(|(k, v)| (k.clone(), v.clone())).collect::<Vec<_>>()
    };
    grown || debugged || seccomp(new) != seccomp(old)
}

impl PodSecurity {
    fn namespace(&self, request: &Request<'_>) -> Result<()> {
        let (new, errors) = Policy::of(meta::labels(request.object), &self.defaults);
        let invalid =
            || -> Result<()> { Err(Status::invalid("", "Namespace", request.name, &errors).into()) };
        let Some(old) = request.old else {
            return if errors.is_empty() { Ok(()) } else { invalid() };
        };
        let (before, old_errors) = Policy::of(meta::labels(old), &self.defaults);
        let same = errors
            .iter()
            .map(ToString::to_string)
            .eq(old_errors.iter().map(ToString::to_string));
        if !errors.is_empty() && !same {
            return invalid();
        }
        let (new, before) = (new.enforce, before.enforce);
        let relaxed = new.minor == before.minor && new.level <= before.level;
        let exempt = self.exemptions.namespaces.iter().any(|own| own == request.name);
        if new == before || new.level == Level::Privileged || relaxed || exempt {
            return Ok(());
        }
        for warning in existing(request, new) {
            request.notes.warn(warning);
        }
        Ok(())
    }
}

/// What to say of the pods that are there already.
fn existing(request: &Request<'_>, level: LevelVersion) -> Vec<String> {
    let Some(pods) = request.core.cache.cacher("core/pods") else {
        return Vec::new();
    };
    let began = Instant::now();
    let snapshot = pods.snapshot(0);
    let scope = format!("{}/", request.name);
    let all = snapshot.range(&scope, None).count();
    let mut checked = 0;
    // Reason -> first name, and how many.
    let mut found: BTreeMap<String, (String, usize)> = BTreeMap::new();
    for pod in snapshot.range(&scope, None).take(MOST_PODS) {
        let violations = judge(level, &pod.to_value());
        checked += 1;
        if !violations.is_empty() {
            let known = found
                .entry(violations.reason())
                .or_insert_with(|| (pod.name().to_owned(), 0));
            known.1 += 1;
        }
        if began.elapsed() > LONGEST {
            break;
        }
    }
    let mut warnings = Vec::new();
    if checked < all {
        warnings.push(format!(
            "new PodSecurity enforce level only checked against the first {checked} of {all} existing pods"
        ));
    }
    if !found.is_empty() {
        warnings.push(format!(
            "existing pods in namespace {} violate the new PodSecurity enforce level {}",
            quote(request.name),
            quote(&level.to_string())
        ));
    }
    let mut of_pods: Vec<String> = found
        .into_iter()
        .map(|(reason, (name, count))| match count {
            1 => format!("{name}: {reason}"),
            2 => format!("{name} (and 1 other pod): {reason}"),
            n => format!("{name} (and {} other pods): {reason}", n - 1),
        })
        .collect();
    of_pods.sort();
    warnings.extend(of_pods);
    warnings
}

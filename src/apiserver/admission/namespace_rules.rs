//! Plugins that keep to what a namespace's annotations say of its pods: which nodes they may choose, and
//! which taints they may tolerate. Upstream leaves them out unless asked for.

use std::collections::BTreeMap;

use async_trait::async_trait;
use rkind_apimachinery::{
    meta::{self, GroupResource},
    status::Status,
    strategy,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Admit, Operation, Request, Validate};
use crate::error::Result;

/// An error that upstream makes no `Status` of.
fn plain(why: impl Into<String>) -> Box<Status> {
    Status::failure(500, "", why).into()
}

/// An annotation of the request's namespace.
///
/// # Errors
/// 404 when there is no such namespace.
async fn annotation(request: &Request<'_>, key: &str) -> Result<Option<String>> {
    let find = || request.core.cached("core/namespaces", request.namespace);
    let namespace = match find() {
        Some(namespace) => namespace,
        None => {
            request.core.cache.catch_up().await?;
            let namespaces = GroupResource::new("", "namespaces");
            find().ok_or_else(|| Status::not_found(&namespaces, request.namespace))?
        }
    };
    Ok(namespace.scalar(&["metadata", "annotations", key]))
}

/// Pods go to the nodes that their namespace names. Upstream: `plugin/pkg/admission/podnodeselector`.
pub(super) struct PodNodeSelector;

impl PodNodeSelector {
    const KEY: &str = "scheduler.alpha.kubernetes.io/node-selector";

    /// What the namespace asks for, unless the pod asks for something else; `None` for what is no new pod.
    async fn wanted(request: &Request<'_>) -> Result<Option<BTreeMap<String, String>>> {
        if !request.is("", "pods", Operation::Create) {
            return Ok(None);
        }
        let text = annotation(request, Self::KEY).await?.unwrap_or_default();
        let mut wanted = BTreeMap::new();
        for label in text.split(',').filter(|_| !text.is_empty()) {
            let parts: Vec<&str> = label.split('=').collect();
            let [key, value] = *parts.as_slice() else {
                return Err(plain(format!("invalid selector: [{}]", parts.join(" "))));
            };
            wanted.insert(key.trim().to_owned(), value.trim().to_owned());
        }
        let own = &request.object["spec"]["nodeSelector"];
        if wanted
            .iter()
            .any(|(key, value)| !own[key].is_null() && own[key] != value.as_str())
        {
            let why = "pod node label selector conflicts with its namespace node label selector";
            let pods = GroupResource::new("", "pods");
            return Err(Status::forbidden(&pods, meta::name(request.object), why).into());
        }
        Ok(Some(wanted))
    }
}

#[async_trait]
impl Admit for PodNodeSelector {
    fn name(&self) -> &'static str {
        "PodNodeSelector"
    }

    async fn admit(&self, request: &mut Request<'_>) -> Result<()> {
        for (key, value) in Self::wanted(request).await?.into_iter().flatten() {
            let spec = meta::child_object(request.object, "spec");
            let selector = spec.entry("nodeSelector").or_insert_with(|| json!({}));
            selector[key] = json!(value);
        }
        Ok(())
    }
}

#[async_trait]
impl Validate for PodNodeSelector {
    fn name(&self) -> &'static str {
        "PodNodeSelector"
    }

    async fn validate(&self, request: &Request<'_>) -> Result<()> {
        Self::wanted(request).await.map(|_| ())
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Toleration {
    key: String,
    operator: String,
    value: String,
    effect: String,
    toleration_seconds: Option<i64>,
}

impl Toleration {
    fn to_value(&self) -> Value {
        let mut value = json!({});
        for (field, text) in [
            ("key", &self.key),
            ("operator", &self.operator),
            ("value", &self.value),
            ("effect", &self.effect),
        ] {
            if !text.is_empty() {
                value[field] = json!(text);
            }
        }
        if let Some(seconds) = self.toleration_seconds {
            value["tolerationSeconds"] = json!(seconds);
        }
        value
    }

    /// Whether it tolerates at least what `other` does.
    fn covers(&self, other: &Toleration) -> bool {
        if self == other {
            return true;
        }
        let all_keys = self.key.is_empty() && self.operator == "Exists";
        let all_effects = self.effect.is_empty();
        if (self.key != other.key && !all_keys) || (self.effect != other.effect && !all_effects) {
            return false;
        }
        if self.effect == "NoExecute"
            && let Some(most) = self.toleration_seconds
            && other.toleration_seconds.is_none_or(|seconds| seconds > most)
        {
            return false;
        }
        match &*self.operator {
            "Equal" | "" => other.operator == "Equal" && other.value == self.value,
            operator => operator == "Exists",
        }
    }
}

/// All, without those that another one of them covers.
fn merged(all: &[Toleration]) -> Vec<Toleration> {
    let mut kept: Vec<Toleration> = Vec::new();
    for (at, one) in all.iter().enumerate() {
        // Of equal ones the first stays.
        let later = all[at + 1..]
            .iter()
            .any(|other| one != other && other.covers(one));
        if !later && !kept.iter().any(|other| other.covers(one)) {
            kept.push(one.clone());
        }
    }
    kept
}

/// Pods tolerate what their namespace says, and no more than it allows. Upstream:
/// `plugin/pkg/admission/podtolerationrestriction`.
pub(super) struct PodTolerationRestriction;

impl PodTolerationRestriction {
    const DEFAULTS: &str = "scheduler.alpha.kubernetes.io/defaultTolerations";
    const ALLOWED: &str = "scheduler.alpha.kubernetes.io/tolerationsWhitelist";

    fn concerns(request: &Request<'_>) -> bool {
        request.is("", "pods", Operation::Create) || request.is("", "pods", Operation::Update)
    }

    async fn annotated(request: &Request<'_>, key: &str) -> Result<Vec<Toleration>> {
        match annotation(request, key).await? {
            Some(text) if !text.is_empty() => {
                serde_json::from_str(&text).map_err(|error| plain(format!("annotation {key}: {error}")))
            }
            _ => Ok(Vec::new()),
        }
    }

    fn of(pod: &Value) -> Vec<Toleration> {
        Vec::deserialize(&pod["spec"]["tolerations"]).unwrap_or_default()
    }
}

#[async_trait]
impl Admit for PodTolerationRestriction {
    fn name(&self) -> &'static str {
        "PodTolerationRestriction"
    }

    async fn admit(&self, request: &mut Request<'_>) -> Result<()> {
        if !Self::concerns(request) {
            return Ok(());
        }
        let mut more = Vec::new();
        if request.operation == Operation::Create {
            more = Self::annotated(request, Self::DEFAULTS).await?;
        }
        if strategy::qos_class(request.object) != "BestEffort" {
            more.push(Toleration {
                key: "node.kubernetes.io/memory-pressure".into(),
                operator: "Exists".into(),
                effect: "NoSchedule".into(),
                ..Default::default()
            });
        }
        if more.is_empty() {
            return Ok(());
        }
        let all = [Self::of(request.object), more].concat();
        let all: Vec<Value> = merged(&all).iter().map(Toleration::to_value).collect();
        meta::child_object(request.object, "spec").insert("tolerations".into(), all.into());
        Ok(())
    }
}

#[async_trait]
impl Validate for PodTolerationRestriction {
    fn name(&self) -> &'static str {
        "PodTolerationRestriction"
    }

    async fn validate(&self, request: &Request<'_>) -> Result<()> {
        if !Self::concerns(request) {
            return Ok(());
        }
        let own = Self::of(request.object);
        if own.is_empty() {
            return Ok(());
        }
        let allowed = Self::annotated(request, Self::ALLOWED).await?;
        let is_allowed = |one: &Toleration| allowed.iter().any(|other| other.covers(one));
        if allowed.is_empty() || own.iter().all(is_allowed) {
            return Ok(());
        }
        Err(plain(
            "pod tolerations (possibly merged with namespace default tolerations) conflict with its namespace whitelist",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_larger_toleration_stays() {
        let read = |value: Value| -> Vec<Toleration> { Vec::deserialize(value).unwrap() };
        let all = json!({"operator": "Exists"});
        let key = json!({"key": "a", "operator": "Exists", "effect": "NoExecute"});
        let brief = json!({"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5});
        let equal = json!({"key": "a", "operator": "Equal", "value": "v", "effect": "NoExecute"});
        let other = json!({"key": "b", "operator": "Exists", "effect": "NoSchedule"});
        for (given, kept) in [
            (json!([key, key]), json!([key])),
            (json!([equal, key]), json!([key])),
            (json!([brief, key]), json!([key])),
            (json!([brief, equal]), json!([brief, equal])),
            (json!([key, other]), json!([key, other])),
            (json!([key, other, all]), json!([all])),
        ] {
            let left = merged(&read(given.clone()));
            assert_eq!(left, read(kept), "{given}");
        }
    }
}

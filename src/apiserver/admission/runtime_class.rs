//! What a runtime class says of a pod's overhead and place. Upstream: `plugin/pkg/admission/runtimeclass`
//! (KEP-688).

use async_trait::async_trait;
use rkind_apimachinery::meta;
use serde_json::{Value, json};

use super::{Admit, Operation, Request, Validate};
use crate::error::Result;

pub(super) struct RuntimeClass;

async fn class(request: &Request<'_>) -> Result<Option<Value>> {
    let Some(name) = request.object["spec"]["runtimeClassName"].as_str() else {
        return Ok(None);
    };
    let resource = "node.k8s.io/runtimeclasses";
    if request.core.cached(resource, name).is_none() {
        request.core.cache.catch_up().await?;
    }
    match request.core.cached(resource, name) {
        Some(class) => Ok(Some(class.to_value())),
        None => Err(request.forbidden(&format!("pod rejected: RuntimeClass {name:?} not found"))),
    }
}

#[async_trait]
impl Admit for RuntimeClass {
    fn name(&self) -> &'static str {
        "RuntimeClass"
    }

    async fn admit(&self, request: &mut Request<'_>) -> Result<()> {
        if !request.is("", "pods", Operation::Create) {
            return Ok(());
        }
        let Some(class) = class(request).await? else {
            return Ok(());
        };
        merge(&class, meta::child_object(request.object, "spec")).map_err(|why| request.forbidden(&why))
    }
}

type Object = serde_json::Map<String, Value>;

/// Writes a class's overhead and scheduling into a pod's spec; the error is a contradiction.
fn merge(class: &Value, spec: &mut Object) -> Result<(), String> {
    let overhead = &class["overhead"]["podFixed"];
    if overhead.is_object() {
        match spec.get("overhead") {
            None => {
                spec.insert("overhead".into(), overhead.clone());
            }
            Some(own) if own == overhead => {}
            Some(_) => {
                return Err(
                    "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead".into(),
                );
            }
        }
    }
    let scheduling = &class["scheduling"];
    for (key, value) in scheduling["nodeSelector"].as_object().into_iter().flatten() {
        let own = spec.entry("nodeSelector").or_insert_with(|| json!({}));
        match own.get(key) {
            None => own[key] = value.clone(),
            Some(known) if known == value => {}
            Some(known) => {
                return Err(format!(
                    "pod rejected: conflict: runtimeClass.scheduling.nodeSelector[{key}] = {}; pod.spec.nodeSelector[{key}] = {}",
                    value.as_str().unwrap_or_default(),
                    known.as_str().unwrap_or_default()
                ));
            }
        }
    }
    for toleration in scheduling["tolerations"].as_array().into_iter().flatten() {
        let own = spec.entry("tolerations").or_insert_with(|| json!([]));
        if let Some(list) = own.as_array_mut()
            && !list.contains(toleration)
        {
            list.push(toleration.clone());
        }
    }
    Ok(())
}

#[async_trait]
impl Validate for RuntimeClass {
    fn name(&self) -> &'static str {
        "RuntimeClass"
    }

    async fn validate(&self, request: &Request<'_>) -> Result<()> {
        let spec = &request.object["spec"];
        if !request.is("", "pods", Operation::Create)
            || spec["overhead"].as_object().is_none_or(|o| o.is_empty())
        {
            return Ok(());
        }
        let class = class(request).await?.unwrap_or_default();
        if class["overhead"]["podFixed"].is_object() {
            return Ok(());
        }
        Err(request
            .forbidden("pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overhead_and_place_are_merged_or_contradict() {
        let class = json!({"overhead": {"podFixed": {"cpu": "1"}}, "scheduling": {
            "nodeSelector": {"a": "b"}, "tolerations": [{"key": "k"}]}});
        let mut spec = Object::new();
        merge(&class, &mut spec).unwrap();
        merge(&class, &mut spec).unwrap();
        let expected =
            json!({"overhead": {"cpu": "1"}, "nodeSelector": {"a": "b"}, "tolerations": [{"key": "k"}]});
        assert_eq!(Value::Object(spec), expected);

        let mut spec = json!({"nodeSelector": {"a": "c"}}).as_object().cloned().unwrap();
        assert!(
            merge(&class, &mut spec)
                .unwrap_err()
                .ends_with("pod.spec.nodeSelector[a] = c")
        );
        let mut spec = json!({"overhead": {"cpu": "2"}}).as_object().cloned().unwrap();
        assert!(merge(&class, &mut spec).is_err());
    }
}

//! Priority class -> priority and preemption policy of a pod. Upstream: `plugin/pkg/admission/priority`.

use async_trait::async_trait;
use serde_json::{Value, json};

use super::{Admit, Operation, Request, Validate};
use crate::{cacher::Obj, error::Result};

pub(super) struct Priority;

#[async_trait]
impl Admit for Priority {
    fn name(&self) -> &'static str {
        "Priority"
    }

    async fn admit(&self, request: &mut Request<'_>) -> Result<()> {
        if request.is("", "pods", Operation::Update) {
            keep(request);
        }
        if !request.is("", "pods", Operation::Create) {
            return Ok(());
        }
        let name = request.object["spec"]["priorityClassName"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let class = if name.is_empty() {
            default_class(request)
        } else {
            let class = match request.core.cached("scheduling.k8s.io/priorityclasses", &name) {
                Some(class) => Some(class),
                None => {
                    request.core.cache.catch_up().await?;
                    request.core.cached("scheduling.k8s.io/priorityclasses", &name)
                }
            };
            let missing = || request.forbidden(&format!("no PriorityClass with name {name} was found"));
            Some(class.ok_or_else(missing)?.to_value())
        };
        let value = class.as_ref().and_then(|c| c["value"].as_i64()).unwrap_or(0);
        let policy = match &class {
            Some(class) => class["preemptionPolicy"].as_str(),
            None => Some("PreemptLowerPriority"),
        };
        if let Some(sent) = request.object["spec"]["priority"].as_i64()
            && sent != value
        {
            return Err(request.forbidden(&format!(
                "the integer value of priority ({sent}) must not be provided in pod spec; priority admission controller computed {value} from the given PriorityClass name"
            )));
        }
        if let (Some(policy), Some(sent)) = (policy, request.object["spec"]["preemptionPolicy"].as_str())
            && sent != policy
        {
            return Err(request.forbidden(&format!(
                "the string value of PreemptionPolicy ({sent}) must not be provided in pod spec; priority admission controller computed {policy} from the given PriorityClass name"
            )));
        }
        let spec = &mut request.object["spec"];
        if name.is_empty()
            && let Some(class) = &class
        {
            spec["priorityClassName"] = class["metadata"]["name"].clone();
        }
        spec["priority"] = json!(value);
        if let Some(policy) = policy {
            spec["preemptionPolicy"] = json!(policy);
        }
        Ok(())
    }
}

#[async_trait]
impl Validate for Priority {
    fn name(&self) -> &'static str {
        "Priority"
    }

    async fn validate(&self, request: &Request<'_>) -> Result<()> {
        let group = "scheduling.k8s.io";
        let made = request.is(group, "priorityclasses", Operation::Create);
        let changed = request.is(group, "priorityclasses", Operation::Update);
        if !(made || changed) || request.object["globalDefault"] != true {
            return Ok(());
        }
        request.core.cache.catch_up().await?;
        match default_class(request) {
            Some(class) if made || class["metadata"]["name"] != request.object["metadata"]["name"] => {
                let name = class["metadata"]["name"].as_str().unwrap_or_default();
                Err(request.forbidden(&format!(
                    "PriorityClass {name} is already marked as default. Only one default can exist"
                )))
            }
            _ => Ok(()),
        }
    }
}

/// What was settled when the pod was made need not be said again.
fn keep(request: &mut Request<'_>) {
    let Some(old) = request.old else { return };
    for field in ["priority", "preemptionPolicy"] {
        let spec = &mut request.object["spec"];
        if spec[field].is_null()
            && let Some(kept) = old["spec"].get(field)
        {
            spec[field] = kept.clone();
        }
    }
}

/// The class marked as default; the lowest where several are.
fn default_class(request: &Request<'_>) -> Option<Value> {
    let classes = request.core.cache.cacher("scheduling.k8s.io/priorityclasses")?;
    let snapshot = classes.snapshot(0);
    let default = |class: &&std::sync::Arc<Obj>| class.scalar(&["globalDefault"]).as_deref() == Some("true");
    let defaults = snapshot.objects.values().filter(default);
    defaults
        .map(|class| class.to_value())
        .min_by_key(|class| class["value"].as_i64())
}

//! Pods stay five minutes on a node that is not ready or unreachable, unless they say otherwise.
//! Upstream: `plugin/pkg/admission/defaulttolerationseconds`.

use async_trait::async_trait;
use serde_json::{Value, json};

use super::{Admit, Operation, Request};
use crate::error::Result;

const SECONDS: i64 = 300;

pub(super) struct DefaultTolerationSeconds;

#[async_trait]
impl Admit for DefaultTolerationSeconds {
    fn name(&self) -> &'static str {
        "DefaultTolerationSeconds"
    }

    async fn admit(&self, request: &mut Request<'_>) -> Result<()> {
        // An update may bring a list of its own, and what was added must not be missed in it.
        let is = |operation| request.is("", "pods", operation);
        if is(Operation::Create) || is(Operation::Update) {
            tolerate(&mut request.object["spec"]);
        }
        Ok(())
    }
}

/// Adds the default tolerations that `spec` lacks.
pub(super) fn tolerate(spec: &mut Value) {
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        let known = spec["tolerations"].as_array().into_iter().flatten().any(|t| {
            let (own, effect) = (
                t["key"].as_str().unwrap_or_default(),
                t["effect"].as_str().unwrap_or_default(),
            );
            (own == key || own.is_empty()) && (effect == "NoExecute" || effect.is_empty())
        });
        if known {
            continue;
        }
        let toleration =
            json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": SECONDS});
        match spec["tolerations"].as_array_mut() {
            Some(list) => list.push(toleration),
            None => spec["tolerations"] = json!([toleration]),
        }
    }
}

//! A new node is not ready until the node lifecycle controller says so.
//! Upstream: `plugin/pkg/admission/nodetaint`.

use async_trait::async_trait;
use serde_json::json;

use super::{Admit, Operation, Request};
use crate::error::Result;

const NOT_READY: &str = "node.kubernetes.io/not-ready";

pub(super) struct TaintNodesByCondition;

#[async_trait]
impl Admit for TaintNodesByCondition {
    fn name(&self) -> &'static str {
        "TaintNodesByCondition"
    }

    async fn admit(&self, request: &mut Request<'_>) -> Result<()> {
        if !request.is("", "nodes", Operation::Create) {
            return Ok(());
        }
        let taint = json!({"key": NOT_READY, "effect": "NoSchedule"});
        if !request.object["spec"].is_object() {
            request.object["spec"] = json!({});
        }
        let spec = &mut request.object["spec"];
        match spec["taints"].as_array_mut() {
            Some(taints)
                if taints
                    .iter()
                    .any(|t| t["key"] == NOT_READY && t["effect"] == "NoSchedule") => {}
            Some(taints) => taints.push(taint),
            None => spec["taints"] = json!([taint]),
        }
        Ok(())
    }
}

//! A pod carries its node's zone and region as labels (KEP-4742).
//! Upstream: `plugin/pkg/admission/podtopologylabels`.

use async_trait::async_trait;
use rkind_apimachinery::meta;
use serde_json::json;

use super::{Admit, Operation, Request};
use crate::error::Result;

const LABELS: [&str; 2] = ["topology.kubernetes.io/zone", "topology.kubernetes.io/region"];

pub(super) struct PodTopologyLabels;

#[async_trait]
impl Admit for PodTopologyLabels {
    fn name(&self) -> &'static str {
        "PodTopologyLabels"
    }

    async fn admit(&self, request: &mut Request<'_>) -> Result<()> {
        let created = request.operation == Operation::Create && request.def.group.is_empty();
        let object = &*request.object;
        let node = match (request.def.resource, request.sub) {
            ("pods", "") if created => &object["spec"]["nodeName"],
            ("pods", "binding") | ("bindings", "") if created && object["target"]["kind"] == "Node" => {
                &object["target"]["name"]
            }
            _ => return Ok(()),
        };
        let Some(node) = node
            .as_str()
            .and_then(|name| request.core.cached("core/nodes", name))
        else {
            return Ok(());
        };
        for label in LABELS {
            let Some(value) = node.labels().get(label) else {
                continue;
            };
            let labels = meta::metadata_mut(request.object)
                .entry("labels")
                .or_insert_with(|| json!({}));
            if labels[label].is_null() {
                labels[label] = json!(value);
            }
        }
        Ok(())
    }
}

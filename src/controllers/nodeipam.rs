//! A pod address range for every node.
//!
//! Ranges are found in the nodes themselves: what no node holds is free. One worker allocates, so two
//! nodes can't get the same range.

use std::collections::HashSet;
use std::sync::Arc;

use ipnet::IpNet;
use k8s_openapi::api::core::v1::Node;
use kube::{Api, ResourceExt};
use parking_lot::Mutex;
use rkind_client::{Action, ErrorExt, EventType, ObjectKey, WorkQueue, patch, run_workers};
use serde_json::json;

use crate::common::{Context, ReconcileError};

/// The first range of prefix length `mask` in `cluster` that overlaps none of `taken`.
fn first_free(cluster: IpNet, mask: u8, taken: &[IpNet]) -> Option<IpNet> {
    let overlaps = |a: &IpNet, b: &IpNet| a.contains(&b.network()) || b.contains(&a.network());
    cluster
        .subnets(mask)
        .ok()?
        .find(|range| !taken.iter().any(|t| overlaps(t, range)))
}

fn ranges(node: &Node) -> Vec<IpNet> {
    let spec = node.spec.as_ref();
    let one = spec.and_then(|s| s.pod_cidr.as_ref());
    let all = spec.and_then(|s| s.pod_cidrs.as_ref()).into_iter().flatten();
    all.chain(one).filter_map(|text| text.parse().ok()).collect()
}

pub(crate) async fn run(context: Context) {
    let Some(cluster) = context.options.cluster_cidr else {
        context.shutdown.cancelled().await;
        return;
    };
    let mask = context.options.node_cidr_mask;
    let nodes = context.informers.get::<Node>();
    let queue = WorkQueue::new();
    context.feed(&nodes, &queue, |change| {
        let lacks = change.new.as_ref().is_some_and(|node| ranges(node).is_empty());
        lacks.then(|| change.key.name.clone()).into_iter().collect()
    });
    nodes.synced().await;
    let recorder = context.recorder("cidrAllocator");
    // Handed out, but perhaps not in the cache yet.
    let given: Mutex<Vec<(String, IpNet)>> = Mutex::new(Vec::new());
    let world = Arc::new((context.client.clone(), nodes, recorder, given));
    run_workers(queue, 1, context.shutdown.clone(), move |name: String| {
        let world = world.clone();
        async move {
            let (client, nodes, recorder, given) = &*world;
            let Some(node) = nodes.get(&ObjectKey::cluster(&*name)) else { return Ok(Action::Done) };
            if !ranges(&node).is_empty() {
                return Ok(Action::Done);
            }
            let all = nodes.list();
            let names: HashSet<String> = all.iter().map(|n| n.name_any()).collect();
            let free = {
                let mut given = given.lock();
                given.retain(|(name, _)| names.contains(name));
                let taken: Vec<IpNet> =
                    all.iter().flat_map(|n| ranges(n)).chain(given.iter().map(|(_, range)| *range)).collect();
                let mine = given.iter().find(|(owner, _)| *owner == name).map(|(_, range)| *range);
                let free = mine.or_else(|| first_free(cluster, mask, &taken));
                if let Some(range) = free.filter(|_| mine.is_none()) {
                    given.push((name.clone(), range));
                }
                free
            };
            let Some(range) = free else {
                let message = format!("Node {name} status is now: CIDRNotAvailable");
                recorder.event(&*node, EventType::Normal, "CIDRNotAvailable", message);
                return Err(ReconcileError::Other(format!(
                    "no /{mask} of {cluster} is left for node {name}: delete nodes or give a larger cluster CIDR"
                )));
            };
            let range = range.to_string();
            let change = json!({
                "metadata": {"uid": node.metadata.uid},
                "spec": {"podCIDR": range, "podCIDRs": [range]},
            });
            let api: Api<Node> = Api::all(client.clone());
            match patch::merge(&api, &name, &change).await {
                Err(error) if !error.is_not_found() => Err(error.into()),
                _ => Ok(Action::Done),
            }
        }
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_first_hole() {
        let net = |text: &str| text.parse::<IpNet>().unwrap();
        let cluster = net("10.244.0.0/16");
        assert_eq!(first_free(cluster, 24, &[]), Some(net("10.244.0.0/24")));
        let taken = [net("10.244.0.0/24"), net("10.244.2.0/24")];
        assert_eq!(first_free(cluster, 24, &taken), Some(net("10.244.1.0/24")));
        assert_eq!(
            first_free(cluster, 24, &[net("10.244.0.0/17")]),
            Some(net("10.244.128.0/24"))
        );
        assert_eq!(
            first_free(net("10.244.0.0/24"), 24, &[net("10.244.0.0/25")]),
            None
        );
    }
}

//! Objects for tests, from JSON as they would come over the wire.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};
use rand::{SeedableRng as _, rngs::SmallRng};
use serde_json::{Value, json};

use crate::{
    cluster::Cluster,
    cycle::{Chooser, Cycle, Failure},
    node::NodeInfo,
    plugins::Verdict,
    pod::PodInfo,
};

/// Lays `over` on `base`, object by object.
fn merge(base: &mut Value, over: Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                merge(base.entry(key).or_insert(Value::Null), value);
            }
        }
        (base, over) => *base = over,
    }
}

/// A pod `default/<name>` with one container; `over` is laid on it.
pub(crate) fn pod(name: &str, over: Value) -> Arc<PodInfo> {
    let mut object = json!({
        "metadata": { "name": name, "namespace": "default", "uid": format!("uid-{name}") },
        "spec": { "containers": [{ "name": "c", "image": "web:1" }] },
    });
    merge(&mut object, over);
    let pod: Pod = serde_json::from_value(object).expect("a pod");
    Arc::new(PodInfo::new(Arc::new(pod)))
}

/// The same, with a CPU and memory request.
pub(crate) fn requesting(name: &str, cpu: &str, memory: &str, over: Value) -> Arc<PodInfo> {
    let requests = json!({ "requests": { "cpu": cpu, "memory": memory } });
    let mut object = json!({ "spec": { "containers": [{ "name": "c", "resources": requests }] } });
    merge(&mut object, over);
    pod(name, object)
}

/// The same pod on a node.
pub(crate) fn on(node: &str, pod: &PodInfo) -> Arc<PodInfo> {
    let mut pod = Pod::clone(&pod.pod);
    pod.spec.get_or_insert_default().node_name = Some(node.to_owned());
    Arc::new(PodInfo::new(Arc::new(pod)))
}

/// A node with 4 cores, 8 GiB and room for 110 pods, labelled with its host name; `over` is laid on it.
pub(crate) fn node_object(name: &str, over: Value) -> Arc<Node> {
    let mut object = json!({
        "metadata": { "name": name, "labels": { "kubernetes.io/hostname": name } },
        "spec": {},
        "status": { "allocatable": { "cpu": "4", "memory": "8Gi", "pods": "110" } },
    });
    merge(&mut object, over);
    Arc::new(serde_json::from_value(object).expect("a node"))
}

/// A node by itself.
pub(crate) fn node(name: &str, over: Value) -> NodeInfo {
    let mut info = NodeInfo::unknown(name.into());
    info.set_node(node_object(name, over));
    info
}

/// Labels of a zone.
pub(crate) fn zone(zone: &str) -> Value {
    json!({ "metadata": { "labels": { "topology.kubernetes.io/zone": zone } } })
}

/// A cluster of nodes and of pods that are on them.
pub(crate) fn cluster(nodes: &[(&str, Value)], pods: &[(&str, Arc<PodInfo>)]) -> Cluster {
    let mut cluster = Cluster::default();
    for (name, over) in nodes {
        cluster.set_node(node_object(name, over.clone()));
    }
    for (node, pod) in pods {
        cluster.set_pod(on(node, pod));
    }
    cluster
}

/// The reason a rule gives, empty when it lets the node pass.
pub(crate) fn reasons(verdict: Verdict) -> String {
    verdict.map_or_else(|reject| reject.reasons.join(", "), |()| String::new())
}

/// The node chosen for a pod.
pub(crate) fn choose(cluster: &mut Cluster, pod: &Arc<PodInfo>) -> Result<String, Failure> {
    let nodes = cluster.order().len();
    let cycle = Cycle::new(pod.clone(), cluster).map_err(|reject| Failure {
        nodes,
        pod: Some(reject),
        ..Failure::default()
    })?;
    let slot = Chooser::new(SmallRng::seed_from_u64(1)).choose(&cycle, cluster)?;
    Ok(cluster.node(slot).name.to_string())
}

/// Chooses and places at once, as the loop does.
pub(crate) fn place(cluster: &mut Cluster, pod: &Arc<PodInfo>) -> Result<String, Failure> {
    let node = choose(cluster, pod)?;
    cluster.assume(pod.clone(), &node);
    Ok(node)
}

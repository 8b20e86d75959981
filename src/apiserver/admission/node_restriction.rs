//! Kubelets write about their own node and its pods only. Upstream:
//! `plugin/pkg/admission/noderestriction`.

use std::collections::BTreeSet;

use async_trait::async_trait;
use rkind_apimachinery::{
    meta::{self, GroupResource},
    names,
    status::Status,
};
use serde_json::Value;

use super::{Admit, Operation, Request, references};
use crate::{authz::node::identity, error::Result};

const MIRROR: &str = "kubernetes.io/config.mirror";
/// Namespace of the nodes' heartbeats.
const LEASES: &str = "kube-node-lease";

pub(super) struct NodeRestriction;

#[async_trait]
impl Admit for NodeRestriction {
    fn name(&self) -> &'static str {
        "NodeRestriction"
    }

    async fn admit(&self, request: &mut Request<'_>) -> Result<()> {
        if request.operation == Operation::Connect {
            return Ok(());
        }
        let Some(node) = identity(request.user) else {
            return Ok(());
        };
        if node.is_empty() {
            return Err(request.forbidden(&format!(
                "could not determine node from user {:?}",
                request.user.name
            )));
        }
        judge(request, node).await.map_err(|why| why.into_status(request))
    }
}

/// Why a kubelet may not.
enum Refusal {
    Forbidden(String),
    Missing(GroupResource, String),
}

impl Refusal {
    fn into_status(self, request: &Request<'_>) -> Box<Status> {
        match self {
            Refusal::Forbidden(why) => request.forbidden(&why),
            Refusal::Missing(gr, name) => Status::not_found(&gr, &name).into(),
        }
    }
}

type Judgement = Result<(), Refusal>;

fn refuse(why: impl Into<String>) -> Judgement {
    Err(Refusal::Forbidden(why.into()))
}

async fn judge(request: &Request<'_>, node: &str) -> Judgement {
    match (request.def.group, request.def.resource, request.sub) {
        ("", "pods", "") => pod(request, node),
        ("", "pods", "status") => pod_status(request, node),
        ("", "pods", "eviction") => {
            let pod = stored_pod(request, request.name)?;
            on(&pod, node, || {
                format!("node {node} can only evict pods with spec.nodeName set to itself")
            })
        }
        ("", "pods", sub) => refuse(format!(
            "unexpected pod subresource {sub:?}, only 'status' and 'eviction' are allowed"
        )),
        ("", "nodes", _) => own_node(request, node),
        ("", "persistentvolumeclaims", "status") => claim_status(request, node),
        ("", "persistentvolumeclaims", _) => refuse("may only update PVC status"),
        ("", "serviceaccounts", "token") => token(request, node).await,
        ("coordination.k8s.io", "leases", _) => {
            if request.namespace != LEASES {
                return refuse(format!(
                    "can only access leases in the {LEASES:?} system namespace"
                ));
            }
            named(
                request,
                node,
                "can only access node lease with the same name as the requesting node",
            )
        }
        ("storage.k8s.io", "csinodes", _) => named(
            request,
            node,
            "can only access CSINode with the same name as the requesting node",
        ),
        ("resource.k8s.io", "resourceslices", _) => slice(request, node),
        ("certificates.k8s.io", "certificatesigningrequests", "") => signing_request(request, node),
        _ => Ok(()),
    }
}

fn named(request: &Request<'_>, node: &str, why: &str) -> Judgement {
    if request.name == node { Ok(()) } else { refuse(why) }
}

fn on(pod: &Value, node: &str, why: impl Fn() -> String) -> Judgement {
    if pod["spec"]["nodeName"] == node {
        Ok(())
    } else {
        refuse(why())
    }
}

fn stored_pod(request: &Request<'_>, name: &str) -> Result<Value, Refusal> {
    let key = format!("{}/{name}", request.namespace);
    let pod = request.core.cached("core/pods", &key);
    let missing = || Refusal::Missing(GroupResource::new("", "pods"), name.to_owned());
    Ok(pod.ok_or_else(missing)?.to_value())
}

fn pod(request: &Request<'_>, node: &str) -> Judgement {
    match request.operation {
        Operation::Create => mirror_pod(request, node),
        Operation::Delete => on(request.object, node, || {
            format!("node {node:?} can only delete pods with spec.nodeName set to itself")
        }),
        other => refuse(format!(
            "unexpected operation {:?}, node {node:?} can only create and delete mirror pods",
            other.as_str()
        )),
    }
}

fn mirror_pod(request: &Request<'_>, node: &str) -> Judgement {
    let pod = &*request.object;
    if meta::annotation(pod, MIRROR).is_none() {
        return refuse(format!(
            "pod does not have {MIRROR:?} annotation, node {node:?} can only create mirror pods"
        ));
    }
    on(pod, node, || {
        format!("node {node:?} can only create pods with spec.nodeName set to itself")
    })?;
    let mut owners = meta::owner_references(pod);
    let (Some(owner), None) = (owners.next(), owners.next()) else {
        let count = meta::owner_references(pod).count();
        let what = if count == 0 { "an" } else { "a single" };
        return refuse(format!(
            "node {node:?} can only create pods with {what} owner reference set to itself"
        ));
    };
    if owner["apiVersion"] != "v1" || owner["kind"] != "Node" || owner["name"] != node {
        return refuse(format!(
            "node {node:?} can only create pods with an owner reference set to itself"
        ));
    }
    if owner["controller"] != true {
        return refuse(format!(
            "node {node:?} can only create pods with a controller owner reference set to itself"
        ));
    }
    if owner["blockOwnerDeletion"] == true {
        return refuse(format!(
            "node {node:?} must not set blockOwnerDeletion on an owner reference"
        ));
    }
    let Some(own) = request.core.cached("core/nodes", node) else {
        return Err(Refusal::Missing(GroupResource::new("", "nodes"), node.to_owned()));
    };
    let (expected, got) = (owner["uid"].as_str().unwrap_or_default(), own.to_value());
    if expected != meta::uid(&got) {
        return refuse(format!(
            "node {node} UID mismatch: expected {expected} got {}",
            meta::uid(&got)
        ));
    }
    match references::foreign(&pod["spec"]) {
        Some(what) => refuse(format!("node {node:?} can not create pods that reference {what}")),
        None => Ok(()),
    }
}

fn pod_status(request: &Request<'_>, node: &str) -> Judgement {
    let (Operation::Update, Some(old)) = (request.operation, request.old) else {
        return refuse(format!("unexpected operation {:?}", request.operation.as_str()));
    };
    on(old, node, || {
        format!("node {node:?} can only update pod status for pods with spec.nodeName set to itself")
    })?;
    if meta::labels(request.object) != meta::labels(old) {
        return refuse(format!("node {node:?} cannot update labels through pod status"));
    }
    for field in ["resourceClaimStatuses", "extendedResourceClaimStatus"] {
        if request.object["status"][field] != old["status"][field] {
            return refuse(format!("node {node:?} cannot update resource claim statues"));
        }
    }
    Ok(())
}

fn own_node(request: &Request<'_>, node: &str) -> Judgement {
    if request.name != node {
        return refuse(format!(
            "node {node:?} is not allowed to modify node {:?}",
            request.name
        ));
    }
    let labels = |object: &Value| meta::labels(object).cloned().unwrap_or_default();
    let new = &*request.object;
    match (request.operation, request.old) {
        (Operation::Create, _) => {
            if new["spec"]["configSource"].is_object() {
                return refuse(format!(
                    "node {node:?} is not allowed to create pods with a non-nil configSource"
                ));
            }
            let labels = labels(new);
            let bad = forbidden_labels(labels.keys());
            if !bad.is_empty() {
                return refuse(format!(
                    "node {node:?} is not allowed to set the following labels: {}",
                    bad.join(", ")
                ));
            }
        }
        (Operation::Update, Some(old)) => {
            let source = &new["spec"]["configSource"];
            if source.is_object() && *source != old["spec"]["configSource"] {
                return refuse(format!(
                    "node {node:?} is not allowed to update configSource to a new non-nil configSource"
                ));
            }
            let taints = |object: &Value| object["spec"]["taints"].as_array().cloned().unwrap_or_default();
            if taints(new) != taints(old) {
                return refuse(format!("node {node:?} is not allowed to modify taints"));
            }
            if meta::owner_references(new).ne(meta::owner_references(old)) {
                return refuse(format!("node {node:?} is not allowed to modify ownerReferences"));
            }
            let (new, old) = (labels(new), labels(old));
            let changed = |(key, value): &(&String, &Value)| old.get(*key) != Some(*value);
            let gone = old.keys().filter(|key| !new.contains_key(*key));
            let bad = forbidden_labels(new.iter().filter(changed).map(|(key, _)| key).chain(gone));
            if !bad.is_empty() {
                return refuse(format!("is not allowed to modify labels: {}", bad.join(", ")));
            }
        }
        _ => {}
    }
    Ok(())
}

/// Those of changed labels that a kubelet may not set, sorted.
fn forbidden_labels<'a>(changed: impl Iterator<Item = &'a String>) -> Vec<&'a str> {
    let bad = changed
        .map(String::as_str)
        .filter(|key| !names::is_kubelets_label(key));
    bad.collect::<BTreeSet<&str>>().into_iter().collect()
}

fn claim_status(request: &Request<'_>, node: &str) -> Judgement {
    let (Operation::Update, Some(old)) = (request.operation, request.old) else {
        return refuse(format!("unexpected operation {:?}", request.operation.as_str()));
    };
    let bare = |object: &Value| {
        let mut object = object.clone();
        meta::remove(&mut object, "resourceVersion");
        meta::remove(&mut object, "managedFields");
        let status = meta::child_object(&mut object, "status");
        for field in [
            "capacity",
            "conditions",
            "allocatedResourceStatuses",
            "allocatedResources",
        ] {
            status.remove(field);
        }
        object
    };
    if bare(request.object) == bare(old) {
        return Ok(());
    }
    refuse(format!(
        "node {node:?} is not allowed to update fields other than status.quantity and status.conditions"
    ))
}

/// A token is for a pod on the node, and for whom the pod names.
async fn token(request: &Request<'_>, node: &str) -> Judgement {
    if request.operation != Operation::Create {
        return Ok(());
    }
    let spec = &request.object["spec"];
    let bound = &spec["boundObjectRef"];
    let text = |field: &str| bound[field].as_str().unwrap_or_default();
    if bound["apiVersion"] != "v1" || bound["kind"] != "Pod" || text("name").is_empty() {
        return refuse("node requested token not bound to a pod");
    }
    if text("uid").is_empty() {
        return refuse("node requested token with a pod binding without a uid");
    }
    let pod = stored_pod(request, text("name"))?;
    if meta::uid(&pod) != text("uid") {
        return refuse(format!(
            "the UID in the bound object reference ({}) does not match the UID in record. The object might have been deleted and then recreated",
            text("uid")
        ));
    }
    on(&pod, node, || {
        "node requested token bound to a pod scheduled on a different node".into()
    })?;
    audience(request, &pod, spec).await
}

/// KEP-4412: for whom a node may ask tokens.
async fn audience(request: &Request<'_>, pod: &Value, spec: &Value) -> Judgement {
    let audiences: Vec<&str> = spec["audiences"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let wanted = match audiences.as_slice() {
        [] => "",
        [one] => *one,
        _ => return refuse("node may only request 0 or 1 audiences"),
    };
    let volumes = pod["spec"]["volumes"].as_array().into_iter().flatten();
    let named = volumes
        .flat_map(|volume| volume["projected"]["sources"].as_array().into_iter().flatten())
        .filter(|source| source["serviceAccountToken"].is_object())
        .any(|source| {
            source["serviceAccountToken"]["audience"]
                .as_str()
                .unwrap_or_default()
                == wanted
        });
    let verb = "request-serviceaccounts-token-audience";
    if wanted.is_empty() || named || request.may(verb, "", wanted, request.name).await {
        return Ok(());
    }
    refuse(format!(
        "audience {wanted:?} not found in pod spec volume, {} is not authorized to request tokens for this audience",
        request.user.name
    ))
}

fn slice(request: &Request<'_>, node: &str) -> Judgement {
    let of = |object: &Value| object["spec"]["nodeName"] == node;
    match request.operation {
        Operation::Create if !of(request.object) => {
            refuse("can only create ResourceSlice with the same NodeName as the requesting node")
        }
        Operation::Delete if !of(request.object) => {
            refuse("can only delete ResourceSlice with the same NodeName as the requesting node")
        }
        _ => Ok(()),
    }
}

/// A node asks for certificates of its own only.
fn signing_request(request: &Request<'_>, node: &str) -> Judgement {
    let signer = request.object["spec"]["signerName"].as_str().unwrap_or_default();
    let checked = matches!(
        signer,
        "kubernetes.io/kubelet-serving" | "kubernetes.io/kube-apiserver-client-kubelet"
    );
    if request.operation != Operation::Create || !checked {
        return Ok(());
    }
    let Some(name) = super::certificates::common_name(&request.object["spec"]["request"]) else {
        return refuse("unable to parse csr");
    };
    if name == format!("system:node:{node}") {
        return Ok(());
    }
    refuse(
        "can only create a node CSR with CN=system:node:<requesting node>".replace("<requesting node>", node),
    )
}

#[cfg(test)]
mod tests {
    use super::{super::references::foreign, *};

    #[test]
    fn labels_of_kubernetes_domains_are_not_a_kubelets() {
        let keys: Vec<String> = [
            "kubernetes.io/hostname",
            "mine",
            "example.com/x",
            "node-role.kubernetes.io/control-plane",
            "x.node-restriction.kubernetes.io/y",
            "kubelet.kubernetes.io/z",
            "k8s.io/a",
        ]
        .map(str::to_owned)
        .into();
        assert_eq!(
            forbidden_labels(keys.iter()),
            [
                "k8s.io/a",
                "node-role.kubernetes.io/control-plane",
                "x.node-restriction.kubernetes.io/y"
            ]
        );
    }

    #[test]
    fn a_mirror_pod_refers_to_nothing() {
        use serde_json::json;
        let cases = [
            (json!({"containers": [{"name": "c"}]}), None),
            (
                json!({"containers": [{"env": [{"valueFrom": {"secretKeyRef": {"name": "s"}}}]}]}),
                Some("secrets"),
            ),
            (
                json!({"volumes": [{"configMap": {"name": "c"}}]}),
                Some("configmaps"),
            ),
            (
                json!({"volumes": [{"projected": {"sources": [{"clusterTrustBundle": {}}]}}]}),
                Some("clustertrustbundles"),
            ),
            (
                json!({"volumes": [{"persistentVolumeClaim": {}}]}),
                Some("persistentvolumeclaims"),
            ),
            (json!({"serviceAccountName": "a"}), Some("a service account")),
        ];
        for (spec, what) in cases {
            assert_eq!(foreign(&spec), what, "{spec}");
        }
    }
}

//! The FlowSchemas and priority levels that every cluster has: facts of
//! `k8s.io/apiserver/pkg/apis/flowcontrol/bootstrap`.

use serde_json::{Value, json};

/// A priority level: shares, percent that may be lent, and queues, hand size and length.
type LevelRow = (&'static str, u32, u32, Option<(u32, u32, u32)>);

const LEVELS: [LevelRow; 7] = [
    ("catch-all", 5, 0, None),
    ("system", 30, 33, Some((64, 6, 50))),
    ("node-high", 40, 25, Some((64, 6, 50))),
    ("leader-election", 10, 0, Some((16, 4, 50))),
    ("workload-high", 40, 50, Some((128, 6, 50))),
    ("workload-low", 100, 90, Some((128, 6, 50))),
    ("global-default", 20, 50, Some((128, 6, 50))),
];

/// Objects that are always kept as they are, and those that an administrator may take over.
pub(super) fn is_mandatory(name: &str) -> bool {
    matches!(name, "exempt" | "catch-all")
}

/// All priority levels.
pub(super) fn levels() -> Vec<Value> {
    let exempt = json!({"metadata": {"name": "exempt"}, "spec": {"type": "Exempt",
        "exempt": {"nominalConcurrencyShares": 0, "lendablePercent": 0}}});
    let limited = LEVELS.iter().map(|(name, shares, lendable, queuing)| {
        let response = match queuing {
            None => json!({"type": "Reject"}),
            Some((queues, hand, length)) => json!({"type": "Queue", "queuing": {
                "queues": queues, "handSize": hand, "queueLengthLimit": length}}),
        };
        json!({"metadata": {"name": name}, "spec": {"type": "Limited", "limited": {
            "nominalConcurrencyShares": shares, "lendablePercent": lendable, "limitResponse": response}}})
    });
    std::iter::once(exempt).chain(limited).map(marked).collect()
}

fn group(name: &str) -> Value {
    json!({"kind": "Group", "group": {"name": name}})
}

fn user(name: &str) -> Value {
    json!({"kind": "User", "user": {"name": name}})
}

fn account(name: &str) -> Value {
    json!({"kind": "ServiceAccount", "serviceAccount": {"namespace": "kube-system", "name": name}})
}

fn everything(subjects: &[Value]) -> Value {
    json!({"subjects": subjects,
        "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": true, "namespaces": ["*"]}],
        "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}]})
}

fn resources(verbs: &[&str], group: &str, resources: &[&str], cluster: bool) -> Value {
    let mut rule = json!({"verbs": verbs, "apiGroups": [group], "resources": resources, "namespaces": ["*"]});
    if cluster {
        rule["clusterScope"] = json!(true);
    }
    rule
}

/// All FlowSchemas.
pub(super) fn schemas() -> Vec<Value> {
    let everybody = [group("system:unauthenticated"), group("system:authenticated")];
    let (manager, scheduler) = (
        user("system:kube-controller-manager"),
        user("system:kube-scheduler"),
    );
    let change = ["get", "create", "update"];
    let leases = resources(&change, "coordination.k8s.io", &["leases"], false);
    let nodes = [group("system:nodes")];
    let (by_user, by_namespace) = (Some("ByUser"), Some("ByNamespace"));
    let rows = [
        (
            "exempt",
            "exempt",
            1,
            None,
            everything(&[group("system:masters")]),
        ),
        (
            "probes",
            "exempt",
            2,
            None,
            json!({"subjects": everybody, "nonResourceRules": [
                {"verbs": ["get"], "nonResourceURLs": ["/healthz", "/readyz", "/livez"]}]}),
        ),
        (
            "system-leader-election",
            "leader-election",
            100,
            by_user,
            json!({"subjects": [manager, scheduler, account("*")], "resourceRules": [leases]}),
        ),
        (
            "endpoint-controller",
            "workload-high",
            150,
            by_user,
            json!({"subjects": [manager, account("endpoint-controller"), account("endpointslicemirroring-controller")],
                "resourceRules": [resources(&change, "", &["endpoints"], false)]}),
        ),
        (
            "workload-leader-election",
            "leader-election",
            200,
            by_user,
            json!({"subjects": [account("*")], "resourceRules": [
                resources(&change, "", &["endpoints", "configmaps"], false), leases]}),
        ),
        (
            "system-node-high",
            "node-high",
            400,
            by_user,
            json!({"subjects": nodes, "resourceRules": [
                resources(&["*"], "", &["nodes", "nodes/status"], true),
                resources(&["*"], "coordination.k8s.io", &["leases"], false)]}),
        ),
        ("system-nodes", "system", 500, by_user, everything(&nodes)),
        (
            "kube-controller-manager",
            "workload-high",
            800,
            by_namespace,
            everything(&[manager]),
        ),
        (
            "kube-scheduler",
            "workload-high",
            800,
            by_namespace,
            everything(&[scheduler]),
        ),
        (
            "kube-system-service-accounts",
            "workload-high",
            900,
            by_namespace,
            everything(&[account("*")]),
        ),
        (
            "service-accounts",
            "workload-low",
            9000,
            by_user,
            everything(&[group("system:serviceaccounts")]),
        ),
        (
            "global-default",
            "global-default",
            9900,
            by_user,
            everything(&everybody),
        ),
        ("catch-all", "catch-all", 10000, by_user, everything(&everybody)),
    ];
    rows.into_iter()
        .map(|(name, level, precedence, by, rule)| {
            let mut object = json!({"metadata": {"name": name}, "spec": {
                "priorityLevelConfiguration": {"name": level}, "matchingPrecedence": precedence, "rules": [rule]}});
            if let Some(by) = by {
                object["spec"]["distinguisherMethod"] = json!({"type": by});
            }
            marked(object)
        })
        .collect()
}

/// Marks an object as kept by the server.
fn marked(mut object: Value) -> Value {
    object["metadata"]["annotations"] = json!({super::keep::AUTOUPDATE: "true"});
    object
}

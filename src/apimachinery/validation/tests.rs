use serde_json::json;

mod wording;

use super::*;

pub(super) fn messages(errs: &ErrorList) -> Vec<String> {
    errs.iter().map(ToString::to_string).collect()
}

#[test]
fn object_meta_on_create() {
    let check = |o: Value| messages(&create(&Gvk::new("example.k8s.io", "v1", "Thing"), &o));
    let ok = json!({"metadata": {"name": "a", "namespace": "d"}});
    assert!(check(ok).is_empty());
    assert_eq!(
        check(json!({"metadata": {"namespace": "d"}})),
        ["metadata.name: Required value: name or generateName is required"]
    );
    assert!(
        check(json!({"metadata": {"name": "A", "namespace": "d"}}))[0].starts_with(
            "metadata.name: Invalid value: \"A\": a lowercase RFC 1123 subdomain must consist of"
        )
    );
    assert!(check(json!({"metadata": {"name": "a", "generateName": "a-", "namespace": "d"}})).is_empty());
    assert_eq!(
        check(
            json!({"metadata": {"name": "a", "namespace": "d", "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "x"}]}})
        ),
        ["metadata.ownerReferences.uid: Invalid value: \"\": must not be empty"]
    );
    assert_eq!(
        check(
            json!({"metadata": {"name": "a", "namespace": "d", "annotations": {"k": "x".repeat(262_144)}}})
        ),
        ["metadata.annotations: Too long: may not be more than 262144 bytes"]
    );
    assert_eq!(
        check(json!({"metadata": {"name": "a", "namespace": "d", "finalizers": ["mine"]}})),
        [
            "metadata.finalizers[0]: Invalid value: \"mine\": name is neither a standard finalizer name nor is it fully qualified"
        ]
    );
}

#[test]
fn object_meta_on_update() {
    let old = json!({"metadata": {"name": "a", "namespace": "d", "uid": "1", "deletionTimestamp": "t"}});
    let mut new = old.clone();
    let gvk = Gvk::new("example.k8s.io", "v1", "Thing");
    assert!(update(&gvk, &new, &old).is_empty());
    new["metadata"]["uid"] = json!("2");
    new["metadata"]["finalizers"] = json!(["a/b"]);
    // Once for all kinds and once by this one's strategy, as upstream's clients see it.
    let twice = messages(&update(&gvk, &new, &old));
    assert_eq!(twice[..2], twice[2..]);
    // What finalizers are called is looked at of what is new alone.
    new["metadata"]["uid"] = json!("1");
    new["metadata"]["deletionTimestamp"] = json!(null);
    new["metadata"]["finalizers"] = json!(["a b/c"]);
    let mut free = old.clone();
    free["metadata"]["deletionTimestamp"] = json!(null);
    assert_eq!(update(&gvk, &new, &free).len(), 1);
    assert_eq!(
        twice[..2],
        [
            "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{\"a/b\"}",
            "metadata.uid: Invalid value: \"2\": field is immutable",
        ]
    );
}

fn valid(group: &str, kind: &str, mut o: Value) -> Vec<String> {
    let gvk = Gvk::new(
        group,
        if kind == "HorizontalPodAutoscaler" {
            "v2"
        } else {
            "v1"
        },
        kind,
    );
    crate::defaults::apply(&gvk, &mut o);
    messages(&create(&gvk, &o))
}

fn named(spec: Value) -> Value {
    json!({"metadata": {"name": "x", "namespace": "d"}, "spec": spec})
}

fn template(labels: Value) -> Value {
    json!({"metadata": {"labels": labels}, "spec": {"containers": [{"name": "a", "image": "i"}]}})
}

#[test]
fn deployments() {
    let d = |spec| valid("apps", "Deployment", named(spec));
    let ok = json!({"selector": {"matchLabels": {"a": "b"}}, "template": template(json!({"a": "b"}))});
    assert!(d(ok.clone()).is_empty());
    assert_eq!(
        d(json!({"selector": {"matchLabels": {"a": "c"}}, "template": template(json!({"a": "b"}))})),
        [
            "spec.template.metadata.labels: Invalid value: {\"a\":\"b\"}: `selector` does not match template `labels`"
        ]
    );
    assert_eq!(
        d(json!({"template": template(json!({}))})),
        [
            "spec.selector: Required value",
            "spec.template.metadata.labels: Invalid value: {}: `selector` does not match template `labels`"
        ]
    );
    let mut s = ok.clone();
    s["replicas"] = json!(-1);
    assert_eq!(
        d(s),
        ["spec.replicas: Invalid value: -1: must be greater than or equal to 0"]
    );
    let mut s = ok.clone();
    s["strategy"] = json!({"type": "Recreate", "rollingUpdate": {}});
    assert_eq!(
        d(s),
        ["spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'"]
    );
    let gvk = Gvk::new("apps", "v1", "Deployment");
    let mut old = named(ok);
    crate::defaults::apply(&gvk, &mut old);
    let mut new = old.clone();
    new["spec"]["selector"]["matchLabels"] = json!({"z": "y"});
    new["spec"]["template"]["metadata"]["labels"] = json!({"z": "y"});
    assert_eq!(
        messages(&update(&gvk, &new, &old)),
        ["spec.selector: Invalid value: {\"matchLabels\":{\"z\":\"y\"}}: field is immutable"]
    );
}

#[test]
fn services() {
    let s = |spec| valid("", "Service", named(spec));
    assert!(s(json!({"ports": [{"port": 80}]})).is_empty());
    assert!(s(json!({"clusterIP": "None", "clusterIPs": ["None"]})).is_empty());
    for (spec, want) in [
        (
            json!({"clusterIP": "None"}),
            vec!["spec.clusterIPs: Required value"],
        ),
        (
            json!({"ports": [{"port": 80}], "externalTrafficPolicy": "Local"}),
            vec![
                "spec.externalTrafficPolicy: Invalid value: \"Local\": may only be set for externally-accessible services",
            ],
        ),
        (
            json!({"ports": [{"port": 80}], "trafficDistribution": "x"}),
            vec![
                "spec.trafficDistribution: Unsupported value: \"x\": supported values: \"PreferClose\", \"PreferSameZone\", \"PreferSameNode\"",
            ],
        ),
        (
            json!({"ports": [{"port": 80, "name": "a"}, {"port": 80, "name": "b"}]}),
            vec![
                "spec.ports[1]: Duplicate value: {\"AppProtocol\":null,\"Name\":\"\",\"NodePort\":0,\"Port\":80,\"Protocol\":\"TCP\",\"TargetPort\":0}",
            ],
        ),
        (
            json!({"ports": [{"port": 80}], "clusterIP": "a", "clusterIPs": ["a"], "ipFamilies": ["IPv4", "IPv4"]}),
            vec![
                "spec.ipFamilies[1]: Duplicate value: \"IPv4\"",
                "spec.clusterIPs[0]: Invalid value: \"a\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
            ],
        ),
        (
            json!({"ports": [{"port": 80}], "type": "LoadBalancer", "loadBalancerSourceRanges": ["x"], "loadBalancerClass": "!"}),
            vec![
                "spec.LoadBalancerSourceRanges[0]: Invalid value: \"x\": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
                "spec.loadBalancerClass: Invalid value: \"!\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
            ],
        ),
    ] {
        assert_eq!(s(spec.clone()), want, "{spec}");
    }
    assert!(s(json!({"type": "ExternalName", "externalName": "a.b."})).is_empty());
    assert_eq!(s(json!({})), ["spec.ports: Required value"]);
    assert_eq!(
        s(json!({"ports": [{"port": 80}, {"port": 81}]})),
        [
            "spec.ports[0].name: Required value",
            "spec.ports[1].name: Required value"
        ]
    );
    assert_eq!(
        s(json!({"ports": [{"port": 0}]})),
        [
            "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
            "spec.ports[0].targetPort: Invalid value: 0: must be between 1 and 65535, inclusive",
        ]
    );
    assert_eq!(
        s(json!({"ports": [{"port": 80, "nodePort": 30000}]})),
        ["spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"]
    );
    let old = named(json!({"clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1"]}));
    let gvk = Gvk::new("", "v1", "Service");
    let mut new =
        named(json!({"ports": [{"port": 80}], "clusterIP": "10.96.0.2", "clusterIPs": ["10.96.0.2"]}));
    crate::defaults::apply(&gvk, &mut new);
    assert_eq!(
        messages(&update(&gvk, &new, &old)),
        ["spec.clusterIPs[0]: Invalid value: [\"10.96.0.2\"]: may not change once set"]
    );
}

#[test]
fn data_kinds() {
    let meta = json!({"name": "x", "namespace": "d"});
    let c = |data: Value| valid("", "ConfigMap", json!({"metadata": meta, "data": data}));
    assert!(c(json!({"a.b": "c"})).is_empty());
    assert!(
        c(json!({"a/b": "c"}))[0].starts_with("data[a/b]: Invalid value: \"a/b\": a valid config key must")
    );
    assert_eq!(
        c(json!({"a": "x".repeat(1_048_577)})),
        ["[]: Too long: may not be more than 1048576 bytes"]
    );
    let s = |kind: &str, data: Value| {
        valid(
            "",
            "Secret",
            json!({"metadata": meta, "type": kind, "data": data}),
        )
    };
    assert_eq!(
        s("kubernetes.io/tls", json!({})),
        ["data[tls.crt]: Required value", "data[tls.key]: Required value"]
    );
    let old = json!({"metadata": meta, "immutable": true, "data": {"a": "b"}});
    let new = json!({"metadata": meta, "data": {"a": "c"}});
    assert_eq!(
        messages(&update(&Gvk::new("", "v1", "ConfigMap"), &new, &old)),
        [
            "immutable: Forbidden: field is immutable when `immutable` is set",
            "data: Forbidden: field is immutable when `immutable` is set",
        ]
    );
}

#[test]
fn other_kinds() {
    let table: Vec<(&str, &str, Value, Vec<&str>)> = vec![
        (
            "rbac.authorization.k8s.io",
            "Role",
            json!({"metadata": {"name": "x", "namespace": "d"}, "rules": [{"apiGroups": [""], "resources": ["pods"]}]}),
            vec!["rules[0].verbs: Required value: verbs must contain at least one value"],
        ),
        (
            "rbac.authorization.k8s.io",
            "RoleBinding",
            json!({"metadata": {"name": "x", "namespace": "d"}, "roleRef": {"kind": "Thing", "name": "y"}}),
            vec!["roleRef.kind: Unsupported value: \"Thing\": supported values: \"Role\", \"ClusterRole\""],
        ),
        (
            "batch",
            "Job",
            named(json!({"manualSelector": true, "selector": {}, "template": template(json!({}))})),
            vec!["spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\""],
        ),
        (
            "batch",
            "CronJob",
            named(
                json!({"schedule": "* * * *", "jobTemplate": {"spec": {"template": {"spec": {
                "restartPolicy": "Never", "containers": [{"name": "a", "image": "i"}]}}}}}),
            ),
            vec!["spec.schedule: Invalid value: \"* * * *\": expected exactly 5 fields, found 4: [* * * *]"],
        ),
        (
            "",
            "PersistentVolumeClaim",
            named(json!({})),
            vec![
                "spec.accessModes: Required value: at least 1 access mode is required",
                "spec.resources[storage]: Required value",
            ],
        ),
        (
            "networking.k8s.io",
            "NetworkPolicy",
            named(json!({"ingress": [{"from": [{}]}]})),
            vec!["spec.ingress[0].from[0]: Required value: must specify a peer"],
        ),
        (
            "autoscaling",
            "HorizontalPodAutoscaler",
            named(json!({"scaleTargetRef": {"kind": "Deployment", "name": "d"}, "maxReplicas": 0})),
            vec![
                "spec.maxReplicas: Invalid value: 0: must be greater than 0",
                "spec.maxReplicas: Invalid value: 0: must be greater than or equal to `minReplicas`",
                "spec.scaleTargetRef.apiVersion: Invalid value: \"\": apiVersion must specify API group",
            ],
        ),
        (
            "",
            "Node",
            json!({"metadata": {"name": "n"}, "spec": {"taints": [{"key": "k", "effect": "Never"}]}}),
            vec![
                "metadata.taints[0].effect: Unsupported value: \"Never\": supported values: \"NoSchedule\", \"PreferNoSchedule\", \"NoExecute\"",
            ],
        ),
        (
            "scheduling.k8s.io",
            "PriorityClass",
            json!({"metadata": {"name": "p"}, "value": 2_000_000_000}),
            vec!["value: Forbidden: maximum allowed value of a user defined priority is 1000000000"],
        ),
        (
            "discovery.k8s.io",
            "EndpointSlice",
            json!({"metadata": {"name": "p", "namespace": "d"}, "addressType": "IPv4", "endpoints": [{"addresses": ["127.0.0.1"]}]}),
            vec![
                "endpoints[0].addresses[0]: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, ::1/128)",
            ],
        ),
        (
            "flowcontrol.apiserver.k8s.io",
            "FlowSchema",
            json!({"metadata": {"name": "x"}, "spec": {"matchingPrecedence": 1, "priorityLevelConfiguration": {"name": "p"},
                "rules": [{"subjects": [{"kind": "User", "group": {"name": "g"}}],
                    "nonResourceRules": [{"verbs": ["shout"], "nonResourceURLs": ["/a*"]}]}]}}),
            vec![
                "spec.matchingPrecedence: Invalid value: 1: only the schema named 'exempt' may have matchingPrecedence 1",
                "spec.rules[0].subjects[0].user: Required value: user is required when subject kind is 'User'",
                "spec.rules[0].subjects[0].group: Forbidden: group is forbidden when subject kind is not 'Group'",
                "spec.rules[0].nonResourceRules[0].verbs: Unsupported value: [\"shout\"]: supported values: \"create\", \"delete\", \"deletecollection\", \"get\", \"list\", \"patch\", \"proxy\", \"update\", \"watch\"",
                "spec.rules[0].nonResourceRules[0].nonResourceURLs[0]: Invalid value: \"/a*\": wildcard can only do suffix matching",
            ],
        ),
        (
            "",
            "ResourceQuota",
            named(
                json!({"scopes": ["BestEffort", "NotBestEffort"], "scopeSelector": {"matchExpressions": [
                {"scopeName": "PriorityClass", "operator": "In"}]}}),
            ),
            vec![
                "spec.scopes: Invalid value: [\"BestEffort\",\"NotBestEffort\"]: conflicting scopes",
                "spec.scopeSelector.matchExpressions.values: Required value: must be at least one value when `operator` is 'In' or 'NotIn' for scope selector",
            ],
        ),
        (
            "",
            "LimitRange",
            named(json!({"limits": [{"type": "Thing"}]})),
            vec![
                "spec.limits[0].type: Invalid value: \"Thing\": must be a standard limit type or fully qualified",
            ],
        ),
        (
            "",
            "Event",
            json!({"metadata": {"name": "e", "namespace": "d"}, "involvedObject": {"namespace": "d"},
                "eventTime": "2024-01-02T03:04:05.000006Z", "reportingComponent": "example.com/c", "action": "a"}),
            vec!["reportingInstance: Required value", "reason: Required value"],
        ),
        (
            "networking.k8s.io",
            "NetworkPolicy",
            named(json!({"ingress": [{"ports": [{"port": "http", "endPort": 90}]}]})),
            vec![
                "spec.ingress[0].ports[0].endPort: Invalid value: 90: may not be specified when `port` is non-numeric",
            ],
        ),
        (
            "networking.k8s.io",
            "IngressClass",
            json!({"metadata": {"name": "x"}, "spec": {"controller": "a/b", "parameters": {"kind": "K", "name": "n", "scope": "Namespace"}}}),
            vec!["spec.parameters.namespace: Required value: `parameters.scope` is set to 'Namespace'"],
        ),
        (
            "apps",
            "StatefulSet",
            named(
                json!({"selector": {"matchLabels": {"a": "b"}}, "template": template(json!({"a": "b"})), "podManagementPolicy": "X"}),
            ),
            vec!["spec.podManagementPolicy: Invalid value: \"X\": must be 'OrderedReady' or 'Parallel'"],
        ),
    ];
    for (group, kind, o, want) in table {
        assert_eq!(valid(group, kind, o), want, "{kind}");
    }
}

#[test]
fn newer_events_are_made_once() {
    let old = json!({"metadata": {"name": "e", "namespace": "d"}, "involvedObject": {"namespace": "d"},
        "eventTime": "2024-01-02T03:04:05.000006Z", "reportingComponent": "example.com/c", "reportingInstance": "c-1",
        "action": "a", "reason": "r", "type": "Normal"});
    assert!(newer_event(&old, None).is_empty());
    let mut new = old.clone();
    new["action"] = json!("b");
    new["series"] = json!({"count": 1, "lastObservedTime": "2024-01-02T03:04:05.000006Z"});
    assert_eq!(
        messages(&newer_event(&new, Some(&old))),
        [
            "series.count: Invalid value: \"\": should be at least 2",
            "action: Invalid value: \"b\": field is immutable",
        ]
    );
    new = old.clone();
    new["count"] = json!(2);
    assert_eq!(
        messages(&newer_event(&new, None)),
        ["count: Invalid value: \"\": needs to be unset"]
    );
}

#[test]
fn claim_templates_are_volumes() {
    let mut t = template(json!({"a": "b"}));
    t["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "data", "mountPath": "/d"}]);
    let mut spec = json!({"selector": {"matchLabels": {"a": "b"}}, "template": t});
    assert_eq!(
        valid("apps", "StatefulSet", named(spec.clone())),
        ["spec.template.spec.containers[0].volumeMounts[0].name: Not found: \"data\""]
    );
    spec["volumeClaimTemplates"] = json!([{"metadata": {"name": "data"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}]);
    assert!(valid("apps", "StatefulSet", named(spec)).is_empty());
}

#[test]
fn statuses() {
    let old = named(json!({}));
    let mut new = old.clone();
    new["status"] = json!({"replicas": 1, "readyReplicas": 2, "availableReplicas": -1});
    assert_eq!(
        messages(&status_update(&Gvk::new("apps", "v1", "ReplicaSet"), &new, &old)),
        [
            "status.availableReplicas: Invalid value: -1: must be greater than or equal to 0",
            "status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas",
        ]
    );
}

#[test]
fn ephemeral_containers() {
    let gvk = Gvk::new("", "v1", "Pod");
    let mut old = named(json!({"containers": [{"name": "a", "image": "i"}],
        "ephemeralContainers": [{"name": "b", "image": "i"}]}));
    crate::defaults::apply(&gvk, &mut old);
    let mut new = old.clone();
    new["spec"]["ephemeralContainers"] =
        json!([{"name": "a", "image": "i", "ports": [{"containerPort": 1}], "livenessProbe": {}}]);
    crate::defaults::apply(&gvk, &mut new);
    assert_eq!(
        messages(&ephemeral_containers_update(&new, &old)),
        [
            "spec.ephemeralContainers[0].name: Duplicate value: \"a\"",
            "spec.ephemeralContainers[0].livenessProbe: Forbidden: cannot be set for an Ephemeral Container",
            "spec.ephemeralContainers[0].ports: Forbidden: cannot be set for an Ephemeral Container",
            "spec.ephemeralContainers: Forbidden: existing ephemeral containers \"b\" may not be removed\n",
        ]
    );
}

/// `(kind, spec, what is wrong with it)`: jobs and autoscalers.
#[test]
fn policies_and_metrics() {
    let pods = json!({"metadata": {"labels": {"a": "b"}},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}});
    let job = |more: Value| {
        let mut spec =
            json!({"manualSelector": true, "selector": {"matchLabels": {"a": "b"}}, "template": pods});
        json_patch::merge(&mut spec, &more);
        spec
    };
    let scaler = |more: Value| {
        let mut spec = json!({"maxReplicas": 2, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}});
        json_patch::merge(&mut spec, &more);
        spec
    };
    let table = [
        (
            "Job",
            job(json!({"podFailurePolicy": {"rules": [{}]}})),
            vec![
                "spec.podFailurePolicy.rules[0].action: Required value: valid values: [\"Count\" \"FailIndex\" \"FailJob\" \"Ignore\"]",
                "spec.podFailurePolicy.rules[0]: Invalid value: specifying one of OnExitCodes and OnPodConditions is required",
            ],
        ),
        (
            "Job",
            job(
                json!({"podFailurePolicy": {"rules": [{"action": "FailJob", "onExitCodes":
                {"operator": "In", "containerName": "x", "values": [2, 1, 0]}}]}}),
            ),
            vec![
                "spec.podFailurePolicy.rules[0].onExitCodes.containerName: Invalid value: \"x\": must be one of the container or initContainer names in the pod template",
                "spec.podFailurePolicy.rules[0].onExitCodes.values[2]: Invalid value: 0: must not be 0 for the In operator",
                "spec.podFailurePolicy.rules[0].onExitCodes.values: Invalid value: [2,1,0]: must be ordered",
            ],
        ),
        (
            "Job",
            job(json!({"completionMode": "Indexed", "completions": 3,
                "successPolicy": {"rules": [{"succeededIndexes": "0,1-2", "succeededCount": 4}]}})),
            vec![
                "spec.successPolicy.rules[0].succeededCount: Invalid value: 4: must be less than or equal to 3 (the number of specified completions)",
                "spec.successPolicy.rules[0].succeededCount: Invalid value: 4: must be less than or equal to 3 (the number of indexes in the specified succeededIndexes field)",
            ],
        ),
        (
            "Job",
            job(json!({"maxFailedIndexes": 1, "managedBy": "x"})),
            vec![
                "spec.backoffLimitPerIndex: Required value: when maxFailedIndexes is specified",
                "spec.managedBy: Invalid value: \"x\": must be a domain-prefixed path (such as \"acme.io/foo\")",
                "spec.maxFailedIndexes: Invalid value: 1: requires indexed completion mode",
            ],
        ),
        (
            "HorizontalPodAutoscaler",
            scaler(
                json!({"metrics": [{"type": "Pods", "object": {"describedObject": {"kind": "K", "name": "n"},
                "metric": {"name": "m"}, "target": {"type": "Value"}}}]}),
            ),
            vec![
                "spec.metrics[0].object.target.averageValue: Required value: must set either a target value or averageValue",
                "spec.metrics[0].pods: Required value: must populate information for the given metric source",
            ],
        ),
        (
            "HorizontalPodAutoscaler",
            scaler(
                json!({"behavior": {"scaleUp": {"selectPolicy": "x", "policies": [{"type": "Pods", "value": 0, "periodSeconds": 9999}]}}}),
            ),
            vec![
                "spec.behavior.scaleUp.selectPolicy: Unsupported value: \"x\": supported values: \"Disabled\", \"Max\", \"Min\"",
                "spec.behavior.scaleUp.policies[0].value: Invalid value: 0: must be greater than zero",
                "spec.behavior.scaleUp.policies[0].periodSeconds: Invalid value: 9999: must be less than or equal to 1800",
            ],
        ),
    ];
    for (kind, spec, want) in table {
        let group = if kind == "Job" { "batch" } else { "autoscaling" };
        assert_eq!(valid(group, kind, named(spec.clone())), want, "{spec}");
    }
}

#[test]
fn definitions() {
    let d = |name: &str, versions: Value| {
        valid(
            "apiextensions.k8s.io",
            "CustomResourceDefinition",
            json!({"metadata": {"name": name}, "spec": {"group": "x.example", "scope": "Namespaced",
                "names": {"plural": "things", "kind": "Thing"}, "versions": versions},
                "status": {"storedVersions": ["v1"]}}),
        )
    };
    let version = |schema: Value| json!([{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}]);
    assert_eq!(
        d("things.x.example", version(json!({"type": "object"}))),
        Vec::<String>::new()
    );
    assert_eq!(
        d("other.x.example", version(json!({"type": "object"}))),
        ["metadata.name: Invalid value: \"other.x.example\": must be spec.names.plural+\".\"+spec.group"]
    );
    assert_eq!(
        d(
            "things.x.example",
            version(json!({"type": "object", "properties": {"a": {}}}))
        ),
        [
            "spec.validation.openAPIV3Schema.properties[a].type: Required value: must not be empty for specified object fields"
        ]
    );
    assert_eq!(
        d("things.x.example", json!([{"name": "v1", "storage": true}])),
        ["spec.versions[0].schema.openAPIV3Schema: Required value"]
    );
}

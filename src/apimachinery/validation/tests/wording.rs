//! A row for each class of messages that was found to differ beside kube-apiserver.

use serde_json::{Value, json};

use super::valid;
use crate::validation::meta::is_namespaced;

#[test]
fn messages_are_upstreams() {
    let rows: &[(&str, &str, Value, &[&str])] = &[
        (
            "discovery.k8s.io",
            "EndpointSlice",
            json!({"addressType": "IPv4", "ports": [{"protocol": "", "port": -1}],
                "endpoints": [{"addresses": ["::1"], "hints": {"forZones": [{"name": "z"}, {"name": "z"}]}}]}),
            &[
                "ports[0].protocol: Unsupported value: \"\": supported values: \"SCTP\", \"TCP\", \"UDP\"",
                "endpoints[0].addresses: Invalid value: \"::1\": must be an IPv4 address",
                "endpoints[0].addresses[0]: Invalid value: \"::1\": may not be in the loopback range (127.0.0.0/8, ::1/128)",
                "endpoints[0].hints.forZones[1].name: Duplicate value: \"z\"",
            ],
        ),
        (
            "",
            "LimitRange",
            json!({"spec": {"limits": [{"type": "Pod", "max": {"k": "1"}, "maxLimitRequestRatio": {"cpu": "500m"}}]}}),
            &[
                "spec.limits[0].max[k]: Invalid value: \"k\": must be a standard resource type or fully qualified",
                "spec.limits[0].max[k]: Invalid value: \"k\": must be a standard resource for containers",
                "spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: \"500m\": ratio 500m is less than 1",
            ],
        ),
        (
            "",
            "ResourceQuota",
            json!({"spec": {"hard": {"requests.cpu": "1"}, "scopes": ["BestEffort"]}}),
            &["spec.scopes: Invalid value: [\"BestEffort\"]: unsupported scope applied to resource"],
        ),
        (
            "node.k8s.io",
            "RuntimeClass",
            json!({"handler": "h", "overhead": {"podFixed": {"k": "1"}}, "scheduling": {"tolerations": [{"operator": "Equal"}]}}),
            &[
                "overhead.limits[k]: Invalid value: \"k\": must be a standard resource type or fully qualified",
                "overhead.limits[k]: Invalid value: \"k\": must be a standard resource for containers",
                "scheduling.tolerations[0].operator: Invalid value: \"Equal\": operator must be Exists when `key` is empty, which means \"match all values and all keys\"",
            ],
        ),
        (
            "certificates.k8s.io",
            "CertificateSigningRequest",
            json!({"spec": {"signerName": "a.b/c", "usages": ["signing", "signing"]}}),
            &[
                "spec.request: Invalid value: null: PEM block type must be CERTIFICATE REQUEST",
                "spec.usages[1]: Duplicate value: \"signing\"",
            ],
        ),
        (
            "networking.k8s.io",
            "ServiceCIDR",
            json!({"spec": {"cidrs": ["10.0.0.0/24", "10.1.0.0/24"]}}),
            &[
                "spec.cidrs: Invalid value: [\"10.0.0.0/24\",\"10.1.0.0/24\"]: may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64",
            ],
        ),
        (
            "resource.k8s.io",
            "ResourceSlice",
            json!({"spec": {"driver": "d.example.com", "pool": {"name": "p", "resourceSliceCount": 1}, "allNodes": true,
                "devices": [{"name": "d", "attributes": {"a/": {"version": "1"}}}]}}),
            &[
                "spec.devices[0].attributes[a/]: Invalid value: \"\": the name must not be empty",
                "spec.devices[0].attributes[a/].version: Invalid value: \"1\": must be a string compatible with semver.org spec 2.0.0",
            ],
        ),
        (
            "batch",
            "CronJob",
            json!({"spec": {"schedule": "* * * * *", "concurrencyPolicy": "Allow", "timeZone": "a/-b",
                "jobTemplate": {"spec": {"selector": {}, "template": {"spec": {"restartPolicy": "Never", "dnsPolicy": "Default",
                "containers": [{"name": "c", "image": "i", "imagePullPolicy": "Always", "terminationMessagePolicy": "File"}]}}}}}}),
            &[
                "spec.timeZone: Invalid value: \"a/-b\": unknown time zone a/-b",
                "spec.jobTemplate.spec.selector: Invalid value: {}: `selector` will be auto-generated",
            ],
        ),
    ];
    for (group, kind, object, wanted) in rows {
        let mut object = object.clone();
        object["metadata"] = json!({"name": "x"});
        if is_namespaced(group, kind) {
            object["metadata"]["namespace"] = json!("d");
        }
        assert_eq!(valid(group, kind, object), *wanted, "{kind}");
    }
}

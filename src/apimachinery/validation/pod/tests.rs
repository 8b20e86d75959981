use serde_json::{Value, json};

use crate::defaults;
use crate::meta::Gvk;
use crate::validation::tests::messages;

fn pod(spec: Value) -> Value {
    let mut p = json!({"metadata": {"name": "p", "namespace": "d"}, "spec": spec});
    defaults::apply(&Gvk::new("", "v1", "Pod"), &mut p);
    p
}

fn check(spec: Value) -> Vec<String> {
    messages(&crate::validation::create(&Gvk::new("", "v1", "Pod"), &pod(spec)))
}

fn container(extra: Value) -> Value {
    let mut c = json!({"name": "a", "image": "i"});
    for (k, v) in extra.as_object().unwrap() {
        c[k] = v.clone();
    }
    json!({"containers": [c]})
}

#[test]
fn good_pods_pass() {
    assert!(check(container(json!({}))).is_empty());
    let full = json!({
        "containers": [{
            "name": "a", "image": "i",
            "ports": [{"name": "http", "containerPort": 80}],
            "env": [{"name": "A", "value": "b"}, {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                {"name": "L", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}}],
            "envFrom": [{"configMapRef": {"name": "c"}}],
            "volumeMounts": [{"name": "v", "mountPath": "/v"}],
            "readinessProbe": {"httpGet": {"port": "http"}},
            "resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "2", "memory": "1Gi"}},
            "securityContext": {"runAsUser": 1000},
        }],
        "initContainers": [{"name": "b", "image": "i"}],
        "serviceAccountName": "default",
        "volumes": [{"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}, {"configMap": {"name": "x"}}]}}],
        "tolerations": [{"operator": "Exists"}, {"key": "k", "effect": "NoExecute", "tolerationSeconds": 300, "operator": "Exists"}],
        "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
            {"weight": 1, "podAffinityTerm": {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"a": "b"}}}}]}},
        "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}],
    });
    assert_eq!(check(full), Vec::<String>::new());
}

#[test]
fn messages_are_upstreams() {
    let table = [
        (json!({}), vec!["spec.containers: Required value"]),
        (
            json!({"containers": [{"name": "a"}]}),
            vec!["spec.containers[0].image: Required value"],
        ),
        (
            json!({"containers": [{"name": "a", "image": "i"}, {"name": "a", "image": "i"}]}),
            vec!["spec.containers[1].name: Duplicate value: \"a\""],
        ),
        (
            container(json!({"imagePullPolicy": "Sometimes"})),
            vec![
                "spec.containers[0].imagePullPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"IfNotPresent\", \"Never\"",
            ],
        ),
        (
            container(json!({"ports": [{"containerPort": 70000}]})),
            vec![
                "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
            ],
        ),
        (
            container(json!({"volumeMounts": [{"name": "x", "mountPath": "/x"}]})),
            vec!["spec.containers[0].volumeMounts[0].name: Not found: \"x\""],
        ),
        (
            container(json!({"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}})),
            vec![
                "spec.containers[0].resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1",
            ],
        ),
        (
            container(json!({"resources": {"limits": {"cpus": "1"}}})),
            vec![
                "spec.containers[0].resources.limits[cpus]: Invalid value: \"cpus\": must be a standard resource type or fully qualified",
                "spec.containers[0].resources.limits[cpus]: Invalid value: \"cpus\": must be a standard resource for containers",
                "spec.containers[0].resources.requests[cpus]: Invalid value: \"cpus\": must be a standard resource type or fully qualified",
                "spec.containers[0].resources.requests[cpus]: Invalid value: \"cpus\": must be a standard resource for containers",
            ],
        ),
        (
            container(json!({"env": [{"name": "a", "valueFrom": {"fieldRef": {"fieldPath": "spec.x"}}}]})),
            vec![
                "spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Invalid value: \"spec.x\": error converting fieldPath: field label not supported: spec.x",
            ],
        ),
        (
            container(json!({"livenessProbe": {}})),
            vec!["spec.containers[0].livenessProbe: Required value: must specify a handler type"],
        ),
        (
            container(json!({"livenessProbe": {"tcpSocket": {"port": 1}, "successThreshold": 2}})),
            vec!["spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1"],
        ),
        (
            json!({"containers": [{"name": "a", "image": "i"}], "volumes": [{"name": "v", "configMap": {}}]}),
            vec!["spec.volumes[0].configMap.name: Required value"],
        ),
        (
            with_volume(
                json!({"iscsi": {"targetPortal": "p", "iqn": "iqn.2001-04.com.example", "lun": 256}}),
            ),
            vec![
                "spec.volumes[0].iscsi.iqn: Invalid value: \"iqn.2001-04.com.example\": must be valid format",
                "spec.volumes[0].iscsi.lun: Invalid value: 256: must be between 0 and 255, inclusive",
            ],
        ),
        (
            with_volume(json!({"fc": {"targetWWNs": ["a"], "wwids": ["b"]}})),
            vec![
                "spec.volumes[0].fc.targetWWNs: Invalid value: [\"a\"]: targetWWNs and wwids can not be specified simultaneously",
                "spec.volumes[0].fc.lun: Required value: lun is required if targetWWNs is specified",
            ],
        ),
        (
            with_volume(json!({"gcePersistentDisk": {"partition": -1}})),
            vec![
                "spec.volumes[0].persistentDisk.pdName: Required value",
                "spec.volumes[0].persistentDisk.partition: Invalid value: -1: must be between 1 and 255, inclusive",
            ],
        ),
        (
            with_volume(json!({"quobyte": {"registry": "r", "volume": "v"}})),
            vec![
                "spec.volumes[0].quobyte.registry: Invalid value: \"r\": must be a host:port pair or multiple pairs separated by commas",
            ],
        ),
        (
            with_volume(json!({"projected": {"sources": [{"clusterTrustBundle": {}}]}})),
            vec![
                "spec.volumes[0].projected.sources[0].clusterTrustBundle: Required value: either name or signerName must be specified",
                "spec.volumes[0].projected.sources[0].clusterTrustBundle.path: Required value",
            ],
        ),
        (
            json!({"containers": [{"name": "a", "image": "i"}], "restartPolicy": "Maybe"}),
            vec![
                "spec.restartPolicy: Unsupported value: \"Maybe\": supported values: \"Always\", \"OnFailure\", \"Never\"",
            ],
        ),
        (
            json!({"containers": [{"name": "a", "image": "i"}], "tolerations": [{"key": "", "operator": "Equal"}]}),
            vec![
                "spec.tolerations[0].operator: Invalid value: \"Equal\": operator must be Exists when `key` is empty, which means \"match all values and all keys\"",
            ],
        ),
        (
            json!({"containers": [{"name": "a", "image": "i"}], "initContainers": [{"name": "b", "image": "i", "readinessProbe": {"tcpSocket": {"port": 1}}}]}),
            vec![
                "spec.initContainers[0].readinessProbe: Forbidden: may not be set for init containers without restartPolicy=Always",
            ],
        ),
    ];
    for (spec, want) in table {
        assert_eq!(check(spec.clone()), want, "{spec}");
    }
}

fn with_volume(mut source: Value) -> Value {
    source["name"] = json!("v");
    json!({"containers": [{"name": "a", "image": "i"}], "volumes": [source]})
}

#[test]
fn sysctl_names() {
    let errs = |name: &str| {
        let mut spec = container(json!({}));
        spec["securityContext"] = json!({"sysctls": [{"name": name, "value": "1"}]});
        check(spec)
    };
    for ok in ["kernel.shm_rmid_forced", "net/ipv4.ping_group_range", "a"] {
        assert!(errs(ok).is_empty(), "{ok}");
    }
    for bad in ["foo-", "bar..", "A", "_a"] {
        let e = errs(bad);
        let want = format!(
            "spec.securityContext.sysctls[0].name: Invalid value: \"{bad}\": must have at most 253 characters and match regex"
        );
        assert!(e.len() == 1 && e[0].starts_with(&want), "{e:?}");
    }
    assert_eq!(errs(""), ["spec.securityContext.sysctls[0].name: Required value"]);
}

#[test]
fn updates() {
    let old = pod(
        json!({"containers": [{"name": "a", "image": "i"}], "tolerations": [{"key": "k", "operator": "Exists"}],
        "schedulingGates": [{"name": "g"}]}),
    );
    let check = |f: &dyn Fn(&mut Value)| {
        let mut new = old.clone();
        f(&mut new);
        messages(&crate::validation::update(&Gvk::new("", "v1", "Pod"), &new, &old))
    };
    assert!(check(&|_| {}).is_empty());
    assert!(check(&|p| p["spec"]["containers"][0]["image"] = json!("j")).is_empty());
    assert!(check(&|p| p["spec"]["activeDeadlineSeconds"] = json!(5)).is_empty());
    assert!(
        check(&|p| p["spec"]["tolerations"]
            .as_array_mut()
            .unwrap()
            .push(json!({"key": "x", "operator": "Exists"})))
        .is_empty()
    );
    assert!(check(&|p| p["spec"]["schedulingGates"] = json!([])).is_empty());
    let e = check(&|p| p["spec"]["containers"][0]["command"] = json!(["x"]));
    assert_eq!(e.len(), 1);
    assert!(
        e[0].starts_with(
            "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"
        ),
        "{}",
        e[0]
    );
    assert!(
        e[0].ends_with("+ spec.containers[0].command: [\"x\"]"),
        "{}",
        e[0]
    );
    assert_eq!(
        check(&|p| p["spec"]["schedulingGates"] = json!([{"name": "h"}])),
        [
            "spec.schedulingGates[0].name: Forbidden: only deletion is allowed, but found new scheduling gate 'h'"
        ]
    );
    assert_eq!(
        check(&|p| p["spec"]["containers"].as_array_mut().unwrap().clear()),
        [
            "spec.containers: Required value",
            "spec.containers: Forbidden: pod updates may not add or remove containers"
        ]
    );
}

#[test]
fn a_resize_changes_cpu_and_memory_only() {
    let container = |requests: Value, limits: Value| {
        json!({"name": "c", "image": "i", "imagePullPolicy": "Always", "terminationMessagePolicy": "File",
            "resources": {"requests": requests, "limits": limits}})
    };
    let pod = |containers: Value| {
        json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "p", "namespace": "n", "uid": "u", "resourceVersion": "1"},
            "spec": {"containers": containers, "restartPolicy": "Always", "dnsPolicy": "Default"},
            "status": {"qosClass": "Burstable"}})
    };
    let one = |requests: Value, limits: Value| pod(json!([container(requests, limits)]));
    let old = one(
        json!({"cpu": "1", "ephemeral-storage": "1Gi"}),
        json!({"cpu": "2"}),
    );
    let mut renamed = old.clone();
    renamed["spec"]["containers"][0]["name"] = json!("d");
    let cases: [(Value, &[&str]); 8] = [
        (
            one(
                json!({"cpu": "2", "ephemeral-storage": "1Gi"}),
                json!({"cpu": "3"}),
            ),
            &[],
        ),
        (
            one(
                json!({"cpu": "3", "ephemeral-storage": "1Gi"}),
                json!({"cpu": "2"}),
            ),
            &[
                "spec.containers[0].resources.requests: Invalid value: \"3\": must be less than or equal to cpu limit of 2",
            ],
        ),
        (
            one(
                json!({"cpu": "-1", "ephemeral-storage": "1Gi"}),
                json!({"cpu": "2"}),
            ),
            &[
                "spec.containers[0].resources.requests[cpu]: Invalid value: \"-1\": must be greater than or equal to 0",
            ],
        ),
        (
            one(json!({"ephemeral-storage": "1Gi"}), json!({"cpu": "2"})),
            &["spec.containers[0].resources.requests: Forbidden: resource requests cannot be removed"],
        ),
        (
            one(
                json!({"cpu": "1", "ephemeral-storage": "2Gi"}),
                json!({"cpu": "2"}),
            ),
            &["spec: Forbidden: only cpu and memory resources are mutable"],
        ),
        (
            one(
                json!({"cpu": "2", "memory": "1Gi", "ephemeral-storage": "1Gi"}),
                json!({"cpu": "2", "memory": "1Gi"}),
            ),
            &["spec: Invalid value: \"Burstable\": Pod QOS Class may not change as a result of resizing"],
        ),
        (
            pod(json!([])),
            &[
                "spec.containers: Required value",
                "spec: Invalid value: \"Burstable\": Pod QOS Class may not change as a result of resizing",
                "spec.containers: Forbidden: containers may not be added or removed on resize",
            ],
        ),
        (
            renamed,
            &["spec.containers[0].name: Forbidden: containers may not be renamed or reordered on resize"],
        ),
    ];
    for (new, expected) in cases {
        let found = super::super::resize_update(&new, &old);
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found, expected, "{new}");
    }
    let mut mirror = old.clone();
    mirror["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "x"});
    let found = super::super::resize_update(&mirror, &mirror);
    assert!(found.to_string().contains("static pods cannot be resized"));
}

#[test]
fn what_pods_are_refused_for() {
    let want = |spec: Value, lines: &[&str]| {
        let mut whole = json!({"containers": [{"name": "c", "image": "i"}]});
        json_patch::merge(&mut whole, &spec);
        let mut pod = json!({"metadata": {"name": "x", "namespace": "d"}, "spec": whole});
        let gvk = crate::meta::Gvk::new("", "v1", "Pod");
        crate::defaults::apply(&gvk, &mut pod);
        let found = crate::validation::create(&gvk, &pod);
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found, lines, "{spec}");
    };
    let container = |more: Value| {
        let mut one = json!({"name": "c", "image": "i"});
        json_patch::merge(&mut one, &more);
        json!({"containers": [one]})
    };
    want(
        container(json!({"resizePolicy": [{"resourceName": "disk", "restartPolicy": "NotRequired"}]})),
        &[
            "spec.containers[0].resizePolicy: Unsupported value: \"disk\": supported values: \"cpu\", \"memory\"",
        ],
    );
    want(
        container(
            json!({"restartPolicyRules": [{"action": "Restart", "exitCodes": {"operator": "In", "values": [1]}}]}),
        ),
        &[
            "spec.containers[0].restartPolicy: Required value: must specify restartPolicy when restart rules are used",
        ],
    );
    want(
        container(json!({"envFrom": [{}]})),
        &[
            "spec.containers[0].envFrom: Invalid value: \"\": must specify one of: `configMapRef` or `secretRef`",
        ],
    );
    want(
        container(
            json!({"env": [{"name": "A", "valueFrom": {"fileKeyRef": {"volumeName": "v", "path": "p", "key": "k"}}}]}),
        ),
        &["spec.containers[0].env[0].valueFrom.fileKeyRef.volumeName: Not found: \"v\""],
    );
    want(
        container(json!({"lifecycle": {"preStop": {"sleep": {"seconds": 31}}}})),
        &[
            "spec.containers[0].lifecycle.preStop.sleep: Invalid value: 31: must be non-negative and less than terminationGracePeriodSeconds (30)",
        ],
    );
    want(
        container(json!({"securityContext": {"seccompProfile": {}}})),
        &[
            "spec.containers[0].securityContext.seccompProfile.type: Required value: type is required when seccompProfile is set",
        ],
    );
    want(
        container(json!({"resources": {"claims": [{"name": "gpu"}]}})),
        &[
            "spec.containers[0].resources.claims[0]: Not found: \"gpu\": must be one of the names in pod.spec.resourceClaims which is empty",
        ],
    );
    want(
        json!({"resourceClaims": [{"name": "gpu"}]}),
        &[
            "spec.resourceClaims[0]: Invalid value: {\"name\":\"gpu\"}: must specify one of: `resourceClaimName`, `resourceClaimTemplateName`",
        ],
    );
    want(
        json!({"securityContext": {"windowsOptions": {"hostProcess": true}}}),
        &[
            "spec.hostNetwork: Invalid value: false: hostNetwork must be true if pod contains any hostProcess containers",
        ],
    );
    want(
        json!({"securityContext": {"windowsOptions": {"runAsUserName": "a\\b\\c"}}}),
        &[
            "spec.securityContext.windowsOptions.runAsUserName: Invalid value: \"a\\\\b\\\\c\": runAsUserName cannot contain more than one backslash",
        ],
    );
    want(
        json!({"hostnameOverride": "h", "setHostnameAsFQDN": true}),
        &["spec.hostnameOverride: Forbidden: may not be specified when setHostnameAsFQDN is true"],
    );
    want(
        json!({"os": {"name": "plan9"}}),
        &["spec.os: Unsupported value: \"plan9\": supported values: \"linux\", \"windows\""],
    );
    want(
        json!({"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
            {"topologyKey": "zone", "matchLabelKeys": ["k"]}]}}}),
        &[
            "spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].matchLabelKeys: Forbidden: must not be specified when labelSelector is not set",
        ],
    );
    want(
        json!({"volumes": [{"name": "v", "ephemeral": {"volumeClaimTemplate": {"metadata": {"name": "n"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}}}]}),
        &["spec.volumes[0].ephemeral.volumeClaimTemplate.metadata.name: Forbidden: cannot be set"],
    );
}

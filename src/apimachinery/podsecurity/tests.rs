use serde_json::json;

use super::*;

fn at(level: &str, minor: Option<u32>) -> LevelVersion {
    LevelVersion {
        level: Level::parse(level).unwrap(),
        minor,
    }
}

fn detail(level: LevelVersion, spec: &Value) -> String {
    evaluate(level, None, spec).detail()
}

/// A pod that `restricted` has nothing against.
fn good() -> Value {
    json!({"securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{"name": "c", "securityContext": {
            "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}}]})
}

#[test]
fn a_plain_pod_is_baseline_and_not_restricted() {
    let spec = json!({"containers": [{"name": "c"}, {"name": "d"}]});
    assert_eq!(detail(at("privileged", None), &spec), "");
    assert_eq!(detail(at("baseline", None), &spec), "");
    assert_eq!(
        detail(at("restricted", None), &spec),
        "allowPrivilegeEscalation != false (containers \"c\", \"d\" must set securityContext.allowPrivilegeEscalation=false), \
         unrestricted capabilities (containers \"c\", \"d\" must set securityContext.capabilities.drop=[\"ALL\"]), \
         runAsNonRoot != true (pod or containers \"c\", \"d\" must set securityContext.runAsNonRoot=true), \
         seccompProfile (pod or containers \"c\", \"d\" must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")"
    );
    assert_eq!(detail(at("restricted", None), &good()), "");
}

#[test]
fn each_check_says_who_does_what() {
    let container = |field: &str, value: Value| json!({"containers": [{"name": "c", field: value}]});
    let secure = |value: Value| container("securityContext", value);
    let pod = |field: &str, value: Value| json!({field: value, "containers": [{"name": "c"}]});
    let cases = [
        (
            pod(
                "securityContext",
                json!({"appArmorProfile": {"type": "Unconfined"}}),
            ),
            "forbidden AppArmor profile (pod must not set AppArmor profile type to \"Unconfined\")",
        ),
        (
            secure(json!({"capabilities": {"add": ["NET_RAW", "CHOWN", "BPF"]}})),
            "non-default capabilities (container \"c\" must not include \"BPF\", \"NET_RAW\" in securityContext.capabilities.add)",
        ),
        (
            json!({"hostNetwork": true, "hostIPC": true}),
            "host namespaces (hostNetwork=true, hostIPC=true)",
        ),
        (
            pod(
                "volumes",
                json!([{"name": "a", "hostPath": {"path": "/"}}, {"name": "b", "emptyDir": {}}]),
            ),
            "hostPath volumes (volume \"a\")",
        ),
        (
            container(
                "ports",
                json!([{"hostPort": 80}, {"hostPort": 443}, {"containerPort": 1}]),
            ),
            "hostPort (container \"c\" uses hostPorts 443, 80)",
        ),
        (
            container("livenessProbe", json!({"httpGet": {"host": "1.2.3.4"}})),
            "probe or lifecycle host (container \"c\" uses probe or lifecycle host \"1.2.3.4\")",
        ),
        (
            secure(json!({"privileged": true})),
            "privileged (container \"c\" must not set securityContext.privileged=true)",
        ),
        (
            secure(json!({"procMount": "Unmasked"})),
            "procMount (container \"c\" must not set securityContext.procMount to \"Unmasked\")",
        ),
        (
            secure(json!({"seLinuxOptions": {"type": "spc_t", "user": "u"}})),
            "seLinuxOptions (container \"c\" set forbidden securityContext.seLinuxOptions: type \"spc_t\"; user may not be set)",
        ),
        (
            pod(
                "securityContext",
                json!({"seccompProfile": {"type": "Unconfined"}}),
            ),
            "seccompProfile (pod must not set securityContext.seccompProfile.type to \"Unconfined\")",
        ),
        (
            pod(
                "securityContext",
                json!({"sysctls": [{"name": "kernel.msgmax"}, {"name": "net.ipv4.tcp_wmem"}]}),
            ),
            "forbidden sysctls (kernel.msgmax)",
        ),
        (
            pod(
                "securityContext",
                json!({"windowsOptions": {"hostProcess": true}}),
            ),
            "hostProcess (pod must not set securityContext.windowsOptions.hostProcess=true)",
        ),
    ];
    for (spec, expected) in cases {
        assert_eq!(detail(at("baseline", None), &spec), expected);
    }
    let with = |change: fn(&mut Value)| {
        let mut spec = good();
        change(&mut spec);
        spec
    };
    let cases = [
        (
            with(|s| s["volumes"] = json!([{"name": "n", "nfs": {}}, {"name": "h", "hostPath": {}}])),
            "restricted volume types (volumes \"n\", \"h\" use restricted volume types \"hostPath\", \"nfs\")",
        ),
        (
            with(|s| {
                s["containers"][0]["securityContext"]["capabilities"]["add"] =
                    json!(["CHOWN", "NET_BIND_SERVICE"])
            }),
            "unrestricted capabilities (container \"c\" must not include \"CHOWN\" in securityContext.capabilities.add)",
        ),
        (
            with(|s| s["containers"][0]["securityContext"]["runAsNonRoot"] = json!(false)),
            "runAsNonRoot != true (container \"c\" must not set securityContext.runAsNonRoot=false)",
        ),
        (
            with(|s| s["securityContext"]["runAsUser"] = json!(0)),
            "runAsUser=0 (pod must not set runAsUser=0)",
        ),
    ];
    for (spec, expected) in cases {
        assert_eq!(detail(at("restricted", None), &spec), expected);
    }
}

#[test]
fn versions_forbid_what_was_known_then() {
    let spec = json!({"containers": [{"name": "c", "livenessProbe": {"tcpSocket": {"host": "h"}}}]});
    assert_eq!(detail(at("baseline", Some(33)), &spec), "");
    assert_ne!(detail(at("baseline", Some(34)), &spec), "");
    let mut root = good();
    root["hostUsers"] = json!(false);
    root["securityContext"]["runAsUser"] = json!(0);
    assert_eq!(detail(at("restricted", None), &root), "");
    assert_eq!(
        detail(at("restricted", Some(34)), &root),
        "runAsUser=0 (pod must not set runAsUser=0)"
    );
    assert_eq!(detail(at("restricted", Some(22)), &root), "");
    let windows = json!({"os": {"name": "windows"}, "securityContext": {"runAsNonRoot": true}, "containers": [{"name": "c"}]});
    assert_eq!(detail(at("restricted", None), &windows), "");
    let sysctl = json!({"securityContext": {"sysctls": [{"name": "net.ipv4.tcp_rmem"}]}});
    assert_eq!(
        detail(at("baseline", Some(31)), &sysctl),
        "forbidden sysctls (net.ipv4.tcp_rmem)"
    );
}

#[test]
fn labels_make_a_policy() {
    let of = |labels: Value| {
        let (policy, errors) = Policy::of(labels.as_object(), &Policy::default());
        let shown = [policy.enforce, policy.audit, policy.warn].map(|lv| lv.to_string());
        (shown, errors.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    let (none, errors) = of(json!({}));
    assert_eq!(
        (none, errors.len()),
        (["privileged:latest"; 3].map(str::to_owned), 0)
    );
    let (enforced, _) = of(
        json!({"pod-security.kubernetes.io/enforce": "baseline", "pod-security.kubernetes.io/enforce-version": "v1.30"}),
    );
    assert_eq!(
        enforced,
        ["baseline:v1.30", "privileged:latest", "baseline:v1.30"]
    );
    let (broken, errors) = of(
        json!({"pod-security.kubernetes.io/enforce": "x", "pod-security.kubernetes.io/warn": "y",
        "pod-security.kubernetes.io/audit-version": "1.2"}),
    );
    assert_eq!(
        broken,
        ["restricted:latest", "privileged:latest", "privileged:latest"]
    );
    assert_eq!(
        errors,
        [
            "metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: \"x\": must be one of privileged, baseline, restricted",
            "metadata.labels[pod-security.kubernetes.io/audit-version]: Invalid value: \"1.2\": must be \"latest\" or \"v1.x\"",
            "metadata.labels[pod-security.kubernetes.io/warn]: Invalid value: \"y\": must be one of privileged, baseline, restricted",
        ]
    );
}

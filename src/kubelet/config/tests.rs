use serde_json::{Value, json};

use super::*;

fn pod(spec: Value) -> Pod {
    serde_json::from_value(
        json!({"metadata": {"name": "p", "namespace": "n", "uid": "u", "labels": {"app": "x"},
        "annotations": {"a": "b"}}, "spec": spec}),
    )
    .expect("a pod")
}

#[test]
fn a_sandbox_carries_the_pods_identity() {
    let pod = pod(
        json!({"containers": [{"name": "c", "ports": [{"containerPort": 80, "hostPort": 8080, "protocol": "UDP"}],
        "securityContext": {"privileged": true}}], "hostPID": true}),
    );
    let config = sandbox_config(
        &pod,
        2,
        "/logs",
        v1::DnsConfig::default(),
        "cluster.local",
        "/kubepods/podu",
    );
    assert_eq!(config.metadata.as_ref().map(|m| m.attempt), Some(2));
    assert_eq!(config.log_directory, "/logs/n_p_u");
    assert_eq!(config.labels[keys::POD_UID], "u");
    assert_eq!(config.labels["app"], "x");
    assert_eq!(config.annotations["a"], "b");
    assert_eq!(config.hostname, "p");
    let port = &config.port_mappings[0];
    assert_eq!((port.protocol(), port.host_port), (v1::Protocol::Udp, 8080));
    let linux = config.linux.expect("linux");
    assert_eq!(linux.cgroup_parent, "/kubepods/podu");
    let security = linux.security_context.expect("security");
    assert!(security.privileged);
    assert_eq!(
        security.namespace_options.expect("namespaces").pid(),
        v1::NamespaceMode::Node
    );
}

#[test]
fn a_pod_on_the_machines_network_keeps_its_hostname() {
    let pod = pod(json!({"containers": [], "hostNetwork": true}));
    assert_eq!(
        sandbox_config(&pod, 0, "/l", v1::DnsConfig::default(), "c", "").hostname,
        ""
    );
}

#[test]
fn a_container_expands_its_command_and_remembers_its_count() {
    let pod = pod(
        json!({"terminationGracePeriodSeconds": 5, "securityContext": {"runAsUser": 7, "fsGroup": 9, "supplementalGroups": [10]},
        "containers": [{"name": "c", "image": "web:1", "command": ["sh", "$(A)"], "args": ["$$(A)", "$(NO)"],
            "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"add": ["NET_ADMIN"], "drop": ["ALL"]}}}]}),
    );
    let container = pod.spec().containers[0].clone();
    let parts = Parts {
        env: vec![("A".into(), "1".into())],
        restart_count: 3,
        ..Parts::default()
    };
    let config = container_config(&pod, ContainerKind::Regular, &container, parts);
    assert_eq!(config.command, ["sh", "1"]);
    assert_eq!(config.args, ["$(A)", "$(NO)"]);
    assert_eq!(config.log_path, "c/3.log");
    assert_eq!(config.annotations[keys::RESTART_COUNT], "3");
    assert_eq!(config.annotations[keys::GRACE], "5");
    let security = config.linux.and_then(|l| l.security_context).expect("security");
    assert!(security.no_new_privs);
    assert_eq!(security.run_as_user.map(|u| u.value), Some(7));
    assert_eq!(security.supplemental_groups, [9, 10]);
    assert_eq!(
        security.capabilities.expect("capabilities").drop_capabilities,
        ["ALL"]
    );
    assert!(!security.masked_paths.is_empty());
}

#[test]
fn run_as_non_root() {
    let check = |spec: Value, image: &ImageUser| {
        let pod = pod(spec);
        verify_non_root(&pod, &pod.spec().containers[0].clone(), image)
    };
    let strict = json!({"securityContext": {"runAsNonRoot": true}, "containers": [{"name": "c"}]});
    assert!(check(strict.clone(), &ImageUser::Unset).unwrap_err().starts_with(
        "container has runAsNonRoot and image will run as root (pod: \"p_n(u)\", container: c)"
    ));
    assert!(
        check(strict.clone(), &ImageUser::Name("web".into()))
            .unwrap_err()
            .contains("non-numeric user (web)")
    );
    assert!(check(strict, &ImageUser::Uid(5)).is_ok());
    let zero =
        json!({"containers": [{"name": "c", "securityContext": {"runAsNonRoot": true, "runAsUser": 0}}]});
    assert!(
        check(zero, &ImageUser::Uid(5))
            .unwrap_err()
            .starts_with("container's runAsUser breaks non-root policy")
    );
}

use std::fmt::Write as _;
use std::path::Path;

use super::*;

/// What a fixture comes to, as text: the internal form or the error, and the
/// warnings.
fn outcome(text: &str) -> String {
    let mut out = String::new();
    let loaded = match read(text) {
        Ok(loaded) => loaded,
        Err(e) => return format!("error: {e}\n"),
    };
    for warning in &loaded.warnings {
        writeln!(out, "warning: {warning}").unwrap();
    }
    match loaded.cluster.into_cluster() {
        Ok(cluster) => out.push_str(&serde_saphyr::to_string(&cluster).unwrap()),
        Err(Error::Invalid(problems)) => {
            for problem in problems {
                writeln!(out, "invalid: {problem}").unwrap();
            }
        }
        Err(e) => writeln!(out, "error: {e}").unwrap(),
    }
    out
}

#[test]
fn fixtures_come_to_what_their_names_say() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let mut files: Vec<_> = std::fs::read_dir(&dir)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    files.retain(|p| p.extension().is_some_and(|e| e == "yaml"));
    files.sort();
    assert!(files.len() >= 9);
    for file in files {
        let name = file.file_stem().unwrap().to_str().unwrap();
        let outcome = outcome(&std::fs::read_to_string(&file).unwrap());
        let failed = outcome
            .lines()
            .any(|l| l.starts_with("error:") || l.starts_with("invalid:"));
        assert_eq!(failed, name.starts_with("invalid-"), "{name}: {outcome}");
        insta::with_settings!({snapshot_path => "fixtures", prepend_module_to_snapshot => false}, {
            insta::assert_snapshot!(name, outcome);
        });
    }
}

#[test]
fn flags_edit_the_file() {
    let mut cluster = v1alpha1::Cluster::default();
    Overrides {
        name: Some("ci".into()),
        nodes: Some(3),
        cpus: Some("500m".into()),
        memory: Some("2048".into()),
        ports: vec!["8080:30080".into(), "0.0.0.0:53:30053/udp".into(), "30090".into()],
        mounts: vec!["/src:/src:ro".into()],
        feature_gates: vec!["A=true,B=false".into()],
        extra_config: vec!["kubelet.max-pods=20".into()],
        api_server_port: Some(7443),
        ..Overrides::default()
    }
    .apply(&mut cluster)
    .unwrap();
    let cluster = cluster.into_cluster().unwrap();
    let names: Vec<_> = cluster.nodes.iter().map(|n| n.name.as_str()).collect();
    assert_eq!(names, ["ci-control-plane", "ci-worker", "ci-worker2"]);
    assert_eq!(
        cluster.nodes[2].resources,
        NodeResources {
            cpus: Some(0.5),
            memory_bytes: Some(2 << 30)
        }
    );
    assert_eq!(cluster.nodes[0].ports.len(), 3);
    assert!(cluster.nodes[1].ports.is_empty());
    assert_eq!(cluster.nodes[0].ports[1].protocol, Protocol::Udp);
    assert!(
        cluster
            .nodes
            .iter()
            .all(|n| n.mounts.len() == 1 && n.mounts[0].read_only)
    );
    assert!(!cluster.feature_gates["B"]);
    assert_eq!(cluster.extra_config["kubelet"]["max-pods"], "20");
    assert_eq!(cluster.api.port, Some(7443));
}

#[test]
fn wrong_flags_are_all_named() {
    let error = Overrides {
        nodes: Some(0),
        ports: vec!["x".into()],
        mounts: vec!["a".into()],
        feature_gates: vec!["A".into()],
        extra_config: vec!["a=b".into()],
        ..Overrides::default()
    }
    .apply(&mut v1alpha1::Cluster::default())
    .unwrap_err()
    .to_string();
    for flag in [
        "--nodes: must be at least 1",
        "--ports:",
        "--mount-string:",
        "--feature-gates:",
        "--extra-config:",
    ] {
        assert!(error.contains(flag), "{flag} not in {error}");
    }
}

#[test]
fn nodes_flag_and_nodes_in_the_file_contradict() {
    let mut cluster = v1alpha1::Cluster {
        nodes: vec![v1alpha1::Node::default()],
        ..Default::default()
    };
    let error = Overrides {
        nodes: Some(2),
        ..Default::default()
    }
    .apply(&mut cluster)
    .unwrap_err();
    assert!(error.to_string().contains("use one of the two"));
}

#[test]
fn cluster_names() {
    for good in ["a", "rkind", "my-cluster-2", &"x".repeat(CLUSTER_NAME_MAX)] {
        assert!(check_cluster_name(good).is_ok(), "{good}");
    }
    for bad in [
        "",
        "-a",
        "a-",
        "A",
        "a.b",
        "a_b",
        "ä",
        &"x".repeat(CLUSTER_NAME_MAX + 1),
    ] {
        assert!(check_cluster_name(bad).is_err(), "{bad}");
    }
}

#[test]
fn sizes() {
    assert_eq!(parse_memory("4g"), Ok(Some(4 << 30)));
    assert_eq!(parse_memory("1.5Gi"), Ok(Some(3 << 29)));
    assert_eq!(parse_memory("512"), Ok(Some(512 << 20)));
    assert_eq!(parse_memory("4096mb"), Ok(Some(4 << 30)));
    assert_eq!(parse_memory("max"), Ok(None));
    for bad in ["", "g", "-1g", "4x", "1e99g", "nan"] {
        assert!(parse_memory(bad).is_err(), "{bad}");
    }
    assert_eq!(parse_cpus("2"), Ok(Some(2.0)));
    assert_eq!(parse_cpus("250m"), Ok(Some(0.25)));
    assert_eq!(parse_cpus("no-limit"), Ok(None));
    for bad in ["", "0", "-2", "inf", "nan", "two"] {
        assert!(parse_cpus(bad).is_err(), "{bad}");
    }
}

#[test]
fn relative_host_paths_are_seen_from_the_file() {
    let text = include_str!("fixtures/valid-full.yaml");
    let mut cluster = read(text).unwrap().cluster.into_cluster().unwrap();
    cluster.resolve_paths(Path::new("/home/me"));
    assert_eq!(cluster.nodes[0].mounts[0].host_path, Path::new("/home/me/data"));
}

fn node_config() -> NodeConfig {
    let pair = || KeyPair {
        cert: "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n".into(),
        key: "k\n".into(),
    };
    NodeConfig {
        api_version: NODE_API_VERSION.into(),
        kind: NODE_KIND.into(),
        cluster: "rkind".into(),
        name: "rkind-worker".into(),
        role: NodeRole::Worker,
        node_ip: "172.18.0.3".parse().unwrap(),
        api_endpoint: "https://172.18.0.2:6443".into(),
        network: ClusterNetwork::default(),
        labels: [
            ("a".to_owned(), "true".to_owned()),
            ("b".to_owned(), "12".to_owned()),
        ]
        .into(),
        taints: vec![Taint {
            key: "k".into(),
            value: String::new(),
            effect: "NoSchedule".into(),
        }],
        resources: NodeResources {
            cpus: Some(1.5),
            memory_bytes: None,
        },
        pki: NodePki {
            ca_cert: "ca\n".into(),
            kubelet: pair(),
            kubelet_serving: pair(),
            proxy: pair(),
            control_plane: None,
        },
        log_level: "info".into(),
        feature_gates: [("A".to_owned(), true)].into(),
        extra_config: Default::default(),
        hosts: Default::default(),
    }
}

#[test]
fn node_config_survives_its_file() {
    let config = node_config();
    let text = config.to_yaml().unwrap();
    assert_eq!(NodeConfig::from_yaml(&text).unwrap(), config, "{text}");
    assert!(
        !format!("{config:?}").contains("\"k\\n\""),
        "private keys must not reach a log"
    );
}

#[test]
fn node_config_of_another_version_is_refused() {
    let text = node_config().to_yaml().unwrap().replace("v1alpha1", "v9");
    assert!(
        NodeConfig::from_yaml(&text)
            .unwrap_err()
            .to_string()
            .contains("node.rkind.dev/v9")
    );
    let text = node_config().to_yaml().unwrap() + "surprise: 1\n";
    assert!(NodeConfig::from_yaml(&text).is_err());
}

#[test]
fn flags_of_components() {
    let extra = |component: &str, flag: &str, value: &str| {
        ExtraConfig::from([(component.into(), [(flag.into(), value.into())].into())])
    };
    let read =
        ComponentFlags::read(&extra("controller-manager", "node-monitor-grace-period", "1m30s")).unwrap();
    assert_eq!(
        read.node_monitor_grace_period,
        Some(std::time::Duration::from_secs(90))
    );
    let of_others = ComponentFlags::read(&extra("apiserver", "anything", "x"));
    assert_eq!(of_others, Ok(ComponentFlags::default()));
    assert_eq!(
        ComponentFlags::read(&ExtraConfig::new()),
        Ok(ComponentFlags::default())
    );
    for (component, flag, value, field, words) in [
        (
            "kubelet",
            "max-pods",
            "many",
            "extraConfig.kubelet.max-pods",
            "no number",
        ),
        (
            "kubelet",
            "v",
            "9",
            "extraConfig.kubelet.v",
            "kubelet has: max-pods",
        ),
        (
            "etcd",
            "name",
            "x",
            "extraConfig.etcd.name",
            "apiserver, controller-manager, kubelet",
        ),
        (
            "controller-manager",
            "node-monitor-grace-period",
            "0s",
            "extraConfig.controller-manager.node-monitor-grace-period",
            "40s",
        ),
    ] {
        let problems = ComponentFlags::read(&extra(component, flag, value)).unwrap_err();
        assert_eq!(problems[0].field, field);
        assert!(problems[0].message.contains(words), "{}", problems[0].message);
    }
}

#[test]
fn runtime_config_is_a_flag_of_the_api_server() {
    let flags = |text: &str| {
        let cluster = crate::read(text).unwrap().cluster;
        let mut cluster = cluster;
        Overrides::default().apply(&mut cluster).unwrap();
        cluster.into_cluster().unwrap().component_flags()
    };
    let kind = "kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\nruntimeConfig:\n  api/beta: \"true\"\n  apps/v1: \"false\"\n";
    assert_eq!(
        flags(kind)["apiserver"]["runtime-config"],
        "api/beta=true,apps/v1=false"
    );
    let own = "apiVersion: rkind.dev/v1alpha1\nkind: Cluster\nruntimeConfig:\n  api/beta: \"true\"\nextraConfig:\n  apiserver:\n    runtime-config: api/beta=false\n    anonymous-auth: \"false\"\n";
    let apiserver = &flags(own)["apiserver"];
    assert_eq!(apiserver["runtime-config"], "api/beta=true,api/beta=false");
    assert_eq!(apiserver["anonymous-auth"], "false");
    assert!(flags("apiVersion: rkind.dev/v1alpha1\nkind: Cluster\n").is_empty());
}

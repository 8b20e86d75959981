use rkind_config::{Mount, NodeResources, NodeRole, PortMapping, Propagation, Protocol};
use rkind_driver::{NodeSpec, PublishedPort};

use crate::connect::Endpoint;
use crate::error::port_in_use;
use crate::{probe, spec, subnet};

fn node_spec() -> NodeSpec {
    NodeSpec {
        cluster: "dev".into(),
        name: "dev-control-plane".into(),
        role: NodeRole::ControlPlane,
        image: "image:1".into(),
        command: ["/usr/local/bin/rkind", "node", "init"].map(str::to_owned).into(),
        network: "rkind-dev".into(),
        address: "172.30.0.2".parse().unwrap(),
        resources: NodeResources {
            cpus: Some(1.5),
            memory_bytes: Some(1 << 30),
        },
        mounts: vec![Mount {
            host_path: "/src".into(),
            container_path: "/data".into(),
            read_only: true,
            selinux_relabel: false,
            propagation: Propagation::HostToContainer,
        }],
        ports: vec![PortMapping {
            container_port: 6443,
            host_port: Some(40001),
            listen_address: "127.0.0.1".parse().unwrap(),
            protocol: Protocol::Tcp,
        }],
        hosts: [("host.rkind.internal".to_owned(), "172.30.0.1".parse().unwrap())].into(),
        labels: Default::default(),
    }
}

#[test]
fn nodes_are_never_privileged() {
    let body = spec::container(&node_spec(), &["SYS_RESOURCE"], Vec::new());
    let host = body.host_config.unwrap();
    assert_eq!(host.privileged, Some(false));
    assert_eq!(host.cap_drop.unwrap(), ["ALL"]);
    let added = host.cap_add.unwrap();
    assert!(added.iter().any(|c| c == "SYS_ADMIN"));
    assert!(
        !added
            .iter()
            .any(|c| c == "SYS_RESOURCE" || c == "SYS_MODULE" || c == "SYS_BOOT")
    );
    let with = spec::container(&node_spec(), &[], Vec::new())
        .host_config
        .unwrap()
        .cap_add
        .unwrap();
    assert!(with.iter().any(|c| c == "SYS_RESOURCE"));
}

#[test]
fn limits_ports_and_labels_are_those_of_the_node() {
    let body = spec::container(&node_spec(), &[], Vec::new());
    let labels = body.labels.unwrap();
    assert_eq!(labels["dev.rkind.cluster"], "dev");
    assert_eq!(labels["dev.rkind.role"], "control-plane");
    let ports = spec::parse_ports_label(&labels[spec::PORTS_LABEL]);
    assert_eq!(
        ports,
        [PublishedPort {
            address: "127.0.0.1".parse().unwrap(),
            host_port: 40001,
            node_port: 6443,
            protocol: "tcp".into()
        }]
    );
    let host = body.host_config.unwrap();
    assert_eq!(host.nano_cpus, Some(1_500_000_000));
    assert_eq!((host.memory, host.memory_swap), (Some(1 << 30), Some(1 << 30)));
    let bindings = host.port_bindings.unwrap();
    assert_eq!(
        bindings["6443/tcp"].as_ref().unwrap()[0].host_ip.as_deref(),
        Some("127.0.0.1")
    );
    assert_eq!(host.mounts.unwrap().len(), 2);
}

#[test]
fn missing_capabilities_are_read_from_the_bounding_set() {
    let without = "Name:\tx\nCapBnd:\t000001fffeffffff\n";
    assert_eq!(probe::lacking_of_status(without), ["SYS_RESOURCE"]);
    assert!(probe::lacking_of_status("CapBnd:\t000001ffffffffff\n").is_empty());
    assert!(probe::lacking_of_status("").is_empty());
}

#[test]
fn the_engine_names_the_port_that_is_taken() {
    let allocated = "driver failed programming external connectivity on endpoint x (0a1b): Bind for \
                     127.0.0.1:6443 failed: port is already allocated";
    let in_use = "driver failed programming external connectivity on endpoint x (0a1b): Error starting userland \
                  proxy: listen tcp4 127.0.0.1:8080: bind: address already in use";
    assert_eq!(port_in_use(allocated), Some(6443));
    assert_eq!(port_in_use(in_use), Some(8080));
    assert_eq!(port_in_use("no such container"), None);
}

#[test]
fn routes_of_the_host() {
    let text = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n\
                eth0\t00000000\t0102000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n";
    let expected = if cfg!(target_endian = "little") {
        "172.17.0.0/16"
    } else {
        "0.0.17.172/16"
    };
    assert_eq!(
        subnet::parse_routes(text)
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>(),
        [expected]
    );
}

#[test]
fn candidates_do_not_overlap() {
    let all: Vec<_> = subnet::candidates().collect();
    assert_eq!(all.len(), 768);
    assert!(
        all.iter()
            .enumerate()
            .all(|(i, a)| all[..i].iter().all(|b| !subnet::overlap(a, b)))
    );
}

#[test]
fn the_engine_is_the_docker_clients_choice() {
    let dir = tempfile::tempdir().unwrap();
    let none = |_: &str| None;
    assert_eq!(
        Endpoint::choose(&none, dir.path()).host,
        "unix:///var/run/docker.sock"
    );
    let meta = dir.path().join("contexts/meta/0a1b");
    std::fs::create_dir_all(&meta).unwrap();
    let json = r#"{"Name":"far","Metadata":{},"Endpoints":{"docker":{"Host":"tcp://far:2375","SkipTLSVerify":false}}}"#;
    std::fs::write(meta.join("meta.json"), json).unwrap();
    std::fs::write(
        dir.path().join("config.json"),
        r#"{"currentContext":"far","auths":{}}"#,
    )
    .unwrap();
    let chosen = Endpoint::choose(&none, dir.path());
    assert_eq!(
        (chosen.host.as_str(), chosen.is_local()),
        ("tcp://far:2375", false)
    );
    let host = |name: &str| (name == "DOCKER_HOST").then(|| "unix:///tmp/x.sock".to_owned());
    assert_eq!(Endpoint::choose(&host, dir.path()).host, "unix:///tmp/x.sock");
}

#[tokio::test]
async fn nobody_there_is_an_error_with_a_hint() {
    let endpoint = Endpoint {
        engine: "docker",
        host: "unix:///nonexistent/docker.sock".into(),
        chosen_by: "a test".into(),
    };
    let error = crate::DockerDriver::connect_to(endpoint).await.unwrap_err();
    assert!(
        error.to_string().contains("cannot reach the docker engine"),
        "{error}"
    );
    assert!(error.hint().unwrap().contains("DOCKER_HOST"));
}

#[test]
fn only_podman_without_sys_resource_needs_limits() {
    assert!(probe::limits(false, &["SYS_RESOURCE"]).is_empty());
    assert!(probe::limits(true, &[]).is_empty());
    let limits = probe::limits(true, &["SYS_RESOURCE"]);
    let names: Vec<_> = limits.iter().filter_map(|l| l.name.as_deref()).collect();
    assert_eq!(names, ["nofile", "nproc"]);
    assert!(
        limits.iter().all(|l| l.hard == l.soft && l.hard != Some(0)),
        "{limits:?}"
    );
}

use super::*;

#[test]
fn names_fit_and_belong_to_their_owner() {
    let name = host_interface("c".repeat(64).as_str(), "eth0");
    assert!(name.len() <= 15, "{name}");
    assert_eq!(name, host_interface("c".repeat(64).as_str(), "eth0"));
    assert_ne!(name, host_interface("c".repeat(64).as_str(), "eth1"));
    assert_eq!(
        mac_of(IpAddr::from([10, 244, 1, 5])).to_string(),
        "0a:58:0a:f4:01:05"
    );
}

mod needs_root {
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::time::{Duration, Instant};

    use super::*;
    use crate::agent;
    use crate::plugin::Command;
    use rkind_sys::net::Net;

    const PATIENCE: Duration = Duration::from_secs(5);

    fn request(container: &str, namespace: &Namespace) -> Request {
        Request {
            command: Command::Add,
            container: container.into(),
            interface: "eth0".into(),
            namespace: Some(namespace.path().to_owned()),
        }
    }

    fn config(dir: &Path, range: &str, more: &str) -> Config {
        let text = format!(
            "{{\"cniVersion\":\"1.0.0\",\"type\":\"rkind-cni\",\"podCIDR\":\"{range}\",\"dataDir\":{dir:?}{more}}}"
        );
        serde_json::from_str(&text).unwrap()
    }

    /// A node's and two pods' namespaces bound below `dir`, unbound at the end.
    struct Bound(Namespace);

    impl Bound {
        fn new(dir: &Path, name: &str) -> Self {
            Self(Namespace::bound(&dir.join(name)).unwrap())
        }
    }

    impl Drop for Bound {
        fn drop(&mut self) {
            let _ = Namespace::unbind(self.0.path());
        }
    }

    fn in_node<T: Send>(
        node: &Bound,
        work: impl FnOnce() -> Result<T, Failure> + Send,
    ) -> Result<T, Failure> {
        node.0.run(|| Ok(work())).unwrap()
    }

    /// Sends a word from `from` to a listener in `to` and returns the address the
    /// listener saw. The port is a new one each time: a child that another test starts just then
    /// holds a copy of the last listener until it becomes its program.
    fn peer_seen(from: &Namespace, to: &Namespace, address: IpAddr) -> IpAddr {
        let listener = to.run(|| Ok(TcpListener::bind((address, 0)).unwrap())).unwrap();
        let at = listener.local_addr().unwrap();
        let client = from
            .run(|| Ok(TcpStream::connect_timeout(&at, PATIENCE)))
            .unwrap()
            .expect("connect");
        let (_, peer) = listener.accept().unwrap();
        drop(client);
        peer.ip()
    }

    #[test]
    fn two_nodes_with_two_pods_each_reach_each_other_without_translation() {
        let dir = tempfile::tempdir().unwrap();
        let d = dir.path();
        let (a, b) = (Bound::new(d, "node-a"), Bound::new(d, "node-b"));
        let (net_a, net_b) = (Net::inside(&a.0).unwrap(), Net::inside(&b.0).unwrap());
        // The network between the nodes.
        net_a
            .add_veth(
                "net0",
                &Peer {
                    name: "net0",
                    namespace: &b.0,
                    mac: None,
                },
                1500,
            )
            .unwrap();
        let ip = |text: &str| text.parse::<IpNet>().unwrap();
        for (net, address) in [(&net_a, "172.18.0.2/16"), (&net_b, "172.18.0.3/16")] {
            let link = net.expect_link("net0").unwrap();
            net.add_address(link.index, ip(address)).unwrap();
            net.set_up(link.index).unwrap();
            net.set_up(net.expect_link("lo").unwrap().index).unwrap();
        }
        for node in [&a, &b] {
            in_node(node, || {
                agent::prepare_node().unwrap();
                Ok(())
            })
            .unwrap();
        }
        let routes_a = [(ip("10.244.2.0/24"), ip("172.18.0.3/32").addr())];
        assert_eq!(agent::sync_routes(&net_a, &routes_a).unwrap(), (1, 0));
        assert_eq!(agent::sync_routes(&net_a, &routes_a).unwrap(), (0, 0));
        agent::sync_routes(&net_b, &[(ip("10.244.1.0/24"), ip("172.18.0.2/32").addr())]).unwrap();

        let (config_a, config_b) = (
            config(&d.join("a"), "10.244.1.0/24", ""),
            config(&d.join("b"), "10.244.2.0/24", ""),
        );
        let pods: Vec<Bound> = ["pod-1", "pod-2", "pod-3"].map(|n| Bound::new(d, n)).into();
        let attach = |node: &Bound, config: &Config, i: usize| {
            let request = request(&format!("c{i}"), &pods[i].0);
            in_node(node, || {
                loopback_up(&request)?;
                let outcome = add(&request, config)?;
                check(&request, config)?;
                Ok(outcome)
            })
            .unwrap()
        };
        let address = |o: &Outcome| o.ips[0].address.addr();
        let (one, two) = (attach(&a, &config_a, 0), attach(&a, &config_a, 1));
        let three = attach(&b, &config_b, 2);
        assert_eq!(address(&one).to_string(), "10.244.1.2");
        assert_eq!(one.interfaces[1].sandbox.as_deref(), pods[0].0.path().to_str());

        let (p1, p2, p3) = (&pods[0].0, &pods[1].0, &pods[2].0);
        assert_eq!(
            peer_seen(p1, p2, address(&two)),
            address(&one),
            "pod to pod on one node"
        );
        assert_eq!(
            peer_seen(p1, p3, address(&three)),
            address(&one),
            "pod to pod across nodes"
        );
        assert_eq!(peer_seen(p3, p1, address(&one)), address(&three), "and back");
        assert_eq!(peer_seen(p1, p1, address(&one)), address(&one), "to itself");
        assert_eq!(
            peer_seen(&a.0, p1, address(&one)).to_string(),
            "10.244.1.1",
            "node to its pod"
        );
        assert_eq!(
            peer_seen(&a.0, p3, address(&three)).to_string(),
            "172.18.0.2",
            "node to another's pod"
        );
        let node_a = ip("172.18.0.2/32").addr();
        assert_eq!(
            peer_seen(p3, &a.0, node_a),
            address(&three),
            "pod to another node"
        );

        // A packet that fills the MTU passes.
        let receiver = p3
            .run(|| Ok(UdpSocket::bind((address(&three), 99)).unwrap()))
            .unwrap();
        let sender = p1
            .run(|| Ok(UdpSocket::bind((address(&one), 99)).unwrap()))
            .unwrap();
        receiver.set_read_timeout(Some(PATIENCE)).unwrap();
        sender.send_to(&[7; 1472], (address(&three), 99)).unwrap();
        assert_eq!(receiver.recv(&mut [0; 2000]).unwrap(), 1472);

        in_node(&a, || {
            let request = request("c0", p1);
            delete(&request, &config_a)?;
            delete(&request, &config_a)?;
            assert_eq!(check(&request, &config_a).unwrap_err().code, Code::Mismatch);
            let keep = ",\"cni.dev/valid-attachments\":[]";
            collect_garbage(&config(&d.join("a"), "10.244.1.0/24", keep))?;
            Ok(())
        })
        .unwrap();
        assert!(
            Net::inside(p2).unwrap().link("eth0").unwrap().is_none(),
            "collected as garbage"
        );
        assert_eq!(net_a.links().unwrap().len(), 2, "lo and net0 are left");
        assert!(Leases::lock(&d.join("a")).unwrap().all().unwrap().is_empty());
    }

    #[test]
    fn host_ports_lead_to_the_pod_from_everywhere() {
        let dir = tempfile::tempdir().unwrap();
        let d = dir.path();
        let (node, outside, pod, other) = (
            Bound::new(d, "node"),
            Bound::new(d, "outside"),
            Bound::new(d, "pod"),
            Bound::new(d, "other"),
        );
        let (net, far) = (Net::inside(&node.0).unwrap(), Net::inside(&outside.0).unwrap());
        net.add_veth(
            "eth0",
            &Peer {
                name: "eth0",
                namespace: &outside.0,
                mac: None,
            },
            1500,
        )
        .unwrap();
        for (net, address) in [(&net, "172.18.0.2/16"), (&far, "172.18.0.1/16")] {
            let link = net.expect_link("eth0").unwrap();
            net.add_address(link.index, address.parse().unwrap()).unwrap();
            net.set_up(link.index).unwrap();
            net.set_up(net.expect_link("lo").unwrap().index).unwrap();
        }
        let ports = ",\"runtimeConfig\":{\"portMappings\":[{\"hostPort\":8080,\"containerPort\":80},\
            {\"hostPort\":8081,\"containerPort\":80,\"hostIP\":\"127.0.0.1\"}]}";
        let (plain, mapped) = (
            config(&d.join("l"), "10.244.1.0/24", ""),
            config(&d.join("l"), "10.244.1.0/24", ports),
        );
        let address = in_node(&node, || {
            agent::prepare_node().unwrap();
            loopback_up(&request("c1", &pod.0))?;
            add(&request("c2", &other.0), &plain)?;
            Ok(add(&request("c1", &pod.0), &mapped)?.ips[0].address.addr())
        })
        .unwrap();
        let listener = pod
            .0
            .run(|| Ok(TcpListener::bind((address, 80)).unwrap()))
            .unwrap();
        listener.set_nonblocking(true).unwrap();
        let connect = |from: &Namespace, to: &str| {
            let to = to.parse().unwrap();
            from.run(|| Ok(TcpStream::connect_timeout(&to, Duration::from_secs(2))))
                .unwrap()
        };
        let seen_from = |from: &Namespace, to: &str| {
            let _stream = connect(from, to).unwrap_or_else(|e| panic!("{to}: {e}"));
            listener.accept().unwrap().1.ip().to_string()
        };
        let node_port = "172.18.0.2:8080";
        assert_eq!(
            seen_from(&outside.0, node_port),
            "172.18.0.1",
            "from outside, the true source"
        );
        assert_eq!(seen_from(&other.0, node_port), "10.244.1.2", "from another pod");
        assert_eq!(seen_from(&pod.0, node_port), "10.244.1.1", "from the pod itself");
        seen_from(&node.0, node_port);
        seen_from(&node.0, "127.0.0.1:8080");
        seen_from(&node.0, "127.0.0.1:8081");
        assert!(
            connect(&outside.0, "172.18.0.2:8081").is_err(),
            "only on 127.0.0.1"
        );
        in_node(&node, || delete(&request("c1", &pod.0), &mapped)).unwrap();
        assert!(connect(&outside.0, node_port).is_err(), "closed with the pod");
    }

    #[test]
    fn add_is_quick_and_a_cut_short_attempt_is_no_obstacle() {
        let dir = tempfile::tempdir().unwrap();
        let d = dir.path();
        let node = Bound::new(d, "node");
        let config = config(&d.join("leases"), "10.244.1.0/24", "");
        let pods: Vec<Bound> = (0..20).map(|i| Bound::new(d, &format!("pod-{i}"))).collect();
        in_node(&node, || {
            let net = Net::here()?;
            let leftover = host_interface("c0", "eth0");
            let elsewhere = Namespace::unnamed()?;
            net.add_veth(
                &leftover,
                &Peer {
                    name: "eth0",
                    namespace: &elsewhere,
                    mac: None,
                },
                1500,
            )?;
            let mut times = Vec::new();
            for (i, pod) in pods.iter().enumerate() {
                let start = Instant::now();
                add(&request(&format!("c{i}"), &pod.0), &config)?;
                times.push(start.elapsed());
            }
            times.sort();
            eprintln!("ADD: median {:?}, slowest {:?}", times[10], times[19]);
            assert_eq!(net.links()?.len(), 21);
            Ok(())
        })
        .unwrap();
    }
}

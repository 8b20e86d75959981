use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use serde_json::json;

use super::*;
use crate::plan::Planner;
use crate::plan::tests::{options, seen};
use rkind_sys::net::{Net, Peer, Route, default_route};
use rkind_sys::netns::Namespace;
use rkind_sys::nft::{Firewall as _, Netlink, Process};

mod needs_root_and_nft {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(3);

    /// A node with two pods, a neighbour on the nodes' network and the rules.
    struct World {
        node: Namespace,
        pods: Vec<(Namespace, IpAddr)>,
        neighbour: Namespace,
        planner: Planner,
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn link_up(net: &Net, name: &str, address: &str) -> u32 {
        let link = net.expect_link(name).unwrap();
        net.add_address(link.index, address.parse().unwrap()).unwrap();
        net.set_up(link.index).unwrap();
        link.index
    }

    impl World {
        fn new() -> Self {
            let node = Namespace::unnamed().unwrap();
            let net = Net::inside(&node).unwrap();
            net.set_up(net.expect_link("lo").unwrap().index).unwrap();
            node.run(|| {
                rkind_sys::sysctl::write("net/ipv4/ip_forward", "1")?;
                rkind_sys::sysctl::write("net/ipv4/conf/all/route_localnet", "1")
            })
            .unwrap();
            let neighbour = Namespace::unnamed().unwrap();
            net.add_veth(
                "eth0",
                &Peer {
                    name: "eth0",
                    namespace: &neighbour,
                    mac: None,
                },
                1500,
            )
            .unwrap();
            link_up(&net, "eth0", "172.18.0.2/16");
            net.replace_route(&Route::through(default_route(ip("0.0.0.0")), ip("172.18.0.1")))
                .unwrap();
            let outside = Net::inside(&neighbour).unwrap();
            link_up(&outside, "eth0", "172.18.0.1/16");
            let pods = (2..4_u8)
                .map(|i| {
                    let pod = Namespace::unnamed().unwrap();
                    let (name, address) = (format!("pod{i}"), IpAddr::from([10, 244, 1, i]));
                    net.add_veth(
                        &name,
                        &Peer {
                            name: "eth0",
                            namespace: &pod,
                            mac: None,
                        },
                        1500,
                    )
                    .unwrap();
                    let index = link_up(&net, &name, "10.244.1.1/32");
                    net.replace_route(&Route::on_link(address.into(), index)).unwrap();
                    let inner = Net::inside(&pod).unwrap();
                    inner.set_up(inner.expect_link("lo").unwrap().index).unwrap();
                    let eth0 = link_up(&inner, "eth0", &format!("{address}/32"));
                    inner
                        .replace_route(&Route::on_link(ip("10.244.1.1").into(), eth0))
                        .unwrap();
                    inner
                        .replace_route(&Route::through(default_route(address), ip("10.244.1.1")))
                        .unwrap();
                    (pod, address)
                })
                .collect();
            let mut planner = Planner::new(options());
            planner.set_nodes(&[ip("172.18.0.2")].into());
            Self {
                node,
                pods,
                neighbour,
                planner,
            }
        }

        fn start(&mut self) {
            let all = self.planner.take_everything();
            self.node.run(|| Process::default().commit(&all)).unwrap();
        }

        fn update(&mut self) {
            let changes = self.planner.take_changes();
            self.node.run(|| Netlink::here()?.commit(&changes)).unwrap();
        }

        /// Serves "<pod> <who asks>" on TCP port 8080 of every pod.
        fn serve(&self) {
            for (i, (pod, _)) in self.pods.iter().enumerate() {
                let listener = pod
                    .run(|| Ok(TcpListener::bind("0.0.0.0:8080").unwrap()))
                    .unwrap();
                std::thread::spawn(move || {
                    while let Ok((mut stream, peer)) = listener.accept() {
                        let _ = write!(stream, "{i} {}", peer.ip());
                    }
                });
            }
        }
    }

    /// Connects and reads the answer: which pod, and whom it saw.
    fn ask(from: &Namespace, to: &str) -> Result<(usize, IpAddr), std::io::ErrorKind> {
        let to: SocketAddr = to.parse().unwrap();
        let stream = from
            .run(|| Ok(TcpStream::connect_timeout(&to, PATIENCE)))
            .unwrap();
        let mut text = String::new();
        stream
            .and_then(|mut s| {
                s.set_read_timeout(Some(PATIENCE))?;
                s.read_to_string(&mut text)
            })
            .map_err(|e| e.kind())?;
        let (pod, peer) = text.split_once(' ').expect("an answer");
        Ok((pod.parse().unwrap(), peer.parse().unwrap()))
    }

    fn count(from: &Namespace, to: &str, rounds: usize) -> [usize; 2] {
        let mut counts = [0; 2];
        for _ in 0..rounds {
            counts[ask(from, to).unwrap().0] += 1;
        }
        counts
    }

    #[test]
    fn a_service_balances_hairpins_refuses_and_answers_on_every_address() {
        let mut world = World::new();
        world.serve();
        let spec = json!({"clusterIP": "10.96.0.5", "externalIPs": ["192.0.2.1"], "ports": [{"port": 80, "nodePort": 30080}]});
        world.planner.set_service(
            "default",
            "web",
            Some(&seen(spec.clone(), &["10.244.1.2", "10.244.1.3"])),
        );
        world.planner.set_service(
            "default",
            "empty",
            Some(&seen(
                json!({"clusterIP": "10.96.0.6", "ports": [{"port": 80}]}),
                &[],
            )),
        );
        world.start();
        let (pod, address) = (&world.pods[0].0, world.pods[0].1);

        let counts = count(pod, "10.96.0.5:80", 200);
        assert!(counts.iter().all(|n| *n > 60), "balanced: {counts:?}");
        for _ in 0..20 {
            let (to, seen_from) = ask(pod, "10.96.0.5:80").unwrap();
            let expected = if to == 0 { ip("10.244.1.1") } else { address };
            assert_eq!(
                seen_from, expected,
                "pods keep their address except towards themselves"
            );
        }
        assert!(count(&world.node, "10.96.0.5:80", 20).iter().sum::<usize>() == 20);
        for front in ["172.18.0.2:30080", "127.0.0.1:30080"] {
            assert!(
                ask(&world.node, front).is_ok(),
                "node port from the node on {front}"
            );
        }
        assert!(ask(pod, "172.18.0.2:30080").is_ok(), "node port from a pod");
        let (_, seen_from) = ask(&world.neighbour, "172.18.0.2:30080").unwrap();
        assert_eq!(seen_from, ip("10.244.1.1"), "outsiders are masqueraded");
        let outside = Net::inside(&world.neighbour).unwrap();
        outside
            .replace_route(&Route::through("192.0.2.1/32".parse().unwrap(), ip("172.18.0.2")))
            .unwrap();
        assert!(ask(&world.neighbour, "192.0.2.1:80").is_ok(), "external address");
        assert!(ask(pod, "192.0.2.1:80").is_ok(), "external address from a pod");

        for (from, who) in [(pod, "pod"), (&world.node, "node")] {
            let start = Instant::now();
            assert_eq!(
                ask(from, "10.96.0.6:80"),
                Err(std::io::ErrorKind::ConnectionRefused),
                "no endpoints, from {who}"
            );
            assert_eq!(
                ask(from, "10.96.0.5:81"),
                Err(std::io::ErrorKind::ConnectionRefused),
                "no such port, from {who}"
            );
            assert!(start.elapsed() < Duration::from_secs(1), "refused at once");
        }

        world
            .planner
            .set_service("default", "web", Some(&seen(spec, &["10.244.1.3"])));
        world.update();
        let pod = &world.pods[0].0;
        assert_eq!(
            count(pod, "10.96.0.5:80", 20),
            [0, 20],
            "a removed endpoint gets nothing"
        );
        world.planner.set_service("default", "web", None);
        world.update();
        let pod = &world.pods[0].0;
        assert!(
            ask(pod, "10.96.0.5:80").is_err(),
            "a removed service answers nobody"
        );
    }

    #[test]
    fn clients_stick_to_their_endpoint_until_it_goes() {
        let mut world = World::new();
        world.serve();
        let spec = json!({"clusterIP": "10.96.0.5", "sessionAffinity": "ClientIP", "ports": [{"port": 80}],
            "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 1}}});
        let both = seen(spec.clone(), &["10.244.1.2", "10.244.1.3"]);
        world.planner.set_service("default", "web", Some(&both));
        world.start();
        let pod = &world.pods[0].0;
        let counts = count(pod, "10.96.0.5:80", 30);
        assert!(counts.contains(&30), "one endpoint only: {counts:?}");
        let other = usize::from(counts[0] == 30);
        let left = ["10.244.1.2", "10.244.1.3"][other];
        world
            .planner
            .set_service("default", "web", Some(&seen(spec, &[left])));
        world.update();
        assert_eq!(
            count(&world.pods[0].0, "10.96.0.5:80", 10)[other],
            10,
            "the one that is left"
        );
        world.planner.set_service("default", "web", Some(&both));
        world.update();
        let pod = &world.pods[0].0;
        assert_eq!(count(pod, "10.96.0.5:80", 10)[other], 10, "remembered");
        // Forgotten once a second has passed without a connection.
        let remembered = || {
            world
                .node
                .run(|| Process::default().elements(&table(), "affinity"))
                .unwrap()
                .len()
        };
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            while remembered() > 0 {
                assert!(Instant::now() < deadline, "never forgotten");
            }
            if ask(pod, "10.96.0.5:80").unwrap().0 != other {
                break;
            }
            assert!(Instant::now() < deadline, "never drawn anew");
        }
    }

    #[test]
    fn local_policy_keeps_the_source_and_drops_what_is_elsewhere() {
        let mut world = World::new();
        world.serve();
        let spec = |ip: &str, port: u16| json!({"clusterIP": ip, "externalTrafficPolicy": "Local", "ports": [{"port": 80, "nodePort": port}]});
        world.planner.set_service(
            "default",
            "here",
            Some(&seen(
                spec("10.96.0.5", 30080),
                &["10.244.1.3", "10.244.9.9@node-b"],
            )),
        );
        world.planner.set_service(
            "default",
            "elsewhere",
            Some(&seen(spec("10.96.0.6", 30081), &["10.244.9.9@node-b"])),
        );
        world.start();
        for _ in 0..10 {
            assert_eq!(
                ask(&world.neighbour, "172.18.0.2:30080"),
                Ok((1, ip("172.18.0.1")))
            );
        }
        assert!(ask(&world.neighbour, "172.18.0.2:30081").is_err());
    }

    #[test]
    fn a_balancers_address_is_for_its_source_ranges() {
        let mut world = World::new();
        world.serve();
        let spec = |ip: &str| json!({"clusterIP": ip, "type": "LoadBalancer", "ports": [{"port": 80}]});
        for (name, cluster, own, range) in [
            ("open", "10.96.0.5", "192.0.2.1", "172.18.0.0/24"),
            ("closed", "10.96.0.6", "192.0.2.2", "172.19.0.0/16"),
        ] {
            let mut view = seen(spec(cluster), &["10.244.1.3"]);
            view.external_ips = vec![ip(own)];
            view.guarded_ips = vec![ip(own)];
            view.source_ranges = vec![range.parse().unwrap()];
            world.planner.set_service("default", name, Some(&view));
        }
        world.start();
        let outside = Net::inside(&world.neighbour).unwrap();
        outside
            .replace_route(&Route::through("192.0.2.0/24".parse().unwrap(), ip("172.18.0.2")))
            .unwrap();
        assert!(ask(&world.neighbour, "192.0.2.1:80").is_ok());
        assert!(ask(&world.neighbour, "192.0.2.2:80").is_err());
        assert!(ask(&world.node, "192.0.2.2:80").is_ok(), "the node itself may");
    }

    #[test]
    fn pods_leave_the_cluster_as_their_node_and_reach_nodes_as_themselves() {
        let mut world = World::new();
        world.start();
        let listener = world
            .neighbour
            .run(|| Ok(TcpListener::bind("172.18.0.1:9").unwrap()))
            .unwrap();
        let outside: SocketAddr = "172.18.0.1:9".parse().unwrap();
        let _stream = world.pods[0]
            .0
            .run(|| Ok(TcpStream::connect_timeout(&outside, PATIENCE).unwrap()))
            .unwrap();
        assert_eq!(listener.accept().unwrap().1.ip(), ip("172.18.0.2"));
        let listener = world
            .node
            .run(|| Ok(TcpListener::bind("172.18.0.2:9").unwrap()))
            .unwrap();
        let node: SocketAddr = "172.18.0.2:9".parse().unwrap();
        let _stream = world.pods[0]
            .0
            .run(|| Ok(TcpStream::connect_timeout(&node, PATIENCE).unwrap()))
            .unwrap();
        assert_eq!(listener.accept().unwrap().1.ip(), ip("10.244.1.2"));
    }

    #[test]
    fn udp_flows_leave_an_endpoint_that_is_gone() {
        let mut world = World::new();
        let servers: Vec<UdpSocket> = world
            .pods
            .iter()
            .map(|(pod, _)| pod.run(|| Ok(UdpSocket::bind("0.0.0.0:8080").unwrap())).unwrap())
            .collect();
        for server in &servers {
            server.set_read_timeout(Some(PATIENCE)).unwrap();
        }
        let spec = json!({"clusterIP": "10.96.0.5", "ports": [{"port": 53, "protocol": "UDP"}]});
        world
            .planner
            .set_service("default", "udp", Some(&seen(spec.clone(), &["10.244.1.2"])));
        world.start();
        world.planner.take_udp();
        let client = world
            .node
            .run(|| Ok(UdpSocket::bind("0.0.0.0:0").unwrap()))
            .unwrap();
        client.send_to(b"1", "10.96.0.5:53").unwrap();
        servers[0].recv(&mut [0; 9]).unwrap();
        world
            .planner
            .set_service("default", "udp", Some(&seen(spec, &["10.244.1.3"])));
        world.update();
        let fronts = world.planner.take_udp().unwrap();
        assert_eq!(world.node.run(|| crate::stale::forget(&fronts)).unwrap(), 1);
        client.send_to(b"2", "10.96.0.5:53").unwrap();
        assert_eq!(servers[1].recv(&mut [0; 9]).unwrap(), 1);
    }

    #[test]
    fn ten_thousand_services_load_and_one_changes() {
        let world = World::new();
        let mut planner = Planner::new(options());
        let spec = |i: u32| json!({"clusterIP": format!("10.96.{}.{}", i / 250 + 1, i % 250 + 1), "ports": [{"port": 80}]});
        let start = Instant::now();
        for i in 0..10_000_u32 {
            let endpoints = [
                format!("10.244.{}.2@b", i % 250),
                format!("10.244.{}.3@b", i % 250),
            ];
            planner.set_service(
                "default",
                &format!("s{i}"),
                Some(&seen(spec(i), &endpoints.each_ref().map(String::as_str))),
            );
        }
        let planned = start.elapsed();
        let all = planner.take_everything();
        let rendered = start.elapsed() - planned;
        world.node.run(|| Process::default().commit(&all)).unwrap();
        let loaded = start.elapsed() - planned - rendered;
        let firewall = world.node.run(Netlink::here).unwrap();
        let mut times: Vec<_> = (1..=51_u32)
            .map(|i| {
                let start = Instant::now();
                let last = format!("10.244.77.{}@b", i + 10);
                let ends = ["10.244.77.2@b", &last, "10.244.77.9@b"];
                planner.set_service(
                    "default",
                    "s77",
                    Some(&seen(spec(77), &ends[..2 + (i as usize) % 2])),
                );
                let changes = planner.take_changes();
                assert!(changes.elements.len() < 9);
                firewall.commit(&changes).unwrap();
                start.elapsed()
            })
            .collect();
        times.sort();
        eprintln!(
            "10,000 services: viewed and planned {planned:?}, collected {rendered:?}, loaded {loaded:?}; \
             one changed in {:?} (median), {:?} (worst)",
            times[25], times[50]
        );
    }
}

use super::*;

#[test]
fn hardware_addresses_read_as_they_print() {
    let mac: Mac = "0a:58:0a:f4:00:05".parse().unwrap();
    assert_eq!(mac, Mac([0x0a, 0x58, 10, 244, 0, 5]));
    assert_eq!(mac.to_string(), "0a:58:0a:f4:00:05");
    for bad in ["", "0a:58", "0a:58:0a:f4:00:05:06", "zz:58:0a:f4:00:05"] {
        assert!(bad.parse::<Mac>().is_err(), "{bad}");
    }
}

mod needs_root {
    use super::*;

    #[test]
    fn a_bridge_with_a_pod_behind_it() {
        let (node, pod) = (Namespace::unnamed().unwrap(), Namespace::unnamed().unwrap());
        let net = Net::inside(&node).unwrap();
        let bridge = net.add_bridge("br0").unwrap();
        assert_eq!(net.add_bridge("br0").unwrap().index, bridge.index);
        net.set_up(bridge.index).unwrap();
        let gateway: IpNet = "10.244.1.1/24".parse().unwrap();
        net.add_address(bridge.index, gateway).unwrap();
        net.add_address(bridge.index, gateway).unwrap();
        assert_eq!(
            net.addresses()
                .unwrap()
                .iter()
                .filter(|a| a.link == bridge.index && a.ip == gateway)
                .count(),
            1
        );

        let mac = Mac([0x0a, 0x58, 10, 244, 1, 2]);
        let host = net
            .add_veth(
                "veth1",
                &Peer {
                    name: "eth0",
                    namespace: &pod,
                    mac: Some(mac),
                },
                1400,
            )
            .unwrap();
        net.set_master(host.index, bridge.index).unwrap();
        net.set_hairpin(host.index, true).unwrap();
        net.set_up(host.index).unwrap();
        let host = net.expect_link("veth1").unwrap();
        assert_eq!((host.master, host.mtu, host.up), (Some(bridge.index), 1400, true));

        let inner = Net::inside(&pod).unwrap();
        let eth0 = inner.expect_link("eth0").unwrap();
        assert!(
            inner
                .add_bridge("eth0")
                .unwrap_err()
                .to_string()
                .contains("is a \"veth\"")
        );
        assert_eq!(
            (eth0.mac, eth0.peer, eth0.mtu),
            (Some(mac), Some(host.index), 1400)
        );
        inner
            .add_address(eth0.index, "10.244.1.2/24".parse().unwrap())
            .unwrap();
        inner.set_up(eth0.index).unwrap();
        let default = Route::through(default_route(gateway.addr()), gateway.addr());
        inner.replace_route(&default).unwrap();
        inner.replace_route(&default).unwrap();
        let routes = inner.routes().unwrap();
        assert!(
            routes
                .iter()
                .any(|r| r.destination == default.destination && r.via == default.via),
            "{routes:?}"
        );
        inner.delete_route(&default).unwrap();
        inner.delete_route(&default).unwrap();

        net.delete_link("veth1").unwrap();
        net.delete_link("veth1").unwrap();
        assert!(inner.link("eth0").unwrap().is_none());
    }

    #[test]
    fn refusals_say_what_was_attempted() {
        let net = Net::inside(&Namespace::unnamed().unwrap()).unwrap();
        let e = net.expect_link("nope").unwrap_err();
        assert_eq!(e.to_string(), "cannot find the network link nope");
        assert!(e.is_not_found());
        let unreachable = Route::through("10.9.0.0/24".parse().unwrap(), "192.0.2.1".parse().unwrap());
        let e = net.replace_route(&unreachable).unwrap_err();
        assert!(
            e.to_string().starts_with("cannot set the route to 10.9.0.0/24"),
            "{e}"
        );
    }
}

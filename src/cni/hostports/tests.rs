use super::*;

fn mapping(host_ip: &str, protocol: &str) -> PortMapping {
    PortMapping {
        host_port: 8080,
        container_port: 80,
        protocol: protocol.into(),
        host_ip: host_ip.into(),
    }
}

#[test]
fn mappings_become_elements() {
    let pod = IpAddr::from([10, 244, 1, 2]);
    let table_of = |m: PortMapping| {
        elements(pod, &[m])
            .unwrap()
            .into_iter()
            .map(|(s, k, _)| (s, k.len()))
            .collect::<Vec<_>>()
    };
    assert_eq!(table_of(mapping("", "TCP")), [(BY_PORT, 2)]);
    assert_eq!(table_of(mapping("0.0.0.0", "udp")), [(BY_PORT, 2)]);
    assert_eq!(table_of(mapping("127.0.0.1", "sctp")), [(BY_ADDRESS, 3)]);
    assert_eq!(table_of(mapping("::1", "tcp")), []);
    for (bad, field) in [
        (mapping("", "icmp"), "protocol"),
        (mapping("host", "tcp"), "hostIP"),
    ] {
        assert!(
            check(&[bad])
                .unwrap_err()
                .message
                .starts_with(&format!("portMappings.{field}: "))
        );
    }
}

mod needs_root_and_nft {
    use super::*;
    use rkind_sys::netns::Namespace;

    #[test]
    fn ports_open_and_close_and_never_steal() {
        Namespace::unnamed()
            .unwrap()
            .run(|| {
                let (a, b) = (IpAddr::from([10, 244, 1, 2]), IpAddr::from([10, 244, 1, 3]));
                let ports = [mapping("", "tcp"), mapping("127.0.0.1", "udp")];
                let count = |set: &str| Process::default().elements(&table(), set).unwrap().len();
                open(a, &ports).unwrap();
                open(a, &ports).unwrap();
                assert!(open(b, &ports).is_err(), "taken");
                assert_eq!((count(BY_PORT), count(BY_ADDRESS), count(HAIRPIN)), (1, 1, 1));
                close(b, &ports).unwrap();
                assert_eq!(count(BY_PORT), 1, "b never had it");
                close(a, &ports).unwrap();
                close(a, &ports).unwrap();
                assert_eq!((count(BY_PORT), count(BY_ADDRESS), count(HAIRPIN)), (0, 0, 0));
                open(b, &ports).unwrap();
                Ok(())
            })
            .unwrap();
    }
}

#[test]
fn a_mapping_is_read_in_both_spellings() {
    for text in [
        r#"{"hostPort":8080,"containerPort":80,"protocol":"udp","hostIP":"127.0.0.1"}"#,
        r#"{"HostPort":8080,"ContainerPort":80,"Protocol":"udp","HostIP":"127.0.0.1"}"#,
    ] {
        let read: PortMapping = serde_json::from_str(text).unwrap();
        assert_eq!(read, mapping("127.0.0.1", "udp"));
    }
}

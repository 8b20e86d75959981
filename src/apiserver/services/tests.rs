use super::{
    allocator::{Addresses, Ports},
    *,
};

#[test]
fn addresses_are_unique_until_the_range_is_full() {
    let mut all = Addresses::new("10.0.0.0/28".parse().unwrap());
    let mut seen = HashSet::new();
    for _ in 0..14 {
        assert!(seen.insert(all.any().unwrap()));
    }
    assert_eq!(all.any(), None);
    let one: IpAddr = "10.0.0.3".parse().unwrap();
    all.free(one);
    assert_eq!(all.any(), Some(one));
    assert!(!all.contains("10.0.0.0".parse().unwrap()));
    assert!(!all.contains("10.0.0.15".parse().unwrap()));
    assert!(!all.contains("10.0.1.1".parse().unwrap()));
}

#[test]
fn all_of_a_large_range_counts() {
    for (subnet, far) in [
        ("10.96.0.0/12", "10.97.0.5"),
        ("10.96.0.0/12", "10.111.255.254"),
        ("fd00::/64", "fd00::ffff:ffff:ffff:fff0"),
    ] {
        let mut all = Addresses::new(subnet.parse().unwrap());
        let far: IpAddr = far.parse().unwrap();
        assert!(all.contains(far) && all.take(far) && !all.take(far), "{far}");
        let any = all.any().unwrap();
        assert!(all.contains(any) && any != far);
    }
    let all = Addresses::new("10.96.0.0/12".parse().unwrap());
    assert!(!all.contains("10.112.0.0".parse().unwrap()));
    assert!(!all.contains("10.111.255.255".parse().unwrap()));
}

#[test]
fn ports() {
    let mut all = Ports::new((30000, 30003));
    assert!(all.take(30001) && !all.take(30001) && !all.take(80));
    let rest: HashSet<u16> = std::iter::from_fn(|| all.any()).collect();
    assert_eq!(rest, HashSet::from([30000, 30002, 30003]));
}

#[test]
fn what_a_service_has() {
    let service = json!({"spec": {"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"],
        "ports": [{"port": 80, "nodePort": 30000}, {"port": 81}]}});
    assert_eq!(addresses(&service).len(), 1);
    assert_eq!(node_ports(&service), vec![30000]);
    assert!(addresses(&json!({"spec": {"clusterIP": "None", "clusterIPs": ["None"]}})).is_empty());
}

#[test]
fn a_type_without_node_ports_loses_those_it_had() {
    let old = json!({"spec": {"type": "NodePort", "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"],
        "ports": [{"port": 80, "nodePort": 30000}]}});
    for (kind, asked, left) in [
        ("ExternalName", 30000, Value::Null),
        ("ClusterIP", 30000, Value::Null),
        // A change is for validation to refuse.
        ("ExternalName", 30001, json!(30001)),
    ] {
        let mut new = old.clone();
        new["spec"]["type"] = json!(kind);
        new["spec"]["ports"][0]["nodePort"] = json!(asked);
        fields(&mut new, Some(&old));
        assert_eq!(new["spec"]["ports"][0]["nodePort"], left, "{kind} {asked}");
    }
}

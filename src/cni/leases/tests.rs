use super::*;

fn owner(container: &str, namespace: &Path) -> Lease {
    Lease {
        address: IpAddr::from([0, 0, 0, 0]),
        container: container.to_owned(),
        interface: "eth0".to_owned(),
        namespace: namespace.to_owned(),
        port_mappings: Vec::new(),
    }
}

#[test]
fn addresses_go_round_in_a_circle_and_owners_keep_theirs() {
    let dir = tempfile::tempdir().unwrap();
    let range: IpNet = "10.244.3.0/29".parse().unwrap();
    let leases = Leases::lock(dir.path()).unwrap();
    let take = |name: &str| leases.acquire(range, &owner(name, dir.path()), |_| panic!("nothing to reclaim"));
    let ip = |last: u8| IpAddr::from([10, 244, 3, last]);
    let a = take("a").unwrap();
    assert_eq!((a.address, take("b").unwrap().address), (ip(2), ip(3)));
    assert_eq!(
        take("a").unwrap().address,
        ip(2),
        "the same container keeps its address"
    );
    leases.release(&a).unwrap();
    leases.release(&a).unwrap();
    assert_eq!(take("c").unwrap().address, ip(4), "not the one just returned");
    assert_eq!(
        (take("d").unwrap().address, take("e").unwrap().address),
        (ip(5), ip(6))
    );
    assert_eq!(take("f").unwrap().address, ip(2), "round again");
    let full = take("g").unwrap_err();
    assert_eq!(
        (full.code, full.message.as_str()),
        (Code::NoAddress, "every address of 10.244.3.0/29 is in use")
    );
    assert_eq!(gateway(range), ip(1));
}

#[test]
fn a_full_range_takes_back_what_vanished_namespaces_held() {
    let dir = tempfile::tempdir().unwrap();
    let range: IpNet = "10.244.3.0/30".parse().unwrap();
    let leases = Leases::lock(dir.path()).unwrap();
    let gone = leases
        .acquire(range, &owner("gone", Path::new("/nonexistent/ns")), |_| ())
        .unwrap();
    let mut told = Vec::new();
    let new = leases
        .acquire(range, &owner("new", dir.path()), |l| {
            told.push(l.container.clone())
        })
        .unwrap();
    assert_eq!((new.address, told), (gone.address, vec!["gone".to_owned()]));
    assert_eq!(leases.all().unwrap(), [new]);
}

#[test]
fn strangers_files_and_half_written_ones_are_no_leases() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("10.244.3.2"), "{\"addr").unwrap();
    std::fs::write(dir.path().join("README"), "x").unwrap();
    let leases = Leases::lock(dir.path()).unwrap();
    assert!(leases.all().unwrap().is_empty());
    let range: IpNet = "10.244.3.0/24".parse().unwrap();
    let taken = leases.acquire(range, &owner("a", dir.path()), |_| ()).unwrap();
    assert_eq!(taken.address, IpAddr::from([10, 244, 3, 3]));
}

#[test]
fn two_processes_never_get_one_address() {
    let dir = tempfile::tempdir().unwrap();
    let range: IpNet = "10.244.3.0/24".parse().unwrap();
    let mut all: Vec<IpAddr> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|t| {
                let dir = dir.path();
                scope.spawn(move || {
                    let take = |i| {
                        let leases = Leases::lock(dir).unwrap();
                        leases
                            .acquire(range, &owner(&format!("c{t}-{i}"), dir), |_| ())
                            .unwrap()
                            .address
                    };
                    (0..20).map(take).collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|t| t.join().unwrap()).collect()
    });
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 160);
}

#[test]
fn ipv6_ranges_work_alike() {
    let dir = tempfile::tempdir().unwrap();
    let range: IpNet = "fd00:10:244:3::/64".parse().unwrap();
    let leases = Leases::lock(dir.path()).unwrap();
    let lease = leases.acquire(range, &owner("a", dir.path()), |_| ()).unwrap();
    assert_eq!(lease.address.to_string(), "fd00:10:244:3::2");
    assert_eq!(gateway(range).to_string(), "fd00:10:244:3::1");
}

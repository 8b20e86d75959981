use super::*;

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn only_our_routes_are_changed() {
    let ours = |range: &str, via: &str| Route {
        protocol: ROUTE_PROTOCOL,
        ..Route::through(net(range), ip(via))
    };
    let now = [
        Route::through(net("10.244.9.0/24"), ip("172.18.0.9")),
        ours("10.244.1.0/24", "172.18.0.3"),
        ours("10.244.2.0/24", "172.18.0.4"),
        ours("10.244.3.0/24", "172.18.0.5"),
    ];
    let desired = [
        (net("10.244.1.0/24"), ip("172.18.0.3")),
        (net("10.244.2.0/24"), ip("172.18.0.40")),
        (net("10.244.4.0/24"), ip("172.18.0.6")),
    ];
    let (add, remove) = plan(&now, &desired);
    let show = |routes: &[Route]| {
        routes
            .iter()
            .map(|r| r.destination.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(show(&add), ["10.244.2.0/24", "10.244.4.0/24"]);
    assert_eq!(show(&remove), ["10.244.3.0/24"]);
}

#[test]
fn the_configuration_is_written_once_and_whole() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("net.d");
    assert!(write_conflist(&target, net("10.244.1.0/24"), 1400).unwrap());
    assert!(!write_conflist(&target, net("10.244.1.0/24"), 1400).unwrap());
    assert!(write_conflist(&target, net("10.244.2.0/24"), 1400).unwrap());
    let names: Vec<_> = std::fs::read_dir(&target)
        .unwrap()
        .flatten()
        .map(|e| e.file_name())
        .collect();
    assert_eq!(names, [CONFLIST]);
    let text = std::fs::read_to_string(target.join(CONFLIST)).unwrap();
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["plugins"][0]["podCIDR"], "10.244.2.0/24");
}

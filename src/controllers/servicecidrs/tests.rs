use super::*;

fn cidr(name: &str, subnets: &[&str]) -> ServiceCIDR {
    serde_json::from_value(json!({
        "metadata": {"name": name, "finalizers": [FINALIZER]},
        "spec": {"cidrs": subnets},
    }))
    .unwrap()
}

fn deleted(mut cidr: ServiceCIDR, second: i64) -> ServiceCIDR {
    cidr.metadata.deletion_timestamp = Some(Timestamp::from_second(second).unwrap().into());
    cidr
}

fn record(address: &str, manager: &str) -> Arc<IPAddress> {
    Arc::new(
        serde_json::from_value(json!({
            "metadata": {"name": address, "labels": {MANAGED_BY: manager}},
            "spec": {"parentRef": {"resource": "services", "namespace": "default", "name": "s"}},
        }))
        .unwrap(),
    )
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

#[test]
fn one_that_stays_has_its_finalizer_and_is_ready() {
    let mut more = cidr("more", &["10.1.0.0/24"]);
    more.metadata.finalizers = None;
    assert_eq!(step(&more, &[], &[], at(100)), Step::AddFinalizer);
    let mut more = cidr("more", &["10.1.0.0/24"]);
    let ready = Step::Judge("True", "", "Kubernetes Service CIDR is ready");
    assert_eq!(step(&more, &[], &[], at(100)), ready);
    let condition = json!({"conditions": [{"type": "Ready", "status": "True", "reason": "",
        "message": "Kubernetes Service CIDR is ready", "lastTransitionTime": "2026-01-01T00:00:00Z"}]});
    more.status = serde_json::from_value(condition).unwrap();
    assert_eq!(step(&more, &[], &[], at(100)), Step::Keep);
}

#[test]
fn one_that_goes_waits_for_its_addresses() {
    let going = || deleted(cidr("more", &["10.1.0.0/24"]), 100);
    let held = |others: &[ServiceCIDR], address: &str, manager: &str| {
        let mut all: Vec<Arc<ServiceCIDR>> = others.iter().cloned().map(Arc::new).collect();
        all.push(Arc::new(going()));
        step(&going(), &all, &[record(address, manager)], at(200)) != Step::RemoveFinalizer
    };
    let cases: [(&str, Vec<ServiceCIDR>, &str, &str, bool); 7] = [
        ("of its own", vec![], "10.1.0.7", MANAGER, true),
        ("of somebody else's", vec![], "10.1.0.7", "example.com", false),
        ("of another subnet", vec![], "10.2.0.7", MANAGER, false),
        (
            "covered by a larger one",
            vec![cidr("all", &["10.0.0.0/8"])],
            "10.1.0.7",
            MANAGER,
            false,
        ),
        (
            "covered by the same",
            vec![cidr("same", &["10.1.0.0/24"])],
            "10.1.0.7",
            MANAGER,
            false,
        ),
        (
            "covered by a smaller one",
            vec![cidr("half", &["10.1.0.0/25"])],
            "10.1.0.7",
            MANAGER,
            false,
        ),
        (
            "at the end of a smaller one",
            vec![cidr("half", &["10.1.0.0/29"])],
            "10.1.0.7",
            MANAGER,
            true,
        ),
    ];
    for (what, others, address, manager, wanted) in cases {
        assert_eq!(held(&others, address, manager), wanted, "{what}");
    }
    let all = [Arc::new(going())];
    let blocked = step(&going(), &all, &[record("10.1.0.7", MANAGER)], at(200));
    assert!(
        matches!(blocked, Step::Judge("False", "Terminating", _)),
        "{blocked:?}"
    );
    // Servers may not know yet that it gives out nothing any more.
    let soon = step(&going(), &all, &[], at(104));
    assert_eq!(soon, Step::Wait(Duration::from_secs(6)));
    let mut bare = going();
    bare.metadata.finalizers = None;
    assert_eq!(step(&bare, &all, &[], at(200)), Step::Keep);
}

use serde_json::{Value, json};

use super::desired::{Group, slices};
use super::*;

fn service(extra: Value) -> Service {
    let mut object = json!({
        "metadata": {"name": "web", "namespace": "default", "uid": "u", "labels": {"l": "v"}},
        "spec": {"clusterIP": "10.96.0.9", "selector": {"app": "web"},
            "ports": [{"port": 80, "targetPort": "http"}]},
    });
    for (key, value) in extra.as_object().into_iter().flatten() {
        object["spec"][key] = value.clone();
    }
    serde_json::from_value(object).unwrap()
}

fn pod(n: usize, port: i32) -> Arc<Pod> {
    Arc::new(
        serde_json::from_value(json!({
            "metadata": {"name": format!("p{n}"), "namespace": "default", "uid": format!("u{n}")},
            "spec": {"nodeName": "n1", "containers": [
                {"name": "c", "ports": [{"name": "http", "containerPort": port}]}]},
            "status": {"phase": "Running", "podIPs": [{"ip": format!("10.0.{}.{}", n / 250, n % 250)}, {"ip": format!("fd00::{n:x}")}],
                "conditions": [{"type": "Ready", "status": "True"}]},
        }))
        .unwrap(),
    )
}

fn changed(pod: &Arc<Pod>, change: impl FnOnce(&mut Pod)) -> Arc<Pod> {
    let mut pod = (**pod).clone();
    change(&mut pod);
    Arc::new(pod)
}

fn groups(service: &Service, pods: &[Arc<Pod>]) -> Vec<Group> {
    slices(service, pods, &|_| None)
}

/// Applies changes as a server would.
fn apply(existing: &[Arc<EndpointSlice>], changes: diff::Changes) -> Vec<Arc<EndpointSlice>> {
    let name = |s: &EndpointSlice| s.metadata.name.clone();
    let mut all: Vec<Arc<EndpointSlice>> = existing.to_vec();
    all.retain(|s| !changes.delete.iter().any(|d| name(d) == name(s)));
    for new in changes.update {
        let place = all.iter().position(|s| name(s) == name(&new)).unwrap();
        all[place] = Arc::new(new);
    }
    for mut new in changes.create {
        new.metadata.name = Some(format!("s{}", all.len()));
        all.push(Arc::new(new));
    }
    all
}

#[test]
fn conditions_follow_the_pod() {
    let plain = service(json!({}));
    let endpoint = |service: &Service, pod: Arc<Pod>| {
        groups(service, &[pod])[0].endpoints[0]
            .conditions
            .clone()
            .unwrap()
    };
    let flags = |c: k8s_openapi::api::discovery::v1::EndpointConditions| (c.ready, c.serving, c.terminating);
    let (yes, no) = (Some(true), Some(false));
    assert_eq!(flags(endpoint(&plain, pod(1, 8080))), (yes, yes, no));
    let going = changed(&pod(1, 8080), |p| {
        p.metadata.deletion_timestamp = Some(crate::common::now())
    });
    assert_eq!(flags(endpoint(&plain, going.clone())), (no, yes, yes));
    let unready = changed(&pod(1, 8080), |p| p.status.as_mut().unwrap().conditions = None);
    assert_eq!(flags(endpoint(&plain, unready.clone())), (no, no, no));
    let published = service(json!({"publishNotReadyAddresses": true}));
    assert_eq!(flags(endpoint(&published, unready)), (yes, no, no));
    let finished = changed(&pod(1, 8080), |p| {
        p.status.as_mut().unwrap().phase = Some("Failed".into())
    });
    assert!(groups(&plain, &[finished])[0].endpoints.is_empty());
}

#[test]
fn families_and_ports_make_groups() {
    let dual = service(json!({"ipFamilies": ["IPv4", "IPv6"]}));
    let all = groups(&dual, &[pod(1, 8080), pod(2, 8080), pod(3, 9090)]);
    let shape: Vec<(&str, i32, usize)> = all
        .iter()
        .map(|g| {
            (
                g.address_type.as_str(),
                g.ports[0].port.unwrap(),
                g.endpoints.len(),
            )
        })
        .collect();
    assert_eq!(
        shape,
        [
            ("IPv4", 8080, 2),
            ("IPv4", 9090, 1),
            ("IPv6", 8080, 2),
            ("IPv6", 9090, 1)
        ]
    );
    let headless = service(json!({"clusterIP": "None", "ports": null}));
    let named = changed(&pod(1, 8080), |p| {
        let spec = p.spec.as_mut().unwrap();
        (spec.hostname, spec.subdomain) = (Some("h".into()), Some("web".into()));
    });
    let group = &groups(&headless, &[named])[0];
    assert!(group.ports.is_empty());
    assert_eq!(group.endpoints[0].hostname.as_deref(), Some("h"));
}

#[test]
fn slices_hold_a_hundred_and_change_little() {
    let service = service(json!({}));
    let pods: Vec<Arc<Pod>> = (0..250).map(|n| pod(n, 8080)).collect();
    let first = diff::diff(&diff::Parent::service(&service), groups(&service, &pods), &[]);
    assert_eq!(
        first.create.iter().map(|s| s.endpoints.len()).collect::<Vec<_>>(),
        [100, 100, 50]
    );
    let labels = first.create[0].metadata.labels.clone().unwrap();
    assert_eq!(
        (labels["l"].as_str(), labels[SERVICE_NAME].as_str()),
        ("v", "web")
    );
    assert!(!labels.contains_key("service.kubernetes.io/headless"));
    let existing = apply(&[], first);
    let none = diff::diff(
        &diff::Parent::service(&service),
        groups(&service, &pods),
        &existing,
    );
    assert!(none.create.is_empty() && none.update.is_empty() && none.delete.is_empty());

    // One pod goes, one comes: the slice that loses the one takes the other.
    let mut other = pods.clone();
    other.remove(7);
    other.push(pod(300, 8080));
    let changes = diff::diff(
        &diff::Parent::service(&service),
        groups(&service, &other),
        &existing,
    );
    assert_eq!(
        (changes.create.len(), changes.update.len(), changes.delete.len()),
        (0, 1, 0)
    );
    assert_eq!(changes.update[0].metadata.name.as_deref(), Some("s0"));

    // All go: one empty slice stays.
    let changes = diff::diff(&diff::Parent::service(&service), groups(&service, &[]), &existing);
    let left = apply(&existing, changes);
    assert_eq!(left.iter().map(|s| s.endpoints.len()).collect::<Vec<_>>(), [0]);
    // And is used again by the next pod, whatever its ports.
    let changes = diff::diff(
        &diff::Parent::service(&service),
        groups(&service, &pods[..1]),
        &left,
    );
    assert_eq!(
        (changes.create.len(), changes.update.len(), changes.delete.len()),
        (0, 1, 0)
    );
}

#[test]
fn only_changes_that_services_can_see_matter() {
    let old = pod(1, 8080);
    let same = changed(&old, |p| {
        p.metadata.annotations = Some([("a".to_owned(), "b".to_owned())].into())
    });
    assert!(desired::same_for_services(&old, &same));
    let other = changed(&old, |p| p.status.as_mut().unwrap().conditions = None);
    assert!(!desired::same_for_services(&old, &other));
}

#[test]
fn endpoints_of_users_are_repeated() {
    let mut service: Service = service(json!({"selector": null}));
    let endpoints: k8s_openapi::api::core::v1::Endpoints = serde_json::from_value(json!({
        "metadata": {"name": "web", "namespace": "default"},
        "subsets": [{"addresses": [{"ip": "10.9.0.1"}, {"ip": "fd00::1"}], "notReadyAddresses": [{"ip": "10.9.0.2"}],
            "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]}],
    }))
    .unwrap();
    assert!(mirror::is_mirrored(&endpoints, Some(&service)));
    assert!(!mirror::is_mirrored(&endpoints, None));
    let groups = mirror::groups(&endpoints);
    let shape: Vec<(&str, usize)> = groups
        .iter()
        .map(|g| (g.address_type.as_str(), g.endpoints.len()))
        .collect();
    assert_eq!(shape, [("IPv4", 2), ("IPv6", 1)]);
    assert_eq!(
        groups[0].endpoints[1].conditions.as_ref().unwrap().ready,
        Some(false)
    );
    let mut skipped = endpoints.clone();
    skipped.metadata.labels = Some(
        [(
            "endpointslice.kubernetes.io/skip-mirror".to_owned(),
            "true".to_owned(),
        )]
        .into(),
    );
    assert!(!mirror::is_mirrored(&skipped, Some(&service)));
    service.spec.as_mut().unwrap().selector = Some([("a".to_owned(), "b".to_owned())].into());
    assert!(!mirror::is_mirrored(&endpoints, Some(&service)));
}

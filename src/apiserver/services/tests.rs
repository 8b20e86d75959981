use axum::body::Body;
use bytes::Bytes;
use rkind_store::{Entry, Range, Revision, Store, WatchStream};
use tower::ServiceExt as _;

use super::{
    allocator::{Addresses, Ports},
    *,
};
use crate::tests::{eventually, fixture_of};

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
fn a_type_keeps_what_it_needs_and_loses_the_rest() {
    let balanced = json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 30009,
        "loadBalancerClass": "x.io/a", "allocateLoadBalancerNodePorts": false});
    let with = |changes: Value| {
        let mut spec = balanced.clone();
        for (field, value) in changes.as_object().into_iter().flatten() {
            spec[field] = value.clone();
        }
        let old = json!({"spec": balanced, "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}});
        let mut new = old.clone();
        new["spec"] = spec;
        fields(&mut new, Some(&old));
        let dependent = [
            "externalTrafficPolicy",
            "healthCheckNodePort",
            "loadBalancerClass",
            "allocateLoadBalancerNodePorts",
        ];
        let left = dependent
            .into_iter()
            .filter(|field| !new["spec"][field].is_null());
        (left.collect::<Vec<_>>(), new)
    };
    let (left, new) = with(json!({"healthCheckNodePort": null}));
    assert_eq!(
        (left.len(), &new["spec"]["healthCheckNodePort"]),
        (4, &json!(30009))
    );
    assert_eq!(new["status"]["loadBalancer"]["ingress"][0]["ip"], "192.0.2.1");
    let (left, new) = with(json!({"type": "ClusterIP"}));
    assert_eq!(
        (left.as_slice(), &new["status"]["loadBalancer"]),
        (&[][..], &json!({}))
    );
    assert!(with(json!({"type": "ExternalName"})).0.is_empty());
    assert_eq!(with(json!({"type": "NodePort"})).0, ["externalTrafficPolicy"]);
    // What is changed together with the type is for validation to refuse.
    let (left, _) =
        with(json!({"type": "ClusterIP", "externalTrafficPolicy": "Cluster", "healthCheckNodePort": 30010}));
    assert_eq!(left, ["externalTrafficPolicy", "healthCheckNodePort"]);
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

/// A store whose answers to creations wait, after the creation is done.
struct Held {
    below: Arc<dyn Store>,
    answers: tokio::sync::Semaphore,
}

#[async_trait::async_trait]
impl Store for Held {
    fn revision(&self) -> Revision {
        self.below.revision()
    }
    fn oldest(&self) -> Revision {
        self.below.oldest()
    }
    fn health(&self) -> rkind_store::Result<()> {
        self.below.health()
    }
    async fn get(&self, key: &str, at: Option<Revision>) -> rkind_store::Result<(Option<Entry>, Revision)> {
        self.below.get(key, at).await
    }
    async fn range(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
        at: Option<Revision>,
    ) -> rkind_store::Result<Range> {
        self.below.range(prefix, after, limit, at).await
    }
    async fn create(&self, key: &str, value: Bytes) -> rkind_store::Result<Revision> {
        let revision = self.below.create(key, value).await?;
        if key.ends_with("/held") {
            let _permit = self.answers.acquire().await;
        }
        Ok(revision)
    }
    async fn update(&self, key: &str, expected: Revision, value: Bytes) -> rkind_store::Result<Revision> {
        self.below.update(key, expected, value).await
    }
    async fn delete(&self, key: &str, expected: Revision) -> rkind_store::Result<Revision> {
        self.below.delete(key, expected).await
    }
    async fn watch(&self, prefix: &str, from: Revision) -> rkind_store::Result<WatchStream> {
        self.below.watch(prefix, from).await
    }
    async fn progress(&self, prefix: &str) -> rkind_store::Result<()> {
        self.below.progress(prefix).await
    }
    async fn compact(&self, revision: Revision) -> rkind_store::Result<()> {
        self.below.compact(revision).await
    }
}

/// A client that hangs up while the store commits does not get its Service's address given out again.
#[tokio::test]
async fn what_was_committed_stays_taken_when_nobody_waits() {
    let mut held = None;
    let f = fixture_of(|options| {
        let store = Arc::new(Held {
            below: options.store.clone(),
            answers: tokio::sync::Semaphore::new(0),
        });
        held = Some(store.clone());
        options.store = store;
    })
    .await;
    let held = held.unwrap();
    let uri = "/api/v1/namespaces/default/services";
    let service = |name: &str| {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": {"clusterIP": "10.96.7.7", "ports": [{"port": 80}]}})
    };
    let request = http::Request::post(uri)
        .header("content-type", "application/json")
        .body(Body::from(service("held").to_string()))
        .unwrap();
    let asked = tokio::spawn(f.admin().oneshot(request));
    eventually("the commit", async || {
        let stored = held.get("/registry/core/services/default/held", None).await;
        stored.unwrap().0
    })
    .await;
    asked.abort();
    assert!(asked.await.unwrap_err().is_cancelled());
    held.answers.add_permits(1);
    let (code, error) = f.send("POST", uri, service("other")).await;
    assert_eq!(code, http::StatusCode::UNPROCESSABLE_ENTITY, "{error}");
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .contains("provided IP is already allocated"),
        "{error}"
    );
}

use axum::body::Body;
use bytes::Bytes;
use rkind_store::{Entry, Revision, Store, WatchStream};
use tower::ServiceExt as _;

use super::{allocator::Ports, fields::prepare, *};
use crate::tests::{Fixture, eventually, fixture, fixture_of};

#[test]
fn addresses_are_unique_until_the_range_is_full() {
    let range = Range::new("10.0.0.0/28".parse().unwrap());
    let mut taken = HashSet::new();
    for _ in 0..14 {
        assert!(taken.insert(range.any(|address| taken.contains(&address)).unwrap()));
    }
    assert_eq!(range.any(|address| taken.contains(&address)), None);
    let one: IpAddr = "10.0.0.3".parse().unwrap();
    taken.remove(&one);
    assert_eq!(range.any(|address| taken.contains(&address)), Some(one));
    assert!(!range.contains("10.0.0.0".parse().unwrap()));
    assert!(!range.contains("10.0.0.15".parse().unwrap()));
    assert!(!range.contains("10.0.1.1".parse().unwrap()));
}

#[test]
fn all_of_a_large_range_counts() {
    for (subnet, far) in [
        ("10.96.0.0/12", "10.97.0.5"),
        ("10.96.0.0/12", "10.111.255.254"),
        ("fd00::/64", "fd00::ffff:ffff:ffff:fff0"),
    ] {
        let range = Range::new(subnet.parse().unwrap());
        let far: IpAddr = far.parse().unwrap();
        assert!(range.contains(far), "{far}");
        assert!(range.contains(range.any(|_| false).unwrap()));
    }
    let range = Range::new("10.96.0.0/12".parse().unwrap());
    assert!(!range.contains("10.112.0.0".parse().unwrap()));
    assert!(!range.contains("10.111.255.255".parse().unwrap()));
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
        prepare(&mut new, Some(&old));
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
        prepare(&mut new, Some(&old));
        assert_eq!(new["spec"]["ports"][0]["nodePort"], left, "{kind} {asked}");
    }
}

/// A store in which creations meet with something.
struct Meddled {
    below: Arc<dyn Store>,
    with: Meddling,
}

enum Meddling {
    /// The answer about an object named `held` waits, after the creation is done.
    Hold(tokio::sync::Semaphore),
    /// Somebody else records the first address that is chosen for `victim`, just before its server does;
    /// says whether that has happened.
    Steal(std::sync::atomic::AtomicBool),
}

#[async_trait::async_trait]
impl Store for Meddled {
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
    ) -> rkind_store::Result<rkind_store::Range> {
        self.below.range(prefix, after, limit, at).await
    }
    async fn create(&self, key: &str, value: Bytes) -> rkind_store::Result<Revision> {
        if let Meddling::Steal(done) = &self.with {
            let is_record = key.starts_with("/registry/networking.k8s.io/ipaddresses/");
            let ours = value.windows(8).any(|text| text == b"\"victim\"");
            if is_record && ours && !done.swap(true, std::sync::atomic::Ordering::SeqCst) {
                let other = String::from_utf8_lossy(&value).replace("\"victim\"", "\"thief\"");
                self.below.create(key, other.into()).await?;
            }
        }
        let revision = self.below.create(key, value).await?;
        if let Meddling::Hold(answers) = &self.with
            && key.ends_with("/held")
        {
            let _permit = answers.acquire().await;
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
        let store = Arc::new(Meddled {
            below: options.store.clone(),
            with: Meddling::Hold(tokio::sync::Semaphore::new(0)),
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
    let Meddling::Hold(answers) = &held.with else {
        unreachable!("made above");
    };
    answers.add_permits(1);
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

const SERVICES: &str = "/api/v1/namespaces/default/services";
const RECORDS: &str = "/apis/networking.k8s.io/v1/ipaddresses";
const CIDRS: &str = "/apis/networking.k8s.io/v1/servicecidrs";

/// A Service, as it is created.
async fn made(f: &Fixture, name: &str, spec: Value) -> (http::StatusCode, Value) {
    let mut service =
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec});
    service["spec"]["ports"] = json!([{"port": 80}]);
    f.send("POST", SERVICES, service).await
}

async fn code_of(f: &Fixture, uri: &str) -> u16 {
    f.send("GET", uri, Value::Null).await.0.as_u16()
}

#[tokio::test]
async fn each_address_has_its_record_as_long_as_its_service() {
    let f = fixture().await;
    let (code, service) = made(&f, "s", json!({})).await;
    assert_eq!(code, 201, "{service}");
    let uri = format!("{RECORDS}/{}", service["spec"]["clusterIP"].as_str().unwrap());
    let record = f.get(&uri).await;
    assert_eq!(
        record["spec"]["parentRef"],
        json!({"resource": "services", "namespace": "default", "name": "s"}),
        "{record}"
    );
    assert_eq!(
        record["metadata"]["labels"],
        json!({"ipaddress.kubernetes.io/ip-family": "IPv4", "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io"})
    );
    let records = async || f.get(RECORDS).await["items"].as_array().unwrap().len();
    let before = records().await;
    // What has no address, is only tried, or is refused leaves none.
    assert_eq!(made(&f, "headless", json!({"clusterIP": "None"})).await.0, 201);
    assert_eq!(made(&f, "s", json!({})).await.0, 409);
    let dry = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "dry"}, "spec": {"ports": [{"port": 1}]}});
    assert_eq!(
        f.send("POST", &format!("{SERVICES}?dryRun=All"), dry).await.0,
        201
    );
    assert_eq!(records().await, before);
    // One that has another type has no address any more.
    let named = json!({"spec": {"type": "ExternalName", "externalName": "example.com", "clusterIP": null, "clusterIPs": null}});
    let (code, answer) = f.merge(&format!("{SERVICES}/s"), named).await;
    assert_eq!((code.as_u16(), code_of(&f, &uri).await), (200, 404), "{answer}");
    let (code, answer) = f
        .merge(&format!("{SERVICES}/s"), json!({"spec": {"type": "ClusterIP"}}))
        .await;
    assert_eq!(code, 200, "{answer}");
    let uri = format!("{RECORDS}/{}", answer["spec"]["clusterIP"].as_str().unwrap());
    assert_eq!(code_of(&f, &uri).await, 200);
    f.send("DELETE", &format!("{SERVICES}/s"), Value::Null).await;
    assert_eq!(code_of(&f, &uri).await, 404);
}

#[tokio::test]
async fn an_address_that_somebody_recorded_is_nobody_elses() {
    let f = fixture().await;
    let record = json!({"apiVersion": "networking.k8s.io/v1", "kind": "IPAddress", "metadata": {"name": "10.96.7.7"},
        "spec": {"parentRef": {"group": "gateway.example.com", "resource": "gateways", "namespace": "default", "name": "g"}}});
    let (code, answer) = f.send("POST", RECORDS, record).await;
    assert_eq!(code, 201, "{answer}");
    let (code, answer) = made(&f, "s", json!({"clusterIP": "10.96.7.7"})).await;
    assert_eq!(code, 422, "{answer}");
    assert_eq!(
        answer["message"],
        "Service \"s\" is invalid: spec.clusterIPs: Invalid value: [\"10.96.7.7\"]: failed to allocate IP 10.96.7.7: provided IP is already allocated"
    );
    let (code, answer) = made(&f, "s", json!({"clusterIP": "10.97.0.1"})).await;
    assert_eq!(code, 422, "{answer}");
    assert_eq!(
        answer["message"],
        "Service \"s\" is invalid: spec.clusterIPs: Invalid value: [\"10.97.0.1\"]: failed to allocate IP 10.97.0.1: the provided network does not match the current range"
    );
}

#[tokio::test]
async fn further_ranges_give_further_addresses_until_they_go() {
    let f = fixture().await;
    let own = f.get(&format!("{CIDRS}/kubernetes")).await;
    assert_eq!(own["status"]["conditions"][0]["status"], "True", "{own}");
    let cidr = json!({"apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR",
        "metadata": {"name": "more", "finalizers": ["networking.k8s.io/service-cidr-finalizer"]},
        "spec": {"cidrs": ["192.168.7.0/24"]}});
    let (code, answer) = f.send("POST", CIDRS, cidr).await;
    assert_eq!(code, 201, "{answer}");
    let at = |address: &str| json!({"clusterIP": address});
    assert_eq!(made(&f, "a", at("192.168.7.9")).await.0, 201);
    assert_eq!(code_of(&f, &format!("{RECORDS}/192.168.7.9")).await, 200);
    // One that is going gives out nothing any more.
    f.send("DELETE", &format!("{CIDRS}/more"), Value::Null).await;
    assert_eq!(made(&f, "b", at("192.168.7.10")).await.0, 422);
    assert_eq!(made(&f, "b", at("10.96.7.10")).await.0, 201);
}

#[tokio::test]
async fn what_has_no_counterpart_is_repaired() {
    let mut f = fixture().await;
    assert_eq!(made(&f, "s", json!({"clusterIP": "10.96.7.7"})).await.0, 201);
    let uri = format!("{RECORDS}/10.96.7.7");
    let first = f.get(&uri).await["metadata"]["uid"].clone();
    f.send("DELETE", &uri, Value::Null).await;
    eventually("another record", async || {
        let record = f.get(&uri).await;
        (record["metadata"]["uid"].is_string() && record["metadata"]["uid"] != first).then_some(())
    })
    .await;
    // As after a crash: nothing but the store knows.
    let key = "/registry/networking.k8s.io/ipaddresses/10.96.7.7";
    f.server.close();
    let (entry, _) = f.store.get(key, None).await.unwrap();
    f.store.delete(key, entry.unwrap().mod_revision).await.unwrap();
    f.restart().await;
    eventually("a record", async || {
        (code_of(&f, &uri).await == 200).then_some(())
    })
    .await;
}

/// Another server was faster with an address: the Service gets another one, or is told when it wanted that.
#[tokio::test]
async fn an_address_that_goes_to_another_server_is_chosen_anew() {
    let mut stolen = None;
    let f = fixture_of(|options| {
        let store = Arc::new(Meddled {
            below: options.store.clone(),
            with: Meddling::Steal(Default::default()),
        });
        stolen = Some(store.clone());
        options.store = store;
    })
    .await;
    let (code, service) = made(&f, "victim", json!({})).await;
    assert_eq!(code, 201, "{service}");
    let records = f.get(RECORDS).await;
    let of = |name: &str| {
        let mut all = records["items"].as_array().unwrap().iter();
        all.find(|record| record["spec"]["parentRef"]["name"] == name)
            .unwrap()["metadata"]["name"]
            .clone()
    };
    assert_eq!(of("victim"), service["spec"]["clusterIP"]);
    assert_ne!(of("thief"), service["spec"]["clusterIP"]);

    f.send("DELETE", &format!("{SERVICES}/victim"), Value::Null).await;
    let stolen = stolen.unwrap();
    let Meddling::Steal(done) = &stolen.with else {
        unreachable!("made above");
    };
    done.store(false, std::sync::atomic::Ordering::SeqCst);
    let (code, answer) = made(&f, "victim", json!({"clusterIP": "10.96.7.7"})).await;
    assert_eq!(code, 422, "{answer}");
}

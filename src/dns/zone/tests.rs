use std::collections::BTreeMap;

use hickory_proto::rr::RData;
use serde_json::{Value, json};

use super::*;

/// A cluster made of JSON.
#[derive(Default)]
pub(crate) struct Fake {
    namespaces: Vec<String>,
    services: BTreeMap<(String, String), Arc<Service>>,
    slices: Vec<Arc<EndpointSlice>>,
}

impl Cluster for Fake {
    fn service(&self, namespace: &str, name: &str) -> Option<Arc<Service>> {
        self.services
            .get(&(namespace.to_owned(), name.to_owned()))
            .cloned()
    }

    fn slices(&self, namespace: &str, service: &str) -> Vec<Arc<EndpointSlice>> {
        let of = |s: &&Arc<EndpointSlice>| {
            s.metadata.namespace.as_deref() == Some(namespace)
                && s.metadata.labels.as_ref().unwrap()["kubernetes.io/service-name"] == service
        };
        self.slices.iter().filter(of).cloned().collect()
    }

    fn has_namespace(&self, name: &str) -> bool {
        self.namespaces.iter().any(|n| n == name)
    }

    fn services_at(&self, address: IpAddr) -> Vec<Arc<Service>> {
        let text = address.to_string();
        let at = |s: &&Arc<Service>| {
            s.spec
                .as_ref()
                .unwrap()
                .cluster_ips
                .iter()
                .flatten()
                .any(|ip| *ip == text)
        };
        self.services.values().filter(at).cloned().collect()
    }

    fn slices_with(&self, address: IpAddr) -> Vec<Arc<EndpointSlice>> {
        let text = address.to_string();
        let with = |s: &&Arc<EndpointSlice>| s.endpoints.iter().any(|e| e.addresses.contains(&text));
        self.slices.iter().filter(with).cloned().collect()
    }
}

impl Fake {
    fn add(&mut self, name: &str, spec: Value, endpoints: Value) {
        let service = json!({"metadata": {"name": name, "namespace": "shop"}, "spec": spec});
        let service: Service = serde_json::from_value(service).unwrap();
        let ports: Vec<Value> = service
            .spec
            .as_ref()
            .unwrap()
            .ports
            .iter()
            .flatten()
            .map(|p| json!({"name": p.name, "protocol": p.protocol, "port": 8000 + p.port}))
            .collect();
        let slice = json!({
            "metadata": {"name": name, "namespace": "shop", "labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv4", "ports": ports, "endpoints": endpoints,
        });
        self.services
            .insert(("shop".into(), name.into()), Arc::new(service));
        self.slices.push(Arc::new(serde_json::from_value(slice).unwrap()));
    }
}

pub(crate) fn zone() -> Zone {
    Zone::new(
        "cluster.local",
        vec!["10.96.0.0/16".parse().unwrap(), "10.244.0.0/16".parse().unwrap()],
    )
    .unwrap()
    .with_hosts([("host.rkind.internal", "172.30.0.1".parse().unwrap())])
}

pub(crate) fn shop() -> Fake {
    let mut fake = Fake {
        namespaces: vec!["shop".into()],
        ..Fake::default()
    };
    let http = json!([{"name": "http", "protocol": "TCP", "port": 80}]);
    fake.add(
        "web",
        json!({"clusterIP": "10.96.0.5", "clusterIPs": ["10.96.0.5"], "ports": [
            {"name": "http", "protocol": "TCP", "port": 80}, {"name": "dns", "protocol": "UDP", "port": 53}]}),
        json!([{"addresses": ["10.244.1.2"]}]),
    );
    fake.add(
        "db",
        json!({"clusterIP": "None", "clusterIPs": ["None"], "ports": http}),
        json!([
            {"addresses": ["10.244.1.3"], "hostname": "db-0", "conditions": {"ready": true}},
            {"addresses": ["10.244.2.3"]},
            {"addresses": ["10.244.2.4"], "hostname": "db-2", "conditions": {"ready": false}},
        ]),
    );
    fake.add(
        "void",
        json!({"clusterIP": "None", "clusterIPs": ["None"], "ports": http}),
        json!([]),
    );
    fake.add(
        "far",
        json!({"type": "ExternalName", "externalName": "example.com"}),
        json!([]),
    );
    fake.add(
        "near",
        json!({"type": "ExternalName", "externalName": "web.shop.svc.cluster.local"}),
        json!([]),
    );
    fake.add(
        "dual",
        json!({"clusterIP": "10.96.0.6", "clusterIPs": ["10.96.0.6", "fd00::6"], "ports": http}),
        json!([]),
    );
    fake
}

fn show(record: &Record) -> String {
    match &record.data {
        RData::A(a) => a.to_string(),
        RData::AAAA(a) => a.to_string(),
        RData::SRV(s) => format!("{} {} {} {}", s.priority, s.weight, s.port, s.target),
        RData::PTR(p) => p.to_string(),
        RData::CNAME(c) => c.to_string(),
        RData::NS(n) => n.to_string(),
        RData::TXT(t) => t.to_string(),
        RData::SOA(s) => format!("{} {} {}", s.mname, s.rname, s.minimum),
        other => format!("{other:?}"),
    }
}

fn ask(name: &str, kind: RecordType) -> String {
    let name = Name::from_ascii(name).unwrap();
    match zone().answer(&shop(), &name, kind) {
        Answer::Records(records, more) => {
            assert!(records.iter().all(|r| r.name.eq_case(&name)), "names as asked");
            let mut all: Vec<String> = records.iter().map(show).collect();
            all.sort();
            let mut more: Vec<String> = more.iter().map(|r| format!("+{}={}", r.name, show(r))).collect();
            more.sort();
            all.extend(more);
            all.join(", ")
        }
        Answer::Alias(record, target) => {
            assert_eq!(show(&record), target.to_string());
            format!("alias {target}")
        }
        other => format!("{other:?}"),
    }
}

#[test]
fn names_of_the_specification() {
    use RecordType::*;
    for (name, kind, expected) in [
        ("web.shop.svc.cluster.local.", A, "10.96.0.5"),
        ("WEB.Shop.SVC.cluster.LOCAL.", A, "10.96.0.5"),
        ("web.shop.svc.cluster.local.", AAAA, "NoData"),
        ("web.shop.svc.cluster.local.", MX, "NoData"),
        ("dual.shop.svc.cluster.local.", AAAA, "fd00::6"),
        ("dual.shop.svc.cluster.local.", A, "10.96.0.6"),
        ("dual.shop.svc.cluster.local.", ANY, "10.96.0.6, fd00::6"),
        (
            "_http._tcp.web.shop.svc.cluster.local.",
            SRV,
            "0 100 80 web.shop.svc.cluster.local., +web.shop.svc.cluster.local.=10.96.0.5",
        ),
        (
            "_dns._udp.web.shop.svc.cluster.local.",
            SRV,
            "0 100 53 web.shop.svc.cluster.local., +web.shop.svc.cluster.local.=10.96.0.5",
        ),
        ("_dns._tcp.web.shop.svc.cluster.local.", SRV, "NoName"),
        ("http.tcp.web.shop.svc.cluster.local.", SRV, "NoName"),
        (
            "_http._tcp.dual.shop.svc.cluster.local.",
            SRV,
            "0 100 80 dual.shop.svc.cluster.local., +dual.shop.svc.cluster.local.=10.96.0.6, +dual.shop.svc.cluster.local.=fd00::6",
        ),
        (
            "_http._tcp.db.shop.svc.cluster.local.",
            SRV,
            "0 100 8080 10-244-2-3.db.shop.svc.cluster.local., 0 100 8080 db-0.db.shop.svc.cluster.local., \
          +10-244-2-3.db.shop.svc.cluster.local.=10.244.2.3, +db-0.db.shop.svc.cluster.local.=10.244.1.3",
        ),
        ("db.shop.svc.cluster.local.", A, "10.244.1.3, 10.244.2.3"),
        ("db-0.db.shop.svc.cluster.local.", A, "10.244.1.3"),
        ("10-244-2-3.db.shop.svc.cluster.local.", A, "10.244.2.3"),
        ("db-2.db.shop.svc.cluster.local.", A, "NoName"),
        ("db-0.db.shop.svc.cluster.local.", AAAA, "NoData"),
        ("void.shop.svc.cluster.local.", A, "NoData"),
        ("_http._tcp.void.shop.svc.cluster.local.", SRV, "NoName"),
        ("far.shop.svc.cluster.local.", A, "alias example.com."),
        ("far.shop.svc.cluster.local.", CNAME, "alias example.com."),
        ("x.far.shop.svc.cluster.local.", A, "NoName"),
        (
            "near.shop.svc.cluster.local.",
            A,
            "alias web.shop.svc.cluster.local.",
        ),
        ("none.shop.svc.cluster.local.", A, "NoName"),
        ("web.none.svc.cluster.local.", A, "NoName"),
        ("shop.svc.cluster.local.", A, "NoData"),
        ("none.svc.cluster.local.", A, "NoName"),
        ("svc.cluster.local.", A, "NoData"),
        ("x.cluster.local.", A, "NoName"),
        ("a.b.c.d.e.svc.cluster.local.", A, "NoName"),
        ("web.shop.svc.cluster.local.shop.svc.cluster.local.", A, "NoName"),
        ("example.com.svc.cluster.local.", A, "NoName"),
        ("10-244-1-2.shop.pod.cluster.local.", A, "10.244.1.2"),
        ("10-244-1-2.shop.pod.cluster.local.", AAAA, "NoData"),
        ("10-244-1-2.none.pod.cluster.local.", A, "NoName"),
        ("10-244-1.shop.pod.cluster.local.", A, "NoName"),
        ("fd00--2.shop.pod.cluster.local.", AAAA, "fd00::2"),
        ("dns-version.cluster.local.", TXT, "1.1.0"),
        ("dns-version.cluster.local.", A, "NoData"),
        (
            "cluster.local.",
            SOA,
            "ns.dns.cluster.local. hostmaster.cluster.local. 5",
        ),
        ("cluster.local.", NS, "ns.dns.cluster.local."),
        ("cluster.local.", A, "NoData"),
        ("5.0.96.10.in-addr.arpa.", PTR, "web.shop.svc.cluster.local."),
        ("5.0.96.10.IN-ADDR.arpa.", PTR, "web.shop.svc.cluster.local."),
        ("5.0.96.10.in-addr.arpa.", A, "NoData"),
        ("3.1.244.10.in-addr.arpa.", PTR, "db-0.db.shop.svc.cluster.local."),
        (
            "2.1.244.10.in-addr.arpa.",
            PTR,
            "10-244-1-2.web.shop.svc.cluster.local.",
        ),
        ("9.1.244.10.in-addr.arpa.", PTR, "NoName"),
        ("1.1.1.1.in-addr.arpa.", PTR, "NotOurs"),
        ("example.com.", A, "NotOurs"),
        ("local.", A, "NotOurs"),
        ("mycluster.local.", A, "NotOurs"),
        ("Host.rkind.internal.", A, "172.30.0.1"),
        ("host.rkind.internal.", AAAA, "NoData"),
        ("other.rkind.internal.", A, "NotOurs"),
    ] {
        assert_eq!(ask(name, kind), expected, "{name} {kind}");
    }
}

#[test]
fn a_domain_must_be_a_name() {
    assert!(Zone::new("", Vec::new()).is_none());
    assert!(Zone::new(".", Vec::new()).is_none());
    assert!(Zone::new("a..b", Vec::new()).is_none());
    let soa = Zone::new("k8s.example", Vec::new()).unwrap().soa().unwrap();
    assert_eq!(soa.name.to_string(), "k8s.example.");
}

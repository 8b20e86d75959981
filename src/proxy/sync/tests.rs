use std::time::Duration;

use rkind_client::Informers;
use rkind_client::testing::FakeApi;
use rkind_sys::nft::{Firewall, Recording};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::plan::tests::options;
use crate::shape::{set, table};

struct World {
    api: FakeApi,
    firewall: Arc<Recording>,
    shutdown: CancellationToken,
}

impl Drop for World {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

fn slice(name: &str, ips: &[&str]) -> Value {
    let endpoints: Vec<Value> = ips
        .iter()
        .map(|ip| json!({"addresses": [ip], "nodeName": "node-b"}))
        .collect();
    json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": format!("{name}-1"), "namespace": "default", "labels": {"kubernetes.io/service-name": name}},
        "ports": [{"port": 8080, "protocol": "TCP"}], "endpoints": endpoints})
}

fn service(name: &str, ip: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"},
        "spec": {"clusterIP": ip, "clusterIPs": [ip], "ports": [{"port": 80, "protocol": "TCP"}]}})
}

impl World {
    fn new() -> Self {
        let world = Self {
            api: FakeApi::new(),
            firewall: Arc::default(),
            shutdown: CancellationToken::new(),
        };
        world.api.create(service("web", "10.96.0.5"));
        world.api.create(slice("web", &["10.244.2.2"]));
        world
    }

    fn start(&self) {
        let informers = Informers::new(self.api.client());
        tokio::spawn(run(
            informers,
            options(),
            self.firewall.clone(),
            self.shutdown.clone(),
        ));
    }

    /// Waits until a set has exactly these elements.
    async fn wait(&self, set: &str, expected: &[&str]) {
        let mut now = Vec::new();
        let reached = async {
            loop {
                now = self.firewall.elements(&table(), set).unwrap();
                if now == expected {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        if tokio::time::timeout(Duration::from_secs(10), reached)
            .await
            .is_err()
        {
            panic!("{set} is {now:?}, not {expected:?}");
        }
    }
}

#[tokio::test]
async fn objects_become_elements_and_follow_their_changes() {
    let world = World::new();
    world.api.create(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-b"},
        "status": {"addresses": [{"type": "InternalIP", "address": "172.18.0.3"}, {"type": "Hostname", "address": "b"}]}}));
    world.start();
    world
        .wait(set::FRONTS, &["10.96.0.5 . tcp . 80 : 0x20000001"])
        .await;
    world.wait(set::NODES, &["172.18.0.2", "172.18.0.3"]).await;
    let first = world.firewall.take();
    assert!(
        first[0].script.contains("delete table ip rkind"),
        "starts from scratch"
    );

    world.api.edit("endpointslices", "default", "web-1", |o| {
        *o = slice("web", &["10.244.2.2", "10.244.2.3"])
    });
    world
        .wait(
            set::ENDPOINTS,
            &[
                "0x20000001 . 0 : 10.244.2.2 . 8080",
                "0x20000001 . 1 : 10.244.2.3 . 8080",
            ],
        )
        .await;
    world.api.edit("endpointslices", "default", "web-1", |o| {
        *o = slice("web", &["10.244.2.3"])
    });
    world
        .wait(set::ENDPOINTS, &["0x20000001 . 0 : 10.244.2.3 . 8080"])
        .await;
    assert!(
        world.firewall.take().iter().all(|t| t.script.is_empty()),
        "elements only"
    );

    world.api.edit("endpointslices", "default", "web-1", |o| {
        *o = slice("web", &["10.244.2.3"]);
        o["metadata"]["labels"]["kubernetes.io/service-name"] = "other".into();
    });
    world
        .wait(set::UNSERVED, &["10.96.0.5 . tcp . 80 : goto refuse"])
        .await;
    world.api.delete("services", "default", "web", json!({}));
    world.wait(set::UNSERVED, &[]).await;
    world.wait(set::CLUSTER_IPS, &[]).await;
}

#[tokio::test]
async fn a_failed_transaction_is_tried_again_from_scratch() {
    let world = World::new();
    world.firewall.fail_next();
    world.start();
    world
        .wait(set::FRONTS, &["10.96.0.5 . tcp . 80 : 0x20000001"])
        .await;
    world.firewall.take();
    world.firewall.fail_next();
    world.api.edit("endpointslices", "default", "web-1", |o| {
        *o = slice("web", &["10.244.2.9"])
    });
    world
        .wait(set::ENDPOINTS, &["0x20000001 . 0 : 10.244.2.9 . 8080"])
        .await;
    assert!(world.firewall.take()[0].script.contains("delete table ip rkind"));
}

#[tokio::test(start_paused = true)]
async fn rules_that_somebody_flushes_come_back() {
    let world = World::new();
    world.start();
    world
        .wait(set::FRONTS, &["10.96.0.5 . tcp . 80 : 0x20000001"])
        .await;
    world.firewall.flush();
    tokio::time::sleep(LOOK * 2).await;
    world
        .wait(set::FRONTS, &["10.96.0.5 . tcp . 80 : 0x20000001"])
        .await;
}

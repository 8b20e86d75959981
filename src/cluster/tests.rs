use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use rkind_config::{NodeConfig, NodeRole, Overrides, paths, v1alpha1};
use rkind_driver::fake::FakeDriver;
use rkind_driver::{Driver as _, Finished};
use rkind_pki::kubeconfig::Locations;
use tokio_util::sync::CancellationToken;

use crate::load::{fan_out, normalize};
use crate::{ClusterState, Clusters, Error, Home, Reporter, Silent, Source, StartOptions};

const IMAGE: &str = "rkind.local/node:test";

/// A node that has nothing but what was put in.
fn node(_: &str, files: &BTreeMap<String, Bytes>, command: &[String], _: &[u8]) -> Finished {
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["cat", path] => Finished {
            stdout: files[*path].to_vec(),
            ..Finished::default()
        },
        _ => Finished::default(),
    }
}

struct Setup {
    clusters: Clusters,
    driver: FakeDriver,
    options: StartOptions,
    dir: tempfile::TempDir,
}

fn setup() -> Setup {
    let dir = tempfile::tempdir().unwrap();
    let driver = FakeDriver::new(node);
    driver.add_image(IMAGE);
    let binary = dir.path().join("rkind");
    std::fs::write(&binary, "binary").unwrap();
    let options = StartOptions {
        binary,
        wait: None,
        retain: false,
        keep_context: false,
        kubeconfig: Locations::explicit(dir.path().join("kubeconfig")),
        cancel: CancellationToken::new(),
    };
    let clusters = Clusters::new(Arc::new(driver.clone()), Home::new(dir.path().join("home")));
    Setup {
        clusters,
        driver,
        options,
        dir,
    }
}

fn cluster(nodes: u32) -> rkind_config::Cluster {
    let mut file = v1alpha1::Cluster::default();
    Overrides {
        name: Some("dev".into()),
        nodes: Some(nodes),
        ..Default::default()
    }
    .apply(&mut file)
    .unwrap();
    file.into_cluster().unwrap()
}

async fn image() -> Result<String, Error> {
    Ok(IMAGE.to_owned())
}

/// Cancels when a step begins.
struct CancelAt(&'static str, CancellationToken, Mutex<Vec<String>>);

impl Reporter for CancelAt {
    fn begin(&self, step: &str) {
        self.2.lock().unwrap().push(step.to_owned());
        if step.starts_with(self.0) {
            self.1.cancel();
        }
    }
    fn detail(&self, _: &str) {}
    fn end(&self, _: &str, _: Duration, _: bool) {}
    fn warn(&self, _: &str) {}
}

#[tokio::test]
async fn a_wish_to_stop_at_any_step_leaves_nothing() {
    for step in [
        "Checking",
        "Preparing",
        "Creating the network",
        "Issuing",
        "Creating 2 nodes",
        "Starting",
        "Waiting for the API",
    ] {
        let setup = setup();
        let reporter = CancelAt(step, setup.options.cancel.clone(), Mutex::default());
        let result = setup
            .clusters
            .start(&cluster(2), image(), &setup.options, &reporter)
            .await;
        assert!(matches!(result, Err(Error::Interrupted)), "{step}: {result:?}");
        assert!(setup.driver.list_nodes(None).await.unwrap().is_empty(), "{step}");
        assert!(setup.driver.network("dev").await.unwrap().is_none(), "{step}");
        assert!(!setup.clusters.home.path().exists(), "{step}");
        assert!(!setup.dir.path().join("kubeconfig").exists(), "{step}");
    }
}

#[tokio::test]
async fn a_failure_cleans_up_unless_it_shall_be_retained() {
    for retain in [false, true] {
        let mut setup = setup();
        setup.options.retain = retain;
        setup.driver.fail_next("start");
        let result = setup
            .clusters
            .start(&cluster(3), image(), &setup.options, &Silent)
            .await;
        assert!(result.unwrap_err().to_string().contains("start"));
        assert_eq!(
            setup.driver.list_nodes(None).await.unwrap().len(),
            if retain { 3 } else { 0 }
        );
        assert_eq!(setup.clusters.home.path().exists(), retain);
    }
}

#[tokio::test]
async fn nodes_get_their_files_before_they_start() {
    let mut setup = setup();
    setup.options.retain = true;
    let reporter = CancelAt(
        "Waiting for the API",
        setup.options.cancel.clone(),
        Mutex::default(),
    );
    let _ = setup
        .clusters
        .start(&cluster(3), image(), &setup.options, &reporter)
        .await;
    let config = |name: &str| {
        let bytes = setup.driver.file(name, paths::NODE_CONFIG).unwrap();
        NodeConfig::from_yaml(std::str::from_utf8(&bytes).unwrap()).unwrap()
    };
    let (control_plane, worker) = (config("dev-control-plane"), config("dev-worker2"));
    assert_eq!(control_plane.role, NodeRole::ControlPlane);
    assert!(control_plane.pki.control_plane.is_some());
    assert!(
        worker.pki.control_plane.is_none(),
        "a worker has no key of an authority"
    );
    assert_eq!(
        worker.api_endpoint,
        format!("https://{}:6443", control_plane.node_ip)
    );
    assert_eq!(worker.node_ip.to_string(), "192.0.0.4");
    assert_eq!(setup.driver.file("dev-worker", paths::BINARY).unwrap(), "binary");
    let calls = setup.driver.calls();
    let at = |call: &str| calls.iter().position(|c| c == call).unwrap();
    assert!(at("deliver dev-worker") < at("start dev-worker"));

    // Everything of it is found from labels alone.
    let other = Clusters::new(
        Arc::new(setup.driver.clone()),
        Home::new(setup.dir.path().join("elsewhere")),
    );
    assert_eq!(other.list().await.unwrap()[0].state, ClusterState::Running);
    let kubeconfig = other.kubeconfig("dev", false).await.unwrap();
    assert!(kubeconfig.contains("https://127.0.0.1:"), "{kubeconfig}");
    assert!(
        other
            .kubeconfig("dev", true)
            .await
            .unwrap()
            .contains("https://192.0.0.2:6443")
    );
    assert_eq!(other.stop("dev", &Silent).await.unwrap(), 3);
    assert_eq!(other.stop("dev", &Silent).await.unwrap(), 0);
    assert!(
        setup
            .clusters
            .delete("dev", &setup.options.kubeconfig, &Silent)
            .await
            .unwrap()
    );
    assert!(
        !setup
            .clusters
            .delete("dev", &setup.options.kubeconfig, &Silent)
            .await
            .unwrap()
    );
    assert!(!setup.clusters.home.path().exists());
}

#[tokio::test]
async fn a_cluster_that_is_not_there_is_said_so() {
    let setup = setup();
    assert!(matches!(
        setup.clusters.stop("none", &Silent).await,
        Err(Error::NoCluster(_))
    ));
    let status = setup.clusters.status("none", &setup.options.kubeconfig).await;
    assert!(matches!(status, Err(Error::NoCluster(_))));
}

#[tokio::test]
async fn two_rkinds_do_not_work_on_one_cluster() {
    let setup = setup();
    let _lock = setup.clusters.home.lock("dev").unwrap();
    let result = setup
        .clusters
        .start(&cluster(1), image(), &setup.options, &Silent)
        .await;
    assert!(matches!(result, Err(Error::Busy(_))), "{result:?}");
}

#[tokio::test]
async fn a_port_in_use_changes_nothing() {
    let setup = setup();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut cluster = cluster(1);
    cluster.api.port = Some(listener.local_addr().unwrap().port());
    // The fake is a distant host; its ports are not ours to check, so ask directly.
    let error = crate::create::port_is_free(cluster.api.address, cluster.api.port.unwrap()).unwrap_err();
    assert!(matches!(error, Error::PortInUse { .. }));
    assert!(error.hint().is_some());
    assert!(setup.driver.calls().is_empty());
}

#[test]
fn names_of_images() {
    for (name, full) in [
        ("web:1", "docker.io/library/web:1"),
        ("web", "docker.io/library/web:latest"),
        ("me/web", "docker.io/me/web:latest"),
        ("localhost/web:2", "localhost/web:2"),
        ("registry.example:5000/a/b", "registry.example:5000/a/b:latest"),
        ("rkind.local/tools:1", "rkind.local/tools:1"),
    ] {
        assert_eq!(normalize(name), full);
    }
}

#[tokio::test]
async fn one_stream_reaches_all_readers() {
    let pieces = (0..100).map(|i| Ok(Bytes::from(vec![i; 1000])));
    let mut streams = fan_out(futures::stream::iter(pieces).boxed(), 3);
    // One goes away: the others get everything.
    drop(streams.pop());
    let reads = streams.into_iter().map(|s| s.try_collect::<Vec<_>>());
    for read in futures::future::join_all(reads).await {
        assert_eq!(read.unwrap().concat().len(), 100_000);
    }
}

#[tokio::test]
async fn an_unknown_image_is_said_so() {
    let mut setup = setup();
    setup.options.retain = true;
    let reporter = CancelAt(
        "Waiting for the API",
        setup.options.cancel.clone(),
        Mutex::default(),
    );
    let _ = setup
        .clusters
        .start(&cluster(1), image(), &setup.options, &reporter)
        .await;
    let source = Source::Engine("none:1".into());
    let error = setup
        .clusters
        .load_image("dev", &source, &[], &Silent)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("none:1"));
    setup.driver.add_image("web:1");
    let source = Source::Engine("web:1".into());
    let loaded = setup
        .clusters
        .load_image("dev", &source, &[], &Silent)
        .await
        .unwrap();
    assert_eq!(loaded.loaded, ["dev-control-plane"]);
    let error = setup
        .clusters
        .load_image("dev", &source, &["x".into()], &Silent)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("dev-control-plane"), "{error}");
}

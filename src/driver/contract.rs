//! The meaning of [`Driver`] and [`Node`] as a test.
//!
//! A backend calls [`run`] with an image that has a shell. It panics where the
//! backend is wrong, and leaves nothing behind when it passes.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use rkind_config::{NodeResources, NodeRole};

use crate::{
    Driver, Error, File, LogOptions, Network, NetworkSpec, NodeSpec, NodeState, run as exec, run_checked,
};

/// A process that says hello, and ends when it is asked to.
const COMMAND: [&str; 3] = [
    "/bin/sh",
    "-c",
    "echo hello; trap 'exit 7' TERM; while true; do sleep 0.05; done",
];

/// Runs the whole contract. `image` has `/bin/sh` with `cat`, `sleep` and `test`.
/// `prefix` keeps the names of two runs apart.
///
/// # Panics
/// Where the contract is broken.
pub async fn run(driver: Arc<dyn Driver>, image: &str, prefix: &str) {
    let (a, b) = (format!("{prefix}-a"), format!("{prefix}-b"));
    for cluster in [&a, &b] {
        driver
            .delete_cluster(cluster)
            .await
            .expect("deleting what is not there is no error");
    }
    let result = std::panic::AssertUnwindSafe(all(driver.as_ref(), image, &a, &b));
    let outcome = futures::FutureExt::catch_unwind(result).await;
    for cluster in [&a, &b] {
        driver.delete_cluster(cluster).await.expect("delete");
        assert!(driver.list_nodes(Some(cluster)).await.expect("list").is_empty());
        assert!(driver.network(cluster).await.expect("network").is_none());
    }
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

async fn all(driver: &dyn Driver, image: &str, a: &str, b: &str) {
    let facts = driver.probe().await.expect("probe");
    assert!(
        facts.cpus > 0 && facts.memory_bytes > 0 && matches!(facts.cgroup_version, 1 | 2),
        "{facts:?}"
    );
    let (net_a, net_b) = networks(driver, a, b).await;
    node_life(driver, image, a, &net_a).await;
    two_nodes(driver, image, b, &net_b).await;
}

fn wish(cluster: &str) -> NetworkSpec {
    NetworkSpec {
        cluster: cluster.to_owned(),
        subnet: None,
        avoid: Vec::new(),
    }
}

async fn networks(driver: &dyn Driver, a: &str, b: &str) -> (Network, Network) {
    assert!(driver.network(a).await.expect("network").is_none());
    let (wish_a, wish_b) = (wish(a), wish(b));
    // At the same moment: the two must not get the same subnet.
    let (net_a, net_b) = futures::join!(driver.create_network(&wish_a), driver.create_network(&wish_b));
    let (net_a, net_b) = (net_a.expect("network a"), net_b.expect("network b"));
    assert!(!net_a.subnet.contains(&net_b.subnet) && !net_b.subnet.contains(&net_a.subnet));
    assert!(matches!(net_a.gateway, IpAddr::V4(gateway) if net_a.subnet.contains(&gateway)));
    assert_eq!(driver.network(a).await.expect("network").as_ref(), Some(&net_a));
    assert!(matches!(
        driver.create_network(&wish(a)).await,
        Err(Error::Exists { .. })
    ));
    (net_a, net_b)
}

fn spec(cluster: &str, name: &str, image: &str, network: &Network, host: u32) -> NodeSpec {
    let base = u32::from(network.subnet.network());
    NodeSpec {
        cluster: cluster.to_owned(),
        name: format!("{cluster}-{name}"),
        role: if name == "one" {
            NodeRole::ControlPlane
        } else {
            NodeRole::Worker
        },
        image: image.to_owned(),
        command: COMMAND.map(str::to_owned).into(),
        network: network.name.clone(),
        address: IpAddr::V4((base + host).into()),
        resources: NodeResources {
            cpus: Some(1.0),
            memory_bytes: Some(256 << 20),
        },
        mounts: Vec::new(),
        ports: Vec::new(),
        hosts: [("friend.example".to_owned(), network.gateway)].into(),
        labels: [("dev.rkind.test".to_owned(), "yes".to_owned())].into(),
    }
}

async fn node_life(driver: &dyn Driver, image: &str, cluster: &str, network: &Network) {
    let kept = tempfile::NamedTempFile::new().expect("temporary file");
    std::fs::write(kept.path(), "shared\n").expect("write");
    let shared = File::copy("/usr/local/share/shared", 0o755, kept.path());
    let image = &driver
        .bake(image, std::slice::from_ref(&shared))
        .await
        .expect("bake");
    let again = driver
        .bake(image, std::slice::from_ref(&shared))
        .await
        .expect("bake again");
    assert!(driver.local_image(&again).await.expect("image").is_some());
    let spec = spec(cluster, "one", image, network, 2);
    let node = driver.create_node(&spec).await.expect("create");
    assert_eq!((node.name(), node.address()), (spec.name.as_str(), spec.address));
    assert!(
        matches!(driver.create_node(&spec).await, Err(Error::Exists { .. })),
        "names are unique"
    );
    let missing = NodeSpec {
        image: "rkind.local/none:none".into(),
        name: "none".into(),
        ..spec.clone()
    };
    assert!(matches!(
        driver.create_node(&missing).await,
        Err(Error::NoImage(_))
    ));

    let facts = node.facts().await.expect("facts");
    assert_eq!(facts.state, NodeState::Created);
    assert!(matches!(
        exec(node.as_ref(), &["true"]).await,
        Err(Error::NotRunning(_))
    ));
    // A node has its files before its process starts.
    node.deliver(vec![
        File::new("/etc/rkind/node.yaml", 0o600, "hello: 1\n"),
        File::new("/var/made/by/host", 0o644, "volume"),
        shared,
    ])
    .await
    .expect("deliver");
    node.start().await.expect("start");
    node.start()
        .await
        .expect("starting a running node changes nothing");

    let facts = node.facts().await.expect("facts");
    assert_eq!(
        (facts.state, facts.address, facts.role),
        (NodeState::Running, spec.address, spec.role)
    );
    assert_eq!(
        facts.labels.get("dev.rkind.test").map(String::as_str),
        Some("yes")
    );
    let listed = driver.list_nodes(Some(cluster)).await.expect("list");
    assert_eq!(
        listed.iter().map(|n| n.name.as_str()).collect::<Vec<_>>(),
        [spec.name.as_str()]
    );

    let node = driver.node(&listed[0]);
    let cat = run_checked(node.as_ref(), &["cat", "/etc/rkind/node.yaml"])
        .await
        .expect("cat");
    assert_eq!(cat.text(), "hello: 1\n");
    let failed = exec(
        node.as_ref(),
        &["/bin/sh", "-c", "echo out; echo err >&2; exit 3"],
    )
    .await
    .expect("exec");
    assert_eq!(
        (failed.stdout.as_slice(), failed.stderr.as_slice(), failed.code),
        (&b"out\n"[..], &b"err\n"[..], 3)
    );
    let error = run_checked(node.as_ref(), &["/bin/sh", "-c", "echo why >&2; exit 4"])
        .await
        .unwrap_err();
    assert!(error.to_string().contains("exit code 4: why"), "{error}");
    // Standard input reaches the command, and its end does too.
    let input = futures::stream::iter((0..64).map(|_| Ok(vec![b'x'; 4096].into()))).boxed();
    let count = crate::run_with_input(node.as_ref(), &["cat"], input)
        .await
        .expect("cat with input");
    assert_eq!(count.stdout.len(), 64 * 4096);
    // Replacing a file of a running node.
    node.deliver(vec![File::new("/etc/rkind/node.yaml", 0o600, "hello: 2\n")])
        .await
        .expect("deliver again");
    let cat = run_checked(node.as_ref(), &["cat", "/etc/rkind/node.yaml"])
        .await
        .expect("cat");
    assert_eq!(cat.text(), "hello: 2\n");

    let logs: Vec<_> = node
        .logs(LogOptions {
            follow: false,
            tail: None,
        })
        .await
        .expect("logs")
        .try_collect()
        .await
        .expect("log stream");
    assert_eq!(logs.concat(), b"hello\n");

    node.stop(Duration::from_secs(10)).await.expect("stop");
    node.stop(Duration::from_secs(10))
        .await
        .expect("stopping a stopped node changes nothing");
    assert_eq!(
        node.stopped().await.expect("exit code"),
        7,
        "it was asked, not killed"
    );
    assert_eq!(node.facts().await.expect("facts").state, NodeState::Stopped);
    node.start().await.expect("start again");
    // Files survive a restart; so does the address.
    run_checked(node.as_ref(), &["test", "-f", "/etc/rkind/node.yaml"])
        .await
        .expect("file is still there");
    run_checked(node.as_ref(), &["test", "-f", "/var/made/by/host"])
        .await
        .expect("volume is still there");
    assert_eq!(node.facts().await.expect("facts").address, spec.address);
    node.kill().await.expect("kill");
    node.stopped().await.expect("killed");
    node.delete().await.expect("delete");
    node.delete().await.expect("deleting twice is no error");
    assert!(matches!(node.facts().await, Err(Error::NoNode(_))));
}

async fn two_nodes(driver: &dyn Driver, image: &str, cluster: &str, network: &Network) {
    let specs = [
        spec(cluster, "two", image, network, 3),
        spec(cluster, "one", image, network, 2),
    ];
    let (two, one) = futures::join!(driver.create_node(&specs[0]), driver.create_node(&specs[1]));
    let (two, one) = (two.expect("two"), one.expect("one"));
    let (a, b) = futures::join!(two.start(), one.start());
    a.expect("start two");
    b.expect("start one");
    let listed = driver.list_nodes(Some(cluster)).await.expect("list");
    let names: Vec<_> = listed.iter().map(|n| (n.role, n.name.clone())).collect();
    assert_eq!(
        names,
        [
            (NodeRole::ControlPlane, specs[1].name.clone()),
            (NodeRole::Worker, specs[0].name.clone())
        ]
    );
    let all = driver.list_nodes(None).await.expect("list all");
    assert!(listed.iter().all(|n| all.iter().any(|m| m.name == n.name)));
    let by_cluster: BTreeMap<_, usize> = all.iter().fold(BTreeMap::new(), |mut counts, node| {
        *counts.entry(node.cluster.clone()).or_default() += 1;
        counts
    });
    assert_eq!(by_cluster.get(cluster), Some(&2));
    // Running nodes and their network go at once.
    assert!(driver.delete_cluster(cluster).await.expect("delete cluster") >= 3);
}

//! Images inside the image: unpacked once by the containerd that will use them.

use std::io::{Seek as _, SeekFrom, Write as _};
use std::net::IpAddr;

use futures::StreamExt as _;
use rkind_config::{NodeResources, NodeRole, paths};
use rkind_driver::{
    Driver, Error as DriverError, ExecSpec, NetworkSpec, Node, NodeSpec, Output, run_checked,
};

use crate::{Error, temporary};

/// Starts containerd, imports, ends it: its databases are then whole. It needs no
/// network. What it made is then copied to where nodes find it.
const IMPORT: &str = "\
containerd >/tmp/containerd.log 2>&1 & daemon=$!
tries=0
until ctr version >/dev/null 2>&1; do
  tries=$((tries + 1))
  if [ $tries -gt 300 ] || ! kill -0 $daemon; then cat /tmp/containerd.log >&2; exit 1; fi
  usleep 50000
done
for image in \"$0\"/*.tar; do
  ctr --namespace \"$1\" images import --snapshotter overlayfs \"$image\" || exit 1
done
kill $daemon
wait $daemon
rm -rf /var/lib/containerd/tmpmounts /var/lib/containerd/io.containerd.grpc.v1.introspection
mkdir -p \"$2/lib\" && cp -a /var/lib/containerd \"$2/lib/\"
";

/// Runs nothing but until it is told to stop.
const IDLE: &str = "trap 'exit 0' TERM; while :; do sleep 1; done";

/// A layer with what containerd has after the import, by a node of `image` that is
/// gone afterwards.
pub(crate) async fn unpack(driver: &dyn Driver, image: &str) -> Result<std::fs::File, Error> {
    let cluster = format!("image-{}", std::process::id());
    let result = in_cluster(driver, image, &cluster).await;
    let deleted = driver.delete_cluster(&cluster).await;
    let failed = |source| Error::Unpack { source };
    let layer = result?;
    deleted.map_err(failed)?;
    Ok(layer)
}

async fn in_cluster(driver: &dyn Driver, image: &str, cluster: &str) -> Result<std::fs::File, Error> {
    let failed = |source: DriverError| Error::Unpack { source };
    let spec = NetworkSpec {
        cluster: cluster.to_owned(),
        subnet: None,
        avoid: Vec::new(),
    };
    let network = driver.create_network(&spec).await.map_err(failed)?;
    let address = u32::from(network.subnet.network()) + 2;
    let spec = NodeSpec {
        cluster: cluster.to_owned(),
        name: format!("{cluster}-unpack"),
        role: NodeRole::Worker,
        image: image.to_owned(),
        command: ["/bin/sh", "-c", IDLE].map(str::to_owned).into(),
        network: network.name,
        address: IpAddr::V4(address.into()),
        resources: NodeResources::default(),
        mounts: Vec::new(),
        ports: Vec::new(),
        hosts: Default::default(),
        labels: Default::default(),
    };
    let node = driver.create_node(&spec).await.map_err(failed)?;
    node.start().await.map_err(failed)?;
    let import = [
        "/bin/sh",
        "-c",
        IMPORT,
        paths::IMAGE_ARCHIVE_DIR,
        paths::CONTAINERD_NAMESPACE,
        paths::VAR_TEMPLATE,
    ];
    run_checked(node.as_ref(), &import).await.map_err(failed)?;
    archive(node.as_ref()).await
}

/// The template of `/var` as tar, with paths relative to `/`.
async fn archive(node: &dyn Node) -> Result<std::fs::File, Error> {
    let failed = |source: DriverError| Error::Unpack { source };
    let writing = |e| Error::io("write a temporary file", e);
    let mut layer = temporary()?;
    let command = [
        "tar",
        "-C",
        "/",
        "-cf",
        "-",
        paths::VAR_TEMPLATE.trim_start_matches('/'),
    ];
    let mut exec = node.exec(ExecSpec::new(command)).await.map_err(failed)?;
    while let Some(piece) = exec.output.next().await {
        if let Output::Stdout(bytes) = piece.map_err(failed)? {
            layer.write_all(&bytes).map_err(writing)?;
        }
    }
    match exec.control.exit_code().await.map_err(failed)? {
        0 => {
            layer.seek(SeekFrom::Start(0)).map_err(writing)?;
            Ok(layer)
        }
        code => Err(failed(DriverError::Command {
            node: node.name().to_owned(),
            command: command.join(" "),
            code,
            stderr: String::new(),
        })),
    }
}

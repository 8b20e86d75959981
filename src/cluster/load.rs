//! Images from this machine into nodes.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Seek as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use rkind_config::paths::CONTAINERD_NAMESPACE;
use rkind_driver::{ByteStream, Node, NodeState, run, run_with_input};
use serde::Deserialize;
use tokio::io::{AsyncSeekExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio_util::io::ReaderStream;

use crate::archive::Archive;
use crate::{Clusters, Error, Reporter};

/// Where an image comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// The store of the local engine, by name.
    Engine(String),
    /// A file that `docker save` or an OCI tool wrote.
    Archive(PathBuf),
}

/// Which nodes got the image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    pub loaded: Vec<String>,
    /// They had it.
    pub present: Vec<String>,
}

/// A name as containerd knows it: with registry and tag.
pub(crate) fn normalize(reference: &str) -> String {
    let (name, digest) = match reference.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (reference, None),
    };
    let (first, rest) = name.split_once('/').unwrap_or(("", name));
    let has_registry = first.contains(['.', ':']) || first == "localhost";
    let full = match (has_registry, first.is_empty()) {
        (true, _) => name.to_owned(),
        (false, true) => format!("docker.io/library/{rest}"),
        (false, false) => format!("docker.io/{name}"),
    };
    let tagged = full.rsplit('/').next().is_some_and(|last| last.contains(':'));
    match digest {
        Some(digest) => format!("{full}@{digest}"),
        None if tagged => full,
        None => format!("{full}:latest"),
    }
}

impl Clusters {
    /// Loads an image into every running node that misses it, or into those
    /// named.
    ///
    /// # Errors
    /// [`Error::NoCluster`], [`Error::NoNode`], [`Error::Load`], an unknown image.
    pub async fn load_image(
        &self,
        cluster: &str,
        source: &Source,
        only: &[String],
        reporter: &dyn Reporter,
    ) -> Result<Loaded, Error> {
        let facts = self.nodes(cluster).await?;
        if let Some(name) = only.iter().find(|name| !facts.iter().any(|n| n.name == **name)) {
            let names = facts.into_iter().map(|n| n.name).collect();
            return Err(Error::NoNode {
                name: name.clone(),
                names,
            });
        }
        let nodes: Vec<Arc<dyn Node>> = facts
            .iter()
            .filter(|n| n.state == NodeState::Running && (only.is_empty() || only.contains(&n.name)))
            .map(|n| self.driver.node(n))
            .collect();
        if nodes.is_empty() {
            return Err(Error::Load {
                image: title(source),
                message: "no node of the cluster runs".into(),
            });
        }
        let step = format!("Loading {}", title(source));
        reporter.begin(&step);
        let started = std::time::Instant::now();
        let result = self.load_into(&nodes, source).await;
        reporter.end(&step, started.elapsed(), result.is_ok());
        result
    }

    async fn load_into(&self, nodes: &[Arc<dyn Node>], source: &Source) -> Result<Loaded, Error> {
        let mut loaded = Loaded::default();
        let mut missing = nodes.to_vec();
        let archive = match source {
            Source::Archive(path) => Some(open(path)?),
            Source::Engine(name) => {
                let image = self.driver.local_image(name).await?;
                let image = image.ok_or_else(|| rkind_driver::Error::NoImage(name.clone()))?;
                let reference = normalize(name);
                let checks = nodes
                    .iter()
                    .map(|node| has_image(node.as_ref(), &reference, &image.id));
                let present = futures::future::try_join_all(checks).await?;
                missing.clear();
                for (node, present) in nodes.iter().zip(present) {
                    if present {
                        loaded.present.push(node.name().to_owned());
                    } else {
                        missing.push(node.clone());
                    }
                }
                if missing.is_empty() {
                    return Ok(loaded);
                }
                let known = common_content(&missing).await?;
                let export = self.driver.export_images(std::slice::from_ref(name)).await?;
                if image.layers.iter().any(|layer| known.contains(layer)) {
                    Some(self.spool(export).await?)
                } else {
                    import_into(&missing, export).await?;
                    None
                }
            }
        };
        if let Some(file) = archive {
            import_archive(&missing, file).await?;
        }
        loaded.loaded = missing.iter().map(|n| n.name().to_owned()).collect();
        Ok(loaded)
    }

    /// The stream as a file without a name, to read it in another order.
    async fn spool(&self, mut stream: ByteStream) -> Result<File, Error> {
        let failed = |source| Error::Io {
            action: "write an image below",
            path: self.home.path().to_owned(),
            source,
        };
        let file = tempfile::tempfile_in(self.home.path()).map_err(failed)?;
        let mut writer = tokio::fs::File::from_std(file);
        while let Some(piece) = stream.next().await {
            writer.write_all(&piece?).await.map_err(failed)?;
        }
        writer.flush().await.map_err(failed)?;
        writer.rewind().await.map_err(failed)?;
        Ok(writer.into_std().await)
    }
}

fn open(path: &Path) -> Result<File, Error> {
    File::open(path).map_err(|source| Error::Io {
        action: "open",
        path: path.to_owned(),
        source,
    })
}

/// Imports an archive, without the layers that all nodes have where its format lets us see them.
async fn import_archive(nodes: &[Arc<dyn Node>], file: File) -> Result<(), Error> {
    let whole = file.try_clone();
    let archive = tokio::task::spawn_blocking(move || Archive::read(file)).await;
    if let Some(archive) = archive.ok().flatten() {
        let mut present = common_content(nodes).await?;
        present.retain(|digest| archive.layers().contains(digest.as_str()));
        if !present.is_empty() {
            match import_into(nodes, archive.without(&present, normalize)).await {
                Ok(()) => return Ok(()),
                // Content can go while we look: then everything is sent.
                Err(error) => tracing::debug!(%error, "layers are sent again"),
            }
        }
    }
    let whole = whole.and_then(|mut file| file.rewind().map(|()| file));
    let whole = whole.map_err(|e| rkind_driver::Error::backend("read the image", e))?;
    import_into(nodes, file_stream(tokio::fs::File::from_std(whole))).await
}

async fn import_into(nodes: &[Arc<dyn Node>], stream: ByteStream) -> Result<(), Error> {
    let streams = fan_out(stream, nodes.len());
    let imports = nodes
        .iter()
        .zip(streams)
        .map(|(node, stream)| import(node.as_ref(), stream));
    futures::future::join_all(imports).await.into_iter().collect()
}

/// Digests of what all these nodes' content stores have.
async fn common_content(nodes: &[Arc<dyn Node>]) -> Result<BTreeSet<String>, Error> {
    let listings = nodes.iter().map(|node| async {
        let command = ["ctr", "--namespace", CONTAINERD_NAMESPACE, "content", "ls", "-q"];
        let listed = run(node.as_ref(), &command).await?.text();
        Ok::<BTreeSet<String>, Error>(listed.lines().map(|line| line.trim().to_owned()).collect())
    });
    let listings = futures::future::try_join_all(listings).await?;
    Ok(listings
        .into_iter()
        .reduce(|a, b| a.intersection(&b).cloned().collect())
        .unwrap_or_default())
}

fn title(source: &Source) -> String {
    match source {
        Source::Engine(name) => name.clone(),
        Source::Archive(path) => path.display().to_string(),
    }
}

async fn import(node: &dyn Node, stream: ByteStream) -> Result<(), Error> {
    let command = [
        "ctr",
        "--namespace",
        CONTAINERD_NAMESPACE,
        "images",
        "import",
        "--snapshotter",
        "overlayfs",
        "-",
    ];
    run_with_input(node, &command, stream).await?;
    Ok(())
}

#[derive(Deserialize)]
struct Manifest {
    config: Option<Descriptor>,
}

#[derive(Deserialize)]
struct Descriptor {
    digest: String,
}

/// Whether the node has `reference` and it is the image with this id: the digest
/// of its configuration, or of its manifest where the engine counts so.
async fn has_image(node: &dyn Node, reference: &str, id: &str) -> Result<bool, Error> {
    let ctr = ["ctr", "--namespace", CONTAINERD_NAMESPACE];
    let filter = format!("name=={reference}");
    let mut list = ctr.to_vec();
    list.extend(["images", "ls", &filter]);
    let listed = run(node, &list).await?.text();
    // REF TYPE DIGEST SIZE ...
    let row = listed
        .lines()
        .find(|l| l.split_whitespace().next() == Some(reference));
    let Some(digest) = row.and_then(|l| l.split_whitespace().nth(2)) else {
        return Ok(false);
    };
    if digest == id {
        return Ok(true);
    }
    let mut get = ctr.to_vec();
    get.extend(["content", "get", digest]);
    let content = run(node, &get).await?;
    let manifest: Option<Manifest> = serde_json::from_slice(&content.stdout).ok();
    Ok(manifest.and_then(|m| m.config).is_some_and(|c| c.digest == id))
}

/// The same bytes for `n` readers, read once. A reader that goes away does not
/// stop the others; the slowest sets the pace.
pub(crate) fn fan_out(mut stream: ByteStream, n: usize) -> Vec<ByteStream> {
    type Piece = Result<Bytes, String>;
    let (senders, receivers): (Vec<mpsc::Sender<Piece>>, Vec<_>) = (0..n).map(|_| mpsc::channel(16)).unzip();
    tokio::spawn(async move {
        while let Some(piece) = stream.next().await {
            let piece = piece.map_err(|e| rkind_client::chain(&e));
            let sends = senders.iter().map(|sender| sender.send(piece.clone()));
            let results = futures::future::join_all(sends).await;
            if results.iter().all(Result::is_err) || piece.is_err() {
                return;
            }
        }
    });
    receivers
        .into_iter()
        .map(|receiver| {
            futures::stream::unfold(receiver, |mut receiver| async {
                let piece = receiver.recv().await?;
                Some((
                    piece.map_err(|e| rkind_driver::Error::backend("read the image", e)),
                    receiver,
                ))
            })
            .boxed()
        })
        .collect()
}

fn file_stream(file: tokio::fs::File) -> ByteStream {
    ReaderStream::with_capacity(file, 1 << 20)
        .map_err(|e| rkind_driver::Error::backend("read the image", e))
        .boxed()
}

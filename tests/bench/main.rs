//! `cargo xtask bench api`: how fast the API server alone is, and kube-apiserver with etcd beside
//! it where their binaries are named: the same machine, the same clients, one after the other.
//!
//! Closed loop: so many clients, each with its own connection, send their next request when the
//! last one is answered. Open loop: requests are due at a fixed rate whatever the answers do, and
//! latency counts from when a request was due. The clients are one thread and do as little as they
//! can; beside each figure stands the CPU time that the server took, which a busy machine and the
//! clients do not blur.

mod kernel;
mod load;
mod measure;
mod report;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rkind_tests::{arguments, servers::Peer};

/// What to measure with.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    rkind: PathBuf,
    peer: Option<Peer>,
    /// Length of one closed-loop or open-loop measurement.
    length: Duration,
    /// Objects at which memory is measured, the last one being optional for its length.
    large: u64,
    folder: PathBuf,
    json: Option<PathBuf>,
}

fn options() -> Result<Options> {
    let mut values = arguments::named()?;
    let mut path = |name: &str| values.remove(name).map(PathBuf::from);
    let peer = match (path("--kube-apiserver"), path("--etcd")) {
        (Some(kube_apiserver), Some(etcd)) => Some(Peer { kube_apiserver, etcd }),
        (None, None) => None,
        _ => bail!("--kube-apiserver and --etcd go together"),
    };
    let options = Options {
        rkind: path("--rkind").context("--rkind is missing")?,
        folder: path("--folder").context("--folder is missing")?,
        json: path("--json"),
        peer,
        length: Duration::from_secs(
            values
                .remove("--seconds")
                .map_or(Ok(5), |text| text.parse())
                .context("--seconds")?,
        ),
        large: values
            .remove("--objects")
            .map_or(Ok(100_000), |text| text.parse())
            .context("--objects")?,
    };
    match values.keys().next() {
        Some(name) => bail!("{name} is unknown"),
        None => Ok(options),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let options = options()?;
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut reports = vec![measure::all(&options, None).await.context("rkind")?];
    if let Some(peer) = &options.peer {
        reports.push(
            measure::all(&options, Some(peer))
                .await
                .context("kube-apiserver")?,
        );
    }
    report::print(&reports);
    if let Some(path) = &options.json {
        let text = serde_json::to_string_pretty(&reports)?;
        std::fs::write(path, text).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

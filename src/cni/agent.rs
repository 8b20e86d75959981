//! What the node's agent does for the pod network beside the plugin: the
//! plugin's configuration file, the node's kernel settings, and routes to the
//! other nodes' pods.

use std::io::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use ipnet::IpNet;
use rkind_sys::net::{Net, Route};
use rkind_sys::sysctl;
use serde_json::json;
use tokio_util::sync::CancellationToken;

/// Marks our routes in the kernel's table (`rtm_protocol`), so that no others are
/// ever touched. Not assigned to anybody in `rt_protos`.
pub const ROUTE_PROTOCOL: u8 = 114;

/// Name of the configuration file; the runtime takes the first by name.
pub const CONFLIST: &str = "10-rkind.conflist";

/// The kernel or the file system refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration file couldn't be written.
    #[error("cannot write {path}")]
    Write {
        /// Which file.
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// A kernel request failed.
    #[error("cannot set up the pod network")]
    Kernel(#[from] rkind_sys::Error),
}

fn conflist(pod_cidr: IpNet, mtu: u32) -> String {
    let config = json!({
        "cniVersion": "1.0.0",
        "name": "rkind",
        "plugins": [{
            "type": "rkind-cni",
            "podCIDR": pod_cidr.to_string(),
            "mtu": mtu,
            "capabilities": {"portMappings": true},
        }],
    });
    format!("{config:#}\n")
}

/// Writes the plugin's configuration into `directory` (`/etc/cni/net.d`), whole
/// or not at all; the runtime becomes ready when it sees it. Whether it changed.
pub fn write_conflist(directory: &Path, pod_cidr: IpNet, mtu: u32) -> Result<bool, Error> {
    let path = directory.join(CONFLIST);
    let text = conflist(pod_cidr, mtu);
    if std::fs::read_to_string(&path).is_ok_and(|now| now == text) {
        return Ok(false);
    }
    let write = || {
        std::fs::create_dir_all(directory)?;
        // The name must not end in .conflist: the runtime watches the directory.
        let aside = directory.join(format!(".{CONFLIST}.new"));
        let mut file = std::fs::File::create(&aside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&aside, &path)
    };
    write().map(|()| true).map_err(|source| Error::Write {
        path: path.clone(),
        source,
    })
}

/// Kernel settings that pod traffic needs, in the calling thread's network
/// namespace. A setting that is right already needs no permission, and only
/// forwarding is indispensable: what goes without another is logged.
pub fn prepare_node() -> Result<(), Error> {
    sysctl::write("net/ipv4/ip_forward", "1")?;
    // The service proxy drops what would come from outside to such addresses.
    let wished = [
        (
            "net/ipv4/conf/all/route_localnet",
            "node ports and host ports don't answer on 127.0.0.1",
        ),
        ("net/ipv6/conf/all/forwarding", "no IPv6 between pods"),
    ];
    for (setting, without) in wished {
        if let Err(error) = sysctl::write(setting, "1") {
            tracing::warn!(%error, "{without}");
        }
    }
    Ok(())
}

/// The largest packet that leaves by the default route, bytes: what pods should
/// use. 1500 if there is no default route.
pub fn node_mtu() -> Result<u32, Error> {
    let net = Net::here()?;
    let way_out = net
        .routes()?
        .into_iter()
        .find(|r| r.destination.prefix_len() == 0)
        .and_then(|r| r.link);
    Ok(net
        .links()?
        .into_iter()
        .find(|l| Some(l.index) == way_out)
        .map_or(1500, |l| l.mtu))
}

/// What to change so that our routes are exactly `desired`: to add, to remove.
fn plan(now: &[Route], desired: &[(IpNet, IpAddr)]) -> (Vec<Route>, Vec<Route>) {
    let route = |(range, via): &(IpNet, IpAddr)| Route {
        protocol: ROUTE_PROTOCOL,
        ..Route::through(range.trunc(), *via)
    };
    let wanted: Vec<Route> = desired.iter().map(route).collect();
    let same = |a: &Route, b: &Route| a.destination == b.destination && a.via == b.via;
    let ours: Vec<&Route> = now.iter().filter(|r| r.protocol == ROUTE_PROTOCOL).collect();
    let add = wanted
        .iter()
        .filter(|w| !ours.iter().any(|o| same(o, w)))
        .copied()
        .collect();
    // One whose destination stays is replaced by its successor, never removed first.
    let remove = ours
        .into_iter()
        .filter(|o| !wanted.iter().any(|w| w.destination == o.destination))
        .copied()
        .collect();
    (add, remove)
}

/// Makes our routes exactly `desired`: other nodes' pod ranges and the nodes'
/// addresses. Returns how many were added and removed. All are tried; the first
/// failure is the result (a node whose address isn't on our network yet must
/// not keep us from the others).
pub fn sync_routes(net: &Net, desired: &[(IpNet, IpAddr)]) -> Result<(usize, usize), Error> {
    let (add, remove) = plan(&net.routes()?, desired);
    let mut failure = None;
    for result in remove
        .iter()
        .map(|r| net.delete_route(r))
        .chain(add.iter().map(|r| net.replace_route(r)))
    {
        if let Err(error) = result {
            tracing::warn!(%error, "route not set");
            failure.get_or_insert(error);
        }
    }
    failure.map_or(Ok((add.len(), remove.len())), |e| Err(e.into()))
}

/// Keeps our routes at the newest item of `desired` until `shutdown` or the end
/// of the stream. Failures are tried again, and once a minute everything is
/// looked at anew: somebody else may have flushed the table.
pub async fn run_routes(
    desired: impl Stream<Item = Vec<(IpNet, IpAddr)>>,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    const CALM: Duration = Duration::from_secs(60);
    const FIRST_RETRY: Duration = Duration::from_millis(200);
    let net = Net::here()?;
    let mut desired = std::pin::pin!(desired);
    let mut newest: Option<Vec<(IpNet, IpAddr)>> = None;
    let mut wait = CALM;
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            next = desired.next() => match next {
                Some(routes) => newest = Some(routes),
                None => return Ok(()),
            },
            () = tokio::time::sleep(wait), if newest.is_some() => {}
        }
        let Some(routes) = &newest else { continue };
        wait = match sync_routes(&net, routes) {
            Ok((0, 0)) => CALM,
            Ok((added, removed)) => {
                tracing::info!(added, removed, "routes to other nodes' pods");
                CALM
            }
            Err(_) if wait < CALM => (wait * 2).min(CALM / 2),
            Err(_) => FIRST_RETRY,
        };
    }
}

#[cfg(test)]
mod tests;

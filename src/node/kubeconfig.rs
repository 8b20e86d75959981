//! The kubeconfigs that programs inside a node use.

use crate::Error;
use rkind_config::{KeyPair, NodeConfig, paths};
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Writes one file per identity the node holds, readable by root only.
pub(crate) fn write_all(node: &NodeConfig) -> Result<(), Error> {
    let mut files = vec![
        (paths::KUBELET_KUBECONFIG, &node.pki.kubelet),
        (paths::PROXY_KUBECONFIG, &node.pki.proxy),
    ];
    if let Some(control_plane) = &node.pki.control_plane {
        files.extend([
            (paths::ADMIN_KUBECONFIG, &control_plane.admin),
            (
                paths::CONTROLLER_MANAGER_KUBECONFIG,
                &control_plane.controller_manager,
            ),
            (paths::SCHEDULER_KUBECONFIG, &control_plane.scheduler),
        ]);
    }
    for (path, pair) in files {
        write(Path::new(path), &render(node, pair))?;
    }
    Ok(())
}

fn render(node: &NodeConfig, pair: &KeyPair) -> String {
    rkind_pki::kubeconfig::Access {
        name: &node.cluster,
        server: &node.api_endpoint,
        ca_pem: &node.pki.ca_cert,
        cert_pem: &pair.cert,
        key_pem: &pair.key,
    }
    .to_yaml()
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(Error::file("could not write", path))
}

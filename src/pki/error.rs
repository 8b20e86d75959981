//! What can go wrong with certificates and kubeconfigs.

use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot issue the certificate {subject}")]
    Issue { subject: String, source: rcgen::Error },
    #[error("cannot read the {what}")]
    ReadPem { what: String, source: rcgen::Error },
    #[error("cannot read the certificate: {0}")]
    Parse(String),
    #[error("cannot {action} {}", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{} is no kubeconfig: {message}", path.display())]
    Kubeconfig { path: PathBuf, message: String },
    #[error("{} already has a {entry} named {name:?} that rkind did not make", path.display())]
    Foreign {
        path: PathBuf,
        entry: &'static str,
        name: String,
    },
    #[error("{} is locked by another program; if none is running, remove {}", path.display(), lock.display())]
    Locked { path: PathBuf, lock: PathBuf },
    #[error("there is no home directory for ~/.kube/config; set KUBECONFIG or HOME")]
    NoHome,
}

//! Who is who in a cluster: certificate authorities, certificates,
//! service-account keys, and the kubeconfig files that carry them.
//!
//! In: names and addresses. Out: PEM text, and entries in the user's
//! kubeconfig.
//!
//! It never opens a socket and knows neither nodes nor drivers; the only files
//! it touches are kubeconfigs.
//!
//! Names and groups are those that upstream's kubeadm issues and that the RBAC
//! bootstrap policy binds:
//! <https://kubernetes.io/docs/setup/best-practices/certificates/>

mod ca;
mod error;
mod identities;
pub mod kubeconfig;

#[cfg(test)]
mod tests;

pub use ca::{Ca, CertificateInfo, Leaf, Subject, inspect};
pub use error::Error;
pub use identities::{
    ClusterPki, ClusterPkiPem, ControlPlaneCertificates, NodeCertificates, ServerNames, ServiceAccountKeys,
};

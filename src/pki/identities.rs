//! Everyone in a cluster, by upstream's names and groups.

use std::net::IpAddr;

use rcgen::KeyPair;
use serde::{Deserialize, Serialize};

use crate::{Ca, Error, Leaf, Subject};

const MASTERS: &str = "system:masters";
const NODES: &str = "system:nodes";

/// The authorities of a cluster: enough to add nodes to it at any time.
#[derive(Debug)]
pub struct ClusterPki {
    pub ca: Ca,
    pub front_proxy_ca: Ca,
    pub service_account: ServiceAccountKeys,
}

/// [`ClusterPki`] as it is stored. It is the whole cluster's secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClusterPkiPem {
    pub ca_cert: String,
    pub ca_key: String,
    pub front_proxy_ca_cert: String,
    pub front_proxy_ca_key: String,
    pub sa_private_key: String,
    pub sa_public_key: String,
}

/// ES256 keys that sign and check service-account tokens.
#[derive(Clone, PartialEq, Eq)]
pub struct ServiceAccountKeys {
    /// PKCS#8.
    pub private_pem: String,
    /// SubjectPublicKeyInfo.
    pub public_pem: String,
}

impl std::fmt::Debug for ServiceAccountKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServiceAccountKeys")
            .field("public_pem", &self.public_pem)
            .finish_non_exhaustive()
    }
}

/// By what names and addresses the API server is reached.
#[derive(Clone, Copy, Debug)]
pub struct ServerNames<'a> {
    /// Names of the nodes it runs on, and their addresses.
    pub nodes: &'a [(&'a str, IpAddr)],
    /// ClusterIP of the `kubernetes` service.
    pub kubernetes_ip: IpAddr,
    pub dns_domain: &'a str,
    /// More names and addresses, from the user.
    pub extra: &'a [String],
}

/// What only control-plane nodes hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlPlaneCertificates {
    pub apiserver: Leaf,
    pub apiserver_kubelet_client: Leaf,
    pub front_proxy_client: Leaf,
    pub admin: Leaf,
    pub controller_manager: Leaf,
    pub scheduler: Leaf,
}

/// What every node holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeCertificates {
    pub kubelet: Leaf,
    pub kubelet_serving: Leaf,
    pub proxy: Leaf,
}

impl ServerNames<'_> {
    /// Every name and address, each once.
    pub fn sans(&self) -> Vec<String> {
        let mut sans: Vec<String> = ["kubernetes", "kubernetes.default", "kubernetes.default.svc"]
            .map(str::to_owned)
            .into();
        sans.push(format!("kubernetes.default.svc.{}", self.dns_domain));
        sans.extend(
            [
                "localhost",
                "host.docker.internal",
                "host.rkind.internal",
                "127.0.0.1",
            ]
            .map(str::to_owned),
        );
        sans.push("::1".to_owned());
        sans.push(self.kubernetes_ip.to_string());
        for (name, ip) in self.nodes {
            sans.push((*name).to_owned());
            sans.push(ip.to_string());
        }
        sans.extend(self.extra.iter().cloned());
        let mut seen = std::collections::HashSet::new();
        sans.retain(|san| seen.insert(san.clone()));
        sans
    }
}

impl ClusterPki {
    /// New authorities and keys.
    ///
    /// # Errors
    /// [`Error::Issue`] when the system gives no random numbers.
    pub fn generate() -> Result<Self, Error> {
        let key = KeyPair::generate().map_err(|source| Error::Issue {
            subject: "service-account keys".into(),
            source,
        })?;
        Ok(ClusterPki {
            ca: Ca::generate("kubernetes")?,
            front_proxy_ca: Ca::generate("front-proxy-ca")?,
            service_account: ServiceAccountKeys {
                private_pem: key.serialize_pem(),
                public_pem: key.public_key_pem(),
            },
        })
    }

    /// What [`ClusterPki::to_pem`] gave.
    ///
    /// # Errors
    /// [`Error::ReadPem`]
    pub fn from_pem(pem: &ClusterPkiPem) -> Result<Self, Error> {
        Ok(ClusterPki {
            ca: Ca::from_pem(&pem.ca_cert, &pem.ca_key)?,
            front_proxy_ca: Ca::from_pem(&pem.front_proxy_ca_cert, &pem.front_proxy_ca_key)?,
            service_account: ServiceAccountKeys {
                private_pem: pem.sa_private_key.clone(),
                public_pem: pem.sa_public_key.clone(),
            },
        })
    }

    /// For storing, readable by the owner alone.
    pub fn to_pem(&self) -> ClusterPkiPem {
        ClusterPkiPem {
            ca_cert: self.ca.cert_pem().to_owned(),
            ca_key: self.ca.key_pem().to_owned(),
            front_proxy_ca_cert: self.front_proxy_ca.cert_pem().to_owned(),
            front_proxy_ca_key: self.front_proxy_ca.key_pem().to_owned(),
            sa_private_key: self.service_account.private_pem.clone(),
            sa_public_key: self.service_account.public_pem.clone(),
        }
    }

    /// The administrator's client certificate, for kubeconfigs.
    ///
    /// # Errors
    /// [`Error::Issue`]
    pub fn admin(&self) -> Result<Leaf, Error> {
        self.ca.client(Subject {
            user: "kubernetes-admin",
            groups: &[MASTERS],
        })
    }

    /// Certificates of a control-plane node.
    ///
    /// # Errors
    /// [`Error::Issue`] when a name has characters that no certificate can hold.
    pub fn control_plane(&self, names: &ServerNames<'_>) -> Result<ControlPlaneCertificates, Error> {
        let user = |user| self.ca.client(Subject { user, groups: &[] });
        Ok(ControlPlaneCertificates {
            apiserver: self.ca.server(
                Subject {
                    user: "kube-apiserver",
                    groups: &[],
                },
                &names.sans(),
            )?,
            apiserver_kubelet_client: self.ca.client(Subject {
                user: "kube-apiserver-kubelet-client",
                groups: &[MASTERS],
            })?,
            front_proxy_client: self.front_proxy_ca.client(Subject {
                user: "front-proxy-client",
                groups: &[],
            })?,
            admin: self.admin()?,
            controller_manager: user("system:kube-controller-manager")?,
            scheduler: user("system:kube-scheduler")?,
        })
    }

    /// Certificates of any node.
    ///
    /// # Errors
    /// [`Error::Issue`] when the name has characters that no certificate can
    /// hold.
    pub fn node(&self, name: &str, addresses: &[IpAddr]) -> Result<NodeCertificates, Error> {
        let user = format!("system:node:{name}");
        let subject = Subject {
            user: &user,
            groups: &[NODES],
        };
        let mut sans = vec![name.to_owned()];
        sans.extend(addresses.iter().map(IpAddr::to_string));
        Ok(NodeCertificates {
            kubelet: self.ca.client(subject)?,
            kubelet_serving: self.ca.server(subject, &sans)?,
            proxy: self.ca.client(Subject {
                user: "system:kube-proxy",
                groups: &[],
            })?,
        })
    }
}

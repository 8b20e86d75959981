//! An API server alone: what operator authors use envtest for.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use rkind_store::embedded::EmbeddedStore;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{ApiServer, Error, TlsOptions};

/// Where the server keeps its data and listens.
#[derive(Clone, Debug)]
pub struct Options {
    /// Folder of the store, certificates and `kubeconfig`; made when missing.
    pub data_dir: PathBuf,
    /// Address to listen at; port 0 takes a free one.
    pub addr: SocketAddr,
}

/// A server that listens, not yet serving.
pub struct Standalone {
    server: ApiServer,
    store: Arc<EmbeddedStore>,
    listener: TcpListener,
    tls: Arc<rustls::ServerConfig>,
    /// Address in use.
    pub addr: SocketAddr,
    /// Path of the admin kubeconfig.
    pub kubeconfig: PathBuf,
}

fn io(action: impl Into<String>) -> impl FnOnce(std::io::Error) -> Error {
    let action = action.into();
    move |source| Error::Io { action, source }
}

fn write_private(path: &Path, text: &str) -> Result<(), Error> {
    use std::{io::Write as _, os::unix::fs::OpenOptionsExt as _};
    let open = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path);
    open.and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(io(format!("write {}", path.display())))
}

/// Authorities and keys of `data_dir`, made at first start.
fn pki(dir: &Path) -> Result<rkind_pki::ClusterPki, Error> {
    let path = dir.join("pki.json");
    match std::fs::read(&path) {
        Ok(bytes) => {
            let pem = serde_json::from_slice(&bytes).map_err(|e| Error::Io {
                action: format!("read {}", path.display()),
                source: e.into(),
            })?;
            Ok(rkind_pki::ClusterPki::from_pem(&pem)?)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let pki = rkind_pki::ClusterPki::generate()?;
            let text = serde_json::to_string(&pki.to_pem()).map_err(|e| Error::Io {
                action: "encode keys".into(),
                source: e.into(),
            })?;
            write_private(&path, &text)?;
            Ok(pki)
        }
        Err(error) => Err(io(format!("read {}", path.display()))(error)),
    }
}

/// Opens the store, makes certificates, listens and writes `kubeconfig`.
///
/// # Errors
/// When the folder, the store or the address cannot be used.
pub async fn start(options: Options) -> Result<Standalone, Error> {
    let dir = &options.data_dir;
    std::fs::create_dir_all(dir).map_err(io(format!("create {}", dir.display())))?;
    let pki = pki(dir)?;
    let listener = TcpListener::bind(options.addr)
        .await
        .map_err(io(format!("listen at {}", options.addr)))?;
    let addr = listener.local_addr().map_err(io("read the listener's address"))?;
    let store = Arc::new(EmbeddedStore::open(&dir.join("store"), Default::default()).await?);
    let service_subnet: ipnet::IpNet = ipnet::Ipv4Net::new_assert([10, 96, 0, 0].into(), 16).into();
    let kubernetes_ip = std::net::IpAddr::from([10, 96, 0, 1]);
    let certificates = pki.control_plane(&rkind_pki::ServerNames {
        nodes: &[("localhost", addr.ip())],
        kubernetes_ip,
        dns_domain: "cluster.local",
        extra: &["127.0.0.1".to_owned(), "::1".to_owned()],
    })?;
    let pem = pki.to_pem();
    let advertise = if addr.ip().is_unspecified() {
        std::net::IpAddr::from([127, 0, 0, 1])
    } else {
        addr.ip()
    };
    let server = ApiServer::new(crate::Options {
        store: store.clone(),
        service_subnet,
        node_port_range: (30000, 32767),
        advertise_address: advertise,
        advertise_port: addr.port(),
        sa_private_key: pem.sa_private_key.clone(),
        sa_public_keys: vec![pem.sa_public_key.clone()],
        issuer: "https://kubernetes.default.svc.cluster.local".into(),
        ca_cert: pem.ca_cert.clone(),
        front_proxy_ca_cert: pem.front_proxy_ca_cert.clone(),
        kubelet_client: Some((
            certificates.apiserver_kubelet_client.cert_pem.clone(),
            certificates.apiserver_kubelet_client.key_pem.clone(),
        )),
    })
    .await?;
    let tls = TlsOptions {
        certificate: certificates.apiserver.cert_pem.clone(),
        key: certificates.apiserver.key_pem.clone(),
        client_ca: pem.ca_cert.clone(),
    }
    .config()?;
    let kubeconfig = dir.join("kubeconfig");
    let host = SocketAddr::new(advertise, addr.port());
    let access = rkind_pki::kubeconfig::Access {
        name: "rkind",
        server: &format!("https://{host}"),
        ca_pem: &pem.ca_cert,
        cert_pem: &certificates.admin.cert_pem,
        key_pem: &certificates.admin.key_pem,
    };
    write_private(&kubeconfig, &access.to_yaml())?;
    Ok(Standalone {
        server,
        store,
        listener,
        tls,
        addr,
        kubeconfig,
    })
}

impl Standalone {
    /// The server, for in-process use beside the listener.
    pub fn server(&self) -> &ApiServer {
        &self.server
    }

    /// Serves until `shutdown`, then closes the store.
    ///
    /// # Errors
    /// Of the listener.
    pub async fn serve(self, shutdown: CancellationToken) -> Result<(), Error> {
        let served = self
            .server
            .serve(self.listener, self.tls, shutdown)
            .await
            .map_err(io("serve"));
        self.server.close();
        self.store.close().await;
        served
    }
}

//! An API server alone: what operator authors use envtest for.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
};

use futures::future::BoxFuture;
use ipnet::IpNet;
use rkind_store::embedded::EmbeddedStore;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{ApiServer, Error, TlsOptions, admission::Chain, apis::Enabled};

/// Issuer of service accounts' tokens when none is chosen.
pub const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// Where the server keeps its data and listens, and what it serves.
#[derive(Clone, Debug)]
pub struct Options {
    /// Folder of the store, certificates and `kubeconfig`; made when missing.
    pub data_dir: PathBuf,
    /// Address to listen at; port 0 takes a free one.
    pub addr: SocketAddr,
    /// Where others reach the server; the address to listen at when unset.
    pub advertise_address: Option<IpAddr>,
    /// Range of service addresses.
    pub service_subnet: IpNet,
    /// First and last node port.
    pub node_port_range: (u16, u16),
    /// Issuer of service-account tokens.
    pub issuer: String,
    /// What may be switched on beside. The front proxy's certificate is filled in when unset, and
    /// the admission plugin `ServiceAccount` is left out unless it is enabled: where no controller
    /// makes service accounts, it would refuse every pod.
    pub features: crate::options::Features,
}

impl Options {
    /// Upstream's defaults, at an address.
    pub fn new(data_dir: PathBuf, addr: SocketAddr) -> Self {
        Options {
            data_dir,
            addr,
            advertise_address: None,
            service_subnet: ipnet::Ipv4Net::new_assert([10, 96, 0, 0].into(), 16).into(),
            node_port_range: (30000, 32767),
            issuer: ISSUER.into(),
            features: crate::options::Features::default(),
        }
    }
}

/// A server that listens, not yet serving.
pub struct Standalone {
    server: ApiServer,
    store: Arc<EmbeddedStore>,
    listener: TcpListener,
    tls: Arc<rustls::ServerConfig>,
    /// Address it listens at.
    pub addr: SocketAddr,
    /// Address that `kubeconfig` names.
    pub endpoint: SocketAddr,
    /// Path of the admin kubeconfig.
    pub kubeconfig: PathBuf,
}

fn io(action: impl Into<String>) -> impl FnOnce(std::io::Error) -> Error {
    let action = action.into();
    move |source| Error::Io { action, source }
}

/// Writes a file that only its owner may read, whole or not at all.
fn write_private(path: &Path, text: &str) -> Result<(), Error> {
    use std::{io::Write as _, os::unix::fs::OpenOptionsExt as _};
    let beside = path.with_extension("new");
    let write = || {
        // One that an interrupted start left could have another mode.
        match std::fs::remove_file(&beside) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&beside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&beside, path)
    };
    write().map_err(io(format!("write {}", path.display())))
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

/// Opens the store, makes certificates, listens and writes `kubeconfig`. Authorities and keys are
/// kept from start to start, so that what an earlier start handed out goes on to be valid.
///
/// # Errors
/// When the folder, the store or the address cannot be used.
pub fn start(options: Options) -> BoxFuture<'static, Result<Standalone, Error>> {
    Box::pin(prepare(options))
}

async fn prepare(options: Options) -> Result<Standalone, Error> {
    let dir = &options.data_dir;
    let mut features = options.features;
    let off = &mut features.admission.disable_admission_plugins;
    off.push("ServiceAccount".to_owned());
    // Before anything is made.
    Chain::chosen(&features.admission)?;
    Enabled::new(&features.runtime_config)?;
    std::fs::create_dir_all(dir).map_err(io(format!("create {}", dir.display())))?;
    // First the store: its lock keeps a second process off the whole folder.
    let store = match EmbeddedStore::open(&dir.join("store"), crate::store_options()).await {
        Err(rkind_store::Error::Locked { .. }) => return Err(Error::InUse(dir.clone())),
        opened => Arc::new(opened?),
    };
    let pki = pki(dir)?;
    let listener = TcpListener::bind(options.addr)
        .await
        .map_err(|source| Error::Listen {
            address: options.addr,
            source,
        })?;
    let addr = listener.local_addr().map_err(io("read the listener's address"))?;
    let advertise = match options.advertise_address {
        Some(address) => address,
        None if addr.ip().is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        None => addr.ip(),
    };
    let kubernetes_ip = options
        .service_subnet
        .hosts()
        .next()
        .unwrap_or(options.service_subnet.addr());
    let certificates = pki.control_plane(&rkind_pki::ServerNames {
        nodes: &[("localhost", addr.ip())],
        kubernetes_ip,
        dns_domain: "cluster.local",
        extra: &[advertise.to_string()],
    })?;
    let pem = pki.to_pem();
    let shown = &certificates.front_proxy_client;
    features
        .aggregation
        .or_client(shown.cert_pem.clone(), shown.key_pem.clone());
    let served = &certificates.apiserver;
    let tls = TlsOptions::given(&features, &served.cert_pem, &served.key_pem, &pem.ca_cert).config()?;
    // Whoever has the kubeconfig believes what is served, whoever vouches for it.
    let believed = match &features.serving.tls_cert_file {
        Some(chain) => format!("{}\n{}", pem.ca_cert.trim_end(), &**chain),
        None => pem.ca_cert.clone(),
    };
    let server = ApiServer::new(crate::Options {
        store: store.clone(),
        service_subnet: options.service_subnet,
        node_port_range: options.node_port_range,
        advertise_address: advertise,
        advertise_port: addr.port(),
        sa_private_key: pem.sa_private_key.clone(),
        sa_public_keys: vec![pem.sa_public_key.clone()],
        issuer: options.issuer,
        ca_cert: pem.ca_cert.clone(),
        front_proxy_ca_cert: pem.front_proxy_ca_cert.clone(),
        kubelet_client: Some((
            certificates.apiserver_kubelet_client.cert_pem.clone(),
            certificates.apiserver_kubelet_client.key_pem.clone(),
        )),
        features,
    })
    .await?;
    let kubeconfig = std::path::absolute(dir)
        .map_err(io(format!("find {}", dir.display())))?
        .join("kubeconfig");
    let endpoint = SocketAddr::new(advertise, addr.port());
    let access = rkind_pki::kubeconfig::Access {
        name: "rkind",
        server: &format!("https://{endpoint}"),
        ca_pem: &believed,
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
        endpoint,
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
    pub fn serve(self, shutdown: CancellationToken) -> BoxFuture<'static, Result<(), Error>> {
        Box::pin(self.serve_and_close(shutdown))
    }

    async fn serve_and_close(self, shutdown: CancellationToken) -> Result<(), Error> {
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

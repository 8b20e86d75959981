//! Starting an API server on an empty folder, ours or kube-apiserver, and what it weighs.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};

use crate::http1::{Connection, Template};

/// An administrator's token, and the file for `--token-auth-file` that says so.
pub const TOKEN: &str = "bench";
pub const TOKENS: &str = "bench,admin,admin,system:masters\n";

/// How to reach a server as its administrator.
#[derive(Clone)]
pub struct Target {
    pub address: std::net::SocketAddr,
    pub tls: ClientConfig,
    pub token: Option<String>,
}

impl Target {
    /// The server on this machine, and the user, that a kubeconfig of rkind's names.
    ///
    /// # Errors
    /// When the file cannot be read or lacks what rkind writes.
    pub fn of_kubeconfig(path: &Path) -> Result<Target> {
        let kubeconfig: serde_json::Value = serde_saphyr::from_str(&std::fs::read_to_string(path)?)?;
        let field = |of: &serde_json::Value, name: &str| -> Result<String> {
            let text = of[name].as_str();
            Ok(text
                .with_context(|| format!("no {name} in {}", path.display()))?
                .to_owned())
        };
        let user = &kubeconfig["users"][0]["user"];
        let data = |name: &str| Ok::<_, anyhow::Error>(STANDARD.decode(field(user, name)?)?);
        let pair = (data("client-certificate-data")?, data("client-key-data")?);
        let server = field(&kubeconfig["clusters"][0]["cluster"], "server")?;
        let address = server.trim_start_matches("https://").parse();
        Ok(Target {
            address: address.with_context(|| format!("{server} is no address and port"))?,
            tls: tls(Some(pair))?,
            token: None,
        })
    }
}

/// A server's processes; dropping it ends them.
pub struct Running {
    pub name: &'static str,
    pub target: Target,
    /// From the start of the first process to the first good answer of `/readyz`.
    pub ready: Duration,
    children: Vec<Child>,
}

impl Drop for Running {
    fn drop(&mut self) {
        for child in self.children.iter_mut().rev() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Running {
    /// Memory in use by all processes, in KiB.
    #[must_use]
    pub fn resident_kib(&self) -> u64 {
        let of = |child: &Child| {
            let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
            line.split_whitespace().next()?.parse::<u64>().ok()
        };
        self.children.iter().filter_map(of).sum()
    }

    /// CPU time used by all processes so far.
    #[must_use]
    pub fn cpu(&self) -> Duration {
        self.children.iter().map(|child| process_cpu(child.id())).sum()
    }
}

/// CPU time used by a process so far, in steps of 10 ms.
#[must_use]
pub fn process_cpu(id: u32) -> Duration {
    let ticks = || {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        let rest = stat.rsplit_once(')')?.1;
        // After the name, with the state as the first: utime and stime are the 12th and 13th.
        let mut fields = rest.split_whitespace().skip(11);
        let mut next = || fields.next()?.parse::<u64>().ok();
        Some(next()? + next()?)
    };
    Duration::from_millis(10 * ticks().unwrap_or_default())
}

fn free_port() -> Result<u16> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    Ok(listener.local_addr()?.port())
}

fn spawn(command: &mut Command, log: &Path) -> Result<Child> {
    let log = std::fs::File::create(log)?;
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .with_context(|| format!("start {}", command.get_program().display()))
}

/// The programs that make a server: `rkind`, or kube-apiserver with its etcd.
#[derive(Clone, Debug)]
pub struct Peer {
    pub kube_apiserver: PathBuf,
    pub etcd: PathBuf,
}

/// `rkind apiserver` on the empty folder `rkind` in `folder`, with further flags. The target's
/// client has the administrator's certificate.
///
/// # Errors
/// When the server does not start, or is not ready within two minutes.
pub async fn rkind(folder: &Path, program: &Path, flags: &[&str]) -> Result<Running> {
    let folder = folder.join("rkind");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder)?;
    let port = free_port()?;
    let began = Instant::now();
    let child = spawn(
        Command::new(program)
            .args(["apiserver", "--secure-port", &port.to_string(), "--data-dir"])
            .arg(folder.join("data"))
            .args(flags),
        &folder.join("log"),
    )?;
    let mut running = Running {
        name: "rkind",
        target: Target {
            address: ([127, 0, 0, 1], port).into(),
            tls: tls(None)?,
            token: None,
        },
        ready: Duration::ZERO,
        children: vec![child],
    };
    running.ready = ready(&running.target, began).await?;
    running.target = Target::of_kubeconfig(&folder.join("data/kubeconfig"))?;
    Ok(running)
}

/// kube-apiserver and etcd on the empty folder `upstream` in `folder`, as plain as they can be,
/// with further flags. The target's client has an administrator's [`TOKEN`].
///
/// # Errors
/// When a program does not start, or the server is not ready within two minutes.
pub async fn upstream(folder: &Path, peer: &Peer, flags: &[&str]) -> Result<Running> {
    let folder = folder.join("upstream");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder)?;
    let (client, members, port) = (free_port()?, free_port()?, free_port()?);
    std::fs::write(folder.join("tokens"), TOKENS)?;
    let key = rcgen::KeyPair::generate()?;
    std::fs::write(folder.join("sa.key"), key.serialize_pem())?;
    std::fs::write(folder.join("sa.pub"), key.public_key_pem())?;
    let url = |port: u16| format!("http://127.0.0.1:{port}");
    let began = Instant::now();
    let storage = spawn(
        Command::new(&peer.etcd)
            .arg("--data-dir")
            .arg(folder.join("etcd"))
            .args([
                "--listen-client-urls",
                &url(client),
                "--advertise-client-urls",
                &url(client),
            ])
            .args([
                "--listen-peer-urls",
                &url(members),
                "--initial-advertise-peer-urls",
                &url(members),
            ])
            .args([
                "--initial-cluster",
                &format!("default={}", url(members)),
                "--log-level",
                "error",
            ])
            .args(["--quota-backend-bytes", "8589934592"]),
        &folder.join("etcd.log"),
    )?;
    let api = spawn(
        Command::new(&peer.kube_apiserver)
            .args(["--etcd-servers", &url(client), "--secure-port", &port.to_string()])
            .args(["--bind-address", "127.0.0.1", "--authorization-mode", "RBAC"])
            .args(["--disable-admission-plugins", "ServiceAccount"])
            .args(["--service-cluster-ip-range", "10.96.0.0/16"])
            .args([
                "--service-account-issuer",
                "https://kubernetes.default.svc.cluster.local",
            ])
            .arg("--service-account-key-file")
            .arg(folder.join("sa.pub"))
            .arg("--service-account-signing-key-file")
            .arg(folder.join("sa.key"))
            .arg("--token-auth-file")
            .arg(folder.join("tokens"))
            .arg("--cert-dir")
            .arg(folder.join("certificates"))
            .args(flags),
        &folder.join("kube-apiserver.log"),
    )?;
    let mut running = Running {
        name: "kube-apiserver + etcd",
        target: Target {
            address: ([127, 0, 0, 1], port).into(),
            tls: tls(None)?,
            token: Some(TOKEN.into()),
        },
        ready: Duration::ZERO,
        children: vec![storage, api],
    };
    running.ready = ready(&running.target, began).await?;
    Ok(running)
}

/// Waits for `/readyz`.
async fn ready(target: &Target, began: Instant) -> Result<Duration> {
    let asked = Template::new(target, "GET", "/readyz", "*/*", None);
    while began.elapsed() < Duration::from_secs(120) {
        if let Ok(mut connection) = Connection::open(target).await
            && let Ok((200, _)) = connection.read(&asked).await
        {
            return Ok(began.elapsed());
        }
        // A port that nothing listens at yet offers nothing to await.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    bail!("the server did not get ready in 2 minutes; its log lies in the folder")
}

/// Believes any server: what is measured is on this machine.
#[derive(Debug)]
struct AnyServer(Arc<rustls::crypto::CryptoProvider>);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// A client's side of TLS, with its certificate and key in PEM, if any.
fn tls(pair: Option<(Vec<u8>, Vec<u8>)>) -> Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyServer(provider)));
    Ok(match pair {
        Some((certificate, key)) => builder.with_client_auth_cert(
            vec![CertificateDer::from_pem_slice(&certificate)?],
            PrivateKeyDer::from_pem_slice(&key)?,
        )?,
        None => builder.with_no_client_auth(),
    })
}

//! A node agent alone, against any API server and containerd: for trying and debugging.
//!
//! `agent <kubeconfig> <containerd socket> <node name> <node ip> <dir> <cert> <key> <client ca>`
//! (the three PEM files may be `-`: no HTTPS API). `PORT` overrides 10250.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let level = std::env::var("RUST_LOG")
        .ok()
        .and_then(|l| l.parse().ok())
        .unwrap_or(tracing::Level::INFO);
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .init();
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [kubeconfig, socket, name, ip, dir, cert, key, ca] = args.as_slice() else {
        return Err("usage: agent <kubeconfig> <socket> <name> <ip> <dir> <cert> <key> <client ca>".into());
    };
    let client = rkind_client::from_kubeconfig(kubeconfig.as_ref()).await?;
    let runtime = Arc::new(rkind_cri::grpc::Client::new(socket));
    let mut options = rkind_kubelet::Options::new(name, ip.parse()?);
    options.root_dir = format!("{dir}/kubelet").into();
    options.pod_log_dir = format!("{dir}/log/pods").into();
    options.container_log_dir = Some(format!("{dir}/log/containers").into());
    if cert != "-" {
        options.serving_cert_pem = std::fs::read_to_string(cert)?;
        options.serving_key_pem = std::fs::read_to_string(key)?;
        options.client_ca_pem = std::fs::read_to_string(ca)?;
    }
    if let Ok(port) = std::env::var("PORT") {
        options.listen.set_port(port.parse()?);
    }
    let shutdown = CancellationToken::new();
    let stop = shutdown.clone();
    tokio::spawn(async move {
        let _ = tokio::signal::ctrl_c().await;
        stop.cancel();
    });
    rkind_kubelet::run(client, runtime, options, shutdown).await?;
    Ok(())
}

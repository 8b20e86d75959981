//! A scheduler alone, over HTTPS: `cargo run -p rkind-scheduler --example scheduler -- KUBECONFIG`.

use rkind_scheduler::{Options, run};
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let kubeconfig = std::env::args_os().nth(1).ok_or("which kubeconfig?")?;
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .with_writer(std::io::stderr)
        .init();
    // A second provider is no error: whoever comes first has set the same one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = rkind_client::from_kubeconfig(kubeconfig.as_ref()).await?;
    let shutdown = CancellationToken::new();
    let stop = shutdown.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            stop.cancel();
        }
    });
    run(client, Options::default(), shutdown).await?;
    Ok(())
}

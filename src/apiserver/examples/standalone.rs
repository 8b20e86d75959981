//! An API server alone: `cargo run -p rkind-apiserver --example standalone -- DATA_DIR [ADDRESS]`.

use std::path::PathBuf;

use rkind_apiserver::standalone::{Options, start};
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let data_dir: PathBuf = args.next().ok_or("which data folder?")?.into();
    let addr = args.next().unwrap_or_else(|| "127.0.0.1:0".to_owned()).parse()?;
    let began = std::time::Instant::now();
    let server = start(Options { data_dir, addr }).await?;
    eprintln!(
        "{} ready in {:?}, KUBECONFIG={}",
        server.addr,
        began.elapsed(),
        server.kubeconfig.display()
    );
    let shutdown = CancellationToken::new();
    let stop = shutdown.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            stop.cancel();
        }
    });
    server.serve(shutdown).await?;
    Ok(())
}

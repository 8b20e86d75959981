//! One line per record on standard error, which is the node's log.

use tracing_subscriber::EnvFilter;

/// Starts logging at `level` (a `tracing` filter such as `info` or
/// `info,rkind_kubelet=debug`); `RKIND_LOG` overrides it. Does nothing when a
/// subscriber is already set.
pub(crate) fn start(level: &str) {
    let filter = EnvFilter::try_from_env("RKIND_LOG")
        .or_else(|_| EnvFilter::try_new(level))
        .unwrap_or_else(|_| EnvFilter::new("info"));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(std::io::stderr)
        .finish();
    // A second call within one process (tests) keeps the first subscriber.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

//! What commands share: the driver, the clusters, the wish to stop.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rkind_cluster::{Clusters, Home};
use rkind_driver::Driver;
use rkind_driver_docker::DockerDriver;
use rkind_pki::kubeconfig::Locations;
use tokio_util::sync::CancellationToken;

use crate::args::{DriverName, Global};
use crate::exit::Failure;
use crate::printer;

/// The clusters of the chosen driver.
///
/// # Errors
/// The engine cannot be reached.
pub(crate) async fn clusters(global: &Global) -> Result<Clusters, Failure> {
    Ok(Clusters::new(driver(global).await?, Home::from_env()))
}

pub(crate) async fn driver(global: &Global) -> Result<Arc<dyn Driver>, Failure> {
    let driver = match global.driver {
        DriverName::Docker => DockerDriver::connect().await?,
        DriverName::Podman => DockerDriver::connect_podman().await?,
    };
    Ok(Arc::new(driver))
}

/// The cluster that is meant: `--name` of kind's verbs, `--profile`, or the
/// default.
///
/// # Errors
/// It can be no name of a cluster.
pub(crate) fn profile(global: &Global, name: Option<&str>) -> Result<String, Failure> {
    let name = name
        .or(global.profile.as_deref())
        .unwrap_or(rkind_config::DEFAULT_NAME);
    check_name(name)?;
    Ok(name.to_owned())
}

pub(crate) fn check_name(name: &str) -> Result<(), Failure> {
    rkind_config::check_cluster_name(name).map_err(|why| Failure::usage(format!("the cluster's name: {why}")))
}

pub(crate) fn locations(file: Option<&Path>) -> Result<Locations, Failure> {
    match file {
        Some(file) => Ok(Locations::explicit(file)),
        None => Ok(Locations::from_env()?),
    }
}

/// Fires at the first Ctrl-C or SIGTERM; the second ends the program at once.
pub(crate) fn wish_to_stop() -> CancellationToken {
    wish_to_stop_saying("\nStopping; once more leaves everything as it is.")
}

/// [`wish_to_stop`] with words of its own for the first time.
pub(crate) fn wish_to_stop_saying(text: &'static str) -> CancellationToken {
    let token = CancellationToken::new();
    let fire = token.clone();
    tokio::spawn(async move {
        let mut terminate = match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(signal) => signal,
            Err(_) => return,
        };
        for round in 0..2 {
            tokio::select! {
                result = tokio::signal::ctrl_c() => if result.is_err() { return },
                _ = terminate.recv() => {}
            }
            if round == 0 {
                printer::note(text);
                fire.cancel();
            }
        }
        std::process::exit(130);
    });
    token
}

/// `90s`, `5m`, `1h30m`, or seconds.
///
/// # Errors
/// What is expected.
pub(crate) fn parse_duration(flag: &str, text: &str) -> Result<Duration, Failure> {
    let wrong = || {
        Failure::usage(format!(
            "{flag}: {text:?} is no duration; write for example 90s or 5m"
        ))
    };
    if let Ok(seconds) = text.parse::<u64>() {
        return Ok(Duration::from_secs(seconds));
    }
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let (unit, length) = if rest.starts_with("ms") {
            (Duration::from_millis(1), 2)
        } else if rest.starts_with('s') {
            (Duration::from_secs(1), 1)
        } else if rest.starts_with('m') {
            (Duration::from_secs(60), 1)
        } else if rest.starts_with('h') {
            (Duration::from_secs(3600), 1)
        } else {
            return Err(wrong());
        };
        let count = u32::try_from(number).map_err(|_| wrong())?;
        total = unit
            .checked_mul(count)
            .and_then(|d| total.checked_add(d))
            .ok_or_else(wrong)?;
        rest = &rest[length..];
    }
    Ok(total)
}

/// This program's file.
pub(crate) fn own_binary() -> Result<std::path::PathBuf, Failure> {
    std::env::current_exe().map_err(|e| Failure::from_io("find this program's own file", e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let parse = |text| parse_duration("--wait", text).map_err(|f| f.chain.join(""));
        assert_eq!(parse("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse("6m0s"), Ok(Duration::from_secs(360)));
        assert_eq!(parse("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse("5"), Ok(Duration::from_secs(5)));
        for bad in ["s", "5x", "m5", "-1s", "99999999999999999999s", "99999999999h"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}

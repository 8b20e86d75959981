//! The CNI plugin: protocol, dispatch, answers (CNI specification 1.1.0).
//!
//! One program is several plugins: `rkind-cni` (the pod's interface, address
//! and host ports) and `loopback`. Which one is meant stands in the
//! configuration's `type`.

mod config;
mod failure;
mod outcome;

use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::process::ExitCode;

pub use config::{Command, Config, Request};
pub use failure::{Code, Failure};
pub use outcome::{Interface, Ip, Outcome, RouteEntry};

use crate::pod;

/// Protocol versions this plugin speaks.
pub const SUPPORTED: [&str; 5] = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

/// Answers one CNI call: environment and standard input in, JSON on standard
/// output, exit code 1 with an error object where it failed.
pub fn main() -> ExitCode {
    let mut input = String::new();
    let answer = match std::io::stdin().read_to_string(&mut input) {
        Ok(_) => answer(|name| std::env::var_os(name), &input),
        Err(e) => Err((
            "1.0.0".to_owned(),
            Failure::new(Code::Io, "cannot read the configuration", e.to_string()),
        )),
    };
    let (text, code) = match answer {
        Ok(text) => (text, ExitCode::SUCCESS),
        Err((version, failure)) => (failure.to_json(&version), ExitCode::FAILURE),
    };
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => code,
        Err(_) => ExitCode::FAILURE,
    }
}

/// What to print, or the version to report an error in and the error.
fn answer(env: impl Fn(&str) -> Option<OsString>, input: &str) -> Result<String, (String, Failure)> {
    let command = Command::from_env(&env).map_err(|f| ("1.0.0".to_owned(), f))?;
    if command == Command::Version {
        let asked = config::version_of(input).unwrap_or_else(|| "1.0.0".to_owned());
        return Ok(outcome::versions(&asked));
    }
    let config = Config::parse(input).map_err(|f| ("1.0.0".to_owned(), f))?;
    let version = config.cni_version.clone();
    let dispatched = Request::from_env(&env, command)
        .and_then(|request| dispatch(&request, &config))
        .map_err(|f| (version.clone(), f))?;
    Ok(dispatched
        .map(|outcome| outcome.to_json(&version))
        .unwrap_or_default())
}

fn dispatch(request: &Request, config: &Config) -> Result<Option<Outcome>, Failure> {
    match (config.kind.as_str(), request.command) {
        ("loopback", Command::Add) => pod::loopback_up(request).map(Some),
        ("loopback", Command::Check) => pod::loopback_check(request).map(|()| None),
        // Loopback goes with its namespace.
        ("loopback", _) => Ok(None),
        (_, Command::Add) => pod::add(request, config).map(Some),
        (_, Command::Del) => pod::delete(request, config).map(|()| None),
        (_, Command::Check) => pod::check(request, config).map(|()| None),
        (_, Command::Gc) => pod::collect_garbage(config).map(|()| None),
        (_, Command::Status) => pod::status(config).map(|()| None),
        (_, Command::Version) => Ok(None),
    }
}

#[cfg(test)]
mod tests;

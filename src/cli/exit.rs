//! How the program ends, and why.

use std::error::Error as StdError;
use std::process::ExitCode;

/// Exit codes; they are part of the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExitStatus {
    /// 0
    Success,
    /// 1: it was tried and failed.
    Failure,
    /// 2: arguments or files that cannot be right; nothing was changed.
    Usage,
    /// 3: `status`: not everything runs.
    NotRunning,
    /// 4: there is no such cluster, node or image.
    NotFound,
    /// 5: the host lacks something, such as a container engine.
    Host,
    /// 130: Ctrl-C.
    Interrupted,
    /// Another program's own code.
    Code(u8),
}

/// For `--help`.
pub(crate) const CODES: &str = "\
Exit codes:
  0    done
  1    it was tried and failed
  2    arguments or files that cannot be right; nothing was changed
  3    status: not everything runs
  4    there is no such cluster, node or image
  5    the host lacks something, such as a container engine
  130  interrupted";

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        ExitCode::from(match status {
            ExitStatus::Success => 0,
            ExitStatus::Failure => 1,
            ExitStatus::Usage => 2,
            ExitStatus::NotRunning => 3,
            ExitStatus::NotFound => 4,
            ExitStatus::Host => 5,
            ExitStatus::Interrupted => 130,
            ExitStatus::Code(code) => code,
        })
    }
}

/// An error on its way to the user.
#[derive(Debug)]
pub(crate) struct Failure {
    pub status: ExitStatus,
    /// Messages from the outside in; each is one layer's own.
    pub chain: Vec<String>,
    /// What the user can do.
    pub hint: Option<String>,
}

impl Failure {
    pub(crate) fn new(status: ExitStatus, message: impl Into<String>) -> Self {
        Failure {
            status,
            chain: vec![message.into()],
            hint: None,
        }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Failure::new(ExitStatus::Usage, message)
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn from_io(doing: &str, error: std::io::Error) -> Self {
        Failure {
            status: ExitStatus::Failure,
            chain: vec![format!("cannot {doing}"), error.to_string()],
            hint: None,
        }
    }

    pub(crate) fn of(status: ExitStatus, error: &dyn StdError, hint: Option<String>) -> Self {
        let mut chain: Vec<String> = Vec::new();
        let mut next = Some(error);
        while let Some(error) = next {
            let message = error.to_string();
            // A transparent layer says what the one below says.
            if !chain.last().is_some_and(|last| last.contains(&message)) {
                chain.push(message);
            }
            next = error.source();
        }
        Failure { status, chain, hint }
    }
}

fn driver_status(error: &rkind_driver::Error) -> ExitStatus {
    use rkind_driver::Error;
    match error {
        Error::Unreachable { .. } => ExitStatus::Host,
        Error::NoNode(_) | Error::NoImage(_) => ExitStatus::NotFound,
        _ => ExitStatus::Failure,
    }
}

impl From<rkind_driver::Error> for Failure {
    fn from(error: rkind_driver::Error) -> Self {
        Failure::of(driver_status(&error), &error, error.hint())
    }
}

impl From<rkind_cluster::Error> for Failure {
    fn from(error: rkind_cluster::Error) -> Self {
        use rkind_cluster::Error;
        let status = match &error {
            Error::NoCluster(_) | Error::NoNode { .. } | Error::NoImage(_) => ExitStatus::NotFound,
            Error::Host { .. } => ExitStatus::Host,
            Error::Interrupted => ExitStatus::Interrupted,
            Error::Exists(_) | Error::PortInUse { .. } | Error::TooManyNodes { .. } => ExitStatus::Usage,
            Error::Driver(e) => driver_status(e),
            _ => ExitStatus::Failure,
        };
        Failure::of(status, &error, error.hint())
    }
}

impl From<rkind_pki::Error> for Failure {
    fn from(error: rkind_pki::Error) -> Self {
        Failure::of(ExitStatus::Failure, &error, None)
    }
}

impl From<rkind_node_image::Error> for Failure {
    fn from(error: rkind_node_image::Error) -> Self {
        Failure::of(ExitStatus::Failure, &error, error.hint())
    }
}

impl From<rkind_config::Error> for Failure {
    fn from(error: rkind_config::Error) -> Self {
        let mut failure = Failure::of(ExitStatus::Usage, &error, None);
        if let rkind_config::Error::Invalid(problems) = &error {
            failure.chain = match problems.as_slice() {
                [one] => vec![one.to_string()],
                several => {
                    let lines: Vec<String> = several.iter().map(|p| format!("\n  {p}")).collect();
                    vec![format!(
                        "the cluster configuration is not valid:{}",
                        lines.concat()
                    )]
                }
            };
        }
        failure
    }
}

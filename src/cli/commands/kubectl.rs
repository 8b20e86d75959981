//! `rkind kubectl`

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;

use super::Outcome;
use crate::args::Global;
use crate::context;
use crate::exit::{ExitStatus, Failure};

/// Becomes kubectl with the cluster's context.
pub(crate) fn run(global: &Global, args: Vec<OsString>) -> Outcome {
    let name = context::profile(global, None)?;
    let program = which::which("kubectl").map_err(|_| {
        Failure::new(ExitStatus::Host, "kubectl is not on PATH")
            .hint("install it: https://kubernetes.io/docs/tasks/tools/")
    })?;
    let error = std::process::Command::new(&program)
        .arg(format!("--context={name}"))
        .args(args)
        .exec();
    Err(Failure::from_io(&format!("run {}", program.display()), error))
}

//! `rkind completion`

use clap::CommandFactory as _;

use crate::args::Cli;
use crate::exit::ExitStatus;

pub(crate) fn run(shell: clap_complete::Shell) -> ExitStatus {
    clap_complete::generate(shell, &mut Cli::command(), "rkind", &mut std::io::stdout());
    ExitStatus::Success
}

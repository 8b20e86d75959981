//! What must hold of the sources before any test runs.

use crate::run::{capture, cargo, root, run, say, succeeds};
use crate::{generate, layers, licences};
use anyhow::{Result, bail};
use std::process::Command;

const LONGEST_FILE: usize = 600;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Leave out the comparison of the schema table with upstream's types (needs Go)
    #[arg(long)]
    no_generate: bool,
}

pub(crate) fn check(args: &Args) -> Result<()> {
    say("crate graph, licences, file sizes");
    layers::layers(&layers::Args::default())?;
    licences::check()?;
    file_sizes()?;
    say("formatting");
    run(&mut cargo(&["fmt", "--all", "--check"]))?;
    say("lints");
    run(&mut cargo(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--locked",
        "--",
        "-D",
        "warnings",
    ]))?;
    if args.no_generate {
        return Ok(());
    }
    if !succeeds(Command::new("go").arg("version")) {
        bail!(
            "the schema table is compared with upstream's Go types, and `go` is not on the PATH; install Go or pass --no-generate"
        );
    }
    say("generated tables");
    generate::check()
}

fn file_sizes() -> Result<()> {
    let listing = capture(Command::new("git").current_dir(root()).args(["ls-files", "*.rs"]))?;
    let long: Vec<String> = listing
        .lines()
        .filter_map(|path| {
            let lines = std::fs::read_to_string(root().join(path)).ok()?.lines().count();
            (lines > LONGEST_FILE).then(|| format!("  {path}: {lines}"))
        })
        .collect();
    if !long.is_empty() {
        bail!(
            "files over {LONGEST_FILE} lines; cut them where the subject changes:\n{}",
            long.join("\n")
        );
    }
    Ok(())
}

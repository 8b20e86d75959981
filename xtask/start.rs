//! From a fresh clone to a cluster, and the node image by itself.

use crate::host::{self, Consent};
use crate::run::{build_rkind, run, say};
use anyhow::Result;
use std::process::Command;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    consent: Consent,
    /// Nodes of the cluster
    #[arg(long, default_value_t = 3)]
    nodes: u32,
    /// Cargo profile of the binary: release, or dist for the smallest
    #[arg(long, default_value = "release")]
    profile: String,
    /// Further arguments for `rkind start`
    #[arg(last = true)]
    rest: Vec<String>,
}

#[derive(clap::Args)]
pub(crate) struct ImageArgs {
    #[command(flatten)]
    consent: Consent,
    /// Further arguments for `rkind build node-image`
    #[arg(last = true)]
    rest: Vec<String>,
}

pub(crate) fn start(args: &Args) -> Result<()> {
    host::docker_engine(args.consent)?;
    host::image_tools(args.consent)?;
    let rkind = build_rkind(&args.profile)?;
    say(&format!("{} start --nodes {}", rkind.display(), args.nodes));
    run(Command::new(&rkind)
        .args(["start", "--nodes", &args.nodes.to_string()])
        .args(&args.rest))
}

pub(crate) fn image(args: &ImageArgs) -> Result<()> {
    host::docker_engine(args.consent)?;
    host::image_tools(args.consent)?;
    let rkind = build_rkind("release")?;
    run(Command::new(&rkind)
        .args(["build", "node-image"])
        .args(&args.rest))
}

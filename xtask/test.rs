//! Every test there is. Unit, contract and crash tests run in the dev
//! profile; the end-to-end tests drive the release binary on real nodes.

use crate::host::{self, Consent};
use crate::run::{build_rkind, capture, cargo, root, run, say};
use anyhow::{Context, Result};
use serde::Deserialize;
use std::process::Command;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    consent: Consent,
    /// Leave out the end-to-end tests; the rooms' own tests of kernel and runtime still want root
    #[arg(long)]
    unit: bool,
    /// Only the end-to-end tests whose name contains this
    #[arg(long, value_name = "NAME")]
    e2e: Option<String>,
}

pub(crate) fn test(args: &Args) -> Result<()> {
    if !args.unit {
        host::docker_engine(args.consent)?;
        host::image_tools(args.consent)?;
    }
    if args.e2e.is_none() {
        host::node_tools(args.consent)?;
        say("unit, contract and crash tests");
        let mut tests = workspace_tests(&["--no-fail-fast", "--lib", "--bins"]);
        for target in integration_tests()? {
            if !END_TO_END.contains(&target.as_str()) {
                tests.args(["--test", &target]);
            }
        }
        run(&mut tests)?;
        if args.unit {
            return Ok(());
        }
    }
    let cache = root().join("target/e2e");
    std::fs::create_dir_all(&cache)?;
    let kubectl = host::kubectl(&cache)?;
    let rkind = build_rkind("release")?;
    say("end-to-end tests");
    let mut e2e = workspace_tests(&["--test", "cluster", "--"]);
    e2e.args(["--test-threads", "1", "--nocapture"]);
    if let Some(name) = &args.e2e {
        e2e.arg(name);
    }
    run(e2e.env("RKIND_BIN", rkind).env("KUBECTL_BIN", kubectl))
}

/// Test targets that need the release binary, and nodes.
const END_TO_END: [&str; 1] = ["cluster"];

/// `cargo test` with one choice of features for all that is tested: cargo unites the features of
/// what it is asked for, so that a call for one package would build the dependencies once more.
pub(crate) fn workspace_tests(arguments: &[&str]) -> Command {
    let mut command = cargo(&["test", "--workspace", "--locked"]);
    command.args(arguments);
    command
}

/// Names of the integration tests that a plain `cargo test` runs.
fn integration_tests() -> Result<Vec<String>> {
    let metadata = capture(&mut cargo(&[
        "metadata",
        "--format-version",
        "1",
        "--no-deps",
        "--locked",
    ]))?;
    let metadata: Metadata = serde_json::from_str(&metadata).context("cargo metadata")?;
    let targets = metadata.packages.into_iter().flat_map(|package| package.targets);
    Ok(targets
        .filter(|target| target.test && target.kind == ["test"])
        .map(|target| target.name)
        .collect())
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
    test: bool,
}

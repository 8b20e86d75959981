//! Every test there is. Unit, contract and crash tests run in the dev
//! profile, as does the server that the API's tests ask; the end-to-end tests
//! drive the release binary on real nodes.

use crate::host::{self, Consent};
use crate::run::{build_rkind, built_rkind, capture, cargo, root, run, say};
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
    /// Only the tests of the API with real clients; those whose name contains NAME, if given
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = "", conflicts_with_all = ["unit", "e2e"])]
    api: Option<String>,
    /// Only the end-to-end tests whose name contains this
    #[arg(long, value_name = "NAME")]
    e2e: Option<String>,
}

pub(crate) fn test(args: &Args) -> Result<()> {
    if let Some(name) = &args.api {
        return api(name);
    }
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
        api("")?;
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

/// The API server alone, asked by kubectl, client-go, the Python client and the kube crate.
fn api(name: &str) -> Result<()> {
    let cache = root().join("target/e2e");
    std::fs::create_dir_all(&cache)?;
    let kubectl = host::kubectl(&cache)?;
    let clients = host::api_clients(&cache)?;
    // The binary of the command line's own tests: built already, and with the same features.
    let rkind = built_rkind(workspace_tests(&["--no-run", "--test", "cli"]))?;
    say("tests of the API");
    run(workspace_tests(&["--test", "api", "--", name])
        .env("RKIND_BIN", rkind)
        .env("KUBECTL_BIN", kubectl)
        .env("API_GO_CLIENT", clients.go)
        .env("API_PYTHON", clients.python))
}

/// Test targets that need a binary of rkind: alone, or on nodes.
const END_TO_END: [&str; 2] = ["api", "cluster"];

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

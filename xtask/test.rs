//! Every test there is. Unit, contract and crash tests run in the dev
//! profile; the end-to-end tests drive the release binary on real nodes.

use crate::host::{self, Consent};
use crate::run::{build_rkind, cargo, root, run, say};
use anyhow::Result;

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
        run(&mut cargo(&[
            "test",
            "--workspace",
            "--exclude",
            "rkind-tests",
            "--locked",
        ]))?;
        run(&mut cargo(&[
            "test",
            "--package",
            "rkind-tests",
            "--locked",
            "--test",
            "store_crash",
        ]))?;
        if args.unit {
            return Ok(());
        }
    }
    let cache = root().join("target/e2e");
    std::fs::create_dir_all(&cache)?;
    let kubectl = host::kubectl(&cache)?;
    let rkind = build_rkind("release")?;
    say("end-to-end tests");
    let mut e2e = cargo(&[
        "test",
        "--package",
        "rkind-tests",
        "--locked",
        "--test",
        "cluster",
        "--",
    ]);
    e2e.args(["--test-threads", "1", "--nocapture"]);
    if let Some(name) = &args.e2e {
        e2e.arg(name);
    }
    run(e2e.env("RKIND_BIN", rkind).env("KUBECTL_BIN", kubectl))
}

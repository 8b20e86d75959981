//! Our API server and kube-apiserver asked the same; the program is `tests/compare`.

use crate::run::{absolute, build_rkind, cargo, root, run, say};
use anyhow::Result;
use std::path::PathBuf;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The kube-apiserver to compare with
    #[arg(long, value_name = "PATH")]
    kube_apiserver: PathBuf,
    /// The etcd it stores in
    #[arg(long, value_name = "PATH")]
    etcd: PathBuf,
    /// Only requests whose names match: `^pods create spec.containers`
    #[arg(long, value_name = "REGEX")]
    focus: Option<String>,
    /// Requests named of each group of differences
    #[arg(long, value_name = "N", default_value_t = 3)]
    examples: usize,
    /// Where every difference goes, not only the examples
    #[arg(long, value_name = "FILE")]
    every: Option<PathBuf>,
    /// The rkind to compare [default: built from this checkout]
    #[arg(long, value_name = "PATH")]
    rkind: Option<PathBuf>,
    /// Cargo profile of the binary
    #[arg(long, default_value = "dev")]
    profile: String,
}

pub(crate) fn compare(args: &Args) -> Result<()> {
    let rkind = match &args.rkind {
        Some(path) => path.clone(),
        None => build_rkind(&args.profile)?,
    };
    let folder = root().join("target/api-compare");
    let mut compare = cargo(&[
        "run",
        "--locked",
        "--package",
        "rkind-tests",
        "--bin",
        "api-compare",
        "--",
    ]);
    compare.arg("--folder").arg(&folder);
    for (name, path) in [
        ("--rkind", &rkind),
        ("--kube-apiserver", &args.kube_apiserver),
        ("--etcd", &args.etcd),
    ] {
        compare.arg(name).arg(absolute(path)?);
    }
    if let Some(focus) = &args.focus {
        compare.args(["--focus", focus]);
    }
    compare.args(["--examples", &args.examples.to_string()]);
    if let Some(every) = &args.every {
        compare.arg("--every").arg(std::path::absolute(every)?);
    }
    say("asking both servers");
    run(&mut compare)
}

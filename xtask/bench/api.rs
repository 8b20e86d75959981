//! The API server under load. The clients are `tests/bench`, built with
//! optimization: a chore in the dev profile would measure itself.

use crate::run::{absolute, build_rkind, cargo, root, run, say};
use anyhow::Result;
use std::path::PathBuf;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// A kube-apiserver to compare with
    #[arg(long, value_name = "PATH", requires = "etcd")]
    kube_apiserver: Option<PathBuf>,
    /// The etcd it stores in
    #[arg(long, value_name = "PATH", requires = "kube_apiserver")]
    etcd: Option<PathBuf>,
    /// The rkind to measure [default: built from this checkout]
    #[arg(long, value_name = "PATH")]
    rkind: Option<PathBuf>,
    /// Length of each measurement
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Objects at which memory is measured last
    #[arg(long, default_value_t = 100_000)]
    objects: u64,
    /// Cargo profile of the binary
    #[arg(long, default_value = "release")]
    profile: String,
    /// Write the raw figures here as JSON
    #[arg(long, value_name = "PATH")]
    json: Option<PathBuf>,
}

pub(crate) fn measure(args: &Args) -> Result<()> {
    let rkind = match &args.rkind {
        Some(path) => path.clone(),
        None => build_rkind(&args.profile)?,
    };
    let folder = root().join("target/bench-api");
    std::fs::create_dir_all(&folder)?;
    let mut bench = cargo(&[
        "run",
        "--release",
        "--locked",
        "--package",
        "rkind-tests",
        "--bin",
        "api-bench",
        "--",
    ]);
    bench.arg("--folder").arg(&folder);
    let seconds = args.seconds.to_string();
    let objects = args.objects.to_string();
    bench.args(["--seconds", &seconds, "--objects", &objects]);
    let paths = [
        ("--rkind", Some(&rkind)),
        ("--kube-apiserver", args.kube_apiserver.as_ref()),
        ("--etcd", args.etcd.as_ref()),
    ];
    for (name, path) in paths {
        if let Some(path) = path {
            bench.arg(name).arg(absolute(path)?);
        }
    }
    if let Some(path) = &args.json {
        bench.arg("--json").arg(std::path::absolute(path)?);
    }
    say("measuring; nothing else should run on this machine");
    run(&mut bench)
}

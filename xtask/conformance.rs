//! Upstream's conformance tests, built from their published module, against a
//! cluster of two nodes.

mod cluster;
mod images;
mod programs;
mod report;

use crate::host::{self, Consent};
use crate::run::{build_rkind, root, say};
use anyhow::{Context, Result, bail};
use cluster::Cluster;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// What `ConformanceIt` labels a spec with.
const LABEL: &str = "Conformance";
/// For the whole suite; ginkgo's own default is an hour.
const TIMEOUT: Duration = Duration::from_secs(12 * 3600);

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    consent: Consent,
    /// Only tests whose full name matches; several are united
    #[arg(long, value_name = "REGEX")]
    focus: Vec<String>,
    /// Leave out tests whose full name matches
    #[arg(long, value_name = "REGEX")]
    skip: Vec<String>,
    /// Tests run at once; those tagged [Serial] stay alone
    #[arg(long, value_name = "N", default_value_t = 1)]
    procs: u32,
    /// Cargo profile of the binary
    #[arg(long, default_value = "release")]
    profile: String,
    /// The cluster; one that exists already is used as it is and stays
    #[arg(long, value_name = "NAME", default_value = "conformance")]
    cluster: String,
    /// Keep the cluster afterwards
    #[arg(long)]
    keep: bool,
    /// A binary of rkind to use instead of building one
    #[arg(long, value_name = "FILE")]
    rkind: Option<PathBuf>,
}

pub(crate) fn conformance(args: &Args) -> Result<()> {
    host::docker_engine(args.consent)?;
    host::image_tools(args.consent)?;
    let cache = root().join("target/conformance");
    std::fs::create_dir_all(&cache)?;
    let kubectl = host::kubectl(&cache)?;
    let programs = programs::build(&cache)?;
    let images = images::build(&programs)?;
    let rkind = match &args.rkind {
        Some(rkind) => rkind.clone(),
        None => build_rkind(&args.profile)?,
    };
    let cluster = Cluster::of(&rkind, &args.cluster, &cache, args.keep)?;
    cluster.load(&images)?;

    let reports = cache.join("report");
    if reports.exists() {
        std::fs::remove_dir_all(&reports)?;
    }
    std::fs::create_dir_all(&reports)?;
    let log = reports.join("e2e.log");
    say(&format!("conformance tests; their log is {}", log.display()));
    let mut suite = command(args, &programs);
    suite
        .current_dir(&reports)
        .arg(format!("--kubeconfig={}", cluster.kubeconfig.display()))
        .arg(format!("--kubectl-path={}", kubectl.display()))
        .arg(format!("--report-dir={}", reports.display()))
        .args(FLAGS);
    // A failed test is told by the report, and so is what an interrupt left out.
    let ended = cluster.run(&mut suite, &log)?;
    drop(cluster);
    conclude(&reports.join("ginkgo/report.json"), &log, ended)
}

/// Of every run: no cloud, nothing gathered from nodes by ssh.
const FLAGS: [&str; 4] = [
    "--provider=skeleton",
    "--disable-log-dump",
    "--report-complete-ginkgo",
    "--dump-logs-on-failure=true",
];

/// The suite by itself, or under ginkgo's runner where several processes share the tests.
fn command(args: &Args, programs: &programs::Programs) -> Command {
    let alone = args.procs == 1;
    let flag = |name: &str| {
        if alone {
            format!("--ginkgo.{name}")
        } else {
            format!("--{name}")
        }
    };
    let mut command = Command::new(if alone { &programs.suite } else { &programs.ginkgo });
    command
        .arg(flag("no-color"))
        .arg(flag("v"))
        .arg(format!("{}={}s", flag("timeout"), TIMEOUT.as_secs()))
        .arg(format!("{}={LABEL}", flag("label-filter")));
    for (name, expressions) in [("focus", &args.focus), ("skip", &args.skip)] {
        command.args(expressions.iter().map(|e| format!("{}={e}", flag(name))));
    }
    if !alone {
        command
            .arg(format!("--procs={}", args.procs))
            .arg(&programs.suite)
            .arg("--");
    }
    command
}

/// Prints the table; an error unless every test that was chosen passed.
fn conclude(report: &Path, log: &Path, ended: cluster::Ended) -> Result<()> {
    let text = std::fs::read_to_string(report).with_context(|| {
        format!(
            "the suite ended without a report ({ended:?}); its log is {}",
            log.display()
        )
    })?;
    let areas = report::read(&text)?;
    print!("{}", report::table(&areas));
    let failures: Vec<&report::Failure> = areas.values().flat_map(|area| &area.failures).collect();
    for failure in &failures {
        println!("\nFAILED {}\n  {}", failure.name, failure.message);
    }
    let passed: usize = areas.values().map(|area| area.passed).sum();
    match (passed, failures.len(), ended) {
        (0, 0, _) => bail!("no test was chosen; the log is {}", log.display()),
        (_, 0, cluster::Ended::Interrupted) => bail!("interrupted after {passed} tests"),
        (_, 0, cluster::Ended::Failed) => {
            bail!("the suite failed around its tests; the log is {}", log.display())
        }
        (_, 0, cluster::Ended::Passed) => Ok(()),
        (_, failed, _) => bail!(
            "{failed} of {} tests failed; the log is {}",
            passed + failed,
            log.display()
        ),
    }
}

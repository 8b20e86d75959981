//! `rkind start` as a user sees it: until all nodes are Ready, and until a
//! Deployment behind a Service answers its first request.

use crate::host::{self, Consent};
use crate::run::{build_rkind, capture, root, run, say};
use anyhow::{Context, Result};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

const PROFILE: &str = "bench";

/// One replica of busybox's web server behind a Service, which is on every node.
const WORKLOAD: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: bench}
spec:
  selector: {matchLabels: {app: bench}}
  template:
    metadata: {labels: {app: bench}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: httpd
        image: rkind.local/tools:1
        command: [sh, -c, 'echo served >/tmp/index.html; exec httpd -f -p 80 -h /tmp']
---
apiVersion: v1
kind: Service
metadata: {name: bench}
spec: {selector: {app: bench}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: client
    image: rkind.local/tools:1
    command: [sh, -c, 'until timeout 1 wget -q -O- http://bench; do usleep 20000; done; sleep 3600']
"#;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    consent: Consent,
    #[arg(long, default_value_t = 3)]
    nodes: u32,
    /// Starts to measure; the table shows the median
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Cargo profile of the binary
    #[arg(long, default_value = "release")]
    profile: String,
    /// Write the raw figures here as JSON
    #[arg(long)]
    json: Option<PathBuf>,
}

#[derive(Serialize)]
struct Round {
    ready_seconds: f64,
    served_seconds: f64,
    /// node -> process -> resident set in KiB, summed over processes of one name.
    rss_kib: BTreeMap<String, BTreeMap<String, u64>>,
}

#[derive(Serialize)]
struct Report {
    nodes: u32,
    binary_bytes: u64,
    node_image_bytes: u64,
    rounds: Vec<Round>,
}

fn run_rounds(args: &Args, bench: &Bench) -> Result<Vec<Round>> {
    (0..args.rounds.max(1)).map(|_| bench.round(args.nodes)).collect()
}

pub(crate) fn measure(args: &Args) -> Result<()> {
    host::docker_engine(args.consent)?;
    host::image_tools(args.consent)?;
    let cache = root().join("target/e2e");
    std::fs::create_dir_all(&cache)?;
    let home = tempfile::tempdir()?;
    let bench = Bench {
        rkind: build_rkind(&args.profile)?,
        kubectl: host::kubectl(&cache)?,
        home: home.path().into(),
    };
    say("a first start, which makes what is missing and is not measured");
    bench.rkind(&["start", "--nodes", "1"])?;
    bench.rkind(&["delete"])?;
    let rounds = run_rounds(args, &bench);
    bench.rkind(&["delete"])?;
    let report = Report {
        nodes: args.nodes,
        binary_bytes: std::fs::metadata(&bench.rkind)?.len(),
        node_image_bytes: node_image_bytes(&bench.rkind)?,
        rounds: rounds?,
    };
    print(&report);
    if let Some(path) = &args.json {
        std::fs::write(path, serde_json::to_string_pretty(&report)?)
            .with_context(|| format!("could not write {}", path.display()))?;
    }
    Ok(())
}

struct Bench {
    rkind: PathBuf,
    kubectl: PathBuf,
    home: PathBuf,
}

impl Bench {
    fn round(&self, nodes: u32) -> Result<Round> {
        self.rkind(&["delete"])?;
        let started = Instant::now();
        self.rkind(&["start", "--nodes", &nodes.to_string()])?;
        let ready_seconds = started.elapsed().as_secs_f64();
        self.apply(WORKLOAD)?;
        let mut kubectl = self.command(&self.kubectl);
        run(kubectl
            .args(["wait", "pod/client", "--for=condition=Ready", "--timeout=60s"])
            .stdout(Stdio::null()))?;
        let mut logs = self.command(&self.kubectl);
        let mut logs = logs
            .args(["logs", "-f", "client"])
            .stdout(Stdio::piped())
            .spawn()?;
        let first =
            std::io::BufRead::lines(std::io::BufReader::new(logs.stdout.take().context("piped")?)).next();
        let served_seconds = started.elapsed().as_secs_f64();
        logs.kill()?;
        logs.wait()?;
        first.context("the client's log ended without an answer")??;
        Ok(Round {
            ready_seconds,
            served_seconds,
            rss_kib: self.memory()?,
        })
    }

    fn apply(&self, manifest: &str) -> Result<()> {
        let file = self.home.join("workload.yaml");
        std::fs::write(&file, manifest)?;
        run(self
            .command(&self.kubectl)
            .arg("apply")
            .arg("-f")
            .arg(&file)
            .stdout(Stdio::null()))
    }

    fn memory(&self) -> Result<BTreeMap<String, BTreeMap<String, u64>>> {
        let filter = format!("label=dev.rkind.cluster={PROFILE}");
        let names =
            capture(Command::new("docker").args(["ps", "--filter", &filter, "--format", "{{.Names}}"]))?;
        let script = "for p in /proc/[0-9]*; do echo \"$(tr '\\0' ' ' <$p/cmdline 2>/dev/null) \
                      $(sed -n 's/^VmRSS:[^0-9]*\\([0-9]*\\) kB/|\\1/p' $p/status 2>/dev/null)\"; done";
        names
            .lines()
            .map(|node| {
                Ok((
                    node.to_owned(),
                    sum(&capture(
                        Command::new("docker").args(["exec", node, "sh", "-c", script]),
                    )?),
                ))
            })
            .collect()
    }

    fn rkind(&self, args: &[&str]) -> Result<()> {
        run(self
            .command(&self.rkind)
            .args(args)
            .args(["--profile", PROFILE])
            .stdout(Stdio::null()))
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env("KUBECONFIG", self.home.join("kubeconfig"))
            .env("RKIND_HOME", self.home.join("rkind"));
        command
    }
}

/// Lines `command line |KiB` -> KiB by the name a reader knows.
fn sum(listing: &str) -> BTreeMap<String, u64> {
    let mut total = BTreeMap::new();
    for line in listing.lines() {
        let Some((command, kib)) = line.rsplit_once('|') else {
            continue;
        };
        let Ok(kib) = kib.trim().parse::<u64>() else {
            continue;
        };
        let words: Vec<&str> = command.split_whitespace().collect();
        let program = words
            .first()
            .map_or("", |path| path.rsplit('/').next().unwrap_or(path));
        let name = match (program, words.as_slice()) {
            ("rkind", [_, "node", role, ..]) => format!("rkind {role}"),
            (name, _) if name.starts_with("containerd") => name.to_owned(),
            _ => continue,
        };
        *total.entry(name).or_default() += kib;
    }
    total
}

/// Of the node image that this binary starts nodes from.
fn node_image_bytes(rkind: &Path) -> Result<u64> {
    let version = capture(Command::new(rkind).args(["version", "--output", "json"]))?;
    let version: serde_json::Value = serde_json::from_str(&version)?;
    let image = version["nodeImage"]
        .as_str()
        .context("`rkind version` names no node image")?;
    let size = capture(Command::new("docker").args(["image", "inspect", "--format", "{{.Size}}", image]))?;
    Ok(size.trim().parse()?)
}

fn print(report: &Report) {
    let median = |value: fn(&Round) -> f64| {
        let mut values: Vec<f64> = report.rounds.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    println!("| what | figure |\n|---|---:|");
    println!(
        "| {} nodes Ready | {:.2} s |",
        report.nodes,
        median(|round| round.ready_seconds)
    );
    println!(
        "| first request served | {:.2} s |",
        median(|round| round.served_seconds)
    );
    println!("| rkind binary | {:.1} MB |", report.binary_bytes as f64 / 1e6);
    println!("| node image | {:.1} MB |", report.node_image_bytes as f64 / 1e6);
    for (node, processes) in report
        .rounds
        .last()
        .map(|round| &round.rss_kib)
        .into_iter()
        .flatten()
    {
        for (process, kib) in processes {
            println!("| RSS {node}: {process} | {:.1} MiB |", *kib as f64 / 1024.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::sum;

    #[test]
    fn processes_are_summed_by_the_name_a_reader_knows() {
        let listing = "/usr/local/bin/rkind node server --config x  |1000\n\
                       /usr/bin/containerd-shim-runc-v2 -id a  |10\n/usr/bin/containerd-shim-runc-v2 -id b  |20\n\
                       sleep 1 |5\n \n";
        let total = sum(listing);
        assert_eq!(total["rkind server"], 1000);
        assert_eq!(total["containerd-shim-runc-v2"], 30);
        assert_eq!(total.len(), 2);
    }
}

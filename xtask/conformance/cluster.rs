//! The cluster under test: found running, or made and deleted again.

use crate::run::{capture, run, say};
use anyhow::{Context, Result};
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tokio::signal::unix::{SignalKind, signal};

/// Conformance asks for two nodes that take pods.
const NODES: &str = "2";

pub(super) struct Cluster {
    rkind: PathBuf,
    name: String,
    pub(super) kubeconfig: PathBuf,
    /// Deleted when this value goes.
    ours: bool,
}

/// How the suite's process came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Passed,
    Failed,
    Interrupted,
}

impl Cluster {
    /// The cluster of that name, started when there is none.
    pub(super) fn of(rkind: &Path, name: &str, cache: &Path, keep: bool) -> Result<Self> {
        let listed = capture(Command::new(rkind).args(["get", "clusters"]))?;
        let existed = listed.lines().any(|line| line.trim() == name);
        let cluster = Self {
            rkind: rkind.to_owned(),
            name: name.to_owned(),
            kubeconfig: cache.join("kubeconfig"),
            ours: !existed && !keep,
        };
        say(&format!(
            "cluster {name}{}",
            if existed { ", which exists" } else { "" }
        ));
        let mut start = cluster.rkind(&["start"]);
        if !existed {
            start.args(["--nodes", NODES]);
        }
        run(start.arg("--kubeconfig").arg(&cluster.kubeconfig))?;
        Ok(cluster)
    }

    /// Puts the images onto all nodes.
    pub(super) fn load(&self, images: &[String]) -> Result<()> {
        say(&format!("loading {} images", images.len()));
        run(self.rkind(&["image", "load"]).args(images))
    }

    /// Runs the suite to its end with its output in `log`, and a line for each test on
    /// standard error. An interrupt is handed to the suite, which then cleans up.
    pub(super) fn run(&self, suite: &mut Command, log: &Path) -> Result<Ended> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let mut log = File::create(log).with_context(|| format!("create {}", log.display()))?;
        let errors = log.try_clone()?;
        // In a group of its own it hears of an interrupt once, from here.
        let mut suite = suite
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .context("start the suite")?;
        let group = format!("-{}", suite.id());
        let (interrupts, interrupted) = std::sync::mpsc::channel();
        runtime.spawn(async move {
            let (Ok(mut interrupt), Ok(mut terminate)) =
                (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
            else {
                return;
            };
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                let _ = interrupts.send(());
                let _ = Command::new("kill").args(["-INT", "--", &group]).status();
            }
        });
        let output = BufReader::new(suite.stdout.take().context("piped")?);
        for line in output.split(b'\n') {
            let mut line = line?;
            line.push(b'\n');
            log.write_all(&line)?;
            if line.starts_with("•".as_bytes())
                || line.starts_with(b"Will run ")
                || line.starts_with(b"Running in parallel")
            {
                std::io::stderr().write_all(&line)?;
            }
        }
        let status = suite.wait()?;
        Ok(match interrupted.try_recv() {
            Ok(()) => Ended::Interrupted,
            Err(_) if status.success() => Ended::Passed,
            Err(_) => Ended::Failed,
        })
    }

    fn rkind(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.rkind);
        command
            .args(args)
            .args(["--profile", &self.name])
            .env("KUBECONFIG", &self.kubeconfig);
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.ours
            && let Err(error) = run(&mut self.rkind(&["delete"]))
        {
            eprintln!("warning: the cluster {} is still there: {error:#}", self.name);
        }
    }
}

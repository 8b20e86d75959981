//! What the host must have before a cluster can start, and getting it.

use crate::run::{capture, root, run, say, succeeds};
use anyhow::{Context, Result, bail};
use std::fs::File;
use std::io::{IsTerminal, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const ENGINE_LOG: &str = "/var/log/dockerd.log";
const ENGINE_DEADLINE: Duration = Duration::from_secs(60);

/// Whether the host may be changed (packages installed, the engine started).
#[derive(clap::Args, Clone, Copy)]
pub(crate) struct Consent {
    /// Install and start what is missing (Docker's engine, image tools) without asking
    #[arg(long, short)]
    pub(crate) yes: bool,
}

/// A Docker engine that answers, or one line that says what to do.
pub(crate) fn docker_engine(consent: Consent) -> Result<()> {
    if engine_answers() {
        return Ok(());
    }
    if !root_on_debian() {
        bail!(
            "no Docker engine answers: install Docker (https://docs.docker.com/engine/install) and start it, \
             or name a running one in DOCKER_HOST"
        );
    }
    if !on_path("dockerd") || !on_path("docker") {
        ask(
            consent,
            "no Docker engine is installed; install Debian's docker.io",
        )?;
        install(&["docker.io"])?;
    }
    if !engine_answers() {
        ask(consent, "Docker's engine is not running; start it")?;
        start_engine()?;
    }
    Ok(())
}

/// The programs that make a node image or a test image out of Debian packages.
pub(crate) fn image_tools(consent: Consent) -> Result<()> {
    packages(
        consent,
        "images are made with",
        &[("mmdebstrap", "mmdebstrap"), ("busybox", "busybox-static")],
    )
}

/// What the tests of the node's rooms run for real.
pub(crate) fn node_tools(consent: Consent) -> Result<()> {
    let programs = [
        ("containerd", "containerd"),
        ("runc", "runc"),
        ("nft", "nftables"),
        ("ip", "iproute2"),
        ("busybox", "busybox-static"),
    ];
    packages(consent, "the node's rooms are tested with", &programs)
}

/// Sees to `(program, package)` pairs; elsewhere than as root on Debian the
/// step that needs a missing program says so itself.
fn packages(consent: Consent, why: &str, programs: &[(&str, &'static str)]) -> Result<()> {
    let missing: Vec<&str> = programs
        .iter()
        .filter(|(program, _)| !on_path(program))
        .map(|(_, package)| *package)
        .collect();
    if missing.is_empty() || !root_on_debian() {
        return Ok(());
    }
    ask(consent, &format!("{why} {}; install", missing.join(", ")))?;
    install(&missing)
}

/// A kubectl: the one on the PATH, or one built from upstream's Go module.
pub(crate) fn kubectl(cache: &Path) -> Result<PathBuf> {
    if let Some(path) = find("kubectl") {
        return Ok(path);
    }
    let built = cache.join("kubectl");
    if built.exists() {
        return Ok(built);
    }
    if !on_path("go") {
        bail!("kubectl is not on the PATH and neither is Go to build one: install either");
    }
    say("building kubectl from its Go module");
    let module = cache.join("kubectl-module");
    std::fs::create_dir_all(&module).with_context(|| format!("could not create {}", module.display()))?;
    let main = "package main\n\nimport (\n\t\"os\"\n\n\t\"k8s.io/component-base/cli\"\n\t\"k8s.io/kubectl/pkg/cmd\"\n)\n\n\
                func main() { os.Exit(cli.Run(cmd.NewDefaultKubectlCommand())) }\n";
    std::fs::write(module.join("main.go"), main)?;
    std::fs::write(module.join("go.mod"), "module kubectl\n\ngo 1.25\n")?;
    run(Command::new("go").current_dir(&module).args([
        "get",
        "k8s.io/kubectl@v0.35.0",
        "k8s.io/component-base@v0.35.0",
    ]))?;
    run(Command::new("go").current_dir(&module).args(["mod", "tidy"]))?;
    run(Command::new("go")
        .current_dir(&module)
        .args(["build", "-o"])
        .arg(&built)
        .arg("."))?;
    Ok(built)
}

/// Programs that ask the API server, besides kubectl.
pub(crate) struct ApiClients {
    /// The program in `tests/api/go`, built.
    pub(crate) go: PathBuf,
    /// A Python with what `tests/api/python/requirements.txt` names.
    pub(crate) python: PathBuf,
}

/// Builds the Go client, and a Python environment for the Python client, in `cache`.
pub(crate) fn api_clients(cache: &Path) -> Result<ApiClients> {
    let missing: Vec<&str> = ["go", "python3"]
        .into_iter()
        .filter(|program| !on_path(program))
        .collect();
    if !missing.is_empty() {
        bail!(
            "the API is tested with clients in Go and Python, and {} is not on the PATH: install Go 1.25 and \
             Python 3 with venv (Debian: golang-go python3-venv), or pass --unit",
            missing.join(" and ")
        );
    }
    let go = cache.join("apiclient");
    say("building the Go client");
    run(Command::new("go")
        .current_dir(root().join("tests/api/go"))
        .args(["build", "-o"])
        .arg(&go)
        .arg("."))?;
    let environment = cache.join("python");
    let python = environment.join("bin/python");
    let wanted = std::fs::read_to_string(root().join("tests/api/python/requirements.txt"))?;
    let mark = environment.join("requirements.txt");
    if std::fs::read_to_string(&mark).unwrap_or_default() != wanted {
        say("making a Python environment");
        run(Command::new("python3").args(["-m", "venv"]).arg(&environment))
            .context("Python's venv module is needed (Debian: python3-venv)")?;
        run(Command::new(&python)
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
            .args(wanted.split_whitespace()))?;
        std::fs::write(&mark, wanted)?;
    }
    Ok(ApiClients { go, python })
}

fn engine_answers() -> bool {
    succeeds(Command::new("docker").args(["version", "--format", "{{.Server.Version}}"]))
}

/// With systemd by its unit, otherwise as a process of its own that outlives
/// this one.
fn start_engine() -> Result<()> {
    say("starting Docker's engine");
    if Path::new("/run/systemd/system").exists() {
        run(Command::new("systemctl").args(["start", "docker"]))?;
    } else {
        forget_dead("/var/run/docker.pid", "dockerd")?;
        forget_dead("/var/run/docker/containerd/containerd.pid", "containerd")?;
        let log = File::create(ENGINE_LOG).with_context(|| format!("could not create {ENGINE_LOG}"))?;
        Command::new("dockerd")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .spawn()
            .context("could not start dockerd")?;
    }
    let deadline = Instant::now() + ENGINE_DEADLINE;
    while !engine_answers() {
        if Instant::now() > deadline {
            bail!(
                "Docker's engine did not answer within {} s; its log is {ENGINE_LOG}",
                ENGINE_DEADLINE.as_secs()
            );
        }
        // The engine offers nothing to await before its socket exists.
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// Removes a pid file whose process is gone. The engine only asks whether some
/// process has that number, and after a reboot another one may.
fn forget_dead(pid_file: &str, program: &str) -> Result<()> {
    let Ok(pid) = std::fs::read_to_string(pid_file) else {
        return Ok(());
    };
    let name = std::fs::read_to_string(format!("/proc/{}/comm", pid.trim())).unwrap_or_default();
    if name.trim() != program {
        std::fs::remove_file(pid_file).with_context(|| format!("could not remove the stale {pid_file}"))?;
    }
    Ok(())
}

fn install(packages: &[&str]) -> Result<()> {
    say(&format!("installing {}", packages.join(" ")));
    let mut apt = Command::new("apt-get");
    apt.env("DEBIAN_FRONTEND", "noninteractive");
    run(apt.args(["update", "--quiet=2"]))?;
    let mut apt = Command::new("apt-get");
    apt.env("DEBIAN_FRONTEND", "noninteractive");
    run(apt
        .args(["install", "--quiet=2", "--yes", "--no-install-recommends"])
        .args(packages))
}

fn ask(consent: Consent, what: &str) -> Result<()> {
    if consent.yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        bail!("{what}: pass --yes to let this command do it");
    }
    eprint!("{what}? [y/N] ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    if !matches!(answer.trim(), "y" | "Y" | "yes") {
        bail!("{what}: declined");
    }
    Ok(())
}

fn root_on_debian() -> bool {
    let root = capture(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0");
    root && Path::new("/etc/debian_version").exists() && on_path("apt-get")
}

fn on_path(program: &str) -> bool {
    find(program).is_some()
}

fn find(program: &str) -> Option<PathBuf> {
    which::which(program).ok()
}

//! The suite's images, made on this machine under the names that it asks for.

use super::programs::{self, Programs};
use crate::run::{capture, root, run, say};
use anyhow::{Context, Result, bail};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// Of Debian, in upstream's base of agnhost, nginx and nonroot.
const PACKAGES: &str =
    "bind9-dnsutils,ca-certificates,curl,iperf,iproute2,iptables,netcat-openbsd,nginx-light";

/// Stages of the Dockerfile whose reference has another name than they.
const ALIASES: [(&str, &str); 2] = [("agnhost-prev", "agnhost"), ("nginx-new", "nginx")];

const ACCOUNTS: [(&str, &str); 2] = [
    (
        "passwd",
        "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/usr/sbin:/bin/false\n\
         nobody:x:65534:65534:nobody:/home:/bin/false\n",
    ),
    ("group", "root:x:0:\ndaemon:x:1:\nnogroup:x:65534:\n"),
];

/// Builds every image and gives their references.
pub(super) fn build(programs: &Programs) -> Result<Vec<String>> {
    let references = programs::image_references()?;
    let dockerfile = root().join("xtask/conformance/Dockerfile");
    let context = &programs.contents;
    fill(context)?;
    debian(context)?;
    say("making the suite's images");
    for (name, reference) in &references {
        let stage = ALIASES
            .iter()
            .find(|(alias, _)| alias == name)
            .map_or(name.as_str(), |(_, stage)| stage);
        // The classic builder: the newer one is a plugin that an engine may lack.
        let mut docker = Command::new("docker");
        docker
            .env("DOCKER_BUILDKIT", "0")
            .args([
                "build", "--quiet", "--target", stage, "--tag", reference, "--file",
            ])
            .arg(&dockerfile)
            .arg(context);
        capture(&mut docker)?;
    }
    Ok(references.into_values().collect())
}

/// What the Dockerfile copies, besides the programs.
fn fill(context: &Path) -> Result<()> {
    let tests = programs::directory("k8s.io/kubernetes")?.join("test/images");
    let busybox = which::which("busybox").context("images are made with busybox (Debian: busybox-static)")?;
    let suite = root().join("xtask/conformance");
    for (from, name) in [
        (busybox, "busybox"),
        (tests.join("agnhost/porter/localhost.crt"), "localhost.crt"),
        (tests.join("agnhost/porter/localhost.key"), "localhost.key"),
        (tests.join("nautilus/html/nautilus.jpg"), "nautilus.jpg"),
        (tests.join("nautilus/html/data.json"), "data.json"),
        (suite.join("nginx.conf"), "nginx.conf"),
    ] {
        place(&from, &context.join(name))?;
    }
    let accounts = context.join("accounts");
    std::fs::create_dir_all(&accounts)?;
    for (name, text) in ACCOUNTS {
        std::fs::write(accounts.join(name), text)?;
    }
    run(
        Command::new(std::env::var_os("CC").unwrap_or_else(|| "cc".into()))
            .args(["-nostdlib", "-static", "-no-pie", "-s", "-o"])
            .arg(context.join("pause"))
            .arg(root().join("node-image/pause/pause.S")),
    )
}

/// A copy with the same mode. One that is there already stays as it is: the builder asks for times.
fn place(from: &Path, to: &Path) -> Result<()> {
    let bytes = std::fs::read(from).with_context(|| format!("read {}", from.display()))?;
    if std::fs::read(to).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    std::fs::copy(from, to).with_context(|| format!("write {}", to.display()))?;
    // Go keeps its modules read-only, and so would be the copy.
    let mode = std::fs::metadata(from)?.permissions().mode() | 0o200;
    Ok(std::fs::set_permissions(to, Permissions::from_mode(mode))?)
}

/// The packages' file system as an archive.
fn debian(context: &Path) -> Result<()> {
    let archive = context.join("debian.tar");
    let mark = context.join("debian.packages");
    if archive.exists() && std::fs::read_to_string(&mark).is_ok_and(|made| made == PACKAGES) {
        return Ok(());
    }
    say("getting Debian packages for the suite's images");
    run(Command::new("mmdebstrap")
        .args([
            "--quiet",
            "--variant=minbase",
            "--dpkgopt=path-exclude=/usr/share/doc/*",
            "--dpkgopt=path-exclude=/usr/share/locale/*",
            "--dpkgopt=path-exclude=/usr/share/man/*",
        ])
        .arg(format!("--include={PACKAGES}"))
        .arg("bookworm")
        .arg(&archive)
        .stdin(Stdio::null()))?;
    if std::fs::metadata(&archive)?.len() == 0 {
        bail!("mmdebstrap wrote nothing to {}", archive.display());
    }
    Ok(std::fs::write(mark, PACKAGES)?)
}

//! Where Debian's packages come from: this machine's package source, or a
//! container of a Debian image. Both run the same mmdebstrap.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::process::Stdio;

use crate::Error;
use crate::recipe::PACKAGES;

/// How to get the packages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Base {
    /// mmdebstrap on this machine.
    Host,
    /// mmdebstrap in a container of this image, by the docker client.
    Image(String),
}

impl std::fmt::Display for Base {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Base::Host => f.write_str("with mmdebstrap from this machine's package source"),
            Base::Image(image) => write!(f, "with mmdebstrap in a container of {image}"),
        }
    }
}

/// The image whose container makes the packages elsewhere than on Debian.
pub(crate) const DEBIAN_IMAGE: &str = "debian:bookworm-slim";

const SUITE: &str = "bookworm";

/// The first way that this machine allows.
pub fn detect() -> Base {
    if which::which("mmdebstrap").is_ok() {
        Base::Host
    } else {
        Base::Image(DEBIAN_IMAGE.to_owned())
    }
}

/// The packages' files as a tar archive.
pub(crate) async fn rootfs(base: &Base) -> Result<File, Error> {
    let mut command = match base {
        Base::Host => on_host()?,
        Base::Image(image) => in_container(image)?,
    };
    let failed = |e| Error::io("make a temporary file", e);
    let out = tempfile::tempfile().map_err(failed)?;
    let errors = tempfile::tempfile().map_err(failed)?;
    command.stdin(Stdio::null());
    command.stdout(out.try_clone().map_err(failed)?);
    command.stderr(errors.try_clone().map_err(failed)?);
    // Its working directory is ours, so that nothing is left when it is killed.
    let work = tempfile::tempdir().map_err(failed)?;
    command.env("TMPDIR", work.path());
    command.kill_on_drop(true).process_group(0);
    let program = command.as_std().get_program().to_string_lossy().into_owned();
    let status = command
        .status()
        .await
        .map_err(|e| Error::io(format!("run {program}"), e))?;
    if !status.success() {
        return Err(Error::Program {
            program,
            status,
            output: tail(errors),
        });
    }
    let mut out = out;
    out.seek(SeekFrom::Start(0)).map_err(failed)?;
    Ok(out)
}

fn tail(mut file: File) -> String {
    let mut text = Vec::new();
    let _ = file
        .seek(SeekFrom::Start(0))
        .and_then(|_| file.read_to_end(&mut text));
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().filter(|l| !l.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(12)..].join("\n")
}

/// `extract` unpacks packages and runs nothing of them: no root is needed, and
/// neither dpkg, apt nor perl ends up inside.
fn arguments(suite: &str) -> Vec<String> {
    vec![
        "--variant=extract".to_owned(),
        "--format=tar".to_owned(),
        format!("--include={}", PACKAGES.join(",")),
        suite.to_owned(),
        "-".to_owned(),
    ]
}

fn on_host() -> Result<tokio::process::Command, Error> {
    let program = which::which("mmdebstrap").map_err(|_| Error::NoProgram {
        program: "mmdebstrap",
        hint: "sudo apt-get install mmdebstrap, or use --base-image to make it in a container",
    })?;
    let sources = host_sources();
    let mut command = tokio::process::Command::new(program);
    match sources {
        Some((suite, lines)) => command.args(arguments(&suite)).args(lines),
        None => command.args(arguments(SUITE)),
    };
    Ok(command)
}

fn in_container(image: &str) -> Result<tokio::process::Command, Error> {
    let program = ["docker", "podman"]
        .iter()
        .find_map(|name| which::which(name).ok());
    let program = program.ok_or(Error::NoProgram {
        program: "the docker client",
        hint: "install it, or on Debian install mmdebstrap",
    })?;
    let script = format!(
        "{{ apt-get update -q && apt-get install -qy --no-install-recommends mmdebstrap; }} >&2 && \
         exec mmdebstrap --mode=chrootless {}",
        arguments(SUITE).join(" ")
    );
    let mut command = tokio::process::Command::new(program);
    command.args(["run", "--rm", "--network", "host", image, "sh", "-ec", &script]);
    Ok(command)
}

/// Suite and source lines of this machine, when it is a Debian.
fn host_sources() -> Option<(String, Vec<String>)> {
    let release = std::fs::read_to_string("/etc/os-release").ok()?;
    let codename = release
        .lines()
        .find_map(|l| l.strip_prefix("VERSION_CODENAME="))?
        .trim_matches('"');
    let mut files = vec![std::path::PathBuf::from("/etc/apt/sources.list")];
    let directory = std::fs::read_dir("/etc/apt/sources.list.d").ok();
    files.extend(directory.into_iter().flatten().flatten().map(|e| e.path()));
    files.sort();
    let lines: Vec<String> = files
        .iter()
        .filter_map(|path| Some((path, std::fs::read_to_string(path).ok()?)))
        .flat_map(|(path, text)| {
            if path.extension().is_some_and(|e| e == "sources") {
                deb822(&text)
            } else {
                one_line(&text)
            }
        })
        .filter(|source| source.suite == codename || source.suite.starts_with(&format!("{codename}-")))
        .filter(|source| source.components.iter().any(|c| c == "main"))
        .map(|source| format!("deb {} {} main", source.uri, source.suite))
        .collect();
    (!lines.is_empty()).then(|| (codename.to_owned(), lines))
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Source {
    pub uri: String,
    pub suite: String,
    pub components: Vec<String>,
}

/// sources.list(5), one line each.
pub(crate) fn one_line(text: &str) -> Vec<Source> {
    text.lines()
        .filter_map(|line| {
            let rest = line.trim().strip_prefix("deb ")?.trim_start();
            let rest = match rest.strip_prefix('[') {
                Some(options) => options.split_once(']')?.1,
                None => rest,
            };
            let mut words = rest.split_whitespace().map(str::to_owned);
            Some(Source {
                uri: words.next()?,
                suite: words.next()?,
                components: words.collect(),
            })
        })
        .collect()
}

/// sources.list(5), deb822 style.
pub(crate) fn deb822(text: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    for stanza in text.split("\n\n") {
        let field = |name: &str| {
            let value = stanza
                .lines()
                .find_map(|l| l.strip_prefix(name)?.strip_prefix(':'))?;
            Some(value.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        };
        let enabled = field("Enabled").is_none_or(|v| v != ["no"]);
        if !enabled || !field("Types").is_some_and(|t| t.iter().any(|t| t == "deb")) {
            continue;
        }
        let components = field("Components").unwrap_or_default();
        for uri in field("URIs").unwrap_or_default() {
            for suite in field("Suites").unwrap_or_default() {
                sources.push(Source {
                    uri: uri.clone(),
                    suite,
                    components: components.clone(),
                });
            }
        }
    }
    sources
}

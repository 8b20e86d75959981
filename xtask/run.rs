//! Running other programs so that a failure names the whole command.

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The root of the checkout.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask lies in the workspace")
        .to_path_buf()
}

/// A file that was named, from wherever the next program runs.
pub(crate) fn absolute(path: &Path) -> Result<PathBuf> {
    if !path.is_file() {
        bail!("{} is no file", path.display());
    }
    Ok(std::path::absolute(path)?)
}

/// Prints what is about to happen, on stderr.
pub(crate) fn say(what: &str) {
    eprintln!("{} {what}", console::style("==>").cyan().bold());
}

/// Cargo, in the root of the checkout, as the user called it.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()).args(args);
    // What cargo tells this process about itself would make build scripts run anew, and with
    // them most of the dependencies be built anew, whenever a developer calls cargo in between.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_PKG_")
            || name.starts_with("CARGO_MANIFEST_")
            || name.starts_with("CARGO_BIN_")
        {
            command.env_remove(&*name);
        }
    }
    command
}

/// Runs to the end with this process's own output streams.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("could not start {}", describe(command)))?;
    if !status.success() {
        bail!("{} failed: {status}", describe(command));
    }
    Ok(())
}

/// Runs to the end and gives what it wrote to standard output.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("could not start {}", describe(command)))?;
    if !output.status.success() {
        bail!(
            "{} failed: {}\n{}",
            describe(command),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim_end()
        );
    }
    String::from_utf8(output.stdout).with_context(|| format!("{} wrote invalid UTF-8", describe(command)))
}

/// Whether the command runs and succeeds; its output is dropped.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn describe(command: &Command) -> String {
    let words: Vec<_> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    format!("`{}`", words.join(" "))
}

/// The `rkind` binary of the given cargo profile, freshly built.
pub(crate) fn build_rkind(profile: &str) -> Result<PathBuf> {
    say(&format!("building rkind ({profile})"));
    built_rkind(cargo(&["build", "--package", "rkind-cli", "--profile", profile]))
}

/// The `rkind` binary that this call of cargo builds.
pub(crate) fn built_rkind(mut build: Command) -> Result<PathBuf> {
    let output = capture(
        build
            .args(["--message-format", "json-render-diagnostics"])
            .stderr(Stdio::inherit()),
    )?;
    output
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == "rkind" && message["profile"]["test"] == false)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .context("cargo reported no executable named rkind")
}

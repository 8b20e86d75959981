//! `cargo xtask compare`: where our API server answers otherwise than kube-apiserver.
//!
//! ```console
//! $ cargo xtask compare --kube-apiserver PATH --etcd PATH [--focus '^pods create '] [--rkind PATH]
//! ```
//! Both servers start on empty folders, get the same requests in the same order, and their answers
//! are compared: code, Warning headers and body; of a refusal its reason, message and causes. What
//! must differ (uids, times, resource versions, made names and addresses) is evened out first
//! ([`normal`]). Differences are printed grouped by what differs, the most frequent first, with the
//! requests that show them; the exit code is 1 if there is one that `known.txt` has no line for.
//!
//! Requests come in [`script::Script`]s: what is sent alone and in order, and what is sent side by
//! side because it leaves nothing behind (`dryRun=All`). [`writes`] makes them from one valid
//! object of every kind ([`objects`]) and the schema of its type ([`mutate`]): every field removed,
//! set to every kind of bad value, and every field that the object lacks set alone. [`writes`] has
//! no list of rules: what is wrong with a value, upstream's server says. [`reads`] asks for what is
//! refused before any object is looked at.

mod ask;
mod mutate;
mod normal;
mod objects;
mod reads;
mod report;
mod script;
mod writes;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use regex::Regex;
use rkind_tests::arguments;
use rkind_tests::servers::{self, Peer, TOKEN, TOKENS};

struct Options {
    rkind: PathBuf,
    peer: Peer,
    folder: PathBuf,
    focus: Regex,
    /// Examples printed of each group of differences.
    examples: usize,
    /// Where every difference goes, not only the examples.
    every: Option<PathBuf>,
}

fn options() -> Result<Options> {
    let mut values = arguments::named()?;
    let mut take = |name: &str| values.remove(name);
    let focus = take("--focus").unwrap_or_default();
    let every = take("--every").map(PathBuf::from);
    let examples = take("--examples").map_or(Ok(3), |text| text.parse());
    let mut path = |name: &str| {
        take(name)
            .map(PathBuf::from)
            .with_context(|| format!("{name} is missing"))
    };
    let options = Options {
        rkind: path("--rkind")?,
        folder: path("--folder")?,
        peer: Peer {
            kube_apiserver: path("--kube-apiserver")?,
            etcd: path("--etcd")?,
        },
        focus: Regex::new(&focus).context("--focus")?,
        examples: examples.context("--examples")?,
        every,
    };
    match values.keys().next() {
        Some(name) => bail!("{name} is unknown"),
        None => Ok(options),
    }
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let options = options()?;
    let _ = rustls::crypto::ring::default_provider().install_default();
    // The same user on both sides: who asks is written into some objects.
    std::fs::create_dir_all(&options.folder)?;
    let tokens = options.folder.join("tokens");
    std::fs::write(&tokens, TOKENS)?;
    let tokens = format!("--token-auth-file={}", tokens.display());
    // No controllers run beside kube-apiserver that would make accounts for pods.
    let flags = [
        &tokens,
        "--disable-admission-plugins=ServiceAccount",
        "--service-cluster-ip-range=10.96.0.0/16",
    ];
    let mut ours = servers::rkind(&options.folder, &options.rkind, &flags)
        .await
        .context("rkind")?;
    // As clusters are set up: ours always allows what this one forbids by default.
    let theirs = servers::upstream(&options.folder, &options.peer, &["--allow-privileged=true"])
        .await
        .context("kube-apiserver")?;
    // The token alone says who asks, not a certificate.
    ours.target.token = Some(TOKEN.into());
    ours.target.tls = theirs.target.tls.clone();
    let every = options.every.as_ref().map(std::fs::File::create).transpose()?;
    let mut report = report::Report::new(include_str!("known.txt"), every)?;
    // Made one after the other: changed objects are many.
    for mut script in std::iter::once(script::namespace())
        .chain(reads::scripts())
        .chain(writes::scripts())
    {
        if !script.focus(&options.focus) {
            continue;
        }
        let run = script.run([&ours.target, &theirs.target], |case, ours, theirs| {
            report.add(case, ours, theirs)
        });
        tokio::select! {
            done = run => done.with_context(|| script.name.clone())?,
            // What was found so far is worth reading.
            _ = tokio::signal::ctrl_c() => break,
        }
        eprintln!("{}: {}", script.name, report.summary());
    }
    if report.is_empty() {
        bail!(
            "nothing was compared: no case's name matches --focus {}",
            options.focus
        );
    }
    print!("{}", report.text(options.examples));
    Ok(if report.is_clean() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

//! Commands in nodes.

use std::pin::Pin;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

use crate::{ByteStream, Error, Node};

/// A command that shall run.
#[derive(Clone, Debug, Default)]
pub struct ExecSpec {
    pub command: Vec<String>,
    /// `NAME=value`
    pub env: Vec<String>,
    /// [`Exec::stdin`] will be there.
    pub stdin: bool,
    /// A terminal of so many columns and rows; then all output is
    /// [`Output::Stdout`].
    pub tty: Option<(u16, u16)>,
}

impl ExecSpec {
    pub fn new<S: Into<String>>(command: impl IntoIterator<Item = S>) -> Self {
        ExecSpec {
            command: command.into_iter().map(Into::into).collect(),
            ..Default::default()
        }
    }
}

/// A command that runs.
pub struct Exec {
    /// Ends when the command does.
    pub output: BoxStream<'static, Result<Output, Error>>,
    pub stdin: Option<Pin<Box<dyn AsyncWrite + Send>>>,
    pub control: Box<dyn ExecControl>,
}

/// A piece of output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    Stdout(Bytes),
    Stderr(Bytes),
}

/// The command beside its streams.
#[async_trait]
pub trait ExecControl: Send + Sync {
    /// The terminal has another size now.
    async fn resize(&self, columns: u16, rows: u16) -> Result<(), Error>;
    /// Known once [`Exec::output`] has ended.
    async fn exit_code(&self) -> Result<i64, Error>;
}

/// A command that ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Finished {
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    pub code: i64,
}

impl Finished {
    /// Standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

/// Runs a command to its end, whatever its exit code.
///
/// # Errors
/// As [`Node::exec`].
pub async fn run(node: &dyn Node, command: &[&str]) -> Result<Finished, Error> {
    finish(node.exec(ExecSpec::new(command.iter().copied())).await?).await
}

/// Runs a command; a non-zero exit code is an [`Error::Command`] with what it
/// printed.
///
/// # Errors
/// As [`Node::exec`], and [`Error::Command`].
pub async fn run_checked(node: &dyn Node, command: &[&str]) -> Result<Finished, Error> {
    check(node, &command.join(" "), run(node, command).await?)
}

/// As [`run_checked`], with `input` on its standard input.
///
/// # Errors
/// As [`run_checked`]; the command's own complaint wins over a broken pipe.
pub async fn run_with_input(
    node: &dyn Node,
    command: &[&str],
    mut input: ByteStream,
) -> Result<Finished, Error> {
    let mut exec = node
        .exec(ExecSpec {
            stdin: true,
            ..ExecSpec::new(command.iter().copied())
        })
        .await?;
    let stdin = exec.stdin.take();
    let feed = async {
        let Some(mut stdin) = stdin else { return Ok(()) };
        while let Some(chunk) = input.next().await {
            if stdin.write_all(&chunk?).await.is_err() {
                // It ended early: its exit code and words say why.
                return Ok(());
            }
        }
        let _ = stdin.shutdown().await;
        Ok::<(), Error>(())
    };
    let (fed, finished) = futures::join!(feed, finish(exec));
    let finished = check(node, &command.join(" "), finished?)?;
    fed?;
    Ok(finished)
}

async fn finish(mut exec: Exec) -> Result<Finished, Error> {
    let mut finished = Finished::default();
    while let Some(piece) = exec.output.next().await {
        match piece? {
            Output::Stdout(bytes) => finished.stdout.extend_from_slice(&bytes),
            Output::Stderr(bytes) => finished.stderr.extend_from_slice(&bytes),
        }
    }
    finished.code = exec.control.exit_code().await?;
    Ok(finished)
}

fn check(node: &dyn Node, command: &str, finished: Finished) -> Result<Finished, Error> {
    if finished.code == 0 {
        return Ok(finished);
    }
    let words = if finished.stderr.is_empty() {
        &finished.stdout
    } else {
        &finished.stderr
    };
    let text = String::from_utf8_lossy(words);
    let tail: Vec<&str> = text.trim().lines().rev().take(5).collect();
    Err(Error::Command {
        node: node.name().to_owned(),
        command: command.to_owned(),
        code: finished.code,
        stderr: tail.into_iter().rev().collect::<Vec<_>>().join("\n"),
    })
}

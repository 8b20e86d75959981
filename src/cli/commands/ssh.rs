//! `rkind ssh`: a shell or a command in a node. The name is minikube's; there is
//! no SSH in it.

use std::io::IsTerminal as _;
use std::os::fd::AsFd as _;

use futures::StreamExt as _;
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use rkind_driver::{ExecSpec, Output};
use tokio::io::AsyncWriteExt as _;
use tokio::signal::unix::{SignalKind, signal};

use super::Outcome;
use crate::args::{Global, SshArgs};
use crate::context;
use crate::exit::{ExitStatus, Failure};

pub(crate) async fn run(global: &Global, args: SshArgs) -> Outcome {
    let name = context::profile(global, None)?;
    let node = context::clusters(global)
        .await?
        .node(&name, args.node.as_deref())
        .await?;
    let terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let shell = args.command.is_empty();
    let command = match args.command.as_slice() {
        [] => vec!["/bin/sh".to_owned(), "-l".to_owned()],
        // One word is a line for the shell, as ssh would take it.
        [line] => vec!["/bin/sh".to_owned(), "-c".to_owned(), line.clone()],
        words => words.to_vec(),
    };
    let size = || console::Term::stdout().size_checked().unwrap_or((24, 80));
    let tty = (terminal && shell).then(|| {
        let (rows, columns) = size();
        (columns, rows)
    });
    let term = std::env::var("TERM").unwrap_or_else(|_| "xterm".to_owned());
    let spec = ExecSpec {
        command,
        env: vec![format!("TERM={term}")],
        stdin: true,
        tty,
    };
    let mut exec = node.exec(spec).await?;
    let _raw = if tty.is_some() { Some(Raw::enter()?) } else { None };

    if let Some(mut stdin) = exec.stdin.take() {
        tokio::spawn(async move {
            let _ = tokio::io::copy(&mut tokio::io::stdin(), &mut stdin).await;
            let _ = stdin.shutdown().await;
        });
    }
    let mut resized =
        signal(SignalKind::window_change()).map_err(|e| Failure::from_io("watch the terminal's size", e))?;
    loop {
        tokio::select! {
            piece = exec.output.next() => match piece {
                Some(Ok(Output::Stdout(bytes))) => put(&mut std::io::stdout(), &bytes)?,
                Some(Ok(Output::Stderr(bytes))) => put(&mut std::io::stderr(), &bytes)?,
                Some(Err(error)) => return Err(error.into()),
                None => break,
            },
            Some(()) = resized.recv(), if tty.is_some() => {
                let (rows, columns) = size();
                exec.control.resize(columns, rows).await?;
            }
        }
    }
    let code = exec.control.exit_code().await?;
    Ok(match code {
        0 => ExitStatus::Success,
        code => ExitStatus::Code(u8::try_from(code).unwrap_or(1)),
    })
}

fn put(out: &mut impl std::io::Write, bytes: &[u8]) -> Result<(), Failure> {
    out.write_all(bytes)
        .and_then(|()| out.flush())
        .map_err(|e| Failure::from_io("write", e))
}

/// The terminal passes every key on, until this is dropped.
struct Raw(Termios);

impl Raw {
    fn enter() -> Result<Self, Failure> {
        let stdin = std::io::stdin();
        let failed = |e: nix::Error| Failure::from_io("set up the terminal", e.into());
        let before = tcgetattr(stdin.as_fd()).map_err(failed)?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        tcsetattr(stdin.as_fd(), SetArg::TCSANOW, &raw).map_err(failed)?;
        Ok(Raw(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = tcsetattr(std::io::stdin().as_fd(), SetArg::TCSANOW, &self.0);
    }
}

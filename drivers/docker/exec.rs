//! Commands in a node's container.

use std::time::Duration;

use async_trait::async_trait;
use bollard::Docker;
use bollard::container::LogOutput;
use bollard::exec::{CreateExecOptions, ResizeExecOptions, StartExecOptions, StartExecResults};
use futures::StreamExt as _;
use rkind_driver::{Error, Exec, ExecControl, ExecSpec, Output};

use crate::error::{backend, is_not_found, is_not_running};

/// How long the engine may take to notice that a command ended, after its
/// output did.
const EXIT_PATIENCE: Duration = Duration::from_secs(10);

pub(crate) async fn exec(docker: &Docker, node: &str, spec: ExecSpec) -> Result<Exec, Error> {
    let doing = format!("run `{}` in node {node}", spec.command.join(" "));
    let failed = |e: bollard::errors::Error| {
        if is_not_running(&e) {
            Error::NotRunning(node.to_owned())
        } else if is_not_found(&e) {
            Error::NoNode(node.to_owned())
        } else {
            backend(doing.clone(), e)
        }
    };
    let options = CreateExecOptions {
        attach_stdin: Some(spec.stdin),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        tty: Some(spec.tty.is_some()),
        env: Some(spec.env),
        cmd: Some(spec.command),
        ..Default::default()
    };
    let id = docker.create_exec(node, options).await.map_err(failed)?.id;
    let start = StartExecOptions {
        detach: false,
        tty: spec.tty.is_some(),
        output_capacity: Some(64 << 10),
    };
    let started = docker.start_exec(&id, Some(start)).await.map_err(failed)?;
    let control = Control {
        docker: docker.clone(),
        id,
        doing: doing.clone(),
    };
    if let Some((columns, rows)) = spec.tty {
        // A command that has ended already has no size; that is not its failure.
        if let Err(error) = control.resize(columns, rows).await {
            tracing::debug!(%error, "cannot set the terminal's size");
        }
    }
    match started {
        StartExecResults::Attached { output, input } => {
            let output = output
                .map(move |piece| match piece {
                    Ok(LogOutput::StdErr { message }) => Ok(Output::Stderr(message)),
                    Ok(
                        LogOutput::StdOut { message }
                        | LogOutput::Console { message }
                        | LogOutput::StdIn { message },
                    ) => Ok(Output::Stdout(message)),
                    Err(e) => Err(backend(doing.clone(), e)),
                })
                .boxed();
            // Dropping the input closes it; a command without input sees its end at once.
            let stdin = if spec.stdin { Some(input) } else { None };
            Ok(Exec {
                output,
                stdin,
                control: Box::new(control),
            })
        }
        StartExecResults::Detached => Err(Error::backend(doing, "the engine did not attach")),
    }
}

struct Control {
    docker: Docker,
    id: String,
    doing: String,
}

#[async_trait]
impl ExecControl for Control {
    async fn resize(&self, columns: u16, rows: u16) -> Result<(), Error> {
        let options = ResizeExecOptions {
            height: rows,
            width: columns,
        };
        self.docker
            .resize_exec(&self.id, options)
            .await
            .map_err(|e| backend("resize the terminal", e))
    }

    async fn exit_code(&self) -> Result<i64, Error> {
        // The API has no way to wait for a command; its output has ended, so this
        // is a matter of microseconds.
        let ask = async {
            let mut pause = Duration::from_micros(500);
            loop {
                let state = self
                    .docker
                    .inspect_exec(&self.id)
                    .await
                    .map_err(|e| backend(self.doing.clone(), e))?;
                if let (Some(false), Some(code)) = (state.running, state.exit_code) {
                    return Ok(code);
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_millis(50));
            }
        };
        tokio::time::timeout(EXIT_PATIENCE, ask)
            .await
            .map_err(|_| Error::backend(self.doing.clone(), "it closed its output but does not end"))?
    }
}

//! `rkind logs`, `rkind export logs`

use std::io::Write;
use std::path::PathBuf;

use futures::StreamExt as _;
use rkind_driver::{ExecSpec, LogOptions, Node, NodeState, Output};

use super::Outcome;
use crate::args::{Global, LogsArgs};
use crate::exit::{ExitStatus, Failure};
use crate::{context, printer};

pub(crate) async fn run(global: &Global, args: LogsArgs) -> Outcome {
    let name = context::profile(global, None)?;
    let clusters = context::clusters(global).await?;
    let nodes = match &args.node {
        Some(node) => vec![clusters.node(&name, Some(node)).await?],
        None => clusters
            .nodes(&name)
            .await?
            .iter()
            .map(|n| clusters.driver().node(n))
            .collect(),
    };
    let mut out: Box<dyn Write + Send> = match &args.file {
        None => Box::new(std::io::stdout()),
        Some(path) => Box::new(
            std::fs::File::create(path)
                .map_err(|e| Failure::from_io(&format!("write {}", path.display()), e))?,
        ),
    };
    let options = LogOptions {
        follow: args.follow,
        tail: Some(args.length),
    };
    let several = nodes.len() > 1;
    if !args.follow {
        for node in nodes {
            let mut stream = node.logs(options).await?;
            if several {
                write(&mut out, format!("==> {} <==\n", node.name()).as_bytes())?;
            }
            while let Some(piece) = stream.next().await {
                write(&mut out, &piece?)?;
            }
        }
        return Ok(ExitStatus::Success);
    }
    // All at once, each line with its node's name.
    let mut streams = Vec::new();
    for node in &nodes {
        let prefix = if several {
            format!("{} | ", node.name())
        } else {
            String::new()
        };
        let lines = node
            .logs(options)
            .await?
            .map(move |piece| piece.map(|bytes| (prefix.clone(), bytes)));
        streams.push(lines);
    }
    let mut all = futures::stream::select_all(streams);
    while let Some(piece) = all.next().await {
        let (prefix, bytes) = piece?;
        for line in bytes.split_inclusive(|b| *b == b'\n') {
            write(&mut out, prefix.as_bytes())?;
            write(&mut out, line)?;
        }
    }
    Ok(ExitStatus::Success)
}

fn write(out: &mut impl Write, bytes: &[u8]) -> Result<(), Failure> {
    out.write_all(bytes)
        .map_err(|e| Failure::from_io("write the log", e))
}

/// A directory per node: what it printed, and the logs of its pods.
pub(crate) async fn export(global: &Global, name: Option<String>, directory: Option<PathBuf>) -> Outcome {
    let name = context::profile(global, name.as_deref())?;
    let clusters = context::clusters(global).await?;
    let facts = clusters.nodes(&name).await?;
    let directory = directory.unwrap_or_else(|| {
        let stamp = jiff::Timestamp::now().as_second();
        std::env::temp_dir().join(format!("rkind-logs-{name}-{stamp}"))
    });
    for facts in &facts {
        let node = clusters.driver().node(facts);
        let dir = directory.join(&facts.name);
        std::fs::create_dir_all(&dir)
            .map_err(|e| Failure::from_io(&format!("create {}", dir.display()), e))?;
        let mut stream = node.logs(LogOptions::default()).await?;
        let mut file = create(dir.join("node.log"))?;
        while let Some(piece) = stream.next().await {
            write(&mut file, &piece?)?;
        }
        if facts.state == NodeState::Running {
            save_pod_logs(node.as_ref(), dir.join("pods.tar")).await?;
        }
    }
    printer::note(&format!("The logs of cluster {name} are in:"));
    printer::data(&directory.display().to_string());
    Ok(ExitStatus::Success)
}

fn create(path: PathBuf) -> Result<std::fs::File, Failure> {
    std::fs::File::create(&path).map_err(|e| Failure::from_io(&format!("write {}", path.display()), e))
}

async fn save_pod_logs(node: &dyn Node, path: PathBuf) -> Result<(), Failure> {
    let mut file = create(path)?;
    let command = ["sh", "-c", "mkdir -p /var/log/pods && tar -C /var/log -cf - pods"];
    let mut exec = node.exec(ExecSpec::new(command)).await?;
    while let Some(piece) = exec.output.next().await {
        if let Output::Stdout(bytes) = piece? {
            write(&mut file, &bytes)?;
        }
    }
    Ok(())
}

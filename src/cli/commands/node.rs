//! `rkind node …`, `rkind get nodes`, `rkind ip`

use rkind_cluster::StartOptions;
use rkind_config::{NodeResources, parse_cpus, parse_memory};

use super::start::DEFAULT_WAIT;
use super::{Outcome, image};
use crate::args::{Format, Global, NodeAddArgs, OutputArgs};
use crate::exit::{ExitStatus, Failure};
use crate::progress::Progress;
use crate::{context, printer};

pub(crate) async fn add(global: &Global, args: NodeAddArgs) -> Outcome {
    let name = context::profile(global, None)?;
    let flag = |flag: &'static str| move |message: String| Failure::usage(format!("{flag}: {message}"));
    let resources = NodeResources {
        cpus: args
            .cpus
            .as_deref()
            .map(parse_cpus)
            .transpose()
            .map_err(flag("--cpus"))?
            .flatten(),
        memory_bytes: args
            .memory
            .as_deref()
            .map(parse_memory)
            .transpose()
            .map_err(flag("--memory"))?
            .flatten(),
    };
    let clusters = context::clusters(global).await?;
    let options = StartOptions {
        binary: context::own_binary()?,
        wait: Some(DEFAULT_WAIT),
        retain: args.retain,
        keep_context: true,
        kubeconfig: context::locations(None)?,
        cancel: context::wish_to_stop(),
    };
    clusters.nodes(&name).await?;
    let progress = Progress::new();
    let image = image::ensure_ours(clusters.driver(), &progress).await?;
    let node = clusters
        .add_node(&name, resources, &image, &options, &progress)
        .await?;
    progress.line(&format!("Node {node} is ready."));
    Ok(ExitStatus::Success)
}

pub(crate) async fn start(global: &Global, node: &str) -> Outcome {
    let name = context::profile(global, None)?;
    let changed = context::clusters(global).await?.start_node(&name, node).await?;
    printer::note(&format!(
        "Node {node} {}.",
        if changed { "is started" } else { "ran already" }
    ));
    Ok(ExitStatus::Success)
}

pub(crate) async fn stop(global: &Global, node: &str) -> Outcome {
    let name = context::profile(global, None)?;
    let changed = context::clusters(global).await?.stop_node(&name, node).await?;
    printer::note(&format!(
        "Node {node} {}.",
        if changed {
            "is stopped"
        } else {
            "was stopped already"
        }
    ));
    Ok(ExitStatus::Success)
}

pub(crate) async fn delete(global: &Global, node: &str) -> Outcome {
    let name = context::profile(global, None)?;
    context::clusters(global)
        .await?
        .delete_node(&name, node, &Progress::new())
        .await?;
    printer::note(&format!("Node {node} is deleted."));
    Ok(ExitStatus::Success)
}

pub(crate) async fn list(global: &Global, args: OutputArgs) -> Outcome {
    let name = context::profile(global, None)?;
    let nodes = context::clusters(global).await?.nodes(&name).await?;
    match args.output {
        Format::Json => printer::json(&nodes),
        Format::Yaml => printer::yaml(&nodes),
        Format::Text => printer::table(
            &["NAME", "ROLE", "STATUS", "ADDRESS"],
            nodes.into_iter().map(|n| {
                vec![
                    n.name,
                    n.role.to_string(),
                    n.state.as_str().into(),
                    n.address.to_string(),
                ]
            }),
        ),
    }
    Ok(ExitStatus::Success)
}

pub(crate) async fn names(global: &Global, name: Option<String>, all: bool) -> Outcome {
    let clusters = context::clusters(global).await?;
    let nodes = if all {
        clusters.driver().list_nodes(None).await?
    } else {
        clusters
            .nodes(&context::profile(global, name.as_deref())?)
            .await?
    };
    let names: Vec<String> = nodes.into_iter().map(|n| n.name).collect();
    if !names.is_empty() {
        printer::data(&names.join("\n"));
    }
    Ok(ExitStatus::Success)
}

pub(crate) async fn ip(global: &Global, node: Option<String>) -> Outcome {
    let name = context::profile(global, None)?;
    let node = context::clusters(global)
        .await?
        .node(&name, node.as_deref())
        .await?;
    printer::data(&node.address().to_string());
    Ok(ExitStatus::Success)
}

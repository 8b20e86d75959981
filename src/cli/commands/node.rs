//! `rkind node list`, `rkind get nodes`, `rkind ip`

use super::Outcome;
use crate::args::{Format, Global, OutputArgs};
use crate::exit::ExitStatus;
use crate::{context, printer};

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

//! `rkind list`, `rkind profile list`, `rkind get clusters`

use super::Outcome;
use crate::args::{Format, Global, OutputArgs};
use crate::exit::ExitStatus;
use crate::{context, printer};

pub(crate) async fn run(global: &Global, args: OutputArgs) -> Outcome {
    let clusters = context::clusters(global).await?.list().await?;
    match args.output {
        Format::Json => printer::json(&clusters),
        Format::Yaml => printer::yaml(&clusters),
        Format::Text if clusters.is_empty() => {
            printer::note("There are no clusters; `rkind start` makes one.")
        }
        Format::Text => printer::table(
            &["PROFILE", "DRIVER", "STATUS", "NODES", "API SERVER"],
            clusters.into_iter().map(|c| {
                let server = c.server.unwrap_or_default();
                vec![
                    c.name,
                    c.driver,
                    format!("{:?}", c.state),
                    c.nodes.to_string(),
                    server,
                ]
            }),
        ),
    }
    Ok(ExitStatus::Success)
}

pub(crate) async fn names(global: &Global) -> Outcome {
    let names = context::clusters(global).await?.names().await?;
    if names.is_empty() {
        printer::note("No rkind clusters found.");
    } else {
        printer::data(&names.join("\n"));
    }
    Ok(ExitStatus::Success)
}

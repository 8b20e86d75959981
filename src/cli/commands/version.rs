//! `rkind version`

use rkind_driver::run as exec;
use serde::Serialize;

use super::Outcome;
use super::start::KUBERNETES_VERSION;
use crate::args::{Format, Global, VersionArgs};
use crate::exit::ExitStatus;
use crate::{context, printer};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Versions {
    rkind: String,
    kubernetes: String,
    node_image: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    components: Vec<Component>,
}

#[derive(Serialize)]
struct Component {
    name: String,
    version: String,
}

async fn components(global: &Global) -> Result<Vec<Component>, crate::exit::Failure> {
    let name = context::profile(global, None)?;
    let node = context::clusters(global).await?.node(&name, None).await?;
    let mut components = Vec::new();
    for (name, command) in [
        ("containerd", "containerd --version"),
        ("runc", "runc --version"),
        ("nftables", "nft --version"),
    ] {
        let words: Vec<&str> = command.split(' ').collect();
        let text = exec(node.as_ref(), &words).await?.text();
        // The first word that begins like a version.
        let version = text.split_whitespace().find(|w| {
            w.trim_start_matches('v')
                .starts_with(|c: char| c.is_ascii_digit())
        });
        components.push(Component {
            name: name.to_owned(),
            version: version.unwrap_or("unknown").to_owned(),
        });
    }
    Ok(components)
}

pub(crate) async fn run(global: &Global, args: VersionArgs) -> Outcome {
    let rkind = format!("v{}", env!("CARGO_PKG_VERSION"));
    if args.short {
        printer::data(&rkind);
        return Ok(ExitStatus::Success);
    }
    let components = if args.components {
        components(global).await?
    } else {
        Vec::new()
    };
    let versions = Versions {
        rkind,
        kubernetes: KUBERNETES_VERSION.to_owned(),
        node_image: rkind_node_image::reference(),
        components,
    };
    match args.output.output {
        Format::Json => printer::json(&versions),
        Format::Yaml => printer::yaml(&versions),
        Format::Text => {
            let mut lines = vec![
                format!("rkind version: {}", versions.rkind),
                format!("kubernetes: {}", versions.kubernetes),
                format!("node image: {}", versions.node_image),
            ];
            lines.extend(
                versions
                    .components
                    .iter()
                    .map(|c| format!("{}: {}", c.name, c.version)),
            );
            printer::data(&lines.join("\n"));
        }
    }
    Ok(ExitStatus::Success)
}

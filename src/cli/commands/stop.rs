//! `rkind stop`

use super::Outcome;
use crate::args::{Global, StopArgs};
use crate::exit::ExitStatus;
use crate::progress::Progress;
use crate::{context, printer};

pub(crate) async fn run(global: &Global, args: StopArgs) -> Outcome {
    let name = context::profile(global, None)?;
    let clusters = context::clusters(global).await?;
    let names = if args.all {
        clusters.names().await?
    } else {
        vec![name]
    };
    let progress = Progress::new();
    for name in names {
        match clusters.stop(&name, &progress).await? {
            0 => printer::note(&format!("Cluster {name} is stopped already.")),
            _ => printer::note(&format!(
                "Cluster {name} is stopped; `rkind start -p {name}` starts it again."
            )),
        }
    }
    Ok(ExitStatus::Success)
}

//! `rkind delete`

use super::Outcome;
use crate::args::{DeleteArgs, DeleteCommand, DeleteFlags, Global};
use crate::exit::ExitStatus;
use crate::progress::Progress;
use crate::{context, printer};

pub(crate) async fn run(global: &Global, args: DeleteArgs) -> Outcome {
    let (names, flags) = match args.command {
        None => (vec![context::profile(global, None)?], args.flags),
        Some(DeleteCommand::Cluster { name, kubeconfig }) => (
            vec![context::profile(global, name.as_deref())?],
            DeleteFlags {
                all: false,
                kubeconfig,
            },
        ),
        Some(DeleteCommand::Clusters { names, flags }) => {
            for name in &names {
                context::check_name(name)?;
            }
            (names, flags)
        }
    };
    let locations = context::locations(flags.kubeconfig.as_deref())?;
    let clusters = context::clusters(global).await?;
    let names = if flags.all { clusters.names().await? } else { names };
    let progress = Progress::new();
    for name in names {
        if clusters.delete(&name, &locations, &progress).await? {
            printer::note(&format!("Cluster {name} is deleted; nothing of it is left."));
        } else {
            printer::note(&format!("There is no cluster {name:?}."));
        }
    }
    Ok(ExitStatus::Success)
}

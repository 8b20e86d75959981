//! `rkind update-context`, `rkind export kubeconfig`, `rkind get kubeconfig`

use std::path::PathBuf;

use super::Outcome;
use crate::args::Global;
use crate::exit::ExitStatus;
use crate::{context, printer};

pub(crate) async fn export(global: &Global, name: Option<String>, file: Option<PathBuf>) -> Outcome {
    let name = context::profile(global, name.as_deref())?;
    let locations = context::locations(file.as_deref())?;
    let file = context::clusters(global)
        .await?
        .export_kubeconfig(&name, &locations, true)
        .await?;
    printer::note(&format!("Context {name:?} is in {} and current.", file.display()));
    Ok(ExitStatus::Success)
}

pub(crate) async fn print(global: &Global, name: Option<String>, internal: bool) -> Outcome {
    let name = context::profile(global, name.as_deref())?;
    printer::data(
        &context::clusters(global)
            .await?
            .kubeconfig(&name, internal)
            .await?,
    );
    Ok(ExitStatus::Success)
}

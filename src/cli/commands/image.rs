//! `rkind image load`, `rkind image build-node`, and what `start` needs of them.

use std::path::Path;

use rkind_cluster::{Error, Reporter as _, Source};
use rkind_config::Cluster;
use rkind_driver::Driver;
use rkind_node_image::Base;

use super::Outcome;
use crate::args::{BuildArgs, Global, LoadArgs};
use crate::exit::ExitStatus;
use crate::progress::{Progress, duration};
use crate::{context, printer};

/// The node image of a cluster; ours is made when it is missing.
pub(crate) async fn ensure(
    driver: &dyn Driver,
    cluster: &Cluster,
    progress: &Progress,
) -> Result<String, Error> {
    let ours = rkind_node_image::reference();
    for image in cluster.nodes.iter().filter_map(|n| n.image.as_deref()) {
        if image != ours && driver.local_image(image).await?.is_none() {
            return Err(Error::NoImage(image.to_owned()));
        }
    }
    if cluster.nodes.iter().any(|n| n.image.is_none()) {
        ensure_ours(driver, progress).await?;
    }
    Ok(ours)
}

/// The image that this rkind makes, made when it is missing. Another rkind that
/// makes it at the moment is waited for.
pub(crate) async fn ensure_ours(driver: &dyn Driver, progress: &Progress) -> Result<String, Error> {
    let ours = rkind_node_image::reference();
    if driver.local_image(&ours).await?.is_some() {
        return Ok(ours);
    }
    let failed = |source: rkind_node_image::Error| Error::MakeImage {
        hint: source.hint(),
        source: source.into(),
    };
    let _lock = rkind_node_image::lock().await.map_err(failed)?;
    if driver.local_image(&ours).await?.is_none() {
        progress.detail(&format!("making {ours}, once"));
        let told = |text: String| progress.detail(&text);
        rkind_node_image::build(driver, rkind_node_image::detect(), &ours, &told)
            .await
            .map_err(failed)?;
    }
    Ok(ours)
}

pub(crate) async fn build(global: &Global, args: BuildArgs) -> Outcome {
    let driver = context::driver(global).await?;
    let reference = args.image.unwrap_or_else(rkind_node_image::reference);
    if !args.force
        && let Some(image) = driver.local_image(&reference).await?
    {
        printer::note(&format!(
            "{reference} is there already ({}).",
            megabytes(image.size_bytes)
        ));
        printer::data(&reference);
        return Ok(ExitStatus::Success);
    }
    let base = args.base_image.map_or_else(rkind_node_image::detect, Base::Image);
    let progress = Progress::new();
    let step = format!("Making the node image {reference}");
    let started = std::time::Instant::now();
    progress.begin(&step);
    let told = |text: String| progress.detail(&text);
    let cancel = context::wish_to_stop();
    let built = tokio::select! {
        built = rkind_node_image::build(driver.as_ref(), base, &reference, &told) => built,
        () = cancel.cancelled() => {
            progress.end(&step, started.elapsed(), false);
            return Err(Error::Interrupted.into());
        }
    };
    progress.end(&step, started.elapsed(), built.is_ok());
    let built = built?;
    progress.line(&format!(
        "{} has {}, made in {}.",
        built.reference,
        megabytes(built.size_bytes),
        duration(built.took)
    ));
    printer::data(&built.reference);
    Ok(ExitStatus::Success)
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

pub(crate) async fn load(global: &Global, args: LoadArgs) -> Outcome {
    let name = context::profile(global, args.name.as_deref())?;
    let clusters = context::clusters(global).await?;
    let progress = Progress::new();
    for image in args.images {
        // A file is meant where there is one that is called so.
        let source = match Path::new(&image) {
            path if path.is_file() => Source::Archive(path.to_owned()),
            _ => Source::Engine(image.clone()),
        };
        let loaded = clusters
            .load_image(&name, &source, &args.nodes, &progress)
            .await?;
        if !loaded.loaded.is_empty() {
            progress.line(&format!("{image} is loaded into {}.", loaded.loaded.join(", ")));
        }
        if !loaded.present.is_empty() {
            progress.line(&format!("{image} was present in {}.", loaded.present.join(", ")));
        }
    }
    Ok(ExitStatus::Success)
}

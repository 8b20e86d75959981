//! Files that many nodes have, in an image: uploaded once, shared by all layers'
//! users, instead of once per node.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bollard::models::{ContainerConfig, ContainerCreateBody};
use bollard::query_parameters::{
    CommitContainerOptionsBuilder, CreateContainerOptions, ListImagesOptionsBuilder,
    RemoveImageOptionsBuilder,
};
use rkind_driver::{Content, Driver as _, Error, File};

use crate::error::{backend, is_not_found};
use crate::node::upload;
use crate::{DockerDriver, remove_container};

/// On every image made here.
const LABEL: &str = "dev.rkind.baked";
const REPOSITORY: &str = "rkind.local/node-baked";
/// An image that nobody uses is deleted only when it is this old: another
/// process may be about to use it.
const KEEP: Duration = Duration::from_secs(600);

/// Name of the image with these files: by the base, and by path, size and time
/// of each file.
fn reference(base: &str, files: &[File]) -> Result<String, Error> {
    let mut hash = DefaultHasher::new();
    base.hash(&mut hash);
    for file in files {
        (&file.path, file.mode).hash(&mut hash);
        match &file.content {
            Content::Bytes(bytes) => bytes.hash(&mut hash),
            Content::Path(path) => {
                let failed = |source| Error::ReadFile {
                    path: path.clone(),
                    source,
                };
                let meta = std::fs::metadata(path).map_err(failed)?;
                (path, meta.len(), meta.modified().map_err(failed)?).hash(&mut hash);
            }
        }
    }
    Ok(format!("{REPOSITORY}:{:016x}", hash.finish()))
}

pub(crate) async fn bake(driver: &DockerDriver, image: &str, files: &[File]) -> Result<String, Error> {
    let base = driver
        .local_image(image)
        .await?
        .ok_or_else(|| Error::NoImage(image.to_owned()))?;
    let reference = reference(&base.id, files)?;
    if driver.local_image(&reference).await?.is_some() {
        return Ok(reference);
    }
    let doing = || "put the binary into an image".to_owned();
    let body = ContainerCreateBody {
        image: Some(image.to_owned()),
        // It never runs; an engine wants to know what would.
        cmd: Some(vec!["none".to_owned()]),
        labels: Some(HashMap::from([(LABEL.to_owned(), "making".to_owned())])),
        ..Default::default()
    };
    let made = driver
        .docker
        .create_container(None::<CreateContainerOptions>, body)
        .await;
    let id = made.map_err(|e| backend(doing(), e))?.id;
    let result = async {
        upload(&driver.docker, &id, files.to_vec()).await?;
        let (repository, tag) = reference.rsplit_once(':').unwrap_or((&reference, "latest"));
        let options = CommitContainerOptionsBuilder::default()
            .container(&id)
            .repo(repository)
            .tag(tag)
            .build();
        let config = ContainerConfig {
            labels: Some(HashMap::from([(LABEL.to_owned(), "yes".to_owned())])),
            ..Default::default()
        };
        driver
            .docker
            .commit_container(options, config)
            .await
            .map_err(|e| backend(doing(), e))?;
        Ok(())
    }
    .await;
    let removed = remove_container(&driver.docker, &id).await;
    result?;
    removed.map_err(|e| backend(doing(), e))?;
    delete_others(driver, &reference).await;
    Ok(reference)
}

/// Deletes older images of this kind that no container uses. It may fail: the
/// next time will do.
async fn delete_others(driver: &DockerDriver, reference: &str) {
    let filters = HashMap::from([("label".to_owned(), vec![LABEL.to_owned()])]);
    let options = ListImagesOptionsBuilder::default().filters(&filters).build();
    let Ok(images) = driver.docker.list_images(Some(options)).await else {
        return;
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    for image in images {
        let age = now.saturating_sub(Duration::from_secs(
            u64::try_from(image.created).unwrap_or_default(),
        ));
        if image.repo_tags.iter().any(|tag| tag == reference) || age < KEEP {
            continue;
        }
        let options = RemoveImageOptionsBuilder::default().force(false).build();
        match driver.docker.remove_image(&image.id, Some(options), None).await {
            Ok(_) => {}
            Err(error) if is_not_found(&error) => {}
            Err(error) => tracing::debug!(image = image.id, %error, "an older image stays"),
        }
    }
}

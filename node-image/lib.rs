//! What is inside a node's image, and how it is put together.
//!
//! In: a choice of where Debian's packages come from. Out: an image in the
//! engine's store whose tag is a digest of its recipe, so that a changed recipe
//! is another image.
//!
//! Inside are containerd, runc, nft, busybox and certificates, our own pause
//! and tools images, and no rkind: that is handed to each node at its start. It
//! knows no cluster.

mod applets;
mod archive;
mod assemble;
mod base;
mod error;
mod recipe;
mod seed;
mod unpack;

#[cfg(test)]
mod tests;

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use rkind_driver::{ByteStream, Driver};
use tokio::io::AsyncReadExt as _;

pub use base::{Base, detect};
pub use error::Error;
pub use recipe::{digest, reference};
pub use seed::seed_var;

/// containerd's configuration, which PID 1 adjusts to its host.
pub const CONTAINERD_CONFIG: &str = include_str!("files/containerd.toml");

/// The program of the pause image: static, without a C library.
pub(crate) const PAUSE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/pause"));

/// What was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    pub reference: String,
    /// Of the unpacked file system.
    pub size_bytes: u64,
    pub took: Duration,
    pub base: Base,
}

/// Makes the image and loads it into the driver's engine. `progress` is told
/// what happens, in one line each.
///
/// Our own images are unpacked once, here, by a containerd of the image itself in
/// a node that lives for a second; every node's `/var` then begins with them
/// ([`seed_var`]).
///
/// # Errors
/// [`Error`] with the output of what failed.
pub async fn build(
    driver: &dyn Driver,
    base: Base,
    reference: &str,
    progress: &(dyn Fn(String) + Send + Sync),
) -> Result<Built, Error> {
    let started = std::time::Instant::now();
    progress(format!("getting packages {base}"));
    let rootfs = base::rootfs(&base).await?;
    progress("putting the file system together".to_owned());
    let unpacking = format!("{reference}-unpacking");
    let name = unpacking.clone();
    let (stats, mut layers, file) = blocking("put the file system together", move || {
        let mut layer = temporary()?;
        let stats = assemble::assemble(rootfs, &mut layer)?;
        let mut layers = vec![layer];
        let file = archive::node_image(&name, &mut layers)?;
        Ok((stats, layers, file))
    })
    .await?;
    let load = |reference: String, file| async move {
        driver
            .import_images(stream(file))
            .await
            .map_err(|source| Error::Load { reference, source })
    };
    load(unpacking.clone(), file).await?;
    progress("unpacking the images inside".to_owned());
    let unpacked = unpack::unpack(driver, &unpacking).await;
    let name = reference.to_owned();
    let file = match unpacked {
        Ok(layer) => {
            layers.push(layer);
            blocking("write the image", move || archive::node_image(&name, &mut layers)).await
        }
        Err(error) => Err(error),
    };
    let loaded = match file {
        Ok(file) => {
            progress(format!("loading {reference} ({} MB)", stats.bytes / 1_000_000));
            load(reference.to_owned(), file).await
        }
        Err(error) => Err(error),
    };
    let deleted = driver.delete_image(&unpacking).await;
    loaded?;
    deleted.map_err(|source| Error::Load {
        reference: unpacking,
        source,
    })?;
    let size = driver
        .local_image(reference)
        .await
        .ok()
        .flatten()
        .map(|image| image.size_bytes);
    Ok(Built {
        reference: reference.to_owned(),
        size_bytes: size.unwrap_or(stats.bytes),
        took: started.elapsed(),
        base,
    })
}

/// Held while the image is made on this machine.
#[derive(Debug)]
pub struct Lock {
    path: std::path::PathBuf,
    _file: std::fs::File,
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Whoever waits has the same file open and comes next; whoever comes later
        // finds the image made.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Waits for another process that makes the image, if there is one. The lock ends
/// with its process.
///
/// # Errors
/// [`Error::Io`]
pub async fn lock() -> Result<Lock, Error> {
    let path = std::env::temp_dir().join("rkind-node-image.lock");
    let failed = |e| Error::io("wait for another rkind that makes the node image", e);
    let name = path.clone();
    let locked = tokio::task::spawn_blocking(move || {
        let file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&name)?;
        file.lock()?;
        Ok(file)
    });
    let file = locked
        .await
        .map_err(std::io::Error::other)
        .and_then(|result| result)
        .map_err(failed)?;
    Ok(Lock { path, _file: file })
}

fn temporary() -> Result<std::fs::File, Error> {
    tempfile::tempfile().map_err(|e| Error::io("make a temporary file", e))
}

async fn blocking<T: Send + 'static>(
    doing: &'static str,
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| Error::io(doing, std::io::Error::other(e)))?
}

/// A file's bytes from where it stands.
fn stream(file: std::fs::File) -> ByteStream {
    let file = tokio::fs::File::from_std(file);
    futures::stream::unfold(Some(file), |file| async {
        let mut file = file?;
        let mut buffer = vec![0; 1 << 20];
        match file.read(&mut buffer).await {
            Ok(0) => None,
            Ok(n) => {
                buffer.truncate(n);
                Some((Ok(Bytes::from(buffer)), Some(file)))
            }
            Err(e) => Some((Err(rkind_driver::Error::backend("read the image", e)), None)),
        }
    })
    .boxed()
}

//! Archives of images, as engines and other tools write them, and how to leave layers out.
//!
//! An archive is `docker save`'s format (a `manifest.json` that names files) or an OCI image layout
//! (files named by digest). The first is written anew as the second, because there a reader
//! recognises the layers that it has already.
//!
//! Sources: the docker image specification v1.2, the OCI image layout specification v1.0.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt as _;
use rkind_driver::ByteStream;
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};

/// Files of an archive that are read whole: manifests and configurations.
const SMALL: u64 = 4 << 20;
const CHUNK: u64 = 1 << 20;
const BLOCK: u64 = 512;

/// What containerd calls the name of an image in an index.
const NAME: &str = "io.containerd.image.name";

/// A file in the archive.
#[derive(Clone, Copy, Debug)]
struct Span {
    offset: u64,
    size: u64,
}

#[derive(Debug)]
struct Layer {
    digest: String,
    span: Span,
}

#[derive(Debug)]
struct Image {
    names: Vec<String>,
    config: Bytes,
    layers: Vec<Layer>,
}

/// An archive whose layers are known by digest.
#[derive(Debug)]
pub(crate) struct Archive {
    file: Arc<File>,
    images: Vec<Image>,
}

/// An entry of `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

#[derive(Deserialize)]
struct Config {
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    diff_ids: Vec<String>,
}

/// A piece of the archive that is written.
enum Piece {
    Bytes(Bytes),
    Span(Span),
}

impl Archive {
    /// Reads the table of contents. `None` for what is no such archive, or one whose layers are
    /// compressed: their digests in a node are not those that the image's configuration names.
    pub(crate) fn read(mut file: File) -> Option<Self> {
        let mut files = contents(&mut file).ok()?;
        let saved: Vec<Saved> =
            serde_json::from_slice(&small(&mut file, files.get("manifest.json")?)?).ok()?;
        let mut images = Vec::new();
        for image in saved {
            let config = small(&mut file, files.get(&image.config)?)?;
            let digests = serde_json::from_slice::<Config>(&config).ok()?.rootfs.diff_ids;
            if digests.len() != image.layers.len() {
                return None;
            }
            let mut layers = Vec::new();
            for (digest, path) in digests.into_iter().zip(&image.layers) {
                let span = *files.get(path)?;
                if is_compressed(&mut file, span) {
                    return None;
                }
                layers.push(Layer { digest, span });
            }
            images.push(Image {
                names: image.repo_tags.unwrap_or_default(),
                config,
                layers,
            });
        }
        files.clear();
        Some(Archive {
            file: Arc::new(file),
            images,
        })
    }

    /// Digests of the layers of all images in it.
    pub(crate) fn layers(&self) -> BTreeSet<&str> {
        let layers = self.images.iter().flat_map(|image| &image.layers);
        layers.map(|layer| layer.digest.as_str()).collect()
    }

    /// The images as an OCI layout without the layers in `present`; `full_name` completes a name.
    pub(crate) fn without(
        &self,
        present: &BTreeSet<String>,
        full_name: impl Fn(&str) -> String,
    ) -> ByteStream {
        let mut pieces = Vec::new();
        let mut written = BTreeSet::new();
        let mut manifests = Vec::new();
        for image in &self.images {
            for layer in &image.layers {
                if !present.contains(&layer.digest) && written.insert(layer.digest.clone()) {
                    pieces.push(Piece::Bytes(header(&blob(&layer.digest), layer.span.size)));
                    pieces.push(Piece::Span(layer.span));
                    pieces.push(Piece::Bytes(padding(layer.span.size)));
                }
            }
            let descriptor = |kind: &str, digest: &str, size: u64| json!({"mediaType": kind, "digest": digest, "size": size});
            let layers = image.layers.iter().map(|layer| {
                descriptor(
                    "application/vnd.oci.image.layer.v1.tar",
                    &layer.digest,
                    layer.span.size,
                )
            });
            let manifest = json!({
                "schemaVersion": 2,
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": descriptor("application/vnd.oci.image.config.v1+json", &digest(&image.config), image.config.len() as u64),
                "layers": layers.collect::<Vec<_>>(),
            });
            let manifest = Bytes::from(manifest.to_string());
            for content in [&image.config, &manifest] {
                if written.insert(digest(content)) {
                    pieces.extend(small_file(&blob(&digest(content)), content.clone()));
                }
            }
            for name in &image.names {
                let mut entry = descriptor(
                    "application/vnd.oci.image.manifest.v1+json",
                    &digest(&manifest),
                    manifest.len() as u64,
                );
                entry["annotations"] = json!({NAME: full_name(name)});
                manifests.push(entry);
            }
        }
        let layout = json!({"imageLayoutVersion": "1.0.0"}).to_string();
        pieces.extend(small_file("oci-layout", layout.into()));
        let index = json!({"schemaVersion": 2, "manifests": manifests}).to_string();
        pieces.extend(small_file("index.json", index.into()));
        // An archive ends with two empty blocks.
        pieces.push(Piece::Bytes(vec![0; 2 * BLOCK as usize].into()));
        stream(self.file.clone(), pieces)
    }
}

/// Offsets and sizes of the files in an archive; links lead to what they name.
fn contents(file: &mut File) -> std::io::Result<BTreeMap<String, Span>> {
    let (mut files, mut links) = (BTreeMap::new(), Vec::new());
    let mut archive = tar::Archive::new(file);
    for entry in archive.entries_with_seek()? {
        let entry = entry?;
        let path = entry.path()?.into_owned();
        let name = path.to_string_lossy().into_owned();
        match entry.header().entry_type() {
            tar::EntryType::Regular => {
                let span = Span {
                    offset: entry.raw_file_position(),
                    size: entry.size(),
                };
                files.insert(name, span);
            }
            tar::EntryType::Symlink | tar::EntryType::Link => {
                if let Some(target) = entry.link_name()? {
                    links.push((name, resolve(path.parent().unwrap_or(Path::new("")), &target)));
                }
            }
            _ => {}
        }
    }
    for (name, target) in links {
        if let Some(span) = files.get(&target).copied() {
            files.insert(name, span);
        }
    }
    Ok(files)
}

/// A relative link's target, from the archive's root.
fn resolve(folder: &Path, target: &Path) -> String {
    let mut parts: Vec<_> = folder.components().collect();
    for part in target.components() {
        match part {
            std::path::Component::ParentDir => {
                parts.pop();
            }
            std::path::Component::CurDir => {}
            part => parts.push(part),
        }
    }
    let path: std::path::PathBuf = parts.into_iter().collect();
    path.to_string_lossy().into_owned()
}

fn small(file: &mut File, span: &Span) -> Option<Bytes> {
    let mut content = vec![0; usize::try_from(span.size.min(SMALL + 1)).ok()?];
    if span.size > SMALL {
        return None;
    }
    file.seek(SeekFrom::Start(span.offset)).ok()?;
    file.read_exact(&mut content).ok()?;
    Some(content.into())
}

/// By the first bytes of gzip and zstd.
fn is_compressed(file: &mut File, span: Span) -> bool {
    let mut start = [0; 4];
    let length = usize::try_from(span.size.min(4)).unwrap_or(0);
    let read = file
        .seek(SeekFrom::Start(span.offset))
        .and_then(|_| file.read_exact(&mut start[..length]));
    read.is_err() || start.starts_with(&[0x1f, 0x8b]) || start == [0x28, 0xb5, 0x2f, 0xfd]
}

fn digest(content: &[u8]) -> String {
    let hex: String = Sha256::digest(content)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("sha256:{hex}")
}

/// Where an OCI layout keeps what has this digest.
fn blob(digest: &str) -> String {
    format!("blobs/{}", digest.replacen(':', "/", 1))
}

fn header(name: &str, size: u64) -> Bytes {
    let mut header = tar::Header::new_ustar();
    // The names are digests and constants of this file: all short.
    let _ = header.set_path(name);
    header.set_size(size);
    header.set_mode(0o644);
    header.set_cksum();
    Bytes::copy_from_slice(header.as_bytes())
}

/// What fills a file's last block.
fn padding(size: u64) -> Bytes {
    let rest = size.next_multiple_of(BLOCK) - size;
    vec![0; usize::try_from(rest).unwrap_or(0)].into()
}

fn small_file(name: &str, content: Bytes) -> [Piece; 3] {
    let size = content.len() as u64;
    [header(name, size), content, padding(size)].map(Piece::Bytes)
}

fn stream(file: Arc<File>, pieces: Vec<Piece>) -> ByteStream {
    let pieces = pieces.into_iter().flat_map(|piece| match piece {
        Piece::Bytes(bytes) => vec![Piece::Bytes(bytes)],
        Piece::Span(span) => cut(span),
    });
    let read = move |piece| {
        let file = file.clone();
        async move {
            match piece {
                Piece::Bytes(bytes) => Ok(bytes),
                Piece::Span(span) => tokio::task::spawn_blocking(move || read_span(&file, span))
                    .await
                    .map_err(|e| rkind_driver::Error::backend("read the image", e))?
                    .map_err(|e| rkind_driver::Error::backend("read the image", e)),
            }
        }
    };
    futures::stream::iter(pieces.collect::<Vec<_>>())
        .then(read)
        .boxed()
}

fn cut(span: Span) -> Vec<Piece> {
    let starts = (0..span.size).step_by(usize::try_from(CHUNK).unwrap_or(usize::MAX));
    let piece = |start| {
        Piece::Span(Span {
            offset: span.offset + start,
            size: CHUNK.min(span.size - start),
        })
    };
    starts.map(piece).collect()
}

fn read_span(file: &File, span: Span) -> std::io::Result<Bytes> {
    use std::os::unix::fs::FileExt as _;
    let mut buffer = vec![0; usize::try_from(span.size).unwrap_or(0)];
    file.read_exact_at(&mut buffer, span.offset)?;
    Ok(buffer.into())
}

#[cfg(test)]
mod tests;

//! Image archives in the form that `docker save` writes, which every engine and
//! containerd read.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::applets::APPLETS;
use crate::{Error, PAUSE, recipe};

/// What an image's configuration says.
struct Config<'a> {
    reference: &'a str,
    entrypoint: &'a [&'a str],
    command: &'a [&'a str],
    labels: BTreeMap<&'a str, String>,
    /// `uid[:gid]`
    user: &'a str,
}

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The node image around its layers.
pub(crate) fn node_image(reference: &str, layers: &mut [File]) -> Result<File, Error> {
    let failed = |e| Error::io("write the image", e);
    let mut out = tempfile::tempfile().map_err(failed)?;
    let config = Config {
        reference,
        entrypoint: &["/usr/local/bin/rkind", "node", "init"],
        command: &[],
        labels: BTreeMap::from([(rkind_driver::labels::RECIPE, recipe::digest())]),
        user: "",
    };
    write(&config, layers, &mut out).map_err(failed)?;
    out.seek(SeekFrom::Start(0)).map_err(failed)?;
    Ok(out)
}

/// The sandbox image under upstream's name.
pub(crate) fn pause() -> std::io::Result<Vec<u8>> {
    let mut layer = tar::Builder::new(Vec::new());
    file(&mut layer, "pause", 0o755, PAUSE)?;
    let config = Config {
        reference: rkind_config::paths::PAUSE_IMAGE,
        entrypoint: &["/pause"],
        command: &[],
        labels: BTreeMap::new(),
        user: "65535:65535",
    };
    in_memory(&config, layer)
}

/// busybox, with every applet by name.
pub(crate) fn tools(busybox: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut layer = tar::Builder::new(Vec::new());
    for (path, mode) in [
        ("bin", 0o755),
        ("etc", 0o755),
        ("root", 0o700),
        ("tmp", 0o1777),
        ("var", 0o755),
    ] {
        directory(&mut layer, path, mode)?;
    }
    file(&mut layer, "bin/busybox", 0o755, busybox)?;
    for applet in APPLETS {
        link(&mut layer, &format!("bin/{applet}"), "busybox")?;
    }
    for (path, content) in &recipe::FILES[..3] {
        file(&mut layer, path, 0o644, content.as_bytes())?;
    }
    let config = Config {
        reference: rkind_config::paths::TOOLS_IMAGE,
        entrypoint: &[],
        command: &["/bin/sh"],
        labels: BTreeMap::new(),
        user: "",
    };
    in_memory(&config, layer)
}

fn in_memory(config: &Config<'_>, layer: tar::Builder<Vec<u8>>) -> std::io::Result<Vec<u8>> {
    let layer = std::io::Cursor::new(layer.into_inner()?);
    let mut out = Vec::new();
    write(config, &mut [layer], &mut out)?;
    Ok(out)
}

/// `manifest.json`, the configuration and the layers. Times are zero, so that
/// the same content is the same image.
fn write<L: Read + Seek>(config: &Config<'_>, layers: &mut [L], out: impl Write) -> std::io::Result<()> {
    let mut diff_ids = Vec::with_capacity(layers.len());
    for layer in layers.iter_mut() {
        diff_ids.push(hex_digest(layer)?);
    }
    let mut runtime = json!({"Env": [PATH], "Labels": config.labels, "User": config.user, "WorkingDir": "/"});
    if !config.entrypoint.is_empty() {
        runtime["Entrypoint"] = json!(config.entrypoint);
    }
    if !config.command.is_empty() {
        runtime["Cmd"] = json!(config.command);
    }
    let image: Value = json!({
        "architecture": if std::env::consts::ARCH == "aarch64" { "arm64" } else { "amd64" },
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": runtime,
        "rootfs": {"type": "layers", "diff_ids": diff_ids.iter().map(|d| format!("sha256:{d}")).collect::<Vec<_>>()},
        "history": diff_ids
            .iter()
            .map(|_| json!({"created": "1970-01-01T00:00:00Z", "created_by": "rkind"}))
            .collect::<Vec<_>>(),
    });
    let image = serde_json::to_vec(&image)?;
    let config_name = format!("{}.json", hex_digest(&mut std::io::Cursor::new(&image))?);
    let layer_names: Vec<String> = diff_ids.iter().map(|d| format!("{d}/layer.tar")).collect();
    let manifest = serde_json::to_vec(&json!([
        {"Config": config_name, "RepoTags": [config.reference], "Layers": layer_names}
    ]))?;
    let mut archive = tar::Builder::new(out);
    file(&mut archive, "manifest.json", 0o644, &manifest)?;
    file(&mut archive, &config_name, 0o644, &image)?;
    for (name, layer) in layer_names.iter().zip(layers) {
        let size = layer.seek(SeekFrom::End(0))?;
        layer.seek(SeekFrom::Start(0))?;
        archive.append_data(&mut header(tar::EntryType::Regular, 0o644, size), name, layer)?;
    }
    archive.into_inner()?.flush()
}

fn hex_digest(from: &mut (impl Read + Seek)) -> std::io::Result<String> {
    from.seek(SeekFrom::Start(0))?;
    let mut hash = Sha256::new();
    std::io::copy(from, &mut hash)?;
    Ok(hash.finalize().iter().map(|b| format!("{b:02x}")).collect())
}

pub(crate) fn header(kind: tar::EntryType, mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

pub(crate) fn file(
    to: &mut tar::Builder<impl Write>,
    path: &str,
    mode: u32,
    content: &[u8],
) -> std::io::Result<()> {
    to.append_data(
        &mut header(tar::EntryType::Regular, mode, content.len() as u64),
        path,
        content,
    )
}

pub(crate) fn directory(to: &mut tar::Builder<impl Write>, path: &str, mode: u32) -> std::io::Result<()> {
    to.append_data(
        &mut header(tar::EntryType::Directory, mode, 0),
        path,
        std::io::empty(),
    )
}

pub(crate) fn link(to: &mut tar::Builder<impl Write>, path: &str, target: &str) -> std::io::Result<()> {
    to.append_link(&mut header(tar::EntryType::Symlink, 0o777, 0), path, target)
}

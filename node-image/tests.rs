use std::collections::BTreeMap;
use std::io::Read as _;

use crate::archive::{directory, file, link};
use crate::assemble::{assemble, keep};
use crate::base::{deb822, one_line};
use crate::{archive, recipe};

fn entries(tar: &[u8]) -> BTreeMap<String, (tar::EntryType, Vec<u8>, Option<String>)> {
    let mut archive = tar::Archive::new(tar);
    let mut entries = BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().to_string_lossy().into_owned();
        let target = entry
            .link_name()
            .unwrap()
            .map(|t| t.to_string_lossy().into_owned());
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        let double = entries.insert(path.clone(), (entry.header().entry_type(), content, target));
        assert!(double.is_none(), "{path} is there twice");
    }
    entries
}

fn packages() -> tar::Builder<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    directory(&mut tar, "./usr", 0o755).unwrap();
    directory(&mut tar, "./usr/bin", 0o755).unwrap();
    file(&mut tar, "./usr/bin/containerd", 0o755, b"containerd").unwrap();
    file(&mut tar, "./usr/bin/perl", 0o755, b"perl").unwrap();
    file(&mut tar, "./bin/busybox", 0o755, b"busybox").unwrap();
    file(&mut tar, "./etc/containerd/config.toml", 0o644, b"Debian's").unwrap();
    directory(&mut tar, "./usr/share/man", 0o755).unwrap();
    file(&mut tar, "./usr/share/man/man1/x.1", 0o644, b"manual").unwrap();
    file(&mut tar, "./usr/share/doc/runc/copyright", 0o644, b"licence").unwrap();
    file(&mut tar, "./usr/share/doc/runc/changelog.gz", 0o644, b"changes").unwrap();
    file(
        &mut tar,
        "./usr/share/ca-certificates/mozilla/a.crt",
        0o644,
        b"A\n",
    )
    .unwrap();
    file(
        &mut tar,
        "./usr/share/ca-certificates/mozilla/b.crt",
        0o644,
        b"B\n",
    )
    .unwrap();
    link(
        &mut tar,
        "./lib64/ld-linux-x86-64.so.2",
        "/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2",
    )
    .unwrap();
    tar
}

#[test]
fn a_layer_has_what_nodes_need_and_no_more() {
    let tar = packages().into_inner().unwrap();
    let mut layer = Vec::new();
    let stats = assemble(tar.as_slice(), &mut layer).unwrap();
    assert!(stats.bytes > 0);
    let entries = entries(&layer);
    assert_eq!(entries["usr/bin/containerd"].1, b"containerd");
    assert_eq!(entries["bin/sh"].2.as_deref(), Some("busybox"));
    assert_eq!(
        entries["opt/cni/bin/loopback"].2.as_deref(),
        Some("/usr/local/bin/rkind")
    );
    assert_eq!(entries["etc/ssl/certs/ca-certificates.crt"].1, b"A\nB\n");
    assert!(entries.contains_key("usr/share/doc/runc/copyright"));
    assert!(entries.contains_key("etc/containerd/config.toml"));
    for gone in [
        "usr/bin/perl",
        "usr/share/man",
        "usr/share/man/man1/x.1",
        "usr/share/doc/runc/changelog.gz",
    ] {
        assert!(!entries.contains_key(gone), "{gone}");
    }
    let pause = &entries["usr/local/share/rkind/images/pause.tar"].1;
    let inner = self::entries(pause);
    let manifest: serde_json::Value = serde_json::from_slice(&inner["manifest.json"].1).unwrap();
    assert_eq!(manifest[0]["RepoTags"][0], "registry.k8s.io/pause:3.10");
    let config: serde_json::Value =
        serde_json::from_slice(&inner[manifest[0]["Config"].as_str().unwrap()].1).unwrap();
    assert_eq!(config["config"]["Entrypoint"][0], "/pause");
    assert!(entries.contains_key("usr/local/share/rkind/images/tools.tar"));
}

#[test]
fn packages_without_containerd_are_refused() {
    let mut tar = tar::Builder::new(Vec::new());
    file(&mut tar, "./bin/busybox", 0o755, b"busybox").unwrap();
    let tar = tar.into_inner().unwrap();
    assert!(
        assemble(tar.as_slice(), Vec::new())
            .unwrap_err()
            .to_string()
            .contains("containerd")
    );
}

#[test]
fn pause_is_a_small_static_program() {
    assert!(crate::PAUSE.starts_with(b"\x7fELF"));
    assert!(crate::PAUSE.len() < 4096, "{} bytes", crate::PAUSE.len());
    assert_eq!(
        archive::pause().unwrap(),
        archive::pause().unwrap(),
        "the same content is the same image"
    );
}

#[test]
fn pause_ends_when_it_is_asked_to() {
    use std::os::unix::process::ExitStatusExt as _;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pause");
    std::fs::write(&path, crate::PAUSE).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut child = std::process::Command::new(&path).spawn().unwrap();
    // It handles the signal from its first instructions on; before them the
    // default action ends it too.
    let killed = std::process::Command::new("kill")
        .arg(child.id().to_string())
        .status()
        .unwrap();
    assert!(killed.success());
    let status = child.wait().unwrap();
    assert!(
        status.code() == Some(0) || status.signal() == Some(15),
        "{status}"
    );
}

#[test]
fn the_digest_names_the_image() {
    assert_eq!(recipe::digest().len(), 64);
    assert_eq!(
        recipe::reference(),
        format!("rkind.local/node:{}", &recipe::digest()[..12])
    );
}

#[test]
fn libraries_stay() {
    for path in [
        "lib/x86_64-linux-gnu/libc.so.6",
        "usr/lib/x86_64-linux-gnu/libnftables.so.1",
        "usr/sbin/nft",
        "usr/sbin/runc",
    ] {
        assert!(keep(path), "{path}");
    }
    assert!(!keep("usr/lib/x86_64-linux-gnu/gconv/UTF-16.so"));
}

#[test]
fn package_sources_of_the_machine() {
    let text = "Types: deb deb-src\nURIs: http://mirror.example/debian\nSuites: bookworm bookworm-updates\n\
                Components: main contrib\n\nTypes: deb\nEnabled: no\nURIs: http://other.example\nSuites: x\n";
    let sources = deb822(text);
    assert_eq!(sources.len(), 2);
    assert_eq!(
        (sources[1].uri.as_str(), sources[1].suite.as_str()),
        ("http://mirror.example/debian", "bookworm-updates")
    );
    let text = "# comment\ndeb [signed-by=/k.gpg arch=amd64] http://mirror.example/debian bookworm main\ndeb-src x y z\n";
    let sources = one_line(text);
    assert_eq!(sources.len(), 1);
    assert_eq!(
        (sources[0].suite.as_str(), sources[0].components.as_slice()),
        ("bookworm", &["main".to_owned()][..])
    );
}

#[test]
fn an_empty_var_is_filled_once() {
    let dir = tempfile::tempdir().unwrap();
    let (template, root) = (dir.path().join("template"), dir.path().join("root"));
    std::fs::create_dir_all(template.join("lib/containerd/snapshots")).unwrap();
    std::fs::write(template.join("lib/containerd/meta.db"), "db").unwrap();
    std::os::unix::fs::symlink("busybox", template.join("lib/containerd/snapshots/sh")).unwrap();
    std::fs::create_dir(&root).unwrap();
    crate::seed::seed(&template, &root).unwrap();
    let at = |path: &str| root.join("var").join(path);
    assert_eq!(
        std::fs::read_to_string(at("lib/containerd/meta.db")).unwrap(),
        "db"
    );
    assert_eq!(
        std::fs::read_link(at("lib/containerd/snapshots/sh"))
            .unwrap()
            .to_str(),
        Some("busybox")
    );
    assert_eq!(std::fs::read_link(at("run")).unwrap().to_str(), Some("/run"));
    let mode = std::fs::metadata(at("tmp")).unwrap().permissions();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode) & 0o7777, 0o1777);
    // What a node made of it since then stays.
    std::fs::write(at("lib/containerd/meta.db"), "newer").unwrap();
    crate::seed::seed(&template, &root).unwrap();
    assert_eq!(
        std::fs::read_to_string(at("lib/containerd/meta.db")).unwrap(),
        "newer"
    );
}

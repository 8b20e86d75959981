//! What goes in, as data; its digest names the image.

use sha2::{Digest as _, Sha256};

use crate::applets::APPLETS;
use crate::{CONTAINERD_CONFIG, PAUSE};

/// Raised when `assemble` does something else with the same ingredients.
const VERSION: u32 = 3;

/// Packages, with all that they depend on.
pub(crate) const PACKAGES: [&str; 5] = [
    "containerd",
    "runc",
    "nftables",
    "busybox-static",
    "ca-certificates",
];

/// Paths that are not taken over, by prefix: what no program in a node opens.
/// Package licences (`usr/share/doc/*/copyright`) stay.
pub(crate) const LEFT_OUT: [&str; 32] = [
    "etc/alternatives/",
    "etc/cron",
    "etc/default/",
    "etc/init.d/",
    "etc/logrotate.d/",
    "etc/ssl/openssl.cnf",
    "lib/systemd/",
    "sbin/start-stop-daemon",
    "usr/bin/c_rehash",
    "usr/bin/containerd-stress",
    "usr/bin/deb",
    "usr/bin/openssl",
    "usr/bin/perl",
    "usr/include/",
    "usr/lib/ssl/",
    "usr/lib/systemd/",
    "usr/share/applications/",
    "usr/share/bash-completion/",
    "usr/share/bug/",
    "usr/share/debconf/",
    "usr/share/info/",
    "usr/share/initramfs-tools/",
    "usr/share/lintian/",
    "usr/share/locale/",
    "usr/share/man/",
    "usr/share/menu/",
    "usr/share/perl",
    "usr/share/pixmaps/",
    "usr/sbin/update-ca-certificates",
    "usr/sbin/dpkg",
    "var/cache/",
    "var/lib/",
];

/// The same, by their whole paths.
pub(crate) const LEFT_OUT_EXACTLY: [&str; 2] = ["usr/bin/containerd-shim", "usr/bin/containerd-shim-runc-v1"];

/// The same, by a part of the path: the middle differs per architecture.
pub(crate) const LEFT_OUT_ANYWHERE: [&str; 9] = [
    "/gconv/",
    "/perl",
    "/engines-3/",
    "/ossl-modules/",
    "/libcrypto.so",
    "/libssl.so",
    "/libmvec.so",
    "/Debconf",
    "/debconf",
];

/// Directories that every node needs.
pub(crate) const DIRECTORIES: [(&str, u32); 26] = [
    ("dev", 0o755),
    ("etc", 0o755),
    ("etc/cni", 0o755),
    ("etc/cni/net.d", 0o755),
    ("etc/containerd", 0o755),
    ("etc/containerd/certs.d", 0o755),
    ("etc/rkind", 0o700),
    ("etc/ssl", 0o755),
    ("etc/ssl/certs", 0o755),
    ("opt", 0o755),
    ("opt/cni", 0o755),
    ("opt/cni/bin", 0o755),
    ("proc", 0o555),
    ("root", 0o700),
    ("run", 0o755),
    ("sys", 0o555),
    ("tmp", 0o1777),
    ("usr/local", 0o755),
    ("usr/local/bin", 0o755),
    ("usr/local/share", 0o755),
    ("usr/local/share/rkind", 0o755),
    ("usr/local/share/rkind/images", 0o755),
    ("var", 0o755),
    ("var/lib", 0o755),
    ("var/log", 0o755),
    ("var/tmp", 0o1777),
];

/// Small files.
pub(crate) const FILES: [(&str, &str); 6] = [
    (
        "etc/passwd",
        "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n",
    ),
    ("etc/group", "root:x:0:\nnogroup:x:65534:\n"),
    (
        "etc/nsswitch.conf",
        "passwd: files\ngroup: files\nhosts: files dns\n",
    ),
    (
        "etc/os-release",
        "NAME=\"rkind node\"\nID=rkind\nID_LIKE=debian\nPRETTY_NAME=\"rkind node (Debian)\"\n",
    ),
    (
        "etc/profile",
        "export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nexport PS1='\\h:\\w# '\n",
    ),
    ("etc/containerd/config.toml", CONTAINERD_CONFIG),
];

/// The one binary under the names by which it is a CNI plugin.
pub(crate) const LINKS: [(&str, &str); 2] = [
    ("opt/cni/bin/rkind-cni", "/usr/local/bin/rkind"),
    ("opt/cni/bin/loopback", "/usr/local/bin/rkind"),
];

/// Digest of everything above.
pub fn digest() -> String {
    let mut hash = Sha256::new();
    let mut add = |text: &[u8]| {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    };
    add(&VERSION.to_le_bytes());
    add(std::env::consts::ARCH.as_bytes());
    add(PAUSE);
    for text in PACKAGES
        .iter()
        .chain(&LEFT_OUT)
        .chain(&LEFT_OUT_EXACTLY)
        .chain(&LEFT_OUT_ANYWHERE)
        .chain(APPLETS)
    {
        add(text.as_bytes());
    }
    for (path, mode) in &DIRECTORIES {
        add(path.as_bytes());
        add(&mode.to_le_bytes());
    }
    for (path, content) in FILES.iter().chain(&LINKS) {
        add(path.as_bytes());
        add(content.as_bytes());
    }
    hash.finalize().iter().map(|b| format!("{b:02x}")).collect()
}

/// Name of the image that this rkind's nodes are made of.
pub fn reference() -> String {
    format!("rkind.local/node:{}", &digest()[..12])
}

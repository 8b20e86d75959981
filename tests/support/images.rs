//! Workload images from Debian packages, in the local Docker engine.

use std::process::{Command, Stdio};
use std::sync::Once;

const BASE: &str = "rkind-test/nginx-base:bookworm";

/// Makes `web:1` and `web:2`: nginx that answers any path with its host name
/// and the image's tag, and finishes open requests when told to stop.
///
/// # Panics
/// When mmdebstrap or the Docker engine is missing or fails.
pub fn web() {
    static MADE: Once = Once::new();
    MADE.call_once(|| {
        base();
        for tag in ["1", "2"] {
            version(tag);
        }
    });
}

fn exists(image: &str) -> bool {
    Command::new("docker")
        .args(["image", "inspect", image])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("docker is on the PATH")
        .success()
}

fn base() {
    if exists(BASE) {
        return;
    }
    let mut bootstrap = Command::new("mmdebstrap")
        .args([
            "--quiet",
            "--variant=minbase",
            "--include=nginx-light",
            "bookworm",
            "-",
        ])
        .stdout(Stdio::piped())
        .spawn()
        .expect("mmdebstrap is on the PATH");
    let import = Command::new("docker")
        .args(["import", "-", BASE])
        .stdin(bootstrap.stdout.take().expect("piped"))
        .stdout(Stdio::null())
        .status()
        .expect("docker is on the PATH");
    assert!(
        bootstrap.wait().expect("it is our child").success(),
        "mmdebstrap failed"
    );
    assert!(import.success(), "docker import failed");
}

fn version(tag: &str) {
    let image = format!("web:{tag}");
    if exists(&image) {
        return;
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let write = |name: &str, text: &str| {
        std::fs::write(directory.path().join(name), text).expect("the directory is writable");
    };
    write(
        "default",
        &format!(
            "server {{ listen 80 default_server; location / {{ return 200 \"$hostname {image}\\n\"; }} }}\n"
        ),
    );
    write(
        "Dockerfile",
        &format!(
            "FROM {BASE}\nCOPY default /etc/nginx/sites-available/default\nEXPOSE 80\nSTOPSIGNAL SIGQUIT\n\
             CMD [\"nginx\", \"-g\", \"daemon off;\"]\n"
        ),
    );
    // The classic builder: the newer one is a plugin that an engine may lack.
    let built = Command::new("docker")
        .env("DOCKER_BUILDKIT", "0")
        .args(["build", "--quiet", "--tag", &image])
        .arg(directory.path())
        .stdout(Stdio::null())
        .status()
        .expect("docker is on the PATH");
    assert!(built.success(), "docker build of {image} failed");
}

//! `rkind apiserver`: alone on this machine, no engine, no root.

use std::io::{BufRead as _, Read as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::{outcome, outcome_in};

/// A server on a free port, stopped when dropped.
struct Server {
    child: Child,
    ready: serde_json::Value,
}

impl Server {
    /// Starts one; returns when it says that it is ready.
    fn start(folder: &Path) -> Server {
        Server::start_with(folder, &[])
    }

    fn start_with(folder: &Path, flags: &[&str]) -> Server {
        let mut child = Command::new(env!("CARGO_BIN_EXE_rkind"))
            .env_clear()
            .current_dir(folder)
            .args(["apiserver", "--data-dir=data", "--secure-port=0", "--output=json"])
            .args(flags)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut text = String::new();
        for line in std::io::BufReader::new(child.stdout.as_mut().unwrap()).lines() {
            let line = line.unwrap();
            text.push_str(&line);
            if line == "}" {
                break;
            }
        }
        let ready = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text:?}"));
        Server { child, ready }
    }

    /// Sends SIGTERM; gives what it said meanwhile.
    fn stop(mut self) -> (Option<i32>, String) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::SIGTERM).unwrap();
        let mut said = String::new();
        let mut stderr = self.child.stderr.take().unwrap();
        stderr.read_to_string(&mut said).unwrap();
        (self.child.wait().unwrap().code(), said)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn starts_again_with_the_same_keys_and_ends_cleanly() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = tempfile::tempdir().unwrap();
    let mut authorities = Vec::new();
    for _ in 0..2 {
        let server = Server::start(home.path());
        let endpoint = server.ready["endpoint"].as_str().unwrap().to_owned();
        assert!(endpoint.starts_with("https://127.0.0.1:"), "{endpoint}");
        let kubeconfig = Path::new(server.ready["kubeconfig"].as_str().unwrap());
        assert!(kubeconfig.is_absolute());
        let mode = std::fs::metadata(kubeconfig).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let text = std::fs::read_to_string(kubeconfig).unwrap();
        assert!(text.contains(&endpoint), "{text}");
        authorities.push(
            text.lines()
                .find(|line| line.contains("certificate-authority-data"))
                .unwrap()
                .to_owned(),
        );
        let (code, said) = server.stop();
        assert_eq!(code, Some(0), "{said}");
        assert_eq!(said, "Stopping; once more ends it at once.\n");
    }
    assert_eq!(authorities[0], authorities[1]);
}

#[test]
fn logs_are_objects_when_they_are_asked_for() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start_with(home.path(), &["--logging-format=json", "-vv"]);
    let (code, said) = server.stop();
    assert_eq!(code, Some(0), "{said}");
    let logged: Vec<serde_json::Value> = said
        .lines()
        .filter(|line| !line.starts_with("Stopping;"))
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    assert!(!logged.is_empty());
    for event in logged {
        for field in ["timestamp", "level", "target"] {
            assert!(event[field].is_string(), "{event}");
        }
        assert!(event["fields"].is_object(), "{event}");
    }
}

#[test]
fn what_cannot_be_used_is_said() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start(home.path());
    let port = server.ready["endpoint"]
        .as_str()
        .unwrap()
        .rsplit(':')
        .next()
        .unwrap()
        .to_owned();
    let hide = |text: String| {
        text.replace(&home.path().display().to_string(), "[HOME]")
            .replace(&port, "[PORT]")
    };
    std::fs::write(home.path().join("file"), "").unwrap();
    let same_port = format!("--secure-port={port}");
    let cases: &[(&str, &[&str])] = &[
        (
            "same-folder",
            &["apiserver", "--data-dir=data", "--secure-port=0"],
        ),
        ("same-port", &["apiserver", "--data-dir=other", &same_port]),
        ("no-folder", &["apiserver", "--data-dir=file", "--secure-port=0"]),
        ("no-data-dir", &["apiserver"]),
        (
            "wrong-subnet",
            &["apiserver", "--data-dir=x", "--service-cluster-ip-range=10.0.0"],
        ),
        (
            "wrong-ports",
            &["apiserver", "--data-dir=x", "--service-node-port-range=9-3"],
        ),
        (
            "missing-file",
            &[
                "apiserver",
                "--data-dir=y",
                "--tls-cert-file=none.crt",
                "--tls-private-key-file=none.key",
            ],
        ),
        (
            "plugin-without-configuration",
            &[
                "apiserver",
                "--data-dir=y",
                "--secure-port=0",
                "--enable-admission-plugins=EventRateLimit",
            ],
        ),
        (
            "unknown-plugin",
            &[
                "apiserver",
                "--data-dir=y",
                "--secure-port=0",
                "--disable-admission-plugins=Nonsense",
            ],
        ),
    ];
    for (name, arguments) in cases {
        insta::assert_snapshot!(
            format!("apiserver-{name}"),
            hide(outcome_in(home.path(), arguments))
        );
    }
}

#[test]
fn flags() {
    insta::assert_snapshot!(outcome(&["apiserver", "--help"]));
}

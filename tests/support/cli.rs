//! The two programs a user types: `rkind` and `kubectl`, in a home of their own.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// One user with one cluster name. Dropping it deletes the cluster.
pub struct User {
    rkind: PathBuf,
    kubectl: PathBuf,
    home: TempDir,
    profile: String,
}

impl User {
    /// A user who is about to create the cluster `profile`.
    ///
    /// # Panics
    /// When `RKIND_BIN` does not name the binary (`cargo xtask test` sets it).
    pub fn new(profile: &str) -> Self {
        let rkind = std::env::var_os("RKIND_BIN").expect(
            "RKIND_BIN names the rkind binary under test; `cargo xtask test` builds it and sets this",
        );
        let kubectl = std::env::var_os("KUBECTL_BIN").unwrap_or_else(|| "kubectl".into());
        Self {
            rkind: rkind.into(),
            kubectl: kubectl.into(),
            home: tempfile::tempdir().expect("a temporary directory"),
            profile: profile.to_owned(),
        }
    }

    pub fn profile(&self) -> &str {
        &self.profile
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.home.path().join("kubeconfig")
    }

    /// Where this user's rkind keeps its files.
    pub fn rkind_home(&self) -> PathBuf {
        self.home.path().join("rkind")
    }

    /// A file of the user's.
    pub fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.home.path().join(name);
        std::fs::write(&path, content).expect("the home is writable");
        path
    }

    /// `rkind --profile <profile> <args>`, not yet run.
    pub fn rkind_command(&self, args: &[&str]) -> Command {
        self.command(&self.rkind, &[&["--profile", &self.profile], args].concat())
    }

    /// `kubectl <args>`, not yet run.
    pub fn kubectl_command(&self, args: &[&str]) -> Command {
        self.command(&self.kubectl, args)
    }

    /// Runs rkind; its standard output when it succeeded.
    #[track_caller]
    pub fn rkind(&self, args: &[&str]) -> String {
        succeed(self.rkind_command(args))
    }

    /// Runs rkind; its standard error when it failed.
    #[track_caller]
    pub fn rkind_fails(&self, args: &[&str]) -> String {
        let output = run(self.rkind_command(args));
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !output.status.success(),
            "rkind {args:?} succeeded; stderr:\n{stderr}"
        );
        stderr
    }

    /// Runs kubectl; its standard output when it succeeded.
    #[track_caller]
    pub fn kubectl(&self, args: &[&str]) -> String {
        succeed(self.kubectl_command(args))
    }

    /// Runs kubectl with a manifest on standard input.
    #[track_caller]
    pub fn kubectl_stdin(&self, args: &[&str], manifest: &str) -> String {
        use std::io::Write;
        let mut command = self.kubectl_command(args);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("kubectl starts");
        child
            .stdin
            .take()
            .expect("piped")
            .write_all(manifest.as_bytes())
            .expect("kubectl reads its input");
        check(&command, child.wait_with_output().expect("kubectl ends"))
    }

    /// Runs kubectl; `None` when it failed.
    pub fn try_kubectl(&self, args: &[&str]) -> Option<String> {
        let output = run(self.kubectl_command(args));
        output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// `kubectl get … -o jsonpath=…`
    #[track_caller]
    pub fn jsonpath(&self, what: &[&str], path: &str) -> String {
        let path = format!("jsonpath={path}");
        self.kubectl(&[&["get"], what, &["-o", &path]].concat())
    }

    fn command(&self, program: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .args(args)
            .stdin(Stdio::null())
            .env("HOME", self.home.path())
            .env("KUBECONFIG", self.kubeconfig())
            .env("RKIND_HOME", self.rkind_home());
        command
    }
}

impl Drop for User {
    fn drop(&mut self) {
        if std::thread::panicking() && std::env::var_os("RKIND_TEST_RETAIN").is_some() {
            eprintln!("RKIND_TEST_RETAIN is set: cluster {} stays", self.profile);
            return;
        }
        let _ = run(self.rkind_command(&["delete"]));
    }
}

/// Runs docker; its standard output when it succeeded.
#[track_caller]
pub fn docker(args: &[&str]) -> String {
    let mut command = Command::new("docker");
    command.args(args);
    succeed(command)
}

#[track_caller]
fn succeed(command: Command) -> String {
    let mut command = command;
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?} did not start: {error}"));
    check(&command, output)
}

fn run(mut command: Command) -> Output {
    command
        .output()
        .unwrap_or_else(|error| panic!("{command:?} did not start: {error}"))
}

#[track_caller]
fn check(command: &Command, output: Output) -> String {
    assert!(
        output.status.success(),
        "{command:?} failed: {}\nstdout:\n{}\nstderr:\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    String::from_utf8(output.stdout).expect("standard output is UTF-8")
}

//! What `rkind start` refuses: a clear error, nothing changed, nothing left.

use rkind_tests::cli::{User, docker};
use std::net::TcpListener;
use std::time::Duration;

/// Everything of this cluster that the engine knows of.
fn traces(user: &User) -> String {
    let filter = format!("label=dev.rkind.cluster={}", user.profile());
    [
        &["ps", "-aq"][..],
        &["volume", "ls", "-q"],
        &["network", "ls", "-q"],
    ]
    .iter()
    .map(|listing| docker(&[*listing, &["--filter", &filter]].concat()))
    .collect()
}

#[track_caller]
fn refused(user: &User, args: &[&str], words: &[&str]) {
    let error = user.rkind_fails(args);
    for word in words {
        assert!(
            error.contains(word),
            "rkind {args:?} does not say {word:?}:\n{error}"
        );
    }
    assert_eq!(traces(user), "", "rkind {args:?} left something");
    assert!(!user.kubeconfig().exists(), "rkind {args:?} wrote a kubeconfig");
}

#[test]
fn no_nodes() {
    refused(
        &User::new("refused-nodes"),
        &["start", "--nodes", "0"],
        &["--nodes", "1"],
    );
}

#[test]
fn a_wrong_name() {
    let user = User::new("Wrong_Name");
    let error = user.rkind_fails(&["start"]);
    assert!(error.contains("Wrong_Name") && error.contains("lower"), "{error}");
}

#[test]
fn an_unreadable_config() {
    let user = User::new("refused-config");
    refused(
        &user,
        &["start", "--config", "/does/not/exist.yaml"],
        &["/does/not/exist.yaml"],
    );
    let file = user.file(
        "broken.yaml",
        "apiVersion: rkind.dev/v1alpha1\nkind: Cluster\nnodez: 3\n",
    );
    refused(
        &user,
        &["start", "--config", file.to_str().expect("UTF-8")],
        &["nodez", "broken.yaml"],
    );
}

#[test]
fn no_docker() {
    let user = User::new("refused-docker");
    let mut command = user.rkind_command(&["start"]);
    let output = command
        .env("DOCKER_HOST", "unix:///does/not/exist.sock")
        .output()
        .expect("rkind starts");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && error.contains("/does/not/exist.sock") && error.contains("hint:"),
        "{error}"
    );
}

#[test]
fn a_port_in_use() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("bound").port().to_string();
    let user = User::new("refused-port");
    refused(&user, &["start", "--apiserver-port", &port], &[&port]);
}

#[test]
fn a_name_in_use() {
    rkind_tests::images::web();
    let user = User::new("refused-name");
    let foreign = format!("{}-control-plane", user.profile());
    docker(&["create", "--name", &foreign, "web:1"]);
    let error = user.rkind_fails(&["start"]);
    let left = docker(&["ps", "-aq", "--filter", &format!("name={foreign}")]);
    docker(&["rm", "--force", &foreign]);
    assert!(error.contains(&foreign) && error.contains("hint:"), "{error}");
    assert_ne!(left, "", "rkind deleted a container that is not its own");
    assert_eq!(traces(&user), "");
    assert!(!user.kubeconfig().exists());
}

#[test]
fn interrupted_at_any_moment() {
    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;
    for millis in [20, 150, 400, 700, 1000] {
        let user = User::new("interrupted");
        let mut child = user
            .rkind_command(&["start", "--nodes", "2"])
            .spawn()
            .expect("rkind starts");
        // The moment itself is what is tested: there is no condition to await.
        std::thread::sleep(Duration::from_millis(millis));
        kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).expect("rkind is running");
        let status = child.wait().expect("it is our child");
        if status.success() {
            continue; // it was done before the signal came
        }
        assert_eq!(traces(&user), "", "interrupted after {millis} ms");
        let kubeconfig = std::fs::read_to_string(user.kubeconfig()).unwrap_or_default();
        assert!(
            !kubeconfig.contains("interrupted"),
            "after {millis} ms: {kubeconfig}"
        );
    }
}

//! Several clusters on one machine, and rkind's own commands about them.

use rkind_tests::cli::{User, docker};
use serde_json::Value;
use std::process::Stdio;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

#[test]
fn started_at_the_same_moment() {
    let users = [User::new("side-a"), User::new("side-b")];
    let starts: Vec<_> = users
        .iter()
        .map(|user| {
            let mut command = user.rkind_command(&["start", "--nodes", "2"]);
            command
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .expect("rkind starts")
        })
        .collect();
    for start in starts {
        let output = start.wait_with_output().expect("it is our child");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    for user in &users {
        let nodes = user.jsonpath(&["nodes"], "{.items[*].metadata.name}");
        let expected = format!("{0}-control-plane {0}-worker", user.profile());
        assert_eq!(nodes, expected, "each kubeconfig leads to its own cluster");
    }
    let [a, b] = &users;
    a.rkind(&["delete"]);
    assert!(
        b.try_kubectl(&["get", "nodes"]).is_some(),
        "deleting one cluster left the other alone"
    );
    let error = b.rkind_fails(&["create", "cluster"]);
    assert!(
        error.contains("exists already") && error.contains("hint:"),
        "{error}"
    );
    commands(b);
}

fn commands(user: &User) {
    let (name, worker) = (user.profile(), format!("{}-worker", user.profile()));
    let status = json(&user.rkind(&["status", "--output", "json"]));
    assert_eq!(
        (&status["name"], &status["state"]),
        (&name.into(), &"Running".into()),
        "{status}"
    );
    assert_eq!(status["nodes"].as_array().map(Vec::len), Some(2), "{status}");
    let listed = json(&user.rkind(&["profile", "list", "--output", "json"]));
    assert!(listed.to_string().contains(name), "{listed}");
    assert!(user.rkind(&["node", "list"]).contains(&worker));
    assert_eq!(
        user.rkind(&["ssh", "--node", &worker, "--", "hostname"]).trim(),
        worker
    );
    assert!(user.rkind(&["kubectl", "--", "get", "nodes"]).contains(&worker));
    assert!(user.rkind(&["logs"]).contains("API server ready"));
    let version = json(&user.rkind(&["version", "--output", "json"]));
    assert_eq!(version["kubernetes"], "v1.35.0", "{version}");
    for shell in ["bash", "zsh", "fish"] {
        assert!(user.rkind(&["completion", shell]).contains("rkind"), "{shell}");
    }
    let containers = docker(&["ps", "-q", "--filter", &format!("label=dev.rkind.cluster={name}")]);
    assert_eq!(containers.lines().count(), 2);
}

use crate::{assert_untouched, outcome, outcome_in};

#[test]
fn flags_that_cannot_be_right() {
    let cases: &[(&str, &[&str])] = &[
        ("zero-nodes", &["start", "--nodes", "0"]),
        ("wrong-name", &["start", "-p", "My_Cluster"]),
        (
            "long-name",
            &[
                "start",
                "-p",
                "a-name-that-is-longer-than-any-host-name-could-ever-be",
            ],
        ),
        ("wrong-port", &["start", "--ports", "http:80"]),
        ("wrong-memory", &["start", "--memory", "lots"]),
        ("wrong-wait", &["start", "--wait", "soon"]),
        ("wrong-version", &["start", "--kubernetes-version", "v1.20.1"]),
        ("overlapping-subnets", &["start", "--pod-subnet", "10.96.0.0/12"]),
        ("missing-file", &["start", "--config", "nowhere.yaml"]),
        ("no-engine", &["start"]),
    ];
    for (name, arguments) in cases {
        let home = tempfile::tempdir().unwrap();
        insta::assert_snapshot!(format!("start-{name}"), outcome_in(home.path(), arguments));
        assert_untouched(home.path(), &[]);
    }
}

#[test]
fn a_file_that_cannot_be_right() {
    let home = tempfile::tempdir().unwrap();
    let file = "apiVersion: rkind.dev/v1alpha1\nkind: Cluster\nname: X\nnodes:\n- role: boss\n- {role: worker, cpus: no}\n";
    std::fs::write(home.path().join("cluster.yaml"), file).unwrap();
    insta::assert_snapshot!(outcome_in(home.path(), &["start", "-f", "cluster.yaml"]));
    std::fs::write(home.path().join("cluster.yaml"), "kind: Cluster\nnodes: {").unwrap();
    insta::assert_snapshot!(outcome_in(home.path(), &["start", "-f", "cluster.yaml"]));
    assert_untouched(home.path(), &["cluster.yaml"]);
}

#[test]
fn fields_of_kinds_file_that_mean_nothing_are_named() {
    let home = tempfile::tempdir().unwrap();
    let file = "apiVersion: kind.x-k8s.io/v1alpha4\nkind: Cluster\nkubeadmConfigPatches: [a]\n";
    std::fs::write(home.path().join("kind.yaml"), file).unwrap();
    insta::assert_snapshot!(outcome_in(
        home.path(),
        &["create", "cluster", "--config", "kind.yaml"]
    ));
}

#[test]
fn kinds_verb_takes_kinds_flags() {
    let outcome = outcome(&[
        "create",
        "cluster",
        "--name",
        "x",
        "--wait",
        "0s",
        "--retain",
        "--kubeconfig",
        "k",
    ]);
    assert!(outcome.contains("exit code: 5"), "{outcome}");
}

//! What works, or fails well, without an engine.

use crate::outcome;

#[test]
fn version() {
    let all = outcome(&["version"]);
    assert!(
        all.contains("exit code: 0") && all.contains("kubernetes: v1.35.0"),
        "{all}"
    );
    let json = outcome(&["version", "-o", "json"]);
    assert!(json.contains("\"nodeImage\": \"rkind.local/node:"), "{json}");
    assert!(outcome(&["version", "--short"]).contains("--- stdout\nv0."));
}

#[test]
fn completion_scripts() {
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let script = outcome(&["completion", shell]);
        assert!(
            script.contains("exit code: 0") && script.contains("rkind"),
            "{shell}"
        );
    }
}

#[test]
fn no_engine_is_said_with_a_hint() {
    for command in [
        &["list"][..],
        &["status"],
        &["stop"],
        &["delete"],
        &["get", "clusters"],
    ] {
        let outcome = outcome(command);
        assert!(outcome.contains("exit code: 5"), "{outcome}");
        assert!(
            outcome.contains("hint: install and start Docker Engine"),
            "{outcome}"
        );
    }
    insta::assert_snapshot!(outcome(&["status"]));
}

#[test]
fn wrong_names_are_refused_before_anything_is_asked() {
    for command in [
        &["stop", "-p", "No"][..],
        &["delete", "-p", "a_b"],
        &["status", "-p", "-"],
        &["kubectl", "-p", "A"],
    ] {
        let outcome = outcome(command);
        assert!(outcome.contains("exit code: 2"), "{outcome}");
        assert!(outcome.contains("RFC 1123"), "{outcome}");
    }
}

#[test]
fn kubectl_must_be_there() {
    insta::assert_snapshot!(outcome(&["kubectl", "get", "pods"]));
}

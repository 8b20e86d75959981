use serde_json::json;

use super::*;

#[test]
fn policies_default_by_tag() {
    let container = |image: &str, policy: Option<&str>| Container {
        image: Some(image.into()),
        image_pull_policy: policy.map(Into::into),
        ..Container::default()
    };
    for (image, policy, want) in [
        ("web", None, "Always"),
        ("web:latest", None, "Always"),
        ("web:1", None, "IfNotPresent"),
        ("web@sha256:00", None, "IfNotPresent"),
        ("web", Some("Never"), "Never"),
    ] {
        assert_eq!(pull_policy(&container(image, policy)), want, "{image}");
    }
}

#[test]
fn credentials_by_registry() {
    let file = json!({"auths": {
        "index.docker.io/v1/": {"auth": "dTpw"},
        "https://reg.example/team": {"username": "t", "password": "x"},
        "reg.example": {"username": "r", "password": "y"}}})
    .to_string();
    let hub = auths(file.as_bytes(), true, "docker.io/library/web:1");
    assert_eq!((hub[0].username.as_str(), hub[0].password.as_str()), ("u", "p"));
    let team = auths(file.as_bytes(), true, "reg.example/team/web:1");
    assert_eq!(
        team.iter().map(|a| a.username.as_str()).collect::<Vec<_>>(),
        ["t", "r"]
    );
    assert!(auths(file.as_bytes(), true, "other.example/web:1").is_empty());
    assert!(auths(b"nonsense", true, "web").is_empty());
}

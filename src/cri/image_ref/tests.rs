use super::{normalize, tag, validate};

#[test]
fn short_names_become_full() {
    let digest = "sha256:".to_string() + &"a".repeat(64);
    let table = [
        ("web", "docker.io/library/web:latest".to_string()),
        ("web:1", "docker.io/library/web:1".into()),
        ("team/web:1", "docker.io/team/web:1".into()),
        ("docker.io/web:1", "docker.io/library/web:1".into()),
        ("index.docker.io/web:1", "docker.io/library/web:1".into()),
        ("docker.io/library/web:1", "docker.io/library/web:1".into()),
        ("localhost/web", "localhost/web:latest".into()),
        ("localhost:5000/web:2", "localhost:5000/web:2".into()),
        (
            "registry.example/pause:3.10",
            "registry.example/pause:3.10".into(),
        ),
        (
            &format!("web@{digest}"),
            format!("docker.io/library/web@{digest}"),
        ),
        (&digest, digest.clone()),
    ];
    for (input, want) in table {
        assert_eq!(normalize(input), want, "{input}");
    }
}

#[test]
fn tags() {
    assert_eq!(tag("web").as_deref(), Some("latest"));
    assert_eq!(tag("localhost:5000/web").as_deref(), Some("latest"));
    assert_eq!(tag("localhost:5000/web:2").as_deref(), Some("2"));
    assert_eq!(tag("web@sha256:00"), None);
}

#[test]
fn malformed_names_are_refused() {
    for good in ["web", "a.b/c-d_e:V1.0", "localhost:5000/web"] {
        assert!(validate(good).is_ok(), "{good}");
    }
    for bad in ["", "a b", "/web", "web:", "Web", "a//b", "web:#"] {
        assert!(
            validate(bad).unwrap_err().contains("couldn't parse image name"),
            "{bad}"
        );
    }
}

use serde_json::json;

use super::*;

#[test]
fn group_version_forms() {
    assert_eq!(split_api_version("apps/v1"), ("apps", "v1"));
    assert_eq!(split_api_version("v1"), ("", "v1"));
    assert_eq!(Gvk::new("apps", "v1", "Deployment").api_version(), "apps/v1");
    assert_eq!(GroupResource::new("", "pods").to_string(), "pods");
    assert_eq!(
        GroupResource::new("apps", "deployments").to_string(),
        "deployments.apps"
    );
}

#[test]
fn readers_tolerate_anything() {
    for v in [
        json!(null),
        json!([]),
        json!({"metadata": "x"}),
        json!({"metadata": {"name": 3}}),
    ] {
        assert_eq!(name(&v), "");
        assert_eq!(generation(&v), 0);
        assert_eq!(finalizers(&v).count(), 0);
    }
}

#[test]
fn writers_make_metadata() {
    let mut v = json!({});
    set(&mut v, "name", "x");
    assert_eq!(name(&v), "x");
    assert_eq!(remove(&mut v, "name"), Some(json!("x")));
    assert_eq!(name(&v), "");
}

#[test]
fn generated_names_fit() {
    let n = generated_name(&"a".repeat(80));
    assert_eq!(n.len(), 63);
    let n = generated_name("web-");
    assert!(n.starts_with("web-") && n.len() == 9);
}

#[test]
fn times_have_whole_seconds() {
    let t: jiff::Timestamp = "2026-01-02T03:04:05.678Z".parse().unwrap();
    assert_eq!(time(t), "2026-01-02T03:04:05Z");
}

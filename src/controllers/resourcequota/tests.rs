use serde_json::json;

use super::*;

#[test]
fn names_are_about_one_resource() {
    let cases = [
        ("requests.cpu", "", "pods"),
        ("count/pods", "", "pods"),
        ("services.nodeports", "", "services"),
        (
            "gold.storageclass.storage.k8s.io/requests.storage",
            "",
            "persistentvolumeclaims",
        ),
        ("secrets", "", "secrets"),
        ("count/deployments.apps", "apps", "deployments"),
        ("count/widgets.example.com", "example.com", "widgets"),
    ];
    for (name, group, plural) in cases {
        assert_eq!(
            resource_of(name),
            Some((group.to_owned(), plural.to_owned())),
            "{name}"
        );
    }
    assert_eq!(resource_of("nonsense"), None);
}

#[test]
fn a_status_is_written_when_it_differs() {
    let quota = |status: Value| -> ResourceQuota {
        serde_json::from_value(
            json!({"metadata": {"name": "q"}, "spec": {"hard": {"cpu": "1"}}, "status": status}),
        )
        .unwrap()
    };
    let used = quota::amounts(&json!({"cpu": "500m"}));
    let right = json!({"hard": {"cpu": "1000m"}, "used": {"cpu": "0.5"}});
    assert!(plan(&quota(right), used.clone()).unwrap().is_none());
    for status in [
        json!({}),
        json!({"hard": {"cpu": "2"}, "used": {"cpu": "500m"}}),
        json!({"hard": {"cpu": "1"}, "used": {"cpu": "1"}}),
    ] {
        let new = plan(&quota(status), used.clone()).unwrap().unwrap();
        let status = serde_json::to_value(new.status).unwrap();
        assert_eq!(status, json!({"hard": {"cpu": "1"}, "used": {"cpu": "500m"}}));
    }
}

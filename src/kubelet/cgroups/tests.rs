use serde_json::json;

use super::*;

fn pod(resources: serde_json::Value) -> Pod {
    serde_json::from_value(
        json!({"metadata": {"uid": "u"}, "spec": {"containers": [{"name": "c", "resources": resources}]}}),
    )
    .expect("a pod")
}

#[test]
fn paths_by_class() {
    assert_eq!(pod_path(&pod(json!({}))), "/kubepods/besteffort/podu");
    assert_eq!(
        pod_path(&pod(json!({"requests": {"cpu": "1"}}))),
        "/kubepods/burstable/podu"
    );
    assert_eq!(
        pod_path(&pod(json!({"limits": {"cpu": "1", "memory": "1Gi"}}))),
        "/kubepods/podu"
    );
}

#[test]
fn both_versions() {
    let limited = pod(json!({"limits": {"cpu": "500m", "memory": "1Mi"}}));
    let text = |unified| {
        settings(&limited, unified)
            .into_iter()
            .map(|s| format!("{}={}", s.file, s.value))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        text(false),
        [
            "cpu.shares=512",
            "cpu.cfs_period_us=100000",
            "cpu.cfs_quota_us=50000",
            "memory.limit_in_bytes=1048576"
        ]
    );
    assert_eq!(
        text(true),
        ["cpu.weight=20", "cpu.max=50000 100000", "memory.max=1048576"]
    );
    let free = settings(&pod(json!({})), true);
    assert_eq!(
        (free[1].value.as_str(), free[2].value.as_str()),
        ("max 100000", "max")
    );
}

#[test]
fn makes_sets_and_removes() {
    let temp = tempfile::tempdir().expect("a directory");
    for controller in V1 {
        std::fs::create_dir(temp.path().join(controller)).expect("a tree");
    }
    let cgroups = Cgroups::new(Some(temp.path()));
    std::fs::create_dir_all(temp.path().join("cpu/kubepods/besteffort")).expect("a directory");
    cgroups.prepare().expect("prepares");
    let pod = pod(json!({}));
    cgroups.ensure(&pod).expect("makes");
    assert!(temp.path().join("memory/kubepods/besteffort/podu").is_dir());
    let by_runtime = temp.path().join("freezer/kubepods/besteffort/podu/container");
    std::fs::create_dir_all(&by_runtime).expect("a directory");
    cgroups.remove("u");
    assert!(!temp.path().join("freezer/kubepods/besteffort/podu").exists());
    assert!(!temp.path().join("memory/kubepods/besteffort/podu").exists());
    assert_eq!(Cgroups::new(None).parent(&pod), "");
}

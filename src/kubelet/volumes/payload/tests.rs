use serde_json::json;

use super::*;

#[test]
fn keys_and_modes() {
    let map: ConfigMap =
        serde_json::from_value(json!({"data": {"a": "1"}, "binaryData": {"b": "AAE="}})).expect("a map");
    let all = config_map(Some(&map), None, 0o644, false).expect("all");
    assert_eq!(
        (all["a"].data.as_slice(), all["b"].data.as_slice()),
        (b"1".as_slice(), [0u8, 1].as_slice())
    );
    let items: Vec<KeyToPath> =
        serde_json::from_value(json!([{"key": "a", "path": "x/y", "mode": 256}])).expect("items");
    let some = config_map(Some(&map), Some(&items), 0o644, false).expect("some");
    assert_eq!(some.len(), 1);
    assert_eq!(some["x/y"].mode, 0o400);
    let missing: Vec<KeyToPath> = serde_json::from_value(json!([{"key": "z", "path": "z"}])).expect("items");
    assert!(
        config_map(Some(&map), Some(&missing), 0o644, false)
            .unwrap_err()
            .contains("non-existent config key: z")
    );
    assert!(
        config_map(Some(&map), Some(&missing), 0o644, true)
            .expect("optional")
            .is_empty()
    );
    assert!(config_map(None, None, 0o644, true).expect("absent").is_empty());
}

#[test]
fn downward_api() {
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": "p", "namespace": "n", "labels": {"a": "b\"c", "d": "e"}},
        "spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": "1500m"}, "requests": {"memory": "3Mi"}}}]}}))
    .expect("a pod");
    let items: Vec<DownwardAPIVolumeFile> = serde_json::from_value(json!([
        {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
        {"path": "cpu", "resourceFieldRef": {"containerName": "c", "resource": "limits.cpu"}},
        {"path": "cpum", "resourceFieldRef": {"containerName": "c", "resource": "limits.cpu", "divisor": "1m"}},
        {"path": "mem", "resourceFieldRef": {"containerName": "c", "resource": "requests.memory", "divisor": "1Mi"}},
        {"path": "node", "resourceFieldRef": {"containerName": "c", "resource": "limits.memory"}}]))
    .expect("items");
    let facts = Facts {
        allocatable_memory: 1 << 30,
        ..Facts::default()
    };
    let payload = downward(&pod, Some(&items), 0o644, &facts).expect("payload");
    let text = |name: &str| String::from_utf8_lossy(&payload[name].data).into_owned();
    assert_eq!(text("labels"), "a=\"b\\\"c\"\nd=\"e\"");
    assert_eq!(
        (text("cpu"), text("cpum"), text("mem")),
        ("2".into(), "1500".into(), "3".into())
    );
    assert_eq!(text("node"), (1u64 << 30).to_string());
}

use super::*;

#[test]
fn only_changes_are_written() {
    let old = json!({"phase": "Running", "podIP": "1", "podIPs": [{"ip": "1"}],
        "conditions": [{"type": "Ready", "status": "False", "reason": "R"}, {"type": "Other", "status": "True"}]});
    assert_eq!(patch(&old, &old), None);
    let new = json!({"phase": "Running", "podIP": "2", "podIPs": [{"ip": "2"}],
        "conditions": [{"type": "Ready", "status": "True"}, {"type": "Other", "status": "False"}]});
    let want = json!({"podIP": "2", "podIPs": [{"$patch": "replace"}, {"ip": "2"}],
        "conditions": [{"type": "Ready", "status": "True", "reason": null}]});
    assert_eq!(patch(&old, &new), Some(want));
    assert_eq!(
        patch(&json!({"reason": "x"}), &json!({})),
        Some(json!({"reason": null}))
    );
}

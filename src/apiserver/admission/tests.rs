use serde_json::json;

use super::tolerations::tolerate;

#[test]
fn tolerations_are_added_once() {
    let mut spec = json!({});
    tolerate(&mut spec);
    tolerate(&mut spec);
    assert_eq!(spec["tolerations"].as_array().map(Vec::len), Some(2));

    let mut spec = json!({"tolerations": [{"operator": "Exists"}]});
    tolerate(&mut spec);
    assert_eq!(spec["tolerations"].as_array().map(Vec::len), Some(1));
}

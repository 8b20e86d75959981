use super::*;

#[test]
fn there_and_back() {
    let mut object = json!({"kind": "Deployment", "metadata": {"name": "d", "namespace": "n", "uid": "u", "resourceVersion": "5"},
        "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "web"}}}, "status": {"replicas": 2}});
    let def = Def::from(rkind_apimachinery::resources::find("apps", "v1", "deployments").unwrap());
    let mut scale = of(&def, &object).unwrap();
    assert_eq!(scale["spec"]["replicas"], 3);
    assert_eq!(scale["status"], json!({"replicas": 2, "selector": "app=web"}));
    scale["spec"]["replicas"] = json!(7);
    set(&def, &mut object, &scale);
    assert_eq!(object["spec"]["replicas"], 7);
    assert_eq!(object["metadata"]["resourceVersion"], "5");
}

#[test]
fn a_custom_resource_says_what_a_scale_can_say() {
    let path = |text: &str| text.split('.').map(str::to_owned).collect::<Vec<_>>();
    let scale = Scale {
        spec: path("spec.n"),
        status: path("status.n"),
        selector: path("status.s"),
        spec_text: ".spec.n".into(),
        status_text: ".status.n".into(),
        selector_text: ".status.s".into(),
    };
    let faults = |object: Value, sub: &str| -> Vec<String> {
        let errors = check(Some(&scale), &object, sub);
        errors.iter().map(ToString::to_string).collect()
    };
    assert_eq!(
        faults(json!({"spec": {"n": 3}, "status": {"s": "a=b"}}), ""),
        [""; 0]
    );
    for (object, fault) in [
        (
            json!({"spec": {"n": 1.5}}),
            ".spec.n: Invalid value: 0: .spec.n accessor error: 1.5 is of the type float64, expected int64",
        ),
        (
            json!({"spec": {"n": 1.0}}),
            ".spec.n: Invalid value: 0: .spec.n accessor error: 1 is of the type float64, expected int64",
        ),
        (
            json!({"spec": []}),
            ".spec.n: Invalid value: 0: .spec.n accessor error: [] is of the type []interface {}, expected map[string]interface{}",
        ),
        (
            json!({"spec": {"n": -1}}),
            ".spec.n: Invalid value: -1: should be a non-negative integer",
        ),
        (
            json!({"status": {"n": 2_147_483_648_i64}}),
            ".status.n: Invalid value: 2147483648: should be less than or equal to 2147483647",
        ),
        (
            json!({"status": {"s": 1}}),
            ".status.s: Invalid value: \"\": .status.s accessor error: 1 is of the type int64, expected string",
        ),
    ] {
        assert_eq!(faults(object, ""), [fault]);
    }
    assert_eq!(faults(json!({"spec": {"n": -1}}), "status"), [""; 0]);
}

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

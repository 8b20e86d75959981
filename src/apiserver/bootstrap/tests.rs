use super::*;

#[test]
fn the_policy_is_whole() {
    let all = policy::objects();
    let find = |resource: &str, name: &str| {
        all.iter()
            .find(|(r, _, o)| *r == resource && o["metadata"]["name"] == name)
            .map(|(_, _, o)| o.clone())
    };
    let admin = find("clusterroles", "admin").unwrap();
    let view = find("clusterroles", "view").unwrap();
    assert!(admin["rules"].as_array().unwrap().len() > view["rules"].as_array().unwrap().len());
    assert_eq!(
        view["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-edit"],
        "true"
    );
    let binding = find("clusterrolebindings", "cluster-admin").unwrap();
    assert_eq!(binding["subjects"][0]["name"], "system:masters");
    let mut names: Vec<(&str, &str, &str)> = all
        .iter()
        .map(|(resource, namespace, o)| (*resource, &**namespace, meta::name(o)))
        .collect();
    names.sort_unstable();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count, "each object once");
    let own = find("clusterroles", "rkind:controllers").unwrap();
    let of = |name: &str| find("clusterroles", name).unwrap()["rules"].clone();
    let first = of("system:controller:clusterrole-aggregation-controller");
    assert_eq!(own["rules"][0], first[0], "the rules of others");
    for (_, _, object) in &all {
        for rule in object["rules"].as_array().into_iter().flatten() {
            assert!(
                rule["verbs"].as_array().is_some_and(|v| !v.is_empty()),
                "{object}"
            );
        }
        // Every binding's role exists.
        if let Some(role) = object["roleRef"]["name"].as_str() {
            assert!(
                find("clusterroles", role).or(find("roles", role)).is_some(),
                "{role}"
            );
        }
    }
}

#[test]
fn merging_adds_and_never_removes() {
    let current = json!({"rules": [{"verbs": ["a"]}, {"verbs": ["own"]}]});
    let wanted = json!({"rules": [{"verbs": ["a"]}, {"verbs": ["new"]}]});
    let merged = policy::merged(&current, &wanted).unwrap();
    assert_eq!(merged["rules"].as_array().unwrap().len(), 3);
    assert_eq!(policy::merged(&merged, &wanted), None);
}

use super::*;

fn strings(list: &[&str]) -> Vec<String> {
    list.iter().map(|s| (*s).to_owned()).collect()
}

fn rule(verbs: &[&str], groups: &[&str], resources: &[&str], names: &[&str]) -> Rule {
    Rule {
        verbs: strings(verbs),
        api_groups: strings(groups),
        resources: strings(resources),
        resource_names: strings(names),
        ..Default::default()
    }
}

fn wanted(verb: &str, group: &str, resource: &str, name: &str) -> Attributes {
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    Attributes {
        verb: verb.into(),
        group: group.into(),
        resource: resource.into(),
        subresource: subresource.into(),
        name: name.into(),
        is_resource: true,
        ..Default::default()
    }
}

#[test]
fn resources_subresources_and_names() {
    let pods = rule(&["get"], &[""], &["pods"], &[]);
    assert!(pods.allows(&wanted("get", "", "pods", "x")));
    assert!(!pods.allows(&wanted("list", "", "pods", "")));
    assert!(!pods.allows(&wanted("get", "", "pods/log", "x")));
    assert!(!pods.allows(&wanted("get", "apps", "pods", "x")));

    let scale = rule(&["*"], &["*"], &["*/scale"], &[]);
    assert!(scale.allows(&wanted("update", "apps", "deployments/scale", "x")));
    assert!(!scale.allows(&wanted("update", "apps", "deployments", "x")));

    let named = rule(&["get"], &[""], &["secrets"], &["one"]);
    assert!(named.allows(&wanted("get", "", "secrets", "one")));
    assert!(!named.allows(&wanted("get", "", "secrets", "two")));
    assert!(rule(&["*"], &["*"], &["*"], &[]).allows(&wanted("patch", "x", "y/z", "n")));
}

#[test]
fn paths() {
    let rule = Rule {
        verbs: strings(&["get"]),
        non_resource_urls: strings(&["/healthz", "/api/*"]),
        ..Default::default()
    };
    let path = |p: &str| Attributes {
        verb: "get".into(),
        path: p.into(),
        ..Default::default()
    };
    assert!(rule.allows(&path("/healthz")));
    assert!(!rule.allows(&path("/healthz/etcd")));
    assert!(rule.allows(&path("/api/v1")));
    assert!(!rule.allows(&path("/api")));
}

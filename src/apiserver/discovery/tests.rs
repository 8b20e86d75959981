use super::*;
use crate::apis::Enabled;

#[test]
fn groups_have_versions_and_resources() {
    let catalog = Snapshot::builtin(&Enabled::new(&[]).unwrap());
    assert!(named(&catalog).any(|group| group.name == "apps"));
    let list = resource_list(&catalog, "apps", "v1");
    let names: Vec<&str> = list["resources"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|r| r["name"].as_str())
        .collect();
    assert!(names.contains(&"deployments") && names.contains(&"deployments/scale"));
    let scale = list["resources"]
        .as_array()
        .unwrap()
        .iter()
        .find(|r| r["name"] == "deployments/scale")
        .unwrap();
    assert_eq!(
        (scale["group"].as_str(), scale["kind"].as_str()),
        (Some("autoscaling"), Some("Scale"))
    );
}

#[test]
fn aggregated_form_is_asked_for_by_accept() {
    let mut headers = HeaderMap::new();
    assert!(!wants_aggregated(&headers));
    let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
    headers.insert(header::ACCEPT, accept.parse().unwrap());
    assert!(wants_aggregated(&headers));
    let catalog = Snapshot::builtin(&Enabled::new(&[]).unwrap());
    let response = aggregated(&catalog, true, &headers);
    assert_eq!(response.headers()[header::CONTENT_TYPE], AGGREGATED);
    let tag = response.headers()[header::ETAG].clone();
    headers.insert(header::IF_NONE_MATCH, tag);
    assert_eq!(
        aggregated(&catalog, true, &headers).status(),
        StatusCode::NOT_MODIFIED
    );
}

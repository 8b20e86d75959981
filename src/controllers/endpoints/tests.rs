use serde_json::json;

use super::*;

#[test]
fn ready_and_unready_share_a_subset_and_nothing_is_written_twice() {
    let service: Service = serde_json::from_value(json!({
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"clusterIP": "None", "selector": {"a": "b"}, "ports": [{"port": 80}]},
    }))
    .unwrap();
    let pod = |n: u8, ready: &str| -> Arc<Pod> {
        Arc::new(
            serde_json::from_value(json!({
                "metadata": {"name": format!("p{n}"), "uid": format!("u{n}")},
                "spec": {"nodeName": "n1", "containers": []},
                "status": {"phase": "Running", "podIP": format!("10.0.0.{n}"),
                    "conditions": [{"type": "Ready", "status": ready}]},
            }))
            .unwrap(),
        )
    };
    let pods = [pod(2, "True"), pod(1, "True"), pod(3, "False")];
    let made = plan::plan(&service, &pods, None).unwrap();
    assert!(plan::is_ours(&made));
    assert!(
        made.metadata
            .labels
            .as_ref()
            .unwrap()
            .contains_key("service.kubernetes.io/headless")
    );
    let subsets = made.subsets.clone().unwrap();
    let ips = |list: &Option<Vec<k8s_openapi::api::core::v1::EndpointAddress>>| -> Vec<String> {
        list.iter().flatten().map(|a| a.ip.clone()).collect()
    };
    assert_eq!(subsets.len(), 1);
    assert_eq!(ips(&subsets[0].addresses), ["10.0.0.1", "10.0.0.2"]);
    assert_eq!(ips(&subsets[0].not_ready_addresses), ["10.0.0.3"]);
    assert_eq!(subsets[0].ports.as_ref().unwrap()[0].port, 80);
    assert!(plan::plan(&service, &pods, Some(&made)).is_none());
    let fewer = plan::plan(&service, &[], Some(&made)).unwrap();
    assert_eq!(fewer.subsets, None);
}

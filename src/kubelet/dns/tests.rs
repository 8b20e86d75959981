use serde_json::{Value, json};

use super::*;

fn pod(spec: Value) -> Pod {
    let mut spec = spec;
    spec["containers"] = json!([]);
    serde_json::from_value(json!({"metadata": {"name": "web-0", "namespace": "shop"}, "spec": spec}))
        .expect("a pod")
}

fn host() -> ResolvConf {
    parse_resolv_conf("# c\nnameserver 192.0.2.1\nsearch corp.example. lan\noptions timeout:2\n")
}

#[test]
fn policies() {
    let dns = |spec| pod_dns(&pod(spec), &host(), &["10.96.0.10".into()], "cluster.local");
    let cluster = dns(json!({}));
    assert_eq!(cluster.servers, ["10.96.0.10"]);
    assert_eq!(
        cluster.searches,
        [
            "shop.svc.cluster.local",
            "svc.cluster.local",
            "cluster.local",
            "corp.example",
            "lan"
        ]
    );
    assert_eq!(cluster.options, ["ndots:5"]);
    let own = dns(json!({"dnsPolicy": "Default"}));
    assert_eq!(
        (own.servers, own.options),
        (vec!["192.0.2.1".to_string()], vec!["timeout:2".to_string()])
    );
    assert_eq!(dns(json!({"hostNetwork": true})).servers, ["192.0.2.1"]);
    let with_host = dns(json!({"hostNetwork": true, "dnsPolicy": "ClusterFirstWithHostNet"}));
    assert_eq!(with_host.servers, ["10.96.0.10"]);
    let none = dns(
        json!({"dnsPolicy": "None", "dnsConfig": {"nameservers": ["1.1.1.1"], "searches": ["a.b"],
        "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}]}}),
    );
    assert_eq!(
        (none.servers, none.searches),
        (vec!["1.1.1.1".to_string()], vec!["a.b".to_string()])
    );
    assert_eq!(none.options, ["ndots:2", "edns0"]);
    let merged = dns(json!({"dnsConfig": {"options": [{"name": "ndots", "value": "2"}]}}));
    assert_eq!(merged.options, ["ndots:2"]);
}

#[test]
fn hosts_file() {
    let with_domain =
        pod(json!({"subdomain": "web", "hostAliases": [{"ip": "1.2.3.4", "hostnames": ["a", "b"]}]}));
    let text = etc_hosts(&with_domain, &["10.244.0.5".into()], "cluster.local", "");
    assert!(text.starts_with("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n"));
    assert!(text.contains("10.244.0.5\tweb-0.web.shop.svc.cluster.local\tweb-0\n"));
    assert!(text.ends_with("\n# Entries added by HostAliases.\n1.2.3.4\ta\tb\n"));
    let host = etc_hosts(
        &pod(json!({"hostNetwork": true})),
        &[],
        "cluster.local",
        "127.0.0.1 localhost\n",
    );
    assert_eq!(
        host,
        "# Kubernetes-managed hosts file (host network).\n127.0.0.1 localhost\n"
    );
}

#[test]
fn hostnames() {
    assert_eq!(hostname(&pod(json!({})), "c.l"), ("web-0".into(), String::new()));
    let long = Pod {
        metadata: k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
            name: Some(format!("{}-{}", "a".repeat(62), "b".repeat(9))),
            ..Default::default()
        },
        ..Default::default()
    };
    assert_eq!(hostname(&long, "c.l").0, "a".repeat(62));
}

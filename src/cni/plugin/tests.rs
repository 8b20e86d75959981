use std::collections::HashMap;

use super::*;
use serde_json::Value;

fn call(env: &[(&str, &str)], input: &str) -> Result<Value, Value> {
    let env: HashMap<&str, &str> = env.iter().copied().collect();
    let parse = |text: &str| {
        if text.is_empty() {
            Value::Null
        } else {
            serde_json::from_str(text).unwrap()
        }
    };
    answer(|name| env.get(name).map(OsString::from), input)
        .map(|text| parse(&text))
        .map_err(|(version, failure)| parse(&failure.to_json(&version)))
}

#[test]
fn version_answers_whatever_the_configuration() {
    let answer = call(&[("CNI_COMMAND", "VERSION")], "{\"cniVersion\": \"9.9.9\"}").unwrap();
    assert_eq!(answer["cniVersion"], "9.9.9");
    assert_eq!(
        answer["supportedVersions"].as_array().unwrap().len(),
        SUPPORTED.len()
    );
    assert!(call(&[("CNI_COMMAND", "VERSION")], "").is_ok());
}

#[test]
fn wrong_calls_get_the_specifications_codes() {
    let good = "{\"cniVersion\": \"1.0.0\", \"name\": \"x\", \"type\": \"rkind-cni\"}";
    let full = [
        ("CNI_COMMAND", "ADD"),
        ("CNI_CONTAINERID", "c1"),
        ("CNI_IFNAME", "eth0"),
        ("CNI_NETNS", "/nonexistent/ns"),
    ];
    let with = |name: &str, value: &'static str| {
        full.iter()
            .map(|(k, v)| (*k, if *k == name { value } else { *v }))
            .collect::<Vec<_>>()
    };
    for (env, input, code) in [
        (vec![], good, 4),
        (with("CNI_COMMAND", "FLY"), good, 4),
        (with("CNI_CONTAINERID", ""), good, 4),
        (with("CNI_CONTAINERID", "../x"), good, 4),
        (with("CNI_IFNAME", "a/b"), good, 4),
        (with("CNI_IFNAME", "sixteen-letters-"), good, 4),
        (with("CNI_NETNS", ""), good, 4),
        (full.to_vec(), "{", 6),
        (full.to_vec(), "{\"cniVersion\": \"2.0.0\", \"type\": \"x\"}", 1),
        (full.to_vec(), good, 7),
        (
            full.to_vec(),
            "{\"cniVersion\": \"1.0.0\", \"type\": \"x\", \"podCIDR\": \"10.0.0.0/24\"}",
            3,
        ),
        (
            full.to_vec(),
            "{\"cniVersion\": \"1.0.0\", \"type\": \"loopback\"}",
            3,
        ),
    ] {
        let failure = call(&env, input).unwrap_err();
        assert_eq!(failure["code"], code, "{env:?} {input} -> {failure}");
        assert!(failure["msg"].as_str().is_some_and(|m| !m.is_empty()));
    }
}

#[test]
fn answers_take_the_shape_of_the_version_asked_for() {
    let outcome = Outcome {
        interfaces: vec![Interface {
            name: "eth0".into(),
            mac: "m".into(),
            mtu: Some(9),
            sandbox: Some("/ns".into()),
        }],
        ips: vec![Ip {
            address: "10.244.1.2/32".parse().unwrap(),
            gateway: Some("10.244.1.1".parse().unwrap()),
            interface: 0,
        }],
        routes: vec![RouteEntry {
            destination: "0.0.0.0/0".parse().unwrap(),
            gateway: None,
        }],
    };
    let shape = |version| serde_json::from_str::<Value>(&outcome.to_json(version)).unwrap();
    assert_eq!(shape("0.4.0")["ips"][0]["version"], "4");
    assert_eq!(shape("1.0.0")["ips"][0]["version"], Value::Null);
    assert_eq!(
        (
            &shape("1.0.0")["interfaces"][0]["mtu"],
            &shape("1.1.0")["interfaces"][0]["mtu"]
        ),
        (&Value::Null, &9.into())
    );
    assert_eq!(shape("1.0.0")["ips"][0]["address"], "10.244.1.2/32");
    assert_eq!(shape("1.0.0")["routes"][0]["dst"], "0.0.0.0/0");
}

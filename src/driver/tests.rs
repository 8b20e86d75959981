use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::*;

/// Just enough of a shell for the contract.
fn shell(_node: &str, files: &BTreeMap<String, Bytes>, command: &[String], input: &[u8]) -> Finished {
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    let (stdout, stderr, code) = match words.as_slice() {
        ["cat"] => (input.to_vec(), vec![], 0),
        ["cat", path] => (files[*path].to_vec(), vec![], 0),
        ["test", "-f", path] => (vec![], vec![], i64::from(!files.contains_key(*path))),
        ["/bin/sh", "-c", "echo out; echo err >&2; exit 3"] => (b"out\n".to_vec(), b"err\n".to_vec(), 3),
        ["/bin/sh", "-c", "echo why >&2; exit 4"] => (vec![], b"why\n".to_vec(), 4),
        other => (vec![], format!("unknown: {other:?}").into_bytes(), 127),
    };
    Finished { stdout, stderr, code }
}

#[tokio::test]
async fn the_fake_keeps_the_contract() {
    let driver = FakeDriver::new(shell);
    driver.add_image("test:1");
    contract::run(Arc::new(driver), "test:1", "fake").await;
}

use fake::FakeDriver;

#[tokio::test]
async fn a_fake_can_fail_on_demand() {
    let driver = FakeDriver::new(shell);
    driver.fail_next("create_network");
    let spec = NetworkSpec {
        cluster: "x".into(),
        subnet: None,
        avoid: vec![],
    };
    driver.create_network(&spec).await.unwrap_err();
    driver.create_network(&spec).await.unwrap();
    assert_eq!(driver.calls(), ["create_network x"]);
}

//! Programs that operators and scripts are written with: client-go (protobuf), the Python client, the kube crate.

use std::process::Stdio;

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{
    DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams, WatchEvent, WatchParams,
};
use kube::runtime::watcher;
use kube::{Api, ResourceExt as _};
use serde_json::json;

use crate::server::{Server, program};

/// Runs a program that prints `ok` or `FAIL` per check.
fn all_pass(mut command: std::process::Command) {
    let output = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .output()
        .unwrap_or_else(|error| panic!("{command:?} did not start: {error}"));
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{}\nstdout:\n{stdout}\nstderr:\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(stdout.lines().filter(|line| line.starts_with("ok ")).count() > 5);
}

#[test]
fn client_go_in_protobuf() {
    let server = Server::start();
    all_pass(server.command(&program("API_GO_CLIENT"), &[]));
}

#[test]
fn the_python_client() {
    let server = Server::start();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/api/python/client.py");
    all_pass(server.command(&program("API_PYTHON"), &[script]));
}

fn map(name: &str) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(name.into()),
            ..Default::default()
        },
        data: Some([("k".into(), "v".into())].into()),
        ..Default::default()
    }
}

#[tokio::test]
async fn the_kube_crate() {
    let server = Server::start();
    let maps: Api<ConfigMap> = Api::namespaced(server.client().await, "default");
    let made = maps.create(&PostParams::default(), &map("a")).await.unwrap();
    let list = maps.list(&ListParams::default()).await.unwrap();
    let version = list.metadata.resource_version.clone().unwrap();
    let mut events = maps
        .watch(&WatchParams::default(), &version)
        .await
        .unwrap()
        .boxed();
    let params = PatchParams::apply("kube-crate").force();
    let patch = Patch::Apply(json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"k": "w"}}));
    maps.patch("a", &params, &patch).await.unwrap();
    let json_patch: json_patch::Patch =
        serde_json::from_value(json!([{"op": "add", "path": "/data/x", "value": "y"}])).unwrap();
    maps.patch("a", &PatchParams::default(), &Patch::<()>::Json(json_patch))
        .await
        .unwrap();
    for wanted in [1, 2] {
        match events.try_next().await.unwrap() {
            Some(WatchEvent::Modified(seen)) => assert_eq!(seen.data.unwrap().len(), wanted),
            other => panic!("{other:?}"),
        }
    }
    let metadata = maps.get_metadata("a").await.unwrap();
    assert_eq!(metadata.uid(), made.uid());
    let params = DeleteParams::background().preconditions(kube::api::Preconditions {
        uid: Some("other".into()),
        ..Default::default()
    });
    let refused = maps.delete("a", &params).await.unwrap_err();
    assert!(matches!(refused, kube::Error::Api(status) if status.code == 409));
    maps.delete_collection(
        &DeleteParams::default(),
        &ListParams::default().fields("metadata.name=a"),
    )
    .await
    .unwrap();
    assert!(maps.get_opt("a").await.unwrap().is_none());
}

/// Both ways in which the kube crate's watcher lists: pages, and a watch that begins with what is there.
#[tokio::test]
async fn the_kube_crates_watcher() {
    let server = Server::start();
    let maps: Api<ConfigMap> = Api::namespaced(server.client().await, "default");
    for i in 0..5 {
        maps.create(&PostParams::default(), &map(&format!("m{i}")))
            .await
            .unwrap();
    }
    let strategies = [
        watcher::Config::default().page_size(2),
        watcher::Config::default().streaming_lists(),
    ];
    for (round, config) in strategies.into_iter().enumerate() {
        let mut events = watcher(maps.clone(), config).boxed();
        let mut initial = 0;
        loop {
            match events.try_next().await.unwrap().unwrap() {
                watcher::Event::Init => {}
                watcher::Event::InitApply(_) => initial += 1,
                watcher::Event::InitDone => break,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(initial, 5 + round);
        let name = format!("new{round}");
        maps.create(&PostParams::default(), &map(&name)).await.unwrap();
        match events.try_next().await.unwrap().unwrap() {
            watcher::Event::Apply(seen) => assert_eq!(seen.name_any(), name),
            other => panic!("{other:?}"),
        }
    }
}

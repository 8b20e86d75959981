//! The kube crate in-process and a standalone server over TLS.

use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams},
};
use tokio_util::sync::CancellationToken;

use super::*;

#[tokio::test]
async fn the_kube_crate_in_process() {
    let f = fixture().await;
    let client = Client::new(f.admin(), "default");
    let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
    let made: ConfigMap = serde_json::from_value(config_map("a")).unwrap();
    let made = maps.create(&PostParams::default(), &made).await.unwrap();
    assert!(made.uid().is_some());
    let list = maps.list(&ListParams::default()).await.unwrap();
    let version = list.metadata.resource_version.clone().unwrap();
    let mut changes = maps
        .watch(&WatchParams::default(), &version)
        .await
        .unwrap()
        .boxed();
    let patch = Patch::Merge(json!({"data": {"x": "y"}}));
    maps.patch("a", &PatchParams::default(), &patch).await.unwrap();
    let next = tokio::time::timeout(Duration::from_secs(10), changes.try_next())
        .await
        .unwrap()
        .unwrap();
    let Some(WatchEvent::Modified(seen)) = next else {
        panic!("{next:?}")
    };
    assert_eq!(seen.data.unwrap()["x"], "y");
    maps.delete("a", &DeleteParams::default()).await.unwrap();
    let missing = maps.get("a").await.unwrap_err();
    assert!(matches!(missing, kube::Error::Api(status) if status.code == 404));
    let all: Api<Namespace> = Api::all(client.clone());
    assert_eq!(all.list(&ListParams::default()).await.unwrap().items.len(), 4);
    assert_eq!(
        client.apiserver_version().await.unwrap().git_version,
        crate::VERSION
    );
}

#[tokio::test]
async fn alone_over_tls_and_again() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..2 {
        let address = "127.0.0.1:0".parse().unwrap();
        let options = crate::standalone::Options::new(dir.path().into(), address);
        let alone = crate::standalone::start(options).await.unwrap();
        let text = std::fs::read_to_string(&alone.kubeconfig).unwrap();
        let shutdown = CancellationToken::new();
        let serving = tokio::spawn(alone.serve(shutdown.clone()));
        let config = kube::config::Kubeconfig::from_yaml(&text).unwrap();
        let config = kube::Config::from_custom_kubeconfig(config, &Default::default())
            .await
            .unwrap();
        let client = Client::try_from(config).unwrap();
        let maps: Api<ConfigMap> = Api::namespaced(client, "default");
        let known = maps.list(&ListParams::default()).await.unwrap().items.len();
        assert_eq!(known, round);
        let map: ConfigMap = serde_json::from_value(config_map(&format!("m{round}"))).unwrap();
        maps.create(&PostParams::default(), &map).await.unwrap();
        let watch = maps.watch(&WatchParams::default(), "0").await.unwrap();
        shutdown.cancel();
        // A watch ends with the server; it does not hold it up.
        tokio::time::timeout(Duration::from_secs(10), watch.collect::<Vec<_>>())
            .await
            .unwrap();
        tokio::time::timeout(Duration::from_secs(20), serving)
            .await
            .unwrap()
            .unwrap()
            .unwrap();
    }
}

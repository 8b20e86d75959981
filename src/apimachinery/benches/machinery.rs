//! What one write costs beside decoding: `cargo bench -p rkind-apimachinery --bench machinery`.

use divan::{Bencher, black_box};
use jiff::Timestamp;
use rkind_apimachinery::apply::{self, Request, Set};
use rkind_apimachinery::meta::Gvk;
use rkind_apimachinery::schema::{Schema, TypeDef};
use rkind_apimachinery::{defaults, patch, strategy, table, validation};
use serde_json::{Value, json};

fn main() {
    divan::main();
}

fn def() -> &'static TypeDef {
    Schema::get()
        .type_by_name("io.k8s.api.core.v1.Pod")
        .expect("a built-in type")
}

fn gvk() -> Gvk {
    Gvk::new("", "v1", "Pod")
}

fn bare() -> Value {
    let container = |name: &str| {
        json!({
            "name": name,
            "image": "registry.example/team/service:1.2.3",
            "env": [{"name": "MODE", "value": "production"}],
            "ports": [{"name": "http", "containerPort": 8080}],
            "resources": {"requests": {"cpu": "250m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}},
            "volumeMounts": [{"name": "config", "mountPath": "/etc/service"}],
            "livenessProbe": {"httpGet": {"path": "/healthz", "port": "http"}},
            "readinessProbe": {"httpGet": {"path": "/readyz", "port": 8080}},
        })
    };
    let mut second = container("sidecar");
    second["ports"] = json!([]);
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "service-x2x7q", "namespace": "production", "uid": "u", "labels": {"app": "service"}},
        "spec": {
            "containers": [container("service"), second],
            "volumes": [{"name": "config", "configMap": {"name": "service"}}],
            "nodeName": "node-1",
        },
    })
}

fn request<'a>(manager: &'a str, ignored: &'a Set) -> Request<'a> {
    Request {
        def: Some(def()),
        api_version: "v1",
        manager,
        subresource: "",
        now: Timestamp::UNIX_EPOCH,
        ignored,
    }
}

fn pod() -> Value {
    let mut p = bare();
    defaults::apply(&gvk(), &mut p);
    strategy::prepare_for_create(&gvk(), &mut p);
    let ignored = apply::ignored(true, "");
    apply::track(&request("kubectl", &ignored), None, &mut p);
    p
}

#[divan::bench]
fn default(bencher: Bencher<'_, '_>) {
    bencher.with_inputs(bare).bench_values(|mut p| {
        defaults::apply(&gvk(), &mut p);
        p
    });
}

#[divan::bench]
fn validate_create(bencher: Bencher<'_, '_>) {
    let p = pod();
    bencher.bench(|| validation::create(&gvk(), black_box(&p)));
}

#[divan::bench]
fn validate_update(bencher: Bencher<'_, '_>) {
    let p = pod();
    bencher.bench(|| validation::update(&gvk(), black_box(&p), &p));
}

#[divan::bench]
fn strategic_patch(bencher: Bencher<'_, '_>) {
    let p = pod();
    let patch = br#"{"spec":{"containers":[{"name":"service","image":"x:2"}]}}"#;
    bencher.bench(|| patch::strategic(black_box(&p), patch, def()));
}

#[divan::bench]
fn track_status_update(bencher: Bencher<'_, '_>) {
    let old = pod();
    let mut new = old.clone();
    new["status"]["phase"] = json!("Running");
    let ignored = apply::ignored(true, "status");
    bencher.with_inputs(|| new.clone()).bench_values(|mut n| {
        let r = Request {
            subresource: "status",
            ..request("kubelet", &ignored)
        };
        apply::track(&r, Some(&old), &mut n);
        n
    });
}

#[divan::bench]
fn apply_again(bencher: Bencher<'_, '_>) {
    let ignored = apply::ignored(true, "");
    let config = bare();
    let live =
        apply::apply(&request("me", &ignored), None, &config, false).expect("nothing to conflict with");
    bencher.bench(|| apply::apply(&request("me", &ignored), Some(black_box(&live)), &config, false));
}

#[divan::bench]
fn table_row(bencher: Bencher<'_, '_>) {
    let p = pod();
    bencher.bench(|| table::row(&gvk(), black_box(&p), Timestamp::UNIX_EPOCH));
}

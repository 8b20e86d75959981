//! What one pod costs: `cargo bench -p rkind-apimachinery`.

use divan::{Bencher, black_box};
use rkind_apimachinery::codec::{FieldValidation, decode_json, normalize};
use rkind_apimachinery::protobuf;
use rkind_apimachinery::schema::{Schema, TypeDef};
use serde_json::{Value, json};

fn main() {
    divan::main();
}

fn def() -> &'static TypeDef {
    Schema::get()
        .type_by_name("io.k8s.api.core.v1.Pod")
        .expect("a built-in type")
}

/// A pod of about 2.7 KB, as a kubelet would see it.
fn pod() -> Value {
    let container = |name: &str| {
        json!({
            "name": name,
            "image": "registry.example/team/service:1.2.3",
            "args": ["--listen=:8080", "--verbose"],
            "env": [{ "name": "MODE", "value": "production" },
                { "name": "NODE", "valueFrom": { "fieldRef": { "apiVersion": "v1", "fieldPath": "spec.nodeName" } } }],
            "ports": [{ "name": "http", "containerPort": 8080, "protocol": "TCP" }],
            "resources": { "requests": { "cpu": "250m", "memory": "64Mi" }, "limits": { "memory": "128Mi" } },
            "volumeMounts": [{ "name": "config", "mountPath": "/etc/service", "readOnly": true }],
            "livenessProbe": { "httpGet": { "path": "/healthz", "port": "http", "scheme": "HTTP" }, "periodSeconds": 10 },
            "readinessProbe": { "httpGet": { "path": "/readyz", "port": 8080, "scheme": "HTTP" }, "periodSeconds": 5 },
            "imagePullPolicy": "IfNotPresent",
            "terminationMessagePath": "/dev/termination-log",
            "terminationMessagePolicy": "File"
        })
    };
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "service-5d4f8c7b9-x2x7q",
            "namespace": "production",
            "uid": "2b9a5a58-6bb4-4d1c-8c8e-0a2f5d1f9b11",
            "labels": { "app": "service", "pod-template-hash": "5d4f8c7b9" },
            "creationTimestamp": "2026-01-02T03:04:05Z",
            "ownerReferences": [{ "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "service-5d4f8c7b9",
                "uid": "7c1c2b70-3c3f-4f0e-9f5e-6f1f6a0d7f10", "controller": true, "blockOwnerDeletion": true }]
        },
        "spec": {
            "containers": [container("service"), container("sidecar")],
            "volumes": [{ "name": "config", "configMap": { "name": "service", "defaultMode": 420 } }],
            "nodeName": "node-1",
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 30,
            "dnsPolicy": "ClusterFirst",
            "serviceAccountName": "default",
            "schedulerName": "default-scheduler",
            "tolerations": [{ "key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300 }]
        },
        "status": {
            "phase": "Running",
            "podIP": "10.244.1.7",
            "conditions": [
                { "type": "Ready", "status": "True", "lastTransitionTime": "2026-01-02T03:04:09Z" },
                { "type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-01-02T03:04:05Z" }]
        }
    })
}

#[divan::bench]
fn decode_json_by_schema(bencher: Bencher<'_, '_>) {
    let bytes = pod().to_string().into_bytes();
    bencher.bench(|| decode_json(black_box(&bytes), def(), FieldValidation::Warn).expect("valid"));
}

#[divan::bench]
fn decode_json_to_value(bencher: Bencher<'_, '_>) {
    let bytes = pod().to_string().into_bytes();
    bencher.bench(|| serde_json::from_slice::<Value>(black_box(&bytes)).expect("valid"));
}

#[divan::bench]
fn normalize_clone(bencher: Bencher<'_, '_>) {
    let pod = pod();
    bencher
        .with_inputs(|| pod.clone())
        .bench_refs(|pod| normalize(pod, def()));
}

#[divan::bench]
fn encode_protobuf(bencher: Bencher<'_, '_>) {
    let pod = pod();
    bencher.bench(|| protobuf::encode(black_box(&pod), def()).expect("valid"));
}

#[divan::bench]
fn decode_protobuf(bencher: Bencher<'_, '_>) {
    let bytes = protobuf::encode(&pod(), def()).expect("valid");
    bencher.bench(|| protobuf::decode(black_box(&bytes), def()).expect("valid"));
}

#[divan::bench]
fn parse_schema(bencher: Bencher<'_, '_>) {
    const TABLE: &str = include_str!("../schema/v1.35.txt");
    bencher.bench(|| Schema::parse(black_box(TABLE)).expect("valid"));
}

use http::StatusCode;
use serde_json::json;

use super::{policy::Policy, *};
use crate::tests::{
    config_map, eventually, fixture_of,
    hooks::{Hook, Reply},
};

const HEAD: &str = "apiVersion: audit.k8s.io/v1\nkind: Policy\n";

#[test]
fn the_first_rule_that_fits_decides() {
    let policy = Policy::parse(&format!(
        "{HEAD}omitStages: [RequestReceived]\nrules:
- {{level: None, users: ['system:kube-proxy'], verbs: [watch], resources: [{{group: '', resources: [endpoints, services]}}]}}
- {{level: None, nonResourceURLs: ['/healthz*', /version]}}
- {{level: Request, resources: [{{group: '', resources: [configmaps], resourceNames: [one]}}], namespaces: [kube-system]}}
- {{level: Metadata, resources: [{{group: '', resources: ['pods/*', '*/scale']}}], omitStages: [ResponseStarted]}}
- {{level: RequestResponse, userGroups: ['system:nodes'], resources: [{{group: apps}}]}}
- {{level: Metadata, namespaces: ['']}}\n"
    ))
    .unwrap();
    let judge = |user: &UserInfo, method: &str, uri: &str| {
        let (path, query) = uri.split_once('?').map_or((uri, None), |(p, q)| (p, Some(q)));
        let info = RequestInfo::parse(&method.parse().unwrap(), path, query);
        policy.judge(user, &info)
    };
    let (jane, proxy, node) = (
        UserInfo::new("jane", &[]),
        UserInfo::new("system:kube-proxy", &[]),
        UserInfo::new("n", &["system:nodes"]),
    );
    for (user, method, uri, level) in [
        (&proxy, "GET", "/api/v1/services?watch=1", Level::None),
        (&proxy, "GET", "/api/v1/nodes", Level::Metadata),
        (&jane, "GET", "/healthz/ping", Level::None),
        (&jane, "GET", "/version", Level::None),
        (&jane, "GET", "/metrics", Level::None),
        (
            &jane,
            "PUT",
            "/api/v1/namespaces/kube-system/configmaps/one",
            Level::Request,
        ),
        (
            &jane,
            "PUT",
            "/api/v1/namespaces/kube-system/configmaps/two",
            Level::None,
        ),
        (&jane, "GET", "/api/v1/namespaces/a/pods/p/log", Level::Metadata),
        (
            &jane,
            "GET",
            "/api/v1/namespaces/a/replicationcontrollers/p/scale",
            Level::Metadata,
        ),
        (&jane, "GET", "/api/v1/namespaces/a/services/p", Level::None),
        (
            &node,
            "GET",
            "/apis/apps/v1/namespaces/a/deployments/d",
            Level::RequestResponse,
        ),
        (
            &jane,
            "GET",
            "/apis/apps/v1/namespaces/a/deployments/d",
            Level::None,
        ),
    ] {
        assert_eq!(judge(user, method, uri).0, level, "{} {method} {uri}", user.name);
    }
    let omit = judge(&jane, "GET", "/api/v1/namespaces/a/pods/p/log").1;
    assert_eq!(omit, [Stage::RequestReceived, Stage::ResponseStarted]);
}

#[test]
fn policies_that_are_refused() {
    for (body, why) in [
        ("rules: []", "loaded illegal policy with 0 rules"),
        ("rules: [{level: Loud}]", "unknown variant"),
        ("rules: [{users: [a]}]", "rules[0].level: Required value"),
        (
            "rules: [{level: None, nonResourceURLs: [/x], namespaces: [a]}]",
            "rules cannot apply to both regular resources and non-resource URLs",
        ),
        (
            "rules: [{level: None, resources: [{group: '', resourceNames: [a]}]}]",
            "using resourceNames requires at least one resource",
        ),
    ] {
        let error = Policy::parse(&format!("{HEAD}{body}")).unwrap_err();
        assert!(error.contains(why), "{body}: {error}");
    }
}

#[tokio::test]
async fn events_are_lines_of_json() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("logs/audit.log");
    let policy = format!(
        "{HEAD}omitManagedFields: true\nrules:
- {{level: RequestResponse, resources: [{{group: '', resources: [configmaps]}}], omitStages: [RequestReceived]}}
- {{level: Metadata, verbs: [watch]}}
- {{level: Metadata, users: [bob]}}
- {{level: None}}\n"
    );
    let f = fixture_of(|o| {
        o.features.audit.audit_policy_file = Some(policy.into());
        o.features.audit.audit_log_path = Some(path.clone());
    })
    .await;
    let lines = || -> Vec<Value> {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let ended = text.rfind('\n').map_or("", |at| &text[..at]);
        ended.lines().map(|l| serde_json::from_str(l).unwrap()).collect()
    };
    let uri = "/api/v1/namespaces/default/configmaps";
    let (code, _) = f.send("POST", uri, config_map("a")).await;
    assert_eq!(code, StatusCode::CREATED);
    let mine = |user: &str, stage: &str, verb: &str| {
        let found = lines()
            .into_iter()
            .find(|e| e["stage"] == stage && e["verb"] == verb && e["user"]["username"] == user);
        async { found }
    };
    let event = eventually("the creation", || {
        mine("kubernetes-admin", "ResponseComplete", "create")
    })
    .await;
    assert_eq!(
        [
            &event["kind"],
            &event["apiVersion"],
            &event["level"],
            &event["requestURI"]
        ],
        ["Event", "audit.k8s.io/v1", "RequestResponse", uri]
    );
    assert_eq!(
        event["objectRef"],
        json!({"resource": "configmaps", "namespace": "default", "name": "a", "apiVersion": "v1",
            "uid": event["responseObject"]["metadata"]["uid"]})
    );
    assert_eq!(event["requestObject"]["data"], json!({"k": "v"}));
    assert!(event["responseObject"]["metadata"]["uid"].is_string());
    assert!(event["responseObject"]["metadata"]["managedFields"].is_null());
    assert_eq!(event["responseStatus"]["code"], 201);
    assert_eq!(event["annotations"]["authorization.k8s.io/decision"], "allow");

    let bob = f.server.in_process(UserInfo::new("bob", &[]));
    let secrets = "/api/v1/namespaces/default/secrets";
    f.send_as(
        bob,
        "GET",
        secrets,
        Value::Null,
        &[("audit-id", "abc"), ("user-agent", "test")],
    )
    .await;
    let event = eventually("the refusal", || mine("bob", "ResponseComplete", "list")).await;
    assert_eq!(
        [&event["auditID"], &event["userAgent"], &event["level"]],
        ["abc", "test", "Metadata"]
    );
    assert_eq!(event["annotations"]["authorization.k8s.io/decision"], "forbid");
    assert_eq!(event["responseStatus"]["reason"], "Forbidden");
    assert_eq!(event["responseStatus"]["details"], json!({"kind": "secrets"}));
    assert!(
        lines()
            .iter()
            .any(|e| e["auditID"] == "abc" && e["stage"] == "RequestReceived")
    );

    let watch = http::Request::get(format!("{secrets}?watch=true"))
        .body(Body::empty())
        .unwrap();
    let response = tower::ServiceExt::oneshot(f.admin(), watch).await.unwrap();
    eventually("its beginning", || {
        mine("kubernetes-admin", "ResponseStarted", "watch")
    })
    .await;
    drop(response);
    eventually("its end", || {
        mine("kubernetes-admin", "ResponseComplete", "watch")
    })
    .await;
}

#[tokio::test]
async fn events_go_to_a_webhook_in_batches() {
    let hook = Hook::start(|_, _| Reply::Text(200, String::new())).await;
    let kubeconfig = json!({"clusters": [{"cluster": {
        "server": format!("https://{}/audit", hook.address), "certificate-authority-data": hook.ca_bundle}}]});
    let f = fixture_of(|o| {
        let audit = &mut o.features.audit;
        audit.audit_policy_file =
            Some(format!("{HEAD}rules: [{{level: Metadata, users: [kubernetes-admin]}}]").into());
        audit.audit_webhook_config_file = Some(kubeconfig.to_string().into());
        audit.audit_webhook_batch_max_size = 4;
    })
    .await;
    for _ in 0..2 {
        f.get("/version").await;
    }
    let lists = eventually("a batch", async || {
        let bodies = hook.bodies();
        (!bodies.is_empty()).then_some(bodies)
    })
    .await;
    assert_eq!(lists[0]["kind"], "EventList");
    let stages: Vec<&Value> = lists[0]["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| &e["stage"])
        .collect();
    assert_eq!(
        stages,
        [
            "RequestReceived",
            "ResponseComplete",
            "RequestReceived",
            "ResponseComplete"
        ]
    );
}

#[test]
fn a_full_log_is_set_aside_and_old_ones_go() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.log");
    let options = options::Audit {
        audit_log_maxbackup: 2,
        ..Default::default()
    };
    let mut log = log::Rotated::open(&path, &options).unwrap().limited(10);
    for _ in 0..6 {
        log.write(b"12345678\n").unwrap();
    }
    let mut names: Vec<String> = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    assert_eq!(names.len(), 3, "{names:?}");
    assert!(names.iter().any(|n| n == "audit.log"));
    assert!(
        names
            .iter()
            .all(|n| n.starts_with("audit") && n.ends_with(".log"))
    );
}

/// Whoever hangs up before the answer is written down, and what is written down reaches the file.
#[tokio::test]
async fn a_request_that_nobody_waits_for_is_audited() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.log");
    let options = options::Audit {
        audit_policy_file: Some(
            format!("{HEAD}omitStages: [RequestReceived]\nrules: [{{level: Metadata}}]").into(),
        ),
        audit_log_path: Some(path.clone()),
        ..Default::default()
    };
    let auditor = Auditor::new(&options).unwrap().unwrap();
    let begin = async |uri: &str| {
        let (parts, ()) = http::Request::post(uri).body(()).unwrap().into_parts();
        let info = RequestInfo::parse(&parts.method, parts.uri.path(), None);
        let pending = Pending::new(Some(auditor.record(&parts, &info, "id")));
        let jane = UserInfo::new("jane", &[]);
        pending.recording().unwrap().begin(&jane).await;
        pending
    };
    drop(begin("/api/v1/namespaces/a/pods").await);
    let answered = begin("/api/v1/namespaces/b/pods").await;
    answered.answered(Response::new(Body::empty()), false).await;
    auditor.flush().await;
    let text = std::fs::read_to_string(&path).unwrap();
    let events: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let seen: Vec<_> = events
        .iter()
        .map(|e| (&e["stage"], &e["requestURI"], &e["responseStatus"]["code"]))
        .map(|(stage, uri, code)| {
            (
                stage.as_str().unwrap(),
                uri.as_str().unwrap(),
                code.as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            ("ResponseComplete", "/api/v1/namespaces/a/pods", 499),
            ("ResponseComplete", "/api/v1/namespaces/b/pods", 200),
        ]
    );
}

/// A slow disk holds up requests, not the threads that serve them.
#[tokio::test]
async fn a_log_that_is_behind_is_awaited() {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let written = Arc::new(AtomicU64::new(0));
    let count = written.clone();
    let log = Arc::new(log::Log::over(move |_| {
        // Held until the sender is gone.
        let _ = wait.recv();
        count.fetch_add(1, Ordering::Relaxed);
    }));
    // More than half of what may wait, whether or not the thread has taken the first.
    let many = 5100;
    for _ in 0..many {
        log.write(&json!({}));
    }
    let waits = tokio::spawn({
        let log = log.clone();
        async move { log.room().await }
    });
    tokio::task::yield_now().await;
    assert!(!waits.is_finished());
    drop(go);
    waits.await.unwrap();
    log.flush().await;
    assert_eq!(written.load(Ordering::Relaxed), many);
}

/// As kube-apiserver writes the same requests down.
#[tokio::test]
async fn objects_are_written_down_as_they_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.log");
    let f = fixture_of(|o| {
        let rules = "omitStages: [RequestReceived]\nrules: [{level: Request}]\n";
        o.features.audit.audit_policy_file = Some(format!("{HEAD}{rules}").into());
        o.features.audit.audit_log_path = Some(path.clone());
    })
    .await;
    let ns = "/api/v1/namespaces/default";
    let scaler = json!({"scaleTargetRef": {"kind": "D", "name": "d"}, "maxReplicas": 2, "targetCPUUtilizationPercentage": 50});
    let merge = [("content-type", "application/merge-patch+json")];
    for (method, path, body, wanted) in [
        (
            "POST",
            format!("{ns}/configmaps"),
            json!({"metadata": {"name": "c"}, "data": {"a": "b"}, "more": 1}),
            json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "c"}, "data": {"a": "b"}}),
        ),
        (
            "POST",
            format!("{ns}/services"),
            json!({"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}}),
            json!({"kind": "Service", "apiVersion": "v1", "metadata": {"name": "s"}, "status": {"loadBalancer": {}},
                "spec": {"ports": [{"protocol": "TCP", "port": 80, "targetPort": 80}], "type": "ClusterIP",
                    "sessionAffinity": "None", "internalTrafficPolicy": "Cluster"}}),
        ),
        (
            "POST",
            "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers".to_owned(),
            json!({"metadata": {"name": "h"}, "spec": scaler}),
            json!({"kind": "HorizontalPodAutoscaler", "apiVersion": "autoscaling/v1", "metadata": {"name": "h"},
                "spec": {"scaleTargetRef": {"kind": "D", "name": "d"}, "minReplicas": 1, "maxReplicas": 2,
                    "targetCPUUtilizationPercentage": 50}, "status": {"currentReplicas": 0, "desiredReplicas": 0}}),
        ),
        (
            "POST",
            format!("{ns}/pods/p/eviction"),
            json!({"metadata": {"name": "p"}}),
            json!({"kind": "Eviction", "apiVersion": "policy/v1", "metadata": {"name": "p"}}),
        ),
        (
            "PATCH",
            format!("{ns}/configmaps/c"),
            json!({"data": {"a": "d"}}),
            json!({"data": {"a": "d"}}),
        ),
        (
            "DELETE",
            format!("{ns}/configmaps/c"),
            json!({"propagationPolicy": "Background"}),
            json!({"kind": "DeleteOptions", "apiVersion": "meta.k8s.io/__internal", "propagationPolicy": "Background"}),
        ),
    ] {
        let headers = if method == "PATCH" { &merge[..] } else { &[] };
        f.send_as(f.admin(), method, &path, body, headers).await;
        let written = eventually("the event", async || {
            let text = std::fs::read_to_string(dir.path().join("audit.log")).unwrap_or_default();
            let mut events = text
                .lines()
                .filter_map(|line| serde_json::from_str::<Value>(line).ok());
            events.find(|event| {
                event["requestURI"] == path.as_str() && (method != "DELETE" || event["verb"] == "delete")
            })
        })
        .await;
        assert_eq!(written["requestObject"], wanted, "{method} {path}");
    }
}

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};

use super::{
    level::{Bounds, Level, Refusal, Spec, deal},
    limits::{self, Wish, share},
    *,
};
use crate::{
    UserInfo,
    tests::{Fixture, eventually, fixture, fixture_of},
};

const API: &str = "/apis/flowcontrol.apiserver.k8s.io/v1";

fn level(seats: usize, queuing: Option<(usize, usize, usize)>) -> Arc<Level> {
    let spec = Spec {
        uid: "u".into(),
        exempt: false,
        shares: 1.0,
        lendable: 0.0,
        borrowing: None,
        queuing,
    };
    let level = Arc::new(Level::new("test", &spec));
    let bounds = Bounds {
        nominal: seats,
        least: seats,
        most: seats,
    };
    level.bound(bounds, seats);
    level
}

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(200);

#[test]
fn a_hand_has_different_queues() {
    for hash in [0, 1, 12_345, u64::MAX, 0x9e37_79b9_7f4a_7c15] {
        let mut hand = deal(hash, 64, 8);
        assert_eq!(hand, deal(hash, 64, 8));
        assert!(hand.iter().all(|q| *q < 64));
        hand.sort_unstable();
        hand.dedup();
        assert_eq!(hand.len(), 8);
    }
    assert_eq!(deal(7, 1, 1), [0]);
    let mut all = deal(u64::MAX / 3, 4, 4);
    all.sort_unstable();
    assert_eq!(all, [0, 1, 2, 3]);
}

#[tokio::test]
async fn without_queues_a_full_level_refuses() {
    let level = level(2, None);
    let held = [level.try_enter(1).unwrap(), level.try_enter(1).unwrap()];
    assert!(level.try_enter(1).is_none());
    let refused = level.enter(1, 0, ("s", ""), LONG).await;
    assert_eq!(refused.err(), Some(Refusal::ConcurrencyLimit));
    drop(held);
    assert!(level.try_enter(2).is_some());
}

#[tokio::test]
async fn a_full_queue_refuses_and_patience_ends() {
    let level = level(1, Some((1, 1, 1)));
    let held = level.try_enter(1).unwrap();
    let waiting = tokio::spawn({
        let level = level.clone();
        async move { level.enter(1, 0, ("s", ""), SHORT).await.err() }
    });
    while level.state.lock().waiting == 0 {
        tokio::task::yield_now().await;
    }
    let refused = level.enter(1, 0, ("s", ""), LONG).await;
    assert_eq!(refused.err(), Some(Refusal::QueueFull));
    assert_eq!(waiting.await.unwrap(), Some(Refusal::TimeOut));
    assert_eq!(level.state.lock().waiting, 0);
    drop(held);
    let state = level.state.lock();
    assert_eq!((state.in_use, state.executing), (0, 0));
}

#[tokio::test]
async fn who_goes_away_leaves_the_queue() {
    let level = level(1, Some((4, 2, 10)));
    let held = level.try_enter(1).unwrap();
    for _ in 0..3 {
        let gone = level.enter(1, 0, ("s", ""), LONG);
        assert!(
            tokio::time::timeout(Duration::from_millis(1), gone)
                .await
                .is_err()
        );
    }
    assert_eq!(level.state.lock().waiting, 0);
    drop(held);
    assert_eq!(level.state.lock().in_use, 0);
    assert!(level.try_enter(1).is_some());
}

/// A mouse that comes behind an elephant's fifty requests is served among its first.
#[tokio::test]
async fn a_flow_waits_behind_itself() {
    let level = level(1, Some((16, 1, 100)));
    let (elephant, mouse) = (0, 1);
    assert_ne!(deal(elephant, 16, 1), deal(mouse, 16, 1));
    let held = level.try_enter(1).unwrap();
    let order: Arc<Mutex<Vec<&'static str>>> = Arc::default();
    let mut tasks = Vec::new();
    for at in 0..53 {
        let (name, hash) = if at < 50 {
            ("elephant", elephant)
        } else {
            ("mouse", mouse)
        };
        let before = level.state.lock().waiting;
        tasks.push(tokio::spawn({
            let (level, order) = (level.clone(), order.clone());
            async move {
                let ticket = level.enter(1, hash, ("s", name), LONG).await;
                order.lock().push(name);
                tokio::task::yield_now().await;
                drop(ticket);
            }
        }));
        while level.state.lock().waiting == before {
            tokio::task::yield_now().await;
        }
    }
    drop(held);
    for task in tasks {
        task.await.unwrap();
    }
    let order = order.lock().clone();
    assert_eq!(order.len(), 53);
    let last_mouse = order.iter().rposition(|n| *n == "mouse").unwrap();
    assert!(last_mouse < 10, "{order:?}");
}

#[test]
fn seats_are_shared_within_bounds() {
    let wish = |least: f64, most: f64, target: f64| Wish { least, most, target };
    let round = |given: Vec<f64>| given.iter().map(|s| s.round()).collect::<Vec<_>>();
    let given = share(100.0, &[wish(10.0, 100.0, 20.0), wish(10.0, 100.0, 20.0)]);
    assert_eq!(round(given), [50.0, 50.0]);
    let given = share(100.0, &[wish(10.0, 100.0, 0.0), wish(10.0, 100.0, 80.0)]);
    assert_eq!(round(given), [10.0, 90.0]);
    let given = share(100.0, &[wish(10.0, 30.0, 60.0), wish(10.0, 100.0, 10.0)]);
    assert_eq!(round(given), [30.0, 70.0]);
    let given = share(10.0, &[wish(10.0, 30.0, 60.0), wish(10.0, 100.0, 10.0)]);
    assert_eq!(round(given), [10.0, 10.0]);
}

#[tokio::test]
async fn every_cluster_has_its_levels() {
    let f = fixture().await;
    let names = |list: Value| -> Vec<String> {
        let items = list["items"].as_array().cloned().unwrap_or_default();
        items
            .iter()
            .map(|i| i["metadata"]["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(
        names(f.get(&format!("{API}/prioritylevelconfigurations")).await),
        [
            "catch-all",
            "exempt",
            "global-default",
            "leader-election",
            "node-high",
            "system",
            "workload-high",
            "workload-low"
        ]
    );
    assert_eq!(names(f.get(&format!("{API}/flowschemas")).await).len(), 13);
    // 600 seats by shares of 245 in all, rounded up; what is lent is rounded.
    let text = f.get("/metrics").await;
    let text = text.as_str().unwrap();
    for line in [
        "apiserver_flowcontrol_nominal_limit_seats{priority_level=\"workload-low\"} 245",
        "apiserver_flowcontrol_lower_limit_seats{priority_level=\"workload-low\"} 24",
        "apiserver_flowcontrol_upper_limit_seats{priority_level=\"workload-low\"} 600",
        "apiserver_flowcontrol_nominal_limit_seats{priority_level=\"exempt\"} 0",
        "apiserver_flowcontrol_nominal_limit_seats{priority_level=\"catch-all\"} 13",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    // Mandatory objects come back, whatever is done to them.
    let uri = format!("{API}/flowschemas/catch-all");
    f.send("DELETE", &uri, Value::Null).await;
    eventually("catch-all", async || {
        let found = f.get(&uri).await;
        (found["spec"]["matchingPrecedence"] == 10000).then_some(())
    })
    .await;
    let merge = [("content-type", "application/merge-patch+json")];
    let change = json!({"spec": {"matchingPrecedence": 9999}});
    let (code, _) = f.send_as(f.admin(), "PATCH", &uri, change.clone(), &merge).await;
    assert_eq!(code, StatusCode::OK);
    eventually("the precedence", async || {
        (f.get(&uri).await["spec"]["matchingPrecedence"] == 10000).then_some(())
    })
    .await;
    // Suggested ones stay as an administrator wants them.
    let uri = format!("{API}/flowschemas/service-accounts");
    let own = json!({"metadata": {"annotations": {"apf.kubernetes.io/autoupdate-spec": "false"}}, "spec": {"matchingPrecedence": 8999}});
    f.send_as(f.admin(), "PATCH", &uri, own, &merge).await;
    super::keep::ensure(&f.server.core).await.unwrap();
    assert_eq!(f.get(&uri).await["spec"]["matchingPrecedence"], 8999);
}

/// Which schema a request fell under, by the header of its answer.
async fn classified(f: &Fixture, user: UserInfo, uri: &str) -> (String, String) {
    use tower::ServiceExt as _;
    let request = http::Request::get(uri).body(axum::body::Body::empty()).unwrap();
    let response = f.server.in_process(user).oneshot(request).await.unwrap();
    let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
    let uids = (
        header("x-kubernetes-pf-flowschema-uid"),
        header("x-kubernetes-pf-prioritylevel-uid"),
    );
    let name = async |kind: &str, uid: &str| {
        let list = f.get(&format!("{API}/{kind}")).await;
        let items = list["items"].as_array().unwrap().clone();
        let found = items.iter().find(|i| i["metadata"]["uid"] == uid).unwrap();
        found["metadata"]["name"].as_str().unwrap().to_owned()
    };
    (
        name("flowschemas", &uids.0).await,
        name("prioritylevelconfigurations", &uids.1).await,
    )
}

#[tokio::test]
async fn requests_fall_under_the_first_schema_that_fits() {
    let f = fixture().await;
    let user = |name: &str, groups: &[&str]| UserInfo::new(name, groups);
    let account = |name: &str| {
        user(
            &format!("system:serviceaccount:{name}"),
            &["system:serviceaccounts"],
        )
    };
    let leases = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/x";
    for (who, uri, schema, level) in [
        (
            user("admin", &["system:masters"]),
            "/api/v1/pods",
            "exempt",
            "exempt",
        ),
        (user("jane", &[]), "/healthz", "probes", "exempt"),
        (
            user("jane", &[]),
            "/api/v1/pods",
            "global-default",
            "global-default",
        ),
        (
            user("system:kube-scheduler", &[]),
            leases,
            "system-leader-election",
            "leader-election",
        ),
        (
            user("system:kube-scheduler", &[]),
            "/api/v1/pods",
            "kube-scheduler",
            "workload-high",
        ),
        (
            user("system:kube-controller-manager", &[]),
            "/api/v1/namespaces/a/endpoints/x",
            "endpoint-controller",
            "workload-high",
        ),
        (
            user("system:node:n", &["system:nodes"]),
            "/api/v1/nodes/n",
            "system-node-high",
            "node-high",
        ),
        (
            user("system:node:n", &["system:nodes"]),
            "/api/v1/pods",
            "system-nodes",
            "system",
        ),
        (
            account("kube-system:x"),
            "/api/v1/pods",
            "kube-system-service-accounts",
            "workload-high",
        ),
        (
            account("default:x"),
            "/api/v1/pods",
            "service-accounts",
            "workload-low",
        ),
    ] {
        let name = who.name.clone();
        assert_eq!(
            classified(&f, who, uri).await,
            (schema.to_owned(), level.to_owned()),
            "{name} {uri}"
        );
    }
}

#[tokio::test]
async fn a_level_of_ones_own_is_enforced() {
    let f = fixture().await;
    let make = async |kind: &str, object: Value| {
        let (code, made) = f.send("POST", &format!("{API}/{kind}"), object).await;
        assert_eq!(code, StatusCode::CREATED, "{made}");
    };
    let schema = json!({"apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "FlowSchema", "metadata": {"name": "few"},
        "spec": {"priorityLevelConfiguration": {"name": "few"}, "matchingPrecedence": 50,
            "distinguisherMethod": {"type": "ByUser"},
            "rules": [{"subjects": [{"kind": "User", "user": {"name": "jane"}}],
                "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"], "clusterScope": true}]}]}});
    make("flowschemas", schema).await;
    let condition = async |status: &str| {
        eventually(status, async || {
            let schema = f.get(&format!("{API}/flowschemas/few")).await;
            let condition = schema["status"]["conditions"][0].clone();
            (condition["status"] == status).then_some(condition)
        })
        .await
    };
    let dangling = condition("True").await;
    assert_eq!(
        (&dangling["type"], &dangling["reason"]),
        (&json!("Dangling"), &json!("NotFound"))
    );
    assert_eq!(
        dangling["message"],
        "This FlowSchema references the PriorityLevelConfiguration object named \"few\" but there is no such object"
    );
    let jane = || UserInfo::new("jane", &["system:authenticated"]);
    assert_eq!(classified(&f, jane(), "/api/v1/pods").await.0, "global-default");
    let few = json!({"apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "PriorityLevelConfiguration", "metadata": {"name": "few"},
        "spec": {"type": "Limited", "limited": {"nominalConcurrencyShares": 0, "borrowingLimitPercent": 0,
            "limitResponse": {"type": "Reject"}}}});
    make("prioritylevelconfigurations", few).await;
    assert_eq!(condition("False").await["reason"], "Found");
    let (code, error) = f
        .send_as(
            f.server.in_process(jane()),
            "GET",
            "/api/v1/pods",
            Value::Null,
            &[],
        )
        .await;
    assert_eq!(code, StatusCode::TOO_MANY_REQUESTS, "{error}");
    assert_eq!(error, "Too many requests, please try again later.\n");
    let text = f.get("/metrics").await;
    let refused = "apiserver_flowcontrol_rejected_requests_total{flow_schema=\"few\",priority_level=\"few\",reason=\"concurrency-limit\"} 1";
    assert!(text.as_str().unwrap().contains(refused), "{text}");
    let levels = f
        .get("/debug/api_priority_and_fairness/dump_priority_levels")
        .await;
    let row = levels
        .as_str()
        .unwrap()
        .lines()
        .find(|l| l.starts_with("few,"))
        .unwrap()
        .to_owned();
    let cells: Vec<&str> = row.split(',').map(str::trim).collect();
    assert_eq!(cells, ["few", "0", "true", "false", "0", "0", "0", "1", "0", "0"]);
    for path in ["dump_queues", "dump_requests"] {
        let text = f.get(&format!("/debug/api_priority_and_fairness/{path}")).await;
        assert!(text.as_str().unwrap().starts_with("PriorityLevelName,"), "{text}");
    }
}

#[test]
fn demand_is_told_as_of_the_last_adjustment() {
    let began = Instant::now();
    let mut demand = limits::Demand::new(began);
    demand.set(4);
    let told = demand.take(Instant::now() + Duration::from_secs(10));
    assert_eq!(told.most, 4);
    assert!(told.average > 3.9 && told.average <= 4.0, "{told:?}");
    assert!(told.deviation < 0.5, "{told:?}");
    assert!(
        (told.smooth - (told.average + told.deviation).min(4.0)).abs() < 1e-9,
        "{told:?}"
    );
    // What is no more wanted is forgotten slowly.
    demand.set(0);
    let later = demand.take(Instant::now() + Duration::from_secs(3600));
    assert!(later.average < told.average && later.smooth > 0.0, "{later:?}");
}

#[tokio::test]
async fn waits_are_counted_by_their_end() {
    let f = fixture_of(|o| o.features.serving.request_timeout = Duration::from_secs(4)).await;
    let schema = json!({"apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "FlowSchema", "metadata": {"name": "few"},
        "spec": {"priorityLevelConfiguration": {"name": "few"}, "matchingPrecedence": 50,
            "rules": [{"subjects": [{"kind": "User", "user": {"name": "jane"}}],
                "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"], "clusterScope": true}]}]}});
    let queue = json!({"queues": 1, "handSize": 1, "queueLengthLimit": 10});
    let level = json!({"apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "PriorityLevelConfiguration", "metadata": {"name": "few"},
        "spec": {"type": "Limited", "limited": {"nominalConcurrencyShares": 0, "borrowingLimitPercent": 0,
            "limitResponse": {"type": "Queue", "queuing": queue}}}});
    for (kind, object) in [("flowschemas", schema), ("prioritylevelconfigurations", level)] {
        let (code, made) = f.send("POST", &format!("{API}/{kind}"), object).await;
        assert_eq!(code, StatusCode::CREATED, "{made}");
    }
    let jane = || {
        f.server
            .in_process(UserInfo::new("jane", &["system:authenticated"]))
    };
    eventually("no seat", async || {
        let (code, _) = f.send_as(jane(), "GET", "/api/v1/pods", Value::Null, &[]).await;
        (code == StatusCode::TOO_MANY_REQUESTS).then_some(())
    })
    .await;
    let text = f.get("/metrics").await;
    let text = text.as_str().unwrap();
    let waits = "apiserver_flowcontrol_request_wait_duration_seconds";
    let labels = "execute=\"false\",flow_schema=\"few\",priority_level=\"few\"";
    for line in [
        format!("{waits}_count{{{labels}}} 1"),
        format!("{waits}_bucket{{{labels},le=\"0\"}} 0"),
        format!("{waits}_bucket{{{labels},le=\"30\"}} 1"),
        "apiserver_flowcontrol_demand_seats_average{priority_level=\"few\"} ".to_owned(),
        "apiserver_flowcontrol_target_seats{priority_level=\"few\"} ".to_owned(),
    ] {
        assert!(text.contains(&line), "{line} is not in\n{text}");
    }
}

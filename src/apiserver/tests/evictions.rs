//! Evictions: what budgets forbid, and what an evicted pod says. The answers are kube-apiserver's.

use super::*;

const PODS: &str = "/api/v1/namespaces/default/pods";
const BUDGETS: &str = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";

async fn server() -> Fixture {
    let f = fixture().await;
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
    f.send("POST", "/api/v1/namespaces/default/serviceaccounts", account)
        .await;
    f
}

impl Fixture {
    async fn change(&self, uri: &str, patch: Value) {
        let (code, answer) = self.merge(uri, patch).await;
        assert_eq!(code, StatusCode::OK, "{answer}");
    }

    async fn placed_pod(&self, name: &str, phase: &str, ready: &str) {
        let mut object = pod(name);
        object["metadata"]["labels"] = json!({"app": "guarded"});
        object["spec"]["nodeName"] = json!("n1");
        let (code, answer) = self.send("POST", PODS, object).await;
        assert_eq!(code, StatusCode::CREATED, "{answer}");
        let status = json!({"status": {"phase": phase, "conditions": [{"type": "Ready", "status": ready}]}});
        self.change(&format!("{PODS}/{name}/status"), status).await;
    }

    async fn budget(&self, name: &str) {
        let budget = json!({"metadata": {"name": name},
            "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "guarded"}}}});
        let (code, answer) = self.send("POST", BUDGETS, budget).await;
        assert_eq!(code, StatusCode::CREATED, "{answer}");
    }

    async fn evict(&self, name: &str, options: Value) -> (u16, Value) {
        let mut eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}});
        if !options.is_null() {
            eviction["deleteOptions"] = options;
        }
        let (code, answer) = self
            .send("POST", &format!("{PODS}/{name}/eviction"), eviction)
            .await;
        (code.as_u16(), answer)
    }

    async fn is_going(&self, name: &str) -> bool {
        self.get(&format!("{PODS}/{name}")).await["metadata"]["deletionTimestamp"].is_string()
    }
}

fn target(pod: &Value) -> Value {
    let conditions = pod["status"]["conditions"].as_array().unwrap();
    let found = conditions.iter().find(|c| c["type"] == "DisruptionTarget");
    found.cloned().unwrap_or_default()
}

#[tokio::test]
async fn an_evicted_pod_says_so() {
    let f = server().await;
    for (name, phase, stays) in [
        ("a", "Running", true),
        ("b", "Pending", true),
        ("c", "Failed", false),
    ] {
        f.placed_pod(name, phase, "True").await;
        let uri = format!("{PODS}/{name}");
        let before = f.get(&uri).await;
        let finalizer = json!({"metadata": {"finalizers": ["example.com/kept"]}});
        f.change(&uri, finalizer).await;
        let (code, answer) = f.evict(name, Value::Null).await;
        assert_eq!(code, 201, "{name}: {answer}");
        assert_eq!(
            answer,
            json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201})
        );
        let pod = f.get(&uri).await;
        let said = target(&pod);
        assert_eq!(
            (&said["status"], &said["reason"], &said["message"]),
            (
                &json!("True"),
                &json!("EvictionByEvictionAPI"),
                &json!("Eviction API: evicting")
            ),
            "{name}"
        );
        assert!(said["lastTransitionTime"].is_string());
        // Nobody sent that condition, so nobody owns it.
        let owners = |pod: &Value| pod["metadata"]["managedFields"].as_array().map(Vec::len);
        assert_eq!(owners(&pod), owners(&before));
        assert_eq!(
            pod["metadata"]["deletionGracePeriodSeconds"] == 30,
            name != "c" && stays,
            "{pod}"
        );
    }
}

#[tokio::test]
async fn options_of_an_eviction_hold() {
    let f = server().await;
    f.placed_pod("p", "Running", "True").await;
    let before = f.get(&format!("{PODS}/p")).await;
    let uid = before["metadata"]["uid"].as_str().unwrap();
    let version = before["metadata"]["resourceVersion"].as_str().unwrap();
    let field = "ignoreStoreReadErrorWithClusterBreakingPotential";
    let cases = [
        (json!({"dryRun": ["All"]}), 201, String::new()),
        (
            json!({"preconditions": {"resourceVersion": "1"}}),
            409,
            format!(
                "Operation cannot be fulfilled on Pod \"p\": the ResourceVersion in the precondition (1) does not match the ResourceVersion in record ({version}). The object might have been modified"
            ),
        ),
        (
            json!({"preconditions": {"uid": "x"}}),
            409,
            format!(
                "Operation cannot be fulfilled on Pod \"p\": the UID in the precondition (x) does not match the UID in record ({uid}). The object might have been deleted and then recreated"
            ),
        ),
        (
            json!({field: true}),
            422,
            format!(
                "Eviction.policy \"p\" is invalid: deleteOptions.{field}: Invalid value: true: can not be set for pod eviction, try after removing the option"
            ),
        ),
    ];
    for (options, expected, message) in cases {
        let (code, answer) = f.evict("p", options.clone()).await;
        assert_eq!(code, expected, "{options}: {answer}");
        assert_eq!(
            answer["message"].as_str().unwrap_or_default(),
            message,
            "{options}"
        );
        assert_eq!(f.get(&format!("{PODS}/p")).await, before, "{options}");
    }
    let (code, answer) = f
        .send("POST", &format!("{PODS}/p/eviction"), json!({"metadata": {}}))
        .await;
    assert_eq!(
        (code.as_u16(), answer["message"].as_str()),
        (400, Some("name in URL does not match name in Eviction object"))
    );
    // The mark is no change that a precondition speaks of.
    let (code, answer) = f
        .evict(
            "p",
            json!({"gracePeriodSeconds": 5, "preconditions": {"uid": uid, "resourceVersion": version}}),
        )
        .await;
    assert_eq!(code, 201, "{answer}");
    assert_eq!(
        f.get(&format!("{PODS}/p")).await["metadata"]["deletionGracePeriodSeconds"],
        5
    );
}

#[tokio::test]
async fn budgets_hold_evictions() {
    let f = server().await;
    f.placed_pod("p", "Running", "True").await;
    f.budget("b").await;
    let said = |reason: &str, message: &str| {
        json!({"conditions": [{"type": "DisruptionAllowed", "status": "False", "reason": reason,
            "message": message, "lastTransitionTime": "2024-01-01T00:00:00Z"}]})
    };
    let cases = [
        (
            0,
            0,
            2,
            said("Because", "why"),
            10,
            "The disruption budget b is still being processed by the server.",
        ),
        (
            1,
            0,
            1,
            json!({}),
            0,
            "The disruption budget b needs 1 healthy pods and has 1 currently",
        ),
        (
            1,
            0,
            2,
            json!({}),
            0,
            "The disruption budget b does not allow evicting pods currently",
        ),
        (
            1,
            0,
            2,
            said("Because", "why"),
            0,
            "The disruption budget b does not allow evicting pods currently (Because): why",
        ),
        (
            1,
            0,
            0,
            said("SyncFailed", "why"),
            0,
            "The disruption budget b does not allow evicting pods currently because it failed sync: why",
        ),
    ];
    let state = async |observed: i64, allowed: i64, healthy: i64, more: Value| {
        let mut budget = f.get(&format!("{BUDGETS}/b")).await;
        budget["status"] = json!({"observedGeneration": observed, "disruptionsAllowed": allowed,
            "currentHealthy": healthy, "desiredHealthy": 1, "expectedPods": 2});
        if let Value::Object(more) = more {
            budget["status"].as_object_mut().unwrap().extend(more);
        }
        let (code, answer) = f.send("PUT", &format!("{BUDGETS}/b/status"), budget).await;
        assert_eq!(code, StatusCode::OK, "{answer}");
    };
    for (observed, allowed, healthy, more, retry, why) in cases {
        state(observed, allowed, healthy, more).await;
        let (code, answer) = f.evict("p", Value::Null).await;
        assert_eq!(
            (code, &answer["reason"]),
            (429, &json!("TooManyRequests")),
            "{answer}"
        );
        assert_eq!(
            answer["message"],
            "Cannot evict pod as it would violate the pod's disruption budget."
        );
        assert_eq!(
            answer["details"]["causes"],
            json!([{"reason": "DisruptionBudget", "message": why}])
        );
        assert_eq!(
            answer["details"]["retryAfterSeconds"].as_i64().unwrap_or(0),
            retry
        );
    }
    state(1, 1, 2, said("SufficientPods", "")).await;
    let (code, _) = f.evict("p", json!({"dryRun": ["All"]})).await;
    let budget = f.get(&format!("{BUDGETS}/b")).await;
    assert_eq!((code, &budget["status"]["disruptionsAllowed"]), (201, &json!(1)));
    assert_eq!(f.evict("p", Value::Null).await.0, 201);
    let budget = f.get(&format!("{BUDGETS}/b")).await;
    let status = &budget["status"];
    assert_eq!(status["disruptionsAllowed"], 0);
    assert!(status["disruptedPods"]["p"].is_string());
    assert_eq!(
        status["conditions"],
        json!([{"type": "DisruptionAllowed", "status": "False", "observedGeneration": 1,
            "lastTransitionTime": "2024-01-01T00:00:00Z", "reason": "InsufficientPods", "message": ""}])
    );
    assert!(f.is_going("p").await);
}

#[tokio::test]
async fn only_what_serves_is_protected() {
    let f = server().await;
    for (name, phase, ready) in [
        ("sick", "Running", "False"),
        ("sound", "Running", "True"),
        ("over", "Succeeded", "False"),
        ("waiting", "Pending", "False"),
    ] {
        f.placed_pod(name, phase, ready).await;
    }
    f.budget("b").await;
    let status = |healthy: i64| {
        json!({"status": {"observedGeneration": 1, "disruptionsAllowed": 0, "currentHealthy": healthy,
            "desiredHealthy": 1, "expectedPods": 1}})
    };
    let uri = format!("{BUDGETS}/b");
    f.change(&format!("{uri}/status"), status(0)).await;
    for (name, expected) in [("sick", 429), ("sound", 429), ("over", 201), ("waiting", 201)] {
        let (code, answer) = f.evict(name, Value::Null).await;
        assert_eq!(code, expected, "{name}: {answer}");
    }
    // The others serve as they should: one that does not is no loss.
    f.change(&format!("{uri}/status"), status(1)).await;
    assert_eq!(f.evict("sound", Value::Null).await.0, 429);
    assert_eq!(f.evict("sick", Value::Null).await.0, 201);
    f.placed_pod("sick2", "Running", "False").await;
    f.change(&format!("{uri}/status"), status(0)).await;
    assert_eq!(f.evict("sick2", Value::Null).await.0, 429);
    f.change(
        &uri,
        json!({"spec": {"unhealthyPodEvictionPolicy": "AlwaysAllow"}}),
    )
    .await;
    assert_eq!(f.evict("sick2", Value::Null).await.0, 201);
    assert_eq!(f.evict("sound", Value::Null).await.0, 429);
    f.budget("another").await;
    let (code, answer) = f.evict("sound", Value::Null).await;
    assert_eq!(code, 500);
    assert_eq!(
        answer,
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 500,
            "message": "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."})
    );
}

//! Reviews: what somebody may do, asked about oneself and others.

use std::sync::Arc;

use serde_json::json;

use super::{Ground, cases};
use crate::server::Api;

cases! {
    reviews_answer_what_rules_say: ["review/operations"],
}

async fn reviews_answer_what_rules_say(g: Arc<Ground>) {
    let ns = g.api.namespace("reviews").await;
    g.api
        .post(
            &format!("{ns}/serviceaccounts"),
            &json!({"metadata": {"name": "e2e"}}),
        )
        .await;
    let user = "system:serviceaccount:reviews:e2e";
    let group = "/apis/authorization.k8s.io/v1";
    let attributes =
        json!({"verb": "list", "resource": "configmaps", "namespace": "reviews", "version": "v1"});
    let review =
        |kind: &str, spec| json!({"apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": spec});
    let asked = json!({"resourceAttributes": attributes, "user": user, "groups": ["system:serviceaccounts"]});
    let subject = review("SubjectAccessReview", asked.clone());
    let mut local = review("LocalSubjectAccessReview", asked);
    local["metadata"] = json!({"namespace": "reviews"});
    let locally = format!("{group}/namespaces/reviews/localsubjectaccessreviews");
    let own = review(
        "SelfSubjectAccessReview",
        json!({"resourceAttributes": attributes}),
    );
    let own_path = format!("{group}/selfsubjectaccessreviews");
    let headers = [("impersonate-user", user), ("content-type", "application/json")];
    for allowed in [false, true] {
        for (path, body) in [
            (format!("{group}/subjectaccessreviews"), &subject),
            (locally.clone(), &local),
        ] {
            let answer = g.api.post(&path, body).await;
            assert_eq!(answer["status"]["allowed"], allowed, "{path}: {answer}");
        }
        let (code, answer) = g
            .api
            .ask("POST", &own_path, &headers, own.to_string().into_bytes())
            .await;
        assert_eq!(
            (code.as_u16(), &answer["status"]["allowed"]),
            (201, &json!(allowed)),
            "{answer}"
        );
        // What a review says is what a request meets.
        let (code, _) = g
            .api
            .ask("GET", &format!("{ns}/configmaps"), &headers[..1], vec![])
            .await;
        assert_eq!(code.is_success(), allowed);
        let binding = json!({"metadata": {"name": "view"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole", "name": "view"}, "subjects": [{"kind": "ServiceAccount", "name": "e2e", "namespace": "reviews"}]});
        if !allowed {
            let path = "/apis/rbac.authorization.k8s.io/v1/namespaces/reviews/rolebindings";
            Api::expect("bind", g.api.send("POST", path, &binding).await);
        }
    }
    let elsewhere = review(
        "LocalSubjectAccessReview",
        json!({"user": user,
        "resourceAttributes": {"verb": "list", "resource": "configmaps", "namespace": "other"}}),
    );
    let (code, _, said) = g.api.refused("POST", &locally, &elsewhere).await;
    assert_eq!(code, 422);
    assert!(said.contains("must match metadata.namespace"), "{said}");
}

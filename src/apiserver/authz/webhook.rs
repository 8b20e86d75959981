//! An authorizer elsewhere. Upstream: `plugin/pkg/authorizer/webhook`.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{Attributes, Decision};
use crate::{
    options,
    outbound::{Remote, RemoteError},
    user::UserInfo,
};

/// Deadline of one question.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Answers kept at most.
const KEPT: usize = 8192;

/// The webhook and its recent answers, by hash of the question.
pub(super) struct Webhook {
    remote: Remote,
    allowed: Duration,
    refused: Duration,
    answers: Mutex<HashMap<[u8; 32], (Instant, Decision)>>,
}

impl Webhook {
    /// As a kubeconfig names it.
    pub(super) fn new(kubeconfig: &str, options: &options::Authorization) -> Result<Self, RemoteError> {
        Ok(Webhook {
            remote: Remote::from_kubeconfig(kubeconfig, TIMEOUT)?,
            allowed: options.authorized_cache,
            refused: options.unauthorized_cache,
            answers: Mutex::default(),
        })
    }

    fn lives(&self, at: Instant, decision: &Decision) -> bool {
        let ttl = if decision.allowed() {
            self.allowed
        } else {
            self.refused
        };
        at.elapsed() < ttl
    }

    fn kept(&self, key: &[u8; 32]) -> Option<Decision> {
        let answers = self.answers.lock();
        let (at, known) = answers.get(key)?;
        self.lives(*at, known).then(|| known.clone())
    }

    /// The answer that is still known; without one there is no opinion.
    pub(super) fn known(&self, user: &UserInfo, wanted: &Attributes) -> Decision {
        let review = serde_json::to_vec(&review(user, wanted)).unwrap_or_default();
        self.kept(&Sha256::digest(&review).into())
            .unwrap_or(Decision::NoOpinion(String::new()))
    }

    /// Asks; a webhook that does not answer has no opinion.
    pub(super) async fn decide(&self, user: &UserInfo, wanted: &Attributes) -> Decision {
        let review = serde_json::to_vec(&review(user, wanted)).unwrap_or_default();
        let key: [u8; 32] = Sha256::digest(&review).into();
        if let Some(known) = self.kept(&key) {
            return known;
        }
        let decision = match self.remote.post(review).await {
            Ok(answer) => read(&answer["status"]),
            Err(error) => {
                tracing::warn!(%error, "authorization webhook does not answer");
                return Decision::NoOpinion(error.to_string());
            }
        };
        let mut answers = self.answers.lock();
        if answers.len() >= KEPT {
            answers.retain(|_, (at, decision)| self.lives(*at, decision));
        }
        if answers.len() < KEPT {
            answers.insert(key, (Instant::now(), decision.clone()));
        }
        decision
    }
}

fn read(status: &Value) -> Decision {
    let reason = status["reason"].as_str().unwrap_or_default().to_owned();
    match (status["allowed"] == true, status["denied"] == true) {
        (true, true) => {
            Decision::Deny("webhook subject access review returned both allow and deny response".into())
        }
        (true, false) => Decision::Allow(reason),
        (false, true) => Decision::Deny(reason),
        (false, false) => Decision::NoOpinion(reason),
    }
}

fn review(user: &UserInfo, wanted: &Attributes) -> Value {
    let mut spec = json!({"user": user.name});
    if !user.uid.is_empty() {
        spec["uid"] = json!(user.uid);
    }
    if !user.groups.is_empty() {
        spec["groups"] = json!(user.groups);
    }
    if !user.extra.is_empty() {
        spec["extra"] = json!(user.extra);
    }
    let texts = if wanted.is_resource {
        vec![
            ("namespace", &wanted.namespace),
            ("verb", &wanted.verb),
            ("group", &wanted.group),
            ("version", &wanted.version),
            ("resource", &wanted.resource),
            ("subresource", &wanted.subresource),
            ("name", &wanted.name),
        ]
    } else {
        vec![("path", &wanted.path), ("verb", &wanted.verb)]
    };
    let attributes: serde_json::Map<String, Value> = texts
        .into_iter()
        .filter(|(_, text)| !text.is_empty())
        .map(|(key, text)| (key.to_owned(), json!(text)))
        .collect();
    let field = if wanted.is_resource {
        "resourceAttributes"
    } else {
        "nonResourceAttributes"
    };
    spec[field] = Value::Object(attributes);
    json!({
        "kind": "SubjectAccessReview", "apiVersion": "authorization.k8s.io/v1",
        "metadata": {"creationTimestamp": null}, "spec": spec, "status": {"allowed": false},
    })
}

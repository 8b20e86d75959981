//! An authorizer elsewhere. Upstream: `plugin/pkg/authorizer/webhook`.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use rkind_cel::{PER_CALL_LIMIT, Vars, value::Value as Outcome};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{Attributes, Decision, config};
use crate::{
    outbound::{Remote, RemoteError},
    user::UserInfo,
};

/// Deadline of one question, unless configured.
pub(super) const TIMEOUT: Duration = Duration::from_secs(30);
/// Answers kept at most.
const KEPT: usize = 8192;

/// The webhook and its recent answers, by hash of the question.
pub(super) struct Webhook {
    remote: Remote,
    config: config::Webhook,
    answers: Mutex<HashMap<[u8; 32], (Instant, Decision)>>,
}

impl Webhook {
    /// As its kubeconfig names it.
    pub(super) fn new(config: config::Webhook) -> Result<Self, RemoteError> {
        Ok(Webhook {
            remote: Remote::from_kubeconfig(&config.kubeconfig, config.timeout)?,
            config,
            answers: Mutex::default(),
        })
    }

    fn lives(&self, at: Instant, decision: &Decision) -> bool {
        let ttl = if decision.allowed() {
            self.config.allowed
        } else {
            self.config.refused
        };
        at.elapsed() < ttl
    }

    fn kept(&self, key: &[u8; 32]) -> Option<Decision> {
        let answers = self.answers.lock();
        let (at, known) = answers.get(key)?;
        self.lives(*at, known).then(|| known.clone())
    }

    /// What it comes to when the webhook cannot be asked.
    fn failed(&self, why: String) -> Decision {
        if self.config.denies {
            Decision::Deny(why)
        } else {
            Decision::NoOpinion(why)
        }
    }

    /// Whether the conditions let a question through.
    ///
    /// # Errors
    /// Why they could not be evaluated, when none of them says no.
    fn concerns(&self, spec: &Value) -> Result<bool, String> {
        let mut failed = Vec::new();
        let request = matched(spec);
        for (source, program) in &self.config.conditions {
            let vars = Vars::new().json("request", &request);
            let mut budget = PER_CALL_LIMIT;
            match program.run(&vars, &mut budget) {
                Ok(Outcome::Bool(true)) => {}
                Ok(_) => return Ok(false),
                Err(why) => failed.push(format!(
                    "cel evaluation error: expression '{source}' resulted in error: {why}"
                )),
            }
        }
        match failed.as_slice() {
            [] => Ok(true),
            [one] => Err(one.clone()),
            many => Err(format!("[{}]", many.join(", "))),
        }
    }

    /// The decision, if the webhook need not be asked; else what to ask.
    fn before(&self, user: &UserInfo, wanted: &Attributes) -> Result<Decision, ([u8; 32], Vec<u8>)> {
        let spec = spec(user, wanted);
        match self.concerns(&spec) {
            Ok(true) => {}
            Ok(false) => return Ok(Decision::NoOpinion(String::new())),
            Err(why) => return Ok(self.failed(why)),
        }
        let review = serde_json::to_vec(&review(spec, &self.config.version)).unwrap_or_default();
        let key: [u8; 32] = Sha256::digest(&review).into();
        self.kept(&key).ok_or((key, review))
    }

    /// The answer that is still known; without one there is no opinion.
    pub(super) fn known(&self, user: &UserInfo, wanted: &Attributes) -> Decision {
        self.before(user, wanted)
            .unwrap_or(Decision::NoOpinion(String::new()))
    }

    /// Asks. A webhook that does not answer has no opinion, unless its failure policy is to deny.
    pub(super) async fn decide(&self, user: &UserInfo, wanted: &Attributes) -> Decision {
        let (key, review) = match self.before(user, wanted) {
            Ok(decision) => return decision,
            Err(question) => question,
        };
        let decision = match self.remote.post(review).await {
            Ok(answer) => read(&answer["status"]),
            Err(error) => {
                tracing::warn!(%error, "authorization webhook does not answer");
                return self.failed(error.to_string());
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

/// The spec of a SubjectAccessReview, version v1.
fn spec(user: &UserInfo, wanted: &Attributes) -> Value {
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
    wanted.selectors.write(&mut spec[field]);
    spec
}

/// What conditions see of a spec: every text is there, also when it is empty.
fn matched(spec: &Value) -> Value {
    let mut seen = spec.clone();
    for (field, empty) in [("uid", json!("")), ("groups", json!([])), ("extra", json!({}))] {
        if seen[field].is_null() {
            seen[field] = empty;
        }
    }
    if let Some(resource) = seen.get_mut("resourceAttributes") {
        for field in [
            "namespace",
            "verb",
            "group",
            "version",
            "resource",
            "subresource",
            "name",
        ] {
            if resource[field].is_null() {
                resource[field] = json!("");
            }
        }
    }
    seen
}

/// A review of a version; v1beta1 calls the groups otherwise.
fn review(mut spec: Value, version: &str) -> Value {
    if version == "v1beta1"
        && let Some(fields) = spec.as_object_mut()
        && let Some(groups) = fields.remove("groups")
    {
        fields.insert("group".into(), groups);
    }
    json!({
        "kind": "SubjectAccessReview", "apiVersion": format!("authorization.k8s.io/{version}"),
        "metadata": {"creationTimestamp": null}, "spec": spec, "status": {"allowed": false},
    })
}

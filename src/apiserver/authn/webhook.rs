//! Bearer tokens that a webhook judges. Upstream: `plugin/pkg/authenticator/token/webhook`.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::Verified;
use crate::{
    machinery::strings,
    options::Authentication,
    outbound::{Remote, RemoteError},
    user::UserInfo,
};

/// Deadline of one question.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Answers kept at most.
const KEPT: usize = 4096;

type Answer = Option<(UserInfo, Vec<String>)>;

/// The webhook and its recent answers, by hash of token and audiences.
pub(super) struct Webhook {
    remote: Remote,
    /// Of the reviews it is sent: `v1` or `v1beta1`.
    version: String,
    ttl: Duration,
    answers: Mutex<HashMap<[u8; 32], (Instant, Answer)>>,
}

impl Webhook {
    /// As a kubeconfig names it.
    pub(super) fn new(kubeconfig: &str, options: &Authentication) -> Result<Self, RemoteError> {
        Ok(Webhook {
            remote: Remote::from_kubeconfig(kubeconfig, TIMEOUT)?,
            version: options.authentication_token_webhook_version.clone(),
            ttl: options.authentication_token_webhook_cache_ttl,
            answers: Mutex::default(),
        })
    }

    /// `None` when the webhook does not know the token.
    ///
    /// # Errors
    /// When it cannot be asked, or says why not.
    pub(super) async fn authenticate(
        &self,
        token: &str,
        audiences: &[String],
    ) -> Result<Option<Verified>, String> {
        let mut hash = Sha256::new();
        hash.update(token);
        for audience in audiences {
            hash.update([0]);
            hash.update(audience);
        }
        let key: [u8; 32] = hash.finalize().into();
        let known = {
            let answers = self.answers.lock();
            answers
                .get(&key)
                .filter(|(at, _)| at.elapsed() < self.ttl)
                .map(|(_, answer)| answer.clone())
        };
        let answer = match known {
            Some(answer) => answer,
            None => {
                let answer = self.ask(token, audiences).await?;
                let mut answers = self.answers.lock();
                if answers.len() >= KEPT {
                    answers.retain(|_, (at, _)| at.elapsed() < self.ttl);
                }
                if answers.len() < KEPT {
                    answers.insert(key, (Instant::now(), answer.clone()));
                }
                answer
            }
        };
        Ok(answer.map(|(user, audiences)| Verified { user, audiences }))
    }

    async fn ask(&self, token: &str, audiences: &[String]) -> Result<Answer, String> {
        let review = json!({
            "apiVersion": format!("authentication.k8s.io/{}", self.version), "kind": "TokenReview",
            "metadata": {"creationTimestamp": null},
            "spec": {"token": token, "audiences": audiences}, "status": {"user": {}},
        });
        let answer = self
            .remote
            .post(review.to_string().into_bytes())
            .await
            .map_err(|e| format!("authentication webhook: {e}"))?;
        let status = &answer["status"];
        if status["authenticated"] != true {
            return match status["error"].as_str().filter(|e| !e.is_empty()) {
                Some(error) => Err(error.to_owned()),
                None => Ok(None),
            };
        }
        let user = &status["user"];
        let found = UserInfo {
            name: user["username"].as_str().unwrap_or_default().to_owned(),
            uid: user["uid"].as_str().unwrap_or_default().to_owned(),
            groups: strings(&user["groups"]),
            extra: user["extra"]
                .as_object()
                .into_iter()
                .flatten()
                .map(|(k, v)| (k.clone(), strings(v)))
                .collect(),
        };
        // A webhook that knows no audiences speaks for the API server's own.
        let told = strings(&status["audiences"]);
        let matched: Vec<String> = if told.is_empty() {
            audiences.to_vec()
        } else {
            told.into_iter().filter(|a| audiences.contains(a)).collect()
        };
        if matched.is_empty() {
            return Ok(None);
        }
        Ok(Some((found, matched)))
    }
}

//! Service-account tokens of pods: asked for once, again when 80 % of their life has passed.
//!
//! <https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-request-v1/>

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount, ServiceAccountTokenProjection};
use kube::Api;
use kube::api::PostParams;
use parking_lot::Mutex;
use rkind_client::{Client, chain};

use crate::pod::PodExt;

/// A token without a stated life lives an hour.
const DEFAULT_SECONDS: i64 = 3600;
/// A very long life is refreshed daily all the same.
const MAX_AGE_SECONDS: i64 = 24 * 3600;

struct Token {
    text: String,
    refresh_at: Timestamp,
}

/// Tokens in use, by pod, audience and life.
pub(crate) struct Tokens {
    client: Client,
    known: Mutex<HashMap<(String, String, i64), Token>>,
}

impl Tokens {
    pub(crate) fn new(client: Client) -> Self {
        Self {
            client,
            known: Mutex::default(),
        }
    }

    /// The current token for a pod's projection.
    pub(crate) async fn get(
        &self,
        pod: &Pod,
        projection: &ServiceAccountTokenProjection,
    ) -> Result<String, String> {
        let seconds = projection.expiration_seconds.unwrap_or(DEFAULT_SECONDS);
        let audience = projection.audience.clone().unwrap_or_default();
        let key = (pod.uid().to_string(), audience.clone(), seconds);
        let now = Timestamp::now();
        let (old, due) = match self.known.lock().get(&key) {
            Some(token) => (Some(token.text.clone()), token.refresh_at <= now),
            None => (None, true),
        };
        if let Some(old) = &old
            && !due
        {
            return Ok(old.clone());
        }
        match self.request(pod, &audience, seconds).await {
            Ok((text, expires)) => {
                let token = Token {
                    text: text.clone(),
                    refresh_at: refresh_time(now, expires),
                };
                self.known.lock().insert(key, token);
                Ok(text)
            }
            Err(error) => match old {
                // The old one still holds for a fifth of its life.
                Some(old) => {
                    tracing::warn!(pod = %pod.described(), %error, "cannot refresh a service-account token");
                    Ok(old)
                }
                None => Err(format!("failed to fetch token: {error}")),
            },
        }
    }

    async fn request(&self, pod: &Pod, audience: &str, seconds: i64) -> Result<(String, Timestamp), String> {
        let account = pod
            .spec()
            .service_account_name
            .clone()
            .filter(|n| !n.is_empty())
            .unwrap_or_else(|| "default".into());
        let request = TokenRequest {
            spec: TokenRequestSpec {
                audiences: if audience.is_empty() {
                    Vec::new()
                } else {
                    vec![audience.to_string()]
                },
                expiration_seconds: Some(seconds),
                bound_object_ref: Some(BoundObjectReference {
                    api_version: Some("v1".into()),
                    kind: Some("Pod".into()),
                    name: Some(pod.name().to_string()),
                    uid: Some(pod.uid().to_string()),
                }),
            },
            ..TokenRequest::default()
        };
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), pod.namespace());
        let answer = accounts
            .create_token_request(&account, &PostParams::default(), &request)
            .await
            .map_err(|e| chain(&e))?;
        let status = answer.status.ok_or("the API server's answer has no token")?;
        Ok((status.token, status.expiration_timestamp.0))
    }

    /// Forgets a pod's tokens.
    pub(crate) fn forget(&self, uid: &str) {
        self.known.lock().retain(|(of, _, _), _| of != uid);
    }
}

/// When 80 % of a life from `now` to `expires` has passed, but no later than after a day.
pub(crate) fn refresh_time(now: Timestamp, expires: Timestamp) -> Timestamp {
    let life = expires.duration_since(now).as_secs();
    let wait = (life * 8 / 10).clamp(0, MAX_AGE_SECONDS);
    now + SignedDuration::from_secs(wait)
}

#[cfg(test)]
mod tests;

//! The keys of an OpenID Connect provider, fetched when its first token comes.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::Mutex;

use super::jwt::{self, KeySet};
use crate::outbound::{Remote, Trust};

/// Deadline of one question to a provider.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);
/// How soon a provider's keys are asked for again, be it for an unknown key or because it gave none.
const PATIENCE: Duration = Duration::from_secs(10);
/// Clock difference allowed, in seconds.
const LEEWAY: i64 = 300;

/// One provider.
pub(super) struct Provider {
    /// What its tokens call it.
    issuer: String,
    /// Where its configuration lies.
    discovery: String,
    trust: Trust,
    keys: ArcSwapOption<KeySet>,
    /// When the provider was last asked.
    asked: Mutex<Option<Instant>>,
}

impl Provider {
    /// By the issuer's URL; an empty `discovery` is the place below it that OpenID Connect says.
    pub(super) fn new(issuer: &str, discovery: &str, trust: Trust) -> Self {
        let discovery = match discovery {
            "" => format!(
                "{}/.well-known/openid-configuration",
                issuer.trim_end_matches('/')
            ),
            told => told.to_owned(),
        };
        Provider {
            issuer: issuer.to_owned(),
            discovery,
            trust,
            keys: ArcSwapOption::empty(),
            asked: Mutex::new(None),
        }
    }

    /// A token's claims: it is signed by one of the provider's keys, for one of the audiences, and valid now.
    ///
    /// # Errors
    /// In upstream's words.
    pub(super) async fn verify(
        &self,
        token: &str,
        algorithms: &[String],
        audiences: &[String],
    ) -> Result<Value, String> {
        let claims = self.signed(token, algorithms).await?;
        timely(&claims)?;
        let has = |audience: &String| match &claims["aud"] {
            Value::String(one) => one == audience,
            Value::Array(many) => many.iter().any(|a| a == audience.as_str()),
            _ => false,
        };
        if !audiences.iter().any(has) {
            return Err(format!(
                "oidc: verify token: oidc: expected audience in {audiences:?} got {}",
                claims["aud"]
            ));
        }
        Ok(claims)
    }

    async fn signed(&self, token: &str, algorithms: &[String]) -> Result<Value, String> {
        let failed = |e: jwt::Error| format!("oidc: verify token: {e}");
        if let Some(keys) = self.keys.load_full() {
            match keys.verify(token, algorithms) {
                Ok(claims) => return Ok(claims),
                // The provider may have new keys.
                Err(jwt::Error::Signature) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        let keys = self.refresh().await?;
        keys.verify(token, algorithms).map_err(failed)
    }

    async fn refresh(&self) -> Result<Arc<KeySet>, String> {
        let unknown = || "oidc: authenticator for issuer is not initialized".to_owned();
        let mut asked = self.asked.lock().await;
        // Whoever has a token that names the issuer can come here: one that does not answer is not asked
        // for each of them.
        if asked.is_some_and(|at| at.elapsed() < PATIENCE) {
            return self.keys.load_full().ok_or_else(unknown);
        }
        let fetched = self.fetch().await;
        *asked = Some(Instant::now());
        let keys = Arc::new(fetched.map_err(|why| {
            tracing::warn!(issuer = %self.issuer, why, "keys of an identity provider cannot be read");
            unknown()
        })?);
        self.keys.store(Some(keys.clone()));
        Ok(keys)
    }

    async fn fetch(&self) -> Result<KeySet, String> {
        let read = async |url: &str| {
            let remote = Remote::new(url, &self.trust, TIMEOUT).map_err(|e| e.to_string())?;
            remote.get().await.map_err(|e| e.to_string())
        };
        let provider = read(&self.discovery).await?;
        if provider["issuer"] != self.issuer.as_str() {
            return Err(format!(
                "issuer did not match the issuer returned by provider, expected {:?} got {}",
                self.issuer, provider["issuer"]
            ));
        }
        let keys = provider["jwks_uri"]
            .as_str()
            .ok_or("provider names no jwks_uri")?;
        Ok(KeySet::from_jwks(&read(keys).await?))
    }
}

fn timely(claims: &Value) -> Result<(), String> {
    let now = Timestamp::now().as_second();
    match claims["exp"].as_f64() {
        Some(exp) if (now as f64) < exp => {}
        _ => return Err("oidc: verify token: oidc: token is expired".into()),
    }
    if claims["nbf"]
        .as_f64()
        .is_some_and(|nbf| ((now + LEEWAY) as f64) < nbf)
    {
        return Err("oidc: verify token: oidc: current time is before the nbf (not before) time".into());
    }
    Ok(())
}

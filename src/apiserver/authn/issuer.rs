//! Identity tokens of an OpenID Connect provider. Upstream: `plugin/pkg/authenticator/token/oidc`.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::Mutex;

use super::{
    Error,
    config::Jwt,
    jwt::{self, KeySet},
};
use crate::{
    outbound::{Remote, Trust},
    user::UserInfo,
};

/// Deadline of one question to the provider.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How soon a provider's keys are asked for again because of an unknown key.
const PATIENCE: Duration = Duration::from_secs(10);
/// Clock difference allowed, in seconds.
const LEEWAY: i64 = 300;

/// One provider, whose keys are fetched when its first token comes.
pub(super) struct Issuer {
    config: Jwt,
    trust: Trust,
    keys: ArcSwapOption<KeySet>,
    asked: Mutex<Option<Instant>>,
}

impl Issuer {
    pub(super) fn new(config: Jwt) -> Result<Self, Error> {
        let trust = Trust {
            ca: config.ca.clone().into_bytes(),
            ..Default::default()
        };
        trust.config().map_err(Error::Authority)?;
        Ok(Issuer {
            config,
            trust,
            keys: ArcSwapOption::empty(),
            asked: Mutex::new(None),
        })
    }

    /// The token's user; `None` when it is another issuer's.
    ///
    /// # Errors
    /// In upstream's words, when the token is this issuer's but does not hold.
    pub(super) async fn authenticate(&self, token: &str) -> Result<Option<UserInfo>, String> {
        let Ok(unverified) = jwt::claims(token) else {
            return Ok(None);
        };
        if unverified["iss"] != self.config.url.as_str() {
            return Ok(None);
        }
        let claims = self.verified(token).await?;
        self.check(&claims)?;
        self.config.mapping.user(&claims).map(Some)
    }

    async fn verified(&self, token: &str) -> Result<Value, String> {
        let failed = |e: jwt::Error| format!("oidc: verify token: {e}");
        if let Some(keys) = self.keys.load_full() {
            match keys.verify(token, &self.config.algorithms) {
                Ok(claims) => return Ok(claims),
                // The provider may have new keys.
                Err(jwt::Error::Signature) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        let keys = self.refresh().await?;
        keys.verify(token, &self.config.algorithms).map_err(failed)
    }

    async fn refresh(&self) -> Result<Arc<KeySet>, String> {
        let mut asked = self.asked.lock().await;
        if let (Some(at), Some(keys)) = (*asked, self.keys.load_full())
            && at.elapsed() < PATIENCE
        {
            return Ok(keys);
        }
        let fetched = self.fetch().await.map_err(|why| {
            tracing::warn!(issuer = %self.config.url, why, "keys of an identity provider cannot be read");
            "oidc: authenticator for issuer is not initialized".to_owned()
        })?;
        *asked = Some(Instant::now());
        let keys = Arc::new(fetched);
        self.keys.store(Some(keys.clone()));
        Ok(keys)
    }

    async fn fetch(&self) -> Result<KeySet, String> {
        let url = if self.config.discovery_url.is_empty() {
            format!(
                "{}/.well-known/openid-configuration",
                self.config.url.trim_end_matches('/')
            )
        } else {
            self.config.discovery_url.clone()
        };
        let read = async |url: &str| {
            let remote = Remote::new(url, &self.trust, TIMEOUT).map_err(|e| e.to_string())?;
            remote.get().await.map_err(|e| e.to_string())
        };
        let provider = read(&url).await?;
        if provider["issuer"] != self.config.url.as_str() {
            return Err(format!(
                "issuer did not match the issuer returned by provider, expected {:?} got {}",
                self.config.url, provider["issuer"]
            ));
        }
        let keys = provider["jwks_uri"]
            .as_str()
            .ok_or("provider names no jwks_uri")?;
        Ok(KeySet::from_jwks(&read(keys).await?))
    }

    fn check(&self, claims: &Value) -> Result<(), String> {
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
        let has = |audience: &String| match &claims["aud"] {
            Value::String(one) => one == audience,
            Value::Array(many) => many.iter().any(|a| a == audience.as_str()),
            _ => false,
        };
        if !self.config.audiences.iter().any(has) {
            return Err(format!(
                "oidc: verify token: oidc: expected audience in {:?} got {}",
                self.config.audiences, claims["aud"]
            ));
        }
        for (claim, value) in &self.config.required {
            match claims[claim.as_str()].as_str() {
                None => return Err(format!("oidc: required claim {claim} not present in ID token")),
                Some(found) if found != value => {
                    return Err(format!(
                        "oidc: required claim {claim} value does not match. Got = {found}, want = {value}"
                    ));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }
}

//! Identity tokens of an OpenID Connect provider. Upstream: `plugin/pkg/authenticator/token/oidc`.

use serde_json::Value;

use super::{Error, claims::Source, config::Jwt, distributed::Distributed, jwt, provider::Provider};
use crate::{outbound::Trust, user::UserInfo};

/// One provider, and who its tokens speak of.
pub(super) struct Issuer {
    config: Jwt,
    trust: Trust,
    provider: Provider,
    /// For the groups, when one claim holds them.
    distributed: Option<Distributed>,
}

impl Issuer {
    pub(super) fn new(config: Jwt) -> Result<Self, Error> {
        let trust = Trust {
            ca: config.ca.clone().into_bytes(),
            ..Default::default()
        };
        trust.config().map_err(Error::Authority)?;
        let distributed = match config.mapping.groups.as_ref().map(|groups| &groups.source) {
            Some(Source::Claim(claim)) => Some(Distributed::new(claim)),
            _ => None,
        };
        Ok(Issuer {
            provider: Provider::new(&config.url, &config.discovery_url, trust.clone()),
            config,
            trust,
            distributed,
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
        let config = &self.config;
        if unverified["iss"] != config.url.as_str() {
            return Ok(None);
        }
        let mut claims = self
            .provider
            .verify(token, &config.algorithms, &config.audiences)
            .await?;
        if let Some(distributed) = &self.distributed {
            distributed
                .expand(&mut claims, config, &self.trust)
                .await
                .map_err(|why| format!("oidc: could not expand distributed claims: {why}"))?;
        }
        self.check(&claims)?;
        config.mapping.user(&claims).map(Some)
    }

    /// Claims that must be there with a value.
    fn check(&self, claims: &Value) -> Result<(), String> {
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

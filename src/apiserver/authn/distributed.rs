//! Claims that a provider keeps elsewhere, as a signed token at a URL: OpenID Connect Core 1.0, section 5.6.2.
//! Upstream: `claimResolver` of `plugin/pkg/authenticator/token/oidc`.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use serde_json::Value;

use super::{
    config::Jwt,
    jwt,
    provider::{Provider, TIMEOUT},
};
use crate::outbound::{Remote, Trust};

/// Providers of such claims that are remembered.
const KNOWN: usize = 64;

/// Fetches one claim.
pub(super) struct Distributed {
    claim: String,
    /// By issuer.
    providers: Mutex<HashMap<String, Arc<Provider>>>,
}

impl Distributed {
    pub(super) fn new(claim: &str) -> Self {
        Distributed {
            claim: claim.to_owned(),
            providers: Mutex::default(),
        }
    }

    /// Puts the claim among the others, unless it is there or nobody knows of it.
    ///
    /// # Errors
    /// In upstream's words.
    pub(super) async fn expand(&self, claims: &mut Value, config: &Jwt, trust: &Trust) -> Result<(), String> {
        let claim = self.claim.as_str();
        if !claims[claim].is_null() || claims["_claim_names"].is_null() {
            return Ok(());
        }
        if claims["_claim_sources"].is_null() {
            return Err("oidc: no claim sources".into());
        }
        let Some(source) = claims["_claim_names"][claim].as_str() else {
            return Ok(());
        };
        let endpoint = &claims["_claim_sources"][source];
        if endpoint.is_null() {
            return Err(format!(
                "id token _claim_names contained a source {source} missing in _claims_sources"
            ));
        }
        // Without a URL the claim may be aggregated, which nobody reads.
        let Some(url) = endpoint["endpoint"].as_str().filter(|url| !url.is_empty()) else {
            return Ok(());
        };
        let token = endpoint["access_token"].as_str();
        let found = self.resolve(url, token, config, trust).await?;
        claims[claim] = found;
        Ok(())
    }

    async fn resolve(
        &self,
        url: &str,
        access_token: Option<&str>,
        config: &Jwt,
        trust: &Trust,
    ) -> Result<Value, String> {
        let claim = &self.claim;
        let getting = |why: String| format!("while getting distributed claim {claim:?}: {why}");
        let remote = Remote::new(url, trust, TIMEOUT).and_then(|remote| remote.bearing(access_token));
        let remote = remote.map_err(|e| getting(e.to_string()))?;
        let token = remote.get_text().await.map_err(|e| getting(e.to_string()))?;
        let token = token.trim();
        let unverified = jwt::claims(token).map_err(|why| {
            format!("getting untrusted issuer from endpoint {url} failed for claim {claim:?}: {why}")
        })?;
        let issuer = unverified["iss"].as_str().unwrap_or_default();
        let provider = self.provider(issuer, trust);
        let found = provider
            .verify(token, &config.algorithms, &config.audiences)
            .await
            .map_err(|why| format!("verify distributed claim token: {why}"))?;
        match &found[claim.as_str()] {
            Value::Null => Err(format!(
                "jwt returned by distributed claim endpoint {url:?} did not contain claim: {claim}"
            )),
            value => Ok(value.clone()),
        }
    }

    fn provider(&self, issuer: &str, trust: &Trust) -> Arc<Provider> {
        let mut providers = self.providers.lock();
        if let Some(known) = providers.get(issuer) {
            return known.clone();
        }
        if providers.len() >= KNOWN {
            providers.clear();
        }
        let provider = Arc::new(Provider::new(issuer, "", trust.clone()));
        providers.insert(issuer.to_owned(), provider.clone());
        provider
    }
}

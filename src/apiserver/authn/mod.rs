//! Second stage: who asks. Front proxy, client certificate, bearer token, then nobody: upstream's
//! order (`pkg/kubeapiserver/authenticator`).
//!
//! A request of the API server's own process carries an [`Identity`] as an extension; only the
//! in-process transport sets one, a header never does. Credentials that are there but wrong are a
//! 401; none at all is `system:anonymous`, whom authorization lets see health and version only.

mod anonymous;
mod bootstrap;
mod claims;
mod config;
mod distributed;
pub(crate) mod front_proxy;
mod issuer;
pub(crate) mod jwt;
pub(crate) mod legacy;
pub(crate) mod openid;
mod provider;
pub(crate) mod token;
mod token_file;
mod webhook;
pub(crate) mod x509;

#[cfg(test)]
mod tests;

use std::{collections::HashMap, sync::Arc};

use arc_swap::ArcSwap;
use http::{HeaderMap, request::Parts};
use rkind_apimachinery::status::Status;
use rustls::server::danger::ClientCertVerifier;

use crate::{core::Core, error::Result, options, outbound::RemoteError, server::TlsError, user::UserInfo};

pub(crate) use token::Verified;

/// Why authentication cannot be set up as asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("authentication configuration: {0}")]
    Config(String),
    #[error("authority of client certificates")]
    Authority(#[source] TlsError),
    #[error("authentication webhook")]
    Webhook(#[source] RemoteError),
    #[error("token file: {0}")]
    TokenFile(String),
    #[error("{0}")]
    Exclusive(&'static str),
    #[error("{0}")]
    Oidc(String),
}

/// The identity of an in-process caller, as a request extension.
#[derive(Clone, Debug)]
pub(crate) struct Identity(pub UserInfo);

/// What the listener knows of a connection, as a request extension.
#[derive(Clone, Debug, Default)]
pub(crate) struct Connection {
    /// Other end.
    pub peer: Option<std::net::SocketAddr>,
    /// The client certificate, when one was shown.
    pub certificate: Option<Arc<x509::Shown>>,
}

/// Every way to be believed that is switched on, beside service-account tokens.
pub(crate) struct Authenticators {
    client_ca: Option<Arc<dyn ClientCertVerifier>>,
    front_proxy: Option<front_proxy::FrontProxy>,
    static_tokens: HashMap<String, UserInfo>,
    bootstrap_tokens: bool,
    webhook: Option<webhook::Webhook>,
    options: options::Authentication,
    configured: ArcSwap<Configured>,
}

/// What the configuration file says, and the flags that say the same.
struct Configured {
    issuers: Vec<issuer::Issuer>,
    anonymous: anonymous::Anonymous,
}

impl Configured {
    fn new(options: &options::Authentication, file: Option<&str>) -> Result<Self, Error> {
        let (mut jwt, anonymous) = match file.map(config::parse).transpose()? {
            Some(parsed) => (parsed.jwt, parsed.anonymous),
            None => (Vec::new(), None),
        };
        if !jwt.is_empty() && options.oidc.is_some() {
            return Err(Error::Exclusive(
                "authentication-config file and oidc-* flags are mutually exclusive",
            ));
        }
        if anonymous.is_some() && options.anonymous_auth.is_some() {
            return Err(Error::Exclusive(
                "--anonymous-auth flag cannot be set when anonymous field is configured in authentication configuration file",
            ));
        }
        jwt.extend(options.oidc.as_ref().map(config::classic).transpose()?);
        Ok(Configured {
            issuers: jwt
                .into_iter()
                .map(issuer::Issuer::new)
                .collect::<Result<_, _>>()?,
            anonymous: anonymous.unwrap_or(anonymous::Anonymous::all(options.anonymous_auth.unwrap_or(true))),
        })
    }
}

impl Authenticators {
    /// By options; `client_ca` and `front_proxy_ca` are PEM, empty for none.
    ///
    /// # Errors
    /// When an option cannot be used.
    pub(crate) fn new(
        options: &options::Authentication,
        client_ca: &str,
        front_proxy_ca: &str,
    ) -> Result<Self, Error> {
        Ok(Authenticators {
            client_ca: x509::verifier(client_ca).map_err(Error::Authority)?,
            front_proxy: x509::verifier(front_proxy_ca)
                .map_err(Error::Authority)?
                .map(|ca| front_proxy::FrontProxy::new(ca, &options.request_header)),
            static_tokens: options
                .token_auth_file
                .as_deref()
                .map(token_file::parse)
                .transpose()?
                .unwrap_or_default(),
            bootstrap_tokens: options.enable_bootstrap_token_auth,
            webhook: options
                .authentication_token_webhook_config_file
                .as_deref()
                .map(|kubeconfig| webhook::Webhook::new(kubeconfig, options))
                .transpose()
                .map_err(Error::Webhook)?,
            configured: ArcSwap::from_pointee(Configured::new(
                options,
                options.authentication_config.as_deref(),
            )?),
            options: options.clone(),
        })
    }

    /// Takes a new text of the configuration file on.
    ///
    /// # Errors
    /// When it cannot be used; what was there stays.
    pub(crate) fn reload(&self, file: &str) -> Result<(), Error> {
        self.configured
            .store(Arc::new(Configured::new(&self.options, Some(file))?));
        Ok(())
    }

    /// What a connection's client certificate proves.
    pub(crate) fn shown(&self, chain: &[rustls_pki_types::CertificateDer<'_>]) -> Option<Arc<x509::Shown>> {
        let ca = self.client_ca.as_deref();
        let proxy = self.front_proxy.as_ref().map(|p| p.authority());
        x509::Shown::of(chain, ca, proxy).map(Arc::new)
    }
}

/// Finds out who asks.
///
/// # Errors
/// 401 for credentials that are not valid, or none where anonymous requests are not let in.
pub(crate) async fn authenticate(core: &Core, parts: &Parts) -> Result<UserInfo> {
    if let Some(Identity(user)) = parts.extensions.get::<Identity>() {
        return Ok(user.clone());
    }
    let refuse = |why: &str| -> Result<UserInfo> {
        tracing::debug!(why, "credentials refused");
        Err(Status::unauthorized("Unauthorized").into())
    };
    let mut refused = None;
    let shown = parts
        .extensions
        .get::<Connection>()
        .and_then(|c| c.certificate.as_deref());
    if let Some(shown) = shown {
        if let Some(proxy) = &core.authn.front_proxy {
            match proxy.user(shown, &parts.headers) {
                Ok(Some(user)) => return Ok(user.authenticated()),
                Ok(None) => {}
                Err(why) => refused = Some(why),
            }
        }
        match shown.user() {
            Ok(user) => return Ok(user.clone().authenticated()),
            Err(why) => refused = refused.or(Some(why.to_owned())),
        }
    }
    if let Some(token) = bearer(&parts.headers) {
        return match self::token(core, &token, &[]).await {
            Ok(verified) => Ok(verified.user.authenticated()),
            Err(why) => refuse(&why),
        };
    }
    if let Some(why) = refused {
        return refuse(&why);
    }
    if core.authn.configured.load().anonymous.admits(parts.uri.path()) {
        return Ok(UserInfo::anonymous());
    }
    refuse("no credentials")
}

/// Asks every authenticator of tokens in turn. Empty `audiences` stand for the API server's own.
///
/// # Errors
/// What each of them held against it.
pub(crate) async fn token(core: &Core, token: &str, audiences: &[String]) -> Result<Verified, String> {
    let authn = &core.authn;
    let mut errors: Vec<String> = Vec::new();
    if let Some(user) = authn.static_tokens.get(token) {
        return agnostic(core, user.clone(), audiences);
    }
    match core.tokens.authenticate(token, audiences) {
        Ok(verified) => return Ok(verified),
        Err(jwt::Error::Foreign) => {}
        Err(error) => errors.push(error.to_string()),
    }
    if let Some(found) = legacy::authenticate(core, token).await {
        match found {
            Ok(user) => return agnostic(core, user, audiences),
            Err(why) => errors.push(why),
        }
    }
    if authn.bootstrap_tokens
        && let Some(user) = bootstrap::authenticate(&core.cache, token)
    {
        return agnostic(core, user, audiences);
    }
    let configured = authn.configured.load_full();
    for issuer in &configured.issuers {
        match issuer.authenticate(token).await {
            Ok(Some(user)) => return agnostic(core, user, audiences),
            Ok(None) => {}
            Err(why) => errors.push(why),
        }
    }
    if let Some(webhook) = &authn.webhook {
        let asked = if audiences.is_empty() {
            core.tokens.audiences()
        } else {
            audiences
        };
        match webhook.authenticate(token, asked).await {
            Ok(Some(verified)) => return Ok(verified),
            Ok(None) => {}
            Err(why) => errors.push(why),
        }
    }
    Err(match errors.len() {
        0 => "invalid bearer token".to_owned(),
        _ => format!("[invalid bearer token, {}]", errors.join(", ")),
    })
}

/// A user from an authenticator that knows no audiences: such tokens are for the API server.
fn agnostic(core: &Core, user: UserInfo, audiences: &[String]) -> Result<Verified, String> {
    let own = core.tokens.audiences();
    let wanted = if audiences.is_empty() { own } else { audiences };
    let matched: Vec<String> = wanted.iter().filter(|a| own.contains(a)).cloned().collect();
    if matched.is_empty() {
        return Err("token audiences do not match".to_owned());
    }
    Ok(Verified {
        user,
        audiences: matched,
    })
}

/// The bearer token of `Authorization`, or of a WebSocket subprotocol
/// (`base64url.bearer.authorization.k8s.io.<token>`).
fn bearer(headers: &HeaderMap) -> Option<String> {
    if let Some(value) = headers.get(http::header::AUTHORIZATION) {
        let (scheme, token) = value.to_str().ok()?.trim().split_once(' ')?;
        let token = token.trim();
        return (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then(|| token.to_owned());
    }
    let protocols = headers.get(http::header::SEC_WEBSOCKET_PROTOCOL)?.to_str().ok()?;
    let encoded = protocols
        .split(',')
        .find_map(|p| p.trim().strip_prefix("base64url.bearer.authorization.k8s.io."))?;
    use base64::Engine as _;
    let raw = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(encoded)
        .ok()?;
    String::from_utf8(raw).ok()
}

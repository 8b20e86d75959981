//! Second stage: who asks. Client certificate, then bearer token, then nobody.
//!
//! A request of the API server's own process carries an [`Identity`] as an extension; only the
//! in-process transport sets one, a header never does. Credentials that are there but wrong are a
//! 401; none at all is `system:anonymous`, whom authorization lets see health and version only.

pub(crate) mod jwt;
pub(crate) mod openid;
pub(crate) mod token;
pub(crate) mod x509;

use http::{HeaderMap, request::Parts};
use rkind_apimachinery::status::Status;

use crate::{error::Result, user::UserInfo};

/// The identity of an in-process caller, as a request extension.
#[derive(Clone, Debug)]
pub(crate) struct Identity(pub UserInfo);

/// What the listener knows of a connection, as a request extension.
#[derive(Clone, Debug, Default)]
pub(crate) struct Connection {
    /// Other end.
    pub peer: Option<std::net::SocketAddr>,
    /// User of the verified client certificate.
    pub certificate: Option<UserInfo>,
}

/// Finds out who asks.
///
/// # Errors
/// 401 for a bearer token that is not valid.
pub(crate) fn authenticate(parts: &Parts, tokens: &token::Tokens) -> Result<UserInfo> {
    if let Some(Identity(user)) = parts.extensions.get::<Identity>() {
        return Ok(user.clone());
    }
    if let Some(user) = parts
        .extensions
        .get::<Connection>()
        .and_then(|c| c.certificate.clone())
    {
        return Ok(user.authenticated());
    }
    if let Some(token) = bearer(&parts.headers) {
        return match tokens.authenticate(&token, &[]) {
            Ok(verified) => Ok(verified.user.authenticated()),
            Err(error) => {
                tracing::debug!(%error, "bearer token refused");
                Err(Status::unauthorized("Unauthorized").into())
            }
        };
    }
    Ok(UserInfo::anonymous())
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

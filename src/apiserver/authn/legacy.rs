//! Service-account tokens that live in secrets and do not expire, and what is noted of their use.
//! Upstream: `pkg/serviceaccount/legacy.go`, KEP-2799.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use rkind_apimachinery::{meta, resources};
use serde_json::{Value, json};

use super::{bootstrap::same, jwt};
use crate::{core::Core, user::UserInfo};

/// Issuer of tokens in secrets.
const ISSUER: &str = "kubernetes/serviceaccount";
/// Label with the day of the last use.
const LAST_USED: &str = "kubernetes.io/legacy-token-last-used";
/// Label of tokens that are no longer believed.
const INVALID_SINCE: &str = "kubernetes.io/legacy-token-invalid-since";

/// The user of a token of this kind; `None` when it is of another.
pub(super) async fn authenticate(core: &Core, token: &str) -> Option<Result<UserInfo, String>> {
    let unverified = jwt::claims(token).ok()?;
    if unverified["iss"] != ISSUER {
        return None;
    }
    Some(check(core, token).await)
}

async fn check(core: &Core, token: &str) -> Result<UserInfo, String> {
    let claims = core.tokens.verifier().verify(token).map_err(|e| e.to_string())?;
    let claim = |name: &str| -> Result<&str, String> {
        claims[format!("kubernetes.io/serviceaccount/{name}")]
            .as_str()
            .filter(|text| !text.is_empty())
            .ok_or_else(|| format!("{name} claim is missing"))
    };
    let (namespace, secret_name) = (claim("namespace")?, claim("secret.name")?);
    let (name, uid) = (claim("service-account.name")?, claim("service-account.uid")?);
    let subject = format!("system:serviceaccount:{namespace}:{name}");
    if claims["sub"] != subject.as_str() {
        return Err("sub claim is invalid".into());
    }
    let secret = core
        .cached("core/secrets", &format!("{namespace}/{secret_name}"))
        .ok_or("service account token has been invalidated")?
        .to_value();
    let held = STANDARD
        .decode(secret["data"]["token"].as_str().unwrap_or_default())
        .unwrap_or_default();
    if meta::is_deleting(&secret) || !same(&held, token.as_bytes()) {
        return Err("service account token has been invalidated".into());
    }
    let account = core
        .cached("core/serviceaccounts", &format!("{namespace}/{name}"))
        .ok_or_else(|| format!("serviceaccounts \"{name}\" not found"))?
        .to_value();
    if meta::is_deleting(&account) {
        return Err("service account has been deleted".into());
    }
    if meta::uid(&account) != uid {
        return Err(format!(
            "service account UID ({}) does not match claim ({uid})",
            meta::uid(&account)
        ));
    }
    if let Some(since) = secret["metadata"]["labels"][INVALID_SINCE].as_str() {
        crate::audit::annotate(
            "authentication.k8s.io/legacy-token-invalidated",
            &format!("{secret_name}/{namespace}"),
        );
        return Err(format!(
            "the token in secret {namespace}/{secret_name} for service account {namespace}/{name} has been marked invalid. Use tokens from the TokenRequest API or manually created secret-based tokens, or remove the '{INVALID_SINCE}' label from the secret to temporarily allow use of this token (since {since})"
        ));
    }
    used(core, namespace, secret_name, &secret).await;
    Ok(UserInfo {
        name: subject,
        uid: uid.to_owned(),
        groups: vec![
            "system:serviceaccounts".into(),
            format!("system:serviceaccounts:{namespace}"),
        ],
        ..Default::default()
    })
}

/// Notes the day of use, once a day.
async fn used(core: &Core, namespace: &str, name: &str, secret: &Value) {
    crate::audit::annotate(
        "authentication.k8s.io/legacy-token",
        &format!("{namespace}/{name}"),
    );
    let today = meta::time(Timestamp::now());
    let today = today.split('T').next().unwrap_or_default();
    if secret["metadata"]["labels"][LAST_USED] == today {
        return;
    }
    let Some(def) = resources::find("", "v1", "secrets") else {
        return;
    };
    let mut new = secret.clone();
    new["metadata"]["labels"][LAST_USED] = json!(today);
    let revision = meta::resource_version(secret).parse().unwrap_or(0);
    let bytes = crate::registry::create::to_bytes(&mut new);
    let key = crate::core::store_key(def, namespace, name);
    // Somebody else's change is as good: the next use tries again.
    if let Err(error) = core.store.update(&key, revision, bytes).await {
        tracing::debug!(namespace, name, %error, "cannot note the use of a token");
    }
}

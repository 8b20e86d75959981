//! Bootstrap tokens: secrets by which new nodes join.
//! Upstream: `plugin/pkg/auth/authenticator/token/bootstrap`.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde_json::Value;

use crate::{cacher::Cache, user::UserInfo};

const TYPE: &str = "bootstrap.kubernetes.io/token";
const GROUP: &str = "system:bootstrappers";

/// The user of a token that a secret in `kube-system` vouches for.
pub(super) fn authenticate(cache: &Cache, token: &str) -> Option<UserInfo> {
    let (id, secret) = split(token)?;
    let object = cache
        .cacher("core/secrets")?
        .get(&format!("kube-system/bootstrap-token-{id}"))?
        .to_value();
    let no = |why: &str| {
        tracing::debug!(id, why, "bootstrap token refused");
        None
    };
    if !object["metadata"]["deletionTimestamp"].is_null() {
        return no("its secret is being deleted");
    }
    if object["type"] != TYPE {
        return no("its secret has another type");
    }
    if !same(data(&object, "token-secret").as_bytes(), secret.as_bytes()) {
        return no("its secret part is wrong");
    }
    if data(&object, "token-id") != id {
        return no("its id is another");
    }
    let expiration = data(&object, "expiration");
    if !expiration.is_empty()
        && expiration
            .parse::<Timestamp>()
            .map_or(true, |at| at < Timestamp::now())
    {
        return no("it has expired");
    }
    if data(&object, "usage-bootstrap-authentication") != "true" {
        return no("it is not for authentication");
    }
    let mut groups = vec![GROUP.to_owned()];
    for group in data(&object, "auth-extra-groups")
        .split(',')
        .map(str::trim)
        .filter(|g| !g.is_empty())
    {
        if !valid_group(group) {
            return no("it names a group that is not a bootstrapper's");
        }
        groups.push(group.to_owned());
    }
    groups[1..].sort_unstable();
    groups.dedup();
    Some(UserInfo {
        name: format!("system:bootstrap:{id}"),
        groups,
        ..Default::default()
    })
}

/// `[a-z0-9]{6}.[a-z0-9]{16}`.
fn split(token: &str) -> Option<(&str, &str)> {
    let (id, secret) = token.split_once('.')?;
    let plain = |text: &str| text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    (id.len() == 6 && secret.len() == 16 && plain(id) && plain(secret)).then_some((id, secret))
}

fn data(secret: &Value, key: &str) -> String {
    let encoded = secret["data"][key].as_str().unwrap_or_default();
    STANDARD
        .decode(encoded)
        .ok()
        .and_then(|raw| String::from_utf8(raw).ok())
        .unwrap_or_default()
}

/// Compares without telling by time where the difference is.
pub(super) fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |sum, (x, y)| sum | (x ^ y)) == 0
}

fn valid_group(group: &str) -> bool {
    let Some(rest) = group.strip_prefix("system:bootstrappers:") else {
        return false;
    };
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    (1..=256).contains(&rest.len())
        && rest.bytes().all(|b| plain(b) || b == b':' || b == b'-')
        && rest.bytes().last().is_some_and(plain)
}

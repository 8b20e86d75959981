//! Claims of an identity token -> a user.

use serde_json::Value;

use super::x509::CREDENTIAL_ID;
use crate::user::UserInfo;

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// One claim.
    Claim(String),
    /// Claims within claims, as `claims.a.b` names them.
    Path(Vec<String>),
}

impl Source {
    /// An expression that names a claim: `claims.NAME`, `claims.a.b` or `claims["NAME"]`.
    pub(super) fn expression(text: &str) -> Option<Source> {
        let text = text.trim();
        let rest = text.strip_prefix("claims")?;
        if let Some(quoted) = rest.strip_prefix('[').and_then(|r| r.strip_suffix(']')) {
            let name = quoted.trim_matches(['"', '\'']);
            let plain = !name.is_empty() && !name.contains(['"', '\'', '[', ']']);
            return plain.then(|| Source::Claim(name.to_owned()));
        }
        let path: Vec<String> = rest.strip_prefix('.')?.split('.').map(str::to_owned).collect();
        let word = |w: &String| !w.is_empty() && w.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        path.iter().all(word).then_some(Source::Path(path))
    }

    fn of<'a>(&self, claims: &'a Value) -> &'a Value {
        match self {
            Source::Claim(name) => &claims[name.as_str()],
            Source::Path(path) => path.iter().fold(claims, |value, name| &value[name.as_str()]),
        }
    }
}

/// A value with a prefix; without one for expressions.
#[derive(Clone, Debug)]
pub(super) struct Prefixed {
    pub source: Source,
    pub prefix: Option<String>,
}

/// How claims become a user.
#[derive(Clone, Debug)]
pub(super) struct Mapping {
    pub username: Prefixed,
    pub groups: Option<Prefixed>,
    pub uid: Option<Source>,
    pub extra: Vec<(String, Source)>,
}

impl Mapping {
    /// The user of a token's claims.
    ///
    /// # Errors
    /// In upstream's words, when a claim is missing or of another form.
    pub(super) fn user(&self, claims: &Value) -> Result<UserInfo, String> {
        let is_email = self.username.source == Source::Claim("email".into());
        if is_email && claims.get("email_verified").is_some_and(|v| *v != true) {
            return Err("oidc: email not verified".into());
        }
        let name = self.username.source.of(claims).as_str().ok_or_else(|| {
            format!(
                "oidc: parse username claims {:?}: claim not present",
                shown(&self.username.source)
            )
        })?;
        if name.is_empty() {
            return Err("oidc: empty username".into());
        }
        let mut user = UserInfo {
            name: format!("{}{name}", self.username.prefix.as_deref().unwrap_or_default()),
            ..Default::default()
        };
        if let Some(groups) = &self.groups {
            let prefix = groups.prefix.as_deref().unwrap_or_default();
            user.groups = match groups.source.of(claims) {
                Value::Null => Vec::new(),
                Value::String(one) if one.is_empty() => Vec::new(),
                value => texts(value).ok_or_else(|| {
                    format!(
                        "oidc: parse groups claim {:?}: json: cannot unmarshal into a list of strings",
                        shown(&groups.source)
                    )
                })?,
            };
            user.groups.iter_mut().for_each(|g| g.insert_str(0, prefix));
        }
        if let Some(uid) = &self.uid {
            let value = uid.of(claims).as_str();
            user.uid = value.ok_or("oidc: uid claim is no string")?.to_owned();
        }
        for (key, source) in &self.extra {
            let values = match source.of(claims) {
                Value::Null => Vec::new(),
                value => texts(value).ok_or("oidc: extra claim is neither a string nor a list of strings")?,
            };
            let values: Vec<String> = values.into_iter().filter(|v| !v.is_empty()).collect();
            if !values.is_empty() {
                user.extra.insert(key.clone(), values);
            }
        }
        if let Some(id) = claims["jti"].as_str() {
            user.extra
                .entry(CREDENTIAL_ID.into())
                .or_insert_with(|| vec![format!("JTI={id}")]);
        }
        Ok(user)
    }
}

fn shown(source: &Source) -> String {
    match source {
        Source::Claim(name) => name.clone(),
        Source::Path(path) => path.join("."),
    }
}

fn texts(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::String(one) => Some(vec![one.clone()]),
        Value::Array(list) => list.iter().map(|v| v.as_str().map(str::to_owned)).collect(),
        _ => None,
    }
}

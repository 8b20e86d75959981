//! Service-account tokens: issued by TokenRequest, checked on every request.
//! Upstream: `pkg/serviceaccount` (claims, jwt).

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::jwt::{Error, Signer, Verifier};
use crate::{cacher::Cache, user::UserInfo};

/// Time in seconds that a bound token outlives its pod's deletion.
const GRACE: i64 = 60;

/// A token that holds, and for whom.
#[derive(Debug)]
pub(crate) struct Verified {
    pub user: UserInfo,
    pub audiences: Vec<String>,
}

/// What a token is bound to beside its service account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bound {
    /// `Pod`, `Secret` or `Node`.
    pub kind: String,
    pub name: String,
    pub uid: String,
}

/// Issues and checks service-account tokens.
pub(crate) struct Tokens {
    issuer: String,
    audiences: Vec<String>,
    signer: Signer,
    verifier: Verifier,
    cache: Arc<Cache>,
}

impl Tokens {
    /// `audiences` are those that the API server itself accepts; the first is the default of new
    /// tokens.
    pub(crate) fn new(
        issuer: String,
        audiences: Vec<String>,
        signer: Signer,
        verifier: Verifier,
        cache: Arc<Cache>,
    ) -> Self {
        Tokens {
            issuer,
            audiences,
            signer,
            verifier,
            cache,
        }
    }

    /// The issuer's URL.
    pub(crate) fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Audiences of the API server.
    pub(crate) fn audiences(&self) -> &[String] {
        &self.audiences
    }

    /// Public keys.
    pub(crate) fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// A new token. `node` is the node of the pod that it is bound to.
    ///
    /// # Errors
    /// When signing fails.
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn issue(
        &self,
        namespace: &str,
        name: &str,
        uid: &str,
        audiences: &[String],
        seconds: i64,
        bound: Option<&Bound>,
        node: Option<(&str, &str)>,
    ) -> Result<(String, Timestamp), Error> {
        let now = Timestamp::now().as_second();
        let mut private = json!({"namespace": namespace, "serviceaccount": {"name": name, "uid": uid}});
        if let Some(bound) = bound {
            private[bound.kind.to_ascii_lowercase()] = json!({"name": bound.name, "uid": bound.uid});
        }
        if let Some((node, uid)) = node {
            private["node"] = if uid.is_empty() {
                json!({"name": node})
            } else {
                json!({"name": node, "uid": uid})
            };
        }
        let claims = json!({
            "aud": audiences, "exp": now + seconds, "iat": now, "nbf": now, "iss": self.issuer,
            "jti": uuid::Uuid::new_v4().to_string(),
            "sub": format!("system:serviceaccount:{namespace}:{name}"),
            "kubernetes.io": private,
        });
        let token = self.signer.sign(&claims)?;
        Ok((
            token,
            Timestamp::from_second(now + seconds).unwrap_or(Timestamp::MAX),
        ))
    }

    /// Checks signature, issuer, times, audience and that the bound objects still live.
    /// Empty `audiences` stand for the API server's own.
    ///
    /// # Errors
    /// Which check failed.
    pub(crate) fn authenticate(&self, token: &str, audiences: &[String]) -> Result<Verified, Error> {
        let claims = self.verifier.verify(token)?;
        let fail = |what: &str| Err(Error::Claim(what.to_owned()));
        if claims["iss"] != self.issuer.as_str() {
            return fail("token has another issuer");
        }
        let now = Timestamp::now().as_second();
        if claims["exp"].as_i64().is_none_or(|exp| now >= exp) {
            return fail("service account token has expired");
        }
        if claims["nbf"].as_i64().is_some_and(|nbf| now + 5 < nbf) {
            return fail("service account token is not valid yet");
        }
        let wanted = if audiences.is_empty() {
            &self.audiences
        } else {
            audiences
        };
        let has: Vec<&str> = match &claims["aud"] {
            Value::String(one) => vec![one],
            Value::Array(many) => many.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let matched: Vec<String> = wanted
            .iter()
            .filter(|w| has.contains(&w.as_str()))
            .cloned()
            .collect();
        if matched.is_empty() {
            return fail("token audiences do not match");
        }
        let user = self.user(&claims)?;
        Ok(Verified {
            user,
            audiences: matched,
        })
    }

    fn user(&self, claims: &Value) -> Result<UserInfo, Error> {
        let private = &claims["kubernetes.io"];
        let namespace = private["namespace"].as_str().unwrap_or_default();
        let account = &private["serviceaccount"];
        let name = account["name"].as_str().unwrap_or_default();
        let subject = format!("system:serviceaccount:{namespace}:{name}");
        if namespace.is_empty() || name.is_empty() || claims["sub"] != subject.as_str() {
            return Err(Error::Claim("token has no subject of a service account".into()));
        }
        self.check(
            "core/serviceaccounts",
            &format!("{namespace}/{name}"),
            &account["uid"],
        )?;
        let mut user = UserInfo {
            name: subject,
            uid: account["uid"].as_str().unwrap_or_default().into(),
            groups: vec![
                "system:serviceaccounts".into(),
                format!("system:serviceaccounts:{namespace}"),
            ],
            ..Default::default()
        };
        for (kind, resource, scope) in [
            ("pod", "core/pods", format!("{namespace}/")),
            ("secret", "core/secrets", format!("{namespace}/")),
            ("node", "core/nodes", String::new()),
        ] {
            let bound = &private[kind];
            let Some(name) = bound["name"].as_str() else {
                continue;
            };
            // A node claim on a pod's token only tells; on its own it binds.
            if kind != "node" || private["pod"].is_null() {
                self.check(resource, &format!("{scope}{name}"), &bound["uid"])?;
            }
            if kind != "secret" {
                let mut put = |field: &str, value: &Value| {
                    if let Some(value) = value.as_str() {
                        user.extra.insert(
                            format!("authentication.kubernetes.io/{kind}-{field}"),
                            vec![value.into()],
                        );
                    }
                };
                put("name", &bound["name"]);
                put("uid", &bound["uid"]);
            }
        }
        if let Some(id) = claims["jti"].as_str() {
            user.extra.insert(
                "authentication.kubernetes.io/credential-id".into(),
                vec![format!("JTI={id}")],
            );
        }
        Ok(user)
    }

    /// The object is there with this uid and not long deleted.
    fn check(&self, resource: &str, key: &str, uid: &Value) -> Result<(), Error> {
        let object = self
            .cache
            .cacher(resource)
            .and_then(|c| c.get(key))
            .ok_or_else(|| Error::Claim(format!("token is bound to {resource} {key}, which is gone")))?;
        let value = object.to_value();
        let metadata = &value["metadata"];
        if uid.as_str().is_some_and(|uid| metadata["uid"] != uid) {
            return Err(Error::Claim(format!(
                "token is bound to an earlier {resource} {key}"
            )));
        }
        let deleted = metadata["deletionTimestamp"]
            .as_str()
            .and_then(|t| t.parse::<Timestamp>().ok());
        if deleted.is_some_and(|at| at.as_second() + GRACE < Timestamp::now().as_second()) {
            return Err(Error::Claim(format!(
                "token is bound to {resource} {key}, which is deleted"
            )));
        }
        Ok(())
    }
}

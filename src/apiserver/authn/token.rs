//! Service-account tokens: issued by TokenRequest, checked on every request.
//! Upstream: `pkg/serviceaccount` (claims, jwt).

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::jwt::{Error, Signer, Verifier};
use crate::{cacher::Cache, user::UserInfo};

/// Time in seconds that a bound token outlives its pod's deletion.
const GRACE: i64 = 60;
/// Lifetime in seconds that the default projected volume asks for.
pub(crate) const PROJECTED: i64 = 60 * 60 + 7;
/// Lifetime in seconds that it gets when lifetimes are extended.
const EXTENDED: i64 = 365 * 24 * 60 * 60;

/// A token that holds, and for whom.
#[derive(Debug)]
pub(crate) struct Verified {
    pub user: UserInfo,
    pub audiences: Vec<String>,
}

/// What a new token is to say.
pub(crate) struct Wanted<'a> {
    pub namespace: &'a str,
    pub name: &'a str,
    pub uid: &'a str,
    pub audiences: &'a [String],
    /// Lifetime.
    pub seconds: i64,
    pub bound: Option<&'a Bound>,
    /// Node of the pod that it is bound to, and its uid.
    pub node: Option<(&'a str, &'a str)>,
}

/// A new token.
pub(crate) struct Issued {
    pub token: String,
    /// When its owner should have a newer one.
    pub expires: Timestamp,
    /// `JTI=…`, as audit events name it.
    pub id: String,
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
    extend: bool,
    /// Longest lifetime in seconds; 0: no limit.
    longest: i64,
    stale: AtomicU64,
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
            extend: false,
            longest: 0,
            stale: AtomicU64::new(0),
        }
    }

    /// Pods' default tokens live a year; their use after the hour that was asked for is noted.
    pub(crate) fn extending(mut self, extend: bool) -> Self {
        self.extend = extend;
        self
    }

    /// No token lives longer than `limit`; zero: no limit.
    pub(crate) fn limited(mut self, limit: std::time::Duration) -> Self {
        self.longest = i64::try_from(limit.as_secs()).unwrap_or(0);
        self
    }

    /// The lifetime in seconds that is given to who asks for `seconds`.
    pub(crate) fn granted(&self, seconds: i64) -> i64 {
        if self.longest > 0 {
            seconds.min(self.longest)
        } else {
            seconds
        }
    }

    /// How many times a token was used that its owner should have renewed.
    pub(crate) fn stale(&self) -> u64 {
        self.stale.load(Ordering::Relaxed)
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

    /// A new token.
    ///
    /// # Errors
    /// When signing fails.
    pub(crate) fn issue(&self, wanted: &Wanted<'_>) -> Result<Issued, Error> {
        let Wanted { namespace, name, .. } = wanted;
        let now = Timestamp::now().as_second();
        let mut private =
            json!({"namespace": namespace, "serviceaccount": {"name": name, "uid": wanted.uid}});
        if let Some(bound) = wanted.bound {
            private[bound.kind.to_ascii_lowercase()] = json!({"name": bound.name, "uid": bound.uid});
        }
        if let Some((node, uid)) = wanted.node {
            private["node"] = if uid.is_empty() {
                json!({"name": node})
            } else {
                json!({"name": node, "uid": uid})
            };
        }
        let of_pod = wanted.bound.is_some_and(|b| b.kind == "Pod");
        let own = wanted.audiences.iter().all(|a| self.audiences.contains(a));
        let mut lifetime = wanted.seconds;
        if self.extend && of_pod && own && wanted.seconds == PROJECTED {
            private["warnafter"] = json!(now + wanted.seconds);
            lifetime = self.granted(EXTENDED);
        }
        let jti = uuid::Uuid::new_v4().to_string();
        let claims = json!({
            "aud": wanted.audiences, "exp": now + lifetime, "iat": now, "nbf": now, "iss": self.issuer,
            "jti": jti, "sub": format!("system:serviceaccount:{namespace}:{name}"),
            "kubernetes.io": private,
        });
        Ok(Issued {
            token: self.signer.sign(&claims)?,
            expires: Timestamp::from_second(now + wanted.seconds).unwrap_or(Timestamp::MAX),
            id: format!("JTI={jti}"),
        })
    }

    /// Checks signature, issuer, times, audience and that the bound objects still live.
    /// Empty `audiences` stand for the API server's own.
    ///
    /// # Errors
    /// Which check failed.
    pub(crate) fn authenticate(&self, token: &str, audiences: &[String]) -> Result<Verified, Error> {
        let unverified = super::jwt::claims(token).map_err(|_| Error::Foreign)?;
        if unverified["iss"] != self.issuer.as_str() {
            return Err(Error::Foreign);
        }
        let claims = self.verifier.verify(token)?;
        let fail = |what: &str| Err(Error::Claim(what.to_owned()));
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
        let warn_after = claims["kubernetes.io"]["warnafter"].as_i64();
        if let Some(late) = warn_after.map(|after| now - after).filter(|late| *late > 0) {
            self.stale.fetch_add(1, Ordering::Relaxed);
            crate::audit::annotate(
                "authentication.k8s.io/stale-token",
                &format!("subject: {}, seconds after warning threshold: {late}", user.name),
            );
        }
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

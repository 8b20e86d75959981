//! Who makes a request. Upstream: `k8s.io/apiserver/pkg/authentication/user`.

use std::collections::BTreeMap;

/// Name of the user a request without credentials runs as.
pub(crate) const ANONYMOUS: &str = "system:anonymous";
/// Group of every request without credentials.
pub(crate) const UNAUTHENTICATED: &str = "system:unauthenticated";
/// Group of every request with valid credentials.
pub(crate) const AUTHENTICATED: &str = "system:authenticated";
/// Group that passes every authorization check.
pub(crate) const MASTERS: &str = "system:masters";

/// An authenticated (or anonymous) identity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserInfo {
    /// Unique name, for instance `system:node:worker-1`.
    pub name: String,
    /// Stable identifier of the user, empty when the authenticator has none.
    pub uid: String,
    /// Groups the user is in.
    pub groups: Vec<String>,
    /// What else the authenticator knows, by lower-case key.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl UserInfo {
    /// A user with a name and groups; `system:authenticated` is added.
    pub fn new(name: impl Into<String>, groups: &[&str]) -> Self {
        let mut user = UserInfo {
            name: name.into(),
            ..Default::default()
        };
        user.groups = groups.iter().map(|g| (*g).to_owned()).collect();
        user.authenticated()
    }

    /// The identity of the API server's own loops: may do everything.
    pub fn loopback() -> Self {
        UserInfo::new("system:apiserver", &[MASTERS])
    }

    /// The user of requests without credentials.
    pub fn anonymous() -> Self {
        UserInfo {
            name: ANONYMOUS.into(),
            groups: vec![UNAUTHENTICATED.into()],
            ..Default::default()
        }
    }

    /// Adds `system:authenticated` unless it is there.
    pub fn authenticated(mut self) -> Self {
        if !self.in_group(AUTHENTICATED) {
            self.groups.push(AUTHENTICATED.into());
        }
        self
    }

    /// Whether the user is in `group`.
    pub fn in_group(&self, group: &str) -> bool {
        self.groups.iter().any(|g| g == group)
    }

    /// `(namespace, name)` when this is a service account.
    pub fn service_account(&self) -> Option<(&str, &str)> {
        self.name.strip_prefix("system:serviceaccount:")?.split_once(':')
    }
}

//! Role-based access control over the roles and bindings in the watch cache.
//! Upstream: `plugin/pkg/auth/authorizer/rbac`, `pkg/registry/rbac/validation`.

mod index;

use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use self::index::{Index, RoleRef};
use super::{Attributes, Decision};
use crate::{
    cacher::{Cache, Cacher},
    user::UserInfo,
};

#[cfg(test)]
mod tests;

/// `rbac.authorization.k8s.io/v1 PolicyRule`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Rule {
    pub verbs: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub api_groups: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resource_names: Vec<String>,
    #[serde(rename = "nonResourceURLs", skip_serializing_if = "Vec::is_empty")]
    pub non_resource_urls: Vec<String>,
}

impl Rule {
    /// Whether this rule grants `wanted`.
    pub(crate) fn allows(&self, wanted: &Attributes) -> bool {
        let any = |list: &[String], value: &str| list.iter().any(|item| item == "*" || item == value);
        if !any(&self.verbs, &wanted.verb) {
            return false;
        }
        if !wanted.is_resource {
            return self
                .non_resource_urls
                .iter()
                .any(|url| match url.strip_suffix('*') {
                    Some(prefix) => wanted.path.starts_with(prefix),
                    None => *url == wanted.path,
                });
        }
        any(&self.api_groups, &wanted.group)
            && self.allows_resource(wanted)
            && (self.resource_names.is_empty() || self.resource_names.contains(&wanted.name))
    }

    fn allows_resource(&self, wanted: &Attributes) -> bool {
        self.resources.iter().any(|rule| {
            if rule == "*" {
                return true;
            }
            if wanted.subresource.is_empty() {
                return *rule == wanted.resource;
            }
            match rule.split_once('/') {
                Some((resource, subresource)) => {
                    (resource == "*" || resource == wanted.resource) && subresource == wanted.subresource
                }
                None => false,
            }
        })
    }
}

/// The authorizer.
pub(crate) struct Rbac {
    cachers: Option<[Arc<Cacher>; 4]>,
    index: Mutex<Arc<Index>>,
}

impl Rbac {
    /// Reads roles and bindings from `cache`.
    pub(crate) fn new(cache: &Cache) -> Self {
        let get = |name: &str| cache.cacher(&format!("rbac.authorization.k8s.io/{name}"));
        let cachers = (|| {
            Some([
                get("clusterroles")?,
                get("roles")?,
                get("clusterrolebindings")?,
                get("rolebindings")?,
            ])
        })();
        Rbac {
            cachers,
            index: Mutex::default(),
        }
    }

    /// Decides by the bindings of the whole cluster and of the wanted namespace.
    pub(crate) fn decide(&self, user: &UserInfo, wanted: &Attributes) -> Decision {
        let index = self.index();
        let mut problems = Vec::new();
        let mut allowed = None;
        index.visit(user, &wanted.namespace, |rules, bound, namespace| {
            match rules {
                Some(rules) => {
                    if rules.iter().any(|rule| rule.allows(wanted)) {
                        allowed = Some(bound.reason(namespace));
                    }
                }
                None => {
                    let kind = bound.role.kind.to_ascii_lowercase();
                    let name = &bound.role.name;
                    problems.push(format!("{kind}.rbac.authorization.k8s.io \"{name}\" not found"));
                }
            }
            allowed.is_none()
        });
        if let Some(reason) = allowed {
            return Decision::Allow(reason);
        }
        let reason = match problems.len() {
            0 => String::new(),
            1 => format!("RBAC: {}", problems[0]),
            _ => format!("RBAC: [{}]", problems.join(", ")),
        };
        Decision::NoOpinion(reason)
    }

    /// Every rule that holds for `user` in `namespace`.
    pub(crate) fn rules(&self, user: &UserInfo, namespace: &str) -> Vec<Rule> {
        let mut all = Vec::new();
        self.index().visit(user, namespace, |rules, _, _| {
            all.extend(rules.into_iter().flat_map(|rules| rules.iter().cloned()));
            true
        });
        all
    }

    /// The rules of the role that a binding in `namespace` refers to, aggregated ones included; `None`
    /// when there is no such role.
    pub(crate) fn role(&self, kind: &str, name: &str, namespace: &str) -> Option<Arc<[Rule]>> {
        let role = RoleRef {
            kind: kind.into(),
            name: name.into(),
        };
        self.index().role(&role, namespace).cloned()
    }

    fn index(&self) -> Arc<Index> {
        let Some(cachers) = &self.cachers else {
            return Arc::default();
        };
        let generations = [0, 1, 2, 3].map(|i: usize| cachers[i].generation());
        let mut slot = self.index.lock();
        if !slot.is_at(generations) {
            Arc::make_mut(&mut slot).update(cachers, generations);
        }
        slot.clone()
    }
}

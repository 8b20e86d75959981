//! Role-based access control over the roles and bindings in the watch cache.
//! Upstream: `plugin/pkg/auth/authorizer/rbac`, `pkg/registry/rbac/validation`.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::Value;

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

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Role {
    rules: Option<Vec<Rule>>,
    aggregation_rule: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Binding {
    #[serde(default)]
    subjects: Option<Vec<Subject>>,
    role_ref: RoleRef,
}

#[derive(Deserialize)]
struct Subject {
    kind: String,
    name: String,
    #[serde(default)]
    namespace: String,
}

#[derive(Clone, Deserialize)]
struct RoleRef {
    kind: String,
    name: String,
}

/// A role bound to a subject, and by which binding: the reason that is told.
#[derive(Clone)]
struct Bound {
    role: RoleRef,
    binding: Arc<str>,
    subject: Arc<str>,
}

impl Bound {
    fn reason(&self, namespace: &str) -> String {
        let (role, binding) = (&self.role, &self.binding);
        if namespace.is_empty() {
            return format!(
                "RBAC: allowed by ClusterRoleBinding {binding:?} of ClusterRole {:?} to {}",
                role.name, self.subject
            );
        }
        format!(
            "RBAC: allowed by RoleBinding {:?} of {} {:?} to {}",
            format!("{binding}/{namespace}"),
            role.kind,
            role.name,
            self.subject
        )
    }
}

impl Subject {
    fn key(&self) -> String {
        match self.kind.as_str() {
            "Group" => format!("g:{}", self.name),
            "ServiceAccount" => format!("u:system:serviceaccount:{}:{}", self.namespace, self.name),
            _ => format!("u:{}", self.name),
        }
    }

    fn shown(&self) -> String {
        match self.kind.as_str() {
            "ServiceAccount" => format!("ServiceAccount {:?}", format!("{}/{}", self.name, self.namespace)),
            kind => format!("{kind} {:?}", self.name),
        }
    }
}

type BySubject = HashMap<String, Vec<Bound>>;

/// Everything the decision needs, by subject. Rebuilt when one of the four resources changed.
#[derive(Default)]
struct Index {
    generations: [u64; 4],
    cluster_roles: HashMap<String, Arc<[Rule]>>,
    roles: HashMap<String, Arc<[Rule]>>,
    cluster_bindings: BySubject,
    bindings: HashMap<String, BySubject>,
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

    fn index(&self) -> Arc<Index> {
        let Some(cachers) = &self.cachers else {
            return Arc::default();
        };
        let generations = [0, 1, 2, 3].map(|i: usize| cachers[i].generation());
        let mut slot = self.index.lock();
        // Before the first change all generations are 0, as in an index never built.
        if slot.generations != generations || slot.cluster_roles.is_empty() {
            *slot = Arc::new(Index::build(cachers, generations));
        }
        slot.clone()
    }
}

impl Index {
    fn build(cachers: &[Arc<Cacher>; 4], generations: [u64; 4]) -> Index {
        let mut index = Index {
            generations,
            ..Default::default()
        };
        let cluster_roles = cachers[0].snapshot(0).objects;
        for object in cluster_roles.values() {
            let Ok(role) = object.typed::<Role>() else {
                continue;
            };
            let mut rules = role.rules.unwrap_or_default();
            // Aggregated roles are resolved here, so that they hold without their controller too.
            if let Some(aggregation) = role.aggregation_rule {
                let selectors = aggregation["clusterRoleSelectors"]
                    .as_array()
                    .cloned()
                    .unwrap_or_default();
                for other in cluster_roles.values() {
                    if selectors.iter().any(|s| simple_match(s, other.labels()))
                        && let Ok(other) = other.typed::<Role>()
                    {
                        rules.extend(other.rules.unwrap_or_default());
                    }
                }
            }
            index.cluster_roles.insert(object.name().into(), rules.into());
        }
        for object in cachers[1].snapshot(0).objects.values() {
            if let Ok(role) = object.typed::<Role>() {
                index
                    .roles
                    .insert(object.key.to_string(), role.rules.unwrap_or_default().into());
            }
        }
        for object in cachers[2].snapshot(0).objects.values() {
            if let Ok(binding) = object.typed::<Binding>() {
                bind(&mut index.cluster_bindings, object.name(), binding);
            }
        }
        for object in cachers[3].snapshot(0).objects.values() {
            if let Ok(binding) = object.typed::<Binding>() {
                bind(
                    index.bindings.entry(object.namespace().into()).or_default(),
                    object.name(),
                    binding,
                );
            }
        }
        index
    }

    /// Calls `each` with the rules of every role bound to `user`, and the namespace of the binding;
    /// stops when it returns false.
    fn visit(
        &self,
        user: &UserInfo,
        namespace: &str,
        mut each: impl FnMut(Option<&Arc<[Rule]>>, &Bound, &str) -> bool,
    ) {
        let mut keys = vec![format!("u:{}", user.name)];
        keys.extend(user.groups.iter().map(|g| format!("g:{g}")));
        for bound in keys.iter().filter_map(|k| self.cluster_bindings.get(k)).flatten() {
            if !each(self.cluster_roles.get(&bound.role.name), bound, "") {
                return;
            }
        }
        let Some(bindings) = (!namespace.is_empty())
            .then(|| self.bindings.get(namespace))
            .flatten()
        else {
            return;
        };
        for bound in keys.iter().filter_map(|k| bindings.get(k)).flatten() {
            let role = &bound.role;
            let rules = if role.kind == "ClusterRole" {
                self.cluster_roles.get(&role.name)
            } else {
                self.roles.get(&format!("{namespace}/{}", role.name))
            };
            if !each(rules, bound, namespace) {
                return;
            }
        }
    }
}

fn bind(into: &mut BySubject, name: &str, binding: Binding) {
    let name: Arc<str> = name.into();
    for subject in binding.subjects.unwrap_or_default() {
        into.entry(subject.key()).or_default().push(Bound {
            role: binding.role_ref.clone(),
            binding: name.clone(),
            subject: subject.shown().into(),
        });
    }
}

/// `matchLabels` only: aggregation selectors use nothing else in practice; an expression matches nothing.
fn simple_match(selector: &Value, labels: crate::cacher::Labels<'_>) -> bool {
    let Some(wanted) = selector["matchLabels"].as_object() else {
        return false;
    };
    selector["matchExpressions"].as_array().is_none_or(Vec::is_empty)
        && !wanted.is_empty()
        && wanted.iter().all(|(k, v)| labels.get(k) == v.as_str())
}

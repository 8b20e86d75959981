//! Roles and bindings by subject, brought up to date by what changed since the last look.

use std::sync::Arc;

use imbl::{HashMap, OrdMap, ordmap::DiffItem};
use rkind_apimachinery::selector::LabelSelector;
use serde::Deserialize;
use serde_json::Value;

use super::Rule;
use crate::{
    cacher::{Cacher, Obj},
    user::UserInfo,
};

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Role {
    rules: Option<Vec<Rule>>,
    aggregation_rule: Option<Aggregation>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Aggregation {
    cluster_role_selectors: Option<Vec<Value>>,
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
pub(super) struct RoleRef {
    pub kind: String,
    pub name: String,
}

/// A role bound to a subject, and by which binding: the reason that is told.
#[derive(Clone)]
pub(super) struct Bound {
    pub role: RoleRef,
    binding: Arc<str>,
    subject: Arc<str>,
}

impl Bound {
    /// Why a request is allowed; `namespace` is the binding's, empty for a ClusterRoleBinding.
    pub(super) fn reason(&self, namespace: &str) -> String {
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

/// A ClusterRole whose rules are those of others.
#[derive(Clone)]
struct Aggregated {
    own: Vec<Rule>,
    selectors: Arc<[LabelSelector]>,
}

impl Aggregated {
    fn selects(&self, role: &Obj) -> bool {
        let labels = role.labels();
        self.selectors
            .iter()
            .any(|selector| selector.matches_by(|key| labels.get(key)))
    }
}

type Objects = OrdMap<Arc<str>, Arc<Obj>>;
/// An object before and after a change.
type Changed<'a> = (Option<&'a Arc<Obj>>, Option<&'a Arc<Obj>>);

/// Everything a decision needs. Persistent maps: a copy for those who still read the last one costs
/// nothing, and what changed since is found without a look at the rest.
#[derive(Clone, Default)]
pub(super) struct Index {
    /// Changes of the four resources that are in here.
    generations: [u64; 4],
    seen: [Objects; 4],
    aggregated: HashMap<Arc<str>, Aggregated>,
    /// By name, aggregated ones resolved, so that they hold without their controller too.
    cluster_roles: HashMap<Arc<str>, Arc<[Rule]>>,
    /// By `namespace/name`.
    roles: HashMap<Arc<str>, Arc<[Rule]>>,
    /// By namespace, empty for the whole cluster, then by subject.
    bindings: HashMap<Arc<str>, HashMap<String, Vec<Bound>>>,
}

impl Index {
    /// Whether nothing has changed since.
    pub(super) fn is_at(&self, generations: [u64; 4]) -> bool {
        // Before the first change all generations are 0, as in an index never filled.
        self.generations == generations && !self.cluster_roles.is_empty()
    }

    /// Takes in what changed: cluster roles, roles, cluster role bindings, role bindings.
    pub(super) fn update(&mut self, cachers: &[Arc<Cacher>; 4], generations: [u64; 4]) {
        self.take([0, 1, 2, 3].map(|at: usize| cachers[at].snapshot(0).objects));
        self.generations = generations;
    }

    fn take(&mut self, now: [Objects; 4]) {
        let seen = std::mem::replace(&mut self.seen, now.clone());
        let [cluster_roles, roles, cluster_bindings, bindings] = [0, 1, 2, 3].map(|at: usize| {
            let changes = seen[at].diff(&now[at]).map(|change| match change {
                DiffItem::Add(_, new) => (None, Some(new)),
                DiffItem::Update {
                    old: (_, old),
                    new: (_, new),
                } => (Some(old), Some(new)),
                DiffItem::Remove(_, old) => (Some(old), None),
            });
            changes.collect::<Vec<_>>()
        });
        for (old, new) in &cluster_roles {
            self.cluster_role(*old, *new);
        }
        self.aggregate(&cluster_roles, &now[0]);
        for (old, new) in roles {
            if let Some(old) = old {
                self.roles.remove(&old.key);
            }
            if let Some(new) = new
                && let Ok(role) = new.typed::<Role>()
            {
                self.roles
                    .insert(new.key.clone(), role.rules.unwrap_or_default().into());
            }
        }
        for (old, new) in cluster_bindings.into_iter().chain(bindings) {
            if let Some(old) = old {
                self.unbind(old);
            }
            if let Some(new) = new {
                self.bind(new);
            }
        }
    }

    fn cluster_role(&mut self, old: Option<&Arc<Obj>>, new: Option<&Arc<Obj>>) {
        if let Some(old) = old {
            self.cluster_roles.remove(&old.key);
            self.aggregated.remove(&old.key);
        }
        let Some(new) = new else { return };
        let Ok(role) = new.typed::<Role>() else { return };
        let own = role.rules.unwrap_or_default();
        let selectors: Arc<[LabelSelector]> = role
            .aggregation_rule
            .and_then(|rule| rule.cluster_role_selectors)
            .unwrap_or_default()
            .iter()
            .filter_map(|selector| LabelSelector::from_meta(selector).ok())
            .collect();
        if !selectors.is_empty() {
            let own = own.clone();
            self.aggregated
                .insert(new.key.clone(), Aggregated { own, selectors });
        }
        self.cluster_roles.insert(new.key.clone(), own.into());
    }

    /// Resolves anew what selects, or selected, one of the changed roles.
    fn aggregate(&mut self, changed: &[Changed<'_>], all: &Objects) {
        for (name, role) in &self.aggregated {
            let concerned = changed
                .iter()
                .flat_map(|(old, new)| [old, new])
                .flatten()
                .any(|other| other.key == *name || role.selects(other));
            if !concerned {
                continue;
            }
            let mut rules = role.own.clone();
            for other in all
                .values()
                .filter(|other| other.key != *name && role.selects(other))
            {
                if let Ok(other) = other.typed::<Role>() {
                    rules.extend(other.rules.unwrap_or_default());
                }
            }
            self.cluster_roles.insert(name.clone(), rules.into());
        }
    }

    fn bind(&mut self, object: &Obj) {
        let Ok(binding) = object.typed::<Binding>() else {
            return;
        };
        let name: Arc<str> = object.name().into();
        let into = self.bindings.entry(object.namespace().into()).or_default();
        for subject in binding.subjects.unwrap_or_default() {
            into.entry(subject.key()).or_default().push(Bound {
                role: binding.role_ref.clone(),
                binding: name.clone(),
                subject: subject.shown().into(),
            });
        }
    }

    fn unbind(&mut self, object: &Obj) {
        let (Ok(binding), Some(from)) = (
            object.typed::<Binding>(),
            self.bindings.get_mut(object.namespace()),
        ) else {
            return;
        };
        for subject in binding.subjects.unwrap_or_default() {
            let key = subject.key();
            if let Some(bound) = from.get_mut(&key) {
                bound.retain(|bound| *bound.binding != *object.name());
                if bound.is_empty() {
                    from.remove(&key);
                }
            }
        }
        if from.is_empty() {
            self.bindings.remove(object.namespace());
        }
    }

    /// The rules of a role; `None` when there is none of that name.
    pub(super) fn role(&self, role: &RoleRef, namespace: &str) -> Option<&Arc<[Rule]>> {
        if role.kind == "ClusterRole" {
            self.cluster_roles.get(role.name.as_str())
        } else {
            self.roles.get(format!("{namespace}/{}", role.name).as_str())
        }
    }

    /// Calls `each` with the rules of every role bound to `user`, and the namespace of the binding;
    /// stops when it returns false.
    pub(super) fn visit(
        &self,
        user: &UserInfo,
        namespace: &str,
        mut each: impl FnMut(Option<&Arc<[Rule]>>, &Bound, &str) -> bool,
    ) {
        let mut keys = vec![format!("u:{}", user.name)];
        keys.extend(user.groups.iter().map(|g| format!("g:{g}")));
        let scopes = ["", namespace];
        let scopes = &scopes[..if namespace.is_empty() { 1 } else { 2 }];
        for scope in scopes {
            let Some(bindings) = self.bindings.get(*scope) else {
                continue;
            };
            for bound in keys.iter().filter_map(|k| bindings.get(k)).flatten() {
                if !each(self.role(&bound.role, namespace), bound, scope) {
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rkind_store::Entry;
    use serde_json::json;

    use super::*;

    fn objects(resource: &str, list: &[(&str, u64, Value)]) -> Objects {
        let objects = list.iter().map(|(key, revision, value)| {
            let (namespace, name) = key.split_once('/').unwrap_or(("", key));
            let mut value = value.clone();
            value["metadata"]["name"] = json!(name);
            if !namespace.is_empty() {
                value["metadata"]["namespace"] = json!(namespace);
            }
            let entry = Entry {
                key: (*key).into(),
                value: serde_json::to_vec(&value).unwrap().into(),
                create_revision: *revision,
                mod_revision: *revision,
            };
            let object = Obj::parse(resource, key, &entry).unwrap();
            (object.key.clone(), Arc::new(object))
        });
        objects.collect()
    }

    fn verbs(index: &Index, user: &str, namespace: &str) -> Vec<String> {
        let mut verbs = Vec::new();
        index.visit(&UserInfo::new(user, &[]), namespace, |rules, _, _| {
            verbs.extend(
                rules
                    .into_iter()
                    .flat_map(|r| r.iter())
                    .flat_map(|r| r.verbs.clone()),
            );
            true
        });
        verbs.sort();
        verbs
    }

    #[test]
    fn changes_are_taken_in_one_by_one() {
        let role =
            |verb: &str| json!({"rules": [{"verbs": [verb], "apiGroups": [""], "resources": ["pods"]}]});
        let labelled = |verb: &str, tier: &str| {
            let mut role = role(verb);
            role["metadata"]["labels"] = json!({"tier": tier});
            role
        };
        let sum = json!({"aggregationRule": {"clusterRoleSelectors": [
            {"matchExpressions": [{"key": "tier", "operator": "In", "values": ["a", "b"]}]}]}});
        let bound = |kind: &str, name: &str, users: &[&str]| {
            let subjects: Vec<Value> = users.iter().map(|u| json!({"kind": "User", "name": u})).collect();
            json!({"roleRef": {"kind": kind, "name": name}, "subjects": subjects})
        };
        let mut index = Index::default();
        let mut take = |cluster_roles: &[(&str, u64, Value)], bindings: &[(&str, u64, Value)]| {
            index.take([
                objects("rbac.authorization.k8s.io/clusterroles", cluster_roles),
                objects("rbac.authorization.k8s.io/roles", &[("n/own", 1, role("watch"))]),
                objects(
                    "rbac.authorization.k8s.io/clusterrolebindings",
                    &[("sum", 1, bound("ClusterRole", "sum", &["ann"]))],
                ),
                objects("rbac.authorization.k8s.io/rolebindings", bindings),
            ]);
            index.clone()
        };
        let first = [("get", 1, labelled("get", "a")), ("sum", 2, sum.clone())];
        let seen = take(&first, &[("n/b", 3, bound("Role", "own", &["bob", "ann"]))]);
        assert_eq!(verbs(&seen, "ann", ""), ["get"]);
        assert_eq!(verbs(&seen, "ann", "n"), ["get", "watch"]);
        assert_eq!(verbs(&seen, "bob", "n"), ["watch"]);
        assert_eq!(verbs(&seen, "bob", "m"), [""; 0]);
        // One more is selected, and bob is no longer bound.
        let more = [
            first[0].clone(),
            ("list", 4, labelled("list", "b")),
            first[1].clone(),
        ];
        let seen = take(&more, &[("n/b", 5, bound("Role", "own", &["ann"]))]);
        assert_eq!(verbs(&seen, "ann", "n"), ["get", "list", "watch"]);
        assert_eq!(verbs(&seen, "bob", "n"), [""; 0]);
        // One is selected no longer, and the binding is gone.
        let fewer = [
            ("get", 6, labelled("get", "c")),
            more[1].clone(),
            first[1].clone(),
        ];
        let seen = take(&fewer, &[]);
        assert_eq!(verbs(&seen, "ann", "n"), ["list"]);
        assert!(!seen.bindings.contains_key("n"));
        // A role that selects nobody any more has its own rules.
        let seen = take(&[("sum", 7, role("patch")), fewer[1].clone()], &[]);
        assert_eq!(verbs(&seen, "ann", ""), ["patch"]);
        assert!(seen.aggregated.is_empty());
    }
}

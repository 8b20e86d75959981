//! Nobody grants what they do not have: roles and bindings are checked against their writer's own
//! permissions. Upstream: `pkg/registry/rbac/*/policybased`, verbs `escalate` and `bind`.

use async_trait::async_trait;
use rkind_apimachinery::{
    field::quote,
    meta::{self, GroupResource},
    status::Status,
};
use serde::Deserialize as _;
use serde_json::Value;

use super::{Operation, Request, Validate};
use crate::{authz::rbac::Rule, error::Result, user::MASTERS};

const GROUP: &str = "rbac.authorization.k8s.io";

pub(super) struct Escalation;

#[async_trait]
impl Validate for Escalation {
    fn name(&self) -> &'static str {
        "RBACEscalation"
    }

    async fn validate(&self, request: &Request<'_>) -> Result<()> {
        let concerns = request.def.group == GROUP
            && request.sub.is_empty()
            && matches!(request.operation, Operation::Create | Operation::Update);
        if !concerns || request.user.in_group(MASTERS) || collected_only(request) {
            return Ok(());
        }
        if request.def.resource.ends_with("bindings") {
            binding(request).await
        } else {
            role(request).await
        }
    }
}

/// Whether an update changes only what the garbage collector does.
fn collected_only(request: &Request<'_>) -> bool {
    let Some(old) = request.old else { return false };
    let mut new = request.object.clone();
    for field in [
        "ownerReferences",
        "finalizers",
        "managedFields",
        "resourceVersion",
    ] {
        match &old["metadata"][field] {
            Value::Null => {
                meta::remove(&mut new, field);
            }
            kept => meta::set(&mut new, field, kept.clone()),
        }
    }
    new == *old
}

async fn role(request: &Request<'_>) -> Result<()> {
    if may(request, "escalate", request.def.resource, request.name).await {
        return Ok(());
    }
    confirm(request, &rules(request.object))?;
    // Who has one can gather anything, and who takes one away can loosen what was gathered.
    let aggregates = aggregates(request.object) || request.old.is_some_and(aggregates);
    if aggregates && confirm(request, &everything()).is_err() {
        return Err(request.forbidden("must have cluster-admin privileges to use the aggregationRule"));
    }
    Ok(())
}

async fn binding(request: &Request<'_>) -> Result<()> {
    let role = &request.object["roleRef"];
    let kind = role["kind"].as_str().unwrap_or_default();
    let name = role["name"].as_str().unwrap_or_default();
    let resource = if kind == "ClusterRole" {
        "clusterroles"
    } else {
        "roles"
    };
    if may(request, "bind", resource, name).await {
        return Ok(());
    }
    // A role that is yet to come would grant what nobody has looked at.
    let rbac = &request.core.authorizer.rbac;
    let granted = rbac
        .role(kind, name, request.namespace)
        .ok_or_else(|| Status::not_found(&GroupResource::new(GROUP, resource), name))?;
    confirm(request, &granted)
}

/// Whether who asks has all of `granted`.
///
/// # Errors
/// 403 with what is missing.
fn confirm(request: &Request<'_>, granted: &[Rule]) -> Result<()> {
    let own = request
        .core
        .authorizer
        .rbac
        .rules(request.user, request.namespace);
    let missing: Vec<String> = granted
        .iter()
        .filter(|rule| !covered(rule, &own))
        .map(shown)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let groups: Vec<String> = request.user.groups.iter().map(|g| quote(g)).collect();
    Err(request.forbidden(&format!(
        "user {} (groups=[{}]) is attempting to grant RBAC permissions not currently held:\n{}",
        quote(&request.user.name),
        groups.join(" "),
        missing.join("\n")
    )))
}

fn aggregates(role: &Value) -> bool {
    let selectors = role["aggregationRule"]["clusterRoleSelectors"].as_array();
    selectors.is_some_and(|selectors| !selectors.is_empty())
}

/// What `cluster-admin` has.
fn everything() -> [Rule; 2] {
    let all = || vec!["*".to_owned()];
    [
        Rule {
            verbs: all(),
            api_groups: all(),
            resources: all(),
            ..Default::default()
        },
        Rule {
            verbs: all(),
            non_resource_urls: all(),
            ..Default::default()
        },
    ]
}

fn rules(role: &Value) -> Vec<Rule> {
    role["rules"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|r| Rule::deserialize(r).ok())
        .collect()
}

async fn may(request: &Request<'_>, verb: &str, resource: &str, name: &str) -> bool {
    request.may(verb, GROUP, resource, name).await
}

/// Whether every single permission of `rule` is in one of `own`.
fn covered(rule: &Rule, own: &[Rule]) -> bool {
    let has = |list: &[String], value: &str| list.iter().any(|item| item == "*" || item == value);
    if !rule.non_resource_urls.is_empty() {
        return rule.verbs.iter().all(|verb| {
            rule.non_resource_urls.iter().all(|url| {
                own.iter().any(|o| {
                    has(&o.verbs, verb)
                        && o.non_resource_urls
                            .iter()
                            .any(|held| match held.strip_suffix('*') {
                                Some(prefix) => url.starts_with(prefix),
                                None => held == url,
                            })
                })
            })
        });
    }
    rule.verbs.iter().all(|verb| {
        rule.api_groups.iter().all(|group| {
            rule.resources.iter().all(|resource| {
                let names: Vec<Option<&String>> = if rule.resource_names.is_empty() {
                    vec![None]
                } else {
                    rule.resource_names.iter().map(Some).collect()
                };
                names.iter().all(|name| {
                    own.iter().any(|o| {
                        has(&o.verbs, verb)
                            && has(&o.api_groups, group)
                            && covers_resource(&o.resources, resource)
                            && (o.resource_names.is_empty()
                                || name.is_some_and(|n| o.resource_names.contains(n)))
                    })
                })
            })
        })
    })
}

fn covers_resource(held: &[String], resource: &str) -> bool {
    held.iter().any(|h| {
        h == "*"
            || h == resource
            || match (h.strip_prefix("*/"), resource.split_once('/')) {
                (Some(sub), Some((_, wanted))) => sub == wanted,
                _ => false,
            }
    })
}

/// A rule as upstream's message shows it.
fn shown(rule: &Rule) -> String {
    let list = |items: &[String]| items.iter().map(|i| quote(i)).collect::<Vec<_>>().join(" ");
    let mut parts = Vec::new();
    for (name, items) in [
        ("APIGroups", &rule.api_groups),
        ("NonResourceURLs", &rule.non_resource_urls),
        ("Resources", &rule.resources),
        ("ResourceNames", &rule.resource_names),
        ("Verbs", &rule.verbs),
    ] {
        if !items.is_empty() {
            parts.push(format!("{name}:[{}]", list(items)));
        }
    }
    format!("{{{}}}", parts.join(", "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rule(value: Value) -> Rule {
        Rule::deserialize(&value).unwrap()
    }

    #[test]
    fn a_rule_is_covered_piece_by_piece() {
        let own = [
            rule(json!({"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods", "*/log"]})),
            rule(json!({"verbs": ["watch"], "apiGroups": [""], "resources": ["pods"]})),
            rule(
                json!({"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["one"]}),
            ),
        ];
        let held = |value| covered(&rule(value), &own);
        assert!(held(
            json!({"verbs": ["get", "watch"], "apiGroups": [""], "resources": ["pods"]})
        ));
        assert!(held(
            json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods/log"]})
        ));
        assert!(!held(
            json!({"verbs": ["delete"], "apiGroups": [""], "resources": ["pods"]})
        ));
        assert!(!held(
            json!({"verbs": ["*"], "apiGroups": [""], "resources": ["pods"]})
        ));
        assert!(!held(
            json!({"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"]})
        ));
        assert!(held(
            json!({"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["one"]})
        ));
    }
}

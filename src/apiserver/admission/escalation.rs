//! Nobody grants what they do not have: roles and bindings are checked against their writer's own
//! permissions. Upstream: `pkg/registry/rbac/*/policybased`, verbs `escalate` and `bind`.

use async_trait::async_trait;
use rkind_apimachinery::field::quote;
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
        if !concerns || request.user.in_group(MASTERS) {
            return Ok(());
        }
        let (granted, verb, name) = if request.def.resource.ends_with("bindings") {
            let unchanged = request.old.is_some_and(|old| {
                old["roleRef"] == request.object["roleRef"] && old["subjects"] == request.object["subjects"]
            });
            if unchanged {
                return Ok(());
            }
            let role = &request.object["roleRef"];
            (
                rules_of(request, role),
                "bind",
                role["name"].as_str().unwrap_or_default(),
            )
        } else {
            if request
                .old
                .is_some_and(|old| old["rules"] == request.object["rules"])
            {
                return Ok(());
            }
            (rules(request.object), "escalate", request.name)
        };
        if may(request, verb, name).await {
            return Ok(());
        }
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
}

fn rules(role: &Value) -> Vec<Rule> {
    role["rules"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|r| Rule::deserialize(r).ok())
        .collect()
}

/// Rules of the role that a binding refers to; none when it is missing, as nothing is granted yet.
fn rules_of(request: &Request<'_>, role: &Value) -> Vec<Rule> {
    let name = role["name"].as_str().unwrap_or_default();
    let object = if role["kind"] == "ClusterRole" {
        request
            .core
            .cached("rbac.authorization.k8s.io/clusterroles", name)
    } else {
        let key = format!("{}/{name}", request.namespace);
        request.core.cached("rbac.authorization.k8s.io/roles", &key)
    };
    object.map(|o| rules(&o.to_value())).unwrap_or_default()
}

async fn may(request: &Request<'_>, verb: &str, name: &str) -> bool {
    let resource = match (verb, request.object["roleRef"]["kind"].as_str()) {
        ("bind", Some("ClusterRole")) => "clusterroles",
        ("bind", _) => "roles",
        _ => request.def.resource,
    };
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

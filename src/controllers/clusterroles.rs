//! ClusterRoles whose rules are gathered from other ClusterRoles by label.
//!
//! <https://kubernetes.io/docs/reference/access-authn-authz/rbac/#aggregated-clusterroles>

use std::sync::Arc;

use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};
use kube::Api;
use rkind_client::{Action, ErrorExt, ObjectKey, Selector, WorkQueue, patch, run_workers};
use serde_json::json;

use crate::common::{Context, ReconcileError};

/// The rules of all roles that `role` selects, in order of their names, each rule once. `None`: the role
/// gathers nothing, or has them already.
fn plan(role: &ClusterRole, all: &[Arc<ClusterRole>]) -> Result<Option<Vec<PolicyRule>>, ReconcileError> {
    let Some(aggregation) = &role.aggregation_rule else {
        return Ok(None);
    };
    let selectors = aggregation.cluster_role_selectors.iter().flatten();
    let selectors: Vec<Selector> = selectors
        .map(|s| Selector::from_api(Some(s)))
        .collect::<Result<_, _>>()?;
    let mut sources: Vec<&Arc<ClusterRole>> = all
        .iter()
        .filter(|other| other.metadata.name != role.metadata.name)
        .filter(|other| {
            selectors
                .iter()
                .any(|s| s.matches(other.metadata.labels.as_ref()))
        })
        .collect();
    sources.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
    let mut rules: Vec<PolicyRule> = Vec::new();
    for rule in sources.iter().flat_map(|source| source.rules.iter().flatten()) {
        if !rules.contains(rule) {
            rules.push(rule.clone());
        }
    }
    Ok((role.rules.as_deref().unwrap_or_default() != rules).then_some(rules))
}

pub(crate) async fn run(context: Context) {
    let roles = context.informers.get::<ClusterRole>();
    let queue = WorkQueue::new();
    let all = roles.clone();
    context.feed(&roles, &queue, move |_| {
        let gathering = all
            .list()
            .into_iter()
            .filter(|role| role.aggregation_rule.is_some());
        gathering.filter_map(|role| role.metadata.name.clone()).collect()
    });
    roles.synced().await;
    let world = Arc::new((context.client.clone(), roles));
    run_workers(queue, 1, context.shutdown.clone(), move |name: String| {
        let world = world.clone();
        async move {
            let (client, roles) = &*world;
            let Some(role) = roles.get(&ObjectKey::cluster(&*name)) else {
                return Ok(Action::Done);
            };
            let Some(rules) = plan(&role, &roles.list())? else {
                return Ok(Action::Done);
            };
            let version = &role.metadata.resource_version;
            let change = json!({"metadata": {"resourceVersion": version}, "rules": rules});
            match patch::merge(&Api::<ClusterRole>::all(client.clone()), &name, &change).await {
                Err(error) if !error.is_not_found() => Err(ReconcileError::from(error)),
                _ => Ok(Action::Done),
            }
        }
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_gathered_in_order_and_once() {
        let role = |name: &str, labels: serde_json::Value, resource: &str| -> Arc<ClusterRole> {
            let rules = json!([{"apiGroups": [""], "resources": [resource], "verbs": ["get"]}]);
            let role = json!({"metadata": {"name": name, "labels": labels}, "rules": rules});
            Arc::new(serde_json::from_value(role).unwrap())
        };
        let edit: ClusterRole = serde_json::from_value(json!({
            "metadata": {"name": "edit", "labels": {"to": "edit"}},
            "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"to": "edit"}}]},
        }))
        .unwrap();
        let mine = json!({"to": "edit"});
        let all = [
            role("b", mine.clone(), "pods"),
            role("a", mine.clone(), "services"),
            role("c", mine, "pods"),
            role("d", json!({"to": "view"}), "nodes"),
            Arc::new(edit.clone()),
        ];
        let rules = plan(&edit, &all).unwrap().unwrap();
        let resources: Vec<&str> = rules
            .iter()
            .map(|r| r.resources.as_ref().unwrap()[0].as_str())
            .collect();
        assert_eq!(resources, ["services", "pods"]);
        let done = ClusterRole {
            rules: Some(rules),
            ..edit
        };
        assert!(plan(&done, &all).unwrap().is_none());
        assert!(plan(&all[0], &all).unwrap().is_none());
    }
}

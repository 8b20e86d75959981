//! Status conditions, which every kind spells alike but types differently.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// The common part of all condition types.
pub(crate) trait Condition: Clone {
    fn kind(&self) -> &str;
    fn status(&self) -> &str;
    fn reason(&self) -> &str;
    fn transition(&self) -> Option<&Time>;
    fn set_transition(&mut self, time: Option<Time>);
}

macro_rules! condition {
    ($($type:ty),*) => {$(
        impl Condition for $type {
            fn kind(&self) -> &str { &self.type_ }
            fn status(&self) -> &str { &self.status }
            fn reason(&self) -> &str { self.reason.as_deref().unwrap_or_default() }
            fn transition(&self) -> Option<&Time> { self.last_transition_time.as_ref() }
            fn set_transition(&mut self, time: Option<Time>) { self.last_transition_time = time; }
        }
    )*};
}

condition!(
    k8s_openapi::api::apps::v1::DeploymentCondition,
    k8s_openapi::api::apps::v1::ReplicaSetCondition,
    k8s_openapi::api::core::v1::NamespaceCondition,
    k8s_openapi::api::core::v1::NodeCondition,
    k8s_openapi::api::core::v1::PodCondition
);

/// The condition of type `kind`.
pub(crate) fn find<'a, C: Condition>(conditions: &'a Option<Vec<C>>, kind: &str) -> Option<&'a C> {
    conditions.iter().flatten().find(|c| c.kind() == kind)
}

/// Sets a condition; one with the same status and reason is left as it is, one with the same status
/// keeps its transition time.
pub(crate) fn set<C: Condition>(conditions: &mut Option<Vec<C>>, mut condition: C) {
    if let Some(current) = find(conditions, condition.kind()) {
        if current.status() == condition.status() && current.reason() == condition.reason() {
            return;
        }
        if current.status() == condition.status() {
            condition.set_transition(current.transition().cloned());
        }
    }
    remove(conditions, condition.kind());
    conditions.get_or_insert_default().push(condition);
}

/// Removes the condition of type `kind`.
pub(crate) fn remove<C: Condition>(conditions: &mut Option<Vec<C>>, kind: &str) {
    if let Some(list) = conditions {
        list.retain(|c| c.kind() != kind);
        if list.is_empty() {
            *conditions = None;
        }
    }
}

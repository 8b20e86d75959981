//! Spreading a changed size over the ReplicaSets in proportion. Pure.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};

use super::annotations;
use super::sets::{self, Replicas, Scale, Sets, by_age};

/// The new size of every set that changes (or whose annotations may).
pub(super) fn plan(deployment: &Deployment, sets: &Sets) -> Vec<Scale> {
    let wanted = sets::replicas(deployment);
    let active: Vec<&ReplicaSet> = sets.all().filter(|set| set.wanted() > 0).collect();
    let only = match active.as_slice() {
        [] => sets.new.as_ref().or(sets.old.last()),
        [only] => Some(*only),
        _ => None,
    };
    if let Some(only) = only {
        return if only.wanted() == wanted {
            Vec::new()
        } else {
            vec![Scale::to(only, wanted)]
        };
    }
    if active.is_empty() {
        return Vec::new();
    }
    if sets.new.as_ref().is_some_and(|new| is_saturated(deployment, new)) {
        return super::rolling::scale_all_old_to_zero(sets);
    }
    if sets::is_recreate(deployment) {
        return Vec::new();
    }
    proportional(deployment, active)
}

fn is_saturated(deployment: &Deployment, set: &ReplicaSet) -> bool {
    let wanted = sets::replicas(deployment);
    annotations::desired(set) == Some(wanted) && set.wanted() == wanted && set.available() == wanted
}

fn proportional(deployment: &Deployment, mut active: Vec<&ReplicaSet>) -> Vec<Scale> {
    let wanted = sets::replicas(deployment);
    let allowed = if wanted > 0 {
        wanted + sets::max_surge(deployment)
    } else {
        0
    };
    let to_add = allowed - active.iter().map(|set| set.wanted()).sum::<i32>();
    // The biggest first; of equals the newer grows and the older shrinks first.
    active.sort_by(|a, b| {
        let by_size = b.wanted().cmp(&a.wanted());
        by_size.then_with(|| if to_add > 0 { by_age(b, a) } else { by_age(a, b) })
    });
    let mut added = 0;
    let mut sizes: Vec<i32> = Vec::with_capacity(active.len());
    for set in &active {
        let share = share(deployment, set, to_add, added);
        added += share;
        sizes.push(set.wanted() + share);
    }
    if to_add != 0 {
        // What rounding left over goes to the biggest.
        sizes[0] = (sizes[0] + to_add - added).max(0);
    }
    active
        .into_iter()
        .zip(sizes)
        .map(|(set, size)| Scale::to(set, size))
        .collect()
}

fn share(deployment: &Deployment, set: &ReplicaSet, to_add: i32, added: i32) -> i32 {
    let left = to_add - added;
    if set.wanted() == 0 || to_add == 0 || left == 0 {
        return 0;
    }
    let fraction = fraction(deployment, set);
    if to_add > 0 {
        fraction.min(left)
    } else {
        fraction.max(left)
    }
}

fn fraction(deployment: &Deployment, set: &ReplicaSet) -> i32 {
    let wanted = sets::replicas(deployment);
    if wanted == 0 {
        return -set.wanted();
    }
    let now_max = f64::from(wanted + sets::max_surge(deployment));
    let status_replicas = deployment.status.as_ref().and_then(|s| s.replicas).unwrap_or(0);
    let before_max = annotations::max(set)
        .filter(|max| *max != 0)
        .unwrap_or(status_replicas)
        .max(1);
    let size = f64::from(set.wanted()) * now_max / f64::from(before_max);
    // Sizes are far below 2^31.
    #[allow(clippy::cast_possible_truncation)]
    let size = size.round() as i32;
    size - set.wanted()
}

//! The steps of a rolling update. Pure.

use k8s_openapi::api::apps::v1::Deployment;

use super::sets::{self, Replicas, Scale, Sets};

/// How many replicas the new set may have now.
pub(super) fn new_size(deployment: &Deployment, new_now: i32, others: i32) -> i32 {
    let wanted = sets::replicas(deployment);
    if sets::is_recreate(deployment) {
        return wanted;
    }
    let current = new_now + others;
    let most = wanted + sets::max_surge(deployment);
    if current >= most {
        return new_now;
    }
    new_now + (most - current).min(wanted - new_now)
}

/// The new set's next size, if it changes.
pub(super) fn scale_new(deployment: &Deployment, sets: &Sets) -> Option<Scale> {
    let new = sets.new.as_ref()?;
    let wanted = sets::replicas(deployment);
    if new.wanted() == wanted {
        return None;
    }
    if new.wanted() > wanted {
        return Some(Scale::to(new, wanted));
    }
    let others = sets.old.iter().map(Replicas::wanted).sum();
    let size = new_size(deployment, new.wanted(), others);
    (size != new.wanted()).then(|| Scale::to(new, size))
}

/// The old sets' next sizes: first pods that don't work, then as many as availability allows.
pub(super) fn scale_old(deployment: &Deployment, sets: &Sets) -> Vec<Scale> {
    if sets.old.iter().map(Replicas::wanted).sum::<i32>() == 0 {
        return Vec::new();
    }
    let least_available = sets::replicas(deployment) - sets::max_unavailable(deployment);
    let new_unavailable = sets.new.as_ref().map_or(0, |new| new.wanted() - new.available());
    let most = sets.wanted() - least_available - new_unavailable;
    if most <= 0 {
        return Vec::new();
    }
    let mut sizes: Vec<i32> = sets.old.iter().map(Replicas::wanted).collect();
    let mut left = most;
    for (set, size) in sets.old.iter().zip(&mut sizes) {
        let unhealthy = (*size - set.available()).max(0).min(left);
        *size -= unhealthy;
        left -= unhealthy;
    }
    let mut left = sets.available() - least_available;
    for size in &mut sizes {
        let down = (*size).min(left.max(0));
        *size -= down;
        left -= down;
    }
    sets.old
        .iter()
        .zip(sizes)
        .filter(|(set, size)| set.wanted() != *size)
        .map(|(set, size)| Scale::to(set, size))
        .collect()
}

pub(super) fn scale_all_old_to_zero(sets: &Sets) -> Vec<Scale> {
    sets.old
        .iter()
        .filter(|set| set.wanted() > 0)
        .map(|set| Scale::to(set, 0))
        .collect()
}

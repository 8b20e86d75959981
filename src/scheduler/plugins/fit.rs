//! Resources: whether they suffice, and how evenly and lightly nodes are used.

use std::borrow::Cow;

use super::{MAX_SCORE, Plugin, Reject, Verdict};
use crate::{node::NodeInfo, pod::PodInfo};

/// Whether the node has what the pod requests; names everything that is short.
pub fn fits(pod: &PodInfo, node: &NodeInfo) -> Verdict {
    let mut reasons: Vec<Cow<'static, str>> = Vec::new();
    let mut resolvable = true;
    let (has, used) = (&node.allocatable, &node.requested);
    if node.pods.len() as i64 + 1 > has.pods {
        reasons.push(Cow::Borrowed("Too many pods"));
        resolvable &= has.pods >= 1;
    }
    if !pod.requests_nothing {
        let mut check = |name: &'static str, wanted: i64, has: i64, used: i64| {
            if wanted > 0 && wanted > has - used {
                reasons.push(Cow::Borrowed(name));
                resolvable &= wanted <= has;
            }
        };
        check("Insufficient cpu", pod.requests.cpu, has.cpu, used.cpu);
        check(
            "Insufficient memory",
            pod.requests.memory,
            has.memory,
            used.memory,
        );
        check(
            "Insufficient ephemeral-storage",
            pod.requests.storage,
            has.storage,
            used.storage,
        );
        for (name, wanted) in &pod.requests.others {
            if *wanted > 0 && *wanted > has.other(name) - used.other(name) {
                reasons.push(Cow::Owned(format!("Insufficient {name}")));
                resolvable &= *wanted <= has.other(name);
            }
        }
    }
    if reasons.is_empty() {
        return Ok(());
    }
    Err(Reject {
        plugin: Plugin::NodeResourcesFit,
        resolvable,
        reasons,
    })
}

/// Upstream's `LeastAllocated` over CPU and memory: the freer the better.
pub fn least_allocated(pod: &PodInfo, node: &NodeInfo) -> i64 {
    let mut sum = 0;
    let mut counted = 0;
    for (wanted, used, has) in [
        (pod.scored.0, node.scored.0, node.allocatable.cpu),
        (pod.scored.1, node.scored.1, node.allocatable.memory),
    ] {
        if has <= 0 {
            continue;
        }
        counted += 1;
        let free = has - used - wanted;
        if free > 0 {
            // Bytes times a hundred may, on a very large machine, exceed 64 bits.
            sum += match free.checked_mul(MAX_SCORE) {
                Some(scaled) => scaled / has,
                None => free / (has / MAX_SCORE).max(1),
            };
        }
    }
    if counted == 0 { 0 } else { sum / counted }
}

/// Upstream's balanced allocation over CPU and memory: the closer their used shares the better. Not for
/// pods that request neither.
pub fn balanced(pod: &PodInfo, node: &NodeInfo) -> i64 {
    let share =
        |wanted: i64, used: i64, has: i64| (has > 0).then(|| ((wanted + used) as f64 / has as f64).min(1.0));
    let cpu = share(pod.requests.cpu, node.requested.cpu, node.allocatable.cpu);
    let memory = share(
        pod.requests.memory,
        node.requested.memory,
        node.allocatable.memory,
    );
    let deviation = match (cpu, memory) {
        (Some(cpu), Some(memory)) => (cpu - memory).abs() / 2.0,
        _ => 0.0,
    };
    ((1.0 - deviation) * MAX_SCORE as f64) as i64
}

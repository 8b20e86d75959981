//! Quality of service: a pod's class and what it means for the kernel.
//!
//! <https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/>

use k8s_openapi::api::core::v1::{Container, Pod};
use rkind_cri::v1::LinuxContainerResources;

use crate::pod::{PodExt, is_sidecar};
use crate::quantity::{ResourceList, milli_of, value_of};

/// Period of the CPU quota, microseconds.
pub(crate) const CPU_PERIOD: i64 = 100_000;
const MIN_QUOTA: i64 = 1_000;
const MIN_SHARES: i64 = 2;
const MAX_SHARES: i64 = 262_144;

/// `status.qosClass`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum QosClass {
    Guaranteed,
    Burstable,
    BestEffort,
}

impl QosClass {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Guaranteed => "Guaranteed",
            Self::Burstable => "Burstable",
            Self::BestEffort => "BestEffort",
        }
    }

    /// The class of a pod; a class already in its status stays (the API server sets it at creation).
    pub(crate) fn of(pod: &Pod) -> Self {
        match pod.status().qos_class.as_deref() {
            Some("Guaranteed") => Self::Guaranteed,
            Some("Burstable") => Self::Burstable,
            Some("BestEffort") => Self::BestEffort,
            _ => Self::compute(pod),
        }
    }

    fn compute(pod: &Pod) -> Self {
        let spec = pod.spec();
        let containers: Vec<&Container> = spec
            .containers
            .iter()
            .chain(spec.init_containers.iter().flatten())
            .collect();
        let lists = |c: &Container| {
            let resources = c.resources.clone().unwrap_or_default();
            (
                resources.requests.unwrap_or_default(),
                resources.limits.unwrap_or_default(),
            )
        };
        let compute = ["cpu", "memory"];
        let mut any = false;
        let mut guaranteed = true;
        let pod_level = spec.resources.as_ref().map(|r| {
            (
                r.requests.clone().unwrap_or_default(),
                r.limits.clone().unwrap_or_default(),
            )
        });
        let all: Vec<(ResourceList, ResourceList)> = match pod_level {
            Some(lists) if !lists.0.is_empty() || !lists.1.is_empty() => vec![lists],
            _ => containers.into_iter().map(lists).collect(),
        };
        for (requests, limits) in all {
            for name in compute {
                let (request, limit) = (milli_of(Some(&requests), name), milli_of(Some(&limits), name));
                any |= request > 0 || limit > 0;
                guaranteed &= limit > 0 && (request == limit || !requests.contains_key(name));
            }
        }
        match (any, guaranteed) {
            (false, _) => Self::BestEffort,
            (true, true) => Self::Guaranteed,
            (true, false) => Self::Burstable,
        }
    }
}

/// CPU shares (cgroup v1) of a request in milli-CPUs.
pub(crate) fn shares(milli_cpu: i64) -> i64 {
    if milli_cpu <= 0 {
        MIN_SHARES
    } else {
        (milli_cpu * 1024 / 1000).clamp(MIN_SHARES, MAX_SHARES)
    }
}

/// CPU quota in microseconds per [`CPU_PERIOD`] of a limit in milli-CPUs; 0: unlimited.
pub(crate) fn quota(milli_cpu: i64) -> i64 {
    if milli_cpu <= 0 {
        0
    } else {
        (milli_cpu * CPU_PERIOD / 1000).max(MIN_QUOTA)
    }
}

/// cgroup v2 weight of v1 shares, by the OCI runtimes' linear mapping.
pub(crate) fn weight(shares: i64) -> i64 {
    1 + ((shares.clamp(MIN_SHARES, MAX_SHARES) - 2) * 9999) / 262_142
}

/// `oom_score_adj` of a container's processes: the kernel kills the least entitled first.
/// `capacity` is the machine's memory in bytes.
pub(crate) fn oom_score_adj(pod: &Pod, container: &Container, capacity: i64) -> i64 {
    if pod.spec().priority.unwrap_or(0) >= 2_000_000_000 {
        return -997;
    }
    match QosClass::of(pod) {
        QosClass::Guaranteed => -997,
        QosClass::BestEffort => 1000,
        QosClass::Burstable => {
            let request = container
                .resources
                .as_ref()
                .map_or(0, |r| value_of(r.requests.as_ref(), "memory"));
            let adjust = 1000 - 1000 * request / capacity.max(1);
            // Above guaranteed pods, below best effort ones.
            adjust.clamp(3, 999)
        }
    }
}

/// A container's limits for the runtime. `capacity` is the machine's memory in bytes.
pub(crate) fn container_resources(
    pod: &Pod,
    container: &Container,
    capacity: i64,
) -> LinuxContainerResources {
    let resources = container.resources.clone().unwrap_or_default();
    let (requests, limits) = (resources.requests.as_ref(), resources.limits.as_ref());
    let limit = milli_of(limits, "cpu");
    let has_request = requests.is_some_and(|r| r.contains_key("cpu"));
    let cpu = if has_request || limit == 0 {
        milli_of(requests, "cpu")
    } else {
        limit
    };
    LinuxContainerResources {
        cpu_period: CPU_PERIOD,
        cpu_quota: quota(limit),
        cpu_shares: shares(cpu),
        memory_limit_in_bytes: value_of(limits, "memory"),
        oom_score_adj: oom_score_adj(pod, container, capacity),
        ..Default::default()
    }
}

/// What a whole pod may use: for its cgroup and for admission.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct PodResources {
    /// Milli-CPUs.
    pub(crate) cpu_request: i64,
    /// Milli-CPUs; 0: unlimited.
    pub(crate) cpu_limit: i64,
    /// Bytes.
    pub(crate) memory_request: i64,
    /// Bytes; 0: unlimited.
    pub(crate) memory_limit: i64,
}

/// Requests and limits of a pod: the sum of its containers and sidecars, or one init
/// container's if that is more, plus overhead.
/// <https://kubernetes.io/docs/concepts/workloads/pods/init-containers/#resource-sharing-within-containers>
pub(crate) fn pod_resources(pod: &Pod) -> PodResources {
    let spec = pod.spec();
    let total = |pick: &dyn Fn(&Container) -> i64| -> i64 {
        let running: i64 = spec.containers.iter().map(pick).sum();
        let mut sidecars = 0;
        let mut peak = 0;
        for init in spec.init_containers.iter().flatten() {
            if is_sidecar(init) {
                sidecars += pick(init);
                peak = peak.max(sidecars);
            } else {
                peak = peak.max(sidecars + pick(init));
            }
        }
        (running + sidecars).max(peak)
    };
    let request = |c: &Container, name: &str, milli: bool| {
        let Some(r) = &c.resources else { return 0 };
        let list = match &r.requests {
            Some(requests) if requests.contains_key(name) => Some(requests),
            _ => r.limits.as_ref(),
        };
        if milli {
            milli_of(list, name)
        } else {
            value_of(list, name)
        }
    };
    let limit = |c: &Container, name: &str, milli: bool| {
        let limits = c.resources.as_ref().and_then(|r| r.limits.as_ref());
        if milli {
            milli_of(limits, name)
        } else {
            value_of(limits, name)
        }
    };
    // One container without a limit makes the pod unlimited.
    let all_limited = |name: &str| {
        let bounded = |c: &Container| limit(c, name, true) > 0;
        spec.containers.iter().all(bounded) && spec.init_containers.iter().flatten().all(bounded)
    };
    let overhead = spec.overhead.as_ref();
    let mut found = PodResources {
        cpu_request: total(&|c| request(c, "cpu", true)) + milli_of(overhead, "cpu"),
        memory_request: total(&|c| request(c, "memory", false)) + value_of(overhead, "memory"),
        cpu_limit: 0,
        memory_limit: 0,
    };
    if all_limited("cpu") {
        found.cpu_limit = total(&|c| limit(c, "cpu", true)) + milli_of(overhead, "cpu");
    }
    if all_limited("memory") {
        found.memory_limit = total(&|c| limit(c, "memory", false)) + value_of(overhead, "memory");
    }
    if let Some(pod_level) = &spec.resources {
        let pick = |current: i64, wanted: i64| if wanted > 0 { wanted } else { current };
        found.cpu_request = pick(found.cpu_request, milli_of(pod_level.requests.as_ref(), "cpu"));
        found.memory_request = pick(
            found.memory_request,
            value_of(pod_level.requests.as_ref(), "memory"),
        );
        found.cpu_limit = pick(found.cpu_limit, milli_of(pod_level.limits.as_ref(), "cpu"));
        found.memory_limit = pick(found.memory_limit, value_of(pod_level.limits.as_ref(), "memory"));
    }
    found
}

#[cfg(test)]
mod tests;

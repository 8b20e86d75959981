//! Which subnets addresses come from: those of ServiceCIDRs. Upstream:
//! `pkg/registry/core/service/ipallocator/cidrallocator.go`.

use ipnet::IpNet;
use serde::Deserialize;

use super::allocator::Range;
use crate::core::Core;

/// Storage prefix of ServiceCIDRs.
pub(super) const CIDRS: &str = "networking.k8s.io/servicecidrs";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    deletion_timestamp: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Spec {
    cidrs: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    conditions: Vec<Condition>,
}

#[derive(Deserialize)]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
}

#[derive(Deserialize)]
pub(super) struct ServiceCidr {
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

impl ServiceCidr {
    /// Whether addresses are given out from it. One that nobody has judged yet is ready: nobody may ever,
    /// where no controllers run.
    fn is_ready(&self) -> bool {
        let ready = self.status.conditions.iter().find(|c| c.kind == "Ready");
        self.metadata.deletion_timestamp.is_none() && ready.is_none_or(|c| c.status == "True")
    }

    fn ranges(&self) -> impl Iterator<Item = Range> {
        let subnets = self
            .spec
            .cidrs
            .iter()
            .filter_map(|cidr| cidr.parse::<IpNet>().ok());
        subnets.map(Range::new)
    }
}

fn of_all(core: &Core, chosen: impl Fn(&ServiceCidr) -> bool) -> Vec<Range> {
    let Some(cacher) = core.cache.cacher(CIDRS) else {
        return Vec::new();
    };
    let mut all: Vec<_> = cacher
        .snapshot(0)
        .objects
        .values()
        .filter_map(|object| Some((object.key.clone(), object.typed::<ServiceCidr>().ok()?)))
        .filter(|(_, cidr)| chosen(cidr))
        .collect();
    // The cluster's own before those that were added to it.
    all.sort_by_key(|(name, _)| &**name != "kubernetes");
    all.iter().flat_map(|(_, cidr)| cidr.ranges()).collect()
}

/// The ranges of one IP family that addresses are given out from.
pub(super) fn ready(core: &Core, is_v6: bool) -> Vec<Range> {
    let mut ranges = of_all(core, ServiceCidr::is_ready);
    ranges.retain(|range| range.is_v6() == is_v6);
    ranges
}

/// All ranges, those included that give out nothing any more.
pub(super) fn all(core: &Core) -> Vec<Range> {
    of_all(core, |_| true)
}

//! Addresses and node ports of Services. Upstream: `pkg/registry/core/service`.
//!
//! Addresses come from the subnets of ServiceCIDRs, and each that a Service has is recorded by an IPAddress
//! (KEP-1880): the record is written before the Service, and goes after it.
//!
//! # Guarantees
//! - No two stored Services share an address or a node port: a write reserves first, and gives back
//!   what it reserved when it does not commit. No lock is held across a commit.
//! - What is taken is rebuilt from the cache at start; a deletion or change gives back at commit.
//! - An address with a record is never given out, whoever made the record. What a crash leaves without its
//!   counterpart is mended by [`repair`].

mod allocator;
mod fields;
mod ranges;
mod records;
pub(crate) mod repair;

#[cfg(test)]
mod tests;

use std::{collections::HashSet, net::IpAddr, sync::Arc};

use parking_lot::Mutex;
use rkind_apimachinery::{
    field::{Error, ErrorList, Path},
    meta,
    resources::ResourceDef,
    status::Status,
};
use serde_json::{Value, json};

use crate::{
    core::{Core, Settings},
    error::Result,
};

use allocator::{Ports, Range};
use fields::{needs_health_port, protocol, wants_address};
use records::Owner;

#[derive(Debug)]
struct Taken {
    /// Those of stored Services and of Services on their way to the store.
    addresses: HashSet<IpAddr>,
    ports: Ports,
}

/// The allocators of this server.
pub(crate) struct Allocators {
    taken: Arc<Mutex<Taken>>,
    is_v6: bool,
}

impl Allocators {
    /// Empty allocators; [`Allocators::learn`] fills them.
    pub(crate) fn new(settings: &Settings) -> Self {
        let taken = Taken {
            addresses: HashSet::new(),
            ports: Ports::new(settings.node_port_range),
        };
        Allocators {
            taken: Arc::new(Mutex::new(taken)),
            is_v6: settings.service_subnet.addr().is_ipv6(),
        }
    }

    /// Takes what a stored Service has.
    pub(crate) fn learn(&self, service: &Value) {
        let mut taken = self.taken.lock();
        taken.addresses.extend(addresses(service));
        for port in node_ports(service) {
            taken.ports.take(port);
        }
    }
}

/// What a write has taken; given back when dropped without [`Reservation::keep`].
#[derive(Default)]
pub(crate) struct Reservation {
    from: Option<Arc<Mutex<Taken>>>,
    owner: Owner,
    addresses: Vec<IpAddr>,
    ports: Vec<u16>,
    /// To be given back when the write commits: the old object's.
    freed_addresses: Vec<IpAddr>,
    freed_ports: Vec<u16>,
}

impl Reservation {
    /// Whether there is nothing to keep or to give back.
    pub(crate) fn is_empty(&self) -> bool {
        self.from.is_none()
    }

    /// Records the addresses, before the write commits. What is recorded when one of them cannot be is
    /// taken back.
    ///
    /// # Errors
    /// 409 (`AlreadyExists`) when somebody else has recorded one of them, and those of any write.
    pub(crate) async fn record(&self, core: &Arc<Core>) -> Result<()> {
        for (count, address) in self.addresses.iter().enumerate() {
            if let Err(error) = records::create(core, *address, &self.owner).await {
                records::delete_all(core, &self.addresses[..count], &self.owner).await;
                return Err(error);
            }
        }
        Ok(())
    }

    /// Takes the records back: the write did not commit.
    pub(crate) async fn revoke(&self, core: &Arc<Core>) {
        records::delete_all(core, &self.addresses, &self.owner).await;
    }

    /// The write has committed.
    pub(crate) async fn keep(mut self, core: &Arc<Core>) {
        let Some(from) = self.from.take() else { return };
        records::delete_all(core, &self.freed_addresses, &self.owner).await;
        let mut taken = from.lock();
        for address in &self.freed_addresses {
            taken.addresses.remove(address);
        }
        for port in &self.freed_ports {
            taken.ports.free(*port);
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let Some(from) = self.from.take() else { return };
        let mut taken = from.lock();
        for address in &self.addresses {
            taken.addresses.remove(address);
        }
        for port in &self.ports {
            taken.ports.free(*port);
        }
    }
}

/// Whether a resource's objects have addresses and ports.
pub(crate) fn is_service(def: &ResourceDef) -> bool {
    def.group.is_empty() && def.resource == "services"
}

/// What the deletion of a Service gives back once it has committed; nothing for other kinds.
pub(crate) fn release(core: &Core, def: &ResourceDef, service: &Value) -> Reservation {
    let mut reservation = Reservation::default();
    if is_service(def) {
        reservation.from = Some(core.services.taken.clone());
        reservation.owner = Owner::of(service);
        reservation.freed_addresses = addresses(service);
        reservation.freed_ports = node_ports(service);
    }
    reservation
}

fn addresses(service: &Value) -> Vec<IpAddr> {
    let spec = &service["spec"];
    let mut all: Vec<IpAddr> = spec["clusterIPs"]
        .as_array()
        .into_iter()
        .flatten()
        .chain(std::iter::once(&spec["clusterIP"]))
        .filter_map(|v| v.as_str()?.parse().ok())
        .collect();
    all.sort_unstable();
    all.dedup();
    all
}

fn node_ports(service: &Value) -> Vec<u16> {
    let spec = &service["spec"];
    let ports = spec["ports"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|p| &p["nodePort"]);
    let mut all: Vec<u16> = ports
        .chain(std::iter::once(&spec["healthCheckNodePort"]))
        .filter_map(|v| u16::try_from(v.as_u64()?).ok())
        .filter(|p| *p != 0)
        .collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// Gives a Service on its way to the store its addresses and ports; nothing for other kinds.
///
/// # Errors
/// 422 when what it asks for is taken or out of range, 500 when nothing is left.
pub(crate) async fn reserve(
    core: &Core,
    def: &ResourceDef,
    sub: &str,
    object: &mut Value,
    old: Option<&Value>,
) -> Result<Reservation> {
    if !is_service(def) || !sub.is_empty() {
        return Ok(Reservation::default());
    }
    // Subnets that were declared, and addresses that were recorded, before this was asked.
    core.cache.catch_up().await?;
    let ranges = ranges::ready(core, core.services.is_v6);
    let mut reservation = Reservation::default();
    reservation.from = Some(core.services.taken.clone());
    reservation.owner = Owner::of(object);
    let mut errors = ErrorList::new();
    {
        let mut taken = core.services.taken.lock();
        fields::prepare(object, old);
        let mut addresses = Addresses {
            core,
            ranges: &ranges,
            taken: &mut taken.addresses,
        };
        reserve_addresses(&mut addresses, &mut reservation, object, old, &mut errors)?;
        reserve_ports(&mut taken, &mut reservation, object, old, &mut errors)?;
    }
    if errors.is_empty() {
        return Ok(reservation);
    }
    Err(Status::invalid(def.group, def.kind, meta::name(object), &errors).into())
}

/// What addresses are given out from.
struct Addresses<'a> {
    core: &'a Core,
    ranges: &'a [Range],
    taken: &'a mut HashSet<IpAddr>,
}

impl Addresses<'_> {
    /// Why an address cannot be had, in upstream's words.
    fn take(&mut self, address: IpAddr) -> Result<(), &'static str> {
        if !self.ranges.iter().any(|range| range.contains(address)) {
            return Err("the provided network does not match the current range");
        }
        if records::exists(self.core, address) || !self.taken.insert(address) {
            return Err("provided IP is already allocated");
        }
        Ok(())
    }

    fn any(&mut self) -> Option<IpAddr> {
        let is_taken = |address| self.taken.contains(&address) || records::exists(self.core, address);
        let found = self.ranges.iter().find_map(|range| range.any(is_taken))?;
        self.taken.insert(found);
        Some(found)
    }
}

fn reserve_addresses(
    free: &mut Addresses<'_>,
    reservation: &mut Reservation,
    object: &mut Value,
    old: Option<&Value>,
    errors: &mut ErrorList,
) -> Result<()> {
    let had = old.map(addresses).unwrap_or_default();
    let spec = &mut object["spec"];
    let family = if free.core.services.is_v6 { "IPv6" } else { "IPv4" };
    if spec["type"] != "ExternalName" && spec["ipFamilies"].as_array().is_none_or(Vec::is_empty) {
        spec["ipFamilies"] = json!([family]);
    }
    if wants_address(spec) && spec["clusterIP"].as_str().is_none_or(str::is_empty) {
        let address = free
            .any()
            .ok_or_else(|| Status::internal_error("failed to allocate a serviceIP: range is full"))?;
        reservation.addresses.push(address);
        spec["clusterIP"] = json!(address.to_string());
        spec["clusterIPs"] = json!([address.to_string()]);
    } else if wants_address(spec) {
        let path = Path::new("spec").child("clusterIPs");
        for text in spec["clusterIPs"].as_array().into_iter().flatten() {
            let Some(address) = text.as_str().and_then(|t| t.parse::<IpAddr>().ok()) else {
                continue;
            };
            if had.contains(&address) {
                continue;
            }
            match free.take(address) {
                Ok(()) => reservation.addresses.push(address),
                Err(why) => {
                    let detail = format!("failed to allocate IP {address}: {why}");
                    errors.push(Error::invalid(&path, spec["clusterIPs"].clone(), detail));
                }
            }
        }
    }
    let now: HashSet<IpAddr> = addresses(object).into_iter().collect();
    reservation.freed_addresses = had.into_iter().filter(|a| !now.contains(a)).collect();
    Ok(())
}

fn reserve_ports(
    taken: &mut Taken,
    reservation: &mut Reservation,
    object: &mut Value,
    old: Option<&Value>,
    errors: &mut ErrorList,
) -> Result<()> {
    let had = old.map(node_ports).unwrap_or_default();
    let spec = &mut object["spec"];
    let wants = spec["type"] == "NodePort"
        || (spec["type"] == "LoadBalancer" && spec["allocateLoadBalancerNodePorts"] != false);
    let path = Path::new("spec").child("ports");
    // Those asked for first, so that none of them is given to another port.
    let mut mine: Vec<(u16, String)> = Vec::new();
    for (index, port) in spec["ports"].as_array().into_iter().flatten().enumerate() {
        let Some(number) = port["nodePort"]
            .as_u64()
            .and_then(|n| u16::try_from(n).ok())
            .filter(|n| *n != 0)
        else {
            continue;
        };
        let shared = mine.iter().any(|(n, p)| *n == number && p != protocol(port));
        mine.push((number, protocol(port).to_owned()));
        if had.contains(&number) || shared {
            continue;
        }
        let at = path.index(index).child("nodePort");
        if !taken.ports.contains(number) {
            let detail = format!(
                "provided port is not in the valid range. The range of valid ports is {}",
                taken.ports.range()
            );
            errors.push(Error::invalid(&at, number, detail));
        } else if taken.ports.take(number) {
            reservation.ports.push(number);
        } else {
            errors.push(Error::invalid(&at, number, "provided port is already allocated"));
        }
    }
    let mut given: Vec<(u64, u16)> = Vec::new();
    if wants && errors.is_empty() {
        for port in spec
            .get_mut("ports")
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            if port["nodePort"].as_u64().unwrap_or(0) != 0 {
                continue;
            }
            let number = port["port"].as_u64().unwrap_or(0);
            // The same port over another protocol gets the same node port (DNS over TCP and UDP).
            let same = given.iter().find(|(p, _)| *p == number).map(|(_, n)| *n);
            let node_port = match same {
                Some(node_port) => node_port,
                None => {
                    let any = taken.ports.any().ok_or_else(|| {
                        Status::internal_error("failed to allocate a nodePort: range is full")
                    })?;
                    reservation.ports.push(any);
                    any
                }
            };
            given.push((number, node_port));
            port["nodePort"] = json!(node_port);
        }
        if needs_health_port(spec) && spec["healthCheckNodePort"].as_u64().unwrap_or(0) == 0 {
            let any = taken
                .ports
                .any()
                .ok_or_else(|| Status::internal_error("failed to allocate a nodePort: range is full"))?;
            reservation.ports.push(any);
            spec["healthCheckNodePort"] = json!(any);
        }
    }
    let now = node_ports(object);
    reservation.freed_ports = had.into_iter().filter(|p| !now.contains(p)).collect();
    Ok(())
}

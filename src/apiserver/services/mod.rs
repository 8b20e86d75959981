//! Addresses and node ports of Services. Upstream: `pkg/registry/core/service`.
//!
//! # Guarantees
//! - No two stored Services share an address or a node port: a write reserves first, and gives back
//!   what it reserved when it does not commit.
//! - What is taken is rebuilt from the cache at start; a deletion or change gives back at commit.

mod allocator;

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
use serde_json::{Map, Value, json};

use crate::{
    core::{Core, Settings},
    error::Result,
};

use allocator::{Addresses, Ports};

#[derive(Debug)]
struct Taken {
    addresses: Addresses,
    ports: Ports,
}

/// The allocators of this server.
pub(crate) struct Allocators {
    taken: Arc<Mutex<Taken>>,
}

impl Allocators {
    /// Empty allocators; [`Allocators::learn`] fills them.
    pub(crate) fn new(settings: &Settings) -> Self {
        let taken = Taken {
            addresses: Addresses::new(settings.service_subnet),
            ports: Ports::new(settings.node_port_range),
        };
        Allocators {
            taken: Arc::new(Mutex::new(taken)),
        }
    }

    /// Takes what a stored Service has.
    pub(crate) fn learn(&self, service: &Value) {
        let mut taken = self.taken.lock();
        for address in addresses(service) {
            taken.addresses.take(address);
        }
        for port in node_ports(service) {
            taken.ports.take(port);
        }
    }
}

/// What a write has taken; given back when dropped without [`Reservation::keep`].
#[derive(Default)]
pub(crate) struct Reservation {
    from: Option<Arc<Mutex<Taken>>>,
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

    /// The write has committed.
    pub(crate) fn keep(mut self) {
        let Some(from) = self.from.take() else { return };
        let mut taken = from.lock();
        for address in &self.freed_addresses {
            taken.addresses.free(*address);
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
            taken.addresses.free(*address);
        }
        for port in &self.ports {
            taken.ports.free(*port);
        }
    }
}

fn is_service(def: &ResourceDef) -> bool {
    def.group.is_empty() && def.resource == "services"
}

/// What the deletion of a Service gives back once it has committed; nothing for other kinds.
pub(crate) fn release(core: &Core, def: &ResourceDef, service: &Value) -> Reservation {
    let mut reservation = Reservation::default();
    if is_service(def) {
        reservation.from = Some(core.services.taken.clone());
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
pub(crate) fn reserve(
    core: &Core,
    def: &ResourceDef,
    sub: &str,
    object: &mut Value,
    old: Option<&Value>,
) -> Result<Reservation> {
    if !is_service(def) || !sub.is_empty() {
        return Ok(Reservation::default());
    }
    let mut reservation = Reservation::default();
    reservation.from = Some(core.services.taken.clone());
    let mut errors = ErrorList::new();
    {
        let mut taken = core.services.taken.lock();
        fields(object, old);
        reserve_addresses(&mut taken, &mut reservation, object, old, &mut errors)?;
        reserve_ports(&mut taken, &mut reservation, object, old, &mut errors)?;
    }
    if errors.is_empty() {
        return Ok(reservation);
    }
    Err(Status::invalid(def.group, def.kind, meta::name(object), &errors).into())
}

fn wants_address(spec: &Value) -> bool {
    spec["type"] != "ExternalName" && spec["clusterIP"] != "None"
}

/// Takes node ports from a Service whose type no longer has any, unless an update changes them.
fn drop_node_ports(spec: &mut Map<String, Value>, old: &Value) {
    let ports = spec.get_mut("ports").and_then(Value::as_array_mut);
    for port in ports.into_iter().flatten() {
        let unchanged = old["spec"]["ports"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|o| o["nodePort"] == port["nodePort"]);
        if unchanged && let Some(port) = port.as_object_mut() {
            port.remove("nodePort");
        }
    }
}

/// Whether a Service is reached from outside of the cluster.
fn is_external(spec: &Value) -> bool {
    matches!(spec["type"].as_str(), Some("NodePort" | "LoadBalancer"))
        || spec["externalIPs"]
            .as_array()
            .is_some_and(|list| !list.is_empty())
}

fn needs_health_port(spec: &Value) -> bool {
    spec["type"] == "LoadBalancer" && spec["externalTrafficPolicy"] == "Local"
}

/// Keeps the port that an update does not name, and takes away what the new type has no use for, unless
/// the update changes it too, which is for validation to refuse. Upstream: `patchAllocatedValues`,
/// `dropTypeDependentFields`.
fn follow_type(spec: &mut Value, old: &Value) {
    let balanced = |spec: &Value| spec["type"] == "LoadBalancer";
    let port = "healthCheckNodePort";
    if needs_health_port(old) && needs_health_port(spec) && spec[port].as_u64().unwrap_or(0) == 0 {
        spec[port] = old[port].clone();
    }
    type Applies = fn(&Value) -> bool;
    let dependent: [(&str, Applies); 4] = [
        (port, needs_health_port),
        ("allocateLoadBalancerNodePorts", balanced),
        ("loadBalancerClass", balanced),
        ("externalTrafficPolicy", is_external),
    ];
    // What decides whether one applies may be another: all are judged before any goes.
    let gone = dependent.map(|(field, applies)| {
        let dropped = applies(old) && !applies(spec) && spec[field] == old[field];
        dropped.then_some(field)
    });
    if let Some(spec) = spec.as_object_mut() {
        for field in gone.into_iter().flatten() {
            spec.remove(field);
        }
    }
}

/// IP family fields (KEP-563, single stack) and what an update leaves to the old object.
fn fields(object: &mut Value, old: Option<&Value>) {
    if let Some(old) = old {
        follow_type(&mut object["spec"], &old["spec"]);
        if object["spec"]["type"] != "LoadBalancer" && object["status"]["loadBalancer"].is_object() {
            object["status"]["loadBalancer"] = json!({});
        }
    }
    let spec = meta::child_object(object, "spec");
    let external = spec.get("type").is_some_and(|t| t == "ExternalName");
    if external {
        // An external name has none of these.
        for field in [
            "clusterIP",
            "clusterIPs",
            "ipFamilies",
            "ipFamilyPolicy",
            "internalTrafficPolicy",
        ] {
            if old.is_some_and(|o| o["spec"]["type"] != "ExternalName")
                || spec.get(field).is_some_and(|v| v == "" || v.is_null())
            {
                spec.remove(field);
            }
        }
        if let Some(old) = old {
            drop_node_ports(spec, old);
        }
        return;
    }
    let empty = |v: Option<&Value>| {
        v.is_none_or(|v| v.is_null() || v == "" || v.as_array().is_some_and(Vec::is_empty))
    };
    if let Some(old) = old {
        for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            let kept = &old["spec"][field];
            if empty(spec.get(field)) && !kept.is_null() && old["spec"]["type"] != "ExternalName" {
                spec.insert(field.into(), kept.clone());
            }
        }
        // Node ports stay with their port when an update does not name them.
        let wants = matches!(
            spec.get("type").and_then(Value::as_str),
            Some("NodePort" | "LoadBalancer")
        );
        let had = matches!(old["spec"]["type"].as_str(), Some("NodePort" | "LoadBalancer"));
        if wants && had {
            for port in spec
                .get_mut("ports")
                .and_then(Value::as_array_mut)
                .into_iter()
                .flatten()
            {
                let same = |o: &&Value| o["port"] == port["port"] && protocol(o) == protocol(port);
                let kept = old["spec"]["ports"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .find(same)
                    .map(|o| o["nodePort"].clone());
                if port["nodePort"].as_u64().unwrap_or(0) == 0
                    && let Some(kept) = kept.filter(|k| !k.is_null())
                {
                    port["nodePort"] = kept;
                }
            }
        } else if !wants && had {
            drop_node_ports(spec, old);
        }
    }
    if empty(spec.get("ipFamilyPolicy")) {
        spec.insert("ipFamilyPolicy".into(), json!("SingleStack"));
    }
    // `clusterIP` and the first of `clusterIPs` say the same.
    let single = spec
        .get("clusterIP")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    if !single.is_empty() && empty(spec.get("clusterIPs")) {
        spec.insert("clusterIPs".into(), json!([single]));
    }
    if single.is_empty()
        && let Some(first) = spec
            .get("clusterIPs")
            .and_then(|l| l[0].as_str())
            .map(str::to_owned)
    {
        spec.insert("clusterIP".into(), json!(first));
    }
}

fn protocol(port: &Value) -> &str {
    port["protocol"].as_str().unwrap_or("TCP")
}

fn reserve_addresses(
    taken: &mut Taken,
    reservation: &mut Reservation,
    object: &mut Value,
    old: Option<&Value>,
    errors: &mut ErrorList,
) -> Result<()> {
    let had = old.map(addresses).unwrap_or_default();
    let spec = &mut object["spec"];
    let family = if taken.addresses.is_v6() { "IPv6" } else { "IPv4" };
    if spec["type"] != "ExternalName" && spec["ipFamilies"].as_array().is_none_or(Vec::is_empty) {
        spec["ipFamilies"] = json!([family]);
    }
    if wants_address(spec) && spec["clusterIP"].as_str().is_none_or(str::is_empty) {
        let address = taken
            .addresses
            .any()
            .ok_or_else(|| Status::internal_error("failed to allocate a serviceIP: range is full"))?;
        reservation.addresses.push(address);
        spec["clusterIP"] = json!(address.to_string());
        spec["clusterIPs"] = json!([address.to_string()]);
    } else if wants_address(spec) {
        let path = Path::new("spec").child("clusterIPs");
        for (index, text) in spec["clusterIPs"].as_array().into_iter().flatten().enumerate() {
            let Some(address) = text.as_str().and_then(|t| t.parse::<IpAddr>().ok()) else {
                continue;
            };
            if had.contains(&address) {
                continue;
            }
            let shown = json!([address.to_string()]);
            if !taken.addresses.contains(address) {
                let detail = format!(
                    "failed to allocate IP {address}: the provided IP ({address}) is not in the valid range. The range of valid IPs is {}",
                    taken.addresses.range()
                );
                errors.push(Error::invalid(&path.index(index), address.to_string(), detail));
            } else if taken.addresses.take(address) {
                reservation.addresses.push(address);
            } else {
                let detail = format!("failed to allocate IP {address}: provided IP is already allocated");
                errors.push(Error::invalid(&path, shown, detail));
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

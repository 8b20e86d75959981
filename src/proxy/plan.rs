//! From Services to map elements, and from what was to what must change. Pure:
//! no clock, no I/O.
//!
//! Each Service *claims* elements. Two may claim one key (the same external
//! address and port, or the same pod behind both): the Service first in order
//! has it, and when it goes the next one does. A change of a Service looks at
//! its own claims only, so its cost doesn't grow with the number of Services.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};

use rkind_sys::nft::{Change, Datum, Element, Transaction, Verdict};

use crate::Options;
use crate::shape::{self, MASQUERADE, MASQUERADE_OUTSIDERS, Pick, READY_CHAINS, set};
use crate::view::{PortView, ServiceView};

const UDP: u8 = 17;

/// Who claims elements. The nodes' addresses come first.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Owner {
    Nodes,
    Service(String, String),
}

/// A key of a set or map.
type Slot = (&'static str, Vec<Datum>);

/// A pool's name within its Service: it keeps its number as long as it exists.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct PoolName {
    port: (String, u8, u16),
    flags: u32,
    local: bool,
}

/// Which endpoints UDP packets to an address may go to; the port alone for
/// NodePorts. See [`crate::stale`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UdpFronts {
    /// By a Service's address.
    pub addresses: HashMap<SocketAddr, HashSet<SocketAddr>>,
    /// By NodePort.
    pub node_ports: HashMap<u16, HashSet<SocketAddr>>,
}

/// Remembers what the kernel has and says what to change.
pub struct Planner {
    options: Options,
    claims: HashMap<Slot, BTreeMap<Owner, Element>>,
    owned: HashMap<Owner, Vec<Slot>>,
    /// What the kernel held before the changes that are pending: `None`, nothing.
    before: BTreeMap<Slot, Option<Element>>,
    pools: HashMap<Owner, HashMap<PoolName, Pool>>,
    last_number: u32,
    picks: BTreeSet<Pick>,
    new_picks: BTreeSet<Pick>,
    udp: HashMap<Owner, UdpFronts>,
    /// What was in `udp` and isn't any more; `None`: nothing changed there.
    udp_gone: Option<UdpFronts>,
}

/// A pool's number, and the identities of its endpoints if clients stick to them.
#[derive(Debug, Clone, Default)]
struct Pool {
    number: u32,
    ids: HashMap<SocketAddr, u32>,
}

impl Planner {
    /// Nothing known yet.
    pub fn new(options: Options) -> Self {
        Self {
            options,
            claims: HashMap::new(),
            owned: HashMap::new(),
            before: BTreeMap::new(),
            pools: HashMap::new(),
            last_number: 0,
            picks: (1..=READY_CHAINS)
                .map(|count| Pick {
                    count,
                    affinity: None,
                })
                .collect(),
            new_picks: BTreeSet::new(),
            udp: HashMap::new(),
            udp_gone: None,
        }
    }

    /// What a Service is now; `None`: it isn't.
    pub fn set_service(&mut self, namespace: &str, name: &str, view: Option<&ServiceView>) {
        let owner = Owner::Service(namespace.to_owned(), name.to_owned());
        let mut made = Made {
            known: self.pools.remove(&owner).unwrap_or_default(),
            ..Made::default()
        };
        if let Some(view) = view {
            for port in &view.ports {
                self.port(view, port, &mut made);
            }
            let ours = |ip: &&IpAddr| Some(**ip) != self.options.dns_ip;
            for ip in view.cluster_ips.iter().filter(ours) {
                made.member(set::CLUSTER_IPS, vec![Datum::Ip(*ip)]);
            }
        }
        self.replace(owner.clone(), made.elements);
        if !made.pools.is_empty() {
            self.pools.insert(owner.clone(), made.pools);
        }
        self.replace_udp(owner, made.udp);
    }

    fn replace_udp(&mut self, owner: Owner, now: UdpFronts) {
        let before = match now.is_empty() {
            true => self.udp.remove(&owner).unwrap_or_default(),
            false => self.udp.insert(owner, now.clone()).unwrap_or_default(),
        };
        if before == now {
            return;
        }
        let gone = self.udp_gone.get_or_insert_default();
        gone.addresses
            .extend(before.addresses.into_keys().map(|a| (a, HashSet::new())));
        gone.node_ports
            .extend(before.node_ports.into_keys().map(|p| (p, HashSet::new())));
    }

    /// The addresses of the cluster's nodes, which pods reach untranslated.
    pub fn set_nodes(&mut self, addresses: &BTreeSet<IpAddr>) {
        let mut made = Made::default();
        for ip in addresses.iter().filter(|ip| ip.is_ipv4()) {
            made.member(set::NODES, vec![Datum::Ip(*ip)]);
        }
        self.replace(Owner::Nodes, made.elements);
    }

    fn number(&mut self) -> u32 {
        // Flags live above; a billion changes later old numbers come again.
        self.last_number = self.last_number % (MASQUERADE_OUTSIDERS - 1) + 1;
        self.last_number
    }

    fn port(&mut self, view: &ServiceView, port: &PortView, made: &mut Made) {
        let ours = |ip: &&IpAddr| Some(**ip) != self.options.dns_ip;
        let cluster: Vec<IpAddr> = view.cluster_ips.iter().filter(ours).copied().collect();
        let key = |ip: IpAddr| {
            vec![
                Datum::Ip(ip),
                Datum::Protocol(port.protocol),
                Datum::Port(port.port),
            ]
        };

        let inside = self.pool(view, port, MASQUERADE_OUTSIDERS, view.internal_local, made);
        for ip in &cluster {
            match inside {
                Some(pool) => made.data(set::FRONTS, key(*ip), Datum::Mark(pool)),
                None => made.verdict(set::UNSERVED, key(*ip), nobody(port, view.internal_local)),
            }
        }
        if view.external_ips.is_empty() && port.node_port.is_none() {
            return self.remember_udp(view, port, &cluster, made);
        }

        // Outsiders: either any endpoint with this node as the source, or a local
        // one with the true source. Insiders always get any endpoint.
        let (outside, insiders) = if view.external_local {
            let outside = self.pool(view, port, 0, true, made);
            (outside, self.pool(view, port, MASQUERADE_OUTSIDERS, false, made))
        } else {
            (self.pool(view, port, MASQUERADE, false, made), None)
        };
        let fronts = view
            .external_ips
            .iter()
            .map(|ip| (set::FRONTS, set::FRONTS_INSIDE, set::UNSERVED, key(*ip)));
        let node_port = port.node_port.map(|number| {
            let key = vec![Datum::Protocol(port.protocol), Datum::Port(number)];
            (set::NODE_PORTS, set::NODE_PORTS_INSIDE, set::UNSERVED_PORTS, key)
        });
        for (front, front_inside, unserved, key) in fronts.chain(node_port) {
            match outside {
                Some(pool) => made.data(front, key.clone(), Datum::Mark(pool)),
                None => made.verdict(unserved, key.clone(), nobody(port, view.external_local)),
            }
            if let Some(pool) = insiders {
                made.data(front_inside, key, Datum::Mark(pool));
            }
        }
        for ip in &view.guarded_ips {
            made.member(set::GUARDED, key(*ip));
            for range in &view.source_ranges {
                let source = key(*ip).into_iter().chain([Datum::Net(*range)]).collect();
                made.member(set::ALLOWED, source);
            }
        }
        self.remember_udp(view, port, &cluster, made);
    }

    fn remember_udp(&self, view: &ServiceView, port: &PortView, cluster: &[IpAddr], made: &mut Made) {
        if port.protocol != UDP {
            return;
        }
        let endpoints: HashSet<SocketAddr> = port
            .endpoints
            .iter()
            .chain(&port.local_endpoints)
            .copied()
            .collect();
        for ip in cluster.iter().chain(&view.external_ips) {
            made.udp
                .addresses
                .insert(SocketAddr::new(*ip, port.port), endpoints.clone());
        }
        if let Some(number) = port.node_port {
            made.udp.node_ports.insert(number, endpoints);
        }
    }

    /// The number of the pool with these endpoints, or `None` if there are none.
    fn pool(
        &mut self,
        view: &ServiceView,
        port: &PortView,
        flags: u32,
        local: bool,
        made: &mut Made,
    ) -> Option<u32> {
        let endpoints = if local {
            &port.local_endpoints
        } else {
            &port.endpoints
        };
        let count = u32::try_from(endpoints.len()).ok().filter(|n| *n > 0)?;
        let name = PoolName {
            port: (port.name.clone(), port.protocol, port.port),
            flags,
            local,
        };
        if let Some(pool) = made.pools.get(&name) {
            return Some(pool.number);
        }
        let mut pool = made.known.remove(&name).unwrap_or_default();
        if pool.number == 0 {
            pool.number = self.number() | flags;
        }
        let number = pool.number;
        let pick = Pick {
            count,
            affinity: view.affinity,
        };
        if self.picks.insert(pick) {
            self.new_picks.insert(pick);
        }
        made.verdict(set::POOLS, vec![Datum::Mark(number)], Verdict::Goto(pick.name()));
        for (i, endpoint) in endpoints.iter().enumerate() {
            let slot = vec![Datum::Mark(number), Datum::Number(i as u32)];
            let target = Element::Data(vec![Datum::Ip(endpoint.ip()), Datum::Port(endpoint.port())]);
            if view.affinity.is_some() {
                let id = *pool.ids.entry(*endpoint).or_insert_with(|| self.number());
                made.data(set::SLOTS, slot, Datum::Mark(id));
                made.elements.insert((set::BY_ID, vec![Datum::Mark(id)]), target);
            } else {
                made.elements.insert((set::ENDPOINTS, slot), target);
            }
        }
        for endpoint in port.local_endpoints.iter() {
            made.member(
                set::HAIRPIN,
                vec![Datum::Ip(endpoint.ip()), Datum::Ip(endpoint.ip())],
            );
        }
        let kept: HashSet<&SocketAddr> = endpoints.iter().collect();
        pool.ids.retain(|endpoint, _| kept.contains(endpoint));
        made.pools.insert(name, pool);
        Some(number)
    }

    /// Replaces an owner's claims and notes which keys change hands or data.
    fn replace(&mut self, owner: Owner, elements: BTreeMap<Slot, Element>) {
        for slot in self.owned.remove(&owner).unwrap_or_default() {
            if !elements.contains_key(&slot) {
                self.note(&slot);
                if let Some(claims) = self.claims.get_mut(&slot) {
                    claims.remove(&owner);
                    if claims.is_empty() {
                        self.claims.remove(&slot);
                    }
                }
            }
        }
        let slots: Vec<Slot> = elements.keys().cloned().collect();
        for (slot, element) in elements {
            if self.claims.get(&slot).and_then(|c| c.get(&owner)) != Some(&element) {
                self.note(&slot);
                self.claims
                    .entry(slot)
                    .or_default()
                    .insert(owner.clone(), element);
            }
        }
        if !slots.is_empty() {
            self.owned.insert(owner, slots);
        }
    }

    fn current(&self, slot: &Slot) -> Option<&Element> {
        self.claims.get(slot)?.values().next()
    }

    fn note(&mut self, slot: &Slot) {
        if !self.before.contains_key(slot) {
            let element = self.current(slot).cloned();
            self.before.insert(slot.clone(), element);
        }
    }

    /// What to do to bring the kernel from the state of the last call to now.
    pub fn take_changes(&mut self) -> Transaction {
        let (mut deletes, mut adds) = (Vec::new(), Vec::new());
        for (slot, before) in std::mem::take(&mut self.before) {
            let now = self.current(&slot);
            if now == before.as_ref() {
                continue;
            }
            let (set, key) = slot.clone();
            if before.is_some() {
                deletes.push(Change::Delete {
                    set,
                    key: key.clone(),
                });
            }
            if let Some(element) = now.cloned() {
                adds.push(Change::Add { set, key, element });
            }
        }
        let mut script = String::new();
        for pick in std::mem::take(&mut self.new_picks) {
            pick.render(&mut script);
        }
        deletes.extend(adds);
        Transaction {
            table: shape::table(),
            script,
            elements: deletes,
        }
    }

    /// What to do to bring the kernel from whatever it has to now.
    pub fn take_everything(&mut self) -> Transaction {
        self.before.clear();
        self.new_picks.clear();
        let mut script = shape::render(&self.options);
        for pick in self
            .picks
            .iter()
            .filter(|p| p.affinity.is_some() || p.count > READY_CHAINS)
        {
            pick.render(&mut script);
        }
        let sorted: BTreeMap<&Slot, &Element> = self
            .claims
            .iter()
            .filter_map(|(slot, claims)| Some((slot, claims.values().next()?)))
            .collect();
        let add = |((set, key), element): (&Slot, &Element)| Change::Add {
            set,
            key: key.clone(),
            element: element.clone(),
        };
        Transaction {
            table: shape::table(),
            script,
            elements: sorted.into_iter().map(add).collect(),
        }
    }

    /// Where UDP packets may go, if that changed since the last call; nowhere for
    /// addresses that no Service has any more.
    pub fn take_udp(&mut self) -> Option<UdpFronts> {
        let mut all = self.udp_gone.take()?;
        for fronts in self.udp.values() {
            all.addresses.extend(fronts.addresses.clone());
            all.node_ports.extend(fronts.node_ports.clone());
        }
        Some(all)
    }
}

/// What becomes of packets that nobody can serve: a policy of `Local` with
/// endpoints elsewhere loses them, as if this node weren't there.
fn nobody(port: &PortView, local_only: bool) -> Verdict {
    if local_only && !port.endpoints.is_empty() {
        Verdict::Drop
    } else {
        Verdict::Goto("refuse".to_owned())
    }
}

/// What a Service amounts to.
#[derive(Default)]
struct Made {
    elements: BTreeMap<Slot, Element>,
    /// Pools that the Service had before and that weren't asked for yet.
    known: HashMap<PoolName, Pool>,
    pools: HashMap<PoolName, Pool>,
    udp: UdpFronts,
}

impl Made {
    fn member(&mut self, set: &'static str, key: Vec<Datum>) {
        self.elements.insert((set, key), Element::Member);
    }

    fn data(&mut self, set: &'static str, key: Vec<Datum>, datum: Datum) {
        self.elements.insert((set, key), Element::Data(vec![datum]));
    }

    fn verdict(&mut self, set: &'static str, key: Vec<Datum>, verdict: Verdict) {
        self.elements.insert((set, key), Element::Verdict(verdict));
    }
}

impl UdpFronts {
    fn is_empty(&self) -> bool {
        self.addresses.is_empty() && self.node_ports.is_empty()
    }
}

#[cfg(test)]
pub(crate) mod tests;

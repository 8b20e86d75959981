//! Routes.

use std::net::IpAddr;

use ipnet::IpNet;
use nix::libc;

use super::{Net, default_route, family, ip_of, octets};
use crate::error::Result;
use crate::nl::{Message, NLM_F_CREATE, NLM_F_REPLACE, attrs, u32_of};

const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_PREFSRC: u16 = 7;
const RTA_TABLE: u16 = 15;

/// How far a route's destination is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Behind a gateway.
    Universe,
    /// On the link itself.
    Link,
    /// This host.
    Host,
}

/// A route of the main table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Route {
    /// Where to.
    pub destination: IpNet,
    /// By way of this neighbour.
    pub via: Option<IpAddr>,
    /// Out of this link; the kernel finds it from `via` if `None`.
    pub link: Option<u32>,
    /// Who made it: `rtm_protocol`. 2 is the kernel, 3 boot, 4 static; ours are
    /// told apart by a number of our own.
    pub protocol: u8,
    /// How far.
    pub scope: Scope,
    /// Preferred source address.
    pub source: Option<IpAddr>,
    /// Metric; lower wins.
    pub priority: u32,
}

impl Route {
    /// A static route by way of a gateway.
    pub fn through(destination: IpNet, via: IpAddr) -> Self {
        Self {
            destination,
            via: Some(via),
            link: None,
            protocol: libc::RTPROT_STATIC,
            scope: Scope::Universe,
            source: None,
            priority: 0,
        }
    }

    /// A static route to neighbours on a link.
    pub fn on_link(destination: IpNet, link: u32) -> Self {
        Self {
            via: None,
            link: Some(link),
            scope: Scope::Link,
            ..Self::through(destination, destination.addr())
        }
    }

    fn message(&self, kind: u16, flags: u16) -> Message {
        let scope = match self.scope {
            Scope::Universe => libc::RT_SCOPE_UNIVERSE,
            Scope::Link => libc::RT_SCOPE_LINK,
            Scope::Host => libc::RT_SCOPE_HOST,
        };
        let header = [
            family(self.destination.addr()),
            self.destination.prefix_len(),
            0,
            0,
            libc::RT_TABLE_MAIN,
            self.protocol,
            scope,
            libc::RTN_UNICAST,
            0,
            0,
            0,
            0,
        ];
        let mut m = Message::new(kind, flags, &header);
        if self.destination.prefix_len() > 0 {
            m.attr(RTA_DST, &octets(self.destination.network()));
        }
        if let Some(via) = self.via {
            m.attr(RTA_GATEWAY, &octets(via));
        }
        if let Some(link) = self.link {
            m.attr_u32(RTA_OIF, link);
        }
        if let Some(source) = self.source {
            m.attr(RTA_PREFSRC, &octets(source));
        }
        if self.priority > 0 {
            m.attr_u32(RTA_PRIORITY, self.priority);
        }
        m
    }
}

/// A unicast route of the main table; others aren't ours to see.
fn parse(bytes: &[u8]) -> Option<Route> {
    let header = bytes.get(..12)?;
    if header[7] != libc::RTN_UNICAST {
        return None;
    }
    let like = if i32::from(header[0]) == libc::AF_INET {
        IpAddr::from([0, 0, 0, 0])
    } else if i32::from(header[0]) == libc::AF_INET6 {
        IpAddr::from([0_u16; 8])
    } else {
        return None;
    };
    let (mut table, mut destination) = (u32::from(header[4]), None);
    let mut route = Route {
        destination: default_route(like),
        via: None,
        link: None,
        protocol: header[5],
        scope: match header[6] {
            libc::RT_SCOPE_LINK => Scope::Link,
            libc::RT_SCOPE_HOST => Scope::Host,
            _ => Scope::Universe,
        },
        source: None,
        priority: 0,
    };
    for (kind, value) in attrs(bytes.get(12..)?) {
        match kind {
            RTA_DST => destination = ip_of(value),
            RTA_GATEWAY => route.via = ip_of(value),
            RTA_OIF => route.link = u32_of(value),
            RTA_PREFSRC => route.source = ip_of(value),
            RTA_PRIORITY => route.priority = u32_of(value)?,
            RTA_TABLE => table = u32_of(value)?,
            _ => {}
        }
    }
    if table != u32::from(libc::RT_TABLE_MAIN) {
        return None;
    }
    if let Some(destination) = destination {
        route.destination = IpNet::new(destination, header[1]).ok()?;
    }
    Some(route)
}

impl Net {
    /// The unicast routes of the main table, both families.
    pub fn routes(&self) -> Result<Vec<Route>> {
        let mut routes = Vec::new();
        self.socket.lock().dump(
            libc::RTM_GETROUTE,
            &[0; 12],
            || "list the routes".to_owned(),
            |_, bytes| routes.extend(parse(bytes)),
        )?;
        Ok(routes)
    }

    /// Adds a route, in the place of one to the same destination with the same
    /// metric if there is one.
    pub fn replace_route(&self, route: &Route) -> Result<()> {
        let m = route.message(libc::RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE);
        self.socket
            .lock()
            .request(m, || format!("set the route to {}", route.destination))
    }

    /// Removes a route; one that isn't there is fine.
    pub fn delete_route(&self, route: &Route) -> Result<()> {
        let m = route.message(libc::RTM_DELROUTE, 0);
        match self
            .socket
            .lock()
            .request(m, || format!("remove the route to {}", route.destination))
        {
            Err(e) if e.is_not_found() => Ok(()),
            other => other,
        }
    }
}

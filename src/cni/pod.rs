//! A pod's attachment: made, checked, taken away.

use std::net::IpAddr;
use std::path::Path;

use ipnet::IpNet;
use rkind_sys::net::{Link, Mac, Net, Peer, Route, default_route};
use rkind_sys::netns::Namespace;

use crate::hostports;
use crate::leases::{self, Lease, Leases};
use crate::plugin::{Code, Config, Failure, Interface, Ip, Outcome, Request, RouteEntry};

/// Unless the configuration says otherwise, bytes.
const DEFAULT_MTU: u32 = 1500;

/// The node's end of a pod's veth pair. Computed from its owner, so DEL finds it
/// when nothing else is left.
fn host_interface(container: &str, interface: &str) -> String {
    // FNV-1a: stable for ever and short; an unlucky twin is refused by the kernel.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in container.bytes().chain([b'/']).chain(interface.bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    format!("pod{:012x}", hash & 0xffff_ffff_ffff)
}

/// A locally administered hardware address with the IPv4 address inside, so that
/// a restarted pod with the same address is the same neighbour.
fn mac_of(address: IpAddr) -> Mac {
    let tail = match address {
        IpAddr::V4(ip) => ip.octets(),
        IpAddr::V6(ip) => {
            let octets = ip.octets();
            [octets[12], octets[13], octets[14], octets[15]]
        }
    };
    Mac([0x0a, 0x58, tail[0], tail[1], tail[2], tail[3]])
}

fn namespace_of(request: &Request) -> Result<Namespace, Failure> {
    let path = request.namespace.as_deref().unwrap_or(Path::new(""));
    Namespace::open(path).map_err(|e| {
        Failure::new(
            Code::UnknownContainer,
            format!("no network namespace at {}", path.display()),
            e.to_string(),
        )
    })
}

/// Gives the container an interface with an address, and the way out.
pub(crate) fn add(request: &Request, config: &Config) -> Result<Outcome, Failure> {
    let range = config.pod_range()?;
    let ports = config.port_mappings();
    hostports::check(&ports)?;
    let namespace = namespace_of(request)?;
    let wanted = Lease {
        address: range.addr(),
        container: request.container.clone(),
        interface: request.interface.clone(),
        namespace: namespace.path().to_owned(),
        port_mappings: ports,
    };
    let net = Net::here()?;
    // The lock is held to the end only where host ports are changed: making
    // links needs none.
    let lease = Leases::lock(&config.data_dir)?.acquire(range, &wanted, |old| {
        let _ = release_ports(old);
    })?;
    let made =
        connect(&net, &namespace, &lease, range, config.mtu.unwrap_or(DEFAULT_MTU)).and_then(|outcome| {
            if !lease.port_mappings.is_empty() {
                let _lock = Leases::lock(&config.data_dir)?;
                hostports::open(lease.address, &lease.port_mappings)?;
            }
            Ok(outcome)
        });
    if made.is_err() {
        let _ = net.delete_link(&host_interface(&lease.container, &lease.interface));
        if let Ok(leases) = Leases::lock(&config.data_dir) {
            let _ = leases.release(&lease);
        }
    }
    made
}

fn connect(
    net: &Net,
    namespace: &Namespace,
    lease: &Lease,
    range: IpNet,
    mtu: u32,
) -> Result<Outcome, Failure> {
    let gateway = leases::gateway(range);
    let (own, way) = (IpNet::from(lease.address), IpNet::from(gateway));
    let host_name = host_interface(&lease.container, &lease.interface);
    let mac = mac_of(lease.address);
    let peer = Peer {
        name: &lease.interface,
        namespace,
        mac: Some(mac),
    };
    let host = match net.add_veth(&host_name, &peer, mtu) {
        // Left over from an attempt that was cut short.
        Err(e) if e.is_exists() && net.link(&host_name)?.is_some() => {
            net.delete_link(&host_name)?;
            net.add_veth(&host_name, &peer, mtu)?
        }
        other => other?,
    };
    let inner = Net::inside(namespace)?;
    let link = inner.expect_link(&lease.interface)?;
    inner.add_address(link.index, own)?;
    inner.set_up(link.index)?;
    net.add_address(host.index, way)?;
    net.set_up(host.index)?;
    inner.replace_route(&Route::on_link(way, link.index))?;
    inner.replace_route(&Route {
        link: Some(link.index),
        ..Route::through(default_route(gateway), gateway)
    })?;
    net.replace_route(&Route {
        source: Some(gateway),
        ..Route::on_link(own, host.index)
    })?;
    Ok(Outcome {
        interfaces: vec![
            interface(&host, mtu, None),
            interface(
                &Link {
                    mac: Some(mac),
                    ..link
                },
                mtu,
                Some(namespace),
            ),
        ],
        ips: vec![Ip {
            address: own,
            gateway: Some(gateway),
            interface: 1,
        }],
        routes: vec![RouteEntry {
            destination: default_route(gateway),
            gateway: Some(gateway),
        }],
    })
}

fn interface(link: &Link, mtu: u32, sandbox: Option<&Namespace>) -> Interface {
    Interface {
        name: link.name.clone(),
        mac: link.mac.map(|m| m.to_string()).unwrap_or_default(),
        mtu: Some(mtu),
        sandbox: sandbox.map(|ns| ns.path().display().to_string()),
    }
}

fn release_ports(lease: &Lease) -> Result<(), Failure> {
    if lease.port_mappings.is_empty() {
        Ok(())
    } else {
        hostports::close(lease.address, &lease.port_mappings)
    }
}

/// Takes everything away; what is gone already is fine, whatever else is left.
pub(crate) fn delete(request: &Request, config: &Config) -> Result<(), Failure> {
    detach(config, &request.container, &request.interface)
}

fn detach(config: &Config, container: &str, interface: &str) -> Result<(), Failure> {
    // The interface first: an address is free only when nobody answers on it.
    Net::here()?.delete_link(&host_interface(container, interface))?;
    let leases = Leases::lock(&config.data_dir)?;
    for lease in leases.of(container, interface)? {
        release_ports(&lease)?;
        leases.release(&lease)?;
    }
    Ok(())
}

/// Whether what ADD made is still there.
pub(crate) fn check(request: &Request, config: &Config) -> Result<(), Failure> {
    let mismatch = |what: String| Failure::new(Code::Mismatch, what, "");
    let (container, interface) = (&request.container, &request.interface);
    let lease = Leases::lock(&config.data_dir)?
        .of(container, interface)?
        .pop()
        .ok_or_else(|| mismatch(format!("container {container} has no address on {interface}")))?;
    let inner = Net::inside(&namespace_of(request)?)?;
    let link = inner
        .link(interface)?
        .filter(|l| l.up)
        .ok_or_else(|| mismatch(format!("interface {interface} is missing or down")))?;
    if !inner
        .addresses()?
        .iter()
        .any(|a| a.link == link.index && a.ip.addr() == lease.address)
    {
        return Err(mismatch(format!(
            "interface {interface} lost its address {}",
            lease.address
        )));
    }
    if !inner
        .routes()?
        .iter()
        .any(|r| r.destination.prefix_len() == 0 && r.link == Some(link.index))
    {
        return Err(mismatch(format!("interface {interface} lost its default route")));
    }
    let host = host_interface(container, interface);
    let net = Net::here()?;
    let index = net.link(&host)?.filter(|l| l.up).map(|l| l.index);
    if !net
        .routes()?
        .iter()
        .any(|r| r.destination == IpNet::from(lease.address) && r.link == index)
    {
        return Err(mismatch(format!(
            "the node lost its route to {} on {host}",
            lease.address
        )));
    }
    Ok(())
}

/// Takes away every attachment that isn't among the valid ones.
pub(crate) fn collect_garbage(config: &Config) -> Result<(), Failure> {
    let valid = config.valid_attachments.as_ref().ok_or_else(|| {
        Failure::new(
            Code::InvalidConfig,
            "cni.dev/valid-attachments: required by GC",
            "",
        )
    })?;
    let all = Leases::lock(&config.data_dir)?.all()?;
    for lease in all {
        if !valid
            .iter()
            .any(|v| v.container == lease.container && v.interface == lease.interface)
        {
            detach(config, &lease.container, &lease.interface)?;
        }
    }
    Ok(())
}

/// Whether ADD could work: the range is known and leases can be kept.
pub(crate) fn status(config: &Config) -> Result<(), Failure> {
    let not_ready = |f: Failure| Failure {
        code: Code::NotAvailable,
        ..f
    };
    config.pod_range().map_err(not_ready)?;
    Leases::lock(&config.data_dir).map(drop).map_err(not_ready)
}

/// The plugin `loopback`: brings `lo` up, which gives it its addresses.
pub(crate) fn loopback_up(request: &Request) -> Result<Outcome, Failure> {
    let namespace = namespace_of(request)?;
    let inner = Net::inside(&namespace)?;
    let lo = inner.expect_link("lo")?;
    inner.set_up(lo.index)?;
    let ips = inner
        .addresses()?
        .into_iter()
        .filter(|a| a.link == lo.index)
        .map(|a| Ip {
            address: a.ip,
            gateway: None,
            interface: 0,
        })
        .collect();
    Ok(Outcome {
        interfaces: vec![interface(&lo, lo.mtu, Some(&namespace))],
        ips,
        routes: Vec::new(),
    })
}

/// Whether `lo` is up.
pub(crate) fn loopback_check(request: &Request) -> Result<(), Failure> {
    let lo = Net::inside(&namespace_of(request)?)?.expect_link("lo")?;
    if lo.up {
        Ok(())
    } else {
        Err(Failure::new(Code::Mismatch, "interface lo is down", ""))
    }
}

#[cfg(test)]
mod tests;

//! IP addresses and CIDRs. IPv4-mapped IPv6 addresses and leading zeros are refused.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{Out, no_overload};
use crate::value::Value;

fn parse_ip(text: &str) -> Result<IpAddr, String> {
    if text.contains('%') {
        return Err(format!("IP Address {text:?} with zone value is not allowed"));
    }
    let ip: IpAddr = text
        .parse()
        .map_err(|_| format!("IP Address {text:?} parse error during conversion from string: ParseAddr({text:?}): unable to parse IP"))?;
    match ip {
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => {
            Err(format!("IPv4-mapped IPv6 address {text:?} is not allowed"))
        }
        ip => Ok(ip),
    }
}

fn parse_cidr(text: &str) -> Result<IpNet, String> {
    let net: IpNet = text
        .parse()
        .map_err(|_| format!("network address parse error during conversion from string: netip.ParsePrefix({text:?}): unable to parse"))?;
    match net.addr() {
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => {
            Err(format!("IPv4-mapped IPv6 address {text:?} is not allowed"))
        }
        _ => Ok(net),
    }
}

fn contains(net: &IpNet, ip: IpAddr) -> bool {
    net.contains(&ip)
}

fn contains_net(net: &IpNet, other: &IpNet) -> bool {
    net.prefix_len() <= other.prefix_len() && net.contains(&other.network())
}

pub(crate) fn call<'a>(name: &str, args: &[Value<'a>]) -> Out<'a> {
    let bool = |b: bool| Ok(Value::Bool(b));
    match (name, args) {
        ("ip", [Value::String(s)]) => parse_ip(s).map(Value::Ip),
        ("isIP", [Value::String(s)]) => bool(parse_ip(s).is_ok()),
        ("ip.isCanonical", [Value::String(s)]) => bool(parse_ip(s)?.to_string() == **s),
        ("cidr", [Value::String(s)]) => parse_cidr(s).map(Value::Cidr),
        ("isCIDR", [Value::String(s)]) => bool(parse_cidr(s).is_ok()),
        ("ip", [Value::Cidr(net)]) => Ok(Value::Ip(net.addr())),
        ("prefixLength", [Value::Cidr(net)]) => Ok(Value::Int(i64::from(net.prefix_len()))),
        ("masked", [Value::Cidr(net)]) => Ok(Value::Cidr(net.trunc())),
        ("containsIP", [Value::Cidr(net), Value::Ip(ip)]) => bool(contains(net, *ip)),
        ("containsIP", [Value::Cidr(net), Value::String(s)]) => bool(contains(net, parse_ip(s)?)),
        ("containsCIDR", [Value::Cidr(net), Value::Cidr(other)]) => bool(contains_net(net, other)),
        ("containsCIDR", [Value::Cidr(net), Value::String(s)]) => bool(contains_net(net, &parse_cidr(s)?)),
        (_, [Value::Ip(ip)]) => accessor(name, *ip),
        _ => no_overload(),
    }
}

fn accessor<'a>(name: &str, ip: IpAddr) -> Out<'a> {
    let link_local = match ip {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => (v6.segments()[0] & 0xffc0) == 0xfe80,
    };
    let link_local_multicast = match ip {
        IpAddr::V4(v4) => v4.octets()[..3] == [224, 0, 0],
        IpAddr::V6(v6) => (v6.segments()[0] & 0xff0f) == 0xff02,
    };
    let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    Ok(Value::Bool(match name {
        "family" => return Ok(Value::Int(if ip.is_ipv4() { 4 } else { 6 })),
        "isUnspecified" => ip.is_unspecified(),
        "isLoopback" => ip.is_loopback(),
        "isLinkLocalMulticast" => link_local_multicast,
        "isLinkLocalUnicast" => link_local,
        "isGlobalUnicast" => {
            !(ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() || link_local || broadcast)
        }
        _ => return no_overload(),
    }))
}

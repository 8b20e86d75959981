//! Which subnet a new network can have: pure, but for reading the host's routes.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

/// Subnets in the order in which they are tried: /24, from a range that engines
/// and home networks rarely use, then from the rest of the private ones.
pub(crate) fn candidates() -> impl Iterator<Item = Ipv4Net> {
    let net = |a, b, c| Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, 0), 24);
    let first = (0..=255).map(move |c| net(172, 30, c));
    let second = (0..=255).map(move |c| net(172, 29, c));
    let third = (0..=255).map(move |c| net(10, 213, c));
    first.chain(second).chain(third)
}

pub(crate) fn overlap(a: &Ipv4Net, b: &Ipv4Net) -> bool {
    a.contains(b) || b.contains(a)
}

/// Destinations of the host's routes, without the default route.
pub(crate) fn host_routes() -> Vec<Ipv4Net> {
    std::fs::read_to_string("/proc/net/route")
        .map(|text| parse_routes(&text))
        .unwrap_or_default()
}

/// `/proc/net/route`: addresses are hexadecimal in the machine's byte order.
pub(crate) fn parse_routes(text: &str) -> Vec<Ipv4Net> {
    text.lines()
        .skip(1)
        .filter_map(|line| {
            let columns: Vec<&str> = line.split_whitespace().collect();
            let address = u32::from_str_radix(columns.get(1)?, 16).ok()?;
            let mask = u32::from_str_radix(columns.get(7)?, 16).ok()?;
            let net = Ipv4Net::with_netmask(
                Ipv4Addr::from(address.to_ne_bytes()),
                Ipv4Addr::from(mask.to_ne_bytes()),
            )
            .ok()?;
            (net.prefix_len() > 0).then(|| net.trunc())
        })
        .collect()
}

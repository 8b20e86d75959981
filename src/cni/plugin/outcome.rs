//! Successful answers.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::Serialize;
use serde_json::{Value, json};

/// An interface that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its hardware address.
    pub mac: String,
    /// Largest packet, bytes (since 1.1.0).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// Path of the namespace it is in; none: the node's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<String>,
}

/// An address that was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ip {
    /// With its prefix length.
    pub address: IpNet,
    /// The way out.
    pub gateway: Option<IpAddr>,
    /// Index of the interface that has it.
    pub interface: usize,
}

/// A route that was made in the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteEntry {
    /// Where to.
    pub destination: IpNet,
    /// By way of.
    pub gateway: Option<IpAddr>,
}

/// The result of ADD.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Made interfaces.
    pub interfaces: Vec<Interface>,
    /// Given addresses.
    pub ips: Vec<Ip>,
    /// Made routes.
    pub routes: Vec<RouteEntry>,
}

impl Outcome {
    /// In the shape that `version` asks for.
    pub fn to_json(&self, version: &str) -> String {
        let old = version.starts_with("0.");
        let newest = version == "1.1.0";
        let interfaces: Vec<Value> = self
            .interfaces
            .iter()
            .map(|i| {
                json!(Interface {
                    mtu: i.mtu.filter(|_| newest),
                    ..i.clone()
                })
            })
            .collect();
        let ips: Vec<Value> = self
            .ips
            .iter()
            .map(|ip| {
                let mut value = json!({"address": ip.address.to_string(), "interface": ip.interface});
                if let Some(gateway) = ip.gateway {
                    value["gateway"] = gateway.to_string().into();
                }
                if old {
                    value["version"] = if ip.address.addr().is_ipv4() { "4" } else { "6" }.into();
                }
                value
            })
            .collect();
        let routes: Vec<Value> = self
            .routes
            .iter()
            .map(|route| {
                let mut value = json!({"dst": route.destination.to_string()});
                if let Some(gateway) = route.gateway {
                    value["gw"] = gateway.to_string().into();
                }
                value
            })
            .collect();
        json!({"cniVersion": version, "interfaces": interfaces, "ips": ips, "routes": routes, "dns": {}})
            .to_string()
    }
}

/// The answer to VERSION.
pub(super) fn versions(asked: &str) -> String {
    json!({"cniVersion": asked, "supportedVersions": super::SUPPORTED}).to_string()
}

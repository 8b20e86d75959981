//! A Service -> an address that answers for it. Upstream: `k8s.io/kube-aggregator/pkg/apiserver/resolvers.go`
//! and `apiserver/pkg/util/proxy`, `ResolveEndpoint`.

use rand::seq::IndexedRandom as _;
use serde_json::Value;

use crate::cacher::Cache;

/// Host and port of a ready endpoint of a Service's port. A Service by external name is that name.
///
/// # Errors
/// In upstream's words: no such Service, no such port, or no endpoint.
pub(crate) fn endpoint(
    cache: &Cache,
    namespace: &str,
    name: &str,
    port: u16,
) -> Result<(String, u16), String> {
    let service = cache
        .cacher("core/services")
        .and_then(|c| c.get(&format!("{namespace}/{name}")))
        .ok_or_else(|| format!("service \"{name}\" not found"))?
        .to_value();
    let spec = &service["spec"];
    if spec["type"] == "ExternalName" {
        let host = spec["externalName"].as_str().unwrap_or_default();
        return Ok((host.to_owned(), port));
    }
    let ports = spec["ports"].as_array().cloned().unwrap_or_default();
    if !ports.iter().any(|p| p["port"].as_u64() == Some(u64::from(port))) {
        return Err(format!("no service port {port} found for service \"{name}\""));
    }
    let targets = all(cache, namespace, name, port);
    targets
        .choose(&mut rand::rng())
        .cloned()
        .ok_or_else(|| format!("no endpoints available for service \"{name}\""))
}

fn number(ports: &Value, name: &str) -> Option<u16> {
    let mut named = ports
        .as_array()
        .into_iter()
        .flatten()
        .filter(|p| p["name"].as_str().unwrap_or_default() == name);
    u16::try_from(named.next()?["port"].as_u64()?).ok()
}

/// A ready address of a Service.
pub(crate) struct Endpoint {
    pub host: String,
    pub port: u16,
    /// Kind, namespace and name of what it is the address of; empty for nothing.
    pub target: (String, String, String),
}

impl Endpoint {
    fn new(host: &Value, port: u16, target: &Value) -> Option<Endpoint> {
        let text = |field: &str| target[field].as_str().unwrap_or_default().to_owned();
        Some(Endpoint {
            host: host.as_str()?.to_owned(),
            port,
            target: (text("kind"), text("namespace"), text("name")),
        })
    }
}

/// Ready addresses of a Service's port, by the port's name.
pub(crate) fn endpoints(cache: &Cache, namespace: &str, name: &str, port: &str) -> Vec<Endpoint> {
    let targets = sliced(cache, namespace, name, port);
    if targets.is_empty() {
        listed(cache, namespace, name, port)
    } else {
        targets
    }
}

/// Ready addresses in the Service's EndpointSlices.
pub(crate) fn sliced(cache: &Cache, namespace: &str, name: &str, port: &str) -> Vec<Endpoint> {
    let mut targets = Vec::new();
    let Some(slices) = cache.cacher("discovery.k8s.io/endpointslices") else {
        return targets;
    };
    for slice in slices.snapshot(0).range(&format!("{namespace}/"), None) {
        if slice.labels().get("kubernetes.io/service-name") != Some(name) {
            continue;
        }
        let slice = slice.to_value();
        let Some(port) = number(&slice["ports"], port) else {
            continue;
        };
        for endpoint in slice["endpoints"].as_array().into_iter().flatten() {
            if endpoint["conditions"]["ready"] == false {
                continue;
            }
            let addresses = endpoint["addresses"].as_array().into_iter().flatten();
            let target = &endpoint["targetRef"];
            targets.extend(addresses.filter_map(|address| Endpoint::new(address, port, target)));
        }
    }
    targets
}

/// Ready addresses in the Service's Endpoints, which nothing may have mirrored to slices.
fn listed(cache: &Cache, namespace: &str, name: &str, port: &str) -> Vec<Endpoint> {
    let Some(object) = cache
        .cacher("core/endpoints")
        .and_then(|c| c.get(&format!("{namespace}/{name}")))
    else {
        return Vec::new();
    };
    let mut targets = Vec::new();
    for subset in object.to_value()["subsets"].as_array().into_iter().flatten() {
        let Some(port) = number(&subset["ports"], port) else {
            continue;
        };
        let addresses = subset["addresses"].as_array().into_iter().flatten();
        targets.extend(addresses.filter_map(|a| Endpoint::new(&a["ip"], port, &a["targetRef"])));
    }
    targets
}

/// Every ready endpoint of a Service's port; the external name for a Service that is one. Empty when
/// there is no such Service, port or endpoint.
pub(crate) fn all(cache: &Cache, namespace: &str, name: &str, port: u16) -> Vec<(String, u16)> {
    let Some(service) = cache
        .cacher("core/services")
        .and_then(|c| c.get(&format!("{namespace}/{name}")))
    else {
        return Vec::new();
    };
    let spec = service.to_value()["spec"].take();
    if spec["type"] == "ExternalName" {
        let host = spec["externalName"].as_str().unwrap_or_default();
        return vec![(host.to_owned(), port)];
    }
    let ports = spec["ports"].as_array().cloned().unwrap_or_default();
    let Some(chosen) = ports.iter().find(|p| p["port"].as_u64() == Some(u64::from(port))) else {
        return Vec::new();
    };
    let port_name = chosen["name"].as_str().unwrap_or_default();
    let targets = endpoints(cache, namespace, name, port_name).into_iter();
    targets.map(|target| (target.host, target.port)).collect()
}

/// Whether anything says where a Service leads to.
pub(crate) fn has_slices(cache: &Cache, namespace: &str, name: &str) -> bool {
    let Some(slices) = cache.cacher("discovery.k8s.io/endpointslices") else {
        return false;
    };
    let snapshot = slices.snapshot(0);
    let prefix = format!("{namespace}/");
    let mut own = snapshot
        .range(&prefix, None)
        .filter(|s| s.labels().get("kubernetes.io/service-name") == Some(name));
    own.next().is_some()
        || cache
            .cacher("core/endpoints")
            .is_some_and(|c| c.get(&format!("{namespace}/{name}")).is_some())
}

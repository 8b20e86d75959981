//! A Service's name and port -> an address to dial. Upstream: `k8s.io/apiserver/pkg/util/proxy`.
//!
//! Endpoints are dialled directly, so a webhook is reached wherever pods are, with or without
//! service rules on this machine.

use rand::seq::IndexedRandom as _;
use rkind_apimachinery::{field::quote, meta::GroupResource, status::Status};
use serde_json::Value;

use crate::{cacher::Cache, error::Result};

/// A ready endpoint (host, port) of a Service's port.
///
/// # Errors
/// 404 without the Service, 503 without a port or ready endpoint.
pub(crate) fn endpoint(cache: &Cache, namespace: &str, name: &str, port: u16) -> Result<(String, u16)> {
    let service = cache
        .cacher("core/services")
        .and_then(|services| services.get(&format!("{namespace}/{name}")))
        .ok_or_else(|| Status::not_found(&GroupResource::new("", "services"), name))?
        .to_value();
    let spec = &service["spec"];
    if spec["type"] == "ExternalName" {
        let host = spec["externalName"].as_str().unwrap_or_default().to_owned();
        return Ok((host, port));
    }
    let ports = spec["ports"].as_array();
    let chosen = ports
        .into_iter()
        .flatten()
        .find(|p| p["port"].as_u64() == Some(port.into()))
        .ok_or_else(|| {
            Status::service_unavailable(format!(
                "no service port {port} found for service {}",
                quote(name)
            ))
        })?;
    let port_name = chosen["name"].as_str().unwrap_or_default();
    let mut targets: Vec<(String, u16)> = Vec::new();
    if let Some(slices) = cache.cacher("discovery.k8s.io/endpointslices") {
        let snapshot = slices.snapshot(0);
        for slice in snapshot.range(&format!("{namespace}/"), None) {
            if slice.labels().get("kubernetes.io/service-name") == Some(name) {
                ready(&slice.to_value(), port_name, &mut targets);
            }
        }
    }
    targets.choose(&mut rand::rng()).cloned().ok_or_else(|| {
        Status::service_unavailable(format!("no endpoints available for service {}", quote(name))).into()
    })
}

/// Adds the ready addresses of a slice's port.
fn ready(slice: &Value, port_name: &str, into: &mut Vec<(String, u16)>) {
    let ports = slice["ports"].as_array().into_iter().flatten();
    let Some(port) = ports
        .filter(|p| p["name"].as_str().unwrap_or_default() == port_name)
        .find_map(|p| u16::try_from(p["port"].as_u64()?).ok())
    else {
        return;
    };
    for endpoint in slice["endpoints"].as_array().into_iter().flatten() {
        if endpoint["conditions"]["ready"] == false {
            continue;
        }
        let addresses = endpoint["addresses"].as_array().into_iter().flatten();
        into.extend(addresses.filter_map(Value::as_str).map(|a| (a.to_owned(), port)));
    }
}

//! A Service's name and port -> an address to dial. Upstream: `k8s.io/apiserver/pkg/util/proxy`.
//!
//! Endpoints are dialled directly, so a webhook is reached wherever pods are, with or without
//! service rules on this machine.

use rand::seq::IndexedRandom as _;
use rkind_apimachinery::{field::quote, meta::GroupResource, status::Status};

use crate::{cacher::Cache, error::Result, outbound::service};

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
    let targets: Vec<(String, u16)> = service::sliced(cache, namespace, name, port_name)
        .into_iter()
        .map(|target| (target.host, target.port))
        .collect();
    targets.choose(&mut rand::rng()).cloned().ok_or_else(|| {
        Status::service_unavailable(format!("no endpoints available for service {}", quote(name))).into()
    })
}

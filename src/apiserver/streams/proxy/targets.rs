//! Where a proxied request goes: `[scheme:]name[:port]` of a pod or a Service -> an address.
//! Upstream: `registry/core/{pod,service}`, `ResourceLocation`.

use std::net::IpAddr;

use rand::seq::SliceRandom as _;
use rkind_apimachinery::status::Status;
use serde_json::Value;

use super::{Target, allowed};
use crate::{
    core::group_resource,
    error::Result,
    outbound::service,
    registry::{Context, read},
};

/// `[scheme:]name[:port]`, empty for what is left out.
///
/// # Errors
/// 400 for another form, and for a scheme that is neither `http` nor `https`.
pub(super) fn split<'a>(text: &'a str, kind: &str) -> Result<(&'a str, &'a str, &'a str)> {
    let parts: Vec<&str> = text.split(':').collect();
    let (scheme, name, port) = match parts[..] {
        [name] => ("", name, ""),
        [name, port] => ("", name, port),
        [scheme, name, port] => (scheme, name, port),
        _ => ("", "", ""),
    };
    if name.is_empty() || !matches!(scheme, "" | "http" | "https") {
        return Err(Status::bad_request(format!("invalid {kind} request {text:?}")).into());
    }
    Ok((scheme, name, port))
}

fn list<'a>(of: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    of[field].as_array().into_iter().flatten()
}

/// A pod's own address; without a port the first that it declares, else the scheme's.
pub(super) async fn pod(ctx: &Context, (scheme, name, port): (&str, &str, &str)) -> Result<Target> {
    let pod = read::current(&ctx.core, &ctx.def, &ctx.info.namespace, name)
        .await?
        .to_value();
    let host: IpAddr = list(&pod["status"], "podIPs")
        .filter_map(|ip| ip["ip"].as_str())
        .chain(pod["status"]["podIP"].as_str())
        .next()
        .and_then(|ip| ip.parse().ok())
        .ok_or_else(|| Status::bad_request("address not allowed"))?;
    allowed(host)?;
    let https = scheme == "https";
    let mut ports = list(&pod["spec"], "containers").flat_map(|container| list(container, "ports"));
    let number = match port.parse::<u64>() {
        Ok(number) => Some(number),
        Err(_) if port.is_empty() => {
            let first = ports.find_map(|p| p["containerPort"].as_u64());
            first.or(Some(if https { 443 } else { 80 }))
        }
        Err(_) => ports
            .find(|p| p["name"] == port)
            .and_then(|p| p["containerPort"].as_u64()),
    };
    let number = number.and_then(|number| u16::try_from(number).ok());
    Ok(Target {
        https,
        host: host.to_string(),
        port: number.ok_or_else(|| Status::bad_request(format!("pod {name} has no port {port:?}")))?,
    })
}

/// One of a Service's ready endpoints, chosen at random: only those that are pods of its namespace, as
/// anybody may write an endpoint of any address.
pub(super) async fn service(ctx: &Context, (scheme, name, port): (&str, &str, &str)) -> Result<Target> {
    let namespace = ctx.info.namespace.as_str();
    let service = read::current(&ctx.core, &ctx.def, namespace, name)
        .await?
        .to_value();
    let named = match port.parse::<i64>() {
        Ok(number) => {
            let found = list(&service["spec"], "ports").find(|p| p["port"].as_i64() == Some(number));
            let found = found.ok_or_else(|| {
                Status::service_unavailable(format!("no service port {number} found for service {name:?}"))
            })?;
            found["name"].as_str().unwrap_or_default()
        }
        Err(_) => port,
    };
    ctx.core.cache.catch_up().await?;
    let cache = &ctx.core.cache;
    if !service::has_slices(cache, namespace, name) {
        return Err(Status::not_found(&group_resource(&ctx.def), name).into());
    }
    let mut endpoints = service::endpoints(cache, namespace, name, named);
    endpoints.shuffle(&mut rand::rng());
    let is_pods = |endpoint: &service::Endpoint| {
        let (kind, of, name) = &endpoint.target;
        let pod = (kind == "Pod" && of == namespace)
            .then(|| cache.cacher("core/pods")?.get(&format!("{namespace}/{name}")))
            .flatten();
        pod.is_some_and(|pod| {
            let pod = pod.to_value();
            list(&pod["status"], "podIPs").any(|ip| ip["ip"] == endpoint.host.as_str())
        })
    };
    let chosen = endpoints.into_iter().find(is_pods).ok_or_else(|| {
        let asked = ctx.info.path_name();
        Status::service_unavailable(format!("no endpoints available for service {asked:?}"))
    })?;
    let address = chosen.host.parse();
    allowed(address.map_err(|_| Status::bad_request("address not allowed"))?)?;
    Ok(Target {
        https: scheme == "https",
        host: chosen.host,
        port: chosen.port,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_named() {
        for (text, parts) in [
            ("p", ("", "p", "")),
            ("p:80", ("", "p", "80")),
            ("https:p:", ("https", "p", "")),
            (":p:http", ("", "p", "http")),
        ] {
            assert_eq!(split(text, "pod").unwrap(), parts, "{text}");
        }
        for text in ["ftp:p:80", "a:b:c:d", "", ":80"] {
            let error = split(text, "pod").unwrap_err();
            assert_eq!(
                (error.code, error.message.as_str()),
                (400, &*format!("invalid pod request {text:?}"))
            );
        }
    }
}

//! A container's environment: expansion, service variables, references. Pure; what is
//! referenced is handed in.
//!
//! <https://kubernetes.io/docs/tasks/inject-data-application/define-environment-variable-container/>

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, Container, EnvVarSource, Pod, Secret, Service};

use crate::pod::PodExt;
use crate::quantity::{milli, nano, value};

/// Where references lead.
pub(crate) trait Sources {
    fn config_map(&self, name: &str) -> Option<std::sync::Arc<ConfigMap>>;
    fn secret(&self, name: &str) -> Option<std::sync::Arc<Secret>>;
}

/// Facts about the pod on this machine that `fieldRef` and `resourceFieldRef` can name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Facts {
    pub(crate) pod_ips: Vec<String>,
    pub(crate) host_ips: Vec<String>,
    pub(crate) node_name: String,
    /// Milli-CPUs and bytes that stand for a missing limit.
    pub(crate) allocatable_cpu: i64,
    pub(crate) allocatable_memory: i64,
}

/// Replaces `$(NAME)` by the variable's value, `$$` by `$`; an unknown name stays as it is.
pub(crate) fn expand(text: &str, lookup: &dyn Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if let Some(tail) = after.strip_prefix('$') {
            out.push('$');
            rest = tail;
        } else if let Some(body) = after.strip_prefix('(') {
            match body.find(')') {
                Some(end) => {
                    let name = &body[..end];
                    match lookup(name) {
                        Some(value) => out.push_str(&value),
                        None => {
                            out.push_str("$(");
                            out.push_str(name);
                            out.push(')');
                        }
                    }
                    rest = &body[end + 1..];
                }
                None => {
                    out.push_str("$(");
                    rest = body;
                }
            }
        } else {
            out.push('$');
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

/// The variables of one container, in order. The error is what the container's
/// `CreateContainerConfigError` says.
pub(crate) fn container_env(
    pod: &Pod,
    container: &Container,
    services: &[std::sync::Arc<Service>],
    sources: &dyn Sources,
    facts: &Facts,
) -> Result<Vec<(String, String)>, String> {
    let namespace = pod.namespace();
    let mut service_env = service_variables(
        services,
        namespace,
        pod.spec().enable_service_links.unwrap_or(true),
    );
    let mut result: Vec<(String, String)> = Vec::new();
    let set = |result: &mut Vec<(String, String)>, name: String, value: String| match result
        .iter_mut()
        .find(|(n, _)| *n == name)
    {
        Some(slot) => slot.1 = value,
        None => result.push((name, value)),
    };
    for from in container.env_from.iter().flatten() {
        let prefix = from.prefix.as_deref().unwrap_or_default();
        let mut pairs: Vec<(String, String)> = Vec::new();
        if let Some(reference) = &from.config_map_ref {
            match sources.config_map(&reference.name) {
                Some(map) => pairs.extend(map.data.iter().flatten().map(|(k, v)| (k.clone(), v.clone()))),
                None if reference.optional == Some(true) => {}
                None => return Err(format!("configmap \"{}\" not found", reference.name)),
            }
        } else if let Some(reference) = &from.secret_ref {
            match sources.secret(&reference.name) {
                Some(secret) => pairs.extend(
                    secret
                        .data
                        .iter()
                        .flatten()
                        .map(|(k, v)| (k.clone(), String::from_utf8_lossy(&v.0).into_owned())),
                ),
                None if reference.optional == Some(true) => {}
                None => return Err(format!("secret \"{}\" not found", reference.name)),
            }
        }
        for (key, value) in pairs {
            set(&mut result, format!("{prefix}{key}"), value);
        }
    }
    for variable in container.env.iter().flatten() {
        let value = if let Some(source) = &variable.value_from {
            match from_source(pod, container, source, sources, facts)? {
                Some(value) => value,
                None => continue,
            }
        } else {
            let raw = variable.value.as_deref().unwrap_or_default();
            expand(raw, &|name| {
                let own = result.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone());
                own.or_else(|| service_env.get(name).cloned())
            })
        };
        set(&mut result, variable.name.clone(), value);
    }
    for (name, _) in &result {
        service_env.remove(name);
    }
    result.extend(service_env);
    Ok(result)
}

fn from_source(
    pod: &Pod,
    container: &Container,
    source: &EnvVarSource,
    sources: &dyn Sources,
    facts: &Facts,
) -> Result<Option<String>, String> {
    if let Some(field) = &source.field_ref {
        return field_value(pod, &field.field_path, facts)
            .map(Some)
            .ok_or_else(|| format!("unsupported fieldPath: {}", field.field_path));
    }
    if let Some(resource) = &source.resource_field_ref {
        let name = resource.container_name.as_deref().filter(|n| !n.is_empty());
        let target = match name {
            Some(name) => pod
                .container(name)
                .map(|(_, c)| c)
                .ok_or_else(|| format!("container {name} not found"))?,
            None => container.clone(),
        };
        let divisor = resource.divisor.as_ref().map(|q| q.0.as_str());
        return resource_value(&target, &resource.resource, divisor, facts).map(Some);
    }
    let namespace = pod.namespace();
    if let Some(key) = &source.config_map_key_ref {
        let optional = key.optional == Some(true);
        return match sources.config_map(&key.name) {
            Some(map) => match map.data.as_ref().and_then(|d| d.get(&key.key)) {
                Some(value) => Ok(Some(value.clone())),
                None if optional => Ok(None),
                None => Err(format!(
                    "couldn't find key {} in ConfigMap {namespace}/{}",
                    key.key, key.name
                )),
            },
            None if optional => Ok(None),
            None => Err(format!("configmap \"{}\" not found", key.name)),
        };
    }
    if let Some(key) = &source.secret_key_ref {
        let optional = key.optional == Some(true);
        return match sources.secret(&key.name) {
            Some(secret) => match secret.data.as_ref().and_then(|d| d.get(&key.key)) {
                Some(value) => Ok(Some(String::from_utf8_lossy(&value.0).into_owned())),
                None if optional => Ok(None),
                None => Err(format!(
                    "couldn't find key {} in Secret {namespace}/{}",
                    key.key, key.name
                )),
            },
            None if optional => Ok(None),
            None => Err(format!("secret \"{}\" not found", key.name)),
        };
    }
    Ok(Some(String::new()))
}

/// What a `fieldRef` names; `None` for a field that can't be referenced.
pub(crate) fn field_value(pod: &Pod, path: &str, facts: &Facts) -> Option<String> {
    if let Some((base, key)) = path.strip_suffix(']').and_then(|p| p.split_once("['")) {
        let key = key.trim_end_matches('\'');
        let map = match base {
            "metadata.labels" => pod.metadata.labels.as_ref(),
            "metadata.annotations" => pod.metadata.annotations.as_ref(),
            _ => return None,
        };
        return Some(map.and_then(|m| m.get(key)).cloned().unwrap_or_default());
    }
    Some(match path {
        "metadata.name" => pod.name().to_string(),
        "metadata.namespace" => pod.namespace().to_string(),
        "metadata.uid" => pod.uid().to_string(),
        "metadata.labels" => format_map(pod.metadata.labels.as_ref()),
        "metadata.annotations" => format_map(pod.metadata.annotations.as_ref()),
        "spec.nodeName" => facts.node_name.clone(),
        "spec.serviceAccountName" => pod.spec().service_account_name.clone().unwrap_or_default(),
        "status.hostIP" => facts.host_ips.first().cloned().unwrap_or_default(),
        "status.hostIPs" => facts.host_ips.join(","),
        "status.podIP" => facts.pod_ips.first().cloned().unwrap_or_default(),
        "status.podIPs" => facts.pod_ips.join(","),
        _ => return None,
    })
}

/// Labels or annotations as the downward API writes them: `key="escaped value"` per line.
pub(crate) fn format_map(map: Option<&BTreeMap<String, String>>) -> String {
    let lines: Vec<String> = map
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", serde_json::to_string(value).unwrap_or_default()))
        .collect();
    lines.join("\n")
}

/// What a `resourceFieldRef` names, divided and rounded up.
pub(crate) fn resource_value(
    container: &Container,
    resource: &str,
    divisor: Option<&str>,
    facts: &Facts,
) -> Result<String, String> {
    let (kind, name) = resource
        .split_once('.')
        .ok_or_else(|| format!("unsupported container resource : {resource}"))?;
    let resources = container.resources.clone().unwrap_or_default();
    let list = match kind {
        "limits" => resources.limits,
        "requests" => resources.requests,
        _ => return Err(format!("unsupported container resource : {resource}")),
    };
    let quantity = list.as_ref().and_then(|l| l.get(name));
    let divisor = match divisor {
        None | Some("" | "0") => 1_000_000_000,
        Some(text) => nano(text)
            .filter(|n| *n > 0)
            .ok_or_else(|| format!("invalid divisor {text}"))?,
    };
    let divide = |n: i128| ((n + divisor - 1) / divisor).to_string();
    Ok(match (name, quantity) {
        ("cpu", Some(q)) => divide(i128::from(milli(q)) * 1_000_000),
        ("cpu", None) if kind == "limits" => divide(i128::from(facts.allocatable_cpu) * 1_000_000),
        ("memory", None) if kind == "limits" => divide(i128::from(facts.allocatable_memory) * 1_000_000_000),
        (_, Some(q)) => divide(i128::from(value(q)) * 1_000_000_000),
        (_, None) => "0".to_string(),
    })
}

/// `<NAME>_SERVICE_HOST` and the rest of the variables that tell of services. Without `links`,
/// only the API server's own.
pub(crate) fn service_variables(
    services: &[std::sync::Arc<Service>],
    namespace: &str,
    links: bool,
) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    for service in services {
        let meta = &service.metadata;
        let name = meta.name.as_deref().unwrap_or_default();
        let in_namespace = meta.namespace.as_deref().unwrap_or_default();
        let api = in_namespace == "default" && name == "kubernetes";
        // A service of the pod's own namespace with the API server's name hides it.
        if !(api || (links && in_namespace == namespace)) {
            continue;
        }
        if api && namespace != "default" && env.contains_key("KUBERNETES_SERVICE_HOST") {
            continue;
        }
        let Some(spec) = &service.spec else { continue };
        let ip = spec.cluster_ip.as_deref().unwrap_or_default();
        if ip.is_empty() || ip == "None" || spec.type_.as_deref() == Some("ExternalName") {
            continue;
        }
        let ports = spec.ports.as_deref().unwrap_or_default();
        let Some(first) = ports.first() else { continue };
        let prefix = name.replace('-', "_").to_uppercase();
        let host = if ip.contains(':') {
            format!("[{ip}]")
        } else {
            ip.to_string()
        };
        env.insert(format!("{prefix}_SERVICE_HOST"), ip.to_string());
        env.insert(format!("{prefix}_SERVICE_PORT"), first.port.to_string());
        for port in ports {
            if let Some(port_name) = port.name.as_deref().filter(|n| !n.is_empty()) {
                let suffix = port_name.replace('-', "_").to_uppercase();
                env.insert(format!("{prefix}_SERVICE_PORT_{suffix}"), port.port.to_string());
            }
        }
        for (i, port) in ports.iter().enumerate() {
            let protocol = port.protocol.as_deref().unwrap_or("TCP");
            let lower = protocol.to_lowercase();
            let url = format!("{lower}://{host}:{}", port.port);
            if i == 0 {
                env.insert(format!("{prefix}_PORT"), url.clone());
            }
            let one = format!("{prefix}_PORT_{}_{protocol}", port.port);
            env.insert(one.clone(), url);
            env.insert(format!("{one}_PROTO"), lower);
            env.insert(format!("{one}_PORT"), port.port.to_string());
            env.insert(format!("{one}_ADDR"), ip.to_string());
        }
    }
    env
}

#[cfg(test)]
mod tests;

//! Which files a volume holds, given what it refers to: pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, DownwardAPIVolumeFile, KeyToPath, Pod, Secret};

use super::atomic::{Payload, PayloadFile};
use crate::env::{Facts, field_value, resource_value};
use crate::pod::PodExt;

pub(super) const DEFAULT_MODE: u32 = 0o644;

/// Permission bits of an API field.
pub(super) fn mode(value: Option<i32>, default: u32) -> u32 {
    value
        .and_then(|m| u32::try_from(m).ok())
        .map_or(default, |m| m & 0o7777)
}

fn file(data: Vec<u8>, mode: u32) -> PayloadFile {
    PayloadFile {
        data,
        mode,
        uid: None,
    }
}

/// Selected keys, or all. A key that does not exist is an error unless `optional`.
fn select(
    data: &BTreeMap<String, Vec<u8>>,
    items: Option<&Vec<KeyToPath>>,
    default: u32,
    optional: bool,
) -> Result<Payload, String> {
    let Some(items) = items.filter(|i| !i.is_empty()) else {
        return Ok(data
            .iter()
            .map(|(key, value)| (key.clone(), file(value.clone(), default)))
            .collect());
    };
    let mut payload = Payload::new();
    for item in items {
        match data.get(&item.key) {
            Some(value) => {
                payload.insert(item.path.clone(), file(value.clone(), mode(item.mode, default)));
            }
            None if optional => {}
            None => return Err(format!("references non-existent config key: {}", item.key)),
        }
    }
    Ok(payload)
}

/// Files of a ConfigMap; `None` for one that does not exist (only allowed when optional).
pub(super) fn config_map(
    map: Option<&ConfigMap>,
    items: Option<&Vec<KeyToPath>>,
    default: u32,
    optional: bool,
) -> Result<Payload, String> {
    let Some(map) = map else { return Ok(Payload::new()) };
    let text = map
        .data
        .iter()
        .flatten()
        .map(|(k, v)| (k.clone(), v.clone().into_bytes()));
    let binary = map
        .binary_data
        .iter()
        .flatten()
        .map(|(k, v)| (k.clone(), v.0.clone()));
    select(&text.chain(binary).collect(), items, default, optional)
}

/// Files of a Secret; `None` as for [`config_map`].
pub(super) fn secret(
    secret: Option<&Secret>,
    items: Option<&Vec<KeyToPath>>,
    default: u32,
    optional: bool,
) -> Result<Payload, String> {
    let Some(secret) = secret else {
        return Ok(Payload::new());
    };
    let data = secret
        .data
        .iter()
        .flatten()
        .map(|(k, v)| (k.clone(), v.0.clone()));
    select(&data.collect(), items, default, optional)
        .map_err(|message| message.replace("config key", "secret key"))
}

/// Files of the downward API.
pub(super) fn downward(
    pod: &Pod,
    items: Option<&Vec<DownwardAPIVolumeFile>>,
    default: u32,
    facts: &Facts,
) -> Result<Payload, String> {
    let mut payload = Payload::new();
    for item in items.into_iter().flatten() {
        let text = if let Some(field) = &item.field_ref {
            field_value(pod, &field.field_path, facts)
                .ok_or_else(|| format!("unsupported fieldPath: {}", field.field_path))?
        } else if let Some(resource) = &item.resource_field_ref {
            let name = resource.container_name.as_deref().unwrap_or_default();
            let (_, container) = pod
                .container(name)
                .ok_or_else(|| format!("container {name} not found"))?;
            resource_value(
                &container,
                &resource.resource,
                resource.divisor.as_ref().map(|q| q.0.as_str()),
                facts,
            )?
        } else {
            continue;
        };
        payload.insert(
            item.path.clone(),
            file(text.into_bytes(), mode(item.mode, default)),
        );
    }
    Ok(payload)
}

#[cfg(test)]
mod tests;

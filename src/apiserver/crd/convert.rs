//! Between the versions of a custom resource.
//! Upstream: `apiextensions-apiserver/pkg/apiserver/conversion`.

use std::time::Duration;

use rkind_apimachinery::{
    custom,
    meta::{self, Gvk},
    status::Status,
};
use serde_json::{Value, json};

use super::Family;
use crate::{catalog::Custom, core::Core, error::Result, webhook::Target};

#[cfg(test)]
mod tests;

/// How long a conversion webhook has.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes of objects that a webhook is asked to convert at once: it may make them several times as large
/// before its answer is too long.
const PART: usize = 2 * 1024 * 1024;

/// Stored objects as this version serves them: under the schema they are stored in, then converted.
///
/// # Errors
/// 500 when the conversion webhook fails.
pub(crate) async fn served(core: &Core, custom: &Custom, mut objects: Vec<Value>) -> Result<Vec<Value>> {
    for object in &mut objects {
        if let Some(version) = version_of(&custom.family, object) {
            custom::restore(object, &custom.family.versions[version].schema);
        }
    }
    convert(core, custom, custom.at, objects).await
}

/// An object of this version as it is stored.
///
/// # Errors
/// As [`served`].
pub(crate) async fn stored(core: &Core, custom: &Custom, object: Value) -> Result<Value> {
    let storage = custom.family.storage;
    let mut converted = convert(core, custom, storage, vec![object]).await?;
    let mut object = converted.pop().unwrap_or_default();
    custom::restore(&mut object, &custom.family.versions[storage].schema);
    Ok(object)
}

fn version_of(family: &Family, object: &Value) -> Option<usize> {
    let (_, version) = meta::split_api_version(object["apiVersion"].as_str()?);
    family.versions.iter().position(|v| v.name == version)
}

async fn convert(core: &Core, custom: &Custom, to: usize, mut objects: Vec<Value>) -> Result<Vec<Value>> {
    let wanted = &custom.family.versions[to];
    let api_version = meta::api_version(custom.resource.group, wanted.name);
    let others: Vec<usize> = (0..objects.len())
        .filter(|at| objects[*at]["apiVersion"] != *api_version)
        .collect();
    if others.is_empty() {
        return Ok(objects);
    }
    let Some(webhook) = &custom.family.webhook else {
        for at in others {
            objects[at]["apiVersion"] = json!(api_version);
            wanted.schema.prune(&mut objects[at]);
        }
        return Ok(objects);
    };
    for part in parts(&objects, others) {
        let from: Vec<Value> = part.iter().map(|at| objects[*at].clone()).collect();
        let converted = ask(core, webhook, &api_version, &from).await?;
        for (index, (at, new)) in part.into_iter().zip(converted).enumerate() {
            objects[at] = adopt(index, &objects[at], new, &api_version)?;
            wanted.schema.prune(&mut objects[at]);
        }
    }
    Ok(objects)
}

/// Parts of a list that are asked about at once, in order: what comes back must fit into one answer.
fn parts(objects: &[Value], all: Vec<usize>) -> Vec<Vec<usize>> {
    let mut parts: Vec<Vec<usize>> = Vec::new();
    let mut room = 0;
    for at in all {
        let size = objects[at].to_string().len();
        match parts.last_mut().filter(|_| size <= room) {
            Some(part) => part.push(at),
            None => {
                parts.push(vec![at]);
                room = PART;
            }
        }
        room = room.saturating_sub(size);
    }
    parts
}

/// `group/version, Kind=Kind`, as upstream names what is converted.
fn from_of(object: &Value) -> String {
    Gvk::of(object).to_string()
}

fn failed(from: &str, why: &str) -> Box<Status> {
    Status::internal_error(&format!("conversion webhook for {from} failed: {why}")).into()
}

/// Asks the webhook for all objects at once.
async fn ask(core: &Core, webhook: &Value, api_version: &str, objects: &[Value]) -> Result<Vec<Value>> {
    let from = objects.first().map(from_of).unwrap_or_default();
    let uid = meta::new_uid();
    let wanted = webhook["webhook"]["conversionReviewVersions"].as_array();
    let version = wanted
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .find(|v| matches!(*v, "v1" | "v1beta1"))
        .unwrap_or("v1");
    let review = json!({
        "kind": "ConversionReview", "apiVersion": format!("apiextensions.k8s.io/{version}"),
        "request": {"uid": uid, "desiredAPIVersion": api_version, "objects": objects},
    });
    let target =
        Target::of(&webhook["webhook"]["clientConfig"]).map_err(|e| failed(&from, &e.to_string()))?;
    let answer = core
        .webhooks
        .post(&target, &review, TIMEOUT, true)
        .await
        .map_err(|e| failed(&from, &e.to_string()))?;
    if answer["kind"] != "ConversionReview" || answer["apiVersion"] != review["apiVersion"] {
        let why = format!(
            "invalid response type: expected {}, Kind=ConversionReview, got {}",
            review["apiVersion"].as_str().unwrap_or_default(),
            from_of(&answer)
        );
        return Err(failed(&from, &why));
    }
    let response = &answer["response"];
    if version == "v1" && response["uid"] != *uid {
        let why = format!(
            "expected response.uid={uid:?}, got {:?}",
            response["uid"].as_str().unwrap_or_default()
        );
        return Err(failed(&from, &why));
    }
    if response["result"]["status"] != "Success" {
        let message = response["result"]["message"].as_str().unwrap_or_default();
        let why = if message.is_empty() {
            "response.result.status was '', not 'Success'"
        } else {
            message
        };
        return Err(failed(&from, why));
    }
    let converted = response["convertedObjects"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    if converted.len() != objects.len() {
        let why = format!(
            "webhook returned {} objects, expected {}",
            converted.len(),
            objects.len()
        );
        return Err(Status::internal_error(&format!("conversion webhook for {from} {why}")).into());
    }
    Ok(converted)
}

/// Takes what a webhook made of the object at `index` of what it was asked: of its metadata only labels and annotations.
fn adopt(index: usize, original: &Value, mut converted: Value, api_version: &str) -> Result<Value> {
    let from = from_of(original);
    let invalid = |why: String| -> Box<Status> {
        Status::internal_error(&format!(
            "conversion webhook for {from} returned invalid converted object at index {index}: {why}"
        ))
        .into()
    };
    if converted["apiVersion"] != *api_version {
        let found = converted["apiVersion"].as_str().unwrap_or_default();
        return Err(invalid(format!(
            "invalid groupVersion (expected {api_version}, received {found})"
        )));
    }
    if converted["kind"] != original["kind"] {
        let text = |v: &Value| v["kind"].as_str().unwrap_or_default().to_owned();
        return Err(invalid(format!(
            "invalid kind (expected {}, received {})",
            text(original),
            text(&converted)
        )));
    }
    if !converted["metadata"].is_object() {
        return Err(invalid(
            "invalid metadata of type <nil> in converted object".into(),
        ));
    }
    for field in ["name", "namespace", "uid"] {
        let text = |v: &Value| v["metadata"][field].as_str().unwrap_or_default().to_owned();
        let (old, new) = (text(original), text(&converted));
        if old != new {
            return Err(invalid(format!("must have the same {field}: {old} != {new}")));
        }
    }
    let mut metadata = original["metadata"].clone();
    for field in ["labels", "annotations"] {
        match converted["metadata"].get(field).filter(|v| !v.is_null()) {
            Some(value) => metadata[field] = value.clone(),
            None => {
                metadata.as_object_mut().map(|m| m.remove(field));
            }
        }
    }
    converted["metadata"] = metadata;
    Ok(converted)
}

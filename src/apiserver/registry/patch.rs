//! patch: JSON, merge, strategic merge and apply.

use axum::body::Body;
use http::{Response, StatusCode, header};
use rkind_apimachinery::{meta, patch, status::Status};
use serde_json::Value;

use super::{
    Context, convert,
    create::Write,
    managed, read_body,
    render::{self},
    rules,
};
use crate::{
    core::{group_resource, store_key},
    error::{self, Result},
    machinery,
    request::options::FieldValidation,
};

const JSON: &str = "application/json-patch+json";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const APPLY: &str = "application/apply-patch+yaml";
const APPLY_CBOR: &str = "application/apply-patch+cbor";

/// patch by request.
///
/// # Errors
/// Any `Status`.
pub(crate) async fn patch(ctx: &Context, body: Body) -> Result<Response<Body>> {
    let kind = ctx
        .headers
        .get(header::CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_owned();
    let bytes = read_body(body).await?;
    let custom = ctx.def.custom().is_some();
    match kind.as_str() {
        STRATEGIC if custom => Err(Status::unsupported_media_type(&[JSON, MERGE, APPLY]).into()),
        APPLY => apply(ctx, &bytes).await,
        JSON | MERGE | STRATEGIC => {
            let options = ctx.write_options("PatchOptions")?;
            if options.force {
                let mut errors = rkind_apimachinery::field::ErrorList::new();
                let path = rkind_apimachinery::field::Path::new("force");
                errors.push(rkind_apimachinery::field::Error::forbidden(
                    &path,
                    "may not be specified for non-apply patch",
                ));
                return Err(Status::invalid("meta.k8s.io", "PatchOptions", "", &errors).into());
            }
            let name = ctx.info.path_name();
            let mut write = Write::of(ctx, options.clone());
            write.retry = !names_version(&bytes);
            let mut warnings = Vec::new();
            let updated = write
                .change(name, |old| {
                    let served = convert::to_served(&ctx.def, old.clone());
                    let patched = patched(ctx, &kind, &served, &bytes)?;
                    check_identity(ctx, name, &served, &patched)?;
                    let (object, found) = rules::recheck(&ctx.def, patched, options.field_validation)?;
                    warnings = found;
                    warnings.extend(machinery::oddities(&write.gvk(), &object));
                    Ok(object)
                })
                .await?;
            render::object(ctx, StatusCode::OK, updated.payload, &warnings).await
        }
        _ if custom => Err(Status::unsupported_media_type(&[JSON, MERGE, APPLY]).into()),
        _ => Err(Status::unsupported_media_type(&[JSON, MERGE, STRATEGIC, APPLY, APPLY_CBOR]).into()),
    }
}

/// Whether a patch names a `resourceVersion` and so is meant for exactly that state.
fn names_version(patch: &[u8]) -> bool {
    let needle = b"resourceVersion";
    patch.windows(needle.len()).any(|window| window == needle)
}

/// Applies a patch of a media type to an object in its served version.
///
/// # Errors
/// 400, 415 or 422.
pub(crate) fn patched(ctx: &Context, kind: &str, served: &Value, bytes: &[u8]) -> Result<Value> {
    let type_name = ctx.def.type_name;
    Ok(match kind {
        JSON => patch::json(served, bytes)?,
        MERGE => patch::merge(served, bytes)?,
        _ => patch::strategic(served, bytes, machinery::type_def(type_name)?)?,
    })
}

fn check_identity(ctx: &Context, name: &str, served: &Value, patched: &Value) -> Result<()> {
    let new = meta::name(patched);
    if new != name {
        return Err(Status::bad_request(format!(
            "the name of the object ({new}) does not match the name on the URL ({name})"
        ))
        .into());
    }
    if ctx.def.namespaced && meta::namespace(patched) != meta::namespace(served) {
        return Err(Status::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        )
        .into());
    }
    Ok(())
}

/// What strict decoding objects to in an applied object, as warnings. Fields that a kind does not have
/// fail an apply whatever `fieldValidation` says: what has no place in the schema has no owner. Upstream:
/// `managedfields/internal/structuredmerge.go` and then `applyPatcher` of `endpoints/handlers/patch.go`.
///
/// # Errors
/// 400, where upstream answers 500 to a fault of the client's.
fn declared(found: Vec<String>, validation: FieldValidation, what: &str) -> Result<Vec<String>> {
    let unknown = |text: &String| {
        let path = text.strip_prefix("unknown field \"")?.strip_suffix('"')?;
        Some(format!(".{path}: field not declared in schema"))
    };
    let undeclared: Vec<String> = found.iter().filter_map(unknown).collect();
    let faults = match undeclared.as_slice() {
        [] => None,
        [one] => Some(one.clone()),
        many => Some(format!("errors:\n  {}", many.join("\n  "))),
    };
    if let Some(faults) = faults {
        let message = format!("failed to create typed patch object ({what}): {faults}");
        return Err(Status::bad_request(message).into());
    }
    match validation {
        FieldValidation::Strict if !found.is_empty() => {
            let faults = found.join(", ");
            Err(Status::bad_request(format!(
                "error strict decoding YAML: error converting YAML to JSON: {faults}"
            ))
            .into())
        }
        FieldValidation::Strict | FieldValidation::Warn => Ok(found),
        FieldValidation::Ignore => Ok(Vec::new()),
    }
}

/// Server-side apply.
async fn apply(ctx: &Context, bytes: &[u8]) -> Result<Response<Body>> {
    let options = ctx.write_options("ApplyOptions")?;
    if options.field_manager.is_empty() {
        let mut errors = rkind_apimachinery::field::ErrorList::new();
        let path = rkind_apimachinery::field::Path::new("fieldManager");
        errors.push(rkind_apimachinery::field::Error::required(
            &path,
            "is required for apply patch",
        ));
        return Err(Status::invalid("meta.k8s.io", "PatchOptions", "", &errors).into());
    }
    let def = &ctx.def;
    let name = ctx.info.path_name();
    let encoding = crate::request::Encoding::Yaml;
    let (mut applied, found) = rules::read(def, bytes, encoding, FieldValidation::Warn)?;
    if meta::name(&applied).is_empty() {
        meta::set(&mut applied, "name", name);
    }
    if meta::name(&applied) != name {
        return Err(Status::bad_request(format!(
            "the name of the object ({}) does not match the name on the URL ({name})",
            meta::name(&applied)
        ))
        .into());
    }
    if !applied["metadata"]["managedFields"].is_null() {
        return Err(Status::bad_request("metadata.managedFields must be nil").into());
    }
    super::create::check_namespace(
        def,
        if def.namespaced { &ctx.info.namespace } else { "" },
        &mut applied,
    )?;
    let mut write = Write::of(ctx, options.clone());
    let what = format!("{}/{name}; {}", write.namespace, write.gvk());
    let warnings = declared(found, options.field_validation, &what)?;
    write.retry = meta::resource_version(&applied).is_empty();
    write.untracked = true;
    let key = store_key(def, &write.namespace, name);
    let gr = group_resource(def);
    for _ in 0..4 {
        let (there, _) = ctx
            .core
            .store
            .get(&key, None)
            .await
            .map_err(|e| error::store(&gr, &e))?;
        if there.is_none() {
            if write.sub == "status" || !write.sub.is_empty() {
                return Err(Status::not_found(&gr, name).into());
            }
            let mut object = managed::applied(&write, None, &applied)?;
            rules::default_served(def, &mut object);
            match write.create(convert::to_stored(def, object)).await {
                Ok(payload) => return render::object(ctx, StatusCode::CREATED, payload, &warnings).await,
                Err(error) if error.reason == "AlreadyExists" => continue,
                Err(error) => return Err(error),
            }
        }
        let updated = write
            .change(name, |old| {
                let served = convert::to_served(def, old.clone());
                let mut object = managed::applied(&write, Some(&served), &applied)?;
                rules::default_served(def, &mut object);
                Ok(convert::to_stored(def, object))
            })
            .await;
        match updated {
            Err(error) if error.code == 404 => {}
            Err(error) => return Err(error),
            Ok(updated) => return render::object(ctx, StatusCode::OK, updated.payload, &warnings).await,
        }
    }
    Err(Status::modified(&gr, name).into())
}

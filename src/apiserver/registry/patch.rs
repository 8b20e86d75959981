//! patch: JSON, merge, strategic merge and apply.

use axum::body::Body;
use http::{Response, StatusCode, header};
use rkind_apimachinery::{
    apply, codec,
    field::{Error, ErrorList, Path},
    meta::{self, Gvk},
    patch,
    status::Status,
};
use serde_json::Value;

use super::{
    Context, convert,
    create::Write,
    managed, read_body,
    render::{self},
    rules,
    update::undeterminable,
};
use crate::{
    catalog::Def,
    core::{group_resource, store_key},
    error::{self, Result},
    machinery,
    request::options::{APPLY_OPTIONS, FieldValidation, PATCH_OPTIONS},
};

const JSON: &str = "application/json-patch+json";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
pub(super) const APPLY: &str = "application/apply-patch+yaml";
const APPLY_CBOR: &str = "application/apply-patch+cbor";

/// Every form of a patch of a built-in kind.
pub(super) const MEDIA_TYPES: [&str; 5] = [JSON, MERGE, STRATEGIC, APPLY, APPLY_CBOR];

/// patch by request.
///
/// # Errors
/// Any `Status`.
pub(crate) async fn patch(ctx: &Context, body: Body) -> Result<Response<Body>> {
    let kind = media_type(ctx)?;
    let bytes = read_body(body).await?;
    if kind == APPLY {
        return server_side_apply(ctx, &bytes).await;
    }
    let options = ctx.write_options(PATCH_OPTIONS)?;
    let name = ctx.info.path_name();
    let mut write = Write::of(ctx, options.clone());
    // A patch that names a version conflicts when it is made anew.
    write.retry = true;
    let mut warnings = Vec::new();
    let updated = write
        .change(name, |old| {
            let served = convert::to_served(&ctx.def, old.clone());
            let mut patched = patched(kind, &served, &bytes, ctx.def.type_name)?;
            if kind == STRATEGIC {
                // Upstream merges into the type itself, which cannot become another.
                for field in ["apiVersion", "kind"] {
                    patched[field] = served[field].clone();
                }
            }
            let shown = || match kind {
                STRATEGIC => codec::decode_any(&bytes)
                    .map(|p| codec::go_value(&p))
                    .unwrap_or_default(),
                _ => patched.to_string(),
            };
            let checked = rules::recheck(&ctx.def, patched.clone(), options.field_validation);
            let (object, found) = checked.map_err(|status| misfit(&ctx.def, status, shown()))?;
            check_identity(ctx, name, &served, &patched)?;
            warnings = found;
            warnings.extend(machinery::oddities_of_update(&write.gvk(), write.sub, &object));
            Ok(object)
        })
        .await?;
    render::object(ctx, StatusCode::OK, updated.payload, &warnings).await
}

/// The media type of a patch.
///
/// # Errors
/// 415 for what the resource cannot be patched by: custom resources have no strategy.
pub(super) fn media_type(ctx: &Context) -> Result<&'static str> {
    let sent = ctx.headers.get(header::CONTENT_TYPE);
    let sent = sent.and_then(|v| v.to_str().ok()).unwrap_or_default();
    let sent = sent.split(';').next().unwrap_or_default().trim();
    let known: &[&'static str] = if ctx.def.custom().is_some() {
        &[JSON, MERGE, APPLY]
    } else {
        &MEDIA_TYPES
    };
    match known.iter().find(|kind| **kind == sent && sent != APPLY_CBOR) {
        Some(kind) => Ok(kind),
        None => Err(Status::unsupported_media_type(known).into()),
    }
}

/// Applies a patch of a media type to an object of a type in its served version.
///
/// # Errors
/// 400, 415 or 422.
pub(super) fn patched(kind: &str, served: &Value, bytes: &[u8], type_name: &str) -> Result<Value> {
    Ok(match kind {
        JSON => patch::json(served, bytes)?,
        MERGE => patch::merge(served, bytes)?,
        _ => patch::strategic(served, bytes, machinery::type_def(type_name)?)?,
    })
}

/// What upstream answers when the result of a patch is no object of its type. It shows that result, but
/// of a strategic merge patch the patch.
fn misfit(def: &Def, status: Box<Status>, shown: String) -> Box<Status> {
    if def.custom().is_some() || status.code != 400 {
        return status;
    }
    let (kind, version) = (def.kind, def.version);
    // Whatever kind the patched object says it is.
    let cannot = format!(" in version {version:?} cannot be handled as a {kind}: ");
    let why = status
        .message
        .split_once(&cannot)
        .map_or(status.message.as_str(), |(_, why)| why);
    let error = Error::invalid(&Path::new("patch"), shown, why);
    Status::invalid("", "", "", &ErrorList::from(vec![error])).into()
}

fn check_identity(ctx: &Context, name: &str, served: &Value, patched: &Value) -> Result<()> {
    let new = meta::name(patched);
    if new.is_empty() {
        return Err(undeterminable(name));
    }
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
/// 400, also for what does not fit the schema, where upstream answers 500 to the client's fault.
fn declared(
    found: Vec<String>,
    mut faults: Vec<String>,
    validation: FieldValidation,
    what: &str,
) -> Result<Vec<String>> {
    let unknown = |text: &String| {
        let path = text.strip_prefix("unknown field \"")?.strip_suffix('"')?;
        Some(format!(".{path}: field not declared in schema"))
    };
    faults.extend(found.iter().filter_map(unknown));
    match faults.as_slice() {
        [] => {}
        [one] => return Err(untyped(what, one)),
        many => return Err(untyped(what, &format!("errors:\n  {}", many.join("\n  ")))),
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

fn untyped(what: &str, fault: &str) -> Box<Status> {
    let message = format!("failed to create typed patch object ({what}): {fault}");
    Status::bad_request(message).into()
}

/// Checks that a body is meant to be an object of the resource, which an apply must say itself.
/// Returns how errors name it.
///
/// # Errors
/// 400.
fn applicable(def: &Def, bytes: &[u8]) -> Result<String> {
    let bad = |why: String| Box::new(Status::bad_request(why));
    let text = String::from_utf8_lossy(bytes);
    let body = machinery::yaml(&text)
        .map_err(|e| bad(format!("error decoding YAML: error converting YAML to JSON: {e}")))?;
    if !(body.is_object() || body.is_null()) {
        let found = codec::json_type(&body);
        return Err(bad(format!(
            "error decoding YAML: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal \
             {found} into Go value of type map[string]interface {{}}"
        )));
    }
    let Gvk { group, version, kind } = Gvk::of(&body);
    if (&*group, &*version, &*kind) != (def.group, def.version, def.kind) {
        return Err(bad(format!(
            "invalid object type: {group}/{version}, Kind={kind}"
        )));
    }
    let version = body["apiVersion"].as_str().unwrap_or_default();
    let slash = if group.is_empty() { "/" } else { "" };
    let (namespace, name) = (meta::namespace(&body), meta::name(&body));
    Ok(format!("{namespace}/{name}; {slash}{version}, Kind={kind}"))
}

/// Server-side apply.
async fn server_side_apply(ctx: &Context, bytes: &[u8]) -> Result<Response<Body>> {
    let options = ctx.write_options(APPLY_OPTIONS)?;
    let def = &ctx.def;
    let name = ctx.info.path_name();
    let what = applicable(def, bytes)?;
    let encoding = crate::request::Encoding::Yaml;
    let (mut applied, found) = rules::read(def, bytes, encoding, FieldValidation::Warn)
        .map_err(|status| untyped(&what, &status.message))?;
    let faults = match def.custom() {
        None => apply::faults(Some(def.type_def()), &applied),
        Some(own) => apply::faults_custom(&own.version().schema, &applied),
    };
    let mut warnings = declared(found, faults, options.field_validation, &what)?;
    let nameless = meta::name(&applied).is_empty();
    if nameless {
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
            // An object that is there has its name already.
            if nameless {
                return Err(undeterminable(name));
            }
            let mut object = managed::applied(&write, None, &applied)?;
            rules::default_served(def, &mut object);
            write.may_create(name).await?;
            let object = convert::to_stored(def, object);
            let odd = machinery::oddities(&write.gvk(), &object);
            match write.create(object).await {
                Ok(payload) => {
                    warnings.extend(odd);
                    return render::object(ctx, StatusCode::CREATED, payload, &warnings).await;
                }
                Err(error) if error.reason == "AlreadyExists" => continue,
                Err(error) => return Err(error),
            }
        }
        let mut odd = Vec::new();
        let updated = write
            .change(name, |old| {
                let served = convert::to_served(def, old.clone());
                let mut object = managed::applied(&write, Some(&served), &applied)?;
                rules::default_served(def, &mut object);
                let object = convert::to_stored(def, object);
                odd = machinery::oddities_of_update(&write.gvk(), write.sub, &object);
                Ok(object)
            })
            .await;
        match updated {
            Err(error) if error.code == 404 => {}
            Err(error) => return Err(error),
            Ok(updated) => {
                warnings.extend(odd);
                return render::object(ctx, StatusCode::OK, updated.payload, &warnings).await;
            }
        }
    }
    Err(Status::modified(&gr, name).into())
}

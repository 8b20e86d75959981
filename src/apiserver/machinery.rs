//! The seam to `apimachinery`: what the registry asks of it, in one place.

use jiff::Timestamp;
use rkind_apimachinery::{
    codec, defaults,
    field::ErrorList,
    json::{Place, Tape},
    meta::{self, Gvk},
    openapi, protobuf,
    resources::{self, ResourceDef},
    schema::{Schema, TypeDef},
    status::Status,
    strategy, table, validation, warnings,
};
use serde_json::{Value, json};

use crate::{
    admission::{conditions, device_selectors, policy},
    cacher::{Obj, Written},
    error::Result,
    registry::create::check_kind,
    request::{Encoding, options::FieldValidation},
};

/// The schema type of this name.
///
/// # Errors
/// 500: the resource table names a type that the schema lacks.
pub(crate) fn type_def(name: &str) -> Result<&'static TypeDef> {
    Schema::get().type_by_name(name).ok_or_else(|| {
        Box::new(Status::internal_error(&format!(
            "type {name} is not in the schema"
        )))
    })
}

/// The decoder's word for how unknown and repeated fields are met.
pub(crate) fn mode(validation: FieldValidation) -> codec::FieldValidation {
    match validation {
        FieldValidation::Ignore => codec::FieldValidation::Ignore,
        FieldValidation::Warn => codec::FieldValidation::Warn,
        FieldValidation::Strict => codec::FieldValidation::Strict,
    }
}

/// Bytes -> an object of a kind, checked against its type. Also gives warnings.
///
/// # Errors
/// 400 for malformed or, under `Strict`, unknown or repeated fields.
pub(crate) fn decode(
    body: &[u8],
    encoding: Encoding,
    expected: &Gvk,
    type_name: &str,
    validation: FieldValidation,
) -> Result<(Value, Vec<String>)> {
    let def = type_def(type_name)?;
    let mode = mode(validation);
    let bad = |e: codec::DecodeError| -> Box<Status> {
        let Gvk { version, kind, .. } = expected;
        Status::bad_request(format!(
            "{kind} in version {version:?} cannot be handled as a {kind}: {e}"
        ))
        .into()
    };
    let (mut object, strict) = match encoding {
        Encoding::Json => {
            // A body of another kind is told so before its fields are.
            let codec::TypeMeta { api_version, kind } =
                codec::type_meta(body).map_err(|e| unrecognized(expected, &e, body))?;
            if !(api_version.is_empty() && kind.is_empty()) {
                check_kind(&mut json!({"apiVersion": api_version, "kind": kind}), expected)?;
            }
            codec::decode_json(body, def, mode).map_err(bad)?
        }
        Encoding::Yaml => codec::decode_yaml(body, def, mode).map_err(bad)?,
        Encoding::Protobuf => {
            protobuf::peek(body).map_err(|e| unrecognized(expected, &e, body))?;
            (from_protobuf(body, def)?, Vec::new())
        }
    };
    check_kind(&mut object, expected)?;
    let warnings = strict_outcome(&strict, validation, expected)?;
    Ok((object, warnings))
}

/// Checks a tree (a patch's result) as [`decode`] checks bytes.
///
/// # Errors
/// As [`decode`].
pub(crate) fn recheck(
    object: &Value,
    expected: &Gvk,
    type_name: &str,
    validation: FieldValidation,
) -> Result<(Value, Vec<String>)> {
    let def = type_def(type_name)?;
    let mode = mode(validation);
    let (mut object, strict) = codec::decode_value(object.clone(), def, mode).map_err(|e| {
        let Gvk { version, kind, .. } = expected;
        Box::new(Status::bad_request(format!(
            "{kind} in version {version:?} cannot be handled as a {kind}: {e}"
        )))
    })?;
    check_kind(&mut object, expected)?;
    let warnings = strict_outcome(&strict, validation, expected)?;
    Ok((object, warnings))
}

/// 400 for bytes that are not even an object of some kind, with their beginning.
/// Upstream: `transformDecodeError` of `endpoints/handlers/rest.go`.
fn unrecognized(expected: &Gvk, why: &dyn std::fmt::Display, body: &[u8]) -> Box<Status> {
    const SHOWN: usize = 30;
    let head = &body[..body.len().min(SHOWN)];
    let mut shown = match head.first() {
        None => "<empty>".to_owned(),
        Some(b'{') => String::from_utf8_lossy(head).into_owned(),
        Some(_) => head.iter().map(|byte| format!("{byte:02x}")).collect(),
    };
    if body.len() > SHOWN {
        shown.push_str(" ...");
    }
    Status::bad_request(format!(
        "the object provided is unrecognized (must be of type {}): {why} ({shown})",
        expected.kind
    ))
    .into()
}

/// What strict decoding found, as an error or as warnings.
///
/// # Errors
/// 400 under `Strict`.
pub(crate) fn strict_outcome(
    strict: &[codec::StrictError],
    validation: FieldValidation,
    expected: &Gvk,
) -> Result<Vec<String>> {
    if strict.is_empty() || validation == FieldValidation::Ignore {
        return Ok(Vec::new());
    }
    if validation == FieldValidation::Strict {
        let Gvk { version, kind, .. } = expected;
        let message = codec::strict_message(strict);
        return Err(Status::bad_request(format!(
            "{kind} in version {version:?} cannot be handled as a {kind}: {message}"
        ))
        .into());
    }
    Ok(strict.iter().map(ToString::to_string).collect())
}

/// Options in a body: each field must be of its type, for an option misread is not given.
///
/// # Errors
/// 400 for malformed input.
pub(crate) fn decode_options(body: &[u8], encoding: Encoding, type_name: &str) -> Result<Value> {
    if encoding == Encoding::Protobuf {
        return from_protobuf(body, type_def(type_name)?);
    }
    let bad = |why: codec::DecodeError| Box::new(Status::bad_request(why.to_string()));
    let def = type_def(type_name)?;
    let ignore = codec::FieldValidation::Ignore;
    let (value, _) = match encoding {
        Encoding::Yaml => codec::decode_yaml(body, def, ignore).map_err(bad)?,
        _ => {
            codec::type_meta(body).map_err(bad)?;
            codec::decode_json(body, def, ignore).map_err(bad)?
        }
    };
    Ok(value)
}

/// Bytes of a meta type (options, reviews) whose kind is not checked.
///
/// # Errors
/// 400 for malformed input.
pub(crate) fn decode_loose(body: &[u8], encoding: Encoding, type_name: &str) -> Result<Value> {
    match encoding {
        Encoding::Json => codec::decode_any(body).map_err(|e| Status::bad_request(e.to_string()).into()),
        Encoding::Yaml => codec::yaml_to_value(body, codec::FieldValidation::Ignore)
            .map(|(value, _)| value)
            .map_err(|e| Status::bad_request(e.to_string()).into()),
        Encoding::Protobuf => from_protobuf(body, type_def(type_name)?),
    }
}

/// An object in Kubernetes' protobuf envelope, whatever its kind; `None` for kinds that are unknown.
pub(crate) fn protobuf_any(body: &[u8]) -> Option<Value> {
    let codec::TypeMeta { api_version, kind } = protobuf::peek(body).ok()?;
    let (group, version) = meta::split_api_version(&api_version);
    let def = proto_type(&Gvk::new(group, version, &kind))?;
    from_protobuf(body, def).ok()
}

/// The texts of a list; what is none is left out.
pub(crate) fn strings(list: &Value) -> Vec<String> {
    let items = list.as_array().into_iter().flatten();
    items.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// A configuration file's text, YAML or JSON, as a tree.
///
/// # Errors
/// What the parser says.
pub(crate) fn yaml(text: &str) -> Result<Value, String> {
    codec::yaml_to_value(text.as_bytes(), codec::FieldValidation::Ignore)
        .map(|(value, _)| value)
        .map_err(|e| e.to_string())
}

/// A tree as YAML.
///
/// # Errors
/// 500; a JSON tree always has a YAML form.
pub(crate) fn to_yaml(value: &Value) -> Result<Vec<u8>> {
    Ok(codec::to_yaml(value).into_bytes())
}

fn from_protobuf(body: &[u8], def: &TypeDef) -> Result<Value> {
    protobuf::decode(body, def).map_err(|e| Status::bad_request(e.to_string()).into())
}

/// A tree in Kubernetes' protobuf envelope; its `apiVersion` and `kind` name its type.
///
/// # Errors
/// 406 when the type has no protobuf form.
pub(crate) fn to_protobuf(value: &Value) -> Result<Vec<u8>> {
    let gvk = Gvk::of(value);
    let def = proto_type(&gvk).ok_or_else(crate::registry::not_acceptable)?;
    protobuf::encode(value, def)
        .map_err(|e| Status::internal_error(&format!("{} cannot be encoded: {e}", gvk.kind)).into())
}

/// The type of a kind, lists and meta kinds included.
fn proto_type(gvk: &Gvk) -> Option<&'static TypeDef> {
    let Gvk { group, version, kind } = gvk;
    if let Some(def) = resources::by_kind(group, version, kind) {
        return Some(def.type_def());
    }
    let schema = Schema::get();
    if let Some(item) = kind.strip_suffix("List")
        && let Some(def) = resources::by_kind(group, version, item)
    {
        return schema.type_by_name(def.list_type_name);
    }
    let meta = matches!(
        kind.as_str(),
        "Status"
            | "PartialObjectMetadata"
            | "PartialObjectMetadataList"
            | "APIResourceList"
            | "APIGroupList"
            | "APIGroup"
            | "APIVersions"
    );
    let name = if meta {
        format!("io.k8s.apimachinery.pkg.apis.meta.v1.{kind}")
    } else {
        let package = if group.is_empty() {
            "core"
        } else {
            group.split('.').next().unwrap_or_default()
        };
        format!("io.k8s.api.{package}.{version}.{kind}")
    };
    schema.type_by_name(&name)
}

/// A list of a built-in kind in protobuf.
pub(crate) struct ProtobufList {
    def: &'static ResourceDef,
    list: protobuf::ListEncoder,
    tape: Tape,
}

impl ProtobufList {
    /// An empty list with its metadata; it will have about `size` bytes.
    pub(crate) fn new(def: &'static ResourceDef, metadata: &Value, size: usize) -> Result<Self> {
        let list = protobuf::ListEncoder::new(metadata, size).map_err(|e| unencodable(def.list_kind, &e))?;
        Ok(ProtobufList {
            def,
            list,
            tape: Tape::default(),
        })
    }

    /// Adds an object as it is served.
    pub(crate) fn push(&mut self, object: &Value) -> Result<()> {
        let pushed = self.list.push(object, self.def.type_def());
        pushed.map_err(|e| unencodable(self.def.kind, &e))
    }

    /// Adds an object whose bytes are what is served.
    pub(crate) fn push_written(&mut self, object: &Written) -> Result<()> {
        let place = in_place(&mut self.tape, object, self.def)?;
        let pushed = self.list.push_text(place, self.def.type_def());
        pushed.map_err(|e| unencodable(self.def.kind, &e))
    }

    /// The list in its envelope, in pieces that follow each other.
    pub(crate) fn finish(self) -> [Vec<u8>; 3] {
        self.list.finish(&self.def.api_version(), self.def.list_kind)
    }
}

fn unencodable(kind: &str, why: &dyn std::fmt::Display) -> Box<Status> {
    Status::internal_error(&format!("{kind} cannot be encoded: {why}")).into()
}

fn in_place<'t>(tape: &'t mut Tape, object: &'t Written, def: &ResourceDef) -> Result<Place<'t>> {
    let text = std::str::from_utf8(&object.json).map_err(|e| unencodable(def.kind, &e))?;
    tape.read_around(text, &object.opaque)
        .map_err(|e| unencodable(def.kind, &e))
}

/// The bytes of a built-in object as it is served, in Kubernetes' protobuf envelope.
pub(crate) fn protobuf_of(def: &ResourceDef, object: &Obj) -> Result<Vec<u8>> {
    let mut written = Written::default();
    object.write(&mut written);
    let mut tape = Tape::default();
    let place = in_place(&mut tape, &written, def)?;
    protobuf::encode_text(place, def.type_def()).map_err(|e| unencodable(def.kind, &e))
}

/// A watch event of the bytes of an object as it is served, as a length-delimited protobuf frame.
pub(crate) fn protobuf_watch_frame_of(def: &ResourceDef, kind: &str, object: &Obj) -> Vec<u8> {
    protobuf::watch_frame(kind, &protobuf_of(def, object).unwrap_or_default())
}

/// A watch event as a length-delimited protobuf frame.
pub(crate) fn protobuf_watch_frame(kind: &str, object: &Value) -> Vec<u8> {
    protobuf::watch_frame(kind, &to_protobuf(object).unwrap_or_default())
}

/// Applies defaults.
pub(crate) fn default(gvk: &Gvk, object: &mut Value) {
    defaults::apply(gvk, object);
}

/// Brings an object in stored form into the form in which Go would write it: empty values of optional
/// fields go, structs that Go holds by value appear.
pub(crate) fn normalize(gvk: &Gvk, object: &mut Value) {
    if let Some(def) = resources::by_kind(&gvk.group, &gvk.version, &gvk.kind) {
        codec::normalize(object, def.type_def());
    }
}

/// What upstream's internal types make of an object, before the owners of its fields are made out.
pub(crate) fn through_internal(gvk: &Gvk, object: &mut Value) {
    strategy::through_internal(gvk, object);
}

/// How the registry treats a kind.
pub(crate) fn rules(gvk: &Gvk) -> strategy::Rules {
    strategy::rules(gvk)
}

/// The kind's preparation of a new object: status reset, generation.
pub(crate) fn prepare_create(gvk: &Gvk, object: &mut Value) {
    strategy::prepare_for_create(gvk, object);
}

/// The kind's preparation of an update through `sub` (empty: the object itself).
pub(crate) fn prepare_update(gvk: &Gvk, sub: &str, new: &mut Value, old: &Value) {
    match sub {
        "" | "scale" => strategy::prepare_for_update(gvk, new, old),
        "status" => strategy::prepare_for_status_update(gvk, new, old),
        "approval" => strategy::prepare_for_approval(new, old),
        "finalize" => only(new, old, &["spec"], &["finalizers"]),
        "ephemeralcontainers" => {
            only(new, old, &["spec"], &["ephemeralContainers"]);
            count_generation(new, old);
        }
        "resize" => {
            strategy::prepare_for_resize(new, old);
            count_generation(new, old);
        }
        // Binding and eviction make their change themselves.
        _ => {}
    }
}

/// Takes from `new` only the named fields of one part; the rest stays as it was. Metadata that
/// decides about conflicts is the new object's.
fn only(new: &mut Value, old: &Value, part: &[&str], fields: &[&str]) {
    let mut kept = old.clone();
    for part in part {
        for field in fields {
            match new[*part].get(*field) {
                Some(value) => {
                    meta::child_object(&mut kept, part).insert((*field).into(), value.clone());
                }
                None => {
                    meta::child_object(&mut kept, part).remove(*field);
                }
            }
        }
    }
    for field in ["resourceVersion", "managedFields"] {
        if !new["metadata"][field].is_null() {
            kept["metadata"][field] = new["metadata"][field].clone();
        }
    }
    *new = kept;
}

/// A pod whose spec changes is of the next generation (KEP-5067).
fn count_generation(new: &mut Value, old: &Value) {
    if new["spec"] != old["spec"] {
        let generation = meta::generation(old);
        meta::set(new, "generation", generation + 1);
    }
}

/// Validates a new object.
pub(crate) fn validate_create(gvk: &Gvk, object: &Value) -> ErrorList {
    let mut errors = validation::create(gvk, object);
    errors.extend(expressions(gvk, object, None));
    errors
}

/// What is wrong with the CEL expressions in an object; those that an update leaves alone stay.
fn expressions(gvk: &Gvk, object: &Value, old: Option<&Value>) -> ErrorList {
    match gvk.group_kind() {
        (
            "admissionregistration.k8s.io",
            "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration",
        ) => conditions::check_webhooks(object, old),
        _ if old.is_some_and(|old| old["spec"] == object["spec"]) => ErrorList::new(),
        ("resource.k8s.io", "ResourceClaim") if old.is_some() => ErrorList::new(),
        ("resource.k8s.io", kind) => device_selectors::check(kind, object),
        _ => policy::validation::expressions(gvk, object),
    }
}

/// Validates an update through `sub`.
pub(crate) fn validate_update(gvk: &Gvk, sub: &str, new: &Value, old: &Value) -> ErrorList {
    match sub {
        "" => {
            let mut errors = validation::update(gvk, new, old);
            errors.extend(expressions(gvk, new, Some(old)));
            errors
        }
        "scale" => validation::update(gvk, new, old),
        "ephemeralcontainers" => validation::ephemeral_containers_update(new, old),
        "resize" => validation::resize_update(new, old),
        "finalize" => validation::finalize_update(gvk, new, old),
        "approval" => validation::approval_update(new, old),
        _ => validation::status_update(gvk, new, old),
    }
}

/// Column definitions of a kind's Table.
pub(crate) fn table_columns(gvk: &Gvk) -> Value {
    table::columns(gvk).iter().map(table::Column::to_value).collect()
}

/// One row of a kind's Table.
pub(crate) fn table_row(gvk: &Gvk, object: &Value, include: Option<&str>, now: Timestamp) -> Value {
    let include = include.and_then(table::Include::parse).unwrap_or_default();
    table::row_value(gvk, object, include, now)
}

/// The Swagger document of all resources.
pub(crate) fn openapi_v2(resources: &[ResourceDef], custom: &[openapi::CustomDefinition]) -> Value {
    openapi::v2(resources, custom, &openapi::Texts::unpack(), crate::VERSION)
}

/// The OpenAPI v3 document of one group and version.
pub(crate) fn openapi_v3(
    group: &str,
    version: &str,
    resources: &[ResourceDef],
    custom: &[openapi::CustomDefinition],
) -> Value {
    openapi::v3(
        group,
        version,
        resources,
        custom,
        &openapi::Texts::unpack(),
        crate::VERSION,
    )
}

/// A Swagger document as the protobuf that older clients ask for.
pub(crate) fn openapi_v2_protobuf(document: &Value) -> Vec<u8> {
    openapi::v2_to_protobuf(document)
}

/// Media types by which clients ask for [`openapi_v2_protobuf`], in lower case.
pub(crate) const OPENAPI_V2_PROTOBUF: [&str; 2] = openapi::V2_PROTOBUF_ACCEPT;
/// The media type of the answer.
pub(crate) const OPENAPI_V2_PROTOBUF_ANSWER: &str = openapi::V2_PROTOBUF;

/// An OpenAPI v3 document as protobuf.
pub(crate) fn openapi_v3_protobuf(document: &Value) -> Vec<u8> {
    openapi::v3_to_protobuf(document)
}

/// Media types by which clients ask for [`openapi_v3_protobuf`], in lower case.
pub(crate) const OPENAPI_V3_PROTOBUF: [&str; 2] = openapi::V3_PROTOBUF_ACCEPT;
/// The media type of the answer.
pub(crate) const OPENAPI_V3_PROTOBUF_ANSWER: &str = openapi::V3_PROTOBUF;

/// That the served version of a kind is on its way out.
pub(crate) fn deprecated(gvk: &Gvk) -> Option<&'static str> {
    warnings::deprecated(gvk)
}

/// What is odd about an object (in stored form) about to be created.
pub(crate) fn oddities(gvk: &Gvk, object: &Value) -> Vec<String> {
    warnings::of_new(gvk, object)
}

/// What is odd about an object that is updated through `sub`. Upstream looks at no subresource, and not
/// at pods, which people rarely write themselves.
pub(crate) fn oddities_of_update(gvk: &Gvk, sub: &str, object: &Value) -> Vec<String> {
    if !sub.is_empty() || gvk.group_kind() == ("", "Pod") {
        return Vec::new();
    }
    warnings::of_update(gvk, object)
}

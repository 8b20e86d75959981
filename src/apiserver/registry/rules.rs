//! A kind's own rules, wherever they come from: the built-in tables, or a CustomResourceDefinition.
//!
//! A write works on an object in one form: a built-in kind's stored version, a custom resource's
//! version of the request. [`Write::open`] and [`Write::seal`] are between that form and the bytes in
//! the store.

use std::sync::Arc;

use bytes::Bytes;
use rkind_apimachinery::{
    codec, custom,
    field::{Error, ErrorList, Kind, Path},
    json,
    meta::{self, Gvk},
    status::Status,
    strategy, validation,
};
use serde_json::Value;

use super::{
    convert,
    create::{Write, to_bytes, to_bytes_with},
    managed::Owners,
    render::Payload,
    reviews::user_info,
    unsupported_custom_media,
};
use crate::{
    cacher::Obj,
    catalog::{Custom, Def},
    core::object_key,
    crd,
    error::Result,
    machinery,
    request::{Encoding, options::FieldValidation},
};

/// A body in the served version -> the form that writes work on, defaults applied. Also gives warnings.
///
/// # Errors
/// 400; 415 for what a custom resource cannot be sent as.
pub(crate) fn decode(
    def: &Def,
    body: &[u8],
    encoding: Encoding,
    validation: FieldValidation,
) -> Result<(Value, Vec<String>)> {
    let (mut object, warnings) = read(def, body, encoding, validation)?;
    default_served(def, &mut object);
    Ok((convert::to_stored(def, object), warnings))
}

/// A body in the served version, as it was sent: without defaults.
///
/// # Errors
/// As [`decode`].
pub(crate) fn read(
    def: &Def,
    body: &[u8],
    encoding: Encoding,
    validation: FieldValidation,
) -> Result<(Value, Vec<String>)> {
    let expected = Gvk::new(def.group, def.version, def.kind);
    let Some(own) = def.custom() else {
        return machinery::decode(body, encoding, &expected, def.type_name, validation);
    };
    let schema = &own.version().schema;
    let mode = machinery::mode(validation);
    let decoded = match encoding {
        Encoding::Json => custom::decode_json(body, schema, mode),
        Encoding::Yaml => custom::decode_yaml(body, schema, mode),
        Encoding::Protobuf => return Err(unsupported_custom_media()),
    };
    accept(decoded, &expected, validation)
}

/// A patched tree in the served version -> the form that writes work on, checked and defaulted.
///
/// # Errors
/// 400.
pub(crate) fn recheck(
    def: &Def,
    patched: Value,
    validation: FieldValidation,
) -> Result<(Value, Vec<String>)> {
    let expected = Gvk::new(def.group, def.version, def.kind);
    let (mut object, warnings) = match def.custom() {
        None => machinery::recheck(&patched, &expected, def.type_name, validation)?,
        Some(own) => {
            let decoded = custom::decode_value(patched, &own.version().schema, machinery::mode(validation));
            accept(decoded, &expected, validation)?
        }
    };
    default_served(def, &mut object);
    Ok((convert::to_stored(def, object), warnings))
}

fn accept(
    decoded: Result<(Value, Vec<codec::StrictError>), codec::DecodeError>,
    expected: &Gvk,
    validation: FieldValidation,
) -> Result<(Value, Vec<String>)> {
    let (mut object, strict) = decoded.map_err(|e| {
        let Gvk { version, kind, .. } = expected;
        Status::bad_request(format!(
            "{kind} in version {version:?} cannot be handled as a {kind}: {e}"
        ))
    })?;
    let found = object["apiVersion"].as_str().unwrap_or_default();
    let wanted = expected.api_version();
    if !found.is_empty() && found != wanted {
        return Err(Status::bad_request(format!(
            "the API version in the data ({found}) does not match the expected API version ({wanted})"
        ))
        .into());
    }
    // Another kind is for validation to refuse.
    object["apiVersion"] = wanted.into();
    if object["kind"].as_str().is_none_or(str::is_empty) {
        object["kind"] = expected.kind.as_str().into();
    }
    let warnings = machinery::strict_outcome(&strict, validation, expected)?;
    Ok((object, warnings))
}

/// Sets the defaults of the served version.
pub(crate) fn default_served(def: &Def, object: &mut Value) {
    match def.custom() {
        None => machinery::default(&Gvk::new(def.group, def.version, def.kind), object),
        Some(own) => own.version().schema.default(object),
    }
}

impl Write {
    fn custom(&self) -> Option<&Arc<Custom>> {
        self.def.custom()
    }

    /// How the registry treats the kind.
    pub(crate) fn rules(&self) -> strategy::Rules {
        let mut rules = machinery::rules(&self.gvk());
        if let Some(own) = self.custom() {
            rules.status = own.version().status;
            rules.unconditional_update = false;
        }
        rules
    }

    /// Sets defaults, after admission.
    pub(crate) fn default(&self, object: &mut Value) {
        match self.custom() {
            None => machinery::default(&self.gvk(), object),
            Some(own) => own.version().schema.default(object),
        }
    }

    /// Brings a built-in kind's object into Go's form.
    pub(crate) fn normalize(&self, object: &mut Value) {
        if self.custom().is_none() {
            machinery::normalize(&self.gvk(), object);
        }
    }

    /// Makes of a built-in kind's object what upstream's internal types would.
    pub(crate) fn through_internal(&self, object: &mut Value) {
        if self.custom().is_none() {
            machinery::through_internal(&self.gvk(), object);
        }
    }

    pub(crate) fn prepare_create(&self, object: &mut Value) {
        match self.custom() {
            None => {
                machinery::prepare_create(&self.gvk(), object);
                if self.def.storage_prefix == "certificates.k8s.io/certificatesigningrequests" {
                    strategy::prepare_signing_request(object, &user_info(&self.user));
                }
            }
            Some(own) => strategy::prepare_custom_for_create(own.version().status, object),
        }
    }

    pub(crate) fn prepare_update(&self, new: &mut Value, old: &Value) {
        match (self.custom(), self.sub) {
            (None, _) => machinery::prepare_update(&self.gvk(), self.sub, new, old),
            (Some(_), "status") => strategy::prepare_custom_for_status_update(new, old),
            (Some(own), _) => strategy::prepare_custom_for_update(own.version().status, new, old),
        }
    }

    pub(crate) fn validate_create(&self, object: &Value) -> ErrorList {
        let Some(own) = self.custom() else {
            if self.is_newer_event() {
                return validation::newer_event(object, None);
            }
            let mut errors = machinery::validate_create(&self.gvk(), object);
            if self.def.storage_prefix == crd::DEFINITIONS {
                errors.extend(crd::estimate::check(object));
            }
            return errors;
        };
        let mut errors = self.check_kind(object);
        let schema = &own.version().schema;
        errors.extend(custom::validate_create(object, schema, self.def.namespaced));
        errors.extend(super::scale::check(
            own.version().scale.as_ref(),
            object,
            self.sub,
        ));
        run_rules(own, object, None, &mut errors);
        errors
    }

    pub(crate) fn validate_update(&self, new: &Value, old: &Value) -> ErrorList {
        let Some(own) = self.custom() else {
            if self.is_newer_event() {
                return validation::newer_event(new, Some(old));
            }
            let mut errors = machinery::validate_update(&self.gvk(), self.sub, new, old);
            let changed = || new["spec"]["versions"] != old["spec"]["versions"];
            if self.def.storage_prefix == crd::DEFINITIONS && self.sub.is_empty() && changed() {
                errors.extend(crd::estimate::check(new));
            }
            return errors;
        };
        let mut errors = self.check_kind(new);
        errors.extend(custom::validate_update(new, old, &own.version().schema));
        errors.extend(super::scale::check(own.version().scale.as_ref(), new, self.sub));
        run_rules(own, new, Some(old), &mut errors);
        errors
    }

    /// Whether it is written through the newer of the two groups that serve events.
    fn is_newer_event(&self) -> bool {
        self.def.group == "events.k8s.io" && self.def.resource == "events"
    }

    fn check_kind(&self, object: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        let kind = object["kind"].as_str().unwrap_or_default();
        if kind != self.def.kind {
            let detail = format!("must be {}", self.def.kind);
            errors.push(Error::invalid(&Path::new("kind"), kind, detail));
        }
        errors
    }

    /// What is stored -> the form that writes work on.
    ///
    /// # Errors
    /// 500 when a conversion webhook fails.
    pub(crate) async fn open(&self, stored: Value) -> Result<Value> {
        let Some(own) = self.custom() else {
            return Ok(stored);
        };
        let mut opened = crd::convert::served(&self.core, own, vec![stored]).await?;
        Ok(opened.pop().unwrap_or_default())
    }

    /// The form that writes work on -> canonical bytes to store.
    ///
    /// # Errors
    /// 400 when the object is too deep, else as [`Write::open`].
    pub(crate) async fn seal(&self, object: &mut Value) -> Result<Bytes> {
        match self.custom() {
            None => sealed(object),
            Some(own) => {
                let mut stored = crd::convert::stored(&self.core, own, object.clone()).await?;
                sealed(&mut stored)
            }
        }
    }

    /// [`Write::seal`] of a new object whose owners may be apart.
    ///
    /// # Errors
    /// As [`Write::seal`].
    pub(crate) async fn seal_new(&self, object: &mut Value, mut owners: Owners) -> Result<Bytes> {
        // As deep as the object, in a list of entries of the metadata, and named at its end.
        const DEEPER: usize = 6;
        match owners.text() {
            Some(text) if self.custom().is_none() && json::is_within(object, json::MAX_NESTING - DEEPER) => {
                Ok(to_bytes_with(object, text))
            }
            _ => {
                owners.join(object);
                self.seal(object).await
            }
        }
    }

    /// What was committed, as an object to send: `object` in the form that writes work on, `bytes` as
    /// it was stored.
    ///
    /// # Errors
    /// 500 when the bytes cannot be read.
    pub(crate) fn payload(
        &self,
        name: &str,
        mut object: Value,
        bytes: Bytes,
        revision: u64,
    ) -> Result<Payload> {
        if self.custom().is_some_and(|own| own.at != own.family.storage) {
            meta::set(&mut object, "resourceVersion", revision.to_string());
            return Ok(Payload::Tree(object));
        }
        let key = object_key(&self.def, &self.namespace, name);
        Obj::to_send(&key, bytes, revision)
            .map(|object| Payload::Stored(Arc::new(object)))
            .map_err(|e| Status::internal_error(&format!("written object cannot be read: {e}")).into())
    }
}

/// What nobody could read again is not stored, wherever its depth comes from: patches, webhooks, the owners
/// of deep fields.
fn sealed(object: &mut Value) -> Result<Bytes> {
    if !json::is_within(object, json::MAX_NESTING) {
        let why = format!("the object is nested deeper than {} levels", json::MAX_NESTING);
        return Err(Status::bad_request(why).into());
    }
    Ok(to_bytes(object))
}

/// Runs the schema's rules, unless the object is so wrong that they could not be trusted.
fn run_rules(own: &Custom, new: &Value, old: Option<&Value>, errors: &mut ErrorList) {
    let Some(rules) = &own.version().rules else {
        return;
    };
    let blocks = |error: &Error| {
        matches!(
            error.kind,
            Kind::NotSupported | Kind::Required | Kind::TooLong | Kind::TooMany | Kind::TypeInvalid
        )
    };
    if errors.iter().any(blocks) {
        errors.push(Error::invalid(
            &Path::new("<nil>"),
            Value::Null,
            "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation",
        ));
        return;
    }
    errors.extend(rules.validate(new, old));
}

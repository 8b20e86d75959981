//! create, and what all writes share.

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use http::{Response, StatusCode};
use rkind_apimachinery::{
    meta::{self, Gvk, api_version},
    resources::{self, ResourceDef},
    status::Status,
};
use serde::{Serialize, Serializer, ser::SerializeMap as _};
use serde_json::{Value, value::RawValue};

use super::{
    Context,
    commit::{Change, Failure},
    convert,
    managed::{self, Owners},
    read_body, render,
    render::Payload,
    rules, unsupported_media,
};
use crate::{
    admission::{Notes, Operation, OptionsOf, Request},
    audit,
    authz::Attributes,
    catalog::Def,
    core::{Core, group_resource, store_key},
    error::{self, Result},
    machinery,
    request::{
        media::body_encoding,
        options::{FieldValidation, WriteOptions},
    },
    services,
    user::UserInfo,
};

/// How often a generated name is tried before the client is told to.
const NAME_TRIES: usize = 8;

/// One write: by whom, to what, how.
#[derive(Clone)]
pub(crate) struct Write {
    pub core: Arc<Core>,
    pub user: UserInfo,
    pub def: Def,
    /// Name of the subresource; empty for none.
    pub sub: &'static str,
    /// Empty for cluster-scoped resources.
    pub namespace: String,
    pub options: WriteOptions,
    /// Make the change anew when somebody else was faster, although it carries the version it was
    /// made from (patches).
    pub retry: bool,
    /// Admission was asked about what the client sent (an eviction, a binding, a Service); what follows
    /// from it (its IPAddresses) is not judged again.
    pub(crate) admitted: bool,
    pub(crate) notes: Arc<Notes>,
    /// Who owns which field stays as it is: server-side apply has decided it before defaults and
    /// admission change the object, or the fields follow from what is no object of its own (a binding,
    /// an eviction).
    pub(crate) untracked: bool,
}

impl Write {
    /// Of a request.
    pub(crate) fn of(ctx: &Context, options: WriteOptions) -> Self {
        Write {
            core: ctx.core.clone(),
            user: ctx.user.clone(),
            def: ctx.def.clone(),
            sub: ctx.sub_name(),
            namespace: if ctx.def.namespaced {
                ctx.info.namespace.clone()
            } else {
                String::new()
            },
            options,
            retry: false,
            untracked: false,
            admitted: false,
            notes: ctx.notes.clone(),
        }
    }

    /// Of the server itself.
    pub(crate) fn internal(core: &Arc<Core>, def: impl Into<Def>, namespace: &str) -> Self {
        let def = def.into();
        Write {
            core: core.clone(),
            user: UserInfo::loopback(),
            sub: "",
            namespace: if def.namespaced {
                namespace.to_owned()
            } else {
                String::new()
            },
            def,
            options: WriteOptions {
                field_manager: "kube-apiserver".into(),
                ..Default::default()
            },
            retry: false,
            untracked: false,
            admitted: false,
            notes: Arc::default(),
        }
    }

    /// Group, version and kind of the form that writes work on; all rules apply to it.
    pub(crate) fn gvk(&self) -> Gvk {
        stored_gvk(&self.def)
    }

    /// The request as admission plugins see it.
    pub(crate) fn admission<'a>(
        &'a self,
        operation: Operation,
        name: &'a str,
        object: &'a mut Value,
        old: Option<&'a Value>,
    ) -> Request<'a> {
        Request {
            core: &self.core,
            user: &self.user,
            operation,
            def: &self.def,
            sub: self.sub,
            namespace: &self.namespace,
            name,
            object,
            owners: None,
            old,
            options: if operation == Operation::Connect {
                OptionsOf::None
            } else {
                OptionsOf::Write(&self.options)
            },
            dry_run: self.options.dry_run,
            notes: &self.notes,
            reinvocation: Default::default(),
        }
    }

    /// A tree in stored form that was not stored (dry run).
    pub(crate) fn tree(&self, object: Value) -> Payload {
        Payload::Tree(convert::to_served(&self.def, object))
    }

    /// Whether who may change an object by this name may also create it: asked where an update or an
    /// apply finds nothing.
    ///
    /// # Errors
    /// 403.
    pub(crate) async fn may_create(&self, name: &str) -> Result<()> {
        let wanted = Attributes {
            verb: "create".into(),
            namespace: self.namespace.clone(),
            group: self.def.group.into(),
            version: self.def.version.into(),
            resource: self.def.resource.into(),
            subresource: self.sub.into(),
            name: name.into(),
            is_resource: true,
            ..Default::default()
        };
        self.core.authorizer.check(&self.user, &wanted).await
    }

    /// Creates an object given in stored form, decoded and defaulted. In upstream's order
    /// (`endpoints/handlers/create.go`, then `registry/rest/create.go`): owners of fields, mutating
    /// admission, system fields and a generated name, the kind's preparation, validation, validating
    /// admission. So admission sees no name that is still to be generated and owns nothing it sets.
    ///
    /// # Errors
    /// 400, 403, 409 or 422.
    pub(crate) async fn create(&self, mut object: Value) -> Result<Payload> {
        let gr = group_resource(&self.def);
        // Upstream's store says so, which a dry run does not reach.
        if !meta::resource_version(&object).is_empty() && !self.options.dry_run {
            return Err(
                Status::bad_request("resourceVersion should not be set on objects to be created").into(),
            );
        }
        check_namespace(&self.def, &self.namespace, &mut object)?;
        // What only the server may say.
        for field in [
            "creationTimestamp",
            "uid",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "selfLink",
        ] {
            meta::remove(&mut object, field);
        }
        self.normalize(&mut object);
        self.through_internal(&mut object);
        let mut owners = managed::created(self, &mut object);
        let name = meta::name(&object).to_owned();
        if !self.admitted {
            self.core
                .admission
                .mutate(Request {
                    owners: Some(&mut owners),
                    ..self.admission(Operation::Create, &name, &mut object, None)
                })
                .await?;
        }
        self.default(&mut object);
        check_namespace(&self.def, &self.namespace, &mut object)?;
        let base = meta::generate_name(&object).to_owned();
        if !meta::name(&object).is_empty() || base.is_empty() {
            return self.create_placed(object, owners).await;
        }
        for attempt in 1.. {
            let mut object = object.clone();
            let name = meta::generated_name(&base);
            meta::set(&mut object, "name", name.as_str());
            match self.create_placed(object, owners.clone()).await {
                Err(error) if error.reason == "AlreadyExists" => {
                    if attempt == NAME_TRIES {
                        return Err(Status::generate_name_conflict(&gr, &name, 1).into());
                    }
                }
                other => return other,
            }
        }
        unreachable!("the loop above returns")
    }

    /// As [`Write::create_named`], again with another address while somebody else gets the one that was
    /// chosen: each loss is somebody's gain.
    async fn create_placed(&self, object: Value, owners: Owners) -> Result<Payload> {
        let gr = group_resource(&self.def);
        if !services::is_service(&self.def) {
            let made = self.create_named(object, owners).await?;
            return made.map_err(|lost| lost.status(&gr));
        }
        loop {
            if let Ok(payload) = self.create_named(object.clone(), owners.clone()).await? {
                return Ok(payload);
            }
        }
    }

    /// The rest of a create, once the object has been through mutating admission and has its name. The
    /// inner error is [`Failure::AddressTaken`].
    async fn create_named(&self, mut object: Value, mut owners: Owners) -> Result<Result<Payload, Failure>> {
        let gr = group_resource(&self.def);
        let name = &meta::name(&object).to_owned();
        meta::set(&mut object, "uid", meta::new_uid());
        meta::set(&mut object, "creationTimestamp", meta::now());
        self.prepare_create(&mut object);
        self.normalize(&mut object);
        let reservation = services::reserve(&self.core, &self.def, self.sub, &mut object, None).await?;
        let errors = self.validate_create(&object);
        if !errors.is_empty() {
            return Err(Status::invalid(&self.gvk().group, self.def.kind, name, &errors).into());
        }
        if !self.admitted {
            self.core
                .admission
                .validate(Request {
                    owners: Some(&mut owners),
                    ..self.admission(Operation::Create, name, &mut object, None)
                })
                .await?;
        }
        if self.options.dry_run {
            owners.join(&mut object);
            let key = store_key(&self.def, &self.namespace, name);
            let (there, _) = self
                .core
                .store
                .get(&key, None)
                .await
                .map_err(|e| error::store(&gr, &e))?;
            if there.is_some() {
                return Err(Status::already_exists(&gr, name).into());
            }
            return Ok(Ok(self.tree(object)));
        }
        let bytes = self.seal_new(&mut object, owners).await?;
        let key = store_key(&self.def, &self.namespace, name);
        match self
            .commit(&key, Change::Create(bytes.clone()), reservation)
            .await
        {
            Ok(revision) => Ok(Ok(self.payload(name, object, bytes, revision)?)),
            Err(Failure::Store(rkind_store::Error::Exists { .. })) => {
                Err(Status::already_exists(&gr, name).into())
            }
            Err(lost @ Failure::AddressTaken) => Ok(Err(lost)),
            Err(failure) => Err(failure.status(&gr)),
        }
    }
}

/// create by request.
///
/// # Errors
/// Any `Status`.
pub(crate) async fn create(ctx: &Context, body: Body) -> Result<Response<Body>> {
    let options = ctx.write_options("CreateOptions")?;
    let bytes = read_body(body).await?;
    if !ctx.info.path_name().is_empty() {
        return Err(Status::method_not_allowed().into());
    }
    let (object, mut warnings) = decode(ctx, &bytes, options.field_validation)?;
    warnings.extend(machinery::oddities(&stored_gvk(&ctx.def), &object));
    let payload = Write::of(ctx, options).create(object).await?;
    render::object(ctx, StatusCode::CREATED, payload, &warnings).await
}

/// Group, version and kind in which rules and admission see a resource: the stored one of a built-in
/// kind, the request's of a custom resource.
pub(crate) fn stored_gvk(def: &Def) -> Gvk {
    if def.custom().is_some() {
        return Gvk::new(def.group, def.version, def.kind);
    }
    Gvk::new(def.storage_group, def.storage_version, def.kind)
}

/// Decodes a body into the resource's stored form, defaults applied. Also gives warnings.
///
/// # Errors
/// 400, 415.
pub(crate) fn decode(
    ctx: &Context,
    body: &[u8],
    validation: FieldValidation,
) -> Result<(Value, Vec<String>)> {
    let encoding = body_encoding(&ctx.headers).ok_or_else(unsupported_media)?;
    let decoded = rules::decode(&ctx.def, body, encoding, validation)?;
    audit::about(&decoded.0, || {
        let mut served = convert::to_served(&ctx.def, decoded.0.clone());
        if ctx.def.custom().is_none() {
            machinery::normalize(&render::served_gvk(&ctx.def), &mut served);
        }
        served
    });
    Ok(decoded)
}

/// Checks what a body says it is against what is expected; fills in what it leaves out.
///
/// # Errors
/// 400 in upstream's words.
pub(crate) fn check_kind(object: &mut Value, expected: &Gvk) -> Result<()> {
    let found = Gvk::of(object);
    let version = object["apiVersion"].as_str().unwrap_or_default();
    let wanted = api_version(&expected.group, &expected.version);
    let other_version = !version.is_empty() && version != wanted;
    let other_kind = !found.kind.is_empty() && found.kind != expected.kind;
    if other_version || other_kind {
        let kind = if other_kind { &found.kind } else { &expected.kind };
        let gvk = if version.is_empty() { expected } else { &found };
        let known = resources::by_kind(&gvk.group, &gvk.version, kind).is_some();
        if known && !other_kind {
            return Err(Status::bad_request(format!(
                "the API version in the data ({version}) does not match the expected API version ({wanted})"
            ))
            .into());
        }
        let why = if known {
            format!(
                "converting ({}.{kind}) to ({}.{}): unknown conversion",
                gvk.version,
                internal_package(&expected.group),
                expected.kind
            )
        } else {
            let version = api_version(&gvk.group, &gvk.version);
            format!(
                "no kind {kind:?} is registered for version {version:?} in scheme \"pkg/runtime/scheme.go:111\""
            )
        };
        return Err(Status::bad_request(format!(
            "{kind} in version {:?} cannot be handled as a {}: {why}",
            gvk.version, expected.kind
        ))
        .into());
    }
    object["apiVersion"] = Value::String(wanted);
    object["kind"] = Value::String(expected.kind.clone());
    Ok(())
}

/// The object's namespace must be the request's.
///
/// # Errors
/// 400.
pub(crate) fn check_namespace(def: &ResourceDef, namespace: &str, object: &mut Value) -> Result<()> {
    let own = meta::namespace(object);
    if !def.namespaced {
        if !own.is_empty() {
            meta::remove(object, "namespace");
        }
        return Ok(());
    }
    if namespace.is_empty() {
        return Err(Status::bad_request("an empty namespace may not be set during creation").into());
    }
    if own.is_empty() {
        meta::set(object, "namespace", namespace);
    } else if own != namespace {
        return Err(Status::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        )
        .into());
    }
    Ok(())
}

/// Canonical stored bytes: compact, sorted, without `resourceVersion`.
pub(crate) fn to_bytes(object: &mut Value) -> Bytes {
    meta::remove(object, "resourceVersion");
    stored(serde_json::to_string(object).unwrap_or_default())
}

/// [`to_bytes`] of an object whose `managedFields` are still apart, as JSON.
pub(crate) fn to_bytes_with(object: &mut Value, owners: &str) -> Bytes {
    meta::remove(object, "resourceVersion");
    let metadata = With {
        object: &object["metadata"],
        name: "managedFields",
        value: serde_json::from_str::<&RawValue>(owners).ok(),
    };
    let whole = With {
        object,
        name: "metadata",
        value: metadata,
    };
    stored(serde_json::to_string(&whole).unwrap_or_default())
}

/// Kept for as long as the object lives: without the room that they grew in.
fn stored(text: String) -> Bytes {
    Bytes::from(text.into_boxed_str().into_boxed_bytes())
}

/// An object with another value for one of its members, or with one more; in the order of names.
struct With<'a, V> {
    object: &'a Value,
    name: &'a str,
    value: V,
}

impl<V: Serialize> Serialize for With<'_, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_map(None)?;
        let mut due = true;
        for (name, value) in self.object.as_object().into_iter().flatten() {
            if due && name.as_str() >= self.name {
                due = false;
                out.serialize_entry(self.name, &self.value)?;
            }
            if name != self.name {
                out.serialize_entry(name, value)?;
            }
        }
        if due {
            out.serialize_entry(self.name, &self.value)?;
        }
        out.end()
    }
}

/// Upstream's package of a group's internal types, as errors name it.
fn internal_package(group: &str) -> &str {
    match group.split('.').next() {
        None | Some("") => "core",
        Some("internal") => "apiserverinternal",
        Some(first) => first,
    }
}

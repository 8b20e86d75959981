//! update: read, change, check, compare-and-swap.

use axum::body::Body;
use http::{Response, StatusCode};
use rkind_apimachinery::{field, meta, status::Status};
use rkind_store::Entry;
use serde_json::Value;

use super::{
    Context,
    commit::{Change, Failure},
    create::{Write, check_namespace, decode, stored_gvk},
    managed, read_body,
    render::{self, Payload},
};
use crate::{
    admission::Operation,
    core::{group_resource, store_key},
    error::{self, Result},
    machinery, services,
};

/// How often a change without a `resourceVersion` is tried against a moving object: each loss is
/// somebody else's success, so only a crowd of this size could starve one writer.
const TRIES: usize = 1000;

/// What an update did.
pub(crate) struct Updated {
    pub payload: Payload,
    pub created: bool,
}

/// update by request.
///
/// # Errors
/// Any `Status`.
pub(crate) async fn update(ctx: &Context, body: Body) -> Result<Response<Body>> {
    let options = ctx.write_options("UpdateOptions")?;
    let bytes = read_body(body).await?;
    let (object, mut warnings) = decode(ctx, &bytes, options.field_validation)?;
    let gvk = stored_gvk(&ctx.def);
    warnings.extend(machinery::oddities_of_update(&gvk, ctx.sub_name(), &object));
    let write = Write::of(ctx, options);
    let validation = write.options.field_validation;
    let again = || Ok(decode(ctx, &bytes, validation)?.0);
    let updated = write.replace(ctx.info.path_name(), object, again).await?;
    let code = if updated.created {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    render::object(ctx, code, updated.payload, &warnings).await
}

/// 400 for an object without a name at a URL with one.
pub(super) fn undeterminable(name: &str) -> Box<Status> {
    Status::bad_request(format!(
        "the name of the object ({name} based on URL) was undeterminable: name must be provided"
    ))
    .into()
}

impl Write {
    /// Replaces an object by one in stored form, made `again` where somebody else was faster: copies for
    /// that would nearly always be for nothing.
    ///
    /// # Errors
    /// 400, 403, 404, 409 or 422.
    pub(crate) async fn replace(
        &self,
        name: &str,
        mut object: Value,
        mut again: impl FnMut() -> Result<Value> + Send,
    ) -> Result<Updated> {
        let own = meta::name(&object);
        if own.is_empty() {
            return Err(undeterminable(name));
        }
        if own != name {
            return Err(Status::bad_request(format!(
                "the name of the object ({own}) does not match the name on the URL ({name})"
            ))
            .into());
        }
        check_namespace(&self.def, &self.namespace, &mut object)?;
        let unconditional = meta::resource_version(&object).is_empty();
        if unconditional && self.sub.is_empty() && self.rules().create_on_update {
            let key = store_key(&self.def, &self.namespace, name);
            let gr = group_resource(&self.def);
            let (there, _) = self
                .core
                .store
                .get(&key, None)
                .await
                .map_err(|e| error::store(&gr, &e))?;
            if there.is_none() {
                self.may_create(name).await?;
                return Ok(Updated {
                    payload: self.create(object).await?,
                    created: true,
                });
            }
        }
        let gr = group_resource(&self.def);
        let mut first = Some(object);
        self.change(name, |old| {
            let object = match first.take() {
                Some(object) => object,
                None => {
                    let mut object = again()?;
                    check_namespace(&self.def, &self.namespace, &mut object)?;
                    object
                }
            };
            let (uid, current) = (meta::uid(&object), meta::uid(old));
            if !uid.is_empty() && uid != current {
                let why = format!(
                    "StorageError: invalid object, Code: 4, Key: {}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: {uid}, UID in object meta: {current}",
                    etcd_key(&self.def, &self.namespace, name)
                );
                return Err(Status::conflict(&gr, name, &why).into());
            }
            Ok(object)
        })
        .await
    }

    /// Reads an object, lets `change` make the new one from it (both in stored form), and commits.
    /// When somebody else was faster and the new object carries no `resourceVersion` of its own, it
    /// is made anew from the newer state.
    ///
    /// # Errors
    /// 403, 404, 409 or 422, and whatever `change` fails with.
    pub(crate) async fn change(
        &self,
        name: &str,
        mut change: impl FnMut(&Value) -> Result<Value> + Send,
    ) -> Result<Updated> {
        let gr = group_resource(&self.def);
        let key = store_key(&self.def, &self.namespace, name);
        let (mut entry, _) = self
            .core
            .store
            .get(&key, None)
            .await
            .map_err(|e| error::store(&gr, &e))?;
        for _ in 0..TRIES {
            let Some(current) = entry.take() else {
                return Err(Status::not_found(&gr, name).into());
            };
            match self.attempt(name, &key, &current, &mut change).await? {
                Outcome::Done(payload) => {
                    return Ok(Updated {
                        payload,
                        created: false,
                    });
                }
                Outcome::Lost(newer) => entry = newer,
            }
        }
        Err(Status::modified(&gr, name).into())
    }

    /// One try, in upstream's order (`endpoints/handlers/update.go`, then `registry/rest/update.go`):
    /// owners of fields, mutating admission, the version it is meant for, the kind's preparation,
    /// validation, validating admission. So what admission changes is prepared as what clients send.
    async fn attempt(
        &self,
        name: &str,
        key: &str,
        current: &Entry,
        change: &mut (impl FnMut(&Value) -> Result<Value> + Send),
    ) -> Result<Outcome> {
        let gr = group_resource(&self.def);
        let mut old: Value = serde_json::from_slice(&current.value.bytes())
            .map_err(|e| Status::internal_error(&format!("stored object cannot be read: {e}")))?;
        meta::set(&mut old, "resourceVersion", current.mod_revision.to_string());
        let old = self.open(old).await?;
        let mut new = change(&old)?;

        // Before anything is compared: what is written the same way must look the same.
        self.normalize(&mut new);
        self.through_internal(&mut new);
        managed::updated(self, Some(&old), &mut new);
        if !self.admitted {
            self.core
                .admission
                .mutate(self.admission(Operation::Update, name, &mut new, Some(&old)))
                .await?;
        }
        self.default(&mut new);
        self.normalize(&mut new);
        let sent = meta::resource_version(&new).to_owned();
        let unconditional = sent.is_empty() || sent == "0";
        if unconditional && !self.rules().unconditional_update {
            let mut errors = field::ErrorList::new();
            let path = field::Path::new("metadata").child("resourceVersion");
            errors.push(field::Error::invalid(&path, 0, "must be specified for an update"));
            return Err(Status::invalid(self.def.group, self.def.resource, name, &errors).into());
        }
        if !unconditional && sent != meta::resource_version(&old) {
            return Err(Status::modified(&gr, name).into());
        }
        keep_metadata(&mut new, &old);
        self.prepare_update(&mut new, &old);
        let reservation = services::reserve(&self.core, &self.def, self.sub, &mut new, Some(&old)).await?;
        let errors = self.validate_update(&new, &old);
        if !errors.is_empty() {
            return Err(Status::invalid(&self.gvk().group, self.def.kind, name, &errors).into());
        }
        managed::keep_times(&old, &mut new);
        if !self.admitted {
            self.core
                .admission
                .validate(self.admission(Operation::Update, name, &mut new, Some(&old)))
                .await?;
        }
        if self.options.dry_run {
            return Ok(Outcome::Done(self.tree(new)));
        }
        let bytes = self.seal(&mut new).await?;
        if current.value == *bytes && !self.core.store.is_stale(key) {
            return Ok(Outcome::Done(self.payload(
                name,
                new,
                bytes,
                current.mod_revision,
            )?));
        }
        let (change, reservation) = if is_finished(&new) {
            let given_back = services::release(&self.core, &self.def, &old);
            (Change::Delete(current.mod_revision), given_back)
        } else {
            (Change::Update(current.mod_revision, bytes.clone()), reservation)
        };
        match self.commit(key, change, reservation).await {
            Ok(revision) => Ok(Outcome::Done(self.payload(name, new, bytes, revision)?)),
            Err(Failure::AddressTaken) => Ok(Outcome::Lost(Some(current.clone()))),
            Err(Failure::Store(rkind_store::Error::Conflict { current, .. })) => {
                if unconditional || self.retry {
                    Ok(Outcome::Lost(current))
                } else {
                    Err(Status::modified(&gr, name).into())
                }
            }
            Err(Failure::Store(rkind_store::Error::NotFound { .. })) => {
                Err(Status::not_found(&gr, name).into())
            }
            Err(failure) => Err(failure.status(&gr)),
        }
    }
}

enum Outcome {
    Done(Payload),
    /// Somebody else was faster, with the object or with an address; this is what is there now.
    Lost(Option<Entry>),
}

/// Fills in server-owned metadata that the new object leaves out; what it contradicts is for
/// validation to refuse.
fn keep_metadata(new: &mut Value, old: &Value) {
    for field in [
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generateName",
    ] {
        let kept = &old["metadata"][field];
        let sent = &new["metadata"][field];
        if sent.is_null() && !kept.is_null() {
            meta::set(new, field, kept.clone());
        }
    }
    match &old["metadata"]["generation"] {
        Value::Null => {
            meta::remove(new, "generation");
        }
        generation => meta::set(new, "generation", generation.clone()),
    }
    meta::remove(new, "selfLink");
}

/// Whether an object under deletion has nothing left to wait for.
pub(crate) fn is_finished(object: &Value) -> bool {
    meta::is_deleting(object)
        && meta::finalizers(object).next().is_none()
        && object["metadata"]["deletionGracePeriodSeconds"]
            .as_i64()
            .unwrap_or(0)
            == 0
        && !(object["kind"] == "Namespace"
            && object["spec"]["finalizers"]
                .as_array()
                .is_some_and(|list| !list.is_empty()))
}

/// The key under which upstream stores an object in etcd, below its prefix: its messages show it.
fn etcd_key(def: &crate::catalog::Def, namespace: &str, name: &str) -> String {
    let (group, resource) = (def.group, def.resource);
    let resource = match (group, resource) {
        ("", "nodes") => "minions",
        ("", "endpoints") => "services/endpoints",
        ("", "services") => "services/specs",
        ("", "replicationcontrollers") => "controllers",
        ("networking.k8s.io", "ingresses") => "ingress",
        _ => resource,
    };
    let by_group =
        def.custom().is_some() || matches!(group, "apiextensions.k8s.io" | "apiregistration.k8s.io");
    let kind = if by_group {
        format!("{group}/{resource}")
    } else {
        resource.to_owned()
    };
    if namespace.is_empty() {
        format!("/{kind}/{name}")
    } else {
        format!("/{kind}/{namespace}/{name}")
    }
}

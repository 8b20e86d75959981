//! delete and deletecollection: preconditions, grace, finalizers, propagation.
//! Upstream: `registry/rest/delete.go`, `registry/generic/registry/store.go`.

use axum::body::Body;
use futures::StreamExt as _;
use http::{Response, StatusCode};
use rkind_apimachinery::{
    meta::{self, GroupResource},
    resources::{self, ResourceDef},
    status::{Details, Status},
};
use serde_json::{Value, json};

use super::{
    Context,
    commit::{Change, Failure},
    create::Write,
    read, read_body, render, unsupported_media,
};
use crate::{
    admission::{Operation, OptionsOf},
    core::{group_resource, store_key},
    crd::{control::FINALIZER, names::set_condition},
    error::{self, Result},
    machinery,
    request::{
        media::body_encoding,
        options::{DeleteOptions, ListOptions, Propagation},
    },
    services,
};

/// How many objects of a collection are deleted at once.
const DELETIONS: usize = 16;

const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";

/// delete by request.
///
/// # Errors
/// Any `Status`.
pub(crate) async fn delete(ctx: &Context, body: Body) -> Result<Response<Body>> {
    let options = options(ctx, body).await?;
    let write = write(ctx, &options);
    let name = ctx.info.path_name();
    let deleted = write.delete(name, &options).await;
    // Who is refused what is there is told, too.
    if !matches!(&deleted, Err(status) if status.code == 404) {
        warn(ctx, &options);
    }
    let deleted = deleted?;
    if deleted.gone && !resources::returns_deleted(ctx.def.group, ctx.def.kind) {
        let status = success(&ctx.def, name, meta::uid(&deleted.last));
        let bytes = render::encode(&status.to_value(), ctx.media)?;
        return Ok(render::respond(
            StatusCode::OK,
            ctx.media.encoding.content_type(),
            bytes.into(),
            &ctx.headers,
        ));
    }
    let payload = write.tree(deleted.last);
    render::object(ctx, StatusCode::OK, payload, &[]).await
}

/// deletecollection by request.
///
/// # Errors
/// Any `Status`.
pub(crate) async fn collection(ctx: &Context, body: Body) -> Result<Response<Body>> {
    let options = options(ctx, body).await?;
    let list = ListOptions::parse(ctx.query(), &ctx.def, false)?;
    let page = read::page(ctx, &list).await?;
    // Several at a time share the store's disk writes.
    let mut deletions = Vec::with_capacity(page.objects.len());
    for object in &page.objects {
        let mut write = write(ctx, &options);
        if ctx.def.namespaced {
            write.namespace = object.namespace().to_owned();
        }
        let (object, options) = (object.clone(), options.clone());
        deletions.push(async move { write.delete(object.name(), &options).await });
    }
    let mut deletions = futures::stream::iter(deletions).buffered(DELETIONS);
    while let Some(done) = deletions.next().await {
        match done {
            Err(error) if error.code != 404 => return Err(error),
            _ => {}
        }
    }
    // The objects as they were found, whatever became of them.
    read::answer(ctx, page).await
}

async fn options(ctx: &Context, body: Body) -> Result<DeleteOptions> {
    let bytes = read_body(body).await?;
    if bytes.is_empty() {
        return DeleteOptions::parse(ctx.query(), None);
    }
    let encoding = body_encoding(&ctx.headers).ok_or_else(unsupported_media)?;
    let value = machinery::decode_options(
        &bytes,
        encoding,
        "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions",
    )?;
    DeleteOptions::parse(ctx.query(), Some(&value))
}

fn write(ctx: &Context, options: &DeleteOptions) -> Write {
    let write_options = crate::request::options::WriteOptions {
        dry_run: options.dry_run,
        ..Default::default()
    };
    Write::of(ctx, write_options)
}

fn warn(ctx: &Context, options: &DeleteOptions) {
    if ctx.def.resource == "jobs" && options.propagation.is_none() {
        ctx.notes.warn("child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set propagationPolicy=Orphan to suppress this warning");
    }
}

/// The answer to a completed delete.
fn success(def: &ResourceDef, name: &str, uid: &str) -> Status {
    Status::success(Some(Details {
        name: name.into(),
        group: def.group.into(),
        kind: def.resource.into(),
        uid: uid.into(),
        ..Default::default()
    }))
}

/// What a delete did.
pub(crate) struct Deleted {
    /// The object's last state, in stored form.
    pub last: Value,
    /// False when it waits for its grace period or finalizers.
    pub gone: bool,
}

/// What a delete will do.
#[derive(Debug, PartialEq)]
pub(crate) enum Plan {
    Remove,
    /// Store this object; it waits for grace or finalizers.
    Mark(Value),
    /// Store this object, then remove it: whoever watches sees when it went.
    MarkAndRemove(Value),
    /// Already waiting.
    Nothing,
}

impl Write {
    /// Deletes an object or begins its deletion.
    ///
    /// # Errors
    /// 403, 404 or 409.
    pub(crate) async fn delete(&self, name: &str, options: &DeleteOptions) -> Result<Deleted> {
        let gr = group_resource(&self.def);
        let key = store_key(&self.def, &self.namespace, name);
        loop {
            let (entry, _) = self
                .core
                .store
                .get(&key, None)
                .await
                .map_err(|e| error::store(&gr, &e))?;
            let Some(entry) = entry else {
                return Err(Status::not_found(&gr, name).into());
            };
            let mut old: Value = serde_json::from_slice(&entry.value.bytes())
                .map_err(|e| Status::internal_error(&format!("stored object cannot be read: {e}")))?;
            meta::set(&mut old, "resourceVersion", entry.mod_revision.to_string());
            let mut old = self.open(old).await?;
            self.preconditions(name, &old, options)?;
            if !self.admitted {
                self.admit_deletion(name, &old, options).await?;
            }

            let now = jiff::Timestamp::now();
            let plan = plan(&self.def, &old, options, now);
            // What is answered of a pod that goes at once says so.
            if plan == Plan::Remove && (self.def.group, self.def.resource) == ("", "pods") {
                mark(&mut old, now, 0);
            }
            if self.options.dry_run {
                return Ok(match plan {
                    Plan::Mark(new) => Deleted {
                        last: new,
                        gone: false,
                    },
                    Plan::MarkAndRemove(new) => Deleted {
                        last: new,
                        gone: true,
                    },
                    Plan::Remove => Deleted {
                        last: old,
                        gone: true,
                    },
                    Plan::Nothing => Deleted {
                        last: old,
                        gone: false,
                    },
                });
            }
            let done = match plan {
                Plan::Nothing => {
                    return Ok(Deleted {
                        last: old,
                        gone: false,
                    });
                }
                Plan::Remove => {
                    let given_back = services::release(&self.core, &self.def, &old);
                    let change = Change::Delete(entry.mod_revision);
                    self.commit(&key, change, given_back).await.map(|revision| {
                        meta::set(&mut old, "resourceVersion", revision.to_string());
                        Deleted {
                            last: old,
                            gone: true,
                        }
                    })
                }
                Plan::Mark(mut new) => {
                    let bytes = self.seal(&mut new).await?;
                    let marked = self.core.store.update(&key, entry.mod_revision, bytes).await;
                    marked.map_err(Failure::from).map(|revision| {
                        meta::set(&mut new, "resourceVersion", revision.to_string());
                        Deleted {
                            last: new,
                            gone: false,
                        }
                    })
                }
                Plan::MarkAndRemove(mut new) => {
                    let bytes = self.seal(&mut new).await?;
                    let given_back = services::release(&self.core, &self.def, &old);
                    let removed = match self.core.store.update(&key, entry.mod_revision, bytes).await {
                        Ok(marked) => self.commit(&key, Change::Delete(marked), given_back).await,
                        Err(error) => Err(error.into()),
                    };
                    removed.map(|revision| {
                        meta::set(&mut new, "resourceVersion", revision.to_string());
                        Deleted {
                            last: new,
                            gone: true,
                        }
                    })
                }
            };
            match done {
                Ok(deleted) => return Ok(deleted),
                Err(Failure::Store(rkind_store::Error::Conflict { .. })) => {}
                Err(Failure::Store(rkind_store::Error::NotFound { .. })) => {
                    return Err(Status::not_found(&gr, name).into());
                }
                Err(failure) => return Err(failure.status(&gr)),
            }
        }
    }

    async fn admit_deletion(&self, name: &str, old: &Value, options: &DeleteOptions) -> Result<()> {
        let mut shown = old.clone();
        let mut request = self.admission(Operation::Delete, name, &mut shown, Some(old));
        request.options = OptionsOf::Delete(options);
        self.core.admission.mutate(request).await?;
        let mut request = self.admission(Operation::Delete, name, &mut shown, Some(old));
        request.options = OptionsOf::Delete(options);
        self.core.admission.validate(request).await
    }

    fn preconditions(&self, name: &str, old: &Value, options: &DeleteOptions) -> Result<()> {
        // Upstream names the kind where it names the resource of other conflicts.
        let group = match self.def.resource {
            // Both groups of events have one kind.
            "events" => "",
            _ => self.def.group,
        };
        let what = GroupResource::new(group, self.def.kind);
        let uid = meta::uid(old);
        if let Some(wanted) = &options.precondition_uid
            && wanted != uid
        {
            if has_own_deletion(&self.def) {
                let why =
                    format!("Precondition failed: UID in precondition: {wanted}, UID in object meta: {uid}");
                return Err(Status::conflict(&group_resource(&self.def), name, &why).into());
            }
            let why = format!(
                "the UID in the precondition ({wanted}) does not match the UID in record ({uid}). The object might have been deleted and then recreated"
            );
            return Err(Status::conflict(&what, name, &why).into());
        }
        let version = meta::resource_version(old);
        if let Some(wanted) = &options.precondition_version
            && wanted != version
        {
            if has_own_deletion(&self.def) {
                let why = format!(
                    "Precondition failed: ResourceVersion in precondition: {wanted}, ResourceVersion in object meta: {version}"
                );
                return Err(Status::conflict(&group_resource(&self.def), name, &why).into());
            }
            let why = format!(
                "the ResourceVersion in the precondition ({wanted}) does not match the ResourceVersion in record ({version}). The object might have been modified"
            );
            return Err(Status::conflict(&what, name, &why).into());
        }
        Ok(())
    }
}

/// Decides what deleting `old` means now.
pub(crate) fn plan(def: &ResourceDef, old: &Value, options: &DeleteOptions, now: jiff::Timestamp) -> Plan {
    let mut new = old.clone();
    if is_definition(def) && !meta::is_deleting(&new) {
        return plan_definition(new, now);
    }
    set_propagation(def, &mut new, options);
    let waits = meta::finalizers(&new).next().is_some();
    if (def.group, def.resource) == ("", "namespaces") {
        return plan_namespace(old, new, waits, now);
    }
    if (def.group, def.resource) != ("", "pods") {
        if !waits {
            return Plan::Remove;
        }
        mark(&mut new, now, 0);
        return if new == *old {
            Plan::Nothing
        } else {
            Plan::Mark(new)
        };
    }
    plan_pod(old, new, waits, options, now)
}

/// Kinds that upstream deletes in a way of their own, with other words for what keeps it from that.
fn has_own_deletion(def: &ResourceDef) -> bool {
    is_definition(def) || (def.group, def.resource) == ("", "namespaces")
}

fn is_definition(def: &ResourceDef) -> bool {
    (def.group, def.resource) == ("apiextensions.k8s.io", "customresourcedefinitions")
}

/// A definition goes when its objects have gone; upstream deletes it in a way of its own, which counts no
/// generation and heeds no propagation.
fn plan_definition(mut new: Value, now: jiff::Timestamp) -> Plan {
    meta::set(&mut new, "deletionTimestamp", meta::time(now));
    let mut finalizers: Vec<String> = meta::finalizers(&new).map(str::to_owned).collect();
    if !finalizers.iter().any(|f| f == FINALIZER) {
        finalizers.push(FINALIZER.to_owned());
    }
    meta::set(&mut new, "finalizers", finalizers);
    meta::child_object(&mut new, "status");
    set_condition(
        &mut new["status"],
        "Terminating",
        true,
        "InstanceDeletionPending",
        "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon",
        &meta::time(now),
    );
    Plan::Mark(new)
}

fn plan_namespace(old: &Value, mut new: Value, waits: bool, now: jiff::Timestamp) -> Plan {
    let held = old["spec"]["finalizers"]
        .as_array()
        .is_some_and(|list| !list.is_empty());
    if !waits && !held {
        return Plan::Remove;
    }
    if !meta::is_deleting(old) {
        meta::set(&mut new, "deletionTimestamp", meta::time(now));
    }
    meta::child_object(&mut new, "status").insert("phase".into(), json!("Terminating"));
    if new == *old {
        Plan::Nothing
    } else {
        Plan::Mark(new)
    }
}

fn plan_pod(old: &Value, mut new: Value, waits: bool, options: &DeleteOptions, now: jiff::Timestamp) -> Plan {
    let running = !matches!(old["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
    let bound = old["spec"]["nodeName"].as_str().is_some_and(|n| !n.is_empty());
    if meta::is_deleting(old) {
        let left = old["metadata"]["deletionGracePeriodSeconds"]
            .as_i64()
            .unwrap_or(0);
        let Some(wanted) = options.grace_period_seconds.map(|s| s.max(0)) else {
            return if left == 0 && !waits {
                Plan::Remove
            } else {
                Plan::Nothing
            };
        };
        if wanted >= left {
            return if left == 0 && !waits {
                Plan::Remove
            } else {
                Plan::Nothing
            };
        }
        let at = meta::parse_time(meta::deletion_timestamp(old))
            .unwrap_or(now)
            .as_second()
            - left
            + wanted;
        let at = jiff::Timestamp::from_second(at).unwrap_or(now);
        meta::set(&mut new, "deletionTimestamp", meta::time(at));
        meta::set(&mut new, "deletionGracePeriodSeconds", wanted);
        return marked(new, wanted, waits);
    }
    let grace = if !running || !bound {
        0
    } else {
        let own = old["spec"]["terminationGracePeriodSeconds"]
            .as_i64()
            .unwrap_or(30);
        // Upstream: a negative period means one second.
        Some(options.grace_period_seconds.unwrap_or(own)).map_or(0, |s| if s < 0 { 1 } else { s })
    };
    mark(&mut new, now, grace);
    marked(new, grace, waits)
}

fn marked(new: Value, grace: i64, waits: bool) -> Plan {
    if grace == 0 && !waits {
        Plan::MarkAndRemove(new)
    } else {
        Plan::Mark(new)
    }
}

fn mark(object: &mut Value, now: jiff::Timestamp, grace: i64) {
    if meta::is_deleting(object) {
        if grace == 0 {
            meta::set(object, "deletionGracePeriodSeconds", 0);
        }
        return;
    }
    let at = jiff::Timestamp::from_second(now.as_second().saturating_add(grace)).unwrap_or(now);
    meta::set(object, "deletionTimestamp", meta::time(at));
    meta::set(object, "deletionGracePeriodSeconds", grace);
    let generation = meta::generation(object);
    if generation > 0 {
        meta::set(object, "generation", generation + 1);
    }
}

/// Sets the garbage collector's finalizers as `propagationPolicy` says.
fn set_propagation(def: &ResourceDef, object: &mut Value, options: &DeleteOptions) {
    // Nothing depends on an event.
    if def.resource == "events" {
        return;
    }
    let mut list: Vec<String> = meta::finalizers(object).map(str::to_owned).collect();
    let has = |name: &str| list.iter().any(|f| f == name);
    let orphans_by_default = matches!(
        (def.group, def.resource),
        ("batch", "jobs") | ("", "replicationcontrollers")
    );
    let policy = match options.propagation {
        Some(policy) => policy,
        None if has(ORPHAN) => Propagation::Orphan,
        None if has(FOREGROUND) => Propagation::Foreground,
        None if orphans_by_default => Propagation::Orphan,
        None => Propagation::Background,
    };
    let wanted = match policy {
        Propagation::Orphan => Some(ORPHAN),
        Propagation::Foreground => Some(FOREGROUND),
        Propagation::Background => None,
    };
    // Nothing to collect behind an object that is only waiting for somebody else.
    list.retain(|f| (f != ORPHAN && f != FOREGROUND) || Some(f.as_str()) == wanted);
    if let Some(wanted) = wanted
        && !list.iter().any(|f| f == wanted)
    {
        list.push(wanted.to_owned());
    }
    if list.is_empty() {
        meta::remove(object, "finalizers");
    } else {
        meta::set(object, "finalizers", list);
    }
}

#[cfg(test)]
mod tests;

//! A write as those outside this server see it: served versions, the `AdmissionRequest` object.
//! Upstream: `k8s.io/apiserver/pkg/admission/attributes.go`, `…/plugin/webhook/request`.

use rkind_apimachinery::meta::{Gvk, Gvr};
use serde_json::{Value, json};

use super::{Operation, Request};
use crate::{
    catalog::Def,
    error::Result,
    machinery,
    registry::{convert, create::stored_gvk, reviews::user_info, rules, scale},
    request::options::{DeleteOptions, FieldValidation, Propagation, WriteOptions},
};

/// The options that a write came with.
#[derive(Clone, Copy)]
pub(crate) enum OptionsOf<'a> {
    Write(&'a WriteOptions),
    Delete(&'a DeleteOptions),
    /// A connection has none.
    None,
}

impl Operation {
    /// As rules and reviews spell it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Operation::Create => "CREATE",
            Operation::Update => "UPDATE",
            Operation::Delete => "DELETE",
            Operation::Connect => "CONNECT",
        }
    }
}

impl Request<'_> {
    /// The kind of the object in flight when the subresource has one of its own (`Scale`, `Eviction`).
    fn own_kind(&self) -> Option<Gvk> {
        if self.operation == Operation::Connect {
            let kind = match (self.def.resource, self.sub) {
                ("pods", "exec") => "PodExecOptions",
                ("pods", "attach") => "PodAttachOptions",
                ("pods", "portforward") => "PodPortForwardOptions",
                ("pods", "proxy") => "PodProxyOptions",
                ("services", "proxy") => "ServiceProxyOptions",
                _ => "NodeProxyOptions",
            };
            return Some(Gvk::new("", "v1", kind));
        }
        let sub = self.def.subresource(self.sub)?;
        (sub.kind != self.def.kind || sub.group != self.def.group)
            .then(|| Gvk::new(sub.group, sub.version, sub.kind))
    }

    /// Kind of the object in flight, in the version of `def` (an equivalent of the request's own).
    pub(crate) fn kind_in(&self, def: &Def) -> Gvk {
        self.own_kind()
            .unwrap_or_else(|| Gvk::new(def.group, def.version, def.kind))
    }

    /// The resource in the version of `def`.
    pub(crate) fn resource_in(&self, def: &Def) -> Gvr {
        Gvr::new(def.group, def.version, def.resource)
    }

    /// Namespace of the request; a namespace itself is in the one of its name.
    pub(crate) fn scope(&self) -> &str {
        if self.def.group.is_empty() && self.def.resource == "namespaces" {
            self.name
        } else {
            self.namespace
        }
    }

    /// The new and the old object in the version of `def`; null where there is none.
    pub(crate) fn objects_in(&self, def: &Def) -> (Value, Value) {
        let view = |object: &Value| {
            if self.sub == "scale" {
                scale::of(self.def, object).unwrap_or_default()
            } else if object.is_null() || self.own_kind().is_some() {
                object.clone()
            } else {
                let mut object = object.clone();
                machinery::normalize(&stored_gvk(self.def), &mut object);
                convert::to_served(def, object)
            }
        };
        let new = if self.operation == Operation::Delete {
            Value::Null
        } else {
            view(self.object)
        };
        (new, self.old.map(view).unwrap_or_default())
    }

    /// Takes a changed object in the version of `def`: unknown fields are dropped, defaults filled in.
    ///
    /// # Errors
    /// 500 when it is no object of its kind.
    pub(crate) fn take(&mut self, def: &Def, changed: Value) -> Result<()> {
        if self.sub == "scale" {
            scale::set(self.def, self.object, &changed);
            return Ok(());
        }
        if def.custom().is_some() {
            let (object, _) = rules::recheck(def, changed, FieldValidation::Ignore)
                .map_err(|e| rkind_apimachinery::status::Status::internal_error(&e.message))?;
            *self.object = convert::to_served(self.def, object);
            return Ok(());
        }
        let kind = self.kind_in(def);
        let type_name = match def.subresource(self.sub) {
            Some(sub) if self.own_kind().is_some() => sub.type_name,
            _ => def.type_name,
        };
        let (mut object, _) = machinery::recheck(&changed, &kind, type_name, FieldValidation::Ignore)
            .map_err(|e| rkind_apimachinery::status::Status::internal_error(&e.message))?;
        machinery::default(&kind, &mut object);
        *self.object = if self.own_kind().is_some() {
            object
        } else {
            convert::to_stored(def, object)
        };
        Ok(())
    }

    /// `CreateOptions`, `UpdateOptions` or `DeleteOptions` of the request; null for connections.
    pub(crate) fn options_object(&self) -> Value {
        let mut object = json!({"apiVersion": "meta.k8s.io/v1"});
        match self.options {
            OptionsOf::None => return Value::Null,
            OptionsOf::Write(options) => {
                object["kind"] = json!(if self.operation == Operation::Create {
                    "CreateOptions"
                } else {
                    "UpdateOptions"
                });
                if !options.field_manager.is_empty() {
                    object["fieldManager"] = json!(options.field_manager);
                }
                match options.field_validation {
                    FieldValidation::Strict => object["fieldValidation"] = json!("Strict"),
                    FieldValidation::Ignore => object["fieldValidation"] = json!("Ignore"),
                    FieldValidation::Warn => {}
                }
            }
            OptionsOf::Delete(options) => {
                object["kind"] = json!("DeleteOptions");
                if let Some(seconds) = options.grace_period_seconds {
                    object["gracePeriodSeconds"] = json!(seconds);
                }
                if let Some(policy) = options.propagation {
                    object["propagationPolicy"] = json!(match policy {
                        Propagation::Orphan => "Orphan",
                        Propagation::Background => "Background",
                        Propagation::Foreground => "Foreground",
                    });
                }
                if let Some(uid) = &options.precondition_uid {
                    object["preconditions"]["uid"] = json!(uid);
                }
                if let Some(version) = &options.precondition_version {
                    object["preconditions"]["resourceVersion"] = json!(version);
                }
            }
        }
        if self.dry_run {
            object["dryRun"] = json!(["All"]);
        }
        object
    }

    /// `admission.k8s.io/v1 AdmissionRequest` in the version of `def`.
    pub(crate) fn admission_request(&self, uid: &str, def: &Def, new: Value, old: Value) -> Value {
        let kind = |kind: Gvk| json!({"group": kind.group, "version": kind.version, "kind": kind.kind});
        let resource = |r: Gvr| json!({"group": r.group, "version": r.version, "resource": r.resource});
        let mut request = json!({
            "uid": uid,
            "kind": kind(self.kind_in(def)),
            "resource": resource(self.resource_in(def)),
            "requestKind": kind(self.kind_in(self.def)),
            "requestResource": resource(self.resource_in(self.def)),
            "operation": self.operation.as_str(),
            "userInfo": user_info(self.user),
            "object": new,
            "oldObject": old,
            "dryRun": self.dry_run,
            "options": self.options_object(),
        });
        for (field, text) in [
            ("subResource", self.sub),
            ("requestSubResource", self.sub),
            ("name", self.name),
            ("namespace", self.scope()),
        ] {
            if !text.is_empty() {
                request[field] = json!(text);
            }
        }
        request
    }
}

//! Query and body options: `ListOptions`, `PatchOptions`, `DeleteOptions` and the like.
//! Upstream: `k8s.io/apimachinery/pkg/apis/meta/v1` and its validation.

use std::cell::OnceCell;

use rkind_apimachinery::{
    field::{Error, ErrorList, Path},
    jsonpath,
    selector::{FieldSelector, LabelSelector},
    status::Status,
};
use serde_json::Value;

use super::info::{query_pairs, truthy};
use crate::{
    cacher::{Obj, fields},
    catalog::{Custom, Def},
    error::Result,
};

#[cfg(test)]
mod tests;

/// Which of a resource's objects are wanted.
#[derive(Clone, Debug)]
pub(crate) struct Selector {
    pub labels: LabelSelector,
    pub fields: FieldSelector,
}

impl Selector {
    /// Whether nothing is left out.
    pub(crate) fn is_everything(&self) -> bool {
        self.labels.is_everything() && self.fields.is_everything()
    }

    /// Whether an object of a resource is wanted. Fields of a custom resource's own are read from the
    /// stored bytes: see [`Selector::reads_served`].
    pub(crate) fn matches(&self, def: &Def, object: &Obj) -> bool {
        if !self.labels.matches_by(|key| object.labels().get(key)) {
            return false;
        }
        if self.fields.is_everything() {
            return true;
        }
        if let Some(own) = def.custom() {
            let tree = OnceCell::new();
            return self.matches_custom(own, object, || tree.get_or_init(|| object.to_value()));
        }
        let resource = def.storage_prefix;
        self.fields
            .matches_by(|field| fields::value(resource, object, field).unwrap_or_default().into())
    }

    /// Whether an object must be brought into the version that is served before it can be chosen.
    pub(crate) fn reads_served(&self, def: &Def, object: &Obj) -> bool {
        let metadata = |field: &str| matches!(field, "metadata.name" | "metadata.namespace");
        def.custom().is_some_and(|own| !own.is_plain(object))
            && !self.fields.terms().iter().all(|term| metadata(&term.field))
    }

    /// Whether a custom resource is wanted that is `served` in the version of the request.
    pub(crate) fn matches_served(&self, own: &Custom, object: &Obj, served: &Value) -> bool {
        self.labels.matches_by(|key| object.labels().get(key)) && self.matches_custom(own, object, || served)
    }

    /// Fields of a custom resource are read where its definition says they stand.
    fn matches_custom<'a>(&self, own: &Custom, object: &Obj, tree: impl Fn() -> &'a Value) -> bool {
        self.fields.matches_by(|field| {
            match field {
                "metadata.name" => return object.name().to_owned().into(),
                "metadata.namespace" => return object.namespace().to_owned().into(),
                _ => {}
            }
            let known = own.version().selectable.iter().find(|s| s.label == field);
            match known.and_then(|s| jsonpath::at(tree(), &s.path)) {
                None | Some(Value::Null) => "".into(),
                Some(Value::String(text)) => text.clone().into(),
                Some(other) => other.to_string().into(),
            }
        })
    }
}

/// `resourceVersionMatch`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum VersionMatch {
    #[default]
    Unset,
    Exact,
    NotOlderThan,
}

/// `metav1.ListOptions`, for list, watch and deletecollection.
#[derive(Clone, Debug)]
pub(crate) struct ListOptions {
    pub selector: Selector,
    /// As sent; empty when unset.
    pub resource_version: String,
    pub version_match: VersionMatch,
    /// 0 when unset.
    pub limit: usize,
    pub continue_token: String,
    pub timeout_seconds: Option<u64>,
    pub bookmarks: bool,
    pub send_initial_events: Option<bool>,
}

impl ListOptions {
    /// Reads and checks a query for a kind.
    ///
    /// # Errors
    /// 400 for a selector, 422 for a combination upstream refuses.
    pub(crate) fn parse(query: Option<&str>, def: &Def, watch: bool) -> Result<ListOptions> {
        let mut options = ListOptions {
            selector: Selector {
                labels: LabelSelector::everything(),
                fields: FieldSelector::everything(),
            },
            resource_version: String::new(),
            version_match: VersionMatch::Unset,
            limit: 0,
            continue_token: String::new(),
            timeout_seconds: None,
            bookmarks: false,
            send_initial_events: None,
        };
        let bad = |message: String| Box::new(Status::bad_request(message));
        let mut errors = ErrorList::new();
        let mut limit: i64 = 0;
        for (key, value) in query_pairs(query) {
            match key.as_str() {
                "labelSelector" => {
                    options.selector.labels = LabelSelector::parse(&value).map_err(|e| {
                        bad(format!("unable to parse requirement: {e}").replace(
                            "unable to parse requirement: unable to parse requirement",
                            "unable to parse requirement",
                        ))
                    })?;
                }
                "fieldSelector" => {
                    options.selector.fields = FieldSelector::parse(&value)
                        .map_err(|e| bad(e.to_string()))
                        .and_then(|s| check_fields(s, def))?;
                }
                "resourceVersion" => options.resource_version = value,
                "resourceVersionMatch" => {
                    options.version_match = match value.as_str() {
                        "" => VersionMatch::Unset,
                        "Exact" => VersionMatch::Exact,
                        "NotOlderThan" => VersionMatch::NotOlderThan,
                        _ => {
                            let supported = ["Exact", "NotOlderThan", ""];
                            errors.push(Error::not_supported(
                                &Path::new("resourceVersionMatch"),
                                value,
                                &supported,
                            ));
                            continue;
                        }
                    };
                }
                "limit" => limit = number(&value)?,
                "continue" => options.continue_token = value,
                "timeoutSeconds" => options.timeout_seconds = u64::try_from(number(&value)?).ok(),
                "allowWatchBookmarks" => options.bookmarks = truthy(&value),
                "sendInitialEvents" if !value.is_empty() => {
                    options.send_initial_events = Some(truthy(&value))
                }
                _ => {}
            }
        }
        if limit < 0 {
            errors.push(Error::invalid(
                &Path::new("limit"),
                limit,
                "must be greater than or equal to 0",
            ));
        }
        options.limit = usize::try_from(limit).unwrap_or(0);
        options.validate(watch, &mut errors);
        if errors.is_empty() {
            return Ok(options);
        }
        Err(Status::invalid("meta.k8s.io", "ListOptions", "", &errors).into())
    }

    fn validate(&self, watch: bool, errors: &mut ErrorList) {
        let path = Path::new("resourceVersionMatch");
        let set = self.version_match != VersionMatch::Unset;
        if watch {
            if let Some(initial) = self.send_initial_events {
                if self.version_match != VersionMatch::NotOlderThan {
                    let detail = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
                    errors.push(Error::forbidden(&path, detail));
                }
                if initial && !self.bookmarks {
                    let path = Path::new("allowWatchBookmarks");
                    let detail = "sendInitialEvents requires setting allowWatchBookmarks to true";
                    errors.push(Error::forbidden(&path, detail));
                }
            } else if set {
                errors.push(Error::forbidden(
                    &path,
                    "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
                ));
            }
            return;
        }
        if self.send_initial_events.is_some() {
            errors.push(Error::forbidden(
                &Path::new("sendInitialEvents"),
                "sendInitialEvents is forbidden for list",
            ));
        }
        if !set {
            return;
        }
        if self.resource_version.is_empty() {
            errors.push(Error::forbidden(
                &path,
                "resourceVersionMatch is forbidden unless resourceVersion is provided",
            ));
        }
        if !self.continue_token.is_empty() {
            errors.push(Error::forbidden(
                &path,
                "resourceVersionMatch is forbidden when continue is provided",
            ));
        }
        if self.version_match == VersionMatch::Exact && self.resource_version == "0" {
            errors.push(Error::forbidden(
                &path,
                "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
            ));
        }
    }

    /// `resourceVersion` as a number; 0 when unset.
    ///
    /// # Errors
    /// 400 when it is no number.
    pub(crate) fn version(&self) -> Result<u64> {
        parse_version(&self.resource_version)
    }
}

/// A `resourceVersion` as a number; empty is 0.
///
/// # Errors
/// 400 when it is no number.
pub(crate) fn parse_version(text: &str) -> Result<u64> {
    if text.is_empty() {
        return Ok(0);
    }
    text.parse().map_err(|_| {
        let mut errors = ErrorList::new();
        errors.push(Error::invalid(
            &Path::new("resourceVersion"),
            text,
            format!("strconv.ParseUint: parsing {text:?}: invalid syntax"),
        ));
        Status::bad_request(format!(
            "Invalid value: {text:?}: resourceVersion must be a non-negative integer"
        ))
        .into()
    })
}

fn number(value: &str) -> Result<i64> {
    if value.is_empty() {
        return Ok(0);
    }
    value.parse().map_err(|_| {
        Status::bad_request(format!("strconv.ParseInt: parsing {value:?}: invalid syntax")).into()
    })
}

/// Checks that a resource can be selected by every field named.
fn check_fields(selector: FieldSelector, def: &Def) -> Result<FieldSelector> {
    let Some(own) = def.custom() else {
        return selector
            .check(def.group, def.kind)
            .map_err(|e| Status::bad_request(e.to_string()).into());
    };
    let known = |field: &str| {
        field == "metadata.name"
            || (def.namespaced && field == "metadata.namespace")
            || own.version().selectable.iter().any(|s| s.label == field)
    };
    match selector.terms().iter().find(|term| !known(&term.field)) {
        Some(term) => Err(Status::bad_request(format!("field label not supported: {}", term.field)).into()),
        None => Ok(selector),
    }
}

/// `fieldValidation`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum FieldValidation {
    Ignore,
    /// Upstream's default.
    #[default]
    Warn,
    Strict,
}

/// What create, update and patch have in common.
#[derive(Clone, Debug, Default)]
pub(crate) struct WriteOptions {
    pub dry_run: bool,
    pub field_manager: String,
    pub field_validation: FieldValidation,
    pub force: bool,
    pub pretty: bool,
}

impl WriteOptions {
    /// Reads and checks a query. Without a manager the user agent's first part stands in.
    ///
    /// # Errors
    /// 422 for values upstream does not know. `options_kind` is `CreateOptions` or the like.
    pub(crate) fn parse(query: Option<&str>, user_agent: &str, options_kind: &str) -> Result<WriteOptions> {
        let mut options = WriteOptions::default();
        let mut errors = ErrorList::new();
        for (key, value) in query_pairs(query) {
            match key.as_str() {
                "dryRun" => options.dry_run |= dry_run(&value, &mut errors),
                "fieldManager" => {
                    if value.len() > 128 {
                        errors.push(Error::too_long(&Path::new("fieldManager"), 128));
                    }
                    options.field_manager = value;
                }
                "fieldValidation" => {
                    options.field_validation = match value.as_str() {
                        "" | "Warn" => FieldValidation::Warn,
                        "Ignore" => FieldValidation::Ignore,
                        "Strict" => FieldValidation::Strict,
                        _ => {
                            let supported = ["Ignore", "Strict", "Warn"];
                            errors.push(Error::not_supported(
                                &Path::new("fieldValidation"),
                                value,
                                &supported,
                            ));
                            continue;
                        }
                    }
                }
                "force" => options.force = truthy(&value),
                "pretty" => options.pretty = truthy(&value),
                _ => {}
            }
        }
        if !errors.is_empty() {
            return Err(Status::invalid("meta.k8s.io", options_kind, "", &errors).into());
        }
        if options.field_manager.is_empty() && options_kind != "ApplyOptions" {
            let agent = user_agent.split('/').next().unwrap_or_default();
            let mut end = agent.len().min(128);
            while !agent.is_char_boundary(end) {
                end -= 1;
            }
            options.field_manager = if agent.is_empty() {
                "unknown".into()
            } else {
                agent[..end].to_owned()
            };
        }
        Ok(options)
    }
}

fn dry_run(value: &str, errors: &mut ErrorList) -> bool {
    match value {
        "" => false,
        "All" => true,
        _ => {
            errors.push(Error::not_supported(&Path::new("dryRun"), value, &["All"]));
            false
        }
    }
}

/// `propagationPolicy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Propagation {
    Orphan,
    Background,
    Foreground,
}

/// `metav1.DeleteOptions`.
#[derive(Clone, Debug, Default)]
pub(crate) struct DeleteOptions {
    pub dry_run: bool,
    pub grace_period_seconds: Option<i64>,
    pub propagation: Option<Propagation>,
    pub precondition_uid: Option<String>,
    pub precondition_version: Option<String>,
}

impl DeleteOptions {
    /// From the query, or from the body when there is one.
    ///
    /// # Errors
    /// 400 or 422 for what upstream refuses.
    pub(crate) fn parse(query: Option<&str>, body: Option<&Value>) -> Result<DeleteOptions> {
        let mut options = DeleteOptions::default();
        let mut errors = ErrorList::new();
        let mut policy = None;
        let mut orphan = None;
        if let Some(body) = body {
            let kind = body["kind"].as_str().unwrap_or("DeleteOptions");
            if kind != "DeleteOptions" {
                return Err(Status::bad_request(format!(
                    "decoded object cannot be converted to DeleteOptions: {kind}"
                ))
                .into());
            }
            for value in body["dryRun"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
            {
                options.dry_run |= dry_run(value, &mut errors);
            }
            options.grace_period_seconds = body["gracePeriodSeconds"].as_i64();
            policy = body["propagationPolicy"].as_str().map(str::to_owned);
            orphan = body["orphanDependents"].as_bool();
            options.precondition_uid = body["preconditions"]["uid"].as_str().map(str::to_owned);
            options.precondition_version = body["preconditions"]["resourceVersion"]
                .as_str()
                .map(str::to_owned);
        } else {
            for (key, value) in query_pairs(query) {
                match key.as_str() {
                    "dryRun" => options.dry_run |= dry_run(&value, &mut errors),
                    "gracePeriodSeconds" => options.grace_period_seconds = Some(number(&value)?),
                    "propagationPolicy" => policy = Some(value),
                    "orphanDependents" => orphan = Some(truthy(&value)),
                    _ => {}
                }
            }
        }
        if orphan.is_some() && policy.is_some() {
            let detail = "orphanDependents and deletionPropagation cannot be both set";
            errors.push(Error::invalid(
                &Path::new("propagationPolicy"),
                policy.clone().unwrap_or_default(),
                detail,
            ));
        }
        options.propagation = match policy.as_deref() {
            None | Some("") => orphan.map(|o| {
                if o {
                    Propagation::Orphan
                } else {
                    Propagation::Background
                }
            }),
            Some("Orphan") => Some(Propagation::Orphan),
            Some("Background") => Some(Propagation::Background),
            Some("Foreground") => Some(Propagation::Foreground),
            Some(other) => {
                let supported = ["Foreground", "Background", "Orphan", "nil"];
                errors.push(Error::not_supported(
                    &Path::new("propagationPolicy"),
                    other,
                    &supported,
                ));
                None
            }
        };
        if errors.is_empty() {
            return Ok(options);
        }
        Err(Status::invalid("meta.k8s.io", "DeleteOptions", "", &errors).into())
    }
}

//! Query and body options: `ListOptions`, `PatchOptions`, `DeleteOptions` and the like.
//! Upstream: `k8s.io/apimachinery/pkg/apis/meta/v1` and its validation.

use std::cell::OnceCell;

use rkind_apimachinery::{
    apply,
    field::{Error, ErrorList, Path},
    jsonpath,
    selector::{FieldSelector, LabelSelector},
    status::Status,
};
use serde_json::Value;

use super::info::{first_pairs, query_pairs, truthy};
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
    /// What no server knows; refused by the checks.
    Unknown,
}

impl VersionMatch {
    fn parse(text: &str) -> VersionMatch {
        match text {
            "" => VersionMatch::Unset,
            "Exact" => VersionMatch::Exact,
            "NotOlderThan" => VersionMatch::NotOlderThan,
            _ => VersionMatch::Unknown,
        }
    }
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
    /// Reads and checks a query for a kind. Of a repeated parameter the first counts.
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
        let mut match_sent = String::new();
        for (key, value) in first_pairs(query) {
            match key.as_str() {
                "labelSelector" => {
                    options.selector.labels = LabelSelector::parse(&value).map_err(|e| bad(e.to_string()))?;
                }
                "fieldSelector" => {
                    options.selector.fields = FieldSelector::parse(&value)
                        .map_err(|e| bad(e.to_string()))
                        .and_then(|s| check_fields(s, def))?;
                }
                "resourceVersion" => options.resource_version = value,
                "resourceVersionMatch" => {
                    options.version_match = VersionMatch::parse(&value);
                    match_sent = value;
                }
                // A limit below zero is none.
                "limit" => options.limit = usize::try_from(number(&value)?).unwrap_or(0),
                "continue" => options.continue_token = value,
                "timeoutSeconds" => options.timeout_seconds = u64::try_from(number(&value)?).ok(),
                "allowWatchBookmarks" => options.bookmarks = truthy(&value),
                "sendInitialEvents" if !value.is_empty() => {
                    options.send_initial_events = Some(truthy(&value))
                }
                _ => {}
            }
        }
        // A watch that says nothing of where it begins is given what is there first (KEP-3157).
        if watch
            && options.send_initial_events.is_none()
            && options.version_match == VersionMatch::Unset
            && matches!(options.resource_version.as_str(), "" | "0")
        {
            options.send_initial_events = Some(true);
            options.version_match = VersionMatch::NotOlderThan;
        }
        let errors = if watch {
            options.watch_errors(&match_sent)
        } else {
            options.list_errors(&match_sent)
        };
        if errors.is_empty() {
            return Ok(options);
        }
        Err(Status::invalid("meta.k8s.io", "ListOptions", "", &errors).into())
    }

    fn watch_errors(&self, match_sent: &str) -> ErrorList {
        let mut errors = ErrorList::new();
        let path = Path::new("resourceVersionMatch");
        let not_older = self.version_match == VersionMatch::NotOlderThan;
        let set = self.version_match != VersionMatch::Unset;
        let mut forbid = |wrong: bool, detail: &str| {
            if wrong {
                errors.push(Error::forbidden(&path, detail));
            }
        };
        forbid(
            self.send_initial_events.is_some() && !not_older,
            "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        );
        forbid(
            set && self.send_initial_events.is_none(),
            "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
        );
        if set && !not_older {
            errors.push(Error::not_supported(&path, match_sent, &["NotOlderThan"]));
        }
        if set && !self.continue_token.is_empty() {
            errors.push(Error::forbidden(&path, MATCH_WITH_CONTINUE));
        }
        errors
    }

    fn list_errors(&self, match_sent: &str) -> ErrorList {
        let mut errors = ErrorList::new();
        let path = Path::new("resourceVersionMatch");
        if self.version_match != VersionMatch::Unset {
            if self.resource_version.is_empty() {
                errors.push(Error::forbidden(
                    &path,
                    "resourceVersionMatch is forbidden unless resourceVersion is provided",
                ));
            }
            if !self.continue_token.is_empty() {
                errors.push(Error::forbidden(&path, MATCH_WITH_CONTINUE));
            }
            if self.version_match == VersionMatch::Unknown {
                let supported = ["Exact", "NotOlderThan", ""];
                errors.push(Error::not_supported(&path, match_sent, &supported));
            }
            if self.version_match == VersionMatch::Exact && self.resource_version == "0" {
                errors.push(Error::forbidden(
                    &path,
                    "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
                ));
            }
        }
        if self.send_initial_events.is_some() {
            errors.push(Error::forbidden(
                &Path::new("sendInitialEvents"),
                "sendInitialEvents is forbidden for list",
            ));
        }
        errors
    }

    /// `resourceVersion` as a number; 0 when unset.
    ///
    /// # Errors
    /// What is wrong with it, when it is no number.
    pub(crate) fn version(&self) -> Result<u64, Error> {
        parse_version(&self.resource_version)
    }
}

const MATCH_WITH_CONTINUE: &str = "resourceVersionMatch is forbidden when continue is provided";

/// A `resourceVersion` as a number; empty is 0.
///
/// # Errors
/// What is wrong with it. Upstream wraps this error in its own way for each verb.
pub(crate) fn parse_version(text: &str) -> Result<u64, Error> {
    if text.is_empty() {
        return Ok(0);
    }
    text.parse().map_err(|error| {
        let detail = format!("strconv.ParseUint: parsing {text:?}: {}", why_no_number(&error));
        Error::invalid(&Path::new("resourceVersion"), text, detail)
    })
}

fn number(value: &str) -> Result<i64> {
    if value.is_empty() {
        return Ok(0);
    }
    value.parse().map_err(|error| {
        let why = why_no_number(&error);
        Status::bad_request(format!("strconv.ParseInt: parsing {value:?}: {why}")).into()
    })
}

/// Go's words.
fn why_no_number(error: &std::num::ParseIntError) -> &'static str {
    match error.kind() {
        std::num::IntErrorKind::PosOverflow | std::num::IntErrorKind::NegOverflow => "value out of range",
        _ => "invalid syntax",
    }
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
    /// Reads and checks a query. Without a manager the user agent's first part stands in, but for an
    /// apply, whose manager must be named.
    ///
    /// # Errors
    /// 422 for values upstream does not know. `options_kind` is `CreateOptions` or the like, and
    /// [`APPLY_OPTIONS`] for an apply.
    pub(crate) fn parse(query: Option<&str>, user_agent: &str, options_kind: &str) -> Result<WriteOptions> {
        let mut options = WriteOptions::default();
        let applies = options_kind == APPLY_OPTIONS;
        let mut errors = ErrorList::new();
        let pairs = first_pairs(query);
        let sent = |wanted: &str| {
            let found = pairs.iter().find(|(key, _)| key == wanted);
            found.map(|(_, value)| value.as_str())
        };
        options.pretty = sent("pretty").is_some_and(truthy);
        options.force = sent("force").is_some_and(truthy);
        let manager = sent("fieldManager").unwrap_or_default();
        if applies && manager.is_empty() {
            let path = Path::new("fieldManager");
            errors.push(Error::required(&path, "is required for apply patch"));
        }
        if options_kind == PATCH_OPTIONS && sent("force").is_some() {
            let detail = "may not be specified for non-apply patch";
            errors.push(Error::forbidden(&Path::new("force"), detail));
        }
        check_manager(manager, &mut errors);
        let dry_runs = query_pairs(query).into_iter().filter(|(key, _)| key == "dryRun");
        options.dry_run = dry_run(dry_runs.map(|(_, value)| value).collect(), &mut errors);
        options.field_validation = match sent("fieldValidation").unwrap_or_default() {
            "" | "Warn" => FieldValidation::Warn,
            "Ignore" => FieldValidation::Ignore,
            "Strict" => FieldValidation::Strict,
            value => {
                let supported = ["", "Ignore", "Strict", "Warn"];
                let path = Path::new("fieldValidation");
                errors.push(Error::not_supported(&path, value, &supported));
                FieldValidation::Warn
            }
        };
        if !errors.is_empty() {
            let kind = if applies { PATCH_OPTIONS } else { options_kind };
            return Err(Status::invalid("meta.k8s.io", kind, "", &errors).into());
        }
        options.field_manager = if manager.is_empty() {
            apply::manager_of(user_agent)
        } else {
            manager.to_owned()
        };
        Ok(options)
    }
}

/// Kind of the options of a patch.
pub(crate) const PATCH_OPTIONS: &str = "PatchOptions";
/// [`PATCH_OPTIONS`] of a server-side apply, which has rules of its own.
pub(crate) const APPLY_OPTIONS: &str = "ApplyOptions";

fn check_manager(manager: &str, errors: &mut ErrorList) {
    let path = Path::new("fieldManager");
    if manager.len() > 128 {
        errors.push(Error::too_long(&path, 128));
    }
    for (at, c) in manager.char_indices().filter(|(_, c)| c.is_control()) {
        let detail = format!("invalid character U+{:04X} (at position {at})", u32::from(c));
        errors.push(Error::invalid(&path, manager, detail));
    }
}

/// Whether nothing is to be stored. What is no known value refuses the whole: a write that was meant
/// as a trial must not happen.
fn dry_run(values: Vec<String>, errors: &mut ErrorList) -> bool {
    if values.iter().any(|value| value != "All") {
        errors.push(Error::not_supported(&Path::new("dryRun"), values, &["All"]));
        return false;
    }
    !values.is_empty()
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
            let text = |key: &str| body[key].as_str().unwrap_or_default();
            if !matches!(text("kind"), "" | "DeleteOptions") {
                return Err(Status::bad_request(format!(
                    "no kind {:?} is registered for version {:?} in scheme \"pkg/runtime/scheme.go:111\"",
                    text("kind"),
                    text("apiVersion")
                ))
                .into());
            }
            let values = body["dryRun"].as_array().into_iter().flatten();
            let values = values.filter_map(Value::as_str).map(str::to_owned);
            options.dry_run = dry_run(values.collect(), &mut errors);
            options.grace_period_seconds = body["gracePeriodSeconds"].as_i64();
            policy = body["propagationPolicy"].as_str().map(str::to_owned);
            orphan = body["orphanDependents"].as_bool();
            options.precondition_uid = body["preconditions"]["uid"].as_str().map(str::to_owned);
            options.precondition_version = body["preconditions"]["resourceVersion"]
                .as_str()
                .map(str::to_owned);
        } else {
            let dry_runs = query_pairs(query).into_iter().filter(|(key, _)| key == "dryRun");
            options.dry_run = dry_run(dry_runs.map(|(_, value)| value).collect(), &mut errors);
            for (key, value) in first_pairs(query) {
                match key.as_str() {
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

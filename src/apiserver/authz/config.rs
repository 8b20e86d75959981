//! `apiserver.config.k8s.io AuthorizationConfiguration` (KEP-3221): which authorizers are asked, in
//! order. Upstream: `k8s.io/apiserver/pkg/apis/apiserver/validation`.

use std::{sync::LazyLock, time::Duration};

use rkind_apimachinery::{
    field::{Error as FieldError, ErrorList, Path},
    names,
};
use rkind_cel::{Env, Program, Type, auth};
use serde::Deserialize;

use crate::{config_file::Kind, deadline};

/// Conditions of one webhook at most.
const MOST: usize = 64;
/// The longest that a webhook may take.
const MAX_TIMEOUT: Duration = Duration::from_secs(30);
const MODES: [&str; 6] = ["ABAC", "AlwaysAllow", "AlwaysDeny", "Node", "RBAC", "Webhook"];

static ENV: LazyLock<Env> = LazyLock::new(auth::access_review);

/// One authorizer, checked.
pub(super) struct Authorizer {
    /// One of `AlwaysAllow`, `AlwaysDeny`, `Node`, `RBAC` and `Webhook`.
    pub mode: String,
    /// There for mode `Webhook`.
    pub webhook: Option<Webhook>,
}

/// A webhook, checked.
pub(super) struct Webhook {
    pub kubeconfig: String,
    /// Of one question.
    pub timeout: Duration,
    /// How long consent is kept; zero: not at all.
    pub allowed: Duration,
    /// How long a refusal is kept; zero: not at all.
    pub refused: Duration,
    /// Of the reviews it is sent: `v1` or `v1beta1`.
    pub version: String,
    /// Whether a webhook that fails denies; else it has no opinion.
    pub denies: bool,
    /// Which questions it is asked: source and program.
    pub conditions: Vec<(String, Program)>,
}

const KIND: Kind = Kind {
    name: "AuthorizationConfiguration",
    group: "apiserver.config.k8s.io",
    versions: &["v1", "v1beta1", "v1alpha1"],
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    authorizers: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[derive(Default)]
struct Entry {
    r#type: String,
    name: String,
    webhook: Option<Settings>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[derive(Default)]
struct Settings {
    #[serde(rename = "authorizedTTL")]
    authorized_ttl: Option<String>,
    cache_authorized_requests: Option<bool>,
    #[serde(rename = "unauthorizedTTL")]
    unauthorized_ttl: Option<String>,
    cache_unauthorized_requests: Option<bool>,
    timeout: Option<String>,
    subject_access_review_version: String,
    match_condition_subject_access_review_version: String,
    failure_policy: String,
    connection_info: ConnectionInfo,
    match_conditions: Vec<Condition>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[derive(Default)]
struct ConnectionInfo {
    r#type: String,
    kube_config_file: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
struct Condition {
    expression: String,
}

/// Reads a configuration, and the kubeconfigs that it names.
///
/// # Errors
/// Everything that is wrong with it, by field.
pub(super) fn parse(text: &str) -> Result<Vec<Authorizer>, String> {
    let file: File = KIND.read(text)?;
    let mut errors = ErrorList::new();
    let root = Path::new("authorizers");
    if file.authorizers.is_empty() {
        errors.push(FieldError::required(
            &root,
            "at least one authorization mode must be defined",
        ));
    }
    let (mut modes, mut seen): (Vec<&str>, Vec<&str>) = Default::default();
    let mut chain = Vec::new();
    for (i, entry) in file.authorizers.iter().enumerate() {
        let path = root.index(i);
        let mode = entry.r#type.as_str();
        let at = path.child("type");
        if mode.is_empty() {
            errors.push(FieldError::required(&at, ""));
            continue;
        }
        if !MODES.contains(&mode) {
            errors.push(FieldError::not_supported(&at, mode, &MODES));
            continue;
        }
        if mode != "Webhook" && modes.contains(&mode) {
            errors.push(FieldError::duplicate(&at, mode));
            continue;
        }
        modes.push(mode);
        let at = path.child("name");
        if entry.name.is_empty() {
            errors.push(FieldError::required(&at, ""));
        } else if seen.contains(&entry.name.as_str()) {
            errors.push(FieldError::duplicate(&at, entry.name.as_str()));
        } else {
            let wrong = names::dns1123_subdomain(&entry.name);
            if !wrong.is_empty() {
                let detail = format!("authorizer name is invalid: {}", wrong.join(", "));
                errors.push(FieldError::invalid(&at, entry.name.as_str(), detail));
            }
        }
        seen.push(&entry.name);
        let at = path.child("webhook");
        let webhook = match (mode, &entry.webhook) {
            ("Webhook", None) => {
                errors.push(FieldError::required(&at, "required when type=Webhook"));
                continue;
            }
            ("Webhook", Some(settings)) => Some(webhook(settings, &path, &mut errors)),
            (_, Some(_)) => {
                let detail = "may only be specified when type=Webhook";
                errors.push(FieldError::invalid(&at, "non-null", detail));
                None
            }
            (_, None) => None,
        };
        chain.push(Authorizer {
            mode: mode.to_owned(),
            webhook,
        });
    }
    if errors.is_empty() {
        return Ok(chain);
    }
    let all: Vec<String> = errors.iter().map(ToString::to_string).collect();
    Err(match all.as_slice() {
        [one] => one.clone(),
        many => format!("[{}]", many.join(", ")),
    })
}

/// A webhook's settings; paths are without `webhook`, as upstream's.
fn webhook(settings: &Settings, path: &Path, errors: &mut ErrorList) -> Webhook {
    let timeout = duration(settings.timeout.as_deref(), None, &path.child("timeout"), errors);
    if timeout > MAX_TIMEOUT {
        let told = settings.timeout.as_deref().unwrap_or_default();
        let detail = "must be > 0s and <= 30s";
        errors.push(FieldError::invalid(&path.child("timeout"), told, detail));
    }
    let mut kept = |name: &str, text: &Option<String>, default: u64, wanted: Option<bool>| {
        let default = Some(Duration::from_secs(default));
        let ttl = duration(text.as_deref(), default, &path.child(name), errors);
        if wanted == Some(false) {
            Duration::ZERO
        } else {
            ttl
        }
    };
    let allowed = kept(
        "authorizedTTL",
        &settings.authorized_ttl,
        300,
        settings.cache_authorized_requests,
    );
    let refused = kept(
        "unauthorizedTTL",
        &settings.unauthorized_ttl,
        30,
        settings.cache_unauthorized_requests,
    );
    one_of(
        &settings.subject_access_review_version,
        &["v1", "v1beta1"],
        &path.child("subjectAccessReviewVersion"),
        errors,
    );
    let at = path.child("matchConditionSubjectAccessReviewVersion");
    match settings.match_condition_subject_access_review_version.as_str() {
        "" if settings.match_conditions.is_empty() => {}
        "" => {
            let detail = "required if match conditions are specified";
            errors.push(FieldError::required(&at, detail));
        }
        version => one_of(version, &["v1"], &at, errors),
    }
    one_of(
        &settings.failure_policy,
        &["Deny", "NoOpinion"],
        &path.child("failurePolicy"),
        errors,
    );
    Webhook {
        kubeconfig: kubeconfig(&settings.connection_info, &path.child("connectionInfo"), errors),
        timeout,
        allowed,
        refused,
        version: settings.subject_access_review_version.clone(),
        denies: settings.failure_policy == "Deny",
        conditions: conditions(&settings.match_conditions, &path.child("matchConditions"), errors),
    }
}

fn duration(text: Option<&str>, default: Option<Duration>, path: &Path, errors: &mut ErrorList) -> Duration {
    match (text.map(deadline::duration), default) {
        (Some(Ok(duration)), _) if !duration.is_zero() => return duration,
        (Some(Err(why)), _) => errors.push(FieldError::invalid(path, text.unwrap_or_default(), why)),
        (_, Some(default)) => return default,
        (_, None) => errors.push(FieldError::required(path, "")),
    }
    Duration::ZERO
}

fn one_of(value: &str, supported: &[&str], path: &Path, errors: &mut ErrorList) {
    if value.is_empty() {
        errors.push(FieldError::required(path, ""));
    } else if !supported.contains(&value) {
        errors.push(FieldError::not_supported(path, value, supported));
    }
}

fn kubeconfig(info: &ConnectionInfo, path: &Path, errors: &mut ErrorList) -> String {
    let at = path.child("kubeConfigFile");
    one_of(
        &info.r#type,
        &["InClusterConfig", "KubeConfigFile"],
        &path.child("type"),
        errors,
    );
    match (info.r#type.as_str(), info.kube_config_file.as_deref()) {
        ("KubeConfigFile", None | Some("")) => errors.push(FieldError::required(&at, "")),
        ("KubeConfigFile", Some(file)) if !file.starts_with('/') => {
            errors.push(FieldError::invalid(&at, file, "must be an absolute path"));
        }
        ("KubeConfigFile", Some(file)) => match std::fs::read_to_string(file) {
            Ok(text) => return text,
            Err(why) => {
                let detail = format!("error loading file: {why}");
                errors.push(FieldError::invalid(&at, file, detail));
            }
        },
        ("InClusterConfig", _) => {
            let detail = "is not allowed for kube-apiserver";
            errors.push(FieldError::invalid(
                &path.child("type"),
                "InClusterConfig",
                detail,
            ));
        }
        _ => {}
    }
    String::new()
}

fn conditions(list: &[Condition], path: &Path, errors: &mut ErrorList) -> Vec<(String, Program)> {
    if list.len() > MOST {
        errors.push(FieldError::too_many(path, list.len(), MOST));
        return Vec::new();
    }
    let mut compiled: Vec<(String, Program)> = Vec::new();
    for (i, condition) in list.iter().enumerate() {
        let at = path.index(i).child("expression");
        let source = condition.expression.as_str();
        if source.trim().is_empty() {
            errors.push(FieldError::required(&at, ""));
            continue;
        }
        if list[..i].iter().any(|before| before.expression == source) {
            errors.push(FieldError::duplicate(&at, source));
            continue;
        }
        match Program::compile(&ENV, source) {
            Err(why) => {
                let detail = format!("compilation failed: {why}");
                errors.push(FieldError::invalid(&at, source, detail));
            }
            Ok(program) if *program.output() != Type::Bool => {
                let detail = format!("must evaluate to bool but got {}", program.output());
                errors.push(FieldError::invalid(&at, source, detail));
            }
            Ok(program) => compiled.push((source.to_owned(), program)),
        }
    }
    compiled
}

//! Field selectors: `a=b,c!=d`, and which fields each kind can be selected by.

use std::borrow::Cow;
use std::fmt;

use serde_json::Value;

use super::SelectorError;
use crate::field::quote;

/// One comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldTerm {
    pub field: String,
    pub value: String,
    /// `!=` instead of `=`.
    pub negated: bool,
}

/// A conjunction of comparisons; without any it matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector {
    terms: Vec<FieldTerm>,
}

const NAMESPACED: &[&str] = &["metadata.name", "metadata.namespace"];

/// The fields a built-in kind can be selected by, or `None` where only the
/// two of every kind apply.
#[must_use]
pub fn supported_fields(group: &str, kind: &str) -> Option<&'static [&'static str]> {
    Some(match (group, kind) {
        ("", "Pod") => &[
            "metadata.name",
            "metadata.namespace",
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.podIPs",
            "status.nominatedNodeName",
        ],
        ("", "Node") => &["metadata.name", "spec.unschedulable"],
        ("", "ReplicationController") | ("apps", "ReplicaSet") => {
            &["metadata.name", "metadata.namespace", "status.replicas"]
        }
        ("", "Event") => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
            "metadata.namespace",
            "metadata.name",
        ],
        ("events.k8s.io", "Event") => &[
            "regarding.kind",
            "regarding.namespace",
            "regarding.name",
            "regarding.uid",
            "regarding.apiVersion",
            "regarding.resourceVersion",
            "regarding.fieldPath",
            "reason",
            "reportingController",
            "type",
            "metadata.namespace",
            "metadata.name",
        ],
        ("", "Namespace") => &["status.phase", "metadata.name"],
        ("", "Secret") => &["type", "metadata.namespace", "metadata.name"],
        ("", "Service") => &[
            "metadata.namespace",
            "metadata.name",
            "spec.clusterIP",
            "spec.type",
        ],
        ("apps", "Deployment" | "DaemonSet" | "StatefulSet") => NAMESPACED,
        ("batch", "Job") => &["metadata.name", "metadata.namespace", "status.successful"],
        ("certificates.k8s.io", "CertificateSigningRequest" | "ClusterTrustBundle") => {
            &["metadata.name", "spec.signerName"]
        }
        ("certificates.k8s.io", "PodCertificateRequest") => &[
            "metadata.name",
            "spec.signerName",
            "spec.podName",
            "spec.nodeName",
        ],
        ("resource.k8s.io", "ResourceSlice") => &["metadata.name", "spec.nodeName", "spec.driver"],
        _ => return None,
    })
}

fn unsupported(group: &str, kind: &str, field: &str) -> SelectorError {
    SelectorError(match (group, kind) {
        ("apps", _) => format!("field label {} not supported for appsv1.{kind}", quote(field)),
        ("batch", _) => format!("field label {} not supported for {kind}", quote(field)),
        ("resource.k8s.io", _) => format!("field label not supported for {kind}: {field}"),
        _ => format!("field label not supported: {field}"),
    })
}

impl FieldSelector {
    #[must_use]
    pub fn everything() -> Self {
        Self::default()
    }

    /// Parses the form of `fieldSelector=`.
    ///
    /// # Errors
    /// A term without an operator, or a wrong escape.
    pub fn parse(s: &str) -> Result<Self, SelectorError> {
        let mut terms = vec![];
        for part in split_terms(s) {
            if part.is_empty() {
                continue;
            }
            let Some((field, op, value)) = split_term(part) else {
                return Err(SelectorError(format!(
                    "invalid selector: '{s}'; can't understand '{part}'"
                )));
            };
            let value = unescape(value)?;
            // No field and no value choose everything.
            if field.is_empty() && value.is_empty() {
                continue;
            }
            terms.push(FieldTerm {
                field: field.to_owned(),
                value,
                negated: op == "!=",
            });
        }
        Ok(Self { terms })
    }

    /// Checks that the kind can be selected by every field named; renames
    /// old spellings (`spec.host` of pods).
    ///
    /// # Errors
    /// Upstream's `field label not supported: x`, or the words for kinds that
    /// know only name and namespace.
    pub fn check(self, group: &str, kind: &str) -> Result<Self, SelectorError> {
        self.check_with(group, kind, &[])
    }

    /// As `check`, with further fields of a custom kind
    /// (`selectableFields`, without the leading dot).
    ///
    /// # Errors
    /// As `check`.
    pub fn check_with(mut self, group: &str, kind: &str, extra: &[String]) -> Result<Self, SelectorError> {
        let supported = supported_fields(group, kind);
        for t in &mut self.terms {
            if (group, kind, t.field.as_str()) == ("", "Pod", "spec.host") {
                t.field = "spec.nodeName".into();
            }
            if (group, kind, t.field.as_str()) == ("", "Node", "name") {
                t.field = "metadata.name".into();
            }
            match supported {
                Some(list) if !list.contains(&t.field.as_str()) => {
                    return Err(unsupported(group, kind, &t.field));
                }
                None if !NAMESPACED.contains(&t.field.as_str()) && !extra.contains(&t.field) => {
                    return Err(SelectorError(format!(
                        "{} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"{}",
                        quote(&t.field),
                        extra
                            .iter()
                            .map(|e| format!(", {}", quote(e)))
                            .collect::<String>()
                    )));
                }
                _ => {}
            }
        }
        Ok(self)
    }

    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.terms.is_empty()
    }

    #[must_use]
    pub fn terms(&self) -> &[FieldTerm] {
        &self.terms
    }

    /// The value a field must equal, when a term says so.
    #[must_use]
    pub fn exact(&self, field: &str) -> Option<&str> {
        self.terms
            .iter()
            .find(|t| !t.negated && t.field == field)
            .map(|t| t.value.as_str())
    }

    /// Whether the object matches; `group` and `kind` choose how fields are read.
    #[must_use]
    pub fn matches(&self, group: &str, kind: &str, object: &Value) -> bool {
        self.matches_by(|f| field_value(group, kind, object, f))
    }

    /// Whether values found by field label match.
    pub fn matches_by<'a>(&self, get: impl Fn(&str) -> Cow<'a, str>) -> bool {
        self.terms.iter().all(|t| (get(&t.field) == t.value) != t.negated)
    }
}

impl fmt::Display for FieldSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, t) in self.terms.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            let value = t
                .value
                .replace('\\', "\\\\")
                .replace(',', "\\,")
                .replace('=', "\\=");
            write!(f, "{}{}{value}", t.field, if t.negated { "!=" } else { "=" })?;
        }
        Ok(())
    }
}

/// What a field label reads in an object: the field's text, booleans and
/// counts with their zero value when absent.
#[must_use]
pub fn field_value<'a>(group: &str, kind: &str, object: &'a Value, field: &str) -> Cow<'a, str> {
    match (group, kind, field) {
        ("", "Event", "source") => {
            let s = object["source"]["component"].as_str().unwrap_or("");
            return if s.is_empty() {
                text(&object["reportingComponent"])
            } else {
                s.into()
            };
        }
        ("", "Pod", "status.podIPs") => return text(&object["status"]["podIPs"][0]["ip"]),
        ("batch", "Job", "status.successful") => return number(&object["status"]["succeeded"]),
        _ => {}
    }
    let mut v = object;
    for part in field.split('.') {
        v = &v[part];
    }
    match field {
        "spec.unschedulable" | "spec.hostNetwork" => (if *v == true { "true" } else { "false" }).into(),
        "status.replicas" => number(v),
        _ => text(v),
    }
}

fn number(v: &Value) -> Cow<'_, str> {
    if v.is_null() { "0".into() } else { text(v) }
}

fn text(v: &Value) -> Cow<'_, str> {
    match v {
        Value::Null => "".into(),
        Value::String(s) => s.as_str().into(),
        other => other.to_string().into(),
    }
}

/// Splits on commas that no backslash escapes.
fn split_terms(s: &str) -> Vec<&str> {
    let mut out = vec![];
    let (mut start, mut escaped) = (0, false);
    for (i, c) in s.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                out.push(&s[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    out.push(&s[start..]);
    out
}

fn split_term(s: &str) -> Option<(&str, &str, &str)> {
    for (i, _) in s.char_indices() {
        for op in ["!=", "==", "="] {
            if let Some(value) = s[i..].strip_prefix(op) {
                return Some((&s[..i], op, value));
            }
        }
    }
    None
}

fn unescape(s: &str) -> Result<String, SelectorError> {
    let mut out = String::with_capacity(s.len());
    let mut chars = s.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(c @ ('\\' | ',' | '=')) => out.push(c),
                other => {
                    let seq = other.map_or_else(|| "\\".to_owned(), |c| format!("\\{c}"));
                    return Err(SelectorError(format!(
                        "invalid field selector: invalid escape sequence: {seq}"
                    )));
                }
            },
            ',' | '=' => {
                return Err(SelectorError(format!(
                    "invalid field selector: unescaped character in value: {c}"
                )));
            }
            c => out.push(c),
        }
    }
    Ok(out)
}

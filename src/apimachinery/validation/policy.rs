//! Admission policies and their bindings, but for their expressions, which the server compiles.
//! Upstream: `pkg/apis/admissionregistration/validation`.

use serde_json::Value;

use super::support::{label_selector, list, one_if_given, text};
use crate::field::{Error, ErrorList, Path};
use crate::{meta, names};

/// Most audit annotations of a policy.
const MAX_ANNOTATIONS: usize = 20;
/// Most match conditions.
const MAX_CONDITIONS: usize = 64;
/// Bytes of an audit annotation's expression.
const MAX_VALUE_EXPRESSION: usize = 5 * 1024;

pub(super) fn create(kind: &str, o: &Value, errs: &mut ErrorList) {
    let (s, path) = (&o["spec"], &Path::new("spec"));
    match kind {
        "ValidatingAdmissionPolicy" => {
            common(s, path, errs);
            validations(meta::name(o), s, path, errs);
        }
        "MutatingAdmissionPolicy" => {
            common(s, path, errs);
            mutations(s, path, errs);
        }
        "ValidatingAdmissionPolicyBinding" | "MutatingAdmissionPolicyBinding" => {
            binding(kind, s, path, errs);
        }
        _ => {}
    }
}

/// What both kinds of policies have.
fn common(s: &Value, path: &Path, errs: &mut ErrorList) {
    let at = path.child("failurePolicy");
    if s["failurePolicy"].is_null() {
        errs.push(Error::required(&at, ""));
    } else {
        one_if_given(&s["failurePolicy"], &["Fail", "Ignore"], &at, errs);
    }
    if s["paramKind"].is_object() {
        param_kind(&s["paramKind"], &path.child("paramKind"), errs);
    }
    let at = path.child("matchConstraints");
    if s["matchConstraints"].is_object() {
        match_resources(&s["matchConstraints"], &at, errs);
        if list(&s["matchConstraints"]["resourceRules"]).is_empty() {
            errs.push(Error::required(&at.child("resourceRules"), ""));
        }
    } else {
        errs.push(Error::required(&at, ""));
    }
    match_conditions(&s["matchConditions"], &path.child("matchConditions"), errs);
    for (i, v) in list(&s["variables"]).iter().enumerate() {
        let p = path.child("variables").index(i);
        let name = text(v, "name");
        if name.trim().is_empty() {
            errs.push(Error::required(&p.child("name"), "name is not specified"));
        } else if !is_identifier(name) {
            errs.push(Error::invalid(
                &p.child("name"),
                name,
                "must be a valid CEL identifier",
            ));
        }
        if text(v, "expression").trim().is_empty() {
            errs.push(Error::required(
                &p.child("expression"),
                "expression is not specified",
            ));
        }
    }
}

/// `matchConditions` of policies and webhooks.
pub(super) fn match_conditions(conditions: &Value, path: &Path, errs: &mut ErrorList) {
    let all = list(conditions);
    if all.len() > MAX_CONDITIONS {
        errs.push(Error::too_many(path, all.len(), MAX_CONDITIONS));
    }
    let mut seen: Vec<&str> = vec![];
    for (i, c) in all.iter().enumerate() {
        let p = path.index(i);
        if text(c, "expression").trim().is_empty() {
            errs.push(Error::required(&p.child("expression"), ""));
        }
        let name = text(c, "name");
        if name.is_empty() {
            errs.push(Error::required(&p.child("name"), ""));
            continue;
        }
        errs.invalid_each(&p.child("name"), name, names::qualified_name(name));
        if seen.contains(&name) {
            errs.push(Error::duplicate(&p.child("name"), name));
        }
        seen.push(name);
    }
}

/// Whether CEL reads a word as a name.
fn is_identifier(name: &str) -> bool {
    const RESERVED: [&str; 21] = [
        "true",
        "false",
        "null",
        "in",
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
        "var",
        "void",
        "while",
    ];
    !RESERVED.contains(&name)
        && name.starts_with(|c: char| c == '_' || c.is_ascii_alphabetic())
        && name.chars().all(|c| c == '_' || c.is_ascii_alphanumeric())
}

fn param_kind(k: &Value, path: &Path, errs: &mut ErrorList) {
    let version = text(k, "apiVersion");
    let p = path.child("apiVersion");
    match version.split('/').collect::<Vec<_>>().as_slice() {
        [""] => errs.push(Error::required(&p, "")),
        ["", ""] | [_, ""] => errs.push(Error::invalid(&p, version, "version must be specified")),
        [v] | ["", v] => errs.extend(joined(&p, v, names::dns1035_label(v))),
        [group, v] => {
            errs.extend(joined(&p, group, names::dns1123_subdomain(group)));
            errs.extend(joined(&p, v, names::dns1035_label(v)));
        }
        _ => errs.push(Error::invalid(
            &p,
            version,
            format!("unexpected GroupVersion string: {version}"),
        )),
    }
    let kind = text(k, "kind");
    let p = path.child("kind");
    if kind.is_empty() {
        errs.push(Error::required(&p, ""));
        return;
    }
    let msgs = names::dns1035_label(&kind.to_lowercase());
    if !msgs.is_empty() {
        errs.push(Error::invalid(
            &p,
            kind,
            format!(
                "may have mixed case, but should otherwise match: {}",
                msgs.join(",")
            ),
        ));
    }
}

/// All messages about a value as one error.
fn joined(path: &Path, value: &str, messages: Vec<String>) -> ErrorList {
    let mut errs = ErrorList::new();
    if !messages.is_empty() {
        errs.push(Error::invalid(path, value, messages.join(",")));
    }
    errs
}

/// `MatchResources`.
fn match_resources(m: &Value, path: &Path, errs: &mut ErrorList) {
    let at = path.child("matchPolicy");
    if m["matchPolicy"].is_null() {
        errs.push(Error::required(&at, ""));
    } else {
        one_if_given(&m["matchPolicy"], &["Equivalent", "Exact"], &at, errs);
    }
    for f in ["namespaceSelector", "objectSelector"] {
        if m[f].is_null() {
            errs.push(Error::required(&path.child(f), ""));
        } else {
            label_selector(&m[f], &path.child(f), errs);
        }
    }
    for f in ["resourceRules", "excludeResourceRules"] {
        for (i, rule) in list(&m[f]).iter().enumerate() {
            named_rule(rule, &path.child(f).index(i), errs);
        }
    }
}

fn named_rule(rule: &Value, path: &Path, errs: &mut ErrorList) {
    let mut seen: Vec<&str> = vec![];
    for (i, name) in list(&rule["resourceNames"]).iter().enumerate() {
        let p = path.child("resourceNames").index(i);
        let name = name.as_str().unwrap_or_default();
        errs.invalid_each(&p, name, names::path_segment(name));
        if seen.contains(&name) {
            errs.push(Error::duplicate(&p, name));
        }
        seen.push(name);
    }
    let operations = list(&rule["operations"]);
    let p = path.child("operations");
    if operations.is_empty() {
        errs.push(Error::required(&p, ""));
    }
    if operations.len() > 1 && operations.iter().any(|o| o == "*") {
        errs.push(Error::invalid(
            &p,
            rule["operations"].clone(),
            "if '*' is present, must not specify other operations",
        ));
    }
    for (i, o) in operations.iter().enumerate() {
        let all = ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
        if !all.iter().any(|known| o == known) {
            errs.push(Error::not_supported(&p.index(i), o.clone(), &all));
        }
    }
    for (f, what) in [("apiGroups", "API groups"), ("apiVersions", "API versions")] {
        let (p, all) = (path.child(f), list(&rule[f]));
        if all.is_empty() {
            errs.push(Error::required(&p, ""));
        }
        if all.len() > 1 && all.iter().any(|v| v == "*") {
            errs.push(Error::invalid(
                &p,
                rule[f].clone(),
                format!("if '*' is present, must not specify other {what}"),
            ));
        }
        if f == "apiVersions" {
            for (i, _) in all.iter().enumerate().filter(|(_, v)| *v == "") {
                errs.push(Error::required(&p.index(i), ""));
            }
        }
    }
    resources(&rule["resources"], &path.child("resources"), errs);
    let scope = &rule["scope"];
    one_if_given(scope, &["*", "Cluster", "Namespaced"], &path.child("scope"), errs);
}

fn resources(v: &Value, path: &Path, errs: &mut ErrorList) {
    let all: Vec<&str> = list(v).iter().filter_map(Value::as_str).collect();
    if all.is_empty() {
        errs.push(Error::required(path, ""));
    }
    for (i, r) in all.iter().enumerate() {
        if r.is_empty() {
            errs.push(Error::required(&path.index(i), ""));
        }
        let Some((resource, sub)) = r.split_once('/') else {
            continue;
        };
        // `a/*` and `*/b` stand for what else names them.
        if resource != "*" && sub != "*" && all.contains(&format!("{resource}/*").as_str()) {
            errs.push(Error::invalid(
                &path.index(i),
                *r,
                format!("if '{resource}/*' is present, must not specify {r}"),
            ));
        }
        if resource != "*" && sub != "*" && all.contains(&format!("*/{sub}").as_str()) {
            errs.push(Error::invalid(
                &path.index(i),
                *r,
                format!("if '*/{sub}' is present, must not specify {r}"),
            ));
        }
    }
    if all.len() > 1 && all.contains(&"*/*") {
        errs.push(Error::invalid(
            path,
            v.clone(),
            "if '*/*' is present, must not specify other resources",
        ));
    }
    if all.contains(&"*") && all.iter().any(|r| !r.contains('/') && *r != "*") {
        errs.push(Error::invalid(
            path,
            v.clone(),
            "if '*' is present, must not specify other resources without subresources",
        ));
    }
}

fn validations(policy: &str, s: &Value, path: &Path, errs: &mut ErrorList) {
    let (all, annotations) = (list(&s["validations"]), list(&s["auditAnnotations"]));
    if all.is_empty() && annotations.is_empty() {
        for f in ["validations", "auditAnnotations"] {
            errs.push(Error::required(
                &path.child(f),
                "validations or auditAnnotations must contain at least one item",
            ));
        }
    }
    for (i, v) in all.iter().enumerate() {
        let p = path.child("validations").index(i);
        if text(v, "expression").trim().is_empty() {
            errs.push(Error::required(
                &p.child("expression"),
                "expression is not specified",
            ));
        }
        let source = text(v, "messageExpression");
        if !source.is_empty() && source.trim().is_empty() {
            errs.push(Error::invalid(
                &p.child("messageExpression"),
                source,
                "must be non-empty if specified",
            ));
        }
        let message = text(v, "message");
        if !message.is_empty() && message.trim().is_empty() {
            errs.push(Error::invalid(
                &p.child("message"),
                message,
                "must be non-empty if specified",
            ));
        } else if message.trim().contains(['\n', '\r']) {
            errs.push(Error::invalid(
                &p.child("message"),
                message,
                "must not contain line breaks",
            ));
        }
        one_if_given(
            &v["reason"],
            &["Forbidden", "Invalid", "RequestEntityTooLarge"],
            &p.child("reason"),
            errs,
        );
    }
    let at = path.child("auditAnnotations");
    if annotations.len() > MAX_ANNOTATIONS {
        errs.push(Error::invalid(
            &at,
            s["auditAnnotations"].clone(),
            format!("must not have more than {MAX_ANNOTATIONS} auditAnnotations"),
        ));
    }
    let mut seen: Vec<&str> = vec![];
    for (i, a) in annotations.iter().enumerate() {
        let p = at.index(i);
        let key = text(a, "key");
        if policy.is_empty() {
            let why = "requires metadata.name be non-empty";
            errs.push(Error::invalid(&p.child("key"), key, why));
        } else {
            let whole = format!("{policy}/{key}");
            errs.invalid_each(&p.child("key"), &whole, names::qualified_name(&whole));
        }
        let source = text(a, "valueExpression");
        if source.trim().is_empty() {
            errs.push(Error::required(
                &p.child("valueExpression"),
                "valueExpression is not specified",
            ));
        } else if source.trim().len() > MAX_VALUE_EXPRESSION {
            errs.push(Error::required(
                &p.child("valueExpression"),
                format!("must not exceed {MAX_VALUE_EXPRESSION} bytes in length"),
            ));
        }
        if seen.contains(&key) {
            errs.push(Error::duplicate(&p.child("key"), key));
        }
        seen.push(key);
    }
}

fn mutations(s: &Value, path: &Path, errs: &mut ErrorList) {
    let all = list(&s["mutations"]);
    let at = path.child("mutations");
    if all.is_empty() {
        errs.push(Error::required(&at, "mutations must contain at least one item"));
    }
    for (i, m) in all.iter().enumerate() {
        let p = at.index(i);
        let (field, other) = match text(m, "patchType") {
            "ApplyConfiguration" => ("applyConfiguration", "jsonPatch"),
            "JSONPatch" => ("jsonPatch", "applyConfiguration"),
            "" => {
                errs.push(Error::required(&p.child("patchType"), ""));
                continue;
            }
            unknown => {
                errs.push(Error::not_supported(
                    &p.child("patchType"),
                    unknown,
                    &["ApplyConfiguration", "JSONPatch"],
                ));
                continue;
            }
        };
        if !m[other].is_null() {
            errs.push(Error::forbidden(
                &p.child(other),
                format!("must not be specified when patchType is {}", text(m, "patchType")),
            ));
        }
        if text(&m[field], "expression").trim().is_empty() {
            errs.push(Error::required(
                &p.child(field).child("expression"),
                "expression is not specified",
            ));
        }
    }
    let at = path.child("reinvocationPolicy");
    if text(s, "reinvocationPolicy").is_empty() {
        errs.push(Error::required(&at, ""));
    } else {
        one_if_given(&s["reinvocationPolicy"], &["IfNeeded", "Never"], &at, errs);
    }
}

fn binding(kind: &str, s: &Value, path: &Path, errs: &mut ErrorList) {
    let name = text(s, "policyName");
    if name.is_empty() {
        errs.push(Error::required(&path.child("policyName"), ""));
    } else {
        errs.invalid_each(&path.child("policyName"), name, names::dns1123_subdomain(name));
    }
    if s["paramRef"].is_object() {
        param_ref(&s["paramRef"], &path.child("paramRef"), errs);
    }
    if s["matchResources"].is_object() {
        match_resources(&s["matchResources"], &path.child("matchResources"), errs);
    }
    if kind.starts_with('V') {
        actions(&s["validationActions"], &path.child("validationActions"), errs);
    }
}

fn param_ref(r: &Value, path: &Path, errs: &mut ErrorList) {
    let name = text(r, "name");
    if name.is_empty() {
        if r["selector"].is_null() {
            errs.push(Error::required(path, "one of name or selector must be specified"));
        }
    } else {
        if !r["selector"].is_null() {
            let at = path.child("name");
            errs.push(Error::forbidden(&at, "name and selector are mutually exclusive"));
        }
        errs.invalid_each(&path.child("name"), name, names::path_segment(name));
    }
    if !r["selector"].is_null() {
        label_selector(&r["selector"], &path.child("selector"), errs);
        if !name.is_empty() {
            let at = path.child("selector");
            errs.push(Error::forbidden(&at, "name and selector are mutually exclusive"));
        }
    }
    let at = path.child("parameterNotFoundAction");
    if text(r, "parameterNotFoundAction").is_empty() {
        errs.push(Error::required(&at, ""));
    } else {
        one_if_given(&r["parameterNotFoundAction"], &["Deny", "Allow"], &at, errs);
    }
}

fn actions(v: &Value, path: &Path, errs: &mut ErrorList) {
    let all = list(v);
    for (i, a) in all.iter().enumerate() {
        one_if_given(a, &["Audit", "Deny", "Warn"], &path.index(i), errs);
        if all[..i].contains(a) {
            errs.push(Error::duplicate(&path.index(i), a.clone()));
        }
    }
    if all.iter().any(|a| a == "Deny") && all.iter().any(|a| a == "Warn") {
        errs.push(Error::invalid(
            path,
            v.clone(),
            "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)",
        ));
    }
    if all.is_empty() {
        errs.push(Error::required(
            path,
            "at least one validation action is required",
        ));
    }
}

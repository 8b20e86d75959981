//! Flow control: which requests belong to a schema (KEP-1040). Priority levels are next door.

use serde_json::Value;

use super::support::{list, required, text};
use crate::field::{Error, ErrorList, Path};
use crate::names;

const VERBS: &[&str] = &[
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "proxy",
    "update",
    "watch",
];
const SUBJECTS: &[&str] = &["Group", "ServiceAccount", "User"];
/// Highest number of a schema; the lowest is that of one schema alone.
const MAX_PRECEDENCE: i64 = 10_000;

pub(super) fn schema(name: &str, s: &Value, path: &Path, errs: &mut ErrorList) {
    let n = s["matchingPrecedence"].as_i64().unwrap_or(0);
    let fault = match n {
        ..=0 => "must be a positive value".to_owned(),
        1 if name != "exempt" => "only the schema named 'exempt' may have matchingPrecedence 1".to_owned(),
        n if n > MAX_PRECEDENCE => format!("must not be greater than {MAX_PRECEDENCE}"),
        _ => String::new(),
    };
    if !fault.is_empty() {
        errs.push(Error::invalid(&path.child("matchingPrecedence"), n, fault));
    }
    let method = &s["distinguisherMethod"];
    if method.is_object() && !matches!(text(method, "type"), "ByNamespace" | "ByUser") {
        errs.push(Error::not_supported(
            &path.child("distinguisherMethod").child("type"),
            serde_json::json!({"Type": text(method, "type")}),
            &["ByNamespace", "ByUser"],
        ));
    }
    let level = text(&s["priorityLevelConfiguration"], "name");
    let p = path.child("priorityLevelConfiguration").child("name");
    if level.is_empty() {
        errs.push(Error::required(&p, "must reference a priority level"));
    } else {
        errs.invalid_each(&p, level, names::dns1123_subdomain(level));
    }
    for (i, rule) in list(&s["rules"]).iter().enumerate() {
        rules(rule, &path.child("rules").index(i), errs);
    }
}

fn rules(r: &Value, p: &Path, errs: &mut ErrorList) {
    let subjects = list(&r["subjects"]);
    if subjects.is_empty() {
        errs.push(Error::required(
            &p.child("subjects"),
            "subjects must contain at least one value",
        ));
    }
    for (i, s) in subjects.iter().enumerate() {
        subject(s, &p.child("subjects").index(i), errs);
    }
    let (resources, others) = (list(&r["resourceRules"]), list(&r["nonResourceRules"]));
    if resources.is_empty() && others.is_empty() {
        errs.push(Error::required(
            p,
            "at least one of resourceRules and nonResourceRules has to be non-empty",
        ));
    }
    for (i, rule) in resources.iter().enumerate() {
        let p = p.child("resourceRules").index(i);
        verbs(rule, &p.child("verbs"), errs);
        for (field, what) in [("apiGroups", "api group"), ("resources", "resource")] {
            let why = format!("resource rules must supply at least one {what}");
            some_or_all(rule, field, &format!("{what}s"), &why, &p, errs);
        }
        namespaces(rule, &p.child("namespaces"), errs);
    }
    for (i, rule) in others.iter().enumerate() {
        let p = p.child("nonResourceRules").index(i);
        verbs(rule, &p.child("verbs"), errs);
        let why = "nonResourceURLs must contain at least one value";
        let field = "nonResourceURLs";
        if some_or_all(rule, field, "non-resource URLs", why, &p, errs) {
            for (j, url) in list(&rule[field]).iter().enumerate() {
                url_path(url.as_str().unwrap_or(""), &p.child(field).index(j), errs);
            }
        }
    }
}

fn subject(s: &Value, p: &Path, errs: &mut ErrorList) {
    let kind = text(s, "kind");
    if !SUBJECTS.contains(&kind) {
        errs.push(Error::not_supported(&p.child("kind"), kind, SUBJECTS));
        return;
    }
    for (of, field) in [
        ("ServiceAccount", "serviceAccount"),
        ("User", "user"),
        ("Group", "group"),
    ] {
        let (at, given) = (p.child(field), s[field].is_object());
        match (of == kind, given) {
            (false, true) => errs.push(Error::forbidden(
                &at,
                format!("{field} is forbidden when subject kind is not '{of}'"),
            )),
            (true, false) => errs.push(Error::required(
                &at,
                format!("{field} is required when subject kind is '{of}'"),
            )),
            (true, true) => {
                let name = text(&s[field], "name");
                let given = required(&s[field]["name"], &at.child("name"), errs);
                if of == "ServiceAccount" {
                    if given && name != "*" {
                        errs.invalid_each(&at.child("name"), name, names::dns1123_subdomain(name));
                    }
                    let (at, namespace) = (at.child("namespace"), text(&s[field], "namespace"));
                    if namespace.is_empty() {
                        errs.push(Error::required(&at, "must specify namespace for service account"));
                    } else {
                        errs.invalid_each(&at, namespace, names::dns1123_label(namespace));
                    }
                }
            }
            (false, false) => {}
        }
    }
}

fn verbs(rule: &Value, path: &Path, errs: &mut ErrorList) {
    let verbs = list(&rule["verbs"]);
    if verbs.is_empty() {
        errs.push(Error::required(path, "verbs must contain at least one value"));
    } else if verbs.iter().any(|verb| verb == "*") {
        if verbs.len() > 1 {
            errs.push(Error::invalid(
                path,
                rule["verbs"].clone(),
                "if '*' is present, must not specify other verbs",
            ));
        }
    } else if !verbs
        .iter()
        .all(|verb| verb.as_str().is_some_and(|verb| VERBS.contains(&verb)))
    {
        errs.push(Error::not_supported(path, rule["verbs"].clone(), VERBS));
    }
}

/// A list that is not empty, or `*` alone; whether each of it is to be looked at.
fn some_or_all(rule: &Value, field: &str, what: &str, missing: &str, p: &Path, errs: &mut ErrorList) -> bool {
    let (entries, at) = (list(&rule[field]), p.child(field));
    let all = entries.iter().any(|entry| entry == "*");
    if entries.is_empty() {
        errs.push(Error::required(&at, missing));
    } else if all && entries.len() > 1 {
        errs.push(Error::invalid(
            &at,
            rule[field].clone(),
            format!("if '*' is present, must not specify other {what}"),
        ));
    }
    !all
}

fn namespaces(rule: &Value, path: &Path, errs: &mut ErrorList) {
    let entries = list(&rule["namespaces"]);
    if entries.is_empty() && rule["clusterScope"] != true {
        errs.push(Error::required(
            path,
            "resource rules that are not cluster scoped must supply at least one namespace",
        ));
    } else if entries.iter().any(|entry| entry == "*") {
        if entries.len() > 1 {
            errs.push(Error::invalid(
                path,
                rule["namespaces"].clone(),
                "if '*' is present, must not specify other namespaces",
            ));
        }
    } else {
        for (i, entry) in entries.iter().enumerate() {
            let entry = entry.as_str().unwrap_or("");
            for why in names::dns1123_label(entry) {
                let why = format!("each member of this list must be '*' or a DNS-1123 label; {why}");
                errs.push(Error::invalid(&path.index(i), entry, why));
            }
        }
    }
}

fn url_path(url: &str, path: &Path, errs: &mut ErrorList) {
    let why = match url.strip_prefix('/') {
        _ if url.is_empty() => "must not be empty",
        _ if url == "/" => return,
        None => "must start with slash",
        Some(_) if url.contains(' ') => "must not contain white-space",
        Some(_) if url.contains("//") => "must not contain double slash",
        Some(_) if url.contains('*') && (url.matches('*').count() > 1 || !url.ends_with("/*")) => {
            "wildcard can only do suffix matching"
        }
        Some(_) => return,
    };
    errs.push(Error::invalid(path, url, why));
}

/// Conditions of a schema's or a level's status: each type once.
pub(super) fn status(o: &Value, errs: &mut ErrorList) {
    let path = Path::new("status").child("conditions");
    let mut seen: Vec<&str> = vec![];
    for (i, condition) in list(&o["status"]["conditions"]).iter().enumerate() {
        let (kind, at) = (text(condition, "type"), path.index(i).child("type"));
        if seen.contains(&kind) {
            errs.push(Error::duplicate(&at, kind));
        }
        seen.push(kind);
        required(&condition["type"], &at, errs);
    }
}

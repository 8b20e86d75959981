//! CustomResourceDefinitions. Upstream: `apiextensions-apiserver/pkg/apis/apiextensions/validation`.

mod schema;

use serde_json::Value;

use super::support::{immutable, list, required_one_of, text};
use crate::field::{Error, ErrorList, Path, quote};
use crate::{meta, names};

/// Annotation by which a definition in a group of Kubernetes' own says that it was reviewed.
const APPROVAL: &str = "api-approved.kubernetes.io";
const COLUMN_TYPES: &[&str] = &["boolean", "date", "integer", "number", "string"];
const COLUMN_FORMATS: &[&str] = &[
    "byte",
    "date",
    "date-time",
    "double",
    "float",
    "int32",
    "int64",
    "password",
];
/// Review versions that this server speaks.
const REVIEWS: &[&str] = &["v1", "v1beta1"];
/// Fields a version may be selected by, at most.
const MAX_SELECTABLE: usize = 8;

pub(super) fn create(o: &Value, errs: &mut ErrorList) {
    spec(o, errs);
    if let Some(error) = approval(o) {
        errs.push(error);
    }
}

pub(super) fn update(new: &Value, old: &Value, errs: &mut ErrorList) {
    spec(new, errs);
    let path = Path::new("spec");
    let established = list(&old["status"]["conditions"])
        .iter()
        .any(|c| c["type"] == "Established" && c["status"] == "True");
    let (n, o) = (&new["spec"], &old["spec"]);
    if established {
        immutable(&n["scope"], &o["scope"], &path.child("scope"), errs);
        let kind = path.child("names").child("kind");
        immutable(&n["names"]["kind"], &o["names"]["kind"], &kind, errs);
    }
    immutable(&n["group"], &o["group"], &path.child("group"), errs);
    let plural = path.child("names").child("plural");
    immutable(&n["names"]["plural"], &o["names"]["plural"], &plural, errs);
    stored_versions(new, errs);
    let annotation = |o: &Value| meta::annotation(o, APPROVAL).map(str::to_owned);
    if annotation(new) != annotation(old)
        && let Some(error) = approval(new)
    {
        errs.push(error);
    }
}

/// Objects may be stored in every stored version, so each must still be known.
pub(super) fn stored_versions(o: &Value, errs: &mut ErrorList) {
    let path = Path::new("status").child("storedVersions");
    let stored = list(&o["status"]["storedVersions"]);
    if stored.is_empty() {
        errs.push(Error::invalid(
            &path,
            Value::Array(Vec::new()),
            "must have at least one stored version",
        ));
        return;
    }
    let versions = list(&o["spec"]["versions"]);
    for v in versions.iter().filter(|v| v["storage"] == true) {
        if !stored.contains(&v["name"]) {
            let detail = format!("must have the storage version {}", text(v, "name"));
            errs.push(Error::invalid(&path, v["name"].clone(), detail));
        }
    }
    for (i, name) in stored.iter().enumerate() {
        if versions.iter().any(|v| v["name"] == *name) {
            continue;
        }
        let v = name.as_str().unwrap_or_default();
        errs.push(Error::invalid(
            &path.index(i),
            v,
            format!("missing from spec.versions; {v} was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in {v} and removes {v} from status.storedVersions"),
        ));
    }
}

/// What a definition in a group of Kubernetes' own lacks.
fn approval(o: &Value) -> Option<Error> {
    let group = text(&o["spec"], "group");
    if !(group.ends_with(".k8s.io") || group.ends_with(".kubernetes.io")) {
        return None;
    }
    let path = Path::new("metadata").child("annotations").key(APPROVAL);
    let see = "see https://github.com/kubernetes/enhancements/pull/1111";
    match meta::annotation(o, APPROVAL).unwrap_or_default() {
        "" => Some(Error::required(
            &path,
            format!(
                "protected groups must have approval annotation {}, {see}",
                quote(APPROVAL)
            ),
        )),
        value if value.starts_with("unapproved") || value.contains("://") => None,
        value => Some(Error::invalid(
            &path,
            value,
            format!(
                "protected groups must have approval annotation {} with either a URL or a reason starting with \"unapproved\", {see}",
                quote(APPROVAL)
            ),
        )),
    }
}

fn spec(o: &Value, errs: &mut ErrorList) {
    let s = &o["spec"];
    let path = Path::new("spec");
    let (group, n) = (text(s, "group"), &s["names"]);
    if meta::name(o) != format!("{}.{group}", text(n, "plural")) {
        errs.push(Error::invalid(
            &Path::new("metadata").child("name"),
            meta::name(o),
            "must be spec.names.plural+\".\"+spec.group",
        ));
    }
    if group.is_empty() {
        errs.push(Error::required(&path.child("group"), ""));
    } else {
        let messages = names::dns1123_subdomain(group);
        if !messages.is_empty() {
            errs.push(Error::invalid(&path.child("group"), group, messages.join(",")));
        } else if !group.contains('.') {
            let detail = "should be a domain with at least one dot";
            errs.push(Error::invalid(&path.child("group"), group, detail));
        }
    }
    required_one_of(
        &s["scope"],
        &["Cluster", "Namespaced"],
        &path.child("scope"),
        errs,
    );
    if s["preserveUnknownFields"] == true {
        errs.push(Error::invalid(
            &path.child("preserveUnknownFields"),
            true,
            "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead",
        ));
    }
    versions(s, &path.child("versions"), errs);
    definition_names(n, &path.child("names"), errs);
    conversion(&s["conversion"], &path.child("conversion"), errs);
}

fn versions(s: &Value, path: &Path, errs: &mut ErrorList) {
    let all = list(&s["versions"]);
    let mut seen: Vec<&str> = vec![];
    let mut unique = true;
    for (i, v) in all.iter().enumerate() {
        let p = path.index(i);
        let name = text(v, "name");
        let messages = names::dns1035_label(name);
        if !messages.is_empty() {
            errs.push(Error::invalid(&p.child("name"), name, messages.join(",")));
        }
        unique &= !seen.contains(&name);
        seen.push(name);
        version(v, &p, errs);
    }
    if !unique {
        let detail = "must contain unique version names";
        errs.push(Error::invalid(path, s["versions"].clone(), detail));
    }
    if all.iter().filter(|v| v["storage"] == true).count() != 1 {
        let detail = "must have exactly one version marked as storage version";
        errs.push(Error::invalid(path, s["versions"].clone(), detail));
    }
}

fn version(v: &Value, path: &Path, errs: &mut ErrorList) {
    deprecation(v, &path.child("deprecationWarning"), errs);
    let status = v["subresources"]["status"].is_object();
    let root = &v["schema"]["openAPIV3Schema"];
    let place = path.child("schema").child("openAPIV3Schema");
    if root.is_object() {
        schema::check(root, status, &place, errs);
    } else {
        errs.push(Error::required(&place, ""));
    }
    scale(&v["subresources"]["scale"], &path.child("subresources"), errs);
    for (i, column) in list(&v["additionalPrinterColumns"]).iter().enumerate() {
        self::column(column, &path.child("additionalPrinterColumns").index(i), errs);
    }
    selectable(v, root, &path.child("selectableFields"), errs);
}

fn deprecation(v: &Value, path: &Path, errs: &mut ErrorList) {
    let Some(warning) = v["deprecationWarning"].as_str() else {
        return;
    };
    let mut bad = |why: &str| errs.push(Error::invalid(path, warning, why));
    if v["deprecated"] != true {
        bad("can only be set for deprecated versions");
        return;
    }
    if warning.len() > 256 {
        bad("must be <= 256 characters long");
    }
    if warning.is_empty() {
        bad("must not be an empty string");
    }
    if let Some((at, _)) = warning.char_indices().find(|(_, c)| c.is_control()) {
        bad(&format!(
            "must only contain printable UTF-8 characters; non-printable character found at index {at}"
        ));
    }
}

/// A path in plain dot notation.
fn simple_path(text: &str, path: &Path, errs: &mut ErrorList) -> bool {
    if text.is_empty() {
        errs.push(Error::invalid(path, text, "must not be empty"));
    } else if !text.starts_with('.') {
        let detail = "must be a simple json path starting with .";
        errs.push(Error::invalid(path, text, detail));
    } else {
        return true;
    }
    false
}

fn scale(scale: &Value, path: &Path, errs: &mut ErrorList) {
    if !scale.is_object() {
        return;
    }
    for (field, below, detail) in [
        ("specReplicasPath", ".spec.", "should be a json path under .spec"),
        (
            "statusReplicasPath",
            ".status.",
            "should be a json path under .status",
        ),
    ] {
        let place = path.child("scale").child(field);
        let value = text(scale, field);
        if value.is_empty() {
            errs.push(Error::required(&place, ""));
        } else if simple_path(value, &place, errs) && !value.starts_with(below) {
            errs.push(Error::invalid(&place, value, detail));
        }
    }
    let value = text(scale, "labelSelectorPath");
    let place = path.child("scale").child("labelSelectorPath");
    if !value.is_empty()
        && simple_path(value, &place, errs)
        && !value.starts_with(".spec.")
        && !value.starts_with(".status.")
    {
        let detail = "should be a json path under either .spec or .status";
        errs.push(Error::invalid(&place, value, detail));
    }
}

fn column(c: &Value, path: &Path, errs: &mut ErrorList) {
    if text(c, "name").is_empty() {
        errs.push(Error::required(&path.child("name"), ""));
    }
    let kind = text(c, "type");
    let one_of = format!("must be one of {}", COLUMN_TYPES.join(","));
    if kind.is_empty() {
        errs.push(Error::required(&path.child("type"), one_of));
    } else if !COLUMN_TYPES.contains(&kind) {
        errs.push(Error::invalid(&path.child("type"), kind, one_of));
    }
    let format = text(c, "format");
    if !format.is_empty() && !COLUMN_FORMATS.contains(&format) {
        let detail = format!("must be one of {}", COLUMN_FORMATS.join(","));
        errs.push(Error::invalid(&path.child("format"), format, detail));
    }
    // As upstream spells it.
    let place = path.child("JSONPath");
    let json_path = text(c, "jsonPath");
    if json_path.is_empty() {
        errs.push(Error::required(&place, ""));
    } else {
        simple_path(json_path, &place, errs);
    }
}

/// Selectable fields are scalars that the schema has.
fn selectable(v: &Value, root: &Value, path: &Path, errs: &mut ErrorList) {
    let fields = list(&v["selectableFields"]);
    let mut seen: Vec<&str> = vec![];
    for (i, field) in fields.iter().enumerate() {
        let place = path.index(i).child("jsonPath");
        let json_path = text(field, "jsonPath");
        if json_path.is_empty() {
            errs.push(Error::required(&place, ""));
            continue;
        }
        let node = json_path
            .strip_prefix('.')
            .filter(|rest| !rest.contains('['))
            .and_then(|rest| {
                rest.split('.')
                    .try_fold(root, |at, name| at["properties"].get(name))
            });
        match node {
            None => errs.push(Error::invalid(
                &place,
                json_path,
                "is an invalid path: does not refer to a valid field",
            )),
            Some(_) if json_path.starts_with(".metadata.") => {
                errs.push(Error::invalid(
                    &place,
                    json_path,
                    "must not point to fields in metadata",
                ));
            }
            Some(node) if !matches!(node["type"].as_str(), Some("string" | "integer" | "boolean")) => {
                let detail = "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.";
                errs.push(Error::invalid(&place, json_path, detail));
            }
            Some(_) if seen.contains(&json_path) => errs.push(Error::duplicate(&place, json_path)),
            Some(_) => {}
        }
        seen.push(json_path);
    }
    if fields.len() > MAX_SELECTABLE {
        errs.push(Error::too_many(path, fields.len(), MAX_SELECTABLE));
    }
}

fn definition_names(n: &Value, path: &Path, errs: &mut ErrorList) {
    for f in ["plural", "singular", "kind", "listKind"] {
        if text(n, f).is_empty() {
            errs.push(Error::required(&path.child(f), ""));
        }
    }
    for f in ["plural", "singular", "kind", "listKind"] {
        let v = text(n, f);
        if v.is_empty() {
            continue;
        }
        let mixed = matches!(f, "kind" | "listKind");
        let messages = if mixed {
            names::dns1035_label(&v.to_lowercase())
        } else {
            names::dns1035_label(v)
        };
        if !messages.is_empty() {
            let prefix = if mixed {
                "may have mixed case, but should otherwise match: "
            } else {
                ""
            };
            let detail = format!("{prefix}{}", messages.join(","));
            errs.push(Error::invalid(&path.child(f), v, detail));
        }
    }
    for f in ["shortNames", "categories"] {
        for (i, s) in list(&n[f]).iter().enumerate() {
            let s = s.as_str().unwrap_or("");
            let messages = names::dns1035_label(s);
            if !messages.is_empty() {
                errs.push(Error::invalid(&path.child(f).index(i), s, messages.join(",")));
            }
        }
    }
    if !text(n, "kind").is_empty() && text(n, "kind") == text(n, "listKind") {
        let detail = "kind and listKind may not be the same";
        errs.push(Error::invalid(
            &path.child("listKind"),
            text(n, "listKind"),
            detail,
        ));
    }
}

fn conversion(c: &Value, path: &Path, errs: &mut ErrorList) {
    if !c.is_object() {
        return;
    }
    required_one_of(
        &c["strategy"],
        &["None", "Webhook"],
        &path.child("strategy"),
        errs,
    );
    let w = &c["webhook"];
    let place = path.child("webhook");
    if text(c, "strategy") != "Webhook" {
        if w.is_object() {
            let detail = "should not be set when strategy is not set to Webhook";
            errs.push(Error::forbidden(&place, detail));
        }
        return;
    }
    let config = &w["clientConfig"];
    let at = place.child("clientConfig");
    let url = config["url"].as_str();
    if !config.is_object() {
        errs.push(Error::required(&at, "required when strategy is set to Webhook"));
    } else if url.is_some() == config["service"].is_object() {
        errs.push(Error::required(&at, "exactly one of url or service is required"));
    } else if let Some(url) = url {
        if !url.starts_with("https://") {
            let detail = "'https' is the only allowed URL scheme; desired format: https://host[/path]";
            errs.push(Error::invalid(&at.child("url"), url, detail));
        }
    } else {
        for f in ["name", "namespace"] {
            if text(&config["service"], f).is_empty() {
                let detail = format!("service {f} is required");
                errs.push(Error::required(&at.child("service").child(f), detail));
            }
        }
    }
    let at = place.child("conversionReviewVersions");
    let reviews = list(&w["conversionReviewVersions"]);
    if reviews.is_empty() {
        errs.push(Error::required(&at, ""));
        return;
    }
    for (i, v) in reviews.iter().enumerate() {
        if reviews[..i].contains(v) {
            errs.push(Error::invalid(&at.index(i), v.clone(), "duplicate version"));
            continue;
        }
        let v = v.as_str().unwrap_or_default();
        errs.invalid_each(&at.index(i), v, names::dns1035_label(v));
    }
    if !reviews.iter().any(|v| REVIEWS.iter().any(|known| v == known)) {
        let detail = format!("must include at least one of {}", REVIEWS.join(", "));
        errs.push(Error::invalid(&at, w["conversionReviewVersions"].clone(), detail));
    }
}

#[cfg(test)]
mod tests;

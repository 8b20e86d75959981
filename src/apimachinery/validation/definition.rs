//! CustomResourceDefinitions. Upstream: `apiextensions-apiserver/pkg/apis/apiextensions/validation`.

mod conversion;
mod open_api;
mod paths;
mod schema;

use serde_json::Value;

use super::support::{list, required_one_of, same, text};
use crate::field::{Error, ErrorList, Path, quote};
use crate::{meta, names};

pub use paths::is_field_path;

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
/// Fields a version may be selected by, at most.
const MAX_SELECTABLE: usize = 8;

pub(super) fn create(o: &Value, errs: &mut ErrorList) {
    let (group, plural) = (text(&o["spec"], "group"), text(&o["spec"]["names"], "plural"));
    for field in ["generateName", "name"] {
        let name = text(&o["metadata"], field);
        if !name.is_empty() && name != format!("{plural}.{group}") {
            errs.push(Error::invalid(
                &Path::new("metadata").child(field),
                name,
                "must be spec.names.plural+\".\"+spec.group",
            ));
        }
    }
    spec(o, errs);
    stored_versions(o, errs);
    if let Some(error) = approval(o) {
        errs.push(error);
    }
    unknown_fields(o, errs);
}

pub(super) fn update(new: &Value, old: &Value, errs: &mut ErrorList) {
    spec(new, errs);
    let path = Path::new("spec");
    let established = list(&old["status"]["conditions"])
        .iter()
        .any(|c| c["type"] == "Established" && c["status"] == "True");
    let (n, o) = (&new["spec"], &old["spec"]);
    // Texts in upstream's form, where what is absent is empty.
    let mut frozen = |n: &str, o: &str, path: Path| {
        if n != o {
            errs.push(Error::invalid(&path, n, "field is immutable"));
        }
    };
    let names = path.child("names");
    if established {
        frozen(text(n, "scope"), text(o, "scope"), path.child("scope"));
        let kind = |s: &'_ Value| text(&s["names"], "kind").to_owned();
        frozen(&kind(n), &kind(o), names.child("kind"));
    }
    frozen(text(n, "group"), text(o, "group"), path.child("group"));
    let plural = |s: &'_ Value| text(&s["names"], "plural").to_owned();
    frozen(&plural(n), &plural(o), names.child("plural"));
    stored_versions(new, errs);
    let annotation = |o: &Value| meta::annotation(o, APPROVAL).map(str::to_owned);
    if annotation(new) != annotation(old)
        && let Some(error) = approval(new)
    {
        errs.push(error);
    }
    if o["preserveUnknownFields"] != true {
        unknown_fields(new, errs);
    }
}

/// An update of the `status` subresource.
pub(super) fn status(new: &Value, errs: &mut ErrorList) {
    let path = Path::new("status").child("acceptedNames");
    some_names(&new["status"]["acceptedNames"], &path, errs);
}

fn unknown_fields(o: &Value, errs: &mut ErrorList) {
    if o["spec"]["preserveUnknownFields"] == true {
        errs.push(Error::invalid(
            &Path::new("spec").child("preserveUnknownFields"),
            true,
            "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead",
        ));
    }
}

/// Objects may be stored in every stored version, so each must still be known.
fn stored_versions(o: &Value, errs: &mut ErrorList) {
    let path = Path::new("status").child("storedVersions");
    let stored = list(&o["status"]["storedVersions"]);
    if stored.is_empty() {
        let detail = "must have at least one stored version";
        errs.push(Error::invalid(&path, Value::Null, detail));
        return;
    }
    let mut unknown: Vec<(usize, &Value)> = stored.iter().enumerate().collect();
    for v in list(&o["spec"]["versions"]) {
        let found = unknown.iter().position(|(_, name)| **name == v["name"]);
        match found {
            Some(at) => drop(unknown.remove(at)),
            None if v["storage"] == true => {
                let detail = format!("must have the storage version {}", text(v, "name"));
                let shown = o["status"]["storedVersions"].clone();
                errs.push(Error::invalid(&path, shown, detail));
            }
            None => {}
        }
    }
    for (i, name) in unknown {
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

/// Which parts all versions have alike. Upstream's internal form has these once, beside the versions,
/// and so have the paths of what is wrong with them.
struct Alike {
    schema: bool,
    subresources: bool,
    columns: bool,
    selectable: bool,
}

impl Alike {
    fn of(spec: &Value) -> Alike {
        let versions = list(&spec["versions"]);
        let all = |same: &dyn Fn(&Value, &Value) -> bool| {
            versions
                .first()
                .is_some_and(|first| versions.iter().all(|v| same(v, first)))
        };
        Alike {
            schema: all(&|a, b| a["schema"] == b["schema"]),
            subresources: all(&|a, b| a["subresources"] == b["subresources"]),
            columns: all(&|a, b| same(&a["additionalPrinterColumns"], &b["additionalPrinterColumns"])),
            selectable: all(&|a, b| same(&a["selectableFields"], &b["selectableFields"])),
        }
    }
}

/// A schema of a definition.
pub struct Place<'a> {
    /// Its `openAPIV3Schema`.
    pub schema: &'a Value,
    /// Where upstream's messages say it is.
    pub path: Path,
    /// The version's, or any version's, status is a subresource.
    status: bool,
}

impl Place<'_> {
    /// Whether it is right but for its rules.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let mut errs = ErrorList::new();
        schema::check(self.schema, self.status, &self.path, &mut errs);
        errs.is_empty()
    }
}

/// The schemas of a definition: one where all versions have the same.
#[must_use]
pub fn definition_schemas(definition: &Value) -> Vec<Place<'_>> {
    let spec = &definition["spec"];
    let path = Path::new("spec");
    let versions = list(&spec["versions"]);
    let has_status = |v: &Value| v["subresources"]["status"].is_object();
    let alike = Alike::of(spec).schema;
    let considered = if alike { &versions[..1] } else { versions };
    let places = considered.iter().enumerate().map(|(i, v)| Place {
        schema: &v["schema"]["openAPIV3Schema"],
        path: if alike {
            path.child("validation")
        } else {
            path.child("versions").index(i).child("schema")
        }
        .child("openAPIV3Schema"),
        status: if alike {
            versions.iter().any(has_status)
        } else {
            has_status(v)
        },
    });
    places.filter(|place| place.schema.is_object()).collect()
}

fn spec(o: &Value, errs: &mut ErrorList) {
    let s = &o["spec"];
    let path = Path::new("spec");
    let (group, n) = (text(s, "group"), &s["names"]);
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
    for (i, v) in list(&s["versions"]).iter().enumerate() {
        if !v["schema"]["openAPIV3Schema"].is_object() {
            let place = path.child("versions").index(i).child("schema");
            errs.push(Error::required(&place.child("openAPIV3Schema"), ""));
        }
    }
    let free = s["preserveUnknownFields"] == true;
    let schemas = definition_schemas(o);
    if free
        && schemas
            .iter()
            .any(|place| schema::any(place.schema, &|s| !s["default"].is_null()))
    {
        let place = path.child("preserveUnknownFields");
        let detail = "must be false in order to use defaults in the schema";
        errs.push(Error::invalid(&place, true, detail));
    }
    versions(s, &path, errs);
    let at = path.child("names");
    for f in ["plural", "singular", "kind", "listKind"] {
        if text(n, f).is_empty() {
            errs.push(Error::required(&at.child(f), ""));
        }
    }
    some_names(n, &at, errs);
    for place in &schemas {
        schema::check(place.schema, place.status, &place.path, errs);
    }
    let place = path.child("conversion");
    let strategy = text(&s["conversion"], "strategy");
    if free && s["conversion"].is_object() && strategy != "None" {
        let detail = "must be None if spec.preserveUnknownFields is true";
        errs.push(Error::invalid(&place.child("strategy"), strategy, detail));
    }
    conversion::check(&s["conversion"], &place, errs);
}

fn versions(s: &Value, spec: &Path, errs: &mut ErrorList) {
    let all = list(&s["versions"]);
    let path = spec.child("versions");
    let alike = Alike::of(s);
    let mut seen: Vec<&str> = vec![];
    let mut unique = true;
    for (i, v) in all.iter().enumerate() {
        let p = path.index(i);
        let name = text(v, "name");
        label(name, &p.child("name"), errs);
        unique &= !seen.contains(&name);
        seen.push(name);
        deprecation(v, &p.child("deprecationWarning"), errs);
        if !alike.subresources {
            scale(&v["subresources"]["scale"], &p.child("subresources"), errs);
        }
        if !alike.columns {
            columns(v, &p, errs);
        }
        if !alike.selectable {
            selectable(v, !alike.schema, &p, errs);
        }
    }
    for (is_right, detail) in [
        (unique, "must contain unique version names"),
        (
            all.iter().filter(|v| v["storage"] == true).count() == 1,
            "must have exactly one version marked as storage version",
        ),
    ] {
        if !is_right {
            errs.push(Error::invalid(&path, s["versions"].clone(), detail));
        }
    }
    // The first version has a place of its own in upstream's internal form.
    let Some(first) = all.first() else { return };
    if !text(first, "name").is_empty() {
        label(text(first, "name"), &spec.child("version"), errs);
    }
    if alike.subresources {
        scale(&first["subresources"]["scale"], &spec.child("subresources"), errs);
    }
    if alike.columns {
        columns(first, spec, errs);
    }
    if alike.selectable {
        selectable(first, alike.schema, spec, errs);
    }
}

fn label(name: &str, path: &Path, errs: &mut ErrorList) {
    let messages = names::dns1035_label(name);
    if !messages.is_empty() {
        errs.push(Error::invalid(path, name, messages.join(",")));
    }
}

fn columns(v: &Value, path: &Path, errs: &mut ErrorList) {
    for (i, column) in list(&v["additionalPrinterColumns"]).iter().enumerate() {
        self::column(column, &path.child("additionalPrinterColumns").index(i), errs);
    }
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

/// Selectable fields are scalars that the schema has; `beside`: the schema stands beside them in upstream's
/// internal form.
fn selectable(v: &Value, beside: bool, path: &Path, errs: &mut ErrorList) {
    let fields = list(&v["selectableFields"]);
    let root = &v["schema"]["openAPIV3Schema"];
    let all = path.child("selectableFields");
    if fields.is_empty() {
        return;
    }
    if !beside || !root.is_object() {
        let is_shared = path.as_str() == "spec";
        let detail = if is_shared {
            "may only be set when validations.schema is included"
        } else {
            "may only be set when `version.schema.openAPIV3Schema` is not included"
        };
        errs.push(Error::invalid(&all, "", detail));
        return;
    }
    let mut seen: Vec<String> = vec![];
    for (i, field) in fields.iter().enumerate() {
        let place = all.index(i).child("jsonPath");
        let json_path = text(field, "jsonPath");
        if json_path.is_empty() {
            errs.push(Error::required(&place, ""));
            continue;
        }
        let (steps, node) = match paths::follow(json_path, root, false) {
            Ok(found) => found,
            Err(why) => {
                let detail = format!("is an invalid path: {why}");
                errs.push(Error::invalid(&place, json_path, detail));
                continue;
            }
        };
        if steps.first().is_some_and(|first| first == "metadata") {
            let detail = "must not point to fields in metadata";
            errs.push(Error::invalid(&place, json_path, detail));
        }
        if !matches!(node["type"].as_str(), Some("string" | "integer" | "boolean")) {
            let detail = "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.";
            errs.push(Error::invalid(&place, json_path, detail));
        }
        let field = steps.join(".");
        if seen.contains(&field) {
            errs.push(Error::duplicate(&place, json_path));
        } else {
            seen.push(field);
        }
    }
    if seen.len() > MAX_SELECTABLE {
        errs.push(Error::too_many(&all, seen.len(), MAX_SELECTABLE));
    }
}

/// What is wrong with the names that are given.
fn some_names(n: &Value, path: &Path, errs: &mut ErrorList) {
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
            label(s.as_str().unwrap_or(""), &path.child(f).index(i), errs);
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

#[cfg(test)]
mod tests;

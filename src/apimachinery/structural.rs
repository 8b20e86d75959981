//! The schema of a custom resource (`openAPIV3Schema` of a definition):
//! upstream's structural schemas, as pruning, defaulting and validation.
//!
//! ```text
//! let s = Structural::parse(&schema_value, &path)?;      // ErrorList: what makes it not structural
//! s.prune(&mut object) -> Vec<String>                    // paths removed, as strict decoding names them
//! s.default(&mut object)                                 // on write, and on read of older objects
//! s.validate(&object), s.validate_update(&new, &old) -> ErrorList   // upstream's wording
//! s.validations() -> rules for CEL, with their paths     // evaluated elsewhere
//! ```
//! `apiVersion`, `kind` and `metadata` of the object are not the schema's:
//! `validation::object_meta` checks them. Follows KEP-95.

mod check;
mod parse;

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::field::ErrorList;

/// What a value may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Object,
    Array,
    String,
    Integer,
    Number,
    Boolean,
    /// No `type`: anything (`x-kubernetes-int-or-string`,
    /// `x-kubernetes-preserve-unknown-fields`, or a part of `anyOf` and kin).
    Any,
}

/// What map entries without a property of their own may be.
#[derive(Clone, Debug, Default)]
pub enum Additional {
    /// Not allowed: pruned.
    #[default]
    None,
    Any,
    Schema(Box<Structural>),
}

/// One rule of `x-kubernetes-validations`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub rule: String,
    pub message: String,
    pub message_expression: String,
    pub reason: String,
    pub field_path: String,
    pub optional_old_self: bool,
}

/// A parsed schema.
#[derive(Clone, Debug)]
pub struct Structural {
    pub kind: Kind,
    pub nullable: bool,
    pub default: Option<Value>,
    pub properties: BTreeMap<String, Structural>,
    pub additional: Additional,
    pub items: Option<Box<Structural>>,
    pub int_or_string: bool,
    pub preserve_unknown: bool,
    pub embedded: bool,
    /// `atomic`, `set` or `map`; empty is atomic.
    pub list_type: String,
    pub list_keys: Vec<String>,
    /// `granular` or `atomic`; empty is granular.
    pub map_type: String,
    pub rules: Vec<Rule>,
    limits: Limits,
    all_of: Vec<Structural>,
    any_of: Vec<Structural>,
    one_of: Vec<Structural>,
    not: Option<Box<Structural>>,
}

/// Validations of a single value.
#[derive(Clone, Debug, Default)]
struct Limits {
    format: String,
    required: Vec<String>,
    allowed: Vec<Value>,
    minimum: Option<f64>,
    maximum: Option<f64>,
    exclusive_minimum: bool,
    exclusive_maximum: bool,
    multiple_of: Option<f64>,
    min_length: Option<usize>,
    max_length: Option<usize>,
    pattern: Option<crate::re2::Pattern>,
    min_items: Option<usize>,
    max_items: Option<usize>,
    unique_items: bool,
    min_properties: Option<usize>,
    max_properties: Option<usize>,
}

impl Structural {
    /// Removes what the schema does not know. Returns the paths removed, such
    /// as `spec.foo`.
    pub fn prune(&self, object: &mut Value) -> Vec<String> {
        let mut removed = vec![];
        self.prune_at(object, "", true, &mut removed);
        removed
    }

    /// As [`Self::prune`], of a value that is no resource.
    pub fn prune_part(&self, value: &mut Value) -> Vec<String> {
        let mut removed = vec![];
        self.prune_at(value, "", false, &mut removed);
        removed
    }

    fn prune_at(&self, v: &mut Value, at: &str, resource: bool, removed: &mut Vec<String>) {
        let child = |name: &str| {
            if at.is_empty() {
                name.to_owned()
            } else {
                format!("{at}.{name}")
            }
        };
        match v {
            Value::Object(o) => {
                let own = resource || self.embedded;
                let known = |k: &str| {
                    self.properties.contains_key(k)
                        || !matches!(self.additional, Additional::None)
                        || (own && matches!(k, "apiVersion" | "kind" | "metadata"))
                };
                if !self.preserve_unknown {
                    o.retain(|k, _| {
                        let keep = known(k);
                        if !keep {
                            removed.push(child(k));
                        }
                        keep
                    });
                }
                for (k, v) in o.iter_mut() {
                    if own && matches!(k.as_str(), "apiVersion" | "kind" | "metadata") {
                        continue;
                    }
                    match (self.properties.get(k), &self.additional) {
                        (Some(s), _) => s.prune_at(v, &child(k), false, removed),
                        (None, Additional::Schema(s)) => s.prune_at(v, &child(k), false, removed),
                        _ => {}
                    }
                }
            }
            Value::Array(items) => {
                if let Some(s) = &self.items {
                    for (i, item) in items.iter_mut().enumerate() {
                        s.prune_at(item, &format!("{at}[{i}]"), false, removed);
                    }
                }
            }
            _ => {}
        }
    }

    /// Sets the defaults of absent fields, and of nulls that may not be null; without a default such nulls
    /// go.
    pub fn default(&self, v: &mut Value) {
        match v {
            Value::Object(o) => {
                o.retain(|name, v| {
                    let schema = match (self.properties.get(name), &self.additional) {
                        (Some(s), _) => s,
                        (None, Additional::Schema(s)) => s,
                        _ => return true,
                    };
                    !v.is_null() || schema.nullable || schema.default.is_some()
                });
                for (name, s) in &self.properties {
                    let missing = match o.get(name) {
                        None => true,
                        Some(Value::Null) => !s.nullable && s.default.is_some(),
                        Some(_) => false,
                    };
                    if missing && let Some(d) = &s.default {
                        o.insert(name.clone(), d.clone());
                    }
                }
                for (k, v) in o.iter_mut() {
                    match (self.properties.get(k), &self.additional) {
                        (Some(s), _) => s.default(v),
                        (None, Additional::Schema(s)) => {
                            if v.is_null()
                                && !s.nullable
                                && let Some(d) = &s.default
                            {
                                *v = d.clone();
                            }
                            s.default(v);
                        }
                        _ => {}
                    }
                }
            }
            Value::Array(items) => {
                if let Some(s) = &self.items {
                    for item in items {
                        if item.is_null()
                            && !s.nullable
                            && let Some(d) = &s.default
                        {
                            *item = d.clone();
                        }
                        s.default(item);
                    }
                }
            }
            _ => {}
        }
    }

    /// Checks an object; paths begin at its root.
    #[must_use]
    pub fn validate(&self, object: &Value) -> ErrorList {
        self.check(object, None)
    }

    /// Checks a value of this node that stands at a path.
    #[must_use]
    pub fn validate_at(&self, value: &Value, at: &str) -> ErrorList {
        let mut errs = ErrorList::new();
        check::value(self, value, None, at, &mut errs);
        errs
    }

    /// Checks what an update makes of `old`; what it leaves as it was is not looked at (KEP-4008).
    #[must_use]
    pub fn validate_update(&self, new: &Value, old: &Value) -> ErrorList {
        self.check(new, Some(old))
    }

    fn check(&self, object: &Value, old: Option<&Value>) -> ErrorList {
        let mut errs = ErrorList::new();
        check::value(self, object, old, "", &mut errs);
        errs
    }

    /// Whether resources can stand within an object (`x-kubernetes-embedded-resource`).
    #[must_use]
    pub fn embeds(&self) -> bool {
        let below = |s: &Structural| s.embedded || s.embeds();
        self.properties.values().any(below)
            || self.items.as_deref().is_some_and(below)
            || matches!(&self.additional, Additional::Schema(s) if below(s))
    }

    /// Every rule of the schema with the path of the values it is about
    /// (`[*]` for items and map values).
    #[must_use]
    pub fn validations(&self) -> Vec<(String, &Rule)> {
        let mut out = vec![];
        self.collect_rules("", &mut out);
        out
    }

    fn collect_rules<'a>(&'a self, at: &str, out: &mut Vec<(String, &'a Rule)>) {
        out.extend(self.rules.iter().map(|r| (at.to_owned(), r)));
        for (name, s) in &self.properties {
            let at = if at.is_empty() {
                name.clone()
            } else {
                format!("{at}.{name}")
            };
            s.collect_rules(&at, out);
        }
        if let Additional::Schema(s) = &self.additional {
            s.collect_rules(&format!("{at}[*]"), out);
        }
        if let Some(s) = &self.items {
            s.collect_rules(&format!("{at}[*]"), out);
        }
    }

    /// The item of a `listType: map` list that `object` is, as its key fields.
    #[must_use]
    pub fn item_key(&self, object: &Value) -> Map<String, Value> {
        let items = self.items.as_deref();
        self.list_keys
            .iter()
            .filter_map(|k| {
                let found = object.get(k).cloned();
                let default = || {
                    items
                        .and_then(|i| i.properties.get(k))
                        .and_then(|p| p.default.clone())
                };
                found.or_else(default).map(|v| (k.clone(), v))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests;

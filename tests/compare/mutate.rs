//! What can be done to a valid object, read off the schema of its type.

use bytes::Bytes;
use rkind_apimachinery::schema::{Field, Type, TypeDef};
use serde_json::{Map, Value, json};

/// How deep fields are added below a field that the object lacks.
const ADDED_DEPTH: usize = 3;

/// A changed object and what was done: `<path> <change>`.
pub(crate) struct Mutant {
    pub(crate) what: String,
    /// JSON: a tree weighs ten times as much.
    pub(crate) object: Bytes,
    /// It has fields that the schema does not know.
    pub(crate) unknown: bool,
}

/// How much of a type is walked through.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Everything.
    Full,
    /// In pod templates only what the object has: `pods` covers the rest.
    BriefTemplates,
}

/// All mutants of `object`, or of a part of it: `under` names the only top-level fields changed.
pub(crate) fn mutants(def: &'static TypeDef, object: &Value, under: &[&str], extent: Extent) -> Vec<Mutant> {
    let mut walk = Walk {
        whole: object.clone(),
        found: vec![],
        extent,
    };
    for field in &def.fields {
        if under.contains(&&*field.name) {
            walk.field(&[], field, object.get(&*field.name), true);
        }
    }
    if under.contains(&"spec") {
        walk.unknown(&[]);
    }
    walk.found
}

#[derive(Clone, PartialEq, Eq)]
enum Part {
    Key(String),
    Index(usize),
}

struct Walk {
    whole: Value,
    found: Vec<Mutant>,
    extent: Extent,
}

fn show(at: &[Part]) -> String {
    let mut text = String::new();
    for part in at {
        match part {
            Part::Key(key) if text.is_empty() => text.push_str(key),
            Part::Key(key) => text.push_str(&format!(".{key}")),
            Part::Index(index) => text.push_str(&format!("[{index}]")),
        }
    }
    text
}

fn place<'a>(whole: &'a mut Value, at: &[Part]) -> &'a mut Value {
    at.iter().fold(whole, |value, part| match part {
        Part::Key(key) => &mut value[key.as_str()],
        Part::Index(index) => &mut value[*index],
    })
}

fn below(at: &[Part], part: Part) -> Vec<Part> {
    at.iter().cloned().chain([part]).collect()
}

impl Walk {
    fn set(&mut self, at: &[Part], value: Value, how: &str) {
        let mut object = self.whole.clone();
        *place(&mut object, at) = value;
        self.found.push(Mutant {
            what: format!("{} {how}", show(at)),
            object: object.to_string().into(),
            unknown: false,
        });
    }

    fn remove(&mut self, at: &[Part]) {
        let mut object = self.whole.clone();
        if let Some((Part::Key(key), parent)) = at.split_last()
            && let Some(fields) = place(&mut object, parent).as_object_mut()
        {
            fields.remove(key);
            self.found.push(Mutant {
                what: format!("{} removed", show(at)),
                object: object.to_string().into(),
                unknown: false,
            });
        }
    }

    fn unknown(&mut self, at: &[Part]) {
        let at = below(at, Part::Key("nonsense".to_owned()));
        self.set(&at, json!("x"), "unknown field");
        if let Some(last) = self.found.last_mut() {
            last.unknown = true;
        }
    }

    fn field(&mut self, parent: &[Part], field: &'static Field, value: Option<&Value>, deep: bool) {
        let at = below(parent, Part::Key(field.name.to_string()));
        match value {
            Some(value) => {
                self.remove(&at);
                self.present(&at, &field.ty, &field.enum_values, value);
            }
            None if deep => self.absent(&at, &field.ty, &field.enum_values, ADDED_DEPTH),
            None => {}
        }
    }

    /// A value that the object has.
    fn present(&mut self, at: &[Part], ty: &'static Type, choices: &[Box<str>], value: &Value) {
        for (how, bad) in bad_values(ty, choices) {
            if bad != *value {
                self.set(at, bad, how);
            }
        }
        match (ty, value) {
            (Type::List(item), Value::Array(items)) => {
                if let Some(first) = items.first() {
                    let mut twice = items.clone();
                    twice.push(first.clone());
                    self.set(at, Value::Array(twice), "has its first element twice");
                }
                for (index, value) in items.iter().enumerate() {
                    self.present(&below(at, Part::Index(index)), item, &[], value);
                }
            }
            (Type::Map(item), Value::Object(entries)) => {
                if let Some((key, value)) = entries.iter().next() {
                    for bad in ["", "Bad Key!", "a/b/c", &"k".repeat(64)] {
                        let entry = Map::from_iter([(bad.to_owned(), value.clone())]);
                        self.set(at, Value::Object(entry), &format!("has the key {bad:?}"));
                    }
                    self.present(&below(at, Part::Key(key.clone())), item, &[], value);
                }
            }
            (_, Value::Object(fields)) => {
                let Some(def) = ty.message() else { return };
                let within = |name: &str| at.contains(&Part::Key(name.to_owned()));
                let brief = (self.extent == Extent::BriefTemplates && within("template"))
                    || (within("openAPIV3Schema") && within("properties"));
                for field in &def.fields {
                    self.field(at, field, fields.get(&*field.name), !brief);
                }
                self.unknown(at);
            }
            _ => {}
        }
    }

    /// A field that the object lacks: set alone to something plain, and every field below it.
    fn absent(&mut self, at: &[Part], ty: &'static Type, choices: &[Box<str>], depth: usize) {
        match ty {
            Type::List(item) => {
                if let Some(def) = item
                    .message()
                    .filter(|def| depth > 0 && def.go_name() != "JSONSchemaProps")
                {
                    let before = std::mem::replace(&mut self.whole, Value::Null);
                    let mut with = before.clone();
                    *place(&mut with, at) = json!([{}]);
                    self.whole = with;
                    self.set(&below(at, Part::Index(0)), json!({}), "added empty");
                    for field in &def.fields {
                        let at = below(&below(at, Part::Index(0)), Part::Key(field.name.to_string()));
                        self.absent(&at, &field.ty, &field.enum_values, depth - 1);
                    }
                    self.whole = before;
                } else {
                    self.set(at, json!([plain(item, choices)]), "added");
                }
            }
            Type::Map(item) => self.set(at, json!({"k": plain(item, choices)}), "added"),
            _ => match ty.message() {
                // A schema may hold schemas in most of its fields: their number has no end.
                Some(def) if depth > 0 && def.go_name() != "JSONSchemaProps" => {
                    self.set(at, json!({}), "added empty");
                    let before = self.whole.clone();
                    *place(&mut self.whole, at) = json!({});
                    for field in &def.fields {
                        let at = below(at, Part::Key(field.name.to_string()));
                        self.absent(&at, &field.ty, &field.enum_values, depth - 1);
                    }
                    self.whole = before;
                }
                Some(_) => {}
                None => {
                    self.set(at, plain(ty, choices), "added");
                    for choice in choices.iter().skip(1) {
                        self.set(at, json!(choice), &format!("added as {choice}"));
                    }
                    match ty {
                        Type::Int32 | Type::Int64 => self.set(at, json!(-1), "added as -1"),
                        Type::String => self.set(at, json!("Bad_Value!"), "added as Bad_Value!"),
                        Type::Bool => self.set(at, json!(false), "added as false"),
                        _ => {}
                    }
                }
            },
        }
    }
}

/// Some value of a type.
fn plain(ty: &Type, choices: &[Box<str>]) -> Value {
    match ty {
        Type::Bool => json!(true),
        Type::Int32 | Type::Int64 | Type::Float | Type::IntOrString => json!(1),
        Type::String => choices.first().map_or(json!("x"), |choice| json!(choice)),
        Type::Bytes => json!("AAE="),
        Type::Quantity => json!("1"),
        Type::Time => json!("2024-01-02T03:04:05Z"),
        Type::MicroTime => json!("2024-01-02T03:04:05.000006Z"),
        Type::Duration => json!("1s"),
        Type::List(_) => json!([]),
        _ => json!({}),
    }
}

/// Values that a type's rules may refuse.
fn bad_values(ty: &Type, choices: &[Box<str>]) -> Vec<(&'static str, Value)> {
    match ty {
        Type::Bool => vec![
            ("= true", json!(true)),
            ("= false", json!(false)),
            ("= a string", json!("yes")),
        ],
        Type::Int32 | Type::Int64 => vec![
            ("= -1", json!(-1)),
            ("= 0", json!(0)),
            ("= 1", json!(1)),
            ("= 65536", json!(65536)),
            ("= 2147483647", json!(i32::MAX)),
            ("= 1099511627776", json!(1_u64 << 40)),
            ("= 1.5", json!(1.5)),
            ("= a string", json!("1")),
        ],
        Type::String if !choices.is_empty() => vec![
            ("= \"\"", json!("")),
            ("= Unknown", json!("Bad_Value!")),
            ("= a number", json!(7)),
        ],
        Type::String => vec![
            ("= \"\"", json!("")),
            ("= Bad_Value!", json!("Bad_Value!")),
            ("= \" x \"", json!(" x ")),
            ("= a/b", json!("a/b")),
            ("= 64 letters", json!("a".repeat(64))),
            ("= 254 letters", json!("a".repeat(254))),
            ("= a number", json!(7)),
        ],
        Type::Bytes => vec![("= \"\"", json!("")), ("= no base64", json!("?"))],
        Type::Quantity => vec![
            ("= -1", json!("-1")),
            ("= 0", json!("0")),
            ("= 1m", json!("1m")),
            ("= 1.5", json!(1.5)),
            ("= x", json!("x")),
            ("= \"\"", json!("")),
        ],
        Type::IntOrString => vec![
            ("= -1", json!(-1)),
            ("= 0", json!(0)),
            ("= 70000", json!(70000)),
            ("= 0%", json!("0%")),
            ("= 101%", json!("101%")),
            ("= Bad_Value!", json!("Bad_Value!")),
            ("= \"\"", json!("")),
            ("= true", json!(true)),
        ],
        Type::Time | Type::MicroTime | Type::Duration => vec![
            ("= no time", json!("yesterday")),
            ("= \"\"", json!("")),
            ("= null", Value::Null),
        ],
        Type::List(_) => vec![
            ("= []", json!([])),
            ("= [null]", json!([null])),
            ("= null", Value::Null),
            ("= {}", json!({})),
        ],
        Type::Map(_) => vec![("= {}", json!({})), ("= null", Value::Null), ("= []", json!([]))],
        _ => vec![
            ("= {}", json!({})),
            ("= null", Value::Null),
            ("= a string", json!("x")),
        ],
    }
}

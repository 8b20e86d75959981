//! Values seen through their schema: which fields they have, how two differ,
//! how one is merged into another, what is left when fields are removed
//! (upstream's structured-merge-diff).

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::{Map, Value};

use super::set::{Element, Set};
use crate::schema::{Field, ListType, Schema, Type, TypeDef};
use crate::structural::{Additional, Kind, Structural};

/// How a value is owned and merged.
#[derive(Clone, Copy)]
pub(super) enum Shape<'a> {
    /// As a whole.
    Leaf,
    Struct(&'a TypeDef),
    Map(&'a Type),
    /// A list of scalars, each on its own.
    Set,
    /// A list of objects, told apart by these fields.
    Keyed(&'a [Box<str>], &'a TypeDef),
    /// A custom resource as a whole: its metadata is of the built-in type.
    CustomRoot(&'a Structural),
    Custom(&'a Structural),
    /// `Keyed` of a custom resource.
    CustomKeyed(&'a Structural),
    /// An object without a schema: its metadata is of the built-in type.
    UntypedRoot,
    /// Unknown: objects by field, everything else as a whole.
    Untyped,
}

impl<'a> Shape<'a> {
    pub(super) fn of(def: Option<&'a TypeDef>) -> Self {
        def.map_or(Self::UntypedRoot, Self::Struct)
    }

    fn of_type(ty: &'a Type) -> Self {
        match ty {
            Type::Message(id) => {
                let def = id.def();
                if def.atomic { Self::Leaf } else { Self::Struct(def) }
            }
            Type::Map(value) => Self::Map(value),
            _ => Self::Leaf,
        }
    }

    fn of_field(f: &'a Field) -> Self {
        if f.atomic {
            return Self::Leaf;
        }
        match (&f.ty, f.list_type) {
            (Type::List(_), ListType::Set) => Self::Set,
            (Type::List(item), ListType::Map) => match &**item {
                Type::Message(id) => Self::Keyed(&f.list_keys, id.def()),
                _ => Self::Leaf,
            },
            (Type::List(_), ListType::Atomic) => Self::Leaf,
            (Type::Message(id), _) if f.granular => Self::Struct(id.def()),
            (ty, _) => Self::of_type(ty),
        }
    }

    fn of_custom(s: &'a Structural) -> Self {
        match s.kind {
            Kind::Object if s.map_type == "atomic" => Self::Leaf,
            Kind::Object => Self::Custom(s),
            Kind::Array if s.list_type == "set" => Self::Set,
            Kind::Array if s.list_type == "map" => Self::CustomKeyed(s),
            Kind::Any if s.preserve_unknown => Self::Untyped,
            _ => Self::Leaf,
        }
    }

    /// What every object has at its root.
    fn of_metadata(name: &str) -> Option<Self> {
        match name {
            "metadata" => {
                let def = Schema::get().type_by_name("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta");
                Some(def.map_or(Self::Untyped, Self::Struct))
            }
            "apiVersion" | "kind" => Some(Self::Leaf),
            _ => None,
        }
    }

    /// The shape of the part `name`.
    pub(super) fn child(self, name: &str) -> Self {
        match self {
            Self::Struct(def) => def.field(name).map_or(Self::Untyped, Self::of_field),
            Self::Map(value) => Self::of_type(value),
            Self::CustomRoot(s) => Self::of_metadata(name).unwrap_or_else(|| Self::Custom(s).child(name)),
            Self::Custom(s) => match (s.properties.get(name), &s.additional) {
                (Some(p), _) => Self::of_custom(p),
                (None, Additional::Schema(p)) => Self::of_custom(p),
                _ => Self::Untyped,
            },
            Self::UntypedRoot => Self::of_metadata(name).unwrap_or(Self::Untyped),
            Self::Untyped => Self::Untyped,
            _ => Self::Leaf,
        }
    }

    pub(super) fn item(self) -> Self {
        match self {
            Self::Keyed(_, def) if def.atomic => Self::Leaf,
            Self::Keyed(_, def) => Self::Struct(def),
            Self::CustomKeyed(s) => s.items.as_deref().map_or(Self::Leaf, Self::of_custom),
            _ => Self::Leaf,
        }
    }

    fn is_map(self) -> bool {
        !self.is_list() && !matches!(self, Self::Leaf)
    }

    /// The shape a value really has: nothing of another type is taken apart.
    fn fit(self, v: &Value) -> Self {
        match v {
            Value::Null => self,
            Value::Object(_) if self.is_map() => self,
            Value::Array(_) if self.is_list() => self,
            _ => Self::Leaf,
        }
    }

    pub(super) fn is_list(self) -> bool {
        matches!(self, Self::Set | Self::Keyed(..) | Self::CustomKeyed(_))
    }

    /// Whether `name` is a field of a type, not a key of a map.
    fn names(self, name: &str) -> bool {
        match self {
            Self::Struct(def) => def.field(name).is_some(),
            Self::CustomRoot(s) => Self::of_metadata(name).is_some() || s.properties.contains_key(name),
            Self::Custom(s) => s.properties.contains_key(name),
            Self::UntypedRoot => Self::of_metadata(name).is_some(),
            _ => false,
        }
    }

    /// What tells a list's item from the others.
    pub(super) fn element(self, item: &Value, index: usize) -> Element {
        let id = match self {
            Self::Keyed(keys, def) => keyed_by(keys, def, item),
            Self::CustomKeyed(s) => s.item_key(item),
            _ => return Element::Value(item.to_string()),
        };
        if id.is_empty() {
            Element::Index(index as i64)
        } else {
            Element::Key(Value::Object(id).to_string())
        }
    }
}

/// The key fields of an item, those left out with their default.
fn keyed_by(keys: &[Box<str>], def: &TypeDef, item: &Value) -> Map<String, Value> {
    let mut id = Map::new();
    for k in keys {
        let v = match item.get(&**k) {
            Some(v) if !v.is_null() => Some(v.clone()),
            _ => def.field(k).and_then(|f| f.default.clone()),
        };
        if let Some(v) = v {
            id.insert(k.to_string(), v);
        }
    }
    id
}

fn items(v: Option<&Value>) -> &[Value] {
    v.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

pub(super) fn object(v: Option<&Value>) -> Option<&Map<String, Value>> {
    v.and_then(Value::as_object)
}

pub(super) fn keyed<'a>(shape: Shape<'_>, v: Option<&'a Value>) -> Vec<(Element, &'a Value)> {
    items(v)
        .iter()
        .enumerate()
        .map(|(i, x)| (shape.element(x, i), x))
        .collect()
}

/// The fields an applied configuration names.
pub(super) fn field_set(v: &Value, shape: Shape<'_>) -> Set {
    let mut out = Set::new();
    collect(v, shape, &mut out);
    out
}

fn collect(v: &Value, shape: Shape<'_>, out: &mut Set) {
    if shape.is_list() {
        for (e, item) in keyed(shape, Some(v)) {
            let inner = shape.item().fit(item);
            // An item that is owned as a whole has no fields of its own.
            if !matches!(inner, Shape::Leaf) {
                let mut below = Set::new();
                collect(item, inner, &mut below);
                out.insert_below(e.clone(), below);
            }
            out.insert(e);
        }
        return;
    }
    for (k, child) in object(Some(v)).into_iter().flatten() {
        let e = Element::Field(k.clone());
        let cs = shape.child(k).fit(child);
        let empty = child.as_object().is_some_and(Map::is_empty);
        if child.is_null() || empty || matches!(cs, Shape::Leaf) {
            out.insert(e);
            continue;
        }
        let mut below = Set::new();
        collect(child, cs, &mut below);
        out.insert_below(e.clone(), below);
        if !shape.names(k) {
            out.insert(e);
        }
    }
}

/// Items that share a key with one before them, each as upstream complains of it.
pub(super) fn duplicates(v: &Value, shape: Shape<'_>) -> Vec<String> {
    let mut out = vec![];
    find_duplicates(v, shape, "", &mut out);
    out
}

fn find_duplicates(v: &Value, shape: Shape<'_>, path: &str, out: &mut Vec<String>) {
    if shape.is_list() {
        let mut seen = std::collections::BTreeMap::new();
        for (e, item) in keyed(shape, Some(v)) {
            find_duplicates(item, shape.item().fit(item), &format!("{path}{e}"), out);
            let count: &mut usize = seen.entry(e.clone()).or_default();
            *count += 1;
            if *count == 2 {
                out.push(format!("{path}: duplicate entries for key {e}"));
            }
        }
        return;
    }
    for (k, child) in object(Some(v)).into_iter().flatten() {
        let below = format!("{path}{}", Element::Field(k.clone()));
        find_duplicates(child, shape.child(k).fit(child), &below, out);
    }
}

/// How a new value differs from an old one.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    pub(super) added: Set,
    pub(super) removed: Set,
    pub(super) modified: Set,
}

pub(super) fn compare(old: &Value, new: &Value, shape: Shape<'_>) -> Comparison {
    let mut c = Comparison::default();
    compare_parts(Some(old), Some(new), shape, &mut c);
    c
}

fn compare_parts(old: Option<&Value>, new: Option<&Value>, shape: Shape<'_>, c: &mut Comparison) {
    if shape.is_list() {
        let (o, n) = (keyed(shape, old), keyed(shape, new));
        let mut parts: BTreeMap<Element, (Option<&Value>, Option<&Value>)> = BTreeMap::new();
        for (e, v) in o {
            parts.entry(e).or_default().0.get_or_insert(v);
        }
        for (e, v) in n {
            parts.entry(e).or_default().1.get_or_insert(v);
        }
        for (e, (a, b)) in parts {
            compare_part(|| e, a, b, shape.item(), c);
        }
        return;
    }
    let (o, n) = (object(old), object(new));
    for (k, a) in o.into_iter().flatten() {
        let b = n.and_then(|n| n.get(k));
        compare_part(|| Element::Field(k.clone()), Some(a), b, shape.child(k), c);
    }
    for (k, b) in n.into_iter().flatten() {
        if o.is_none_or(|o| !o.contains_key(k)) {
            compare_part(|| Element::Field(k.clone()), None, Some(b), shape.child(k), c);
        }
    }
}

fn bare(v: Option<&Value>) -> bool {
    match v {
        None | Some(Value::Null) => true,
        Some(Value::Array(a)) => a.is_empty(),
        Some(Value::Object(o)) => o.is_empty(),
        _ => false,
    }
}

/// Whether a part that differs does so as a whole.
pub(super) fn is_leaf(old: Option<&Value>, new: Option<&Value>, shape: Shape<'_>) -> bool {
    let fits = |v: Option<&Value>| v.is_none_or(|v| !matches!(shape.fit(v), Shape::Leaf));
    !fits(old) || !fits(new) || (bare(old) && bare(new))
}

fn compare_part(
    e: impl FnOnce() -> Element,
    old: Option<&Value>,
    new: Option<&Value>,
    shape: Shape<'_>,
    c: &mut Comparison,
) {
    // Most parts are equal and cost no more than seeing that.
    if old == new {
        return;
    }
    let e = e();
    if is_leaf(old, new, shape) {
        match (old, new) {
            (None, Some(_)) => c.added.insert(e),
            (Some(_), None) => c.removed.insert(e),
            _ => c.modified.insert(e),
        }
        return;
    }
    let mut below = Comparison::default();
    compare_parts(old, new, shape, &mut below);
    for (into, below) in [
        (&mut c.added, below.added),
        (&mut c.removed, below.removed),
        (&mut c.modified, below.modified),
    ] {
        if !below.is_empty() {
            into.insert_below(e.clone(), below);
        }
    }
    match (old, new) {
        (None, Some(_)) => c.added.insert(e),
        (Some(_), None) => c.removed.insert(e),
        _ => {}
    }
}

/// `config` merged into `live`; nulls in `config` remove.
pub(super) fn merge(live: &Value, config: &Value, shape: Shape<'_>) -> Value {
    let shape = shape.fit(config);
    match (live, config) {
        (Value::Object(l), Value::Object(c)) if shape.is_map() => {
            let mut out = l.clone();
            for (k, v) in c {
                if v.is_null() {
                    out.remove(k);
                    continue;
                }
                let merged = match l.get(k) {
                    Some(old) => merge(old, v, shape.child(k)),
                    None => without_nulls(v, shape.child(k)),
                };
                out.insert(k.clone(), merged);
            }
            Value::Object(out)
        }
        (Value::Array(_), Value::Array(_)) if shape.is_list() => {
            Value::Array(merge_lists(live, config, shape))
        }
        _ => without_nulls(config, shape),
    }
}

/// A configuration that meets nothing to merge with.
fn without_nulls(v: &Value, shape: Shape<'_>) -> Value {
    match (shape.fit(v), v) {
        (s, Value::Object(o)) if s.is_map() => Value::Object(
            o.iter()
                .filter(|(_, v)| !v.is_null())
                .map(|(k, v)| (k.clone(), without_nulls(v, s.child(k))))
                .collect(),
        ),
        (s, Value::Array(a)) if s.is_list() && !matches!(s, Shape::Set) => {
            Value::Array(a.iter().map(|v| without_nulls(v, s.item())).collect())
        }
        _ => v.clone(),
    }
}

/// Items of the configuration in its order, the others where they stood.
fn merge_lists(live: &Value, config: &Value, shape: Shape<'_>) -> Vec<Value> {
    let left = keyed(shape, Some(live));
    let right = keyed(shape, Some(config));
    let wanted: HashSet<&Element> = right.iter().map(|(r, _)| r).collect();
    let mut there: HashMap<&Element, &Value> = HashMap::new();
    for (e, old) in &left {
        there.entry(e).or_insert(old);
    }
    let merged = |e: &Element, new: &Value| match there.get(e) {
        Some(old) => merge(old, new, shape.item()),
        None => without_nulls(new, shape.item()),
    };
    let mut out = vec![];
    let mut next = right.iter();
    let mut emitted: HashSet<&Element> = HashSet::new();
    for (e, old) in &left {
        if !wanted.contains(e) {
            out.push((*old).clone());
            continue;
        }
        while !emitted.contains(e) {
            let Some((r, new)) = next.next() else { break };
            out.push(merged(r, new));
            emitted.insert(r);
        }
    }
    for (r, new) in next {
        out.push(merged(r, new));
    }
    out
}

/// The value without the fields of `set`; `None` when nothing is left of it.
pub(super) fn remove(v: &Value, set: &Set, shape: Shape<'_>) -> Option<Value> {
    let shape = shape.fit(v);
    if shape.is_list() {
        let mut out = vec![];
        for (e, item) in keyed(shape, Some(v)) {
            if set.has(&e) {
                continue;
            }
            match set.below(&e) {
                Some(below) => out.extend(remove(item, below, shape.item())),
                None => out.push(item.clone()),
            }
        }
        return (!out.is_empty()).then_some(Value::Array(out));
    }
    let Value::Object(o) = v else {
        return Some(v.clone());
    };
    if matches!(shape, Shape::Leaf) {
        return Some(v.clone());
    }
    if o.is_empty() {
        return Some(v.clone());
    }
    let mut out = Map::new();
    for (k, child) in o {
        let e = Element::Field(k.clone());
        if set.has(&e) {
            continue;
        }
        match set.below(&e) {
            Some(below) => {
                if let Some(rest) = remove(child, below, shape.child(k)) {
                    out.insert(k.clone(), rest);
                }
            }
            None => {
                out.insert(k.clone(), child.clone());
            }
        }
    }
    (!out.is_empty()).then_some(Value::Object(out))
}

/// The set with the fields (not map keys) on the way to its members.
pub(super) fn with_parents(set: &Set, shape: Shape<'_>) -> Set {
    let mut out = set.clone();
    for (e, below) in set.children() {
        let child = match e {
            Element::Field(name) => {
                if shape.names(name) {
                    out.insert(e.clone());
                }
                shape.child(name)
            }
            _ => shape.item(),
        };
        out.insert_below(e.clone(), with_parents(below, child));
    }
    out
}

//! What an expression can cost before it is run: cel-go's `checker/cost.go` with Kubernetes'
//! functions (`estimate/calls.rs`).

mod calls;

use std::collections::HashMap;

use crate::{
    Program,
    ast::{Expr, Fold, Kind, Literal},
    check::Meaning,
    types::Type,
};

/// The least and most that a run costs, in upstream's units. Arithmetic saturates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    pub min: u64,
    pub max: u64,
}

impl Cost {
    pub(crate) const UNKNOWN: Cost = Cost {
        min: 0,
        max: u64::MAX,
    };

    pub(crate) const fn fixed(cost: u64) -> Cost {
        Cost { min: cost, max: cost }
    }

    #[must_use]
    pub(crate) fn plus(self, other: Cost) -> Cost {
        Cost {
            min: self.min.saturating_add(other.min),
            max: self.max.saturating_add(other.max),
        }
    }

    #[must_use]
    pub(crate) fn times(self, other: Cost) -> Cost {
        Cost {
            min: self.min.saturating_mul(other.min),
            max: self.max.saturating_mul(other.max),
        }
    }

    /// Times a factor, rounded up.
    #[must_use]
    pub(crate) fn part(self, factor: f64) -> Cost {
        let part = |n: u64| (n as f64 * factor).ceil() as u64;
        Cost {
            min: part(self.min),
            max: part(self.max),
        }
    }

    #[must_use]
    pub(crate) fn union(self, other: Cost) -> Cost {
        Cost {
            min: self.min.min(other.min),
            max: self.max.max(other.max),
        }
    }
}

/// What is known of the size of variables before they have values.
pub trait Sizes {
    /// The largest size (characters, bytes, elements, entries) of what is at a path: a variable's
    /// name, then fields, `@items`, `@keys`, `@values`. `None`: not known.
    fn max_size(&self, path: &[String]) -> Option<u64>;
}

/// Nothing is known.
#[derive(Clone, Copy, Debug)]
pub struct NoSizes;

impl Sizes for NoSizes {
    fn max_size(&self, _: &[String]) -> Option<u64> {
        None
    }
}

/// Sizes of a container's keys and values.
#[derive(Clone, Copy, Debug)]
struct EntrySize {
    list: bool,
    key: Cost,
    value: Cost,
}

#[derive(Clone)]
struct Local {
    name: String,
    path: Vec<String>,
    size: Option<Cost>,
    entry: Option<EntrySize>,
}

struct Estimator<'p> {
    program: &'p Program,
    sizes: &'p dyn Sizes,
    paths: HashMap<u32, Vec<String>>,
    computed: HashMap<u32, Cost>,
    entries: HashMap<u32, EntrySize>,
    locals: Vec<Local>,
}

/// The estimate of a program.
pub(crate) fn estimate(program: &Program, sizes: &dyn Sizes) -> Cost {
    let mut estimator = Estimator {
        program,
        sizes,
        paths: HashMap::new(),
        computed: HashMap::new(),
        entries: HashMap::new(),
        locals: Vec::new(),
    };
    estimator.cost(&program.root)
}

const ONE: Cost = Cost::fixed(1);

impl<'p> Estimator<'p> {
    fn ty(&self, expr: &Expr) -> &'p Type {
        &self.program.types[expr.id as usize]
    }

    fn find(&self, name: &str) -> Option<&Local> {
        self.locals.iter().rev().find(|l| l.name == name)
    }

    fn path(&self, expr: &Expr) -> Vec<String> {
        if let Kind::Ident(name) = &expr.kind
            && let Some(local) = self.find(name)
        {
            return local.path.clone();
        }
        self.paths.get(&expr.id).cloned().unwrap_or_default()
    }

    fn below(&self, expr: &Expr, step: &str) -> Vec<String> {
        let mut path = self.path(expr);
        path.push(step.to_owned());
        path
    }

    fn cost(&mut self, expr: &'p Expr) -> Cost {
        match &expr.kind {
            Kind::Literal(_) => Cost::default(),
            Kind::Ident(name) => {
                let path = match self.find(name) {
                    Some(local) => local.path.clone(),
                    None => vec![name.clone()],
                };
                self.paths.insert(expr.id, path);
                ONE
            }
            Kind::Select { operand, field, test } => {
                if matches!(
                    self.program.meanings.get(&expr.id),
                    Some(Meaning::Variable | Meaning::TypeName(_))
                ) {
                    let name = expr.qualified().unwrap_or_default();
                    self.paths.insert(expr.id, vec![name]);
                    return ONE;
                }
                let mut sum = self.cost(operand);
                if *test {
                    return sum;
                }
                if matches!(self.ty(operand), Type::Map(..) | Type::Object(_)) {
                    sum = sum.plus(ONE);
                }
                let path = self.below(operand, field);
                self.paths.insert(expr.id, path);
                sum
            }
            Kind::Call {
                function,
                target,
                args,
            } => self.call(expr, function, target.as_deref(), args),
            Kind::List { elements, .. } => {
                let mut sum = Cost::default();
                let mut item = Cost {
                    min: if elements.is_empty() { 0 } else { u64::MAX },
                    max: 0,
                };
                for element in elements {
                    sum = sum.plus(self.cost(element));
                    item = item.union(self.size_or_unknown(element));
                }
                self.entries.insert(
                    expr.id,
                    EntrySize {
                        list: true,
                        key: ONE,
                        value: item,
                    },
                );
                sum.plus(Cost::fixed(10))
            }
            Kind::Map(entries) => {
                let mut sum = Cost::default();
                let none = Cost {
                    min: if entries.is_empty() { 0 } else { u64::MAX },
                    max: 0,
                };
                let (mut key, mut value) = (none, none);
                for entry in entries {
                    sum = sum.plus(self.cost(&entry.key)).plus(self.cost(&entry.value));
                    key = key.union(self.size_or_unknown(&entry.key));
                    value = value.union(self.size_or_unknown(&entry.value));
                }
                self.entries.insert(
                    expr.id,
                    EntrySize {
                        list: false,
                        key,
                        value,
                    },
                );
                sum.plus(Cost::fixed(30))
            }
            Kind::Struct { fields, .. } => fields
                .iter()
                .map(|field| self.cost(&field.value))
                .fold(Cost::fixed(40), Cost::plus),
            Kind::Fold(fold) if expr.is_bind() => {
                let sum = self.cost(&fold.range).plus(self.cost(&fold.init));
                self.push_bound(&fold.accu, &fold.init);
                let sum = sum.plus(self.cost(&fold.result));
                self.locals.pop();
                if let Some(size) = self.size(&fold.result) {
                    self.computed.insert(expr.id, size);
                }
                if let Some(entry) = self.entry(&fold.result) {
                    self.entries.insert(expr.id, entry);
                }
                sum
            }
            Kind::Fold(fold) => self.fold(expr, fold),
        }
    }

    fn push_bound(&mut self, name: &str, init: &'p Expr) {
        let local = Local {
            name: name.to_owned(),
            path: self.path(init),
            size: self.size(init),
            entry: self.entry(init),
        };
        self.locals.push(local);
    }

    fn fold(&mut self, expr: &'p Expr, fold: &'p Fold) -> Cost {
        let mut sum = self.cost(&fold.range).plus(self.cost(&fold.init));
        self.push_bound(&fold.accu, &fold.init);
        let entry = self.entry(&fold.range);
        let list = entry.map_or_else(|| self.ty(&fold.range).element().is_some(), |e| e.list);
        let key = (if list { "@indices" } else { "@keys" }, entry.map(|e| e.key));
        let value = (if list { "@items" } else { "@values" }, entry.map(|e| e.value));
        let variables = match &fold.var2 {
            Some(var2) => vec![(&fold.var, key), (var2, value)],
            None => vec![(&fold.var, if list { value } else { key })],
        };
        let count = variables.len();
        for (name, (step, size)) in variables {
            let path = self.below(&fold.range, step);
            self.locals.push(Local {
                name: name.clone(),
                path,
                size,
                entry: None,
            });
        }
        let each = self.cost(&fold.condition).plus(self.cost(&fold.step));
        self.locals.truncate(self.locals.len() - count);
        sum = sum.plus(self.cost(&fold.result));
        let range = self.size_or_unknown(&fold.range);
        sum = sum.plus(range.times(each));
        match fold.init.kind {
            Kind::Literal(_) => {
                if let Some(size) = self.size(&fold.init) {
                    self.computed.insert(expr.id, size);
                }
            }
            Kind::List { .. } | Kind::Map(_) => {
                self.computed.insert(expr.id, range);
                if let Some(entry) = self.entry(&fold.step) {
                    self.entries.insert(expr.id, entry);
                }
            }
            _ => {}
        }
        self.locals.pop();
        sum
    }

    fn entry(&self, expr: &Expr) -> Option<EntrySize> {
        if let Some(entry) = self.entries.get(&expr.id) {
            return Some(*entry);
        }
        match &expr.kind {
            Kind::Ident(name) => self.find(name)?.entry,
            _ => None,
        }
    }

    /// The path without what only the accumulator knows.
    fn known_path(&self, expr: &Expr) -> Vec<String> {
        let path = self.path(expr);
        if path.first().is_some_and(|p| p.starts_with('@')) {
            return Vec::new();
        }
        path
    }

    fn bounded(&self, path: &[String]) -> Option<Cost> {
        if path.is_empty() {
            return None;
        }
        self.sizes.max_size(path).map(|max| Cost { min: 0, max })
    }

    fn size(&mut self, expr: &Expr) -> Option<Cost> {
        if let Some(size) = self.computed.get(&expr.id) {
            return Some(*size);
        }
        let literal = match &expr.kind {
            Kind::Literal(Literal::String(s)) => Some(s.chars().count()),
            Kind::Literal(Literal::Bytes(b)) => Some(b.len()),
            Kind::Literal(_) => Some(1),
            Kind::List { elements, .. } => Some(elements.len()),
            Kind::Map(entries) => Some(entries.len()),
            _ => None,
        };
        if let Some(size) = literal {
            return Some(Cost::fixed(size as u64));
        }
        if let Some(size) = self.bounded(&self.path(expr)) {
            self.computed.insert(expr.id, size);
            return Some(size);
        }
        if self.ty(expr).scalar() {
            return Some(ONE);
        }
        match &expr.kind {
            Kind::Ident(name) => self.find(name).and_then(|local| local.size),
            _ => None,
        }
    }

    fn size_or_unknown(&mut self, expr: &Expr) -> Cost {
        self.size(expr).unwrap_or(Cost::UNKNOWN)
    }
}

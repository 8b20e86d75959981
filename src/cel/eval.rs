//! The interpreter. Costs are charged as upstream's tracker charges them
//! (cel-go `interpreter/runtimecost.go`): a name or a field 1, a list 10, a map 30, an object 40,
//! calls by `cost::call`.

use std::{collections::BTreeMap, rc::Rc, sync::Arc};

use crate::{
    Binding, Program, RunError, Variables,
    ast::{Expr, Fold, Kind, Literal},
    check::{Callee, Meaning},
    cost,
    functions::operators,
    types::{ObjectType, Type},
    value::{Fields, Key, List, Map, Object, Value},
};

type Out<'a> = Result<Value<'a>, RunError>;

pub(crate) struct Run<'a, 'r> {
    program: &'a Program,
    variables: &'r dyn Variables<'a>,
    pub(crate) cost: u64,
    limit: u64,
    /// Elements of lists that were put together so far.
    copied: usize,
    locals: Vec<(&'a str, Slot<'a>)>,
}

/// A local variable's value. One that is bound by `cel.bind` is made when it is first read.
enum Slot<'a> {
    Value(Value<'a>),
    Lazy(&'a Expr, usize),
    Failed(RunError),
}

/// Elements that one run may copy when it puts lists together: some times what a request can hold.
const COPIED: usize = 1 << 22;
/// Lists beyond it are looked at before a call walks through them.
const LARGE: usize = 1000;

const LIST: u64 = 10;
const MAP: u64 = 30;
const OBJECT: u64 = 40;

impl<'a, 'r> Run<'a, 'r> {
    pub(crate) fn new(program: &'a Program, variables: &'r dyn Variables<'a>, limit: u64) -> Self {
        Run {
            program,
            variables,
            cost: 0,
            limit,
            copied: 0,
            locals: Vec::new(),
        }
    }

    fn charge(&mut self, cost: u64) -> Result<(), RunError> {
        self.cost = self.cost.saturating_add(cost);
        if self.cost > self.limit {
            return Err(RunError::CallLimit);
        }
        Ok(())
    }

    fn meaning(&self, expr: &Expr) -> Option<&'a Meaning> {
        self.program.meanings.get(&expr.id)
    }

    pub(crate) fn eval(&mut self, expr: &'a Expr) -> Out<'a> {
        match &expr.kind {
            Kind::Literal(literal) => Ok(constant(literal)),
            Kind::Ident(_) => self.attribute(expr, true),
            Kind::Select { operand, field, test } => {
                if !test {
                    return self.attribute(expr, true);
                }
                let target = self.attribute(operand, true)?;
                self.has(&target, field).map(Value::Bool)
            }
            Kind::Call { function, args, .. } => match (function.as_str(), args.as_slice()) {
                ("_&&_", [left, right]) => self.logical(left, right, false),
                ("_||_", [left, right]) => self.logical(left, right, true),
                ("_?_:_" | "_[_]" | "_[?_]" | "_?._", _) => self.attribute(expr, true),
                ("@not_strictly_false", [arg]) => {
                    let value = match self.eval(arg) {
                        Err(RunError::Failed(_)) => Value::Bool(true),
                        other => other?,
                    };
                    self.charge(1)?;
                    Ok(Value::Bool(!matches!(value, Value::Bool(false))))
                }
                _ => self.call(expr),
            },
            Kind::List { elements, optional } => {
                let mut items = Vec::with_capacity(elements.len());
                for (i, element) in elements.iter().enumerate() {
                    let value = self.eval(element)?;
                    if optional.contains(&i) {
                        if let Value::Optional(inner) = &value {
                            items.extend(inner.as_deref().cloned());
                        } else {
                            return Err(no_overload());
                        }
                    } else {
                        items.push(value);
                    }
                }
                self.charge(LIST)?;
                Ok(Value::list(items))
            }
            Kind::Map(entries) => {
                let mut map = BTreeMap::new();
                for entry in entries {
                    let key = self.eval(&entry.key)?;
                    let key = Key::of(&key)
                        .ok_or_else(|| RunError::new(format!("unsupported key type: {}", key.type_name())))?;
                    let value = self.eval(&entry.value)?;
                    let value = match (entry.optional, value) {
                        (false, value) => Some(value),
                        (true, Value::Optional(inner)) => inner.as_deref().cloned(),
                        (true, _) => return Err(no_overload()),
                    };
                    if let Some(value) = value {
                        map.insert(key, value);
                    }
                }
                self.charge(MAP)?;
                Ok(Value::Map(Map::Own(Rc::new(map))))
            }
            Kind::Struct { name, fields } => {
                let mut own = BTreeMap::new();
                for field in fields {
                    let value = match (field.optional, self.eval(&field.value)?) {
                        (false, value) => Some(value),
                        (true, Value::Optional(inner)) => inner.as_deref().cloned(),
                        (true, _) => return Err(no_overload()),
                    };
                    if let Some(value) = value {
                        own.insert(field.name.clone(), value);
                    }
                }
                self.charge(OBJECT)?;
                Ok(Value::Object(Object {
                    ty: Arc::new(ObjectType {
                        name: name.clone(),
                        fields: BTreeMap::new(),
                    }),
                    fields: Fields::Own(Rc::new(own)),
                }))
            }
            Kind::Fold(fold) if expr.is_bind() => {
                self.charge(LIST)?;
                let depth = self.locals.len();
                self.locals.push((&fold.accu, Slot::Lazy(&fold.init, depth)));
                let value = self.eval(&fold.result);
                self.locals.truncate(depth);
                value
            }
            Kind::Fold(fold) => self.fold(fold),
        }
    }

    /// A name with fields and indices behind it. `root`: the name itself is charged, which upstream
    /// leaves out in the branches of `?:`, in an index, and under `has`.
    fn attribute(&mut self, expr: &'a Expr, root: bool) -> Out<'a> {
        match &expr.kind {
            Kind::Ident(name) => {
                if root {
                    self.charge(1)?;
                }
                match self.meaning(expr) {
                    Some(Meaning::TypeName(name)) => Ok(Value::Type(name.clone())),
                    Some(Meaning::Local) => self.local(name),
                    _ => self.variable(name),
                }
            }
            Kind::Select {
                operand,
                field,
                test: false,
            } => {
                match self.meaning(expr) {
                    Some(Meaning::TypeName(name)) => return Ok(Value::Type(name.clone())),
                    Some(Meaning::Variable) => {
                        if root {
                            self.charge(1)?;
                        }
                        let name = expr.qualified().unwrap_or_default();
                        return self.variable(&name);
                    }
                    _ => {}
                }
                let target = self.attribute(operand, root)?;
                self.charge(1)?;
                self.select(target, field)
            }
            Kind::Call { function, args, .. } => match (function.as_str(), args.as_slice()) {
                ("_[_]" | "_[?_]", [target, index]) => {
                    let target = self.attribute(target, root)?;
                    let index = if is_attribute(index) {
                        self.attribute(index, false)?
                    } else {
                        self.eval(index)?
                    };
                    self.charge(1)?;
                    if function == "_[_]" {
                        operators::index(&target, &index).map_err(RunError::Failed)
                    } else {
                        operators::optional_index(&target, &index).map_err(RunError::Failed)
                    }
                }
                ("_?._", [target, field]) => {
                    let target = self.attribute(target, root)?;
                    self.charge(1)?;
                    let Kind::Literal(Literal::String(field)) = &field.kind else {
                        return Err(no_overload());
                    };
                    let target = match target {
                        Value::Optional(None) => return Ok(Value::Optional(None)),
                        Value::Optional(Some(inner)) => (*inner).clone(),
                        other => other,
                    };
                    if !self.has(&target, field)? {
                        return Ok(Value::Optional(None));
                    }
                    Ok(Value::optional(Some(self.select(target, field)?)))
                }
                ("_?_:_", [condition, yes, no]) => {
                    let branch = match self.eval(condition)? {
                        Value::Bool(true) => yes,
                        Value::Bool(false) => no,
                        _ => return Err(no_overload()),
                    };
                    if is_attribute(branch) {
                        self.attribute(branch, false)
                    } else {
                        self.eval(branch)
                    }
                }
                _ => self.relative(expr, root),
            },
            _ => self.relative(expr, root),
        }
    }

    /// What fields are taken of although it is no name.
    fn relative(&mut self, expr: &'a Expr, root: bool) -> Out<'a> {
        let value = self.eval(expr)?;
        if root {
            self.charge(1)?;
        }
        Ok(value)
    }

    fn local(&mut self, name: &str) -> Out<'a> {
        let at = self
            .locals
            .iter()
            .rposition(|(n, _)| *n == name)
            .ok_or_else(|| RunError::new(format!("no such attribute: {name}")))?;
        let (init, depth) = match &self.locals[at].1 {
            Slot::Value(value) => return Ok(value.clone()),
            Slot::Failed(error) => return Err(error.clone()),
            Slot::Lazy(init, depth) => (*init, *depth),
        };
        // Seen from where it was bound.
        let hidden = self.locals.split_off(depth);
        let made = self.eval(init);
        self.locals.truncate(depth);
        self.locals.extend(hidden);
        self.locals[at].1 = match &made {
            Ok(value) => Slot::Value(value.clone()),
            Err(error) => Slot::Failed(error.clone()),
        };
        made
    }

    fn variable(&mut self, name: &str) -> Out<'a> {
        match self.variables.get(name) {
            Some(Binding::Json(json)) => {
                let ty = self.program.variables.get(name).unwrap_or(&Type::Dyn);
                Ok(Value::from_json(json, ty))
            }
            Some(Binding::Value(value)) => Ok(value),
            None => Err(RunError::new(format!("no such attribute(s): {name}"))),
        }
    }

    fn select(&mut self, target: Value<'a>, field: &str) -> Out<'a> {
        let missing = || RunError::new(format!("no such key: {field}"));
        match target {
            Value::Object(object) => match object.field(field) {
                Some(Ok((value, cost))) => {
                    self.charge(cost)?;
                    Ok(value)
                }
                Some(Err(error)) => Err(error),
                None => Err(missing()),
            },
            Value::Map(map) => map.get(&Value::string(field)).ok_or_else(missing),
            Value::Optional(None) => Ok(Value::Optional(None)),
            Value::Optional(Some(inner)) => {
                let inner = (*inner).clone();
                if !self.has(&inner, field)? {
                    return Ok(Value::Optional(None));
                }
                Ok(Value::optional(Some(self.select(inner, field)?)))
            }
            _ => Err(no_overload()),
        }
    }

    fn has(&mut self, target: &Value<'a>, field: &str) -> Result<bool, RunError> {
        match target {
            Value::Object(object) => Ok(object.has(field)),
            Value::Map(map) => Ok(map.get(&Value::string(field)).is_some()),
            Value::Optional(None) => Ok(false),
            Value::Optional(Some(inner)) => self.has(inner, field),
            _ => Err(no_overload()),
        }
    }

    /// `&&` and `||`: an error on one side is forgiven when the other decides.
    fn logical(&mut self, left: &'a Expr, right: &'a Expr, decides: bool) -> Out<'a> {
        let first = match self.eval(left) {
            Ok(Value::Bool(b)) if b == decides => return Ok(Value::Bool(decides)),
            Ok(Value::Bool(_)) => None,
            Ok(_) => Some(no_overload()),
            Err(error @ RunError::Failed(_)) => Some(error),
            Err(error) => return Err(error),
        };
        match self.eval(right) {
            Ok(Value::Bool(b)) if b == decides => Ok(Value::Bool(decides)),
            Ok(Value::Bool(_)) => match first {
                None => Ok(Value::Bool(!decides)),
                Some(error) => Err(error),
            },
            Ok(_) => Err(first.unwrap_or_else(no_overload)),
            Err(error @ RunError::Failed(_)) => Err(first.unwrap_or(error)),
            Err(error) => Err(error),
        }
    }

    fn call(&mut self, expr: &'a Expr) -> Out<'a> {
        let Kind::Call { target, args, .. } = &expr.kind else {
            return Err(no_overload());
        };
        let Some(Meaning::Call(callee)) = self.meaning(expr) else {
            return Err(no_overload());
        };
        let mut values = Vec::with_capacity(args.len() + 1);
        if let Some(target) = target
            && callee.member
        {
            values.push(self.eval(target)?);
        }
        for arg in args {
            values.push(self.eval(arg)?);
        }
        self.apply(callee, &values)
    }

    /// Whether a call can be paid for: it is charged when it is done, as upstream does, but one that would
    /// never end is not begun.
    fn affords(&mut self, callee: &Callee, values: &[Value<'a>]) -> Result<(), RunError> {
        if let ("_+_", [Value::List(a), Value::List(b)]) = (callee.name, values) {
            // Upstream joins lists without copying them, for a cost of 1.
            self.copied = self.copied.saturating_add(a.len()).saturating_add(b.len());
            if self.copied > COPIED {
                return Err(RunError::CallLimit);
            }
        }
        let large = |value: &Value<'a>| matches!(value, Value::List(list) if list.len() > LARGE);
        if (callee.name == "lists.range" || values.iter().any(large))
            && self.cost.saturating_add(cost::least(callee, values)) > self.limit
        {
            return Err(RunError::CallLimit);
        }
        Ok(())
    }

    fn apply(&mut self, callee: &'a Callee, values: &[Value<'a>]) -> Out<'a> {
        self.affords(callee, values)?;
        let result = match callee.imp {
            Some(imp) => imp(callee.name, values),
            None => Ok(values[0].clone()),
        };
        match result {
            Ok(value) => {
                self.charge(cost::call(callee, values, &value))?;
                Ok(value)
            }
            Err(message) => {
                self.charge(1)?;
                Err(RunError::Failed(message))
            }
        }
    }

    fn fold(&mut self, fold: &'a Fold) -> Out<'a> {
        let range = self.eval(&fold.range)?;
        let init = self.eval(&fold.init)?;
        let depth = self.locals.len();
        self.locals.push((&fold.accu, Slot::Value(init)));
        let ended = self.each(fold, &range, depth);
        self.locals.truncate(depth + 1);
        let result = match ended {
            Ok(()) => self.eval(&fold.result),
            Err(error) => Err(error),
        };
        self.locals.truncate(depth);
        result
    }

    fn each(&mut self, fold: &'a Fold, range: &Value<'a>, accu: usize) -> Result<(), RunError> {
        let keys = match range {
            Value::List(_) => Vec::new(),
            Value::Map(map) => map.keys(),
            Value::Object(object) => object.names().into_iter().map(Value::string).collect(),
            other => {
                return Err(RunError::new(format!(
                    "got '{}', expected iterable type",
                    other.type_name()
                )));
            }
        };
        let count = match range {
            Value::List(list) => list.len(),
            _ => keys.len(),
        };
        for i in 0..count {
            let (first, second) = entry(range, &keys, i, fold.var2.is_some())?;
            self.locals.truncate(accu + 1);
            self.locals.push((&fold.var, Slot::Value(first)));
            if let Some(var2) = &fold.var2 {
                self.locals
                    .push((var2, Slot::Value(second.unwrap_or(Value::Null))));
            }
            if !matches!(self.eval(&fold.condition)?, Value::Bool(true)) {
                break;
            }
            let next = match self.step(&fold.step, accu) {
                Ok(value) => Slot::Value(value),
                // A later element may still decide.
                Err(error @ RunError::Failed(_)) => Slot::Failed(error),
                Err(error) => return Err(error),
            };
            self.locals[accu].1 = next;
        }
        Ok(())
    }

    /// A step that adds to the accumulated list or map does so in place.
    fn step(&mut self, step: &'a Expr, accu: usize) -> Out<'a> {
        let Kind::Call { function, args, .. } = &step.kind else {
            return self.eval(step);
        };
        match (function.as_str(), args.as_slice()) {
            ("_?_:_", [condition, yes, no]) if is_accumulator(no) => match self.eval(condition)? {
                Value::Bool(true) => self.step(yes, accu),
                Value::Bool(false) => self.attribute(no, false),
                _ => Err(no_overload()),
            },
            ("_+_", [left, right]) if is_accumulator(left) => {
                let Kind::List { elements, .. } = &right.kind else {
                    return self.eval(step);
                };
                if !matches!(self.locals[accu].1, Slot::Value(Value::List(_))) || elements.len() != 1 {
                    return self.eval(step);
                }
                let item = self.eval(&elements[0])?;
                // The name, the list, the addition.
                self.charge(1 + LIST + 1)?;
                let taken = std::mem::replace(&mut self.locals[accu].1, Slot::Value(Value::Null));
                let Slot::Value(Value::List(List::Own(mut items, keys))) = taken else {
                    return Err(no_overload());
                };
                Rc::make_mut(&mut items).push(item);
                Ok(Value::List(List::Own(items, keys)))
            }
            ("cel.@mapInsert", [left, rest @ ..]) if is_accumulator(left) => {
                let mut added = Vec::new();
                match rest {
                    [key, value] => added.push((self.eval(key)?, self.eval(value)?)),
                    [entries] => {
                        let Value::Map(entries) = self.eval(entries)? else {
                            return Err(no_overload());
                        };
                        for key in entries.keys() {
                            let value = entries.get(&key).ok_or_else(no_overload)?;
                            added.push((key, value));
                        }
                    }
                    _ => return Err(no_overload()),
                }
                self.charge(1 + 1)?;
                let taken = std::mem::replace(&mut self.locals[accu].1, Slot::Value(Value::Null));
                let Slot::Value(Value::Map(Map::Own(mut map))) = taken else {
                    return Err(no_overload());
                };
                let entries = Rc::make_mut(&mut map);
                for (key, value) in added {
                    let name = Key::of(&key).ok_or_else(no_overload)?;
                    if entries.insert(name.clone(), value).is_some() {
                        return Err(RunError::new(format!("insert failed: key {name} already exists")));
                    }
                }
                Ok(Value::Map(Map::Own(map)))
            }
            _ => self.eval(step),
        }
    }
}

/// What a comprehension's variables are at the `i`th of a list's elements or of `keys`.
fn entry<'a>(
    range: &Value<'a>,
    keys: &[Value<'a>],
    i: usize,
    two: bool,
) -> Result<(Value<'a>, Option<Value<'a>>), RunError> {
    if let Value::List(list) = range {
        let item = list.get(i).ok_or_else(no_overload)?;
        return Ok(if two {
            (Value::Int(i as i64), Some(item))
        } else {
            (item, None)
        });
    }
    let key = keys.get(i).ok_or_else(no_overload)?;
    let value = match range {
        _ if !two => None,
        Value::Map(map) => map.get(key),
        Value::Object(object) => match key {
            Value::String(name) => object.field(name).transpose()?.map(|(value, _)| value),
            _ => None,
        },
        _ => None,
    };
    Ok((key.clone(), value))
}

fn is_accumulator(expr: &Expr) -> bool {
    matches!(&expr.kind, Kind::Ident(name) if name == crate::ast::ACCUMULATOR)
}

fn is_attribute(expr: &Expr) -> bool {
    match &expr.kind {
        Kind::Ident(_) => true,
        Kind::Select { test, .. } => !test,
        Kind::Call { function, .. } => matches!(function.as_str(), "_[_]" | "_[?_]" | "_?._" | "_?_:_"),
        _ => false,
    }
}

fn constant<'a>(literal: &'a Literal) -> Value<'a> {
    match literal {
        Literal::Null => Value::Null,
        Literal::Bool(b) => Value::Bool(*b),
        Literal::Int(i) => Value::Int(*i),
        Literal::Uint(u) => Value::Uint(*u),
        Literal::Double(d) => Value::Double(*d),
        Literal::String(s) => Value::string(s.as_str()),
        Literal::Bytes(b) => Value::Bytes(b.clone()),
    }
}

fn no_overload() -> RunError {
    RunError::new("no such overload")
}

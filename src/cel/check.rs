//! The type checker: gives every node a type and every call its overloads.

use std::{collections::HashMap, sync::Arc};

use crate::{
    Env,
    ast::{Expr, FieldInit, Fold, Kind, Literal},
    decls::{FUNCTIONS, Overload},
    errors::Issue,
    functions::{self, Imp},
    types::{JSON_PATCH, ObjectType, Type},
};

/// What a name or a call stands for.
#[derive(Clone, Debug)]
pub(crate) enum Meaning {
    /// A variable of the environment.
    Variable,
    /// A comprehension's variable.
    Local,
    /// A type's name.
    TypeName(String),
    Call(Callee),
}

/// A resolved call.
#[derive(Clone, Debug)]
pub(crate) struct Callee {
    /// With its namespace: `ip.isCanonical`.
    pub name: &'static str,
    /// Those that fit.
    pub overloads: Vec<&'static str>,
    /// Whether the target is an argument.
    pub member: bool,
    /// `None` for what the interpreter does itself.
    pub imp: Option<Imp>,
}

/// What checking found.
pub(crate) struct Checked {
    /// By id.
    pub types: Vec<Type>,
    /// By id.
    pub meanings: HashMap<u32, Meaning>,
}

struct Checker<'e> {
    env: &'e Env,
    types: Vec<Type>,
    meanings: HashMap<u32, Meaning>,
    issues: Vec<Issue>,
    locals: Vec<(String, Type)>,
    /// What each type variable stands for.
    bindings: Vec<Option<Type>>,
}

/// Checks a tree that uses ids below `ids`.
///
/// # Errors
/// What does not fit, in order of discovery.
pub(crate) fn check(env: &Env, root: &Expr, ids: u32) -> Result<Checked, Vec<Issue>> {
    let mut checker = Checker {
        env,
        types: vec![Type::Dyn; ids as usize],
        meanings: HashMap::new(),
        issues: Vec::new(),
        locals: Vec::new(),
        bindings: Vec::new(),
    };
    checker.expr(root);
    let mut types = std::mem::take(&mut checker.types);
    for ty in &mut types {
        *ty = checker.settled(ty, true);
    }
    checker.types = types;
    if checker.issues.is_empty() {
        crate::lint::literals(root, &mut checker.issues);
    }
    if checker.issues.is_empty() {
        return Ok(Checked {
            types: checker.types,
            meanings: checker.meanings,
        });
    }
    // Stable: what is found first at a place stays first.
    checker.issues.sort_by_key(|issue| issue.at);
    checker.issues.dedup();
    Err(checker.issues)
}

/// The type that a bare name means, and its own name.
fn type_name(name: &str) -> Option<(Type, &'static str)> {
    Some(match name {
        "bool" => (Type::Bool, "bool"),
        "bytes" => (Type::Bytes, "bytes"),
        "double" => (Type::Double, "double"),
        "int" => (Type::Int, "int"),
        "uint" => (Type::Uint, "uint"),
        "string" => (Type::String, "string"),
        "list" => (Type::list(Type::Dyn), "list"),
        "map" => (Type::map(Type::Dyn, Type::Dyn), "map"),
        "null_type" => (Type::Null, "null_type"),
        "type" => (Type::Type(Arc::new(Type::Dyn)), "type"),
        "optional_type" => (Type::optional(Type::Dyn), "optional_type"),
        "google.protobuf.Timestamp" => (Type::Timestamp, "google.protobuf.Timestamp"),
        "google.protobuf.Duration" => (Type::Duration, "google.protobuf.Duration"),
        _ => return crate::types::opaque_by_name(name).map(|name| (Type::Opaque(name), name)),
    })
}

impl Checker<'_> {
    fn issue(&mut self, at: u32, message: String) {
        self.issues.push(Issue { at, message });
    }

    fn expr(&mut self, expr: &Expr) -> Type {
        let ty = self.kind(expr);
        self.types[expr.id as usize] = ty.clone();
        ty
    }

    fn kind(&mut self, expr: &Expr) -> Type {
        match &expr.kind {
            Kind::Literal(literal) => match literal {
                Literal::Null => Type::Null,
                Literal::Bool(_) => Type::Bool,
                Literal::Int(_) => Type::Int,
                Literal::Uint(_) => Type::Uint,
                Literal::Double(_) => Type::Double,
                Literal::String(_) => Type::String,
                Literal::Bytes(_) => Type::Bytes,
            },
            Kind::Ident(name) => self.name(expr, name),
            Kind::Select { operand, field, test } => self.select(expr, operand, field, *test),
            Kind::Call {
                function,
                target,
                args,
            } => self.call(expr, function, target.as_deref(), args),
            Kind::List { elements, optional } => {
                let mut element = None;
                for (i, item) in elements.iter().enumerate() {
                    let mut ty = self.expr(item);
                    if optional.contains(&i) {
                        ty = self.unwrap_optional(item.at, ty);
                    }
                    element = Some(self.join(item.at, element, ty));
                }
                Type::list(element.unwrap_or_else(|| self.fresh()))
            }
            Kind::Map(entries) => {
                let (mut key, mut value) = (None, None);
                for entry in entries {
                    let ty = self.expr(&entry.key);
                    key = Some(self.join(entry.key.at, key, ty));
                    let mut ty = self.expr(&entry.value);
                    if entry.optional {
                        ty = self.unwrap_optional(entry.value.at, ty);
                    }
                    value = Some(self.join(entry.value.at, value, ty));
                }
                let key = key.unwrap_or_else(|| self.fresh());
                let value = value.unwrap_or_else(|| self.fresh());
                Type::map(key, value)
            }
            Kind::Struct { name, fields } => self.object(expr, name, fields),
            Kind::Fold(fold) => self.fold(fold),
        }
    }

    fn name(&mut self, expr: &Expr, name: &str) -> Type {
        if let Some((_, ty)) = self.locals.iter().rev().find(|(n, _)| n == name) {
            self.meanings.insert(expr.id, Meaning::Local);
            return ty.clone();
        }
        if let Some(ty) = self.env.variables.get(name) {
            self.meanings.insert(expr.id, Meaning::Variable);
            return ty.clone();
        }
        if let Some((ty, name)) = type_name(name) {
            self.meanings.insert(expr.id, Meaning::TypeName(name.to_owned()));
            return Type::Type(Arc::new(ty));
        }
        self.issue(
            expr.at,
            format!("undeclared reference to '{name}' (in container '')"),
        );
        Type::Dyn
    }

    fn local(&self, name: &str) -> bool {
        self.locals.iter().any(|(n, _)| n == name)
    }

    fn select(&mut self, expr: &Expr, operand: &Expr, field: &str, test: bool) -> Type {
        // Names with dots come before fields.
        if let Some(qualified) = expr.qualified()
            && !qualified.split('.').next().is_some_and(|root| self.local(root))
        {
            if let Some(ty) = self.env.variables.get(&qualified) {
                self.meanings.insert(expr.id, Meaning::Variable);
                return ty.clone();
            }
            if let Some((ty, name)) = type_name(&qualified) {
                self.meanings.insert(expr.id, Meaning::TypeName(name.to_owned()));
                return Type::Type(Arc::new(ty));
            }
        }
        let target = self.expr(operand);
        let ty = self.field(expr.at, &target, field);
        if test { Type::Bool } else { ty }
    }

    fn field(&mut self, at: u32, target: &Type, field: &str) -> Type {
        match self.settled(target, false) {
            Type::Optional(inner) => {
                let ty = self.field(at, &inner, field);
                Type::optional(ty)
            }
            Type::Map(_, value) => (*value).clone(),
            Type::Object(object) => match object.fields.get(field) {
                Some(field) => field.ty.clone(),
                None => {
                    self.issue(at, format!("undefined field '{field}'"));
                    Type::Dyn
                }
            },
            Type::Var(n) => {
                self.bindings[n as usize] = Some(Type::Dyn);
                Type::Dyn
            }
            Type::Dyn => Type::Dyn,
            other => {
                self.issue(at, format!("type '{other}' does not support field selection"));
                Type::Dyn
            }
        }
    }

    fn call(&mut self, expr: &Expr, function: &str, target: Option<&Expr>, args: &[Expr]) -> Type {
        if function == "_?._" {
            let target = self.expr(&args[0]);
            self.expr(&args[1]);
            let Kind::Literal(Literal::String(field)) = &args[1].kind else {
                return Type::Dyn;
            };
            let inner = match self.settled(&target, false) {
                Type::Optional(inner) => (*inner).clone(),
                other => other,
            };
            let ty = self.field(expr.at, &inner, field);
            return Type::optional(ty);
        }
        let qualified = target
            .and_then(Expr::qualified)
            .filter(|name| !name.split('.').next().is_some_and(|root| self.local(root)))
            .map(|name| format!("{name}.{function}"));
        if let Some(qualified) = qualified
            && let Some((name, overloads)) = self.function(&qualified)
        {
            let types: Vec<Type> = args.iter().map(|arg| self.expr(arg)).collect();
            return self.resolve(expr, name, overloads, &types, false);
        }
        let mut types = Vec::new();
        if let Some(target) = target {
            types.push(self.expr(target));
        }
        types.extend(args.iter().map(|arg| self.expr(arg)));
        match self.function(function) {
            Some((name, overloads)) => self.resolve(expr, name, overloads, &types, target.is_some()),
            None => {
                self.issue(
                    expr.at,
                    format!("undeclared reference to '{function}' (in container '')"),
                );
                Type::Dyn
            }
        }
    }

    fn function(&self, name: &str) -> Option<(&'static str, &'static [Overload])> {
        if name.starts_with("jsonpatch.") && !self.env.mutations {
            return None;
        }
        FUNCTIONS
            .get_key_value(name)
            .map(|(name, overloads)| (*name, &overloads[..]))
    }

    fn resolve(
        &mut self,
        expr: &Expr,
        name: &'static str,
        overloads: &'static [Overload],
        args: &[Type],
        member: bool,
    ) -> Type {
        let mut found: Vec<&'static str> = Vec::new();
        let mut result: Option<Type> = None;
        for overload in overloads {
            if overload.member != member || overload.args.len() != args.len() {
                continue;
            }
            let mut params = HashMap::new();
            let expected: Vec<Type> = overload
                .args
                .iter()
                .map(|ty| self.instance(ty, &mut params))
                .collect();
            let saved = self.bindings.clone();
            if !args.iter().zip(&expected).all(|(a, e)| self.assign(a, e)) {
                self.bindings = saved;
                continue;
            }
            found.push(overload.id);
            let ty = self.instance(&overload.result, &mut params);
            let ty = self.settled(&ty, false);
            result = Some(match result {
                None => ty,
                Some(before) if before == ty => before,
                Some(_) => Type::Dyn,
            });
        }
        let Some(result) = result else {
            let shown: Vec<String> = args.iter().map(|ty| self.settled(ty, true).to_string()).collect();
            let signature = if member && !shown.is_empty() {
                format!("{}.({})", shown[0], shown[1..].join(", "))
            } else {
                format!("({})", shown.join(", "))
            };
            self.issue(
                expr.at,
                format!("found no matching overload for '{name}' applied to '{signature}'"),
            );
            return Type::Dyn;
        };
        self.meanings.insert(
            expr.id,
            Meaning::Call(Callee {
                name,
                overloads: found,
                member,
                imp: functions::find(name),
            }),
        );
        result
    }

    fn object(&mut self, expr: &Expr, name: &str, fields: &[FieldInit]) -> Type {
        let patch = name == JSON_PATCH;
        let known = self.env.mutations && (patch || name == "Object" || name.starts_with("Object."));
        let types: Vec<Type> = fields
            .iter()
            .map(|field| {
                let ty = self.expr(&field.value);
                if field.optional {
                    self.unwrap_optional(field.value.at, ty)
                } else {
                    ty
                }
            })
            .collect();
        if !known {
            self.issue(
                expr.at,
                format!("undeclared reference to '{name}' (in container '')"),
            );
            return Type::Dyn;
        }
        if !patch {
            return Type::Object(Arc::new(ObjectType {
                name: name.to_owned(),
                fields: std::collections::BTreeMap::new(),
            }));
        }
        for (field, ty) in fields.iter().zip(types) {
            match field.name.as_str() {
                "op" | "path" | "from" => {
                    if !self.assign(&ty, &Type::String) {
                        let ty = self.settled(&ty, true);
                        self.issue(
                            field.at,
                            format!(
                                "expected type of field '{}' is 'string' but provided type is '{ty}'",
                                field.name
                            ),
                        );
                    }
                }
                "value" => {}
                other => self.issue(field.at, format!("undefined field '{other}'")),
            }
        }
        Type::Opaque(JSON_PATCH)
    }

    fn fold(&mut self, fold: &Fold) -> Type {
        let range = self.expr(&fold.range);
        let accu = self.expr(&fold.init);
        let (first, second) = match self.settled(&range, false) {
            Type::List(element) | Type::Keyed(element, _) => (Type::Int, (*element).clone()),
            Type::Map(key, value) => ((*key).clone(), (*value).clone()),
            Type::Dyn => (Type::Dyn, Type::Dyn),
            Type::Var(n) => {
                self.bindings[n as usize] = Some(Type::Dyn);
                (Type::Dyn, Type::Dyn)
            }
            other => {
                self.issue(
                    fold.range.at,
                    format!(
                        "expression of type '{other}' cannot be range of a comprehension (must be list, map, or dynamic)"
                    ),
                );
                (Type::Dyn, Type::Dyn)
            }
        };
        let depth = self.locals.len();
        self.locals.push((fold.accu.clone(), accu.clone()));
        match &fold.var2 {
            Some(var2) => {
                self.locals.push((fold.var.clone(), first));
                self.locals.push((var2.clone(), second));
            }
            None => {
                let is_list = self.settled(&range, false).element().is_some();
                self.locals
                    .push((fold.var.clone(), if is_list { second } else { first }));
            }
        }
        let condition = self.expr(&fold.condition);
        if !self.assign(&condition, &Type::Bool) {
            self.mismatch(fold.condition.at, &Type::Bool, &condition);
        }
        let step = self.expr(&fold.step);
        if !self.assign(&accu, &step) {
            self.mismatch(fold.step.at, &accu, &step);
        }
        self.locals.truncate(depth + 1);
        let result = self.expr(&fold.result);
        self.locals.truncate(depth);
        self.settled(&result, false)
    }

    fn mismatch(&mut self, at: u32, expected: &Type, found: &Type) {
        let (expected, found) = (self.settled(expected, true), self.settled(found, true));
        self.issue(at, format!("expected type '{expected}' but found '{found}'"));
    }

    fn unwrap_optional(&mut self, at: u32, ty: Type) -> Type {
        match self.settled(&ty, false) {
            Type::Optional(inner) => (*inner).clone(),
            Type::Dyn => Type::Dyn,
            other => {
                let wanted = Type::optional(other.clone());
                self.mismatch(at, &wanted, &other);
                other
            }
        }
    }

    /// The type of elements seen so far and one more: literals hold one type.
    fn join(&mut self, at: u32, before: Option<Type>, next: Type) -> Type {
        let Some(before) = before else { return next };
        if self.assign(&before, &next) {
            return self.general(&before, &next);
        }
        self.mismatch(at, &before, &next);
        before
    }
}

/// Unification.
impl Checker<'_> {
    fn fresh(&mut self) -> Type {
        self.bindings.push(None);
        Type::Var(self.bindings.len() as u32 - 1)
    }

    /// A declared type with its parameters as variables.
    fn instance(&mut self, ty: &Type, params: &mut HashMap<char, Type>) -> Type {
        match ty {
            Type::Param(name) => params.entry(*name).or_insert_with(|| self.fresh()).clone(),
            Type::List(element) => Type::list(self.instance(element, params)),
            Type::Optional(inner) => Type::optional(self.instance(inner, params)),
            Type::Type(inner) => Type::Type(Arc::new(self.instance(inner, params))),
            Type::Map(key, value) => Type::map(self.instance(key, params), self.instance(value, params)),
            other => other.clone(),
        }
    }

    /// A type with what is known of its variables put in; `all`: the rest is `dyn`.
    fn settled(&self, ty: &Type, all: bool) -> Type {
        match ty {
            Type::Var(n) => match &self.bindings[*n as usize] {
                Some(bound) => self.settled(bound, all),
                None if all => Type::Dyn,
                None => ty.clone(),
            },
            Type::List(element) => Type::list(self.settled(element, all)),
            Type::Keyed(element, keys) => Type::Keyed(Arc::new(self.settled(element, all)), keys.clone()),
            Type::Optional(inner) => Type::optional(self.settled(inner, all)),
            Type::Type(inner) => Type::Type(Arc::new(self.settled(inner, all))),
            Type::Map(key, value) => Type::map(self.settled(key, all), self.settled(value, all)),
            other => other.clone(),
        }
    }

    fn occurs(&self, n: u32, ty: &Type) -> bool {
        match ty {
            Type::Var(m) => {
                *m == n
                    || self.bindings[*m as usize]
                        .as_ref()
                        .is_some_and(|bound| self.occurs(n, bound))
            }
            Type::List(inner) | Type::Keyed(inner, _) | Type::Optional(inner) | Type::Type(inner) => {
                self.occurs(n, inner)
            }
            Type::Map(key, value) => self.occurs(n, key) || self.occurs(n, value),
            _ => false,
        }
    }

    fn substitute(&mut self, n: u32, other: &Type) -> bool {
        if matches!(other, Type::Var(m) if *m == n) {
            return true;
        }
        if let Some(bound) = self.bindings[n as usize].clone() {
            if !self.assign(other, &bound) {
                return false;
            }
            let general = self.general(other, &bound);
            if !self.occurs(n, &general) {
                self.bindings[n as usize] = Some(general);
            }
            return true;
        }
        if self.occurs(n, other) {
            return false;
        }
        self.bindings[n as usize] = Some(other.clone());
        true
    }

    /// Whether a value of `from` may be given where `to` is wanted.
    fn assign(&mut self, from: &Type, to: &Type) -> bool {
        if let Type::Var(n) = to {
            return self.substitute(*n, from);
        }
        if let Type::Var(n) = from {
            return self.substitute(*n, to);
        }
        match (from, to) {
            (Type::Dyn, _) | (_, Type::Dyn) => true,
            (Type::Null, Type::Null) => true,
            (Type::Null, other) | (other, Type::Null) => other.nullable(),
            (Type::List(a) | Type::Keyed(a, _), Type::List(b) | Type::Keyed(b, _)) => {
                self.assign(&a.clone(), &b.clone())
            }
            (Type::Optional(a), Type::Optional(b)) => self.assign(&a.clone(), &b.clone()),
            (Type::Type(_), Type::Type(_)) => true,
            (Type::Map(k1, v1), Type::Map(k2, v2)) => {
                self.assign(&k1.clone(), &k2.clone()) && self.assign(&v1.clone(), &v2.clone())
            }
            (a, b) => a == b,
        }
    }

    /// The less specific of two types that fit.
    fn general(&self, a: &Type, b: &Type) -> Type {
        match (self.settled(a, false), self.settled(b, false)) {
            (Type::Dyn, _) | (_, Type::Dyn) => Type::Dyn,
            (Type::Var(_), other) | (other, Type::Var(_)) => other,
            (Type::Null, other) => other,
            (Type::List(a), Type::List(b)) => Type::list(self.general(&a, &b)),
            (Type::Optional(a), Type::Optional(b)) => Type::optional(self.general(&a, &b)),
            (Type::Map(k1, v1), Type::Map(k2, v2)) => {
                Type::map(self.general(&k1, &k2), self.general(&v1, &v2))
            }
            (a, _) => a,
        }
    }
}

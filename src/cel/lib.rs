//! Kubernetes' CEL (Common Expression Language) as of v1.35: what `x-kubernetes-validations`,
//! `matchConditions` and admission policies are written in. Pure: sources and JSON come in, values
//! or errors in upstream's words go out. It never knows of requests, stores or the clock.
//!
//! ```
//! use rkind_cel::{Env, Program, Type, Value, Vars};
//!
//! let env = Env::new().variable("object", Type::Dyn).build();
//! let program = Program::compile(&env, "object.spec.replicas <= 5").unwrap();
//! assert_eq!(program.output(), &Type::Bool);
//!
//! let object = serde_json::json!({"spec": {"replicas": 3}});
//! let vars = Vars::new().json("object", &object);
//! let mut budget = rkind_cel::POLICY_BUDGET;
//! assert!(matches!(program.run(&vars, &mut budget), Ok(Value::Bool(true))));
//!
//! let faults = Program::compile(&env, "objekt").unwrap_err();
//! assert!(faults.to_string().starts_with(
//!     "ERROR: <input>:1:1: undeclared reference to 'objekt' (in container '')"));
//! ```
//!
//! - A custom resource's rule: variables `self` and `oldSelf` of the type that
//!   [`schema::object_type`] gives for the node the rule stands at, which also escapes the fields'
//!   names (`x-y` is `self.x__dash__y`). Static cost: [`Program::estimated_cost`] with
//!   [`schema::Sizes`] of the same node. Run with [`CRD_BUDGET`] shared by all rules of an object.
//! - A webhook's matchCondition: `object`, `oldObject`, `request` (see [`request`]), `authorizer`
//!   ([`types::authorizer`], value from [`authz::Authz::authorizer`]). Upstream's message for an
//!   output of the wrong type is the caller's to make, from [`Program::output`].
//! - Programs are `Send + Sync`; compile once, keep them in an `Arc`.

mod ast;
pub mod auth;
pub mod authz;
mod check;
mod cost;
mod decls;
mod errors;
mod estimate;
mod eval;
mod functions;
mod lexer;
mod lint;
mod macros;
pub mod names;
mod parser;
pub mod request;
pub mod schema;
pub mod types;
pub mod value;

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use serde_json::Value as Json;

pub use authz::{Answer, Authorizer, Question};
pub use errors::{CompileErrors, Issue, RunError};
pub use estimate::{Cost, NoSizes, Sizes};
pub use types::{Field, ListKeys, ObjectType, Type};
pub use value::Value;

/// What one run may cost; upstream's `PerCallLimit`.
pub const PER_CALL_LIMIT: u64 = 1_000_000;
/// What all expressions of one policy and binding may cost for one request; upstream's
/// `RuntimeCELCostBudget`. Match conditions have a quarter of it.
pub const POLICY_BUDGET: u64 = 10_000_000;
/// What a webhook's or policy's match conditions may cost for one request.
pub const MATCH_CONDITIONS_BUDGET: u64 = POLICY_BUDGET / 4;
/// What all rules of one custom object may cost.
pub const CRD_BUDGET: u64 = 10_000_000;
/// What one rule of a CustomResourceDefinition may cost by estimate.
pub const CRD_RULE_LIMIT: u64 = 10_000_000;
/// What all rules of a CustomResourceDefinition may cost by estimate.
pub const CRD_TOTAL_LIMIT: u64 = 100_000_000;

/// What expressions may refer to.
#[derive(Clone, Debug, Default)]
pub struct Env {
    pub(crate) variables: Arc<BTreeMap<String, Type>>,
    pub(crate) mutations: bool,
}

impl Env {
    /// An environment with Kubernetes' libraries and no variables yet.
    #[allow(clippy::new_ret_no_self)]
    #[must_use]
    pub fn new() -> EnvBuilder {
        EnvBuilder::default()
    }

    /// This environment with one more variable.
    #[must_use]
    pub fn with(&self, name: &str, ty: Type) -> Env {
        let mut variables = (*self.variables).clone();
        variables.insert(name.to_owned(), ty);
        Env {
            variables: Arc::new(variables),
            mutations: self.mutations,
        }
    }
}

impl Env {
    /// This environment without a variable and those whose names go on from it with a dot.
    #[must_use]
    pub fn without(&self, name: &str) -> Env {
        let below = format!("{name}.");
        let mut variables = (*self.variables).clone();
        variables.retain(|known, _| known != name && !known.starts_with(&below));
        Env {
            variables: Arc::new(variables),
            mutations: self.mutations,
        }
    }
}

/// Puts an [`Env`] together.
#[derive(Debug, Default)]
pub struct EnvBuilder {
    variables: BTreeMap<String, Type>,
    mutations: bool,
}

impl EnvBuilder {
    /// Declares a variable; a name with dots (`authorizer.requestResource`) comes before the field.
    #[must_use]
    pub fn variable(mut self, name: &str, ty: Type) -> Self {
        self.variables.insert(name.to_owned(), ty);
        self
    }

    /// Allows `Object{…}`, `JSONPatch{…}` and `jsonpatch.escapeKey` (KEP-3962).
    #[must_use]
    pub fn mutations(mut self) -> Self {
        self.mutations = true;
        self
    }

    /// The environment.
    #[must_use]
    pub fn build(self) -> Env {
        Env {
            variables: Arc::new(self.variables),
            mutations: self.mutations,
        }
    }
}

/// What a run finds a variable to be.
#[derive(Clone, Debug)]
pub enum Binding<'a> {
    /// Read by the type that the environment declares.
    Json(&'a Json),
    /// As it is.
    Value(Value<'a>),
}

/// The variables of one run; `'a` is the life of the JSON they are in.
pub trait Variables<'a> {
    /// The value of a declared variable; `None` makes the expression fail.
    fn get(&self, name: &str) -> Option<Binding<'a>>;
}

/// Variables in a short list.
#[derive(Clone, Debug, Default)]
pub struct Vars<'v>(Vec<(&'v str, Binding<'v>)>);

impl<'v> Vars<'v> {
    /// None.
    #[must_use]
    pub fn new() -> Self {
        Vars(Vec::new())
    }

    /// And one read from JSON.
    #[must_use]
    pub fn json(mut self, name: &'v str, json: &'v Json) -> Self {
        self.0.push((name, Binding::Json(json)));
        self
    }

    /// And one as it is.
    #[must_use]
    pub fn value(mut self, name: &'v str, value: Value<'v>) -> Self {
        self.0.push((name, Binding::Value(value)));
        self
    }
}

impl<'v> Variables<'v> for Vars<'v> {
    fn get(&self, name: &str) -> Option<Binding<'v>> {
        self.0
            .iter()
            .find(|(n, _)| *n == name)
            .map(|(_, binding)| binding.clone())
    }
}

/// A checked expression.
#[derive(Debug)]
pub struct Program {
    root: ast::Expr,
    /// By id.
    types: Vec<Type>,
    meanings: HashMap<u32, check::Meaning>,
    variables: Arc<BTreeMap<String, Type>>,
}

impl Program {
    /// Parses and checks a source.
    ///
    /// # Errors
    /// All that is wrong with it, in upstream's form.
    pub fn compile(env: &Env, source: &str) -> Result<Program, CompileErrors> {
        let failed = |issues| CompileErrors {
            source: source.to_owned(),
            issues,
        };
        let (root, ids) = parser::parse(source).map_err(failed)?;
        let checked = check::check(env, &root, ids).map_err(failed)?;
        Ok(Program {
            root,
            types: checked.types,
            meanings: checked.meanings,
            variables: env.variables.clone(),
        })
    }

    /// The type of its value.
    #[must_use]
    pub fn output(&self) -> &Type {
        self.types.get(self.root.id as usize).unwrap_or(&Type::Dyn)
    }

    /// What a run can cost, before anything is run (cel-go `checker/cost.go`).
    #[must_use]
    pub fn estimated_cost(&self, sizes: &dyn Sizes) -> Cost {
        estimate::estimate(self, sizes)
    }

    /// Whether it reads this variable: a rule that reads `oldSelf` is a transition rule.
    #[must_use]
    pub fn reads(&self, variable: &str) -> bool {
        fn within(program: &Program, expr: &ast::Expr, variable: &str) -> bool {
            (matches!(program.meanings.get(&expr.id), Some(check::Meaning::Variable))
                && expr.qualified().as_deref() == Some(variable))
                || expr.kind.children().any(|child| within(program, child, variable))
        }
        within(self, &self.root, variable)
    }

    /// Fields of a variable that it reads by name: `x.a`, `x[?'a']` and the like. `None`: it does
    /// other things with the variable, so all of them.
    #[must_use]
    pub fn fields_of(&self, variable: &str) -> Option<std::collections::BTreeSet<String>> {
        use ast::{Kind, Literal};
        fn within(
            program: &Program,
            expr: &ast::Expr,
            variable: &str,
            found: &mut std::collections::BTreeSet<String>,
        ) -> bool {
            let is = |e: &ast::Expr| {
                matches!(program.meanings.get(&e.id), Some(check::Meaning::Variable))
                    && e.qualified().as_deref() == Some(variable)
            };
            if is(expr) {
                return false;
            }
            let field = match &expr.kind {
                Kind::Select { operand, field, .. } if is(operand) => Some(field),
                Kind::Call { args, .. } => match args.as_slice() {
                    [operand, key] if is(operand) => match &key.kind {
                        Kind::Literal(Literal::String(field)) => Some(field),
                        _ => return false,
                    },
                    _ => None,
                },
                _ => None,
            };
            if let Some(field) = field {
                found.insert(field.clone());
                return true;
            }
            expr.kind
                .children()
                .all(|child| within(program, child, variable, found))
        }
        let mut found = std::collections::BTreeSet::new();
        within(self, &self.root, variable, &mut found).then_some(found)
    }

    /// Runs it. What it costs is taken from `budget`, also when it fails.
    ///
    /// # Errors
    /// The expression's failure; [`RunError::CallLimit`] when this run alone costs more than
    /// [`PER_CALL_LIMIT`]; [`RunError::Budget`] when the budget is spent.
    pub fn run<'a>(&'a self, variables: &dyn Variables<'a>, budget: &mut u64) -> Result<Value<'a>, RunError> {
        let mut run = eval::Run::new(self, variables, PER_CALL_LIMIT);
        let result = run.eval(&self.root);
        if run.cost > *budget {
            *budget = 0;
            return Err(RunError::Budget);
        }
        *budget -= run.cost;
        result
    }
}

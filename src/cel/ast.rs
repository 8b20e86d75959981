//! The tree that the parser makes: macros are already expanded into folds.

use std::sync::Arc;

/// An expression. `id` numbers it within its program, `at` is its place in the source (characters).
#[derive(Clone, Debug)]
pub(crate) struct Expr {
    pub id: u32,
    pub at: u32,
    /// Levels of the tree from here.
    pub depth: u16,
    /// Expressions in the tree from here: macros copy what they stand on.
    pub nodes: u32,
    pub kind: Kind,
}

/// A constant in the source.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Literal {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(String),
    Bytes(Arc<[u8]>),
}

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Literal(Literal),
    Ident(String),
    /// `test`: `has(operand.field)`.
    Select {
        operand: Box<Expr>,
        field: String,
        test: bool,
    },
    Call {
        function: String,
        target: Option<Box<Expr>>,
        args: Vec<Expr>,
    },
    /// `optional`: indices of elements written `?x`.
    List {
        elements: Vec<Expr>,
        optional: Vec<usize>,
    },
    Map(Vec<Entry>),
    Struct {
        name: String,
        fields: Vec<FieldInit>,
    },
    Fold(Box<Fold>),
}

/// `key: value` in a map.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub key: Expr,
    pub value: Expr,
    pub optional: bool,
}

/// `field: value` in an object.
#[derive(Clone, Debug)]
pub(crate) struct FieldInit {
    pub at: u32,
    pub name: String,
    pub value: Expr,
    pub optional: bool,
}

/// What all comprehension macros become.
#[derive(Clone, Debug)]
pub(crate) struct Fold {
    pub range: Expr,
    pub var: String,
    /// Of a comprehension with two variables.
    pub var2: Option<String>,
    pub accu: String,
    pub init: Expr,
    pub condition: Expr,
    pub step: Expr,
    pub result: Expr,
}

impl Kind {
    /// The expressions right below.
    pub(crate) fn children(&self) -> Box<dyn Iterator<Item = &Expr> + '_> {
        match self {
            Kind::Literal(_) | Kind::Ident(_) => Box::new(std::iter::empty()),
            Kind::Select { operand, .. } => Box::new(std::iter::once(&**operand)),
            Kind::Call { target, args, .. } => Box::new(target.as_deref().into_iter().chain(args)),
            Kind::List { elements, .. } => Box::new(elements.iter()),
            Kind::Map(entries) => Box::new(entries.iter().flat_map(|e| [&e.key, &e.value])),
            Kind::Struct { fields, .. } => Box::new(fields.iter().map(|f| &f.value)),
            Kind::Fold(f) => Box::new([&f.range, &f.init, &f.condition, &f.step, &f.result].into_iter()),
        }
    }
}

/// Name of the accumulator of the standard macros; no source can spell it.
pub(crate) const ACCUMULATOR: &str = "@result";

impl Expr {
    /// `a.b.c` as a text, when it is nothing but names.
    pub(crate) fn qualified(&self) -> Option<String> {
        match &self.kind {
            Kind::Ident(name) => Some(name.clone()),
            Kind::Select {
                operand,
                field,
                test: false,
            } => Some(format!("{}.{field}", operand.qualified()?)),
            _ => None,
        }
    }

    /// Whether this is `cel.bind` or one of the optional macros: a fold over nothing.
    pub(crate) fn is_bind(&self) -> bool {
        let Kind::Fold(fold) = &self.kind else {
            return false;
        };
        matches!(&fold.range.kind, Kind::List { elements, .. } if elements.is_empty())
            && matches!(fold.condition.kind, Kind::Literal(Literal::Bool(false)))
            && fold.accu != ACCUMULATOR
    }
}

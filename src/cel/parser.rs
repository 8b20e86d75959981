//! Tokens -> tree, by precedence. Messages follow those of upstream's grammar.

use crate::{
    ast::{Entry, Expr, FieldInit, Kind, Literal},
    errors::Issue,
    lexer::{Tok, Token, tokens},
    macros,
};

/// Nesting that is read, upstream's `DefaultMaxRecursionDepth` of its environments.
const LIMIT: usize = 250;
/// Levels of a tree, which those who walk it rely on: macros add some.
const MAX_TREE: u16 = 250;
/// Expressions of a tree: one macro on the other doubles it each time. No source of [`MAX_LENGTH`] is so
/// large without.
const MAX_NODES: u32 = 1 << 18;
/// Stack in bytes that one level takes at most, in a build without optimization.
const LEVEL_STACK: usize = 64 * 1024;
/// Stack in bytes that is added when there is less than that left.
const MORE_STACK: usize = 1024 * 1024;
/// Characters that upstream's parser reads.
const MAX_LENGTH: usize = 100_000;

const EXPECTED: &str = "{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}";

pub(crate) struct Parser {
    tokens: Vec<Token>,
    i: usize,
    ids: u32,
    depth: usize,
    deepest: u16,
    largest: u32,
    /// Faults after which parsing goes on.
    pub(crate) issues: Vec<Issue>,
}

type Parsed<T = Expr> = Result<T, Issue>;

/// The tree of a source and how many ids it uses.
///
/// # Errors
/// What is wrong.
pub(crate) fn parse(source: &str) -> Result<(Expr, u32), Vec<Issue>> {
    let length = source.chars().count();
    if length > MAX_LENGTH {
        return Err(vec![Issue {
            at: 0,
            message: format!("expression code point size exceeds limit: size: {length}, limit {MAX_LENGTH}"),
        }]);
    }
    let tokens = tokens(source).map_err(|issue| vec![issue])?;
    let mut parser = Parser {
        tokens,
        i: 0,
        ids: 0,
        depth: 0,
        deepest: 0,
        largest: 0,
        issues: Vec::new(),
    };
    let parsed = parser.expr().and_then(|expr| parser.end().map(|()| expr));
    match parsed {
        Ok(expr) if parser.issues.is_empty() => Ok((expr, parser.ids)),
        Ok(_) => Err(parser.issues),
        Err(issue) => {
            parser.issues.push(issue);
            Err(parser.issues)
        }
    }
}

impl Parser {
    pub(crate) fn node(&mut self, at: u32, kind: Kind) -> Expr {
        let depth = 1 + kind.children().map(|child| child.depth).max().unwrap_or(0);
        let nodes = kind
            .children()
            .fold(1, |sum: u32, child| sum.saturating_add(child.nodes));
        self.deepest = self.deepest.max(depth);
        self.largest = self.largest.max(nodes);
        self.ids += 1;
        Expr {
            depth,
            nodes,
            id: self.ids - 1,
            at,
            kind,
        }
    }

    pub(crate) fn call(&mut self, at: u32, function: &str, args: Vec<Expr>) -> Expr {
        let kind = Kind::Call {
            function: function.to_owned(),
            target: None,
            args,
        };
        self.node(at, kind)
    }

    fn token(&self) -> &Token {
        &self.tokens[self.i]
    }

    fn at(&self) -> u32 {
        self.token().at
    }

    fn is(&self, punct: &str) -> bool {
        matches!(self.token().tok, Tok::Punct(p) if p == punct)
    }

    fn eat(&mut self, punct: &str) -> bool {
        let found = self.is(punct);
        if found {
            self.i += 1;
        }
        found
    }

    fn mismatch(&self, expected: &str) -> Issue {
        Issue {
            at: self.at(),
            message: format!(
                "Syntax error: mismatched input '{}' expecting {expected}",
                self.token().text
            ),
        }
    }

    fn expect(&mut self, punct: &str) -> Parsed<()> {
        if self.eat(punct) {
            return Ok(());
        }
        if self.token().tok == Tok::End || punct != ")" {
            return Err(self.mismatch(&format!("'{punct}'")));
        }
        Err(Issue {
            at: self.at(),
            message: format!("Syntax error: missing '{punct}' at '{}'", self.token().text),
        })
    }

    fn end(&mut self) -> Parsed<()> {
        if self.token().tok == Tok::End {
            return Ok(());
        }
        let last = self.tokens[self.i + 1].tok == Tok::End;
        Err(Issue {
            at: self.at(),
            message: format!(
                "Syntax error: {} input '{}' expecting <EOF>",
                if last { "extraneous" } else { "mismatched" },
                self.token().text
            ),
        })
    }

    fn expr(&mut self) -> Parsed {
        self.depth += 1;
        if self.depth > LIMIT || self.deepest > MAX_TREE {
            return Err(Issue {
                at: self.at(),
                message: format!("expression recursion limit exceeded: {LIMIT}"),
            });
        }
        if self.largest > MAX_NODES {
            return Err(Issue {
                at: self.at(),
                message: format!("expression size limit exceeded: {MAX_NODES}"),
            });
        }
        // Each level stands on a dozen calls, one for each precedence.
        let parsed = stacker::maybe_grow(LEVEL_STACK, MORE_STACK, || self.conditional());
        self.depth -= 1;
        parsed
    }

    /// Operators and fields in a row make deep trees, too.
    fn shallow(&self) -> Parsed<()> {
        if self.deepest <= MAX_TREE {
            return Ok(());
        }
        Err(Issue {
            at: self.at(),
            message: format!("expression recursion limit exceeded: {LIMIT}"),
        })
    }

    fn conditional(&mut self) -> Parsed {
        let condition = self.binary(0)?;
        let at = self.at();
        if !self.eat("?") {
            return Ok(condition);
        }
        let yes = self.binary(0)?;
        self.expect(":")?;
        let no = self.expr()?;
        Ok(self.call(at, "_?_:_", vec![condition, yes, no]))
    }

    /// The binary operator here, if it binds at least as tightly as `level`.
    fn operator(&self, level: u8) -> Option<(&'static str, u8)> {
        let (function, own) = match &self.token().tok {
            Tok::Punct("||") => ("_||_", 0),
            Tok::Punct("&&") => ("_&&_", 1),
            Tok::Punct("<") => ("_<_", 2),
            Tok::Punct("<=") => ("_<=_", 2),
            Tok::Punct(">") => ("_>_", 2),
            Tok::Punct(">=") => ("_>=_", 2),
            Tok::Punct("==") => ("_==_", 2),
            Tok::Punct("!=") => ("_!=_", 2),
            Tok::Ident(word) if word == "in" => ("@in", 2),
            Tok::Punct("+") => ("_+_", 3),
            Tok::Punct("-") => ("_-_", 3),
            Tok::Punct("*") => ("_*_", 4),
            Tok::Punct("/") => ("_/_", 4),
            Tok::Punct("%") => ("_%_", 4),
            _ => return None,
        };
        (own >= level).then_some((function, own))
    }

    /// Precedence climbing. `||` and `&&` become balanced trees, as upstream's do: chains of them
    /// may be long.
    fn binary(&mut self, level: u8) -> Parsed {
        let mut left = self.unary()?;
        while let Some((function, own)) = self.operator(level) {
            let at = self.at();
            self.i += 1;
            let right = self.binary(own + 1)?;
            self.shallow()?;
            if own > 1 {
                left = self.call(at, function, vec![left, right]);
                continue;
            }
            let mut terms = vec![Some(left), Some(right)];
            let mut places = vec![at];
            while self.operator(own) == Some((function, own)) {
                places.push(self.at());
                self.i += 1;
                terms.push(Some(self.binary(own + 1)?));
            }
            let last = places.len() - 1;
            left = self.balance(function, &mut terms, &places, 0, last);
        }
        Ok(left)
    }

    fn balance(
        &mut self,
        function: &str,
        terms: &mut [Option<Expr>],
        places: &[u32],
        low: usize,
        high: usize,
    ) -> Expr {
        let mid = (low + high).div_ceil(2);
        let mut side = |this: &mut Self, single: bool, term: usize, low: usize, high: usize| {
            if single {
                let at = places[mid];
                terms[term].take().unwrap_or(Expr {
                    id: 0,
                    depth: 1,
                    nodes: 1,
                    at,
                    kind: Kind::Literal(Literal::Null),
                })
            } else {
                this.balance(function, terms, places, low, high)
            }
        };
        let left = side(self, mid == low, mid, low, mid.saturating_sub(1));
        let right = side(self, mid == high, mid + 1, mid + 1, high);
        self.call(places[mid], function, vec![left, right])
    }

    fn unary(&mut self) -> Parsed {
        let at = self.at();
        for (punct, function) in [("!", "!_"), ("-", "-_")] {
            let mut count = 0;
            let start = self.i;
            while self.eat(punct) {
                count += 1;
            }
            if count == 0 {
                continue;
            }
            // One minus before a number belongs to the number.
            if punct == "-" && matches!(self.token().tok, Tok::Int(_) | Tok::Double(_)) {
                if count == 1 {
                    self.i = start;
                    return self.member();
                }
                self.i -= 1;
                count -= 1;
            }
            let operand = self.member()?;
            if count % 2 == 0 {
                return Ok(operand);
            }
            return Ok(self.call(at, function, vec![operand]));
        }
        self.member()
    }

    fn member(&mut self) -> Parsed {
        let mut expr = self.primary()?;
        loop {
            self.shallow()?;
            let at = self.at();
            if self.eat(".") {
                let optional = self.eat("?");
                let field_at = self.at();
                let (name, quoted) = match self.token().tok.clone() {
                    Tok::Ident(name) => (name, false),
                    Tok::Quoted(name) => (name, true),
                    _ => return Err(self.mismatch("IDENTIFIER")),
                };
                self.i += 1;
                if optional {
                    let field = self.node(field_at, Kind::Literal(Literal::String(name)));
                    expr = self.call(at, "_?._", vec![expr, field]);
                } else if !quoted && self.is("(") {
                    let at = self.at();
                    self.i += 1;
                    let args = self.arguments(")")?;
                    expr = macros::member(self, at, expr, &name, args)?;
                } else {
                    if !quoted && (name == "in" || matches!(name.as_str(), "true" | "false" | "null")) {
                        self.i -= 1;
                        return Err(self.mismatch("IDENTIFIER"));
                    }
                    let kind = Kind::Select {
                        operand: Box::new(expr),
                        field: name,
                        test: false,
                    };
                    expr = self.node(at, kind);
                }
            } else if self.eat("[") {
                let optional = self.eat("?");
                let index = self.expr()?;
                self.expect("]")?;
                let function = if optional { "_[?_]" } else { "_[_]" };
                expr = self.call(at, function, vec![expr, index]);
            } else if self.is("{") && matches!(expr.kind, Kind::Ident(_) | Kind::Select { .. }) {
                let Some(name) = expr.qualified() else {
                    return Err(self.mismatch("<EOF>"));
                };
                self.i += 1;
                let fields = self.fields()?;
                expr = self.node(at, Kind::Struct { name, fields });
            } else {
                return Ok(expr);
            }
        }
    }

    fn arguments(&mut self, close: &str) -> Parsed<Vec<Expr>> {
        let mut args = Vec::new();
        if self.eat(close) {
            return Ok(args);
        }
        loop {
            args.push(self.expr()?);
            if !self.eat(",") {
                self.expect(close)?;
                return Ok(args);
            }
        }
    }

    fn fields(&mut self) -> Parsed<Vec<FieldInit>> {
        let mut fields = Vec::new();
        loop {
            if self.eat("}") {
                return Ok(fields);
            }
            let optional = self.eat("?");
            let name = match self.token().tok.clone() {
                Tok::Ident(name) | Tok::Quoted(name) => name,
                _ => return Err(self.mismatch("{'}', ',', '?', IDENTIFIER, ESC_IDENTIFIER}")),
            };
            self.i += 1;
            let at = self.at();
            self.expect(":")?;
            let value = self.expr()?;
            fields.push(FieldInit {
                at,
                name,
                value,
                optional,
            });
            if !self.eat(",") {
                self.expect("}")?;
                return Ok(fields);
            }
        }
    }

    fn primary(&mut self) -> Parsed {
        let Token { at, tok, .. } = self.token().clone();
        self.i += 1;
        match tok {
            Tok::Punct("-") => {
                let number = self.token().clone();
                self.i += 1;
                let literal = match number.tok {
                    Tok::Int(digits) => int(&digits, true),
                    Tok::Double(value) => Some(Literal::Double(-value)),
                    _ => None,
                };
                self.literal(at, literal, "invalid int literal")
            }
            Tok::Int(digits) => self.literal(at, int(&digits, false), "invalid int literal"),
            Tok::Uint(digits) => {
                let value = match digits.strip_prefix("0x") {
                    Some(hex) => u64::from_str_radix(hex, 16),
                    None => digits.parse(),
                };
                self.literal(at, value.ok().map(Literal::Uint), "invalid uint literal")
            }
            Tok::Double(value) => Ok(self.node(at, Kind::Literal(Literal::Double(value)))),
            Tok::String(text) => Ok(self.node(at, Kind::Literal(Literal::String(text)))),
            Tok::Bytes(bytes) => Ok(self.node(at, Kind::Literal(Literal::Bytes(bytes)))),
            Tok::Punct("(") => {
                let inner = self.expr()?;
                self.expect(")")?;
                Ok(inner)
            }
            Tok::Punct("[") => self.list(at),
            Tok::Punct("{") => self.map(at),
            Tok::Punct(".") => match self.token().tok.clone() {
                Tok::Ident(name) => {
                    self.i += 1;
                    self.identifier(at, name)
                }
                _ => Err(self.mismatch("IDENTIFIER")),
            },
            Tok::Ident(word) => match word.as_str() {
                "true" => Ok(self.node(at, Kind::Literal(Literal::Bool(true)))),
                "false" => Ok(self.node(at, Kind::Literal(Literal::Bool(false)))),
                "null" => Ok(self.node(at, Kind::Literal(Literal::Null))),
                "in" => {
                    self.i -= 1;
                    Err(self.mismatch(EXPECTED))
                }
                _ => self.identifier(at, word),
            },
            _ => {
                self.i -= 1;
                Err(self.mismatch(EXPECTED))
            }
        }
    }

    fn literal(&mut self, at: u32, literal: Option<Literal>, wrong: &str) -> Parsed {
        match literal {
            Some(literal) => Ok(self.node(at, Kind::Literal(literal))),
            None => Err(Issue {
                at,
                message: wrong.to_owned(),
            }),
        }
    }

    fn identifier(&mut self, at: u32, name: String) -> Parsed {
        if crate::names::RESERVED.contains(&name.as_str()) {
            self.issues.push(Issue {
                at,
                message: format!("reserved identifier: {name}"),
            });
        }
        let open = self.at();
        if self.eat("(") {
            let args = self.arguments(")")?;
            return macros::global(self, open, &name, args);
        }
        Ok(self.node(at, Kind::Ident(name)))
    }

    fn list(&mut self, at: u32) -> Parsed {
        let (mut elements, mut optional) = (Vec::new(), Vec::new());
        loop {
            if self.eat("]") {
                break;
            }
            if self.eat("?") {
                optional.push(elements.len());
            }
            elements.push(self.expr()?);
            if !self.eat(",") {
                self.expect("]")?;
                break;
            }
        }
        Ok(self.node(at, Kind::List { elements, optional }))
    }

    fn map(&mut self, at: u32) -> Parsed {
        let mut entries = Vec::new();
        loop {
            if self.eat("}") {
                break;
            }
            let optional = self.eat("?");
            let key = self.expr()?;
            self.expect(":")?;
            let value = self.expr()?;
            entries.push(Entry { key, value, optional });
            if !self.eat(",") {
                self.expect("}")?;
                break;
            }
        }
        Ok(self.node(at, Kind::Map(entries)))
    }
}

fn int(digits: &str, negative: bool) -> Option<Literal> {
    let value = match digits.strip_prefix("0x") {
        Some(hex) => i128::from_str_radix(hex, 16),
        None => digits.parse(),
    }
    .ok()?;
    i64::try_from(if negative { -value } else { value })
        .ok()
        .map(Literal::Int)
}

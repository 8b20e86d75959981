//! Literals that can never work: regular expressions, durations and times that do not parse
//! (cel-go's AST validators).

use crate::{
    ast::{Expr, Kind, Literal},
    errors::Issue,
    functions::{regex, time},
};

/// Finds them.
pub(crate) fn literals(expr: &Expr, issues: &mut Vec<Issue>) {
    for child in expr.kind.children() {
        literals(child, issues);
    }
    let Kind::Call {
        function,
        target,
        args,
    } = &expr.kind
    else {
        return;
    };
    let Some(last) = args.last() else { return };
    let Kind::Literal(Literal::String(text)) = &last.kind else {
        return;
    };
    let wrong = match function.as_str() {
        "matches" => regex::compiled(text).is_err(),
        "duration" => target.is_none() && time::parse_duration(text).is_none(),
        "timestamp" => target.is_none() && time::parse_timestamp(text).is_none(),
        _ => false,
    };
    if wrong {
        issues.push(Issue {
            at: last.at,
            message: format!("invalid {function} argument"),
        });
    }
}

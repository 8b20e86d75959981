//! `has`, `all`, `map` and their kin: calls that the parser turns into other expressions.

use crate::{
    ast::{ACCUMULATOR, Expr, Fold, Kind, Literal},
    errors::Issue,
    parser::Parser,
};

type Expanded = Result<Expr, Issue>;

fn issue(at: u32, message: &str) -> Issue {
    Issue {
        at,
        message: message.to_owned(),
    }
}

/// A call without target: `has` or a plain call.
pub(crate) fn global(parser: &mut Parser, at: u32, name: &str, mut args: Vec<Expr>) -> Expanded {
    if name == "has" && args.len() == 1 {
        let arg = args.remove(0);
        return match arg.kind {
            Kind::Select {
                operand,
                field,
                test: false,
            } => Ok(parser.node(
                at,
                Kind::Select {
                    operand,
                    field,
                    test: true,
                },
            )),
            _ => Err(issue(arg.at, "invalid argument to has() macro")),
        };
    }
    Ok(parser.call(at, name, args))
}

/// A call on a target: a macro or a plain call.
pub(crate) fn member(
    parser: &mut Parser,
    at: u32,
    target: Expr,
    name: &str,
    mut args: Vec<Expr>,
) -> Expanded {
    let namespace = matches!(&target.kind, Kind::Ident(n) if n == "cel");
    match (name, args.len()) {
        ("bind", 3) if namespace => {
            let body = args.remove(2);
            let init = args.remove(1);
            let variable = simple_name(&args[0], "cel.bind() variable names must be simple identifiers")?;
            return Ok(bind(parser, at, variable, init, body));
        }
        ("all" | "exists" | "exists_one" | "existsOne" | "filter", 2) | ("map", 2 | 3) => {
            return comprehension(parser, at, target, name, args, false);
        }
        ("all" | "exists" | "exists_one" | "existsOne", 3)
        | ("transformList" | "transformMap" | "transformMapEntry", 3 | 4) => {
            return comprehension(parser, at, target, name, args, true);
        }
        ("sortBy", 2) => {
            let variable = simple_name(&args[0], "sortBy can only be called with a simple variable")?;
            let key = args.remove(1);
            return sort_by(parser, at, target, variable, key);
        }
        ("optMap" | "optFlatMap", 2) => {
            let body = args.remove(1);
            let wrong = if name == "optMap" {
                "optMap() variable name must be a simple identifier"
            } else {
                "optFlatMap() variable name must be a simple identifier"
            };
            let variable = simple_name(&args[0], wrong)?;
            return Ok(opt_map(parser, at, target, variable, body, name == "optMap"));
        }
        _ => {}
    }
    let kind = Kind::Call {
        function: name.to_owned(),
        target: Some(Box::new(target)),
        args,
    };
    Ok(parser.node(at, kind))
}

fn simple_name(expr: &Expr, wrong: &str) -> Result<String, Issue> {
    match &expr.kind {
        Kind::Ident(name) => Ok(name.clone()),
        _ => Err(issue(expr.at, wrong)),
    }
}

fn bind(parser: &mut Parser, at: u32, variable: String, init: Expr, body: Expr) -> Expr {
    let range = parser.node(
        at,
        Kind::List {
            elements: Vec::new(),
            optional: Vec::new(),
        },
    );
    let condition = parser.node(at, Kind::Literal(Literal::Bool(false)));
    let step = parser.node(at, Kind::Ident(variable.clone()));
    parser.node(
        at,
        Kind::Fold(Box::new(Fold {
            range,
            var: "#unused".into(),
            var2: None,
            accu: variable,
            init,
            condition,
            step,
            result: body,
        })),
    )
}

/// `list.sortBy(v, key)`: the list's elements beside their keys.
fn sort_by(parser: &mut Parser, at: u32, list: Expr, variable: String, key: Expr) -> Expanded {
    const INPUT: &str = "@__sortBy_input__";
    let input = |parser: &mut Parser| parser.node(at, Kind::Ident(INPUT.into()));
    let range = input(parser);
    let variable = parser.node(at, Kind::Ident(variable));
    let keys = comprehension(parser, at, range, "map", vec![variable, key], false)?;
    let target = input(parser);
    let kind = Kind::Call {
        function: "@sortByAssociatedKeys".into(),
        target: Some(Box::new(target)),
        args: vec![keys],
    };
    let sorted = parser.node(at, kind);
    Ok(bind(parser, at, INPUT.into(), list, sorted))
}

fn opt_map(parser: &mut Parser, at: u32, target: Expr, variable: String, body: Expr, wrap: bool) -> Expr {
    let on = |parser: &mut Parser, target: Expr, function: &str| {
        let kind = Kind::Call {
            function: function.to_owned(),
            target: Some(Box::new(target)),
            args: Vec::new(),
        };
        parser.node(at, kind)
    };
    let has = on(parser, target.clone(), "hasValue");
    let value = on(parser, target, "value");
    let bound = bind(parser, at, variable, value, body);
    let yes = if wrap {
        parser.call(at, "optional.of", vec![bound])
    } else {
        bound
    };
    let no = parser.call(at, "optional.none", Vec::new());
    parser.call(at, "_?_:_", vec![has, yes, no])
}

fn comprehension(
    parser: &mut Parser,
    at: u32,
    range: Expr,
    name: &str,
    args: Vec<Expr>,
    two: bool,
) -> Expanded {
    let quantifier = matches!(name, "all" | "exists" | "exists_one" | "existsOne");
    let wrong = if quantifier || two {
        "argument must be a simple name"
    } else {
        "argument is not an identifier"
    };
    let mut args = args.into_iter();
    let mut variable = || -> Result<String, Issue> {
        let arg = args.next().ok_or_else(|| issue(at, wrong))?;
        let name = simple_name(&arg, wrong)?;
        if name == ACCUMULATOR || name == "__result__" {
            return Err(issue(
                arg.at,
                "iteration variable overwrites accumulator variable",
            ));
        }
        Ok(name)
    };
    let var = variable()?;
    let var2 = if two { Some(variable()?) } else { None };
    if var2.as_ref() == Some(&var) {
        return Err(issue(at, &format!("duplicate variable name: {var}")));
    }
    let mut rest: Vec<Expr> = args.collect();
    let last = rest.pop().ok_or_else(|| issue(at, wrong))?;
    let filter = rest.pop();

    let accu = |parser: &mut Parser| parser.node(at, Kind::Ident(ACCUMULATOR.into()));
    let literal = |parser: &mut Parser, literal: Literal| parser.node(at, Kind::Literal(literal));
    let (init, condition, step, result);
    match name {
        "all" | "exists" => {
            let all = name == "all";
            init = literal(parser, Literal::Bool(all));
            let mut so_far = accu(parser);
            if !all {
                so_far = parser.call(at, "!_", vec![so_far]);
            }
            condition = parser.call(at, "@not_strictly_false", vec![so_far]);
            let left = accu(parser);
            step = parser.call(at, if all { "_&&_" } else { "_||_" }, vec![left, last]);
            result = accu(parser);
        }
        "exists_one" | "existsOne" => {
            init = literal(parser, Literal::Int(0));
            condition = literal(parser, Literal::Bool(true));
            let left = accu(parser);
            let one = literal(parser, Literal::Int(1));
            let more = parser.call(at, "_+_", vec![left, one]);
            let same = accu(parser);
            step = parser.call(at, "_?_:_", vec![last, more, same]);
            let left = accu(parser);
            let one = literal(parser, Literal::Int(1));
            result = parser.call(at, "_==_", vec![left, one]);
        }
        _ => {
            let map = matches!(name, "transformMap" | "transformMapEntry");
            init = if map {
                parser.node(at, Kind::Map(Vec::new()))
            } else {
                let kind = Kind::List {
                    elements: Vec::new(),
                    optional: Vec::new(),
                };
                parser.node(at, kind)
            };
            condition = literal(parser, Literal::Bool(true));
            let left = accu(parser);
            let (filter, item) = if name == "filter" {
                (Some(last), parser.node(at, Kind::Ident(var.clone())))
            } else {
                (filter, last)
            };
            let more = match name {
                "transformMap" => {
                    let key = parser.node(at, Kind::Ident(var.clone()));
                    parser.call(at, "cel.@mapInsert", vec![left, key, item])
                }
                "transformMapEntry" => parser.call(at, "cel.@mapInsert", vec![left, item]),
                _ => {
                    let kind = Kind::List {
                        elements: vec![item],
                        optional: Vec::new(),
                    };
                    let one = parser.node(at, kind);
                    parser.call(at, "_+_", vec![left, one])
                }
            };
            step = match filter {
                Some(filter) => {
                    let same = accu(parser);
                    parser.call(at, "_?_:_", vec![filter, more, same])
                }
                None => more,
            };
            result = accu(parser);
        }
    }
    Ok(parser.node(
        at,
        Kind::Fold(Box::new(Fold {
            range,
            var,
            var2,
            accu: ACCUMULATOR.into(),
            init,
            condition,
            step,
            result,
        })),
    ))
}

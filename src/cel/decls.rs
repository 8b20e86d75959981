//! The functions that expressions may call, from the table `decls.txt`.

use std::{collections::HashMap, sync::LazyLock};

use crate::types::{Type, split};

/// One overload of a function.
#[derive(Debug)]
pub(crate) struct Overload {
    pub id: &'static str,
    /// The first of `args` stands before the dot.
    pub member: bool,
    pub args: Vec<Type>,
    pub result: Type,
}

/// Overloads by function name, in declaration order.
pub(crate) static FUNCTIONS: LazyLock<HashMap<&'static str, Vec<Overload>>> = LazyLock::new(|| {
    let mut functions: HashMap<&'static str, Vec<Overload>> = HashMap::new();
    for line in include_str!("decls.txt").lines() {
        if let Some((name, overload)) = parse(line) {
            functions.entry(name).or_default().push(overload);
        }
    }
    functions
});

fn parse(line: &'static str) -> Option<(&'static str, Overload)> {
    if line.starts_with('#') {
        return None;
    }
    let (id, signature) = line.split_once(" | ")?;
    // `receiver.name(args) result`: the arguments are the last bracket at depth 0 before the result.
    let open = open_bracket(signature)?;
    let (head, rest) = signature.split_at(open);
    let close = open + closing(rest)?;
    let args = &signature[open + 1..close];
    let result = Type::parse(&signature[close + 1..])?;
    let mut types = Vec::new();
    let mut name = head;
    let mut member = false;
    if let Some((receiver, method)) = head.rsplit_once('.')
        && let Some(ty) = Type::parse(receiver)
    {
        types.push(ty);
        name = method;
        member = true;
    }
    for arg in split(args) {
        types.push(Type::parse(arg)?);
    }
    Some((
        name,
        Overload {
            id,
            member,
            args: types,
            result,
        },
    ))
}

/// Where the argument list opens: a bracket that follows the function's name.
fn open_bracket(signature: &str) -> Option<usize> {
    let mut at = 0;
    loop {
        let open = at + signature[at..].find('(')?;
        let close = open + closing(&signature[open..])?;
        if signature[close + 1..].starts_with('.') {
            at = close + 1;
        } else {
            return Some(open);
        }
    }
}

/// Where the bracket that a text begins with closes.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0;
    for (i, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => {
                depth -= 1;
                if depth == 0 {
                    return Some(i);
                }
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{FUNCTIONS, parse};

    #[test]
    fn every_line_is_a_declaration() {
        for line in include_str!("decls.txt").lines() {
            assert!(line.starts_with('#') || parse(line).is_some(), "{line}");
        }
        assert_eq!(FUNCTIONS["_+_"].len(), 9);
        assert!(FUNCTIONS["size"].iter().any(|o| o.member) && FUNCTIONS["size"].iter().any(|o| !o.member));
        assert!(!FUNCTIONS["ip.isCanonical"][0].member);
    }

    #[test]
    fn every_function_can_be_run() {
        for name in FUNCTIONS.keys() {
            let native = [
                "_?_:_",
                "_&&_",
                "_||_",
                "@not_strictly_false",
                "_[_]",
                "_[?_]",
                "dyn",
            ];
            assert!(
                native.contains(name) || crate::functions::find(name).is_some(),
                "{name}"
            );
        }
    }
}

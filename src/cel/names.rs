//! Names of fields in expressions: what is no CEL identifier is escaped
//! (`apiextensions.k8s.io/v1` `x-kubernetes-validations`).

/// Words that the language keeps for itself.
pub(crate) const RESERVED: [&str; 17] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// Words that mean something in expressions.
const KEYWORDS: [&str; 4] = ["true", "false", "null", "in"];

fn is_escaped(word: &str) -> bool {
    RESERVED.contains(&word) || KEYWORDS.contains(&word)
}

/// The name by which an expression reaches a field: `a-b` -> `a__dash__b`.
/// `None` when no expression can.
#[must_use]
pub fn escape(name: &str) -> Option<String> {
    // `namespace` -> `__namespace__`.
    if is_escaped(name) {
        return Some(format!("__{name}__"));
    }
    let first = name.chars().next()?;
    if first.is_ascii_digit() {
        return None;
    }
    let mut out = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(c) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("__") {
            out.push_str("__underscores__");
            rest = after;
            continue;
        }
        match c {
            '.' => out.push_str("__dot__"),
            '-' => out.push_str("__dash__"),
            '/' => out.push_str("__slash__"),
            c if c == '_' || c.is_ascii_alphanumeric() => out.push(c),
            _ => return None,
        }
        rest = &rest[c.len_utf8()..];
    }
    Some(out)
}

/// The field that [`escape`] gives this name for.
#[must_use]
pub fn unescape(escaped: &str) -> Option<String> {
    if let Some(word) = escaped.strip_prefix("__").and_then(|s| s.strip_suffix("__"))
        && is_escaped(word)
    {
        return Some(word.to_owned());
    }
    let mut out = String::with_capacity(escaped.len());
    let mut rest = escaped;
    'next: while !rest.is_empty() {
        for (code, text) in [
            ("__underscores__", "__"),
            ("__dot__", "."),
            ("__dash__", "-"),
            ("__slash__", "/"),
        ] {
            if let Some(after) = rest.strip_prefix(code) {
                out.push_str(text);
                rest = after;
                continue 'next;
            }
        }
        if rest.starts_with("__") {
            return None;
        }
        let c = rest.chars().next()?;
        out.push(c);
        rest = &rest[c.len_utf8()..];
    }
    Some(out)
}

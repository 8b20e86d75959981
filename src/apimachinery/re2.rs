//! Regular expressions as Go's `regexp` reads them (RE2's syntax): upstream's patterns are written for it.
//!
//! [`compile`] brings a pattern into the syntax of the `regex` crate, whose engine is the same but whose
//! syntax is not: there `\d`, `\w`, `\s` and `\b` know all of Unicode, `&&`, `--`, `~~` and `[` have a meaning
//! within a class, `\<` is the start of a word, `{,2}` a repetition, and `\Q…\E` is unknown.

use std::{fmt, iter::Peekable, ops::Deref, str::Chars};

use regex::{Regex, RegexBuilder};

/// Bytes that a compiled pattern may take: patterns are the clients' to choose. Go's limit is about as much.
const SIZE: usize = 2 << 20;
/// How often something may be repeated, in Go's syntax.
const REPEATS: u32 = 1000;

/// A compiled pattern; shown as it was written.
#[derive(Clone, Debug)]
pub struct Pattern {
    source: Box<str>,
    regex: Regex,
}

impl Deref for Pattern {
    type Target = Regex;

    fn deref(&self) -> &Regex {
        &self.regex
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

/// Compiles a pattern in Go's syntax.
///
/// # Errors
/// What is wrong with it, in Go's words behind `error parsing regexp: ` where they are known.
pub fn compile(pattern: &str) -> Result<Pattern, String> {
    let regex = RegexBuilder::new(&translate(pattern)?)
        .size_limit(SIZE)
        .build()
        .map_err(|e| match e {
            regex::Error::CompiledTooBig(_) => "expression too large".to_owned(),
            other => {
                let text = other.to_string();
                let last = text.lines().last().unwrap_or_default();
                last.trim_start_matches("error: ").to_owned()
            }
        })?;
    Ok(Pattern {
        source: pattern.into(),
        regex,
    })
}

/// Perl's classes, of ASCII alone: within brackets, and how they are negated there.
fn perl(class: char) -> Option<(&'static str, bool)> {
    Some(match class {
        'd' | 'D' => ("0-9", class == 'D'),
        's' | 'S' => ("\\t\\n\\f\\r ", class == 'S'),
        'w' | 'W' => ("0-9A-Za-z_", class == 'W'),
        _ => return None,
    })
}

fn translate(pattern: &str) -> Result<String, String> {
    let mut rest = pattern.chars().peekable();
    let mut out = String::with_capacity(pattern.len() + 8);
    while let Some(c) = rest.next() {
        match c {
            '\\' => escape(&mut rest, &mut out)?,
            '[' => class(&mut rest, &mut out)?,
            '{' => repetition(&mut rest, &mut out)?,
            '}' => out.push_str("\\}"),
            '(' if rest.peek() == Some(&'?') => {
                out.push('(');
                flags(&rest)?;
            }
            c => out.push(c),
        }
    }
    Ok(out)
}

/// What follows a backslash outside of a class.
fn escape(rest: &mut Peekable<Chars<'_>>, out: &mut String) -> Result<(), String> {
    let Some(c) = rest.next() else {
        return Err("trailing backslash at end of expression: ``".into());
    };
    if let Some((class, negated)) = perl(c) {
        out.push_str(if negated { "[^" } else { "[" });
        out.push_str(class);
        out.push(']');
        return Ok(());
    }
    match c {
        'A' | 'z' => {
            out.push('\\');
            out.push(c);
        }
        'b' => out.push_str("(?-u:\\b)"),
        'B' => out.push_str("(?-u:\\B)"),
        'Q' => {
            // To the next `\E`, or to the end.
            while let Some(c) = rest.next() {
                if c == '\\' && rest.peek() == Some(&'E') {
                    rest.next();
                    return Ok(());
                }
                literal(c, out);
            }
        }
        'p' | 'P' => unicode(c == 'P', rest, out)?,
        c => literal(character(c, rest)?, out),
    }
    Ok(())
}

/// One character that an escape stands for, in a class or outside.
fn character(c: char, rest: &mut Peekable<Chars<'_>>) -> Result<char, String> {
    let invalid = |more: &str| format!("invalid escape sequence: `\\{c}{more}`");
    Ok(match c {
        'a' => '\x07',
        'f' => '\x0c',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\x0b',
        '0'..='7' => {
            // A single digit but 0 would be a back reference.
            if c != '0' && !matches!(rest.peek(), Some('0'..='7')) {
                return Err(invalid(""));
            }
            let mut code = c as u32 - '0' as u32;
            for _ in 0..2 {
                let Some(digit) = rest.peek().and_then(|d| d.to_digit(8)) else {
                    break;
                };
                rest.next();
                code = code * 8 + digit;
            }
            char::from_u32(code).ok_or_else(|| invalid(""))?
        }
        'x' => {
            let mut digits = String::new();
            if rest.next_if_eq(&'{').is_some() {
                loop {
                    match rest.next() {
                        Some('}') => break,
                        Some(d) if d.is_ascii_hexdigit() && digits.len() < 8 => digits.push(d),
                        _ => return Err(invalid("{")),
                    }
                }
            } else {
                for _ in 0..2 {
                    digits.extend(rest.next_if(char::is_ascii_hexdigit));
                }
                if digits.len() < 2 {
                    return Err(invalid(&digits));
                }
            }
            let code = u32::from_str_radix(&digits, 16).ok();
            code.and_then(char::from_u32).ok_or_else(|| invalid(&digits))?
        }
        c if c.is_ascii_punctuation() || c == ' ' || c.is_ascii_control() => c,
        _ => return Err(invalid("")),
    })
}

/// `\pN`, `\p{Greek}`, `\p{^Greek}`.
fn unicode(negated: bool, rest: &mut Peekable<Chars<'_>>, out: &mut String) -> Result<(), String> {
    let letter = if negated { 'P' } else { 'p' };
    let invalid = |name: &str| format!("invalid character class range: `\\{letter}{name}`");
    let first = rest.next().ok_or_else(|| invalid(""))?;
    let mut name = String::new();
    if first == '{' {
        loop {
            match rest.next() {
                Some('}') => break,
                Some(c) => name.push(c),
                None => return Err(invalid(&format!("{{{name}"))),
            }
        }
    } else {
        name.push(first);
    }
    let (plain, inverse) = match name.strip_prefix('^') {
        Some(plain) => (plain, true),
        None => (name.as_str(), false),
    };
    // Categories and scripts have names of letters; the other crate knows more syntax there.
    if plain.is_empty() || !plain.chars().all(|c| c.is_ascii_alphabetic() || c == '_') {
        return Err(invalid(&format!("{{{name}}}")));
    }
    if plain == "Any" {
        out.push_str(if negated == inverse {
            "[\\x{0}-\\x{10FFFF}]"
        } else {
            "[^\\x{0}-\\x{10FFFF}]"
        });
        return Ok(());
    }
    out.push_str(if negated == inverse { "\\p{" } else { "\\P{" });
    out.push_str(plain);
    out.push('}');
    Ok(())
}

/// A class, behind its bracket.
fn class(rest: &mut Peekable<Chars<'_>>, out: &mut String) -> Result<(), String> {
    let source: String = rest.clone().collect();
    let missing = || format!("missing closing ]: `[{source}`");
    out.push('[');
    if rest.next_if_eq(&'^').is_some() {
        out.push('^');
    }
    let mut first = true;
    loop {
        let c = rest.next().ok_or_else(missing)?;
        match c {
            ']' if !first => break,
            '[' if rest.peek() == Some(&':') && posix(rest, out)? => {}
            '\\' if rest.peek().is_some_and(|c| perl(*c).is_some()) => {
                let (class, negated) = rest.next().and_then(perl).ok_or_else(missing)?;
                if negated {
                    out.push_str("[^");
                    out.push_str(class);
                    out.push(']');
                } else {
                    out.push_str(class);
                }
            }
            '\\' if matches!(rest.peek(), Some('p' | 'P')) => {
                let negated = rest.next() == Some('P');
                unicode(negated, rest, out)?;
            }
            c => {
                let low = member(c, rest, missing)?;
                literal(low, out);
                let mut ahead = rest.clone();
                if ahead.next() == Some('-') && ahead.next().is_some_and(|c| c != ']') {
                    rest.next();
                    let c = rest.next().ok_or_else(missing)?;
                    let high = member(c, rest, missing)?;
                    if high < low {
                        return Err(format!("invalid character class range: `{low}-{high}`"));
                    }
                    out.push('-');
                    literal(high, out);
                }
            }
        }
        first = false;
    }
    out.push(']');
    Ok(())
}

/// One character of a class.
fn member(c: char, rest: &mut Peekable<Chars<'_>>, missing: impl Fn() -> String) -> Result<char, String> {
    if c != '\\' {
        return Ok(c);
    }
    let c = rest.next().ok_or_else(missing)?;
    character(c, rest)
}

/// `[:alpha:]` behind its first bracket; false when it is none, and the bracket is itself.
fn posix(rest: &mut Peekable<Chars<'_>>, out: &mut String) -> Result<bool, String> {
    let text: String = rest.clone().take(16).collect();
    let Some(end) = text.find(":]") else {
        return Ok(false);
    };
    let name = &text[1..end];
    const KNOWN: [&str; 14] = [
        "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space",
        "upper", "word", "xdigit",
    ];
    if !KNOWN.contains(&name.trim_start_matches('^')) {
        return Err(format!("invalid character class range: `[:{name}:]`"));
    }
    out.push_str(&format!("[:{name}:]"));
    for _ in 0..end + 2 {
        rest.next();
    }
    Ok(true)
}

/// `{2}`, `{2,}`, `{2,3}`, behind the bracket; any other is itself.
fn repetition(rest: &mut Peekable<Chars<'_>>, out: &mut String) -> Result<(), String> {
    let text: String = rest.clone().take_while(|c| *c != '}').take(20).collect();
    let closed = rest.clone().nth(text.chars().count()) == Some('}');
    let number = |t: &str| -> bool { !t.is_empty() && t.chars().all(|c| c.is_ascii_digit()) };
    let (least, most) = text.split_once(',').unwrap_or((&text, "0"));
    if !closed || !number(least) || !(most.is_empty() || number(most)) {
        out.push_str("\\{");
        return Ok(());
    }
    let within = |t: &str| t.is_empty() || t.parse().is_ok_and(|n: u32| n <= REPEATS);
    if !within(least) || !within(most) {
        return Err(format!("invalid repeat count: `{{{text}}}`"));
    }
    out.push('{');
    out.push_str(&text);
    out.push('}');
    for _ in 0..=text.chars().count() {
        rest.next();
    }
    Ok(())
}

/// Refuses flags that Go does not have, before `(?`.
fn flags(rest: &Peekable<Chars<'_>>) -> Result<(), String> {
    let text: String = rest
        .clone()
        .skip(1)
        .take_while(|c| !matches!(c, ')' | ':'))
        .collect();
    if text.starts_with("P<") || text.starts_with('<') && !text.starts_with("<=") && !text.starts_with("<!") {
        return Ok(());
    }
    if text.chars().all(|c| matches!(c, 'i' | 'm' | 's' | 'U' | '-')) {
        return Ok(());
    }
    let shown: String = text.chars().take(1).collect();
    Err(format!("invalid or unsupported Perl syntax: `(?{shown}`"))
}

/// A character as itself, inside of a class and outside.
fn literal(c: char, out: &mut String) {
    if c.is_ascii_punctuation() && !matches!(c, '<' | '>') {
        out.push('\\');
    }
    if c.is_ascii_control() {
        out.push_str(&format!("\\x{{{:x}}}", c as u32));
    } else {
        out.push(c);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_they_mean_in_go() {
        for (pattern, yes, no) in [
            (r"^\d+$", "09", "\u{663}"),
            (r"^\w+$", "a_1", "\u{e9}"),
            (r"^\s$", "\t", "\u{a0}"),
            (r"^\S$", "\u{a0}", " "),
            (r"^[\d_]+$", "1_", "\u{663}"),
            (r"^[^\D]+$", "12", "\u{663}"),
            (r"^[\W]$", "\u{e9}", "a"),
            (r"\bx\b", "\u{e9}x", "ax"),
            (r"^[a-z&&x]+$", "a&x", "&&A"),
            (r"^[^[]+$", "a", "["),
            (r"^[a~~b]+$", "~", "c"),
            (r"^[--/]+$", ".", "0"),
            (r"^[]a]+$", "]a", "b"),
            (r"^[a-]+$", "-a", "b"),
            (r"^[[:alpha:]_]+$", "a_", "1"),
            (r"^\<$", "<", "a"),
            (r"^\Qa.b\E.$", "a.bc", "axbc"),
            (r"^a{,2}$", "a{,2}", "aa"),
            (r"^a{2}$", "aa", "a{2}"),
            (r"^{x}$", "{x}", "x"),
            (r"^\x41\x{42}\103$", "ABC", "abc"),
            (r"^\p{Greek}\pL\P{L}$", "\u{3b1}b1", "ab1"),
            (r"^\p{^Greek}$", "a", "\u{3b1}"),
            (r"(?i)^straSSe$", "STRASSE", "STRASE"),
            (r"^(?P<n>a)(?:b)(?<m>c)$", "abc", "ab"),
            (r"^\.\-\/$", ".-/", "a-/"),
        ] {
            let regex = compile(pattern).unwrap_or_else(|e| panic!("{pattern}: {e}"));
            assert!(regex.is_match(yes), "{pattern} should match {yes}");
            assert!(!regex.is_match(no), "{pattern} should not match {no}");
        }
    }

    #[test]
    fn what_go_refuses() {
        for (pattern, why) in [
            (r"\1", "invalid escape sequence: `\\1`"),
            (r"\C", "invalid escape sequence: `\\C`"),
            (r"\u0041", "invalid escape sequence: `\\u`"),
            ("(?x)a", "invalid or unsupported Perl syntax: `(?x`"),
            ("(?=a)", "invalid or unsupported Perl syntax: `(?=`"),
            ("[a", "missing closing ]: `[a`"),
            ("[b-a]", "invalid character class range: `b-a`"),
            ("a{1001}", "invalid repeat count: `{1001}`"),
            (r"((\pL{100}){100}){100}", "expression too large"),
            ("a\\", "trailing backslash at end of expression: ``"),
        ] {
            assert_eq!(compile(pattern).unwrap_err(), why, "{pattern}");
        }
    }
}

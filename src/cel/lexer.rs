//! Text -> tokens.

use std::sync::Arc;

use crate::errors::Issue;

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Tok {
    Ident(String),
    /// An identifier in backquotes: only a field's name.
    Quoted(String),
    Int(String),
    Uint(String),
    Double(f64),
    String(String),
    Bytes(Arc<[u8]>),
    /// An operator or a bracket.
    Punct(&'static str),
    End,
}

#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub at: u32,
    pub tok: Tok,
    /// As written, for messages.
    pub text: String,
}

const PUNCTS: [&str; 26] = [
    "==", "!=", "<=", ">=", "&&", "||", "?", ":", "<", ">", "(", ")", "[", "]", "{", "}", ".", ",", "+", "-",
    "*", "/", "%", "!", "=", "&",
];

struct Lexer {
    chars: Vec<char>,
    i: usize,
}

/// All tokens, `End` last.
///
/// # Errors
/// The first text that is no token.
pub(crate) fn tokens(source: &str) -> Result<Vec<Token>, Issue> {
    let mut lexer = Lexer {
        chars: source.chars().collect(),
        i: 0,
    };
    let mut out = Vec::new();
    loop {
        lexer.skip_space();
        let start = lexer.i;
        let tok = lexer.next()?;
        let text = if tok == Tok::End {
            "<EOF>".to_owned()
        } else {
            lexer.chars[start..lexer.i].iter().collect()
        };
        let end = tok == Tok::End;
        out.push(Token {
            at: start as u32,
            tok,
            text,
        });
        if end {
            return Ok(out);
        }
    }
}

impl Lexer {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.i + ahead).copied()
    }

    fn skip_space(&mut self) {
        loop {
            match self.peek(0) {
                Some(' ' | '\t' | '\r' | '\n' | '\u{c}') => self.i += 1,
                Some('/') if self.peek(1) == Some('/') => {
                    while self.peek(0).is_some_and(|c| c != '\n') {
                        self.i += 1;
                    }
                }
                _ => return,
            }
        }
    }

    fn unknown(&self, start: usize, end: usize) -> Issue {
        let text: String = self.chars[start..end.min(self.chars.len())].iter().collect();
        Issue {
            at: start as u32,
            message: format!(
                "Syntax error: token recognition error at: '{}'",
                text.replace('\n', "\\n")
            ),
        }
    }

    fn next(&mut self) -> Result<Tok, Issue> {
        let Some(c) = self.peek(0) else {
            return Ok(Tok::End);
        };
        if let Some((raw, bytes, prefix)) = self.string_start() {
            return self.string(raw, bytes, prefix);
        }
        if c == '_' || c.is_ascii_alphabetic() {
            let start = self.i;
            while self
                .peek(0)
                .is_some_and(|c| c == '_' || c.is_ascii_alphanumeric())
            {
                self.i += 1;
            }
            return Ok(Tok::Ident(self.chars[start..self.i].iter().collect()));
        }
        if c == '`' {
            let start = self.i;
            self.i += 1;
            while self
                .peek(0)
                .is_some_and(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '/' | ' '))
            {
                self.i += 1;
            }
            if self.peek(0) != Some('`') || self.i == start + 1 {
                return Err(self.unknown(start, self.i + 1));
            }
            self.i += 1;
            return Ok(Tok::Quoted(self.chars[start + 1..self.i - 1].iter().collect()));
        }
        if c.is_ascii_digit() || (c == '.' && self.peek(1).is_some_and(|d| d.is_ascii_digit())) {
            return self.number();
        }
        for punct in PUNCTS {
            if punct.chars().enumerate().all(|(n, p)| self.peek(n) == Some(p)) {
                if matches!(punct, "=" | "&") {
                    break;
                }
                self.i += punct.len();
                return Ok(Tok::Punct(punct));
            }
        }
        let shown = if matches!(c, '=' | '&' | '|') { 2 } else { 1 };
        Err(self.unknown(self.i, self.i + shown))
    }

    fn number(&mut self) -> Result<Tok, Issue> {
        let start = self.i;
        let text = |this: &Self| this.chars[start..this.i].iter().collect::<String>();
        if self.peek(0) == Some('0')
            && self.peek(1) == Some('x')
            && self.peek(2).is_some_and(|c| c.is_ascii_hexdigit())
        {
            self.i += 2;
            while self.peek(0).is_some_and(|c| c.is_ascii_hexdigit()) {
                self.i += 1;
            }
            let number = text(self);
            if matches!(self.peek(0), Some('u' | 'U')) {
                self.i += 1;
                return Ok(Tok::Uint(number));
            }
            return Ok(Tok::Int(number));
        }
        let digits = |this: &mut Self| {
            while this.peek(0).is_some_and(|c| c.is_ascii_digit()) {
                this.i += 1;
            }
        };
        digits(self);
        let mut double = false;
        if self.peek(0) == Some('.') && self.peek(1).is_some_and(|c| c.is_ascii_digit()) {
            double = true;
            self.i += 1;
            digits(self);
        }
        if matches!(self.peek(0), Some('e' | 'E')) {
            let sign = usize::from(matches!(self.peek(1), Some('+' | '-')));
            if self.peek(1 + sign).is_some_and(|c| c.is_ascii_digit()) {
                double = true;
                self.i += 1 + sign;
                digits(self);
            }
        }
        let number = text(self);
        if double {
            return number.parse().map(Tok::Double).map_err(|_| Issue {
                at: start as u32,
                message: "invalid double literal".into(),
            });
        }
        if matches!(self.peek(0), Some('u' | 'U')) {
            self.i += 1;
            return Ok(Tok::Uint(number));
        }
        Ok(Tok::Int(number))
    }

    /// Whether a string begins here: raw, bytes, and the length of its prefix.
    fn string_start(&self) -> Option<(bool, bool, usize)> {
        let (mut raw, mut bytes) = (false, false);
        for n in 0..3 {
            match self.peek(n)? {
                '"' | '\'' => return Some((raw, bytes, n)),
                'r' | 'R' if !raw => raw = true,
                'b' | 'B' if !bytes && !raw => bytes = true,
                _ => return None,
            }
        }
        None
    }

    fn string(&mut self, raw: bool, bytes: bool, prefix: usize) -> Result<Tok, Issue> {
        let start = self.i;
        self.i += prefix;
        let quote = self.chars[self.i];
        let triple = self.peek(1) == Some(quote) && self.peek(2) == Some(quote);
        self.i += if triple { 3 } else { 1 };
        let mut out: Vec<u8> = Vec::new();
        let push = |out: &mut Vec<u8>, c: char| out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        loop {
            let Some(c) = self.peek(0) else {
                return Err(self.unknown(start, self.chars.len()));
            };
            if c == quote && (!triple || (self.peek(1) == Some(quote) && self.peek(2) == Some(quote))) {
                self.i += if triple { 3 } else { 1 };
                break;
            }
            if !triple && (c == '\n' || c == '\r') {
                return Err(self.unknown(start, self.i));
            }
            self.i += 1;
            if c != '\\' || raw {
                push(&mut out, c);
                continue;
            }
            let escape_at = self.i - 1;
            let bad = || Issue {
                at: escape_at as u32,
                message: "Syntax error: token recognition error at: invalid escape sequence".into(),
            };
            let e = self.peek(0).ok_or_else(bad)?;
            self.i += 1;
            let code = |this: &mut Self, digits: usize, radix: u32| -> Option<u32> {
                let mut code = 0;
                for _ in 0..digits {
                    code = code * radix + this.peek(0)?.to_digit(radix)?;
                    this.i += 1;
                }
                Some(code)
            };
            let (value, byte) = match e {
                'a' => (7, true),
                'b' => (8, true),
                'f' => (12, true),
                'n' => (10, true),
                'r' => (13, true),
                't' => (9, true),
                'v' => (11, true),
                '\\' | '\'' | '"' | '`' | '?' => (e as u32, true),
                'x' | 'X' => (code(self, 2, 16).ok_or_else(bad)?, bytes),
                'u' if !bytes => (code(self, 4, 16).ok_or_else(bad)?, false),
                'U' if !bytes => (code(self, 8, 16).ok_or_else(bad)?, false),
                '0'..='3' => {
                    self.i -= 1;
                    (code(self, 3, 8).ok_or_else(bad)?, bytes)
                }
                _ => return Err(bad()),
            };
            if byte && value < 256 {
                out.push(value as u8);
            } else {
                push(&mut out, char::from_u32(value).ok_or_else(bad)?);
            }
        }
        if bytes {
            return Ok(Tok::Bytes(out.into()));
        }
        match String::from_utf8(out) {
            Ok(text) => Ok(Tok::String(text)),
            Err(_) => Err(self.unknown(start, self.i)),
        }
    }
}

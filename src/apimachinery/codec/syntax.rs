//! Why text is no JSON, in the words of Go's scanner. Only run on text that serde has refused.

/// Go nests no deeper.
const MAX_DEPTH: usize = 10_000;

/// Go's complaint, or `None` where Go has none.
pub(super) fn complaint(text: &[u8]) -> Option<String> {
    Scanner { text, at: 0 }.document().err()
}

struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
}

type Scan = Result<(), String>;

impl Scanner<'_> {
    fn peek(&self) -> Result<u8, String> {
        self.text
            .get(self.at)
            .copied()
            .ok_or_else(|| "unexpected end of JSON input".to_owned())
    }

    fn next(&mut self) -> Result<u8, String> {
        let byte = self.peek()?;
        self.at += 1;
        Ok(byte)
    }

    fn space(&mut self) {
        while matches!(self.text.get(self.at), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn invalid<T>(&self, byte: u8, place: &str) -> Result<T, String> {
        let shown = match byte {
            b'\'' => r"\'".to_owned(),
            b'"' => "\"".to_owned(),
            b'\n' => r"\n".to_owned(),
            b'\r' => r"\r".to_owned(),
            b'\t' => r"\t".to_owned(),
            b'\\' => r"\\".to_owned(),
            0..0x20 | 0x7f => format!("\\x{byte:02x}"),
            _ => char::from(byte).to_string(),
        };
        Err(format!("invalid character '{shown}' {place}"))
    }

    fn document(&mut self) -> Scan {
        // The brackets that are open; each loop reads one value or closes one bracket.
        let mut open: Vec<u8> = Vec::new();
        loop {
            self.space();
            match self.peek()? {
                bracket @ (b'{' | b'[') => {
                    self.at += 1;
                    open.push(bracket);
                    if open.len() > MAX_DEPTH {
                        return Err("exceeded max depth".to_owned());
                    }
                    self.space();
                    match (bracket, self.peek()?) {
                        (b'{', b'}') | (b'[', b']') => {
                            self.at += 1;
                            open.pop();
                        }
                        (b'{', _) => {
                            self.key()?;
                            continue;
                        }
                        _ => continue,
                    }
                }
                _ => self.scalar()?,
            }
            // A value has ended: close what ends with it.
            loop {
                self.space();
                let Some(bracket) = open.last().copied() else {
                    return match self.text.get(self.at) {
                        Some(byte) => self.invalid(*byte, "after top-level value"),
                        None => Ok(()),
                    };
                };
                match (bracket, self.next()?) {
                    (b'{', b',') => {
                        self.space();
                        self.key()?;
                        break;
                    }
                    (_, b',') => break,
                    (b'{', b'}') | (b'[', b']') => {
                        open.pop();
                    }
                    (b'{', byte) => return self.invalid(byte, "after object key:value pair"),
                    (_, byte) => return self.invalid(byte, "after array element"),
                }
            }
        }
    }

    fn key(&mut self) -> Scan {
        match self.next()? {
            b'"' => self.string()?,
            byte => return self.invalid(byte, "looking for beginning of object key string"),
        }
        self.space();
        match self.next()? {
            b':' => Ok(()),
            byte => self.invalid(byte, "after object key"),
        }
    }

    fn scalar(&mut self) -> Scan {
        match self.next()? {
            b'"' => self.string(),
            b't' => self.literal("true"),
            b'f' => self.literal("false"),
            b'n' => self.literal("null"),
            b'-' => match self.next()? {
                byte @ b'0'..=b'9' => self.number(byte),
                byte => self.invalid(byte, "in numeric literal"),
            },
            byte @ b'0'..=b'9' => self.number(byte),
            byte => self.invalid(byte, "looking for beginning of value"),
        }
    }

    fn literal(&mut self, name: &str) -> Scan {
        for wanted in name.bytes().skip(1) {
            let byte = self.next()?;
            if byte != wanted {
                return self.invalid(
                    byte,
                    &format!("in literal {name} (expecting '{}')", char::from(wanted)),
                );
            }
        }
        Ok(())
    }

    fn digits(&mut self) {
        while self.text.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
    }

    fn number(&mut self, first: u8) -> Scan {
        if first != b'0' {
            self.digits();
        }
        if self.text.get(self.at) == Some(&b'.') {
            self.at += 1;
            let byte = self.next()?;
            if !byte.is_ascii_digit() {
                return self.invalid(byte, "after decimal point in numeric literal");
            }
            self.digits();
        }
        if matches!(self.text.get(self.at), Some(b'e' | b'E')) {
            self.at += 1;
            let mut byte = self.next()?;
            if matches!(byte, b'+' | b'-') {
                byte = self.next()?;
            }
            if !byte.is_ascii_digit() {
                return self.invalid(byte, "in exponent of numeric literal");
            }
            self.digits();
        }
        Ok(())
    }

    fn string(&mut self) -> Scan {
        loop {
            match self.next()? {
                b'"' => return Ok(()),
                b'\\' => match self.next()? {
                    b'b' | b'f' | b'n' | b'r' | b't' | b'\\' | b'/' | b'"' => {}
                    b'u' => {
                        for _ in 0..4 {
                            let byte = self.next()?;
                            if !byte.is_ascii_hexdigit() {
                                return self.invalid(byte, r"in \u hexadecimal character escape");
                            }
                        }
                    }
                    byte => return self.invalid(byte, "in string escape code"),
                },
                byte @ 0..0x20 => return self.invalid(byte, "in string literal"),
                _ => {}
            }
        }
    }
}

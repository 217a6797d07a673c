//! One pass over JSON text that decides whether it is fit to travel, without building a value.
//!
//! Every transport uses this scan and nothing else, so the verdict is the same everywhere: valid
//! UTF-8, the grammar of RFC 8259, nesting within a bound, no lone surrogate, every number within
//! the range of an IEEE 754 double.

/// Why a text was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Defect {
    /// The grammar of RFC 8259 is broken at this byte.
    #[error("not valid JSON at byte {0}")]
    Grammar(usize),
    /// Bytes that are not UTF-8.
    #[error("not valid UTF-8")]
    Utf8,
    /// Arrays and objects are nested deeper than allowed.
    #[error("nested deeper than {0} levels")]
    Depth(usize),
    /// A `\u` escape names half of a surrogate pair.
    #[error("lone surrogate at byte {0}")]
    Surrogate(usize),
    /// A number that no double can hold.
    #[error("number out of range at byte {0}")]
    Number(usize),
}

/// Checks one JSON text, with blanks around it allowed. `max_depth` counts arrays and objects.
pub fn scan(text: &[u8], max_depth: usize) -> Result<(), Defect> {
    // Checked whole and first: it is vectorised, and string bytes need no second look after it.
    std::str::from_utf8(text).map_err(|_| Defect::Utf8)?;
    let mut scanner = Scanner {
        text,
        at: 0,
        max_depth,
        open: Open::default(),
    };
    scanner.document()
}

struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
    max_depth: usize,
    open: Open,
}

/// The arrays and objects that are open: a bit for each, set for an object. The innermost 64 need
/// no memory of their own, so most texts need none.
#[derive(Default)]
struct Open {
    depth: usize,
    inner: u64,
    /// What lies further out, 64 for each entry.
    outer: Vec<u64>,
}

impl Open {
    fn push(&mut self, is_object: bool) {
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.outer.push(self.inner);
        }
        self.inner = self.inner << 1 | u64::from(is_object);
        self.depth += 1;
    }

    fn pop(&mut self) {
        self.depth -= 1;
        self.inner >>= 1;
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.inner = self.outer.pop().unwrap_or_default();
        }
    }

    /// The bracket that closes the innermost.
    fn closer(&self) -> Option<u8> {
        (self.depth > 0).then_some(if self.inner & 1 == 1 { b'}' } else { b']' })
    }
}

impl Scanner<'_> {
    /// Iterative, so that hostile nesting costs a bit and not a stack frame.
    fn document(&mut self) -> Result<(), Defect> {
        loop {
            self.value_start()?;
            // A value just ended: close what ends with it, or go on to the next member.
            loop {
                self.blanks();
                let Some(closer) = self.open.closer() else {
                    return if self.at == self.text.len() {
                        Ok(())
                    } else {
                        self.grammar()
                    };
                };
                match self.next() {
                    Some(b',') if closer == b'}' => {
                        self.key()?;
                        break;
                    }
                    Some(b',') => break,
                    Some(byte) if byte == closer => {
                        self.open.pop();
                    }
                    _ => return self.grammar_before(),
                }
            }
        }
    }

    /// Reads a scalar whole, or descends to the first scalar or empty bracket of a container.
    fn value_start(&mut self) -> Result<(), Defect> {
        loop {
            self.blanks();
            match self.next() {
                Some(b'{') => {
                    self.enter(true)?;
                    self.blanks();
                    if self.peek() == Some(b'}') {
                        return Ok(());
                    }
                    self.key()?;
                }
                Some(b'[') => {
                    self.enter(false)?;
                    self.blanks();
                    if self.peek() == Some(b']') {
                        return Ok(());
                    }
                }
                Some(b'"') => return self.string(),
                Some(b't') => return self.word(b"rue"),
                Some(b'f') => return self.word(b"alse"),
                Some(b'n') => return self.word(b"ull"),
                Some(b'-' | b'0'..=b'9') => return self.number(),
                _ => return self.grammar_before(),
            }
        }
    }

    fn enter(&mut self, is_object: bool) -> Result<(), Defect> {
        if self.open.depth == self.max_depth {
            return Err(Defect::Depth(self.max_depth));
        }
        self.open.push(is_object);
        Ok(())
    }

    fn key(&mut self) -> Result<(), Defect> {
        self.blanks();
        if self.next() != Some(b'"') {
            return self.grammar_before();
        }
        self.string()?;
        self.blanks();
        if self.next() == Some(b':') {
            Ok(())
        } else {
            self.grammar_before()
        }
    }

    /// The rest of a string after its opening quote.
    fn string(&mut self) -> Result<(), Defect> {
        loop {
            let rest = self.text.get(self.at..).unwrap_or_default();
            let special = |byte: &u8| matches!(byte, b'"' | b'\\' | ..0x20);
            self.at += rest.iter().position(special).unwrap_or(rest.len());
            match self.next() {
                Some(b'"') => return Ok(()),
                Some(b'\\') => match self.next() {
                    Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {}
                    Some(b'u') => self.unicode_escape()?,
                    _ => return self.grammar_before(),
                },
                _ => return self.grammar_before(),
            }
        }
    }

    fn unicode_escape(&mut self) -> Result<(), Defect> {
        let start = self.at;
        match self.hex4()? {
            0xD800..=0xDBFF => {
                let paired = self.next() == Some(b'\\') && self.next() == Some(b'u');
                if paired && matches!(self.hex4()?, 0xDC00..=0xDFFF) {
                    Ok(())
                } else {
                    Err(Defect::Surrogate(start))
                }
            }
            0xDC00..=0xDFFF => Err(Defect::Surrogate(start)),
            _ => Ok(()),
        }
    }

    fn hex4(&mut self) -> Result<u32, Defect> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.next().and_then(|byte| char::from(byte).to_digit(16));
            code = code * 16 + digit.ok_or(Defect::Grammar(self.at.saturating_sub(1)))?;
        }
        Ok(code)
    }

    /// A number, whose first byte was read already.
    fn number(&mut self) -> Result<(), Defect> {
        let start = self.at - 1;
        let first = if self.text[start] == b'-' {
            self.next()
        } else {
            Some(self.text[start])
        };
        match first {
            Some(b'0') => {}
            Some(b'1'..=b'9') => self.digits(),
            _ => return self.grammar_before(),
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.some_digits()?;
        }
        let mut exponent = false;
        if let Some(b'e' | b'E') = self.peek() {
            exponent = true;
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.some_digits()?;
        }
        // Without an exponent, fewer than 308 digits cannot leave the range.
        if exponent || self.at - start > 300 {
            let text = std::str::from_utf8(&self.text[start..self.at]).unwrap_or_default();
            if !text.parse::<f64>().is_ok_and(f64::is_finite) {
                return Err(Defect::Number(start));
            }
        }
        Ok(())
    }

    fn some_digits(&mut self) -> Result<(), Defect> {
        let before = self.at;
        self.digits();
        if self.at > before {
            Ok(())
        } else {
            self.grammar()
        }
    }

    fn digits(&mut self) {
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
    }

    fn word(&mut self, rest: &[u8]) -> Result<(), Defect> {
        if self.text[self.at..].starts_with(rest) {
            self.at += rest.len();
            Ok(())
        } else {
            self.grammar()
        }
    }

    fn blanks(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek();
        self.at += 1;
        byte
    }

    fn grammar<T>(&self) -> Result<T, Defect> {
        Err(Defect::Grammar(self.at.min(self.text.len())))
    }

    /// For a defect in the byte that [`Scanner::next`] just took.
    fn grammar_before<T>(&self) -> Result<T, Defect> {
        Err(Defect::Grammar((self.at - 1).min(self.text.len())))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hostile_texts_are_refused_for_the_right_reason() {
        let deep = "[".repeat(200_000);
        assert_eq!(scan(deep.as_bytes(), 128), Err(Defect::Depth(128)));
        assert_eq!(scan(b"\"\xff\"", 128), Err(Defect::Utf8));
        assert_eq!(scan(br#""\ud800""#, 128), Err(Defect::Surrogate(3)));
        assert_eq!(scan(br#""\ud800\u0041""#, 128), Err(Defect::Surrogate(3)));
        assert_eq!(scan(br#""\udc00""#, 128), Err(Defect::Surrogate(3)));
        assert_eq!(scan(b"[1e999]", 128), Err(Defect::Number(1)));
        assert_eq!(
            scan("9".repeat(400).as_bytes(), 128),
            Err(Defect::Number(0))
        );
        for broken in [
            "",
            " ",
            "{",
            "[1,]",
            "{\"a\"}",
            "{\"a\":1,}",
            "01",
            "1.",
            "-",
            "+1",
            "nul",
            "\"a",
            "\"\n\"",
            "[1}",
            "1 2",
            "\"\\x\"",
            "{,}",
            "{1:2}",
            "]",
            "\u{feff}1",
            "\"\\u12\"",
        ] {
            assert!(
                matches!(scan(broken.as_bytes(), 128), Err(Defect::Grammar(_))),
                "{broken}"
            );
        }
    }

    #[test]
    fn fit_texts_pass() {
        for fit in [
            "null",
            " [ ] ",
            "{}",
            r#"{"a":[1,-2.5e3,"\ud83d\ude00",{"b":{}}]}"#,
            "1e308",
            "-0",
            "\"\u{1F600}\"",
            "[[],[[]]]",
        ] {
            assert_eq!(scan(fit.as_bytes(), 128), Ok(()), "{fit}");
        }
        let deep = "[".repeat(128) + &"]".repeat(128);
        assert_eq!(scan(deep.as_bytes(), 128), Ok(()));
        assert_eq!(scan(deep.as_bytes(), 127), Err(Defect::Depth(127)));
    }

    #[test]
    fn each_bracket_is_closed_by_its_own_kind_however_deep() {
        for depth in [1, 63, 64, 65, 128, 129, 300] {
            let opening: Vec<_> = (0..depth)
                .map(|at| if at % 3 == 0 { "{\"a\":" } else { "[" })
                .collect();
            let closing: Vec<_> = (0..depth)
                .rev()
                .map(|at| if at % 3 == 0 { "}" } else { "]" })
                .collect();
            let text = opening.concat() + "1" + &closing.concat();
            assert_eq!(scan(text.as_bytes(), depth), Ok(()), "{depth}");
            for wrong in 0..depth {
                let mut closing = closing.clone();
                closing[wrong] = if closing[wrong] == "}" { "]" } else { "}" };
                let text = opening.concat() + "1" + &closing.concat();
                let verdict = scan(text.as_bytes(), depth);
                assert!(
                    matches!(verdict, Err(Defect::Grammar(_))),
                    "{depth} {wrong}"
                );
            }
        }
    }

    proptest! {
        /// serde_json is the reference: whatever it reads as a value passes here, and the reverse.
        #[test]
        fn the_verdict_is_that_of_a_full_parser(text in r#"[\[\]{}",:0-9eE+\-. \\untrfals]{0,24}"#) {
            let reference = serde_json::from_str::<serde_json::Value>(&text).is_ok();
            prop_assert_eq!(scan(text.as_bytes(), 128).is_ok(), reference, "{}", text);
        }
    }
}

//! Finds the functions and variables that a script declares at its top level, which is what a
//! module offers that exports nothing.
//!
//! It reads tokens, not grammar. A name too many does no harm, because the code that uses the
//! names asks whether they exist.

/// The names in the order in which they are declared.
pub fn top_level(source: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let (mut depth, mut wants_name) = (0_usize, false);
    let tokens = Tokens {
        rest: source,
        value_before: false,
    };
    for token in tokens {
        match token {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => depth = depth.saturating_sub(1),
            "var" | "let" | "const" | "function" | "class" if depth == 0 => wants_name = true,
            "*" if wants_name => {}
            word if wants_name => {
                if is_name(word) && !names.contains(&word) {
                    names.push(word);
                }
                wants_name = false;
            }
            // `var a = 1, b = 2`; after a comma elsewhere the name is one too many at most.
            "," if depth == 0 => wants_name = true,
            _ => {}
        }
    }
    names
}

fn is_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_alphabetic() || c == '_' || c == '$')
        && !matches!(
            word,
            "this"
                | "null"
                | "true"
                | "false"
                | "new"
                | "typeof"
                | "function"
                | "void"
                | "delete"
                | "in"
                | "of"
                | "instanceof"
                | "super"
                | "async"
                | "await"
                | "yield"
                | "class"
        )
}

struct Tokens<'a> {
    rest: &'a str,
    /// Whether a value stood before, so that `/` divides instead of opening a pattern.
    value_before: bool,
}

impl<'a> Tokens<'a> {
    fn cut(&mut self, length: usize) -> &'a str {
        let (token, rest) = self.rest.split_at(length);
        self.rest = rest;
        token
    }

    /// Length up to and with the unescaped `end`, from after the first byte.
    fn quoted(&self, end: u8) -> usize {
        let bytes = self.rest.as_bytes();
        let (mut at, mut in_class) = (1, false);
        while at < bytes.len() {
            match bytes[at] {
                b'\\' => at += 1,
                b'[' if end == b'/' => in_class = true,
                b']' if end == b'/' => in_class = false,
                byte if byte == end && !in_class => return at + 1,
                _ => {}
            }
            at += 1;
        }
        bytes.len()
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        loop {
            self.rest = self.rest.trim_start();
            let first = self.rest.chars().next()?;
            if self.rest.starts_with("//") {
                let length = self.rest.find('\n').unwrap_or(self.rest.len());
                self.cut(length);
                continue;
            }
            if self.rest.starts_with("/*") {
                let length = self.rest.find("*/").map_or(self.rest.len(), |at| at + 2);
                self.cut(length);
                continue;
            }
            let token = match first {
                '"' | '\'' | '`' => {
                    let length = self.quoted(first as u8);
                    self.cut(length)
                }
                '/' if !self.value_before => {
                    let length = self.quoted(b'/');
                    self.cut(length)
                }
                c if c.is_alphanumeric() || c == '_' || c == '$' => {
                    let end = |c: char| !(c.is_alphanumeric() || c == '_' || c == '$');
                    let length = self.rest.find(end).unwrap_or(self.rest.len());
                    self.cut(length)
                }
                c => self.cut(c.len_utf8()),
            };
            self.value_before = match token {
                ")" | "]" | "}" => true,
                "return" | "typeof" | "case" | "in" | "of" | "delete" | "void" => false,
                word => {
                    word.starts_with(|c: char| {
                        c.is_alphanumeric() || matches!(c, '_' | '$' | '"' | '\'' | '`')
                    }) || (word.len() > 1 && word.starts_with('/'))
                }
            };
            return Some(token);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::top_level;

    #[test]
    fn only_the_top_level_counts() {
        let source = r#"
            // function commented() {}
            var a = 1, b = "function quoted() {}", c;
            function outer(x) { var inner = /[/}]function no/; function nested() {} return inner; }
            let d = a / b, e = `var f`; /* var g */
            function* generator() {}
            const h = { i: function j() {} };
        "#;
        let names = top_level(source);
        for name in ["a", "b", "c", "outer", "d", "e", "generator", "h"] {
            assert!(names.contains(&name), "{name} in {names:?}");
        }
        for name in [
            "commented",
            "quoted",
            "inner",
            "nested",
            "f",
            "g",
            "i",
            "j",
            "no",
        ] {
            assert!(!names.contains(&name), "{name} in {names:?}");
        }
    }

    #[test]
    fn half_a_script_ends_too() {
        for source in ["", "'", "/", "/*", "`\\", "var", "var (", "((((", "}}}"] {
            top_level(source);
        }
    }
}

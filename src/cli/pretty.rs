//! Indents JSON text without changing anything else: order, numbers and escapes stay as they are.

/// Indents by two. The text must be JSON.
pub fn pretty(json: &str) -> String {
    let mut out = String::with_capacity(json.len() * 2);
    let mut depth = 0;
    let mut in_string = false;
    let mut escaped = false;
    let mut characters = json.chars().peekable();
    while let Some(character) = characters.next() {
        if in_string {
            out.push(character);
            in_string = escaped || character != '"';
            escaped = !escaped && character == '\\';
            continue;
        }
        match character {
            ' ' | '\t' | '\n' | '\r' => {}
            '{' | '[' => {
                out.push(character);
                while characters
                    .next_if(|next| next.is_ascii_whitespace())
                    .is_some()
                {}
                if let Some(end) = characters.next_if(|next| matches!(next, '}' | ']')) {
                    out.push(end);
                } else {
                    depth += 1;
                    new_line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth -= 1;
                new_line(&mut out, depth);
                out.push(character);
            }
            ',' => {
                out.push(',');
                new_line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            other => {
                in_string = other == '"';
                out.push(other);
            }
        }
    }
    out
}

fn new_line(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n("  ", depth));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_indented_and_nothing_else() {
        assert_eq!(
            pretty(r#"{"z":[1.0,{ },[]] , "a":"x\"{,}\\" }"#),
            "{\n  \"z\": [\n    1.0,\n    {},\n    []\n  ],\n  \"a\": \"x\\\"{,}\\\\\"\n}"
        );
        assert_eq!(pretty(" 12345678901234567890 "), "12345678901234567890");
        assert_eq!(pretty(r#""a:b""#), r#""a:b""#);
    }
}

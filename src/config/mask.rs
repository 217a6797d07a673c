//! Hides what may be a secret in the lines of a configuration that an error shows.
//!
//! Errors end up in logs, and the line that is wrong may be the one that holds a password.

/// Keys whose values are hidden, by what their names contain. Misspelled ones too, so only the
/// beginnings of the words.
const HIDDEN: [&str; 5] = ["pass", "secret", "token", "sha256", "api"];

/// The same text, byte for byte as long, with `*` in place of what may be a secret: the values
/// of such keys, and passwords in URLs.
pub(super) fn mask(text: &str) -> String {
    let lines = text.split_inclusive('\n');
    lines.map(|line| mask_urls(&mask_value(line))).collect()
}

fn mask_value(line: &str) -> String {
    let Some((key, value)) = line.split_once('=') else {
        return line.into();
    };
    let key = key.to_ascii_lowercase();
    if !HIDDEN.iter().any(|word| key.contains(word)) {
        return line.into();
    }
    let hide = |c: char| match c {
        '"' | '\'' | '{' | '}' => c.to_string(),
        c if c.is_whitespace() => c.to_string(),
        c => "*".repeat(c.len_utf8()),
    };
    let at = line.len() - value.len();
    line[..at]
        .chars()
        .map(String::from)
        .chain(value.chars().map(hide))
        .collect()
}

/// Hides the passwords of URLs (RFC 3986 §3.2.1): what stands between `:` and `@` before the host.
pub(crate) fn mask_urls(line: &str) -> String {
    let mut masked = line.to_owned();
    for (scheme, _) in line.match_indices("//") {
        let start = scheme + 2;
        let rest = &line[start..];
        let end = rest.find(['"', '\'', ' ', '\n']).unwrap_or(rest.len());
        // The last `@`: a password may hold one, and even a `/`, although it should not.
        let (Some(colon), Some(at)) = (rest[..end].find(':'), rest[..end].rfind('@')) else {
            continue;
        };
        let port = rest[colon + 1..end].split('/').next().unwrap_or_default();
        let is_port = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        if colon < at && !is_port {
            masked = stars(&masked, start + colon + 1, start + at);
        }
    }
    masked
}

fn stars(line: &str, from: usize, to: usize) -> String {
    let hidden = "*".repeat(to.saturating_sub(from));
    format!("{}{hidden}{}", &line[..from], &line[to.max(from)..])
}

#[cfg(test)]
mod tests {
    use super::mask;

    #[test]
    fn secrets_are_hidden_and_nothing_moves() {
        for (line, shown) in [
            (r#"password = "pä" # x"#, r#"password = "***" * *"#),
            (r#"passwort="p""#, r#"passwort="*""#),
            (r#"sha256 = 'cw_x'"#, r#"sha256 = '****'"#),
            (r#"api_key = "k""#, r#"api_key = "*""#),
            (r#"password = "open"#, r#"password = "****"#),
            (r#"url = "mqtt://u:p@h:1""#, r#"url = "mqtt://u:*@h:1""#),
            (
                r#"url = "amqp://u:p@q:r@h/%2f""#,
                r#"url = "amqp://u:*****@h/%2f""#,
            ),
            (r#"url = "mqtt://u:p/q@h""#, r#"url = "mqtt://u:***@h""#),
            (
                r#"x = { url = "a://u:p@h", y = 1 }"#,
                r#"x = { url = "a://u:*@h", y = 1 }"#,
            ),
        ] {
            assert_eq!(mask(line), shown);
        }
    }

    #[test]
    fn all_else_stays_as_it_is() {
        let text = "[[token]]\nname = \"a\"\nurl = \"http://h:1/a@b\"\n# pass\n\n\"x";
        assert_eq!(mask(text), text);
    }

    proptest::proptest! {
        #[test]
        fn every_text_keeps_its_length(text in r#"[a-z:/@="'# \nä]{0,40}"#) {
            proptest::prop_assert_eq!(mask(&text).len(), text.len());
        }
    }
}

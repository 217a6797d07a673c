//! Multipart forms (RFC 7578), as far as an upload needs them: the whole body is there already.

use bytes::Bytes;

use crate::call::{Fault, Kind};

/// Parts of one form; a form with more is refused.
const MOST: usize = 16;

/// One field of a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The field's name.
    pub name: String,
    /// What the file is called, for a file.
    pub file_name: Option<String>,
    /// What its sender says it is.
    pub content_type: Option<String>,
    /// What it holds.
    pub content: Bytes,
}

/// Reads a form. `content_type` is the header field, which names the boundary.
pub fn read(content_type: &str, body: &Bytes) -> Result<Vec<Part>, Fault> {
    let boundary = boundary(content_type)
        .ok_or_else(|| broken("an upload is multipart/form-data with a boundary"))?;
    let delimiter = format!("\r\n--{boundary}");
    let first = delimiter.trim_start();
    let mut at = match body.starts_with(first.as_bytes()) {
        true => first.len(),
        false => find(body, delimiter.as_bytes(), 0).ok_or_else(cut)? + delimiter.len(),
    };
    let mut parts = Vec::new();
    loop {
        let rest = &body[at..];
        if rest.starts_with(b"--") {
            return Ok(parts);
        }
        // What may stand behind a boundary is blanks alone.
        let line = find(rest, b"\r\n", 0).ok_or_else(cut)?;
        if !rest[..line].iter().all(|byte| matches!(byte, b' ' | b'\t')) {
            return Err(cut());
        }
        if parts.len() == MOST {
            return Err(broken("the form has too many parts"));
        }
        // A part without header fields begins with the empty line at once.
        let fields = at + line;
        let begin = find(body, b"\r\n\r\n", fields).ok_or_else(cut)?;
        let end = find(body, delimiter.as_bytes(), begin + 2).ok_or_else(cut)?;
        let head = std::str::from_utf8(&body[fields..begin]).map_err(|_| cut())?;
        let content = body.slice((begin + 4).min(end)..end);
        parts.push(part(head, content)?);
        at = end + delimiter.len();
    }
}

fn boundary(content_type: &str) -> Option<String> {
    let (essence, parameters) = content_type.split_once(';')?;
    if !essence.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let found = parameter(parameters, "boundary")?;
    (1..=70).contains(&found.len()).then_some(found)
}

fn part(head: &str, content: Bytes) -> Result<Part, Fault> {
    let field = |name: &str| {
        let mut fields = head.split("\r\n").filter_map(|line| line.split_once(':'));
        let found = fields.find(|(key, _)| key.trim().eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.trim())
    };
    let disposition = field("content-disposition").unwrap_or_default();
    let name = parameter(disposition, "name").ok_or_else(|| broken("a part has no name"))?;
    Ok(Part {
        name,
        file_name: parameter(disposition, "filename"),
        content_type: field("content-type").map(str::to_owned),
        content,
    })
}

/// The value of `name=value` or `name="value"` among those that `;` separates.
fn parameter(text: &str, name: &str) -> Option<String> {
    let mut rest = text;
    while !rest.is_empty() {
        let (before, after) = match rest.find(['=', ';']) {
            Some(at) if rest.as_bytes()[at] == b'=' => (&rest[..at], &rest[at + 1..]),
            Some(at) => {
                rest = &rest[at + 1..];
                continue;
            }
            None => return None,
        };
        let (value, behind) = match after.strip_prefix('"') {
            Some(quoted) => {
                let end = quoted.find('"')?;
                (&quoted[..end], &quoted[end + 1..])
            }
            None => {
                let end = after.find(';').unwrap_or(after.len());
                (after[..end].trim(), &after[end..])
            }
        };
        if before.trim().eq_ignore_ascii_case(name) {
            return Some(value.to_owned());
        }
        rest = behind;
    }
    None
}

fn find(text: &[u8], what: &[u8], from: usize) -> Option<usize> {
    let within = text.get(from..)?;
    let mut windows = within.windows(what.len());
    windows
        .position(|window| window == what)
        .map(|at| from + at)
}

fn cut() -> Fault {
    broken("the form is cut off or malformed")
}

fn broken(why: &'static str) -> Fault {
    Fault::new(Kind::ParseError, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORM: &str = "multipart/form-data; charset=utf-8; boundary=\"x;y\"";

    fn form(body: &str) -> Result<Vec<Part>, Kind> {
        read(FORM, &Bytes::copy_from_slice(body.as_bytes())).map_err(|fault| fault.kind)
    }

    #[test]
    fn what_is_cut_off_is_refused_wherever() {
        let whole = "--x;y\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nb\r\n--x;y--\r\n";
        assert!(form(whole).is_ok());
        for end in 0..whole.len() - 4 {
            assert_eq!(
                form(&whole[..end]),
                Err(Kind::ParseError),
                "{:?}",
                &whole[..end]
            );
        }
        let many = "--x;y\r\nContent-Disposition: form-data; name=a\r\n\r\n\r\n".repeat(MOST + 1);
        assert_eq!(form(&format!("{many}--x;y--")), Err(Kind::ParseError));
        let unnamed = "--x;y\r\n\r\nb\r\n--x;y--";
        assert_eq!(form(unnamed), Err(Kind::ParseError));
        for other in [
            "text/plain",
            "multipart/form-data",
            "multipart/form-data; boundary=",
        ] {
            assert!(read(other, &Bytes::new()).is_err(), "{other}");
        }
    }

    #[test]
    fn parts_are_what_clients_send() {
        let body = concat!(
            "preamble\r\n--x;y\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a;b.png\"\r\n",
            "Content-Type: image/png\r\n\r\n\r\n--x;\r\n\r\n--x;y  \r\n",
            "content-disposition: form-data; filename2=no; name=payload\r\n\r\n{}\r\n--x;y--\r\nepilogue",
        );
        let parts = form(body).unwrap();
        assert_eq!(parts.len(), 2);
        assert_eq!(
            (&*parts[0].name, &parts[0].content[..]),
            ("file", &b"\r\n--x;\r\n"[..])
        );
        assert_eq!(parts[0].file_name.as_deref(), Some("a;b.png"));
        assert_eq!(parts[0].content_type.as_deref(), Some("image/png"));
        assert_eq!(
            (&*parts[1].name, &parts[1].content[..]),
            ("payload", &b"{}"[..])
        );
        assert_eq!(parts[1].file_name, None);
    }
}

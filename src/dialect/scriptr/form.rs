//! Multipart forms as scripts see them: fields that are parameters, and files.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::auth::Secret;
use crate::call::Fault;
use crate::dialect::http::{Query, parts};

/// Parts of one form.
const MOST_PARTS: usize = 1000;

/// What a form holds.
#[derive(Debug, Default)]
pub struct Form {
    /// Its fields, as of an urlencoded form, credentials apart.
    pub fields: Query,
    /// Its files by the names of their fields: `request.files`.
    pub files: Map<String, Value>,
}

impl Form {
    /// Reads a whole body of this content type.
    ///
    /// Returns `invalid_request` for what is no such form.
    pub fn read(content_type: &str, body: &Bytes) -> Result<Form, Fault> {
        let mut form = Form::default();
        for part in parts(content_type, body, MOST_PARTS)? {
            let Some(file_name) = &part.file_name else {
                if !Query::is_credential(&part.name) {
                    let value = String::from_utf8_lossy(&part.content).into_owned();
                    form.fields.push(part.name, value);
                }
                continue;
            };
            let kind = part.content_type.as_deref();
            let file = file(&part.name, file_name, kind, &part.content);
            match form.files.entry(part.name).or_insert_with(|| json!([])) {
                Value::Array(files) => files.push(file),
                other => *other = json!([file]),
            }
        }
        Ok(form)
    }
}

/// The credentials in a form. What is no form has none: it is refused once it is known who sent it.
pub fn credentials(content_type: &str, body: &Bytes) -> Vec<Secret> {
    let parts = parts(content_type, body, MOST_PARTS).unwrap_or_default();
    let fields = parts
        .iter()
        .filter(|part| part.file_name.is_none() && Query::is_credential(&part.name));
    fields
        .filter(|part| !part.content.is_empty())
        .map(|part| Secret::new(String::from_utf8_lossy(&part.content).into_owned()))
        .collect()
}

/// A file as scripts see it. What is no text has one character for each byte, as `btoa` takes it.
pub fn file(field: &str, name: &str, content_type: Option<&str>, content: &Bytes) -> Value {
    let text = match std::str::from_utf8(content) {
        Ok(text) => text.to_owned(),
        Err(_) => content.iter().copied().map(char::from).collect(),
    };
    json!({
        "paramName": field,
        "fileName": name,
        "size": content.len(),
        "contentType": content_type.unwrap_or("application/octet-stream"),
        "content": text,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TYPE: &str = "multipart/form-data; boundary=b";

    #[test]
    fn fields_and_files_are_told_apart() {
        let body = Bytes::from_static(
            b"--b\r\nContent-Disposition: form-data; name=\"token\"\r\n\r\nsecret\r\n\
              --b\r\nContent-Disposition: form-data; name=\"auth_token\"\r\n\r\n\r\n\
              --b\r\nContent-Disposition: form-data; name=\"t\"\r\n\r\n22\r\n\
              --b\r\nContent-Disposition: form-data; name=\"doc\"; filename=\"a.txt\"\r\n\
              Content-Type: text/plain\r\n\r\nhello\r\n\
              --b\r\nContent-Disposition: form-data; name=\"doc\"; filename=\"b.bin\"\r\n\r\n\
              \xff\x00\r\n--b--\r\n",
        );
        let form = Form::read(TYPE, &body).unwrap();
        assert_eq!(form.fields.get("t"), Some("22"));
        assert_eq!(form.fields.get("token"), None);
        let shown = credentials(TYPE, &body);
        assert!(
            shown == [Secret::new("secret")],
            "an empty field shows none"
        );
        assert_eq!(
            Value::Object(form.files),
            json!({"doc": [
                {"paramName": "doc", "fileName": "a.txt", "size": 5,
                 "contentType": "text/plain", "content": "hello"},
                {"paramName": "doc", "fileName": "b.bin", "size": 2,
                 "contentType": "application/octet-stream", "content": "\u{ff}\u{0}"},
            ]})
        );
    }
}

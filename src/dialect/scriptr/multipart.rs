//! Multipart forms (RFC 7578): fields that are parameters, and files.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::{FutureExt as _, stream};
use multer::Multipart;
use serde_json::{Map, Value, json};

use crate::auth::Secret;
use crate::call::{Fault, Kind};
use crate::dialect::http::Query;

/// Parts of one form.
const MOST_PARTS: usize = 1000;

/// What a form holds.
#[derive(Debug, Default)]
pub struct Form {
    /// Its fields, as of an urlencoded form, credentials apart.
    pub fields: Query,
    /// The credentials among them.
    pub credentials: Vec<Secret>,
    /// Its files by the names of their fields, as scripts see them: `request.files`.
    pub files: Map<String, Value>,
}

impl Form {
    /// Reads a whole body of this content type.
    ///
    /// Returns `invalid_request` for what is no such form.
    pub fn read(content_type: &str, body: &Bytes) -> Result<Form, Fault> {
        let refused = |error: multer::Error| {
            Fault::new(
                Kind::InvalidRequest,
                format!("not a multipart form: {error}"),
            )
        };
        let boundary = multer::parse_boundary(content_type).map_err(refused)?;
        let whole = stream::iter([Ok::<_, Infallible>(body.clone())]);
        let reading = read(Multipart::new(whole, boundary));
        // The body is all there, so nothing waits.
        let form = reading
            .now_or_never()
            .unwrap_or(Err(multer::Error::IncompleteStream));
        form.map_err(refused)
    }
}

async fn read(mut parts: Multipart<'_>) -> multer::Result<Form> {
    let mut form = Form::default();
    let mut count = 0;
    while let Some(part) = parts.next_field().await? {
        count += 1;
        if count > MOST_PARTS {
            return Err(multer::Error::StreamSizeExceeded {
                limit: MOST_PARTS as u64,
            });
        }
        let name = part.name().unwrap_or_default().to_owned();
        let Some(file_name) = part.file_name().map(str::to_owned) else {
            let value = String::from_utf8_lossy(&part.bytes().await?).into_owned();
            match Query::is_credential(&name) {
                true => form.credentials.push(Secret::new(value)),
                false => form.fields.push(name, value),
            }
            continue;
        };
        let content_type = part.content_type().map(ToString::to_string);
        let content = part.bytes().await?;
        let file = file(&name, &file_name, content_type.as_deref(), &content);
        match form.files.entry(name).or_insert_with(|| json!([])) {
            Value::Array(files) => files.push(file),
            other => *other = json!([file]),
        }
    }
    Ok(form)
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

    fn read(body: &'static [u8]) -> Result<Form, Fault> {
        Form::read(TYPE, &Bytes::from_static(body))
    }

    #[test]
    fn what_is_no_form_is_refused() {
        for body in [
            &b""[..],
            b"--b",
            b"hello",
            b"--b\r\ncontent-disposition: form-data; name=\"a\"\r\n\r\nno end",
        ] {
            let fault = read(body).unwrap_err();
            assert_eq!(fault.kind, Kind::InvalidRequest, "{body:?}");
        }
        let fault = Form::read("multipart/form-data", &Bytes::new()).unwrap_err();
        assert_eq!(fault.kind, Kind::InvalidRequest, "no boundary");
    }

    #[test]
    fn fields_and_files_are_told_apart() {
        let form = read(
            b"--b\r\nContent-Disposition: form-data; name=\"token\"\r\n\r\nsecret\r\n\
              --b\r\nContent-Disposition: form-data; name=\"t\"\r\n\r\n22\r\n\
              --b\r\nContent-Disposition: form-data; name=\"doc\"; filename=\"a.txt\"\r\n\
              Content-Type: text/plain\r\n\r\nhello\r\n\
              --b\r\nContent-Disposition: form-data; name=\"doc\"; filename=\"b.bin\"\r\n\r\n\
              \xff\x00\r\n--b--\r\n",
        )
        .unwrap();
        assert_eq!(form.fields.get("t"), Some("22"));
        assert_eq!(form.fields.get("token"), None);
        assert_eq!(form.credentials.len(), 1);
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

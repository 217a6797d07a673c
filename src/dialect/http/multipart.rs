//! Multipart forms (RFC 7578) whose body is there already.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::{FutureExt as _, stream};
use multer::Multipart;

use crate::call::{Fault, Kind};

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

/// Reads a form of at most so many parts. `content_type` is the header field, which names the
/// boundary.
///
/// Returns `invalid_request` for what is no such form.
pub fn parts(content_type: &str, body: &Bytes, most: usize) -> Result<Vec<Part>, Fault> {
    let refused = |why: &dyn std::fmt::Display| {
        Fault::new(Kind::InvalidRequest, format!("not a multipart form: {why}"))
    };
    let boundary = multer::parse_boundary(content_type).map_err(|error| refused(&error))?;
    let whole = stream::iter([Ok::<_, Infallible>(body.clone())]);
    let reading = read(Multipart::new(whole, boundary), most);
    // The body is all there, so nothing waits.
    let parts = reading
        .now_or_never()
        .unwrap_or(Err(multer::Error::IncompleteStream));
    let parts = parts.map_err(|error| refused(&error))?;
    parts.ok_or_else(|| refused(&format!("it has more than {most} parts")))
}

/// `None` if there are more.
async fn read(mut form: Multipart<'_>, most: usize) -> multer::Result<Option<Vec<Part>>> {
    let mut parts = Vec::new();
    while let Some(part) = form.next_field().await? {
        if parts.len() == most {
            return Ok(None);
        }
        parts.push(Part {
            name: part.name().unwrap_or_default().to_owned(),
            file_name: part.file_name().map(str::to_owned),
            content_type: part.content_type().map(ToString::to_string),
            content: part.bytes().await?,
        });
    }
    Ok(Some(parts))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: usize = 4;
    const FORM: &str = "multipart/form-data; charset=utf-8; boundary=\"x;y\"";

    fn form(body: &str) -> Result<Vec<Part>, Kind> {
        let body = Bytes::copy_from_slice(body.as_bytes());
        parts(FORM, &body, MOST).map_err(|fault| fault.kind)
    }

    #[test]
    fn what_is_cut_off_is_refused_wherever() {
        let part = "--x;y\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nb\r\n";
        let whole = format!("{part}--x;y--\r\n");
        assert!(form(&whole).is_ok());
        for end in 0..whole.len() - 4 {
            let cut = &whole[..end];
            assert_eq!(form(cut), Err(Kind::InvalidRequest), "{cut:?}");
        }
        assert!(form(&format!("{}--x;y--", part.repeat(MOST))).is_ok());
        let many = format!("{}--x;y--", part.repeat(MOST + 1));
        assert_eq!(form(&many), Err(Kind::InvalidRequest));
        for other in [
            "",
            "text/plain",
            "multipart/form-data",
            "multipart/form-data; boundary=",
        ] {
            assert!(parts(other, &Bytes::new(), MOST).is_err(), "{other}");
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
            parts[0],
            Part {
                name: "file".into(),
                file_name: Some("a;b.png".into()),
                content_type: Some("image/png".into()),
                content: Bytes::from_static(b"\r\n--x;\r\n"),
            }
        );
        assert_eq!(
            (&*parts[1].name, &parts[1].content[..]),
            ("payload", &b"{}"[..])
        );
        assert_eq!(parts[1].file_name, None);
    }
}

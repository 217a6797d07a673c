//! A header and a body in one piece of bytes: the form in which messages are kept on disk.

use bytes::{BufMut as _, Bytes, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The length of the header stands first, as four bytes, the highest first.
const LENGTH: usize = 4;

/// Puts a header, as JSON, before a body. `None` for what JSON cannot hold, which nothing here is.
pub fn pack(header: &impl Serialize, body: &[u8]) -> Option<Bytes> {
    let header = serde_json::to_vec(header).ok()?;
    let mut parcel = BytesMut::with_capacity(LENGTH + header.len() + body.len());
    parcel.put_u32(u32::try_from(header.len()).ok()?);
    parcel.put_slice(&header);
    parcel.put_slice(body);
    Some(parcel.freeze())
}

/// Takes header and body apart again; the body without a copy. `None` if it is no such parcel.
pub fn unpack<H: DeserializeOwned>(parcel: &Bytes) -> Option<(H, Bytes)> {
    let (length, rest) = parcel.split_first_chunk::<LENGTH>()?;
    let length = u32::from_be_bytes(*length) as usize;
    let header = serde_json::from_slice(rest.get(..length)?).ok()?;
    Some((header, parcel.slice(LENGTH + length..)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out() {
        let parcel = pack(&["a", "b"], b"body").unwrap();
        let (header, body): (Vec<String>, Bytes) = unpack(&parcel).unwrap();
        assert_eq!((header.len(), &body[..]), (2, &b"body"[..]));
    }

    #[test]
    fn what_is_no_parcel_is_none() {
        for bytes in [&b""[..], b"abc", b"\xff\xff\xff\xff", b"\0\0\0\x02[]x"] {
            let bytes = Bytes::copy_from_slice(bytes);
            assert!(unpack::<String>(&bytes).is_none());
        }
    }
}

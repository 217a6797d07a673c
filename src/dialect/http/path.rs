//! From the path of a URL to the name of a method.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::call::{Fault, Kind};

/// The method that a path names: each segment percent-decoded, `+` literal.
///
/// A name has no way to hold a slash inside a segment, so `%2F` is refused: a name that holds the
/// three characters `%2F` is written `%252F`. So are a `%` without two digits after it and bytes
/// that are not UTF-8. Everything else is left to the check of names, which every transport has.
pub fn method_name(path: &str) -> Result<String, Fault> {
    let mut name = String::with_capacity(path.len());
    for (index, segment) in path.split('/').enumerate() {
        if index > 0 {
            name.push('/');
        }
        let decoded = decode(segment)?;
        if decoded.contains('/') {
            return Err(invalid(
                "%2F cannot stand in a method name; %252F stands for the characters %2F",
            ));
        }
        name.push_str(&decoded);
    }
    Ok(name)
}

fn decode(segment: &str) -> Result<Cow<'_, str>, Fault> {
    let mut rest = segment.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next(), rest.next()];
            if !digits
                .iter()
                .all(|digit| digit.is_some_and(|digit| digit.is_ascii_hexdigit()))
            {
                return Err(invalid("a % in the path without two hexadecimal digits"));
            }
        }
    }
    percent_decode_str(segment)
        .decode_utf8()
        .map_err(|_| invalid("the path is not UTF-8"))
}

fn invalid(why: &'static str) -> Fault {
    Fault::new(Kind::InvalidRequest, why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::check_name;

    /// What the dispatcher would see, or why it refuses.
    fn named(path: &str) -> Result<String, Kind> {
        let name = method_name(path).map_err(|fault| fault.kind)?;
        check_name(&name).map_err(|fault| fault.kind)?;
        Ok(name)
    }

    #[test]
    fn hostile_paths_are_refused() {
        for path in [
            "",
            "/",
            "a//b",
            "a/",
            "a/../b",
            "a/%2e%2e/b",
            "a/%2E/b",
            "a%2Fb",
            "a%2fb",
            "a%",
            "a%4",
            "a%zz",
            "a%ff",
            "a%00",
            "a%0d%0aX: y",
            "a+b",
            "a%2Bb",
            "a/%23",
            "%7Bx%7D",
            "callway.whoami",
            "rpc%2Ex",
        ] {
            assert_eq!(named(path), Err(Kind::InvalidRequest), "{path}");
        }
        assert_eq!(named(&"a".repeat(1025)), Err(Kind::InvalidRequest));
    }

    #[test]
    fn the_rest_is_decoded_once() {
        assert_eq!(named("pumps/7/start").as_deref(), Ok("pumps/7/start"));
        assert_eq!(named("caf%C3%A9/a%20b").as_deref(), Ok("café/a b"));
        assert_eq!(named("a/b%252Fc").as_deref(), Ok("a/b%2Fc"));
    }
}

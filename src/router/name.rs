//! Names of methods and channels: `segment(/segment)*`.

use crate::call::{Fault, Kind};

/// The longest name, in bytes.
pub const MAX_NAME: usize = 1024;
/// The longest segment, in bytes.
pub const MAX_SEGMENT: usize = 255;

/// Checks that a text is a method's name that callers may use, and says what is wrong if not.
///
/// Names that begin `callway.` or `rpc.` are reserved for what is built in.
pub fn check(name: &str) -> Result<(), Fault> {
    check_name_of("method", name)
}

/// Checks that a text is a channel's name, which is made like a method's.
pub fn check_channel(name: &str) -> Result<(), Fault> {
    check_name_of("channel", name)
}

fn check_name_of(what: &str, name: &str) -> Result<(), Fault> {
    let refuse = |why: String| Err(Fault::new(Kind::InvalidRequest, why));
    if name.is_empty() || name.len() > MAX_NAME {
        return refuse(format!(
            "a {what} name has 1 to {MAX_NAME} bytes, not {}",
            name.len()
        ));
    }
    if is_reserved(name) {
        return refuse("names that begin callway. or rpc. are reserved".into());
    }
    for segment in name.split('/') {
        if let Err(why) = check_segment(segment) {
            return refuse(format!("{what} name: {why}"));
        }
    }
    Ok(())
}

/// Whether a name belongs to what is built in.
pub fn is_reserved(name: &str) -> bool {
    name.starts_with("callway.") || name.starts_with("rpc.")
}

/// Checks one segment of a name.
pub fn check_segment(segment: &str) -> Result<(), String> {
    if segment.is_empty() {
        return Err(
            "a segment is empty; write it as a/b, without leading or double slashes".into(),
        );
    }
    if segment.len() > MAX_SEGMENT {
        return Err(format!("a segment has at most {MAX_SEGMENT} bytes"));
    }
    if segment == "." || segment == ".." {
        return Err(format!("{segment:?} is not a segment"));
    }
    match segment
        .chars()
        .find(|c| matches!(c, '+' | '#' | '{' | '}' | '/') || c.is_control())
    {
        Some(c) => Err(format!("{c:?} may not stand in a segment")),
        None => Ok(()),
    }
}

/// A value as a segment of a name: percent-encoded (RFC 3986 §2.1) where it could not stand there
/// as it is, `%` too, so that no two values make one segment. The empty one stays empty.
pub fn as_segment(value: &str) -> String {
    let dots = matches!(value, "." | "..");
    let mut segment = String::with_capacity(value.len());
    for c in value.chars() {
        let encoded = matches!(c, '%' | '+' | '#' | '{' | '}' | '/') || c.is_control();
        if !encoded && !dots {
            segment.push(c);
            continue;
        }
        for byte in c.encode_utf8(&mut [0; 4]).bytes() {
            segment.push_str(&format!("%{byte:02X}"));
        }
    }
    segment
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_value_can_be_a_segment() {
        for (value, segment) in [
            ("blog/post-1", "blog%2Fpost-1"),
            ("..", "%2E%2E"),
            ("a.b", "a.b"),
            ("100% café", "100%25 café"),
            ("{x}#+", "%7Bx%7D%23%2B"),
            ("a\n\u{85}", "a%0A%C2%85"),
        ] {
            assert_eq!(as_segment(value), segment);
            assert!(check_segment(segment).is_ok(), "{segment}");
        }
    }
}

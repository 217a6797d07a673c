//! Rooms: a site and a page of it, and the channel that they are.

use std::num::NonZeroU64;
use std::sync::Arc;

use super::Refusal;
use crate::config::TalkeeOptions;
use crate::dialect::http::{Head, Query};
use crate::router::{Captures, Place, as_segment, check_segment};

/// What a published page of the system appends to the slug, meaning a parameter of its own.
const APPENDED: &str = "?filter=latest";

/// The channel of the room that a request names in its header fields or its query.
pub fn channel(options: &TalkeeOptions, head: &Head) -> Result<Arc<str>, Refusal> {
    let query = Query::parse(head.query.as_bytes());
    let named = |field, parameter| {
        let field = head.header(field).filter(|value| !value.is_empty());
        field.or_else(|| query.get(parameter)).unwrap_or_default()
    };
    let site = named("x-talkee-site-id", "site_id");
    let site = site
        .bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| site.parse::<NonZeroU64>().ok())
        .flatten()
        .ok_or_else(|| Refusal::new(400, "invalid site id"))?;
    let slug = named("x-talkee-site-slug", "slug");
    let slug = as_segment(slug.strip_suffix(APPENDED).unwrap_or(slug));
    if check_segment(&slug).is_err() {
        return Err(Refusal::new(400, "invalid slug"));
    }
    let captures = Captures::of([("site_id", &*site.to_string()), ("slug", &*slug)]);
    let channel = options.channel.expand(&captures, Place::Name)?;
    Ok(channel.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::Template;

    fn room(query: &str, headers: &[(&str, &str)]) -> Result<String, Refusal> {
        let options = TalkeeOptions {
            channel: Template::parse("talkee/{site_id}/{slug}").unwrap(),
            bare_lists: false,
            anonymous_read: false,
            jwt_secret: None,
            users: Vec::new(),
        };
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let head = Head {
            query: query.into(),
            headers: headers.iter().map(owned).collect(),
            ..Head::default()
        };
        channel(&options, &head).map(|channel| channel.to_string())
    }

    #[test]
    fn what_names_no_room_is_refused() {
        for site in [
            "",
            "0",
            "-1",
            "+1",
            "1.0",
            "x",
            "18446744073709551616",
            "%201",
        ] {
            let refused = room(&format!("site_id={site}&slug=a"), &[]);
            assert_eq!(refused, Err(Refusal::new(400, "invalid site id")), "{site}");
        }
        let long = "x".repeat(256);
        for slug in ["", "?filter=latest", &long] {
            let refused = room(&format!("site_id=1&slug={slug}"), &[]);
            assert_eq!(refused, Err(Refusal::new(400, "invalid slug")), "{slug}");
        }
    }

    #[test]
    fn each_room_has_one_channel() {
        let named = |query| room(query, &[]).unwrap();
        assert_eq!(named("site_id=1&slug=room-a"), "talkee/1/room-a");
        assert_eq!(named("site_id=01&slug=room-a&filter=x"), "talkee/1/room-a");
        assert_eq!(named("site_id=1&slug=blog%2Fpost"), "talkee/1/blog%2Fpost");
        assert_eq!(named("site_id=1&slug=../2"), "talkee/1/..%2F2");
        assert_eq!(named("site_id=1&slug=.."), "talkee/1/%2E%2E");
        assert_eq!(named("slug=a?filter=latest&site_id=1"), "talkee/1/a");
    }

    #[test]
    fn header_fields_win() {
        let fields = [("x-talkee-site-id", "2"), ("x-talkee-site-slug", "b")];
        assert_eq!(room("site_id=1&slug=a", &fields).unwrap(), "talkee/2/b");
        assert_eq!(room("slug=a", &fields[..1]).unwrap(), "talkee/2/a");
        let wrong = [("x-talkee-site-id", "zero")];
        assert!(room("site_id=1&slug=a", &wrong).is_err());
    }
}

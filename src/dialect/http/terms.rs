//! What a request says about how it wants to be carried out: wait, deadline, trace, hops.

use std::sync::Arc;
use std::time::Duration;

use super::message::{Answer, Head};
use crate::call::is_traceparent;

/// The terms of one request, read from its header fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// `Prefer: wait=SECONDS` (RFC 7240 §4.3).
    pub wait: Option<Duration>,
    /// `callway-deadline`: Unix milliseconds, as callway itself sends it to HTTP targets.
    pub deadline_unix_ms: Option<u64>,
    /// `traceparent` (W3C Trace Context), if it is well formed.
    pub traceparent: Option<Arc<str>>,
    /// `Idempotency-Key`.
    pub key: Option<Arc<str>>,
    /// `callway-hops`: how often the request has passed through callway. What cannot be read
    /// counts as too often, so that no loop gets around the limit.
    pub hops: u32,
}

impl Terms {
    /// The terms of this request. A wait is bounded by `longest`.
    pub fn of(head: &Head, longest: Duration) -> Terms {
        Terms {
            wait: head
                .all("prefer")
                .find_map(wait)
                .map(|wait| wait.min(longest)),
            deadline_unix_ms: head.header("callway-deadline").and_then(|t| t.parse().ok()),
            traceparent: head
                .header("traceparent")
                .filter(|text| is_traceparent(text))
                .map(Arc::from),
            key: head.header("idempotency-key").map(Arc::from),
            hops: head
                .header("callway-hops")
                .map_or(0, |text| text.parse().unwrap_or(u32::MAX)),
        }
    }

    /// Tells the client which of its wishes were granted.
    pub fn tell(&self, answer: Answer) -> Answer {
        match self.wait {
            Some(wait) => answer.with("preference-applied", format!("wait={}", wait.as_secs())),
            None => answer,
        }
    }
}

/// The `wait` among the preferences of one field.
fn wait(field: &str) -> Option<Duration> {
    field.split(',').find_map(|preference| {
        let (name, value) = preference.split(';').next()?.split_once('=')?;
        if !name.trim().eq_ignore_ascii_case("wait") {
            return None;
        }
        let seconds = value.trim().trim_matches('"').parse().ok()?;
        Some(Duration::from_secs(seconds))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(headers: &[(&str, &str)]) -> Terms {
        let head = Head {
            headers: headers
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            ..Head::default()
        };
        Terms::of(&head, Duration::from_secs(60))
    }

    #[test]
    fn wait_is_found_among_other_preferences() {
        let wait = |field| terms(&[("prefer", field)]).wait.map(|w| w.as_secs());
        assert_eq!(wait("wait=5"), Some(5));
        assert_eq!(wait("respond-async, Wait = \"7\"; x=y"), Some(7));
        assert_eq!(wait("wait=100000000"), Some(60));
        assert_eq!(wait("wait=-1"), None);
        assert_eq!(wait("wait=soon"), None);
        assert_eq!(wait("handling=lenient"), None);
        assert_eq!(
            terms(&[("prefer", "respond-async"), ("prefer", "wait=3")]).wait,
            Some(Duration::from_secs(3))
        );
    }

    #[test]
    fn what_is_malformed_is_not_handed_on() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let traceparent = |text| terms(&[("traceparent", text)]).traceparent;
        assert_eq!(traceparent(good).as_deref(), Some(good));
        assert_eq!(traceparent("00-zz-b7ad6b7169203331-01"), None);
        assert_eq!(
            traceparent("00-00000000000000000000000000000000-b7ad6b7169203331-01"),
            None
        );
    }

    #[test]
    fn hops_that_cannot_be_read_are_too_many() {
        assert_eq!(terms(&[]).hops, 0);
        assert_eq!(terms(&[("callway-hops", "3")]).hops, 3);
        assert_eq!(terms(&[("callway-hops", "-1")]).hops, u32::MAX);
    }
}

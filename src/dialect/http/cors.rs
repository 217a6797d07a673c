//! Cross-origin requests of browsers (the Fetch standard's CORS protocol).
//!
//! Every credential is explicit and there are no cookies, so `Access-Control-Allow-Credentials` is
//! never sent and `*` is safe where all origins are allowed.

use super::message::{Answer, Head};

/// What a page may send beside the fields that are always allowed.
const REQUEST_HEADERS: &str =
    "authorization, content-type, prefer, idempotency-key, traceparent, last-event-id";
/// What a page may read of an answer beside the fields that are always readable.
const RESPONSE_HEADERS: &str = "retry-after, preference-applied, www-authenticate, allow, location, callway-event-id, callway-position";
/// Seconds for which a browser may remember a preflight; they cap it at two hours or less.
const MAX_AGE: &str = "7200";

/// Whether a browser asks for permission rather than for a call.
pub fn is_preflight(head: &Head) -> bool {
    head.verb == "OPTIONS"
        && head.header("origin").is_some()
        && head.header("access-control-request-method").is_some()
}

/// The answer to a preflight. `allowed` is `None` where every origin is.
pub fn preflight(head: &Head, verbs: &str, allowed: Option<&[String]>) -> Answer {
    let answer = Answer::empty(204)
        .with("access-control-allow-methods", verbs)
        .with("access-control-allow-headers", REQUEST_HEADERS)
        .with("access-control-max-age", MAX_AGE);
    allow_origin(answer, head.header("origin"), allowed)
}

/// Lets a page of an allowed origin read the answer, unless a script has said who may.
pub fn allow_origin(answer: Answer, origin: Option<&str>, allowed: Option<&[String]>) -> Answer {
    let Some(origin) = origin else { return answer };
    if answer.header("access-control-allow-origin").is_some() {
        return answer;
    }
    let origin = match allowed {
        None => "*",
        Some(list) if list.iter().any(|allowed| allowed == origin) => origin,
        Some(_) => return answer.with("vary", "origin"),
    };
    let answer = answer
        .with("access-control-allow-origin", origin)
        .with("access-control-expose-headers", RESPONSE_HEADERS);
    if origin == "*" {
        return answer;
    }
    answer.with("vary", "origin")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(origin: &str, allowed: Option<&[String]>) -> Option<String> {
        let head = Head {
            verb: "OPTIONS".into(),
            base: "/".into(),
            headers: vec![
                ("origin".into(), origin.into()),
                ("access-control-request-method".into(), "POST".into()),
            ],
            ..Head::default()
        };
        assert!(is_preflight(&head));
        let answer = preflight(&head, "POST", allowed);
        assert_eq!(answer.status, 204);
        answer
            .header("access-control-allow-origin")
            .map(str::to_owned)
    }

    #[test]
    fn origins_are_matched_exactly() {
        let allowed = ["https://app.example.com".to_owned()];
        for origin in [
            "null",
            "https://app.example.com.evil.org",
            "https://app.example.com:8443",
            "http://app.example.com",
            "https://APP.example.com",
            "https://app.example.com.",
            "https://user@app.example.com",
        ] {
            assert_eq!(asked(origin, Some(&allowed)), None, "{origin}");
        }
        assert_eq!(
            asked("https://app.example.com", Some(&allowed)).as_deref(),
            Some("https://app.example.com")
        );
        assert_eq!(asked("https://any", None).as_deref(), Some("*"));
    }

    #[test]
    fn a_script_decides_for_itself() {
        let own = Answer::empty(200).with("access-control-allow-origin", "https://one");
        assert_eq!(allow_origin(own.clone(), Some("https://two"), None), own);
    }
}

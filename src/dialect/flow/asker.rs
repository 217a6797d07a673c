//! Who asks: the ids and the secret that a request carries, in each of the three ways in which
//! clients send them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::auth::Secret;
use crate::call::{Fault, Kind};
use crate::config::{FlowClient, FlowOptions};
use crate::dialect::http::{Head, Query};

/// What a request says about itself. Header fields and query say the same; a browser's SDK writes
/// `null` and `undefined` for what it does not have.
#[derive(Debug, Default)]
pub struct Asker {
    /// The clientId.
    pub client: Option<String>,
    /// Unique for each connection.
    pub session: Option<String>,
    /// The thread that it is about.
    pub thread: Option<String>,
    /// The thread's secret.
    pub secret: Option<Secret>,
}

impl Asker {
    /// Reads header fields and query. Two different ids are none, but for the session's, which
    /// gives no access: the documents' own example has one in the query and another in the field.
    pub fn of(head: &Head) -> Result<Asker, Fault> {
        let query = Query::parse(head.query.as_bytes());
        let both = |field: &str, parameter: &str| {
            [
                head.header(field).and_then(said),
                query.get(parameter).and_then(said),
            ]
        };
        let one = |field: &str, parameter: &str| one_of(parameter, both(field, parameter));
        let client = one("x-flowai-clientid", "clientId")?;
        // The Swift SDK sends its clientId as if it were a token.
        let bearer = head.header("authorization").and_then(|value| {
            let (scheme, id) = value.trim().split_once(' ')?;
            let is_bearer = scheme.eq_ignore_ascii_case("bearer");
            said(id.trim()).filter(|_| is_bearer)
        });
        Ok(Asker {
            client: one_of("clientId", [client.as_deref(), bearer])?,
            session: both("x-flowai-sessionid", "sessionId")
                .into_iter()
                .find_map(|session| session.map(str::to_owned)),
            thread: one("x-flowai-threadid", "threadId")?,
            secret: one("x-flowai-secret", "secret")?.map(Secret::new),
        })
    }

    /// The client, which must be one that is known.
    pub fn client<'a>(&self, options: &'a FlowOptions) -> Result<&'a FlowClient, Fault> {
        let given = self.client.as_deref().ok_or_else(|| missing("clientId"))?;
        client_of(options, given)
    }

    /// The thread's name, which must be there.
    pub fn thread(&self) -> Result<&str, Fault> {
        self.thread.as_deref().ok_or_else(|| missing("threadId"))
    }

    /// The session, which must be there.
    pub fn session(&self) -> Result<&str, Fault> {
        self.session.as_deref().ok_or_else(|| missing("sessionId"))
    }
}

/// The client that an id names: as it stands, or by the channel's id inside it.
pub fn client_of<'a>(options: &'a FlowOptions, given: &str) -> Result<&'a FlowClient, Fault> {
    let clients = &options.clients;
    let exact = clients.iter().find(|client| *client.id == *given);
    let inside = || {
        let channel = channel_id(given);
        clients.iter().find(|client| *client.id == *channel)
    };
    exact.or_else(inside).ok_or_else(|| {
        let message = "Invalid clientId: no client of this endpoint has it";
        Fault::new(Kind::InvalidRequest, message)
    })
}

/// The channel's id in a clientId, which is base64 of `x|<channel id>`, or that id itself.
pub fn channel_id(client: &str) -> String {
    let decoded = BASE64.decode(client).ok();
    let decoded = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
    let inside = decoded.as_deref().and_then(|text| text.split('|').nth(1));
    match inside {
        Some(channel) if !channel.is_empty() => channel.to_owned(),
        _ => client.to_owned(),
    }
}

/// What is really there of a header field or parameter.
fn said(value: &str) -> Option<&str> {
    (!matches!(value, "" | "null" | "undefined")).then_some(value)
}

fn one_of(name: &str, said: [Option<&str>; 2]) -> Result<Option<String>, Fault> {
    match said {
        [Some(one), Some(other)] if one != other => {
            let message = format!("the request has two different values of {name}");
            Err(Fault::new(Kind::InvalidRequest, message))
        }
        [one, other] => Ok(one.or(other).map(str::to_owned)),
    }
}

fn missing(name: &str) -> Fault {
    Fault::new(Kind::InvalidRequest, format!("{name} is missing"))
}

#[cfg(test)]
mod tests {
    use super::super::conversation::tests::options;
    use super::*;

    fn ask(query: &str, headers: &[(&str, &str)]) -> Result<Asker, Kind> {
        let headers = headers.iter();
        let head = Head {
            query: query.into(),
            headers: headers
                .map(|(name, value)| ((*name).into(), (*value).into()))
                .collect(),
            ..Head::default()
        };
        Asker::of(&head).map_err(|fault| fault.kind)
    }

    #[test]
    fn two_different_ids_are_none() {
        let header = [("x-flowai-clientid", "first")];
        let refused = Some(Kind::InvalidRequest);
        assert_eq!(ask("clientId=second", &header).err(), refused);
        let bearer = [("authorization", "Bearer second")];
        assert_eq!(ask("clientId=first", &bearer).err(), refused);
        assert!(ask("clientId=first", &header).is_ok());
        let session = [("x-flowai-sessionid", "unique")];
        let asker = ask("sessionId=1234", &session).unwrap();
        assert_eq!(asker.session().unwrap(), "unique");
    }

    #[test]
    fn what_is_null_is_not_there() {
        let asker = ask(
            "clientId=undefined&threadId=",
            &[
                ("x-flowai-clientid", "null"),
                ("x-flowai-secret", "null"),
                ("authorization", "Basic eDp5"),
            ],
        );
        let asker = asker.unwrap();
        assert!(asker.client.is_none() && asker.thread.is_none() && asker.secret.is_none());
        let refused = asker.client(&options(false)).unwrap_err();
        assert!(refused.message.contains("clientId is missing"));
    }

    #[test]
    fn all_three_ways_are_one() {
        let fields = [
            ("x-flowai-clientid", "first"),
            ("x-flowai-sessionid", "s"),
            ("x-flowai-threadid", "t|first"),
            ("x-flowai-secret", "secret"),
        ];
        let asker = ask("", &fields).unwrap();
        assert_eq!(asker.thread().unwrap(), "t|first");
        assert!(!format!("{asker:?}").contains("\"secret\""));
        for (query, headers) in [
            ("clientId=first&sessionId=1", &[][..]),
            ("sessionId=1", &[("authorization", "Bearer first")][..]),
        ] {
            let asker = ask(query, headers).unwrap();
            assert_eq!(
                (asker.client.as_deref(), asker.session().unwrap()),
                (Some("first"), "1")
            );
        }
    }

    #[test]
    fn a_client_is_found_by_the_channel_in_its_id() {
        let options = options(false);
        let found = |id: &str| client_of(&options, id).map(|client| client.id.to_string());
        assert_eq!(found("first").unwrap(), "first");
        let inside = BASE64.encode("74d4|second");
        assert_eq!(found(&inside).unwrap(), "second");
        for unknown in [
            "",
            "third",
            &BASE64.encode("second"),
            &BASE64.encode("a|third"),
            "%",
        ] {
            assert_eq!(found(unknown).unwrap_err().kind, Kind::InvalidRequest);
        }
    }
}

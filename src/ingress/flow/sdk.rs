//! What the SDKs ask for over HTTP: a socket, a thread's history, whether something was missed, and
//! to take a file.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hyper::body::Incoming;
use hyper::header::HOST;
use hyper::http::uri::Authority;
use serde_json::{Value, json};

use super::{Exchange, SOCKETS};
use crate::auth::{Secret, digest};
use crate::call::{Fault, Kind};
use crate::channel::{Placed, Query};
use crate::dialect::flow::{
    Asker, Entrance, Message, Pass, Said, Thread, client_of, entry, of_event, ok, with_secret,
};
use crate::dialect::http::{Answer, Part, parts};

/// Events that are looked through for what a user has not seen.
const RECENT: usize = 20;
/// Parts of an upload; a form with more is refused.
const MOST_PARTS: usize = 16;

impl Exchange<'_> {
    /// A URL for one socket, for those who know their client's id; where threads have secrets, and
    /// one is named, for those who know its secret.
    pub(super) async fn socket_info(&self) -> Result<Answer, Fault> {
        let asker = Asker::of(&self.head)?;
        let client = asker.client(self.options)?;
        asker.session()?;
        let clerk = self.clerk(client)?;
        let (mut entrance, mut minted) = (None, None);
        if let Some(id) = &asker.thread {
            let thread = Thread::named(self.options, id)?;
            minted = clerk.enter(&thread, asker.secret.as_ref()).await?;
            let shown = minted.as_ref().or(asker.secret.as_ref());
            let proof = shown.filter(|_| self.options.nonce);
            entrance = Some(Entrance {
                thread,
                proof: proof.map(|secret| digest(secret.expose())),
            });
        }
        let pass = Pass {
            options: self.options.clone(),
            client: client.clone(),
            entrance,
        };
        let (ticket, pushed_out) = self.context.passes.issue(pass)?;
        if pushed_out {
            self.context.metrics.limit_reached("flow_endpoints");
        }
        let payload = json!({ "endpoint": self.socket_url(&ticket)? });
        Ok(with_secret(&payload, minted.as_ref()))
    }

    /// Where a client that came here reaches the socket: the public URL if there is one, else the
    /// host that it named itself.
    fn socket_url(&self, ticket: &Secret) -> Result<String, Fault> {
        let path = self.endpoint.path.trim_end_matches('/');
        let door = &self.visit.door;
        let base = match &door.config.public_url {
            Some(url) => {
                let scheme = match url.scheme() {
                    "https" | "wss" => "wss",
                    _ => "ws",
                };
                let before = url.path().trim_end_matches('/');
                let authority = url.authority();
                format!("{scheme}://{authority}{before}")
            }
            None => {
                let scheme = if door.tls.is_some() { "wss" } else { "ws" };
                let host = self
                    .parts
                    .headers
                    .get(HOST)
                    .and_then(|host| host.to_str().ok());
                let host = host.and_then(|host| host.parse::<Authority>().ok());
                let host = host.filter(|host| !host.as_str().contains('@'));
                let host = host.ok_or_else(|| {
                    let message = "the Host header field names no host";
                    Fault::new(Kind::InvalidRequest, message)
                })?;
                format!("{scheme}://{host}")
            }
        };
        Ok(format!("{base}{path}/{SOCKETS}{}", ticket.expose()))
    }

    /// What was said in a thread, the oldest first.
    pub(super) async fn history(&self) -> Result<Answer, Fault> {
        let (thread, events, _noticed) = self.past(None).await?;
        let entries = events
            .iter()
            .filter_map(|placed| entry(&thread, &placed.event));
        Ok(ok(&entries.collect::<Vec<Value>>().into()))
    }

    /// Whether something came that the user has not seen.
    pub(super) async fn unnoticed(&self) -> Result<Answer, Fault> {
        let (thread, events, noticed) = self.past(Some(RECENT)).await?;
        let unnoticed = events.iter().any(|placed| {
            let received = matches!(
                of_event(&thread, &placed.event.payload),
                Some(Said::Received(_))
            );
            received && placed.event.time > noticed
        });
        Ok(ok(&json!({ "unnoticed": unnoticed })))
    }

    /// The latest events of the thread that a request names, and when its user last looked.
    async fn past(&self, count: Option<usize>) -> Result<(Thread, Vec<Placed>, u64), Fault> {
        let asker = Asker::of(&self.head)?;
        let clerk = self.clerk(asker.client(self.options)?)?;
        let thread = Thread::named(self.options, asker.thread()?)?;
        let Some(known) = clerk.look(&thread, asker.secret.as_ref()).await? else {
            return Ok((thread, Vec::new(), 0));
        };
        let query = Query {
            channel: thread.channel.clone(),
            count,
            since: None,
        };
        let past = self.context.hub.history(clerk.caller(), query).await?;
        Ok((thread, past.events, known.noticed))
    }

    /// Takes a message with a file. The file goes to the method and is not kept.
    pub(super) async fn upload(&self, body: Incoming) -> Result<Answer, Fault> {
        let body = self.body(body).await?;
        let kind = self.head.header("content-type").unwrap_or_default();
        let parts = parts(kind, &body, MOST_PARTS)?;
        let part = |name: &str| {
            let found = parts.iter().find(|part| part.name == name);
            found.ok_or_else(|| invalid(&format!("the form has no part {name:?}")))
        };
        let (file, payload) = (part("file")?, part("payload")?);
        let mut payload: Value = serde_json::from_slice(&payload.content)
            .map_err(|_| invalid("the part \"payload\" is not JSON"))?;
        let given = payload["clientId"].as_str();
        let client = client_of(
            self.options,
            given.ok_or_else(|| invalid("clientId is missing"))?,
        )?;
        let clerk = self.clerk(client)?;
        if let Some(body) = payload.as_object_mut() {
            body.insert("attachment".into(), attachment(file));
        }
        let message = Message::read(self.options, Some(payload)).map_err(|why| invalid(&why))?;
        let size = message.params(&client.id).len();
        if size > self.context.config.limits.params {
            self.context.metrics.limit_reached("params");
            let message = format!("a call with this file has {size} bytes; see limits.params");
            return Err(Fault::new(Kind::TooLarge, message));
        }
        let asker = Asker::of(&self.head)?;
        let shown = asker.secret.as_ref().or(message.nonce.as_ref());
        let minted = clerk.enter(&message.thread, shown).await?;
        clerk.take(&message).await?;
        let message = Arc::new(message);
        drop(clerk.converse(&message, false)); // it goes on
        Ok(with_secret(&message.echo(), minted.as_ref()))
    }
}

fn attachment(file: &Part) -> Value {
    json!({ "type": "file", "payload": {
        "name": file.file_name, "contentType": file.content_type, "size": file.content.len(),
        "content": BASE64.encode(&file.content),
    }})
}

fn invalid(why: &str) -> Fault {
    Fault::new(Kind::InvalidRequest, why.to_owned())
}

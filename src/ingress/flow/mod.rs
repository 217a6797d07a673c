//! Flow.ai's HTTP forms and the opening of its sockets: `/socket.info`, `/thread.*`, `/rest/v1/…`
//! and `/ws/<ticket>` below one endpoint.

mod clerk;
mod rest;
mod sdk;

use std::sync::Arc;

use hyper::Request;
use hyper::body::{Bytes, Incoming};
use hyper::http::request::Parts;

use self::clerk::Clerk;
use super::connection::{Visit, turn_away};
use super::http::{self, Response};
use super::upgrade::Opening;
use crate::auth::{Caller, Secret, Source};
use crate::call::{Fault, Kind, Via};
use crate::config::{Endpoint, FlowClient, FlowOptions};
use crate::context::Context;
use crate::dialect::flow::{Conversation, Pass, refuse};
use crate::dialect::http::{Answer, Head, allow_origin, is_preflight, preflight};

/// Fields that pages send beside those that every endpoint lets them send.
const REQUEST_HEADERS: &str =
    "x-flowai-clientid, x-flowai-sessionid, x-flowai-threadid, x-flowai-secret, x-flowai-ott";
/// Where sockets are, below the endpoint.
const SOCKETS: &str = "ws/";
/// Where the REST API is.
const REST: &str = "rest/v1/";

/// One request, and where it came to.
struct Exchange<'a> {
    visit: &'a Visit,
    context: &'a Context,
    endpoint: &'a Endpoint,
    options: &'a Arc<FlowOptions>,
    head: Head,
    parts: &'a Parts,
}

/// Answers a request that stays one. `rest` is the path below the endpoint.
pub(super) async fn serve(
    request: Request<Incoming>,
    visit: &Visit,
    endpoint: &Endpoint,
    options: &Arc<FlowOptions>,
    rest: &str,
) -> Response {
    if visit.beyond {
        return turn_away(visit, refuse);
    }
    if let Err(fault) = visit.door.check_origin(request.headers()) {
        return http::write(refuse(&fault));
    }
    let (parts, body) = request.into_parts();
    let path = rest.trim_start_matches('/');
    let head = http::head_of(&parts, path);
    let origins = visit.door.config.allowed_origins.as_deref();
    if is_preflight(&head) {
        // The field is a list, so that a second one adds to it.
        let answer = preflight(&head, "GET, POST, OPTIONS", origins);
        return http::write(answer.with("access-control-allow-headers", REQUEST_HEADERS));
    }
    let origin = head.header("origin").map(str::to_owned);
    let exchange = Exchange {
        visit,
        context: &visit.context,
        endpoint,
        options,
        head,
        parts: &parts,
    };
    let answer = match exchange.answer(path, body).await {
        Ok(answer) => answer,
        Err(fault) => exchange.refuse(&fault),
    };
    http::write(allow_origin(answer, origin.as_deref(), origins))
}

/// What a socket is opened with, for whoever shows a ticket.
pub(super) fn open(visit: &Visit, rest: &str) -> Result<Opening, Fault> {
    let ticket = rest.trim_start_matches('/').strip_prefix(SOCKETS);
    let ticket = ticket.ok_or_else(|| {
        let message = "a socket is opened at the endpoint that socket.info gives";
        Fault::new(Kind::MethodNotFound, message)
    })?;
    let pass = visit
        .context
        .passes
        .take(&Secret::new(ticket))
        .ok_or_else(|| {
            let message =
                "this endpoint was used already or has expired; ask socket.info for another";
            Fault::new(Kind::Unauthenticated, message)
        })?;
    let Pass {
        options,
        client,
        entrance,
    } = pass;
    let caller = caller_of(&visit.context, &client)?;
    let clerk = Clerk::new(
        &visit.context,
        &options,
        &client.id,
        caller.clone(),
        Via::Ws,
    );
    let session = Conversation::new(options, clerk, entrance);
    Ok(Opening::Session(caller, Box::new(session)))
}

impl Exchange<'_> {
    async fn answer(&self, path: &str, body: Incoming) -> Result<Answer, Fault> {
        if let Some(path) = path.strip_prefix(REST) {
            return self.rest(path, body).await;
        }
        match path.strip_suffix('/').unwrap_or(path) {
            "socket.info" => {
                self.only("GET")?;
                self.socket_info().await
            }
            "thread.history" => {
                self.only("GET")?;
                self.history().await
            }
            "thread.unnoticed" => {
                self.only("GET")?;
                self.unnoticed().await
            }
            "thread.upload" => {
                self.only("POST")?;
                self.upload(body).await
            }
            "thread.merger" => Err(Fault::new(
                Kind::InvalidRequest,
                "callway does not merge threads; a thread is one channel",
            )
            .with_http_status(501)),
            _ => Err(Fault::new(
                Kind::MethodNotFound,
                "nothing of Flow is at this path",
            )),
        }
    }

    /// Refuses other verbs than this one.
    fn only(&self, verb: &str) -> Result<(), Fault> {
        match self.head.verb == verb {
            true => Ok(()),
            false => Err(
                Fault::new(Kind::InvalidRequest, format!("this is asked for by {verb}"))
                    .with_http_status(405),
            ),
        }
    }

    fn refuse(&self, fault: &Fault) -> Answer {
        let answer = refuse(fault);
        match fault.status() {
            405 => answer.with("allow", "GET, POST, OPTIONS"),
            _ => answer,
        }
    }

    async fn body(&self, body: Incoming) -> Result<Bytes, Fault> {
        http::read_body(self.context, self.parts, body).await
    }

    fn source(&self) -> Source {
        Source::Peer {
            address: self.visit.door.client(self.visit.peer, &self.parts.headers),
            via: Via::Http,
        }
    }

    fn clerk(&self, client: &FlowClient) -> Result<Clerk, Fault> {
        let caller = caller_of(self.context, client)?;
        Ok(Clerk::new(
            self.context,
            self.options,
            &client.id,
            caller,
            Via::Http,
        ))
    }
}

/// The token row that a client acts as.
fn caller_of(context: &Context, client: &FlowClient) -> Result<Caller, Fault> {
    context.auth.by_name(&client.token).ok_or_else(|| {
        Fault::new(
            Kind::Unauthenticated,
            "the client's token row is no longer there",
        )
    })
}

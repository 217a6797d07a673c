//! The opening handshake of a WebSocket (RFC 6455 §4.2): who may have one, decided before it is
//! opened.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http_body_util::{Either, Full};
use hyper::header::{
    CONNECTION, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper::{Method, Request, StatusCode, Version};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::action::{self, Desk};
use super::connection::Visit;
use super::credentials::{Credentials, subprotocols};
use super::flow;
use super::http::{self, Response};
use super::mqtt_listener::{Guest, SUBPROTOCOL};
use super::talkee;
use super::ws::Introduction;
use crate::auth::{Caller, Source};
use crate::call::{Fault, Kind, Via};
use crate::config::{Dialect, Endpoint};
use crate::dialect::http::{Answer, problem};
use crate::dialect::{self, CloseCode, Session, jsonrpc, scriptr};

/// The subprotocol of the dialect `jsonrpc`.
const JSONRPC_PROTOCOL: &str = "callway.jsonrpc";

/// What a WebSocket is opened with.
pub(super) enum Opening {
    /// A conversation with this caller.
    Session(Caller, Box<dyn Session>),
    /// A conversation in which each message proves an account.
    Accounts(Arc<Desk>, Box<dyn Session>),
    /// A conversation with whoever its first message proves.
    Stranger(Introduction),
    /// Nothing but being closed: some clients look only at the close code.
    Refusal(CloseCode, &'static str),
    /// MQTT, whose first packet says who calls.
    Mqtt(Box<Guest>),
}

/// What becomes of a request for a WebSocket.
pub(super) enum Verdict {
    /// It is opened; the response says so.
    Open(Response, Opening),
    /// It is refused.
    Refused(Response),
    /// No WebSocket dialect is spoken here; it is an HTTP request like others.
    NotHere,
}

/// Whether a request asks for a WebSocket.
pub(super) fn is_wanted<B>(request: &Request<B>) -> bool {
    lists(request, &UPGRADE, "websocket")
}

/// Checks the handshake, the origin and the credential.
pub(super) async fn open<B>(request: &Request<B>, visit: &Visit) -> Verdict {
    let path = request.uri().path();
    let Some((endpoint, rest)) = visit.door.endpoint(path) else {
        return Verdict::NotHere;
    };
    if matches!(endpoint.dialect, Dialect::Http) {
        return Verdict::NotHere;
    }
    match accepted(request, endpoint, rest, visit).await {
        Ok(verdict) => verdict,
        Err(fault) if matches!(endpoint.dialect, Dialect::Flow(_)) => {
            Verdict::Refused(http::write(dialect::flow::refuse(&fault)))
        }
        Err(fault) => Verdict::Refused(http::write(refusal(&fault))),
    }
}

async fn accepted<B>(
    request: &Request<B>,
    endpoint: &Endpoint,
    rest: &str,
    visit: &Visit,
) -> Result<Verdict, Fault> {
    let key = handshake_key(request)?;
    let headers = request.headers();
    visit.door.check_origin(headers)?;
    let switching = |protocol| switching_protocols(key, protocol);
    if let Dialect::Mqtt(options) = &endpoint.dialect {
        if !subprotocols(headers).any(|offered| offered == SUBPROTOCOL) {
            let why = "MQTT over WebSocket is opened with the subprotocol mqtt";
            return Err(Fault::new(Kind::InvalidRequest, why));
        }
        let guest = Guest {
            options: options.clone(),
            source: Source::Peer {
                address: visit.door.client(visit.peer, headers),
                via: Via::Mqtt,
            },
            certificate: None,
            beyond: visit.beyond,
            context: visit.context.clone(),
        };
        let opening = Opening::Mqtt(Box::new(guest));
        return Ok(Verdict::Open(switching(Some(SUBPROTOCOL)), opening));
    }
    if visit.beyond {
        visit.context.metrics.limit_reached("connections");
        let refusal = Opening::Refusal(CloseCode::TooManyConnections, "too many connections");
        return Ok(Verdict::Open(switching(None), refusal));
    }
    if matches!(endpoint.dialect, Dialect::Flow(_)) {
        return Ok(Verdict::Open(switching(None), flow::open(visit, rest)?));
    }
    if let Dialect::Talkee(options) = &endpoint.dialect {
        let opened = talkee::open(request, options, rest, visit);
        return Ok(opened.map_or(Verdict::NotHere, |opening| {
            Verdict::Open(switching(None), opening)
        }));
    }
    let auth = &visit.context.auth;
    let source = Source::Peer {
        address: visit.door.client(visit.peer, headers),
        via: Via::Ws,
    };
    if let Dialect::Action(options) = &endpoint.dialect {
        // Its credentials stand in the messages; what else a client shows is not looked at.
        let opening = action::opening(&visit.context, options, source, rest)?;
        return Ok(Verdict::Open(switching(None), opening));
    }
    let mut credentials = Credentials::of(headers, request.uri().query());
    credentials.add_path(&endpoint.path, rest, auth);
    let proved = credentials.prove(auth, &source).await;
    let limits = &visit.context.config.limits;
    match &endpoint.dialect {
        Dialect::Jsonrpc => {
            let caller = proved?
                .ok_or_else(|| Fault::new(Kind::Unauthenticated, "this endpoint needs a token"))?;
            let offered = subprotocols(headers).any(|offered| offered == JSONRPC_PROTOCOL);
            let session = jsonrpc::Conversation::new(caller.clone(), limits);
            let opening = Opening::Session(caller, Box::new(session));
            Ok(Verdict::Open(
                switching(offered.then_some(JSONRPC_PROTOCOL)),
                opening,
            ))
        }
        Dialect::Scriptr(options) => {
            let anonymous = || {
                options
                    .anonymous
                    .as_deref()
                    .and_then(|name| auth.by_name(name))
            };
            // Its clients look at the close code alone, so a refusal is an opened socket too.
            let opening = match proved.map(|caller| caller.or_else(anonymous)) {
                Ok(Some(caller)) => {
                    let session = scriptr::Conversation::new(options.clone(), limits);
                    Opening::Session(caller, Box::new(session))
                }
                Ok(None) | Err(_) => Opening::Refusal(CloseCode::InvalidToken, "invalid token"),
            };
            Ok(Verdict::Open(switching(None), opening))
        }
        Dialect::Http
        | Dialect::Action(_)
        | Dialect::Flow(_)
        | Dialect::Talkee(_)
        | Dialect::Mqtt(_) => Ok(Verdict::NotHere),
    }
}

/// The key of a proper handshake.
fn handshake_key<B>(request: &Request<B>) -> Result<&[u8], Fault> {
    let bad = |why| Err(Fault::new(Kind::InvalidRequest, why));
    if request.method() != Method::GET || request.version() < Version::HTTP_11 {
        return bad("a WebSocket is opened by GET over HTTP/1.1");
    }
    if !lists(request, &CONNECTION, "upgrade") {
        return bad("the handshake lacks `Connection: Upgrade`");
    }
    let field = |name: &HeaderName| request.headers().get(name).map(HeaderValue::as_bytes);
    if field(&SEC_WEBSOCKET_VERSION) != Some(b"13") {
        return Err(version_13_only("only WebSocket version 13 is spoken here"));
    }
    match field(&SEC_WEBSOCKET_KEY) {
        Some(key) if BASE64.decode(key).is_ok_and(|nonce| nonce.len() == 16) => Ok(key),
        _ => bad("Sec-WebSocket-Key is not the base64 of 16 bytes"),
    }
}

/// Whether a field that is a list of tokens holds this one, in any case.
fn lists<B>(request: &Request<B>, name: &HeaderName, token: &str) -> bool {
    let fields = request.headers().get_all(name).iter();
    fields
        .filter_map(|field| field.to_str().ok())
        .flat_map(|field| field.split(','))
        .any(|one| one.trim().eq_ignore_ascii_case(token))
}

fn switching_protocols(key: &[u8], protocol: Option<&'static str>) -> Response {
    let mut response = Response::new(Either::Left(Full::default()));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::try_from(derive_accept_key(key)) {
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    if let Some(protocol) = protocol {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
    }
    response
}

fn version_13_only(why: &'static str) -> Fault {
    let status = StatusCode::UPGRADE_REQUIRED.as_u16();
    Fault::new(Kind::InvalidRequest, why).with_http_status(status)
}

/// The answer to a request that is no handshake where nothing but WebSockets is served.
pub(super) fn required() -> Answer {
    refusal(&version_13_only(
        "this endpoint is a WebSocket; connect with ws:// or wss://",
    ))
}

fn refusal(fault: &Fault) -> Answer {
    let answer = problem(fault);
    if fault.status() == StatusCode::UPGRADE_REQUIRED.as_u16() {
        return answer
            .with("upgrade", "websocket")
            .with("sec-websocket-version", "13");
    }
    answer
}

//! One accepted connection from its TLS handshake to its end: HTTP requests, until one of them
//! turns it into a WebSocket.

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONNECTION, HOST, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Version};
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::action;
use super::door::Door;
use super::flow;
use super::http::{self, Exchange, Response};
use super::listener::Place;
use super::mqtt_listener;
use super::stream::Stream;
use super::talkee;
use super::upgrade::{self, Opening, Verdict};
use super::ws;
use crate::auth::Source;
use crate::call::{Fault, Kind, Via};
use crate::config::Dialect;
use crate::context::Context;
use crate::dialect::http::{Answer, HttpDialect, Plain};
use crate::dialect::scriptr::Rest;

/// Bytes of a request's head (request line and header fields); more is answered 431 or 414.
const MAX_HEAD: usize = 32 * 1024;
/// Bytes that a WebSocket reads at once. A small buffer: it is there for as long as the connection
/// is. Longer messages make it grow.
pub(super) const READ_BUFFER: usize = 4 * 1024;

/// What requests on one connection share.
pub(super) struct Visit {
    pub(super) door: Arc<Door>,
    pub(super) peer: IpAddr,
    /// One connection too many: requests are refused.
    pub(super) beyond: bool,
    pub(super) context: Context,
    /// Cancelled for a client that reads an event stream too slowly.
    pub(super) cut: CancellationToken,
    /// What the WebSocket that a request asked for is opened with.
    opening: Mutex<Option<Opening>>,
}

/// Serves a connection to its end. What it does at a time lies in a box of its own, so that one
/// that is idle keeps no room for its beginning, nor for its end.
pub(super) fn serve(
    tcp: TcpStream,
    peer: IpAddr,
    door: Arc<Door>,
    place: Place,
    context: Context,
) -> impl Future<Output = ()> + Send {
    let beginning = begin(tcp, peer, door, place.beyond, context).boxed();
    async move {
        if let Some(conversation) = beginning.await {
            conversation.await;
        }
        drop(place);
    }
}

/// Comes back with what the connection has become, if it was no more than requests.
async fn begin(
    tcp: TcpStream,
    peer: IpAddr,
    door: Arc<Door>,
    beyond: bool,
    context: Context,
) -> Option<BoxFuture<'static, ()>> {
    let visit = Arc::new(Visit {
        door,
        peer,
        beyond,
        context,
        cut: CancellationToken::new(),
        opening: Mutex::new(None),
    });
    let stop = visit.context.stop.clone();
    if let Some(options) = visit.door.config.mqtt() {
        let stream = tokio::select! {
            () = stop.cancelled() => None,
            stream = secure(tcp, &visit) => stream,
        };
        let guest = mqtt_listener::Guest {
            options,
            source: Source::Peer {
                address: peer.to_canonical(),
                via: Via::Mqtt,
            },
            certificate: None,
            beyond: visit.beyond,
            context: visit.context.clone(),
        };
        return Some(mqtt_listener::run(stream?, guest).boxed());
    }
    let cut = visit.cut.clone();
    let upgraded = tokio::select! {
        () = stop.cancelled() => None,
        () = cut.cancelled() => None,
        upgraded = handshakes(tcp, visit.clone()) => upgraded,
    };
    let (stream, read, opening) = upgraded?;
    let read = read_buffer(&read);
    let context = visit.context.clone();
    Some(match opening {
        Opening::Mqtt(guest) => mqtt_listener::run_ws(stream, read, *guest).boxed(),
        opening => ws::run(stream, read, opening, context).boxed(),
    })
}

/// The buffer that a WebSocket goes on reading into, with what came behind its handshake. A copy,
/// because that is mostly nothing, and would keep the whole buffer of the handshake.
fn read_buffer(behind: &[u8]) -> Vec<u8> {
    // Whenever messages still hold all of it, the library takes a new one of the size that the first
    // one has here: with less room every message is read in pieces from then on.
    let mut buffer = Vec::with_capacity(READ_BUFFER.max(behind.len()));
    buffer.extend_from_slice(behind);
    buffer
}

/// The stream of a connection, after its TLS handshake where there is one.
async fn secure(tcp: TcpStream, visit: &Visit) -> Option<Stream> {
    match &visit.door.tls {
        None => Some(Stream::plain(tcp)),
        Some(acceptor) => {
            let within = visit.context.config.limits.handshake;
            match timeout(within, acceptor.accept(tcp)).await {
                Ok(Ok(tls)) => Some(Stream::tls(tls)),
                Ok(Err(error)) => {
                    tracing::debug!(peer = %visit.peer, %error, "TLS handshake failed");
                    None
                }
                Err(_elapsed) => {
                    visit.context.metrics.limit_reached("handshake");
                    None
                }
            }
        }
    }
}

/// TLS and HTTP. Ends with a stream if a request asked for a WebSocket.
async fn handshakes(tcp: TcpStream, visit: Arc<Visit>) -> Option<(Stream, Bytes, Opening)> {
    let stream = secure(tcp, &visit).await?;
    match requests(stream, &visit).await {
        Ok((mut stream, read)) => {
            let opening = visit.opening.lock().take();
            if opening.is_none() {
                // The peer may be gone already, which is what is wanted.
                let _gone = stream.shutdown().await;
            }
            Some((stream, read, opening?))
        }
        Err(error) => {
            if error.is_timeout() {
                visit.context.metrics.limit_reached("handshake");
            }
            tracing::debug!(peer = %visit.peer, %error, "connection ended");
            None
        }
    }
}

/// Answers requests until the client leaves, the drain begins, or a WebSocket is opened.
async fn requests(stream: Stream, visit: &Arc<Visit>) -> hyper::Result<(Stream, Bytes)> {
    let limits = &visit.context.config.limits;
    let service = service_fn({
        let visit = visit.clone();
        move |request| answer(request, visit.clone())
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.handshake)
        .max_buf_size(2 * MAX_HEAD)
        .max_header_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    let drain = visit.context.drain.cancelled();
    tokio::select! {
        ended = poll_fn(|cx| connection.poll_without_shutdown(cx)) => ended?,
        () = drain => {
            Pin::new(&mut connection).graceful_shutdown();
            poll_fn(|cx| connection.poll_without_shutdown(cx)).await?;
        }
    }
    let parts = connection.into_parts();
    Ok((parts.io.into_inner(), parts.read_buf))
}

fn answer(
    request: Request<Incoming>,
    visit: Arc<Visit>,
) -> BoxFuture<'static, Result<Response, Infallible>> {
    async move {
        if !names_one_host(&request) {
            let fault = Fault::new(Kind::InvalidRequest, "a request has one Host header field");
            return Ok(http::refuse(&fault));
        }
        if upgrade::is_wanted(&request) {
            match upgrade::open(&request, &visit).await {
                Verdict::Open(response, opening) => {
                    *visit.opening.lock() = Some(opening);
                    return Ok(response);
                }
                Verdict::Refused(response) => return Ok(response),
                Verdict::NotHere => {}
            }
        }
        Ok(exchange(request, &visit).await)
    }
    .boxed()
}

/// RFC 9112 §3.2: a request of HTTP/1.1 without a `Host`, or any with several, is refused, for
/// whoever stands in between may have read another one.
fn names_one_host<B>(request: &Request<B>) -> bool {
    match request.headers().get_all(HOST).iter().count() {
        0 => request.version() < Version::HTTP_11,
        count => count == 1,
    }
}

/// Answers a request that stays one.
async fn exchange(request: Request<Incoming>, visit: &Visit) -> Response {
    let path = request.uri().path().to_owned();
    let Some((endpoint, rest)) = visit.door.endpoint(&path) else {
        let fault = Fault::new(
            Kind::MethodNotFound,
            "no endpoint of this listener has this path",
        );
        return http::refuse(&fault);
    };
    let (dialect, anonymous): (Box<dyn HttpDialect>, _) = match &endpoint.dialect {
        Dialect::Flow(options) => {
            return flow::serve(request, visit, endpoint, options, rest).await;
        }
        Dialect::Jsonrpc | Dialect::Mqtt(_) => return http::write(upgrade::required()),
        Dialect::Http => (Box::new(Plain), None),
        Dialect::Talkee(options) => {
            let options = options.clone();
            let rest = rest.to_owned();
            return talkee::serve(request, options, &rest, visit).await;
        }
        Dialect::Scriptr(options) => (
            Box::new(Rest::new(options.clone())),
            options.anonymous.as_deref(),
        ),
        Dialect::Action(options) => return action::exchange(request, visit, options, rest).await,
    };
    if visit.beyond {
        return turn_away(visit, |fault| dialect.refuse(fault));
    }
    if let Err(fault) = visit.door.check_origin(request.headers()) {
        return http::write(dialect.refuse(&fault));
    }
    let exchange = Exchange {
        context: &visit.context,
        dialect: &*dialect,
        path: rest.strip_prefix('/').unwrap_or(rest),
        source: Source::Peer {
            address: visit.door.client(visit.peer, request.headers()),
            via: Via::Http,
        },
        origins: visit.door.config.allowed_origins.as_deref(),
        anonymous,
        cut: &visit.cut,
    };
    exchange.serve(request).await
}

/// The answer to a request on one connection too many, which it ends.
pub(super) fn turn_away(visit: &Visit, refuse: impl FnOnce(&Fault) -> Answer) -> Response {
    visit.context.metrics.limit_reached("connections");
    let fault = Fault::new(Kind::Overloaded, "too many connections, try again soon")
        .with_retry_after(Duration::from_secs(1));
    let mut response = http::write(refuse(&fault));
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

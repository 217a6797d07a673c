//! Asks a running daemon of this machine, over its admin socket.

use std::io;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;

use super::{cause, fault};
use crate::call::{Fault, Kind};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks for a path below `/api/`; what comes back is JSON, or `null` for an empty answer.
///
/// Returns `unavailable` if no daemon is there, `forbidden` if the socket's permissions refuse.
pub async fn ask(
    socket: &Path,
    verb: &str,
    path: &str,
    body: Option<&Value>,
) -> Result<Value, Fault> {
    let asking = async {
        let stream = UnixStream::connect(socket).await;
        let stream = stream.map_err(|error| unreachable(socket, &error))?;
        exchange(stream, verb, path, body).await
    };
    match tokio::time::timeout(PATIENCE, asking).await {
        Ok(answer) => answer,
        Err(_) => Err(Fault::new(
            Kind::Timeout,
            format!("the daemon has not answered within {PATIENCE:?}"),
        )),
    }
}

async fn exchange(
    stream: UnixStream,
    verb: &str,
    path: &str,
    body: Option<&Value>,
) -> Result<Value, Fault> {
    let body = body.map(Value::to_string).unwrap_or_default();
    let request = Request::builder()
        .method(verb)
        .uri(format!("/api/{path}"))
        .header(HOST, "localhost")
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| Fault::new(Kind::Internal, error.to_string()))?;
    let broken = |error: hyper::Error| {
        let why = format!("the daemon broke off: {}", cause(&error));
        Fault::unavailable("link_lost", why)
    };
    let handshake = http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(broken)?;
    let asking = async move {
        let response = sender.send_request(request).await?;
        let status = response.status();
        Ok((status, response.into_body().collect().await?.to_bytes()))
    };
    // The connection carries the request for as long as it is polled, and ends with its sender.
    let (answer, _closed) = tokio::join!(asking, connection);
    let (status, body) = answer.map_err(broken)?;
    if !status.is_success() {
        return Err(fault::from_http(status.as_u16(), &body));
    }
    if body.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(&body)
        .map_err(|_| Fault::new(Kind::Internal, "the daemon's answer is not JSON"))
}

fn unreachable(socket: &Path, error: &io::Error) -> Fault {
    let socket = socket.display();
    match error.kind() {
        io::ErrorKind::PermissionDenied => Fault::new(
            Kind::Forbidden,
            format!("you may not use {socket}; try it as root or as the user of the daemon"),
        ),
        _ => Fault::new(
            Kind::Unavailable,
            format!(
                "no daemon answers on {socket} ({error}); is callway running? --socket and \
                 --config say which one is meant"
            ),
        ),
    }
}

//! JSON-RPC 2.0 over WebSocket, as a client.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::error::CapacityError;
use tokio_tungstenite::tungstenite::http::header::AUTHORIZATION;
use tokio_tungstenite::tungstenite::http::{HeaderValue, Response};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};
use tokio_tungstenite::{Connector, MaybeTlsStream, WebSocketStream};
use url::Url;

use super::{Request, Trust, address, fault};
use crate::auth::Secret;
use crate::call::{Fault, Kind, Payload};

/// The largest answer that is read, and the size of the read buffer.
const MAX_MESSAGE: usize = 64 * 1024 * 1024;
const READ_BUFFER: usize = 8 * 1024;

/// An open WebSocket.
pub struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

/// What a server sent.
pub enum Frame {
    /// A text message.
    Text(Utf8Bytes),
    /// A pong, or anything else that only shows that the server lives.
    Alive,
}

impl Socket {
    /// Connects and authenticates.
    pub async fn connect(
        url: &Url,
        token: Option<&Secret>,
        trust: &Trust,
    ) -> Result<Socket, Fault> {
        let not_reached = |error: &dyn std::fmt::Display| {
            Fault::new(
                Kind::Unavailable,
                format!("cannot reach {}: {error}", shown(url)),
            )
        };
        let port = url.port_or_known_default().unwrap_or_default();
        let tcp = TcpStream::connect((address::host(url), port))
            .await
            .map_err(|error| not_reached(&error))?;
        // Small frames must not wait for the acknowledgement of those before them.
        tcp.set_nodelay(true).map_err(|error| not_reached(&error))?;
        let mut request = url
            .as_str()
            .into_client_request()
            .map_err(|error| Fault::new(Kind::InvalidRequest, format!("the URL: {error}")))?;
        if let Some(token) = token {
            request.headers_mut().insert(AUTHORIZATION, bearer(token)?);
        }
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .max_message_size(Some(MAX_MESSAGE))
            .max_frame_size(Some(MAX_MESSAGE));
        let connected = tokio_tungstenite::client_async_tls_with_config(
            request,
            tcp,
            Some(config),
            Some(Connector::Rustls(trust.config())),
        );
        match connected.await {
            Ok((stream, _)) => Ok(Socket { stream }),
            Err(Error::Http(response)) => Err(refused(&response)),
            Err(error) => Err(not_reached(&error)),
        }
    }

    /// Sends one text message.
    pub async fn send(&mut self, text: String) -> Result<(), Fault> {
        self.stream.send(Message::text(text)).await.map_err(lost)
    }

    /// Asks the server to show that it lives.
    pub async fn ping(&mut self) -> Result<(), Fault> {
        let ping = Message::Ping(Bytes::new());
        self.stream.send(ping).await.map_err(lost)
    }

    /// The next thing that the server sends. Safe to drop and ask again.
    pub async fn next(&mut self) -> Result<Frame, Fault> {
        match self.stream.next().await {
            Some(Ok(Message::Text(text))) => Ok(Frame::Text(text)),
            Some(Ok(Message::Close(frame))) => Err(closed(frame.as_ref())),
            Some(Ok(_)) => Ok(Frame::Alive),
            Some(Err(error)) => Err(lost(error)),
            None => Err(closed(None)),
        }
    }

    /// Says goodbye; does not wait for the answer.
    pub async fn close(mut self) {
        let goodbye = self.stream.close(None);
        tokio::time::timeout(Duration::from_secs(1), goodbye)
            .await
            .ok();
    }
}

#[derive(Serialize)]
struct CallOut<'a> {
    jsonrpc: &'static str,
    id: u32,
    method: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    params: Option<&'a RawValue>,
    timeout: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
}

#[derive(Deserialize)]
struct Answer<'a> {
    id: Option<u32>,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

/// Makes one call on a connection of its own.
pub(super) async fn call(
    url: &Url,
    token: Option<&Secret>,
    trust: &Trust,
    request: &Request,
) -> Result<Payload, Fault> {
    let started = tokio::time::Instant::now();
    let mut socket = Socket::connect(url, token, trust).await?;
    let params = positional(&request.params);
    let params: Option<&RawValue> = match params.as_deref().map(serde_json::from_str).transpose() {
        Ok(params) => params,
        Err(error) => return Err(Fault::new(Kind::ParseError, format!("params: {error}"))),
    };
    let left = request.timeout.saturating_sub(started.elapsed());
    let text = serde_json::to_string(&CallOut {
        jsonrpc: "2.0",
        id: 1,
        method: &request.method,
        params,
        timeout: format!("{}ms", left.as_millis().max(1)),
        key: request.key.as_deref(),
    });
    let text = text.map_err(|error| Fault::new(Kind::Internal, error.to_string()))?;
    socket.send(text).await?;
    let outcome = loop {
        let Frame::Text(text) = socket.next().await? else {
            continue;
        };
        let answer: Answer = serde_json::from_str(&text).map_err(|_| foreign())?;
        match answer {
            Answer {
                error: Some(error), ..
            } => break Err(fault::from_jsonrpc(error.get())),
            Answer {
                id: Some(1),
                result,
                ..
            } => break Ok(result.map_or_else(Payload::null, json)),
            // Notifications are nothing that this call waits for.
            _ => {}
        }
    };
    socket.close().await;
    outcome
}

/// JSON-RPC knows only params by position and by name, so any other value becomes the one element
/// of an array; `null` is left out.
fn positional(params: &Payload) -> Option<String> {
    let text = params.as_json();
    match text.trim_start().as_bytes().first() {
        Some(b'{' | b'[') => Some(text.into_owned()),
        Some(b'n') => None,
        _ => Some(format!("[{text}]")),
    }
}

fn json(text: &RawValue) -> Payload {
    Payload::json(Bytes::copy_from_slice(text.get().as_bytes()))
}

/// An `Authorization` value that shows itself to nobody.
pub(super) fn bearer(token: &Secret) -> Result<HeaderValue, Fault> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose())).map_err(|_| {
        Fault::new(
            Kind::Unauthenticated,
            "the token holds characters that no token has",
        )
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// A URL that may be shown: a token can stand in its path, query or user part.
pub(super) fn shown(url: &Url) -> String {
    format!("{}://{}", url.scheme(), url.host_str().unwrap_or_default())
        + &url
            .port()
            .map(|port| format!(":{port}"))
            .unwrap_or_default()
}

fn refused(response: &Response<Option<Vec<u8>>>) -> Fault {
    let body = response.body().as_deref().unwrap_or_default();
    fault::from_http(response.status().as_u16(), body)
}

fn foreign() -> Fault {
    Fault::new(
        Kind::ParseError,
        "the server does not speak JSON-RPC there; is the path that of a jsonrpc endpoint?",
    )
}

fn lost(error: Error) -> Fault {
    match error {
        Error::Capacity(CapacityError::MessageTooLong { .. }) => {
            Fault::new(Kind::TooLarge, "the answer is too large to be read")
        }
        Error::ConnectionClosed | Error::AlreadyClosed => closed(None),
        error => Fault::new(
            Kind::Unavailable,
            format!("the connection was lost: {error}"),
        ),
    }
}

/// What a close code means to the one who waits for an answer.
fn closed(frame: Option<&CloseFrame>) -> Fault {
    let Some(frame) = frame else {
        return Fault::new(Kind::Unavailable, "the server closed the connection");
    };
    let code = u16::from(frame.code);
    let kind = match code {
        1001 => Kind::ShuttingDown,
        1002 | 1007 => Kind::ParseError,
        1009 => Kind::TooLarge,
        4000 | 4001 | 4003 => Kind::Unauthenticated,
        4008 | 4009 => Kind::Overloaded,
        4013 => Kind::Timeout,
        _ => Kind::Unavailable,
    };
    let reason = match frame.reason.as_str() {
        "" => String::new(),
        reason => format!(": {reason}"),
    };
    Fault::new(
        kind,
        format!("the server closed the connection with code {code}{reason}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_what_may_be_secret() {
        let url = Url::parse("wss://u:p@h.example:8443/cw_secret?token=x").unwrap();
        assert_eq!(shown(&url), "wss://h.example:8443");
    }

    #[test]
    fn params_without_structure_become_an_array() {
        let sent = |text: &'static str| positional(&Payload::json(text));
        assert_eq!(sent("null"), None);
        assert_eq!(sent("5").as_deref(), Some("[5]"));
        assert_eq!(sent("\"text\"").as_deref(), Some("[\"text\"]"));
        assert_eq!(sent("{\"a\": 1}").as_deref(), Some("{\"a\": 1}"));
    }

    #[test]
    fn close_codes_have_kinds() {
        let close = |code: u16| CloseFrame {
            code: code.into(),
            reason: "".into(),
        };
        assert_eq!(closed(Some(&close(1001))).kind, Kind::ShuttingDown);
        assert_eq!(closed(Some(&close(4000))).kind, Kind::Unauthenticated);
        assert_eq!(closed(Some(&close(1006))).kind, Kind::Unavailable);
        assert_eq!(closed(None).kind, Kind::Unavailable);
    }
}

//! A WebSocket to a server that is not callway, for services: texts out, texts and the end in.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::error::CapacityError;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{Connector, MaybeTlsStream, WebSocketStream};
use url::Url;

use super::Trust;
use crate::call::{Fault, Kind};

const READ_BUFFER: usize = 8 * 1024;
/// What the server never sent but the standard has a code for.
const ABNORMAL: u16 = 1006;
/// A close frame without a code.
const NO_CODE: u16 = 1005;
/// Headers that belong to the handshake.
const OWN: [&str; 6] = [
    "host",
    "connection",
    "upgrade",
    "sec-websocket-key",
    "sec-websocket-version",
    "sec-websocket-extensions",
];

/// An open WebSocket.
pub struct Outbound {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

/// What was heard of the server.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// A message; bytes are read as UTF-8, with replacement characters where they are not.
    Text(String),
    /// A ping or pong: it lives.
    Alive,
    /// The connection is over: code and reason.
    Closed(u16, String),
}

impl Outbound {
    /// Connects to the first of these addresses that answers. Follows no redirect.
    pub async fn connect(
        url: &Url,
        addresses: &[SocketAddr],
        headers: &[(String, String)],
        trust: &Trust,
        max_message: usize,
    ) -> Result<Outbound, Fault> {
        let refused = |error: &dyn std::fmt::Display| {
            Fault::new(Kind::Unavailable, format!("cannot connect: {error}"))
        };
        let invalid = |why: String| Fault::new(Kind::InvalidParams, why);
        let mut request = url
            .as_str()
            .into_client_request()
            .map_err(|error| invalid(format!("the URL: {error}")))?;
        for (name, value) in headers {
            let parsed = HeaderName::from_bytes(name.as_bytes());
            let (Ok(name), Ok(value)) = (parsed, HeaderValue::from_str(value)) else {
                return Err(invalid(format!("the header {name:?} cannot be sent")));
            };
            if OWN.contains(&name.as_str()) {
                return Err(invalid(format!("the header {name} is callway's own")));
            }
            request.headers_mut().append(name, value);
        }
        let tcp = TcpStream::connect(addresses)
            .await
            .map_err(|error| refused(&error))?;
        tcp.set_nodelay(true).map_err(|error| refused(&error))?;
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .max_message_size(Some(max_message))
            .max_frame_size(Some(max_message));
        let connected = tokio_tungstenite::client_async_tls_with_config(
            request,
            tcp,
            Some(config),
            Some(Connector::Rustls(trust.config())),
        );
        match connected.await {
            Ok((stream, _)) => Ok(Outbound { stream }),
            Err(Error::Http(response)) => {
                let status = response.status();
                Err(refused(&format!("the server answered with {status}")))
            }
            Err(error) => Err(refused(&error)),
        }
    }

    /// Sends one text message.
    pub async fn send(&mut self, text: String) -> Result<(), Fault> {
        let sent = self.stream.send(Message::text(text)).await;
        sent.map_err(|error| Fault::new(Kind::Unavailable, error.to_string()))
    }

    /// Asks the server to show that it lives.
    pub async fn ping(&mut self) -> Result<(), Fault> {
        let sent = self.stream.send(Message::Ping(Bytes::new())).await;
        sent.map_err(|error| Fault::new(Kind::Unavailable, error.to_string()))
    }

    /// The next thing that the server sends. Safe to drop and ask again.
    ///
    /// Returns `too_large` for a message above the limit, after which nothing more can be read.
    pub async fn next(&mut self) -> Result<Heard, Fault> {
        Ok(match self.stream.next().await {
            Some(Ok(Message::Text(text))) => Heard::Text(text.as_str().to_owned()),
            Some(Ok(Message::Binary(bytes))) => {
                Heard::Text(String::from_utf8_lossy(&bytes).into_owned())
            }
            Some(Ok(Message::Close(Some(frame)))) => {
                Heard::Closed(frame.code.into(), frame.reason.as_str().to_owned())
            }
            Some(Ok(Message::Close(None))) => Heard::Closed(NO_CODE, String::new()),
            Some(Ok(_)) => Heard::Alive,
            Some(Err(Error::Capacity(CapacityError::MessageTooLong { size, max_size }))) => {
                let message =
                    format!("a message has {size} bytes, limits.message allows {max_size}");
                return Err(Fault::new(Kind::TooLarge, message));
            }
            Some(Err(error)) => Heard::Closed(ABNORMAL, error.to_string()),
            None => Heard::Closed(ABNORMAL, String::new()),
        })
    }

    /// Says goodbye with a code; does not wait long for it to get away.
    pub async fn close(mut self, code: u16) {
        let code = CloseCode::from(code);
        let reason = "".into();
        let goodbye = self.stream.close(Some(CloseFrame { code, reason }));
        tokio::time::timeout(Duration::from_secs(1), goodbye)
            .await
            .ok();
    }
}

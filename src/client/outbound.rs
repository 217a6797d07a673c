//! A WebSocket to a server that is not callway, for services: texts out, texts and the end in.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::error::CapacityError;
use tokio_tungstenite::tungstenite::handshake::client::{Request, Response, generate_request};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::handshake::machine::TryParse as _;
use tokio_tungstenite::tungstenite::http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_PROTOCOL, UPGRADE,
};
use tokio_tungstenite::tungstenite::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use url::{Host, Url};

use super::Trust;
use crate::call::{Fault, Kind};

const READ_BUFFER: usize = 8 * 1024;
/// How long a server may take to say goodbye.
const FAREWELL: Duration = Duration::from_secs(1);
/// The head of the server's answer may have so many bytes.
const MAX_HEAD: usize = 16 * 1024;
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
        let stream = match url.scheme() {
            "wss" => {
                let tls = TlsConnector::from(trust.config());
                let tls = tls.connect(server_name(url)?, tcp).await;
                MaybeTlsStream::Rustls(tls.map_err(|error| refused(&error))?)
            }
            _ => MaybeTlsStream::Plain(tcp),
        };
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .max_message_size(Some(max_message))
            .max_frame_size(Some(max_message));
        let opened = open(request, stream, config).await;
        Ok(Outbound {
            stream: opened.map_err(|why| refused(&why))?,
        })
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

    /// Says goodbye with a code, and waits a while for the server to do the same: a connection that
    /// is closed with something unread is reset, and takes along what was sent before.
    pub async fn close(mut self, code: u16) {
        let code = CloseCode::from(code);
        let reason = "".into();
        let goodbye = async {
            let said = self.stream.close(Some(CloseFrame { code, reason })).await;
            while said.is_ok() && matches!(self.stream.next().await, Some(Ok(_))) {}
        };
        tokio::time::timeout(FAREWELL, goodbye).await.ok();
    }
}

/// The name that the server's certificate must have.
fn server_name(url: &Url) -> Result<ServerName<'static>, Fault> {
    let invalid = |why: String| Fault::new(Kind::InvalidParams, format!("the URL: {why}"));
    match url.host() {
        Some(Host::Domain(name)) => {
            ServerName::try_from(name.to_owned()).map_err(|error| invalid(error.to_string()))
        }
        Some(Host::Ipv4(address)) => Ok(ServerName::IpAddress(address.into())),
        Some(Host::Ipv6(address)) => Ok(ServerName::IpAddress(address.into())),
        None => Err(invalid("it has no host".into())),
    }
}

/// Opens a WebSocket over a connection. Done here because tungstenite takes it for an error if a
/// server chooses none of the protocols that it is offered, which RFC 6455 (4.2.2) lets it do.
async fn open(
    request: Request,
    mut stream: MaybeTlsStream<TcpStream>,
    config: WebSocketConfig,
) -> Result<WebSocketStream<MaybeTlsStream<TcpStream>>, String> {
    let broken = |error: &dyn std::fmt::Display| error.to_string();
    let offered = request.headers().clone();
    let (request, key) = generate_request(request).map_err(|error| broken(&error))?;
    let sent = stream.write_all(&request).await;
    sent.map_err(|error| broken(&error))?;
    stream.flush().await.map_err(|error| broken(&error))?;
    let mut head = Vec::with_capacity(1024);
    let (length, response) = loop {
        let parsed = Response::try_parse(&head).map_err(|error| broken(&error))?;
        if let Some(parsed) = parsed {
            break parsed;
        }
        if head.len() > MAX_HEAD {
            return Err("the head of the server's answer is too long".into());
        }
        let got = stream.read_buf(&mut head).await;
        if got.map_err(|error| broken(&error))? == 0 {
            return Err("the server closed the connection without an answer".into());
        }
    };
    check(&response, &offered, &key)?;
    let rest = head.split_off(length);
    let opened =
        WebSocketStream::from_partially_read(stream, rest, Role::Client, Some(config)).await;
    Ok(opened)
}

/// Whether the answer opens a WebSocket as it was asked for.
fn check(response: &Response, offered: &HeaderMap, key: &str) -> Result<(), String> {
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(format!("the server answered with {}", response.status()));
    }
    let headers = response.headers();
    if !has_word(headers, &UPGRADE, "websocket") || !has_word(headers, &CONNECTION, "upgrade") {
        return Err("the server's answer does not upgrade to a WebSocket".into());
    }
    let accepted = headers.get(SEC_WEBSOCKET_ACCEPT);
    if accepted.is_none_or(|accepted| *accepted != derive_accept_key(key.as_bytes())) {
        return Err("the server's answer is to another handshake".into());
    }
    let chosen = headers.get(SEC_WEBSOCKET_PROTOCOL);
    match chosen.map(HeaderValue::to_str) {
        None => Ok(()),
        Some(Ok(chosen)) if has_word(offered, &SEC_WEBSOCKET_PROTOCOL, chosen.trim()) => Ok(()),
        Some(_) => Err("the server chose a protocol that it was not offered".into()),
    }
}

/// Whether a header that is a list has this among its words, in whichever case.
fn has_word(headers: &HeaderMap, name: &HeaderName, wanted: &str) -> bool {
    let values = headers.get_all(name).iter();
    let mut words = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    words.any(|word| word.trim().eq_ignore_ascii_case(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

    /// What becomes of an answer with the right words, and these lines, if `one` was offered.
    fn answered(status: &str, lines: &str) -> Result<(), String> {
        let text = format!(
            "HTTP/1.1 {status}\r\nUpgrade: WebSocket\r\nConnection: keep-alive, upgrade\r\n{lines}\r\n"
        );
        let (_, response) = Response::try_parse(text.as_bytes()).unwrap().unwrap();
        let mut offered = HeaderMap::new();
        offered.append(
            SEC_WEBSOCKET_PROTOCOL,
            HeaderValue::from_static("zero, one"),
        );
        check(&response, &offered, KEY)
    }

    #[test]
    fn an_answer_opens_a_socket_only_if_it_is_to_what_was_asked() {
        let good = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
        let chosen = |name: &str| format!("{good}Sec-WebSocket-Protocol: {name}\r\n");
        answered("101 Switching Protocols", good).unwrap();
        answered("101 Switching Protocols", &chosen("one")).unwrap();
        for (status, lines) in [
            ("200 OK", good),
            ("302 Found", good),
            ("101 Switching Protocols", ""),
            ("101 Switching Protocols", "Sec-WebSocket-Accept: AAAA\r\n"),
            ("101 Switching Protocols", &chosen("two")),
        ] {
            assert!(answered(status, lines).is_err(), "{status} {lines}");
        }
    }
}

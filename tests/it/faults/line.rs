//! A JSON-RPC connection that may break at any time and says so instead of failing the test.

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use crate::support::TOKEN;

/// An open connection.
pub struct Line {
    socket: WebSocketStream<TcpStream>,
    next_id: u64,
}

impl Line {
    /// Connects to a local port, `None` if nobody answers there.
    pub async fn open(port: u16) -> Option<Line> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
        Line::over(stream).await
    }

    /// Upgrades a connection.
    pub async fn over(stream: TcpStream) -> Option<Line> {
        stream.set_nodelay(true).ok()?;
        let url = format!("ws://{}/rpc/{TOKEN}", stream.peer_addr().ok()?);
        let request = url.into_client_request().unwrap();
        let (socket, _) = tokio_tungstenite::client_async(request, stream)
            .await
            .ok()?;
        Some(Line { socket, next_id: 1 })
    }

    /// Sends a request and waits for its response; `None` if the connection breaks before.
    /// `more` are members beside `method`, each with a comma before it.
    pub async fn request(&mut self, method: &str, more: &str) -> Option<Value> {
        let id = self.next_id;
        self.next_id += 1;
        let text = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}"{more}}}"#);
        self.socket.send(Message::text(text)).await.ok()?;
        loop {
            let message: Value = serde_json::from_str(&self.text().await?).ok()?;
            if message["id"] == id {
                return Some(message);
            }
        }
    }

    /// The next text; `None` once the connection is over.
    pub async fn text(&mut self) -> Option<String> {
        loop {
            match self.socket.next().await?.ok()? {
                Message::Text(text) => return Some(text.to_string()),
                Message::Close(_) => return None,
                _ => {}
            }
        }
    }

    /// Reads to the end; the code with which the server closed.
    pub async fn close_code(mut self) -> Option<u16> {
        loop {
            if let Message::Close(frame) = self.socket.next().await?.ok()? {
                return Some(frame?.code.into());
            }
        }
    }
}

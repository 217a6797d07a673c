//! A WebSocket client: texts in and out, and JSON-RPC calls on top.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::PATIENCE;

/// An open WebSocket.
pub struct Ws {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    next_id: u64,
    /// Came while something else was awaited.
    waiting: VecDeque<Value>,
}

impl Ws {
    /// Connects with a bearer token.
    pub async fn connect(url: &str, token: &str) -> Ws {
        let bearer = format!("Bearer {token}");
        let connected = Ws::try_connect(url, &[("authorization", &bearer)]).await;
        connected.expect("the upgrade was refused")
    }

    /// Connects with these headers; the HTTP status if the upgrade is refused.
    pub async fn try_connect(url: &str, headers: &[(&'static str, &str)]) -> Result<Ws, u16> {
        let mut request = url.into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let connecting = tokio::time::timeout(PATIENCE, connect_async(request)).await;
        match connecting.expect("the upgrade was never answered") {
            Ok((socket, _)) => Ok(Ws {
                socket,
                next_id: 1,
                waiting: VecDeque::new(),
            }),
            Err(Error::Http(response)) => Err(response.status().as_u16()),
            Err(error) => panic!("no WebSocket at {url}: {error}"),
        }
    }

    /// Sends a text frame.
    pub async fn send(&mut self, text: impl Into<String>) {
        let text = text.into();
        self.socket.send(Message::text(text)).await.unwrap();
    }

    /// Sends any frame, as far as the library lets it be sent.
    pub async fn send_frame(&mut self, frame: Message) {
        self.socket.send(frame).await.unwrap();
    }

    /// The next JSON text; fails the test if none comes.
    pub async fn next(&mut self) -> Value {
        match self.waiting.pop_front() {
            Some(value) => value,
            None => self.read().await,
        }
    }

    /// Whether nothing comes for a while.
    pub async fn is_quiet(&mut self, time: Duration) -> bool {
        if !self.waiting.is_empty() {
            return false;
        }
        match tokio::time::timeout(time, self.read()).await {
            Ok(value) => {
                self.waiting.push_back(value);
                false
            }
            Err(_) => true,
        }
    }

    async fn read(&mut self) -> Value {
        let next = tokio::time::timeout(PATIENCE, self.next_ever()).await;
        next.expect("no message came")
    }

    /// The next JSON text, whenever it comes.
    pub async fn next_ever(&mut self) -> Value {
        serde_json::from_str(&self.next_text().await).unwrap()
    }

    /// The next text as it was written, whenever it comes.
    pub async fn next_text(&mut self) -> String {
        loop {
            match self.socket.next().await.expect("closed").unwrap() {
                Message::Text(text) => return text.to_string(),
                Message::Close(frame) => panic!("closed: {frame:?}"),
                _ => {}
            }
        }
    }

    /// The next JSON text that fits; others are kept for later.
    pub async fn find(&mut self, fits: impl Fn(&Value) -> bool) -> Value {
        if let Some(at) = self.waiting.iter().position(&fits) {
            return self.waiting.remove(at).unwrap();
        }
        loop {
            let value = self.read().await;
            if fits(&value) {
                return value;
            }
            self.waiting.push_back(value);
        }
    }

    /// The code with which the server closes; 1006 if it just goes away.
    pub async fn close_code(&mut self) -> u16 {
        loop {
            let next = tokio::time::timeout(PATIENCE, self.socket.next()).await;
            match next.expect("the server does not close") {
                Some(Ok(Message::Close(Some(frame)))) => return frame.code.into(),
                Some(Ok(Message::Close(None))) => return 1005,
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return 1006,
            }
        }
    }

    /// The next JSON text; `None` once the server closes.
    pub async fn next_or_close(&mut self) -> Option<Value> {
        if let Some(value) = self.waiting.pop_front() {
            return Some(value);
        }
        loop {
            let next = tokio::time::timeout(PATIENCE, self.socket.next()).await;
            match next.expect("the server neither speaks nor closes") {
                Some(Ok(Message::Text(text))) => return serde_json::from_str(&text).ok(),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => {}
            }
        }
    }

    /// Closes and waits until the server has closed too.
    pub async fn close(mut self) {
        // The server may have closed first.
        self.socket.close(None).await.ok();
        while let Ok(Some(Ok(_))) = tokio::time::timeout(PATIENCE, self.socket.next()).await {}
    }

    /// Sends a JSON-RPC request; returns its id.
    pub async fn request(&mut self, method: &str, params: Value) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        let request = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        self.send(request.to_string()).await;
        id
    }

    /// The response to a JSON-RPC request.
    pub async fn response(&mut self, id: u64) -> Value {
        self.find(|value| value.get("method").is_none() && value["id"] == id)
            .await
    }

    /// Calls by JSON-RPC: the result, or the kind of the fault.
    pub async fn call(&mut self, method: &str, params: Value) -> Result<Value, String> {
        let id = self.request(method, params).await;
        let mut response = self.response(id).await;
        match response["error"]["data"]["kind"].as_str() {
            Some(kind) => Err(kind.to_owned()),
            None if response.get("error").is_some() => panic!("no kind: {response}"),
            None => Ok(response["result"].take()),
        }
    }
}

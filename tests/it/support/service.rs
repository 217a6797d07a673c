//! An HTTP service that answers by the path it is asked for, and remembers what it was asked.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// The service; it ends on drop.
pub struct Service {
    address: SocketAddr,
    state: Arc<State>,
    serving: JoinHandle<()>,
}

#[derive(Default)]
struct State {
    asked: Mutex<Vec<String>>,
    gone: Notify,
}

impl Service {
    /// Starts it on a free port.
    pub async fn start() -> Service {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State::default());
        let serving = tokio::spawn({
            let state = state.clone();
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(talk(stream, state.clone()));
                }
            }
        });
        Service {
            address,
            state,
            serving,
        }
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The requests so far, head and body, header names in lower case.
    pub fn asked(&self) -> Vec<String> {
        self.state.asked.lock().unwrap().clone()
    }

    /// Waits until a client has closed a connection on which `/slow` was asked.
    pub async fn slow_was_given_up(&self) {
        let gone = tokio::time::timeout(super::PATIENCE, self.state.gone.notified());
        gone.await.expect("the connection was never closed");
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn talk(mut stream: TcpStream, state: Arc<State>) {
    while let Some(request) = read(&mut stream).await {
        state.asked.lock().unwrap().push(request.clone());
        let target = request.split(' ').nth(1).unwrap_or_default();
        let (path, _query) = target.split_once('?').unwrap_or((target, ""));
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        let answer = match path {
            "/slow" => {
                // Nothing more is sent on this connection: a read ends when the client closes.
                stream.read_u8().await.ok();
                state.gone.notify_one();
                return;
            }
            "/broken" => {
                let lie = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly this";
                stream.write_all(lie).await.ok();
                return;
            }
            "/text" => answer("200 OK", "text/plain", "plain"),
            "/empty" => "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
            "/not-json" => answer("200 OK", "application/json", "{not json"),
            "/huge" => answer("200 OK", "text/plain", &"x".repeat(300 * 1024)),
            "/moved" => {
                "HTTP/1.1 302 Found\r\nlocation: /text\r\ncontent-length: 0\r\n\r\n".to_owned()
            }
            "/fails" => answer(
                "500 Internal Server Error",
                "application/json",
                r#"{"code":"E1"}"#,
            ),
            _ => {
                let said = serde_json::json!({ "head": head, "body": body });
                answer("200 OK", "application/json", &said.to_string())
            }
        };
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// A response with a body.
pub fn answer(status: &str, content_type: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// One request as text, or `None` at the end of the connection.
pub async fn read(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
    let length = head
        .split("content-length: ")
        .nth(1)
        .and_then(|rest| rest.lines().next()?.trim().parse().ok())
        .unwrap_or(0);
    while bytes.len() < end + length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

//! An HTTP client that says exactly what it is told, one connection per request.

use std::io;
use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::PATIENCE;

/// Where requests go, and with which headers.
#[derive(Clone)]
pub struct Http {
    address: SocketAddr,
    headers: Vec<(String, String)>,
}

/// What came back.
#[derive(Debug)]
pub struct HttpReply {
    /// The status code.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Http {
    /// A client of one server.
    pub fn new(address: SocketAddr) -> Http {
        let headers = Vec::new();
        Http { address, headers }
    }

    /// With a bearer token.
    pub fn bearer(self, token: &str) -> Http {
        self.header("authorization", &format!("Bearer {token}"))
    }

    /// With one more header on each request.
    pub fn header(mut self, name: &str, value: &str) -> Http {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sends a GET.
    pub async fn get(&self, path: &str) -> HttpReply {
        self.send("GET", path, b"").await
    }

    /// Sends JSON.
    pub async fn post(&self, path: &str, body: &Value) -> HttpReply {
        let json = self.clone().header("content-type", "application/json");
        json.send("POST", path, body.to_string().as_bytes()).await
    }

    /// Sends anything.
    pub async fn send(&self, method: &str, path: &str, body: &[u8]) -> HttpReply {
        let exchange = self.raw(&self.request(method, path, body)).await;
        HttpReply::parse(&exchange)
    }

    /// Sends anything; `None` if nobody is there, or the whole answer does not come.
    pub async fn try_send(&self, method: &str, path: &str, body: &[u8]) -> Option<HttpReply> {
        let request = self.request(method, path, body);
        let exchange = tokio::time::timeout(PATIENCE, self.try_raw(&request)).await;
        let reply = HttpReply::try_parse(&exchange.ok()?.ok()?)?;
        let length = reply.header("content-length");
        let whole = length.is_none_or(|length| length.parse() == Ok(reply.body.len()));
        whole.then_some(reply)
    }

    fn request(&self, method: &str, path: &str, body: &[u8]) -> Vec<u8> {
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-length: {}\r\n",
            self.address,
            body.len()
        );
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        [head.as_bytes(), body].concat()
    }

    /// Sends bytes and returns all that comes back until the server closes.
    pub async fn raw(&self, bytes: &[u8]) -> Vec<u8> {
        let answer = tokio::time::timeout(PATIENCE, self.try_raw(bytes)).await;
        let answer = answer.expect("the server neither answered nor closed");
        answer.expect("nobody listens")
    }

    async fn try_raw(&self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(self.address).await?;
        // A server that refuses early may close before it has read everything.
        let (mut reader, mut writer) = stream.split();
        let mut answer = Vec::new();
        let (_, _) = tokio::join!(writer.write_all(bytes), reader.read_to_end(&mut answer));
        Ok(answer)
    }
}

impl HttpReply {
    /// Reads a response that ends with its connection.
    pub fn parse(bytes: &[u8]) -> HttpReply {
        let text = || String::from_utf8_lossy(bytes);
        HttpReply::try_parse(bytes).unwrap_or_else(|| panic!("not an HTTP response: {:?}", text()))
    }

    fn try_parse(bytes: &[u8]) -> Option<HttpReply> {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
        let head = std::str::from_utf8(&bytes[..end]).ok()?;
        let mut lines = head.split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?;
        let headers: Vec<_> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let mut reply = HttpReply {
            status: status.parse().ok()?,
            headers,
            body: bytes[end + 4..].to_vec(),
        };
        if reply.header("transfer-encoding") == Some("chunked") {
            reply.body = unchunk(&reply.body);
        }
        Some(reply)
    }

    /// The first header of this name, given in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(key, _)| key == name);
        found.next().map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("not JSON: {:?}", String::from_utf8_lossy(&self.body)))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The `kind` of a problem body.
    pub fn kind(&self) -> String {
        self.json()["kind"].as_str().unwrap_or_default().to_owned()
    }
}

fn unchunk(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = rest.windows(2).position(|window| window == b"\r\n") {
        let digits = std::str::from_utf8(&rest[..end]).unwrap();
        let length = usize::from_str_radix(digits, 16).unwrap();
        if length == 0 {
            break;
        }
        body.extend_from_slice(&rest[end + 2..end + 2 + length]);
        rest = &rest[end + 4 + length..];
    }
    body
}

//! A client of event streams.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use super::PATIENCE;

/// An open event stream.
pub struct Sse {
    stream: BufReader<TcpStream>,
    /// As a browser keeps it.
    pub last_id: String,
    /// The comments so far.
    pub comments: Vec<String>,
}

impl Sse {
    /// Asks for a stream; the status if there is none.
    pub async fn open(
        address: SocketAddr,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<Sse, u16> {
        let tcp = TcpStream::connect(address).await.unwrap();
        let mut stream = BufReader::new(tcp);
        let mut head =
            format!("GET {path} HTTP/1.1\r\nhost: {address}\r\naccept: text/event-stream\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut sse = Sse {
            stream,
            last_id: String::new(),
            comments: Vec::new(),
        };
        let status = sse.line().await.unwrap();
        let status = status.split(' ').nth(1).unwrap().parse().unwrap();
        let mut typed = false;
        while let Some(line) = sse.line().await.filter(|line| !line.is_empty()) {
            typed |= line.eq_ignore_ascii_case("content-type: text/event-stream");
        }
        match status {
            200 => {
                assert!(typed, "an event stream says that it is one");
                Ok(sse)
            }
            other => Err(other),
        }
    }

    /// The next event's data; `None` at the end of the stream.
    pub async fn next(&mut self) -> Option<Value> {
        let mut data = String::new();
        loop {
            let line = self.line().await?;
            match line.split_once(':') {
                // Between the lines stand the sizes of chunks, which have no colon.
                None if !line.is_empty() => {}
                None if data.is_empty() => {}
                None => return Some(serde_json::from_str(&data).unwrap()),
                Some(("", comment)) => self.comments.push(comment.trim().to_owned()),
                Some(("id", id)) => self.last_id = id.trim().to_owned(),
                Some(("data", text)) => data.push_str(text.trim()),
                Some(other) => panic!("{other:?}"),
            }
        }
    }

    async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = tokio::time::timeout(PATIENCE, self.stream.read_line(&mut line)).await;
        match read.expect("nothing more came") {
            // Cut off, or ended.
            Ok(0) | Err(_) => None,
            Ok(_) => Some(line.trim_end_matches(['\r', '\n']).to_owned()),
        }
    }
}

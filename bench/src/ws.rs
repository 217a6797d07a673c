//! WebSocket (RFC 6455): the load side by hand, so that it costs little, and the bare echo that
//! everything is compared with.

use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use crate::Failure;
use crate::wire::{PARAMS, Wire, find, number};

/// Slots are sent as two digits.
const FIRST_ID: usize = 10;

/// Calls one method by JSON-RPC.
pub struct Jsonrpc {
    frames: Vec<Vec<u8>>,
}

impl Jsonrpc {
    /// With frames made beforehand.
    pub fn new(method: &str, in_flight: usize) -> Jsonrpc {
        let frame = |slot: usize| {
            let id = FIRST_ID + slot;
            let text =
                format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{PARAMS}}}"#);
            client_frame(0x1, text.as_bytes())
        };
        Jsonrpc {
            frames: (0..in_flight).map(frame).collect(),
        }
    }
}

impl Wire for Jsonrpc {
    fn request(&mut self, slot: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.frames[slot]);
    }

    fn replies(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
        done: &mut Vec<usize>,
    ) -> Result<usize, Failure> {
        let mut used = 0;
        while let Some((opcode, payload, length)) = server_frame(&input[used..]) {
            used += length;
            match opcode {
                0x1 => done.push(slot(payload)?),
                0x9 => out.extend(client_frame(0xA, payload)),
                0xA => {}
                _ => return Err(format!("a frame with opcode {opcode:#x} came").into()),
            }
        }
        Ok(used)
    }
}

fn slot(text: &[u8]) -> Result<usize, Failure> {
    if find(text, br#""error":"#).is_some() {
        return Err(String::from_utf8_lossy(text).into());
    }
    let at = find(text, br#""id":"#).ok_or("a reply without id")?;
    Ok(number(&text[at + 5..]) - FIRST_ID)
}

/// A frame with the masking key 0, which leaves the payload as it is.
pub fn client_frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    match payload.len() {
        length @ 0..=125 => frame.push(0x80 | length as u8),
        length => {
            frame.push(0x80 | 126);
            frame.extend((length as u16).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

/// Opcode, payload and length of the first frame, once it is whole.
pub fn server_frame(input: &[u8]) -> Option<(u8, &[u8], usize)> {
    let (&first, &second) = (input.first()?, input.get(1)?);
    let (length, header) = match second & 0x7f {
        126 => (
            usize::from(u16::from_be_bytes([*input.get(2)?, *input.get(3)?])),
            4,
        ),
        127 => return None, // replies are never that long
        short => (usize::from(short), 2),
    };
    let payload = input.get(header..header + length)?;
    Some((first & 0x0f, payload, header + length))
}

/// Opens a connection; `headers` are whole lines that the server wants.
pub async fn connect(port: u16, path: &str, headers: &str) -> Result<TcpStream, Failure> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    while find(&answer, b"\r\n\r\n").is_none() {
        if stream.read_buf(&mut answer).await? == 0 {
            return Err("the upgrade was cut off".into());
        }
    }
    if !answer.starts_with(b"HTTP/1.1 101") {
        let line = answer
            .split(|byte| *byte == b'\r')
            .next()
            .unwrap_or_default();
        return Err(format!("no upgrade: {}", String::from_utf8_lossy(line)).into());
    }
    Ok(stream)
}

/// The bare echo: tokio-tungstenite over raw TCP, one flush for all that was there to read.
pub async fn echo(port: u16) -> Result<(), Failure> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let mut sessions = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        sessions.spawn(echo_session(stream));
        while sessions.try_join_next().is_some() {}
    }
}

async fn echo_session(stream: TcpStream) -> Result<(), Failure> {
    stream.set_nodelay(true)?;
    let config = WebSocketConfig::default().read_buffer_size(8 * 1024);
    let mut socket = tokio_tungstenite::accept_async_with_config(stream, Some(config)).await?;
    while let Some(message) = socket.next().await {
        socket.feed(message?).await?;
        while let Some(Some(message)) = socket.next().now_or_never() {
            socket.feed(message?).await?;
        }
        socket.flush().await?;
    }
    Ok(())
}

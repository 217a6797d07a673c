//! WebSocket frames that break RFC 6455, and HTTP requests that break RFC 9112: the right close
//! code or status, and nobody else notices.

use std::net::SocketAddr;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{PATIENCE, Setup, TOKEN};

const ECHO: &str = "[[route]]\nmethod = \"echo\"\nscript = \"echo.js\"\n";

#[tokio::test]
async fn broken_frames_are_closed_with_their_code() {
    let setup = Setup::new()
        .config(ECHO)
        .script("echo.js", "return request.body;");
    let daemon = setup.start().await;
    let text = 0x81;
    let cases: [(&str, Vec<u8>, u16); 11] = [
        ("unmasked", vec![text, 2, b'h', b'i'], 1002),
        ("reserved bit", frame(0xc1, b"{}"), 1002),
        ("reserved opcode", frame(0x83, b"{}"), 1002),
        ("stray continuation", frame(0x80, b"{}"), 1002),
        ("fragmented ping", frame(0x09, b"x"), 1002),
        ("long ping", frame(0x89, &[b'x'; 126]), 1002),
        ("invalid UTF-8", frame(text, b"\"\xff\""), 1007),
        ("surrogate in UTF-8", frame(text, b"\"\xed\xa0\x80\""), 1007),
        ("oversized", frame(text, &vec![b' '; 300_000]), 1009),
        (
            "announced as oversized",
            [&[text, 0xff][..], &(1u64 << 40).to_be_bytes(), &[0; 4]].concat(),
            1009,
        ),
        (
            "close with a reserved code",
            frame(0x88, &1005u16.to_be_bytes()),
            1002,
        ),
    ];
    for path in ["/rpc".to_owned(), format!("/{TOKEN}")] {
        let mut bystander = daemon.ws().await;
        for (what, bytes, code) in &cases {
            let got = close_code(daemon.address, &path, bytes).await;
            assert_eq!(got, Some(*code), "{path}: {what}");
        }
        let good = bystander.call("echo", json!([1])).await;
        assert_eq!(good, Ok(json!([1])), "others go on");
    }
}

#[tokio::test]
async fn broken_requests_are_answered() {
    let setup = Setup::new()
        .config(ECHO)
        .script("echo.js", "return request.body;");
    let daemon = setup.start().await;
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(200_000));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(500));
    for bytes in ["nonsense\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", &long, &many] {
        let answer = daemon.http().raw(bytes.as_bytes()).await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with("HTTP/1.1 4"), "{answer:?}");
    }
    let http = daemon.http().header("content-type", "application/json");
    let huge = vec![b' '; 2_000_000];
    let refused = http.send("POST", "/api/echo", &huge).await;
    assert_eq!(
        (refused.status, refused.kind().as_str()),
        (413, "too_large")
    );
    let wrong = http.get("/api/echo").await;
    assert_eq!((wrong.status, wrong.header("allow")), (405, Some("POST")));
    let good = http.post("/api/echo", &json!([1])).await;
    assert_eq!((good.status, good.json()), (200, json!([1])));
}

/// §5.2: a masked frame; the mask of zeros keeps the payload readable.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..=125 => frame.push(0x80 | length as u8),
        length @ 126..=0xffff => {
            frame.push(0xfe);
            frame.extend((length as u16).to_be_bytes());
        }
        length => {
            frame.push(0xff);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

/// Upgrades, sends bytes, and reads up to the close frame; `None` if there is none.
async fn close_code(address: SocketAddr, path: &str, bytes: &[u8]) -> Option<u16> {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let upgrade = format!(
            "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: upgrade\r\n\
             upgrade: websocket\r\nsec-websocket-version: 13\r\n\
             sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             authorization: Bearer {TOKEN}\r\n\r\n"
        );
        stream.write_all(upgrade.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        assert!(head.starts_with(b"HTTP/1.1 101"), "{head:?}");
        let (mut reader, mut writer) = stream.split();
        // The server may close before it has read everything.
        let (_, code) = tokio::join!(writer.write_all(bytes), read_close(&mut reader));
        code
    };
    let code = tokio::time::timeout(PATIENCE, exchange).await;
    code.expect("the server does not close")
}

/// Reads short, unmasked frames up to the close frame.
async fn read_close(reader: &mut (impl tokio::io::AsyncRead + Unpin)) -> Option<u16> {
    loop {
        let first = reader.read_u8().await.ok()?;
        let length = reader.read_u8().await.ok()?;
        assert!(length < 126, "a long frame was not expected");
        let mut payload = vec![0; usize::from(length)];
        reader.read_exact(&mut payload).await.ok()?;
        if first == 0x88 {
            let code = payload.get(..2)?;
            return Some(u16::from_be_bytes([code[0], code[1]]));
        }
    }
}

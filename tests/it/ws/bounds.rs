//! The bounds of the door: connections, time, bytes that wait, file descriptors.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use super::upgrade;
use crate::support::{Daemon, PATIENCE, Setup, TOKEN, Ws};

async fn raw(daemon: &Daemon) -> TcpStream {
    let (stream, opened) = upgrade(daemon.address, &format!("/rpc/{TOKEN}"), &[]).await;
    assert_eq!(opened.status, 101);
    stream
}

/// A masked text frame; the mask of zeros keeps the payload readable.
fn text_frame(text: &str) -> Vec<u8> {
    let mut frame = vec![0x81, 0xff];
    frame.extend((text.len() as u64).to_be_bytes());
    frame.extend([0; 4]);
    frame.extend(text.as_bytes());
    frame
}

/// Reads to the end; the code of the close frame there.
async fn close_code(mut stream: TcpStream) -> Option<u16> {
    let mut bytes = Vec::new();
    // It may end with a reset, because the server did not read everything either.
    let end = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await;
    assert!(end.is_ok(), "the server does not close");
    let mut rest = &bytes[..];
    while let [first, length, after @ ..] = rest {
        let (length, after) = match length {
            127 => {
                let (length, after) = after.split_first_chunk::<8>()?;
                (u64::from_be_bytes(*length) as usize, after)
            }
            126 => {
                let (length, after) = after.split_first_chunk::<2>()?;
                (usize::from(u16::from_be_bytes(*length)), after)
            }
            length => (usize::from(*length), after),
        };
        let payload = after.get(..length)?;
        if *first == 0x88 {
            return payload.first_chunk().map(|code| u16::from_be_bytes(*code));
        }
        rest = &after[length..];
    }
    None
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_off() {
    let daemon = Setup::new().start().await;
    let mut bystander = daemon.ws().await;
    let mut slow = raw(&daemon).await;
    // Each request is answered with its own long id.
    let id = "x".repeat(60_000);
    let frame = text_frame(&format!(
        r#"{{"jsonrpc":"2.0","id":"{id}","method":"none"}}"#
    ));
    let flood = async { while slow.write_all(&frame).await.is_ok() {} };
    let _stuck = tokio::time::timeout(Duration::from_secs(2), flood).await;
    assert_eq!(close_code(slow).await, Some(4008));
    assert_eq!(
        daemon
            .metric(r#"callway_limit_reached_total{limit="send_queue"}"#)
            .await,
        1.0
    );
    assert!(bystander.call("callway.whoami", json!({})).await.is_ok());
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_cut_off_also_when_little_waits() {
    let routes = r#"
        [[route]]
        method = "big"
        worker = {}
        [limits]
        in_flight_per_connection = 1000
        send_queue = "100MiB"
    "#;
    let daemon = Setup::new().config(routes).start().await;
    let mut worker = daemon.ws().await;
    worker
        .call(
            "callway.serve",
            json!({"methods": ["big"], "concurrency": 1000}),
        )
        .await
        .unwrap();
    let mut slow = raw(&daemon).await;
    let request = text_frame(r#"{"jsonrpc":"2.0","id":1,"method":"big"}"#);
    let result = "y".repeat(200_000);
    for _ in 0..60 {
        slow.write_all(&request).await.unwrap();
        let ask = worker.next().await;
        let answer = json!({"jsonrpc": "2.0", "id": ask["id"], "result": result});
        worker.send(answer.to_string()).await;
    }
    let start = Instant::now();
    crate::eventually!(daemon.metric(r#"callway_connections{via="ws"}"#).await == 1.0);
    assert!(
        start.elapsed() < Duration::from_secs(9),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test]
async fn who_does_not_answer_a_ping_is_let_go() {
    let limits = "[limits]\nping = \"300ms\"\npong = \"300ms\"\n";
    let daemon = Setup::new().config(limits).start().await;
    let silent = raw(&daemon).await;
    let start = Instant::now();
    assert_eq!(close_code(silent).await, Some(4008));
    let took = start.elapsed();
    assert!((500..2000).contains(&took.as_millis()), "{took:?}");
    let counted = daemon
        .metric("callway_limit_reached_total{limit=\"pong\"}")
        .await;
    assert!(counted > 0.5, "{counted}");

    let mut alive = daemon.ws().await;
    let quiet = alive.is_quiet(Duration::from_millis(1200)).await;
    assert!(quiet, "whose library answers pings stays");
    assert!(alive.call("callway.whoami", json!({})).await.is_ok());
}

#[tokio::test]
async fn half_a_handshake_ends_in_time() {
    let daemon = Setup::new()
        .config("[limits]\nhandshake = \"400ms\"\n")
        .start()
        .await;
    for begun in ["", "GET /rpc HTTP/1.1\r\nhost: x\r\nx-slow: "] {
        let mut half = TcpStream::connect(daemon.address).await.unwrap();
        half.write_all(begun.as_bytes()).await.unwrap();
        let start = Instant::now();
        let mut rest = Vec::new();
        let ended = tokio::time::timeout(PATIENCE, half.read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "{begun:?} is waited for");
        let took = start.elapsed();
        assert!((300..1500).contains(&took.as_millis()), "{took:?}");
    }
}

#[tokio::test]
async fn one_connection_too_many_is_told_so() {
    let daemon = Setup::new()
        .config("[limits]\nconnections = 2\n")
        .start()
        .await;
    let first = daemon.ws().await;
    let _second = daemon.ws().await;
    let mut third = daemon.ws().await;
    assert_eq!(third.close_code().await, 4009);
    let refused = daemon.http().get("/api/echo").await;
    assert_eq!(
        (refused.status, refused.kind().as_str()),
        (503, "overloaded")
    );
    assert_eq!(
        daemon
            .metric(r#"callway_limit_reached_total{limit="connections"}"#)
            .await,
        2.0
    );
    first.close().await;
    crate::eventually!(
        daemon.ws().await.call("callway.whoami", json!({})).await.is_ok(),
        within Duration::from_secs(5)
    );
}

#[tokio::test]
async fn binary_frames_count_as_text() {
    let daemon = Setup::new().start().await;
    let mut client = daemon.ws().await;
    let request = r#"{"jsonrpc":"2.0","id":1,"method":"callway.whoami"}"#;
    client.send_frame(Message::binary(request)).await;
    assert_eq!(client.next().await["result"]["caller"], "tester");
    client.send_frame(Message::binary(&b"\xff\xfe"[..])).await;
    let fault = client.next().await;
    assert_eq!(fault["error"]["data"]["kind"], "parse_error");
}

#[tokio::test]
async fn running_out_of_file_descriptors_is_waited_out() {
    let daemon = Setup::new().start().await;
    let mut old = daemon.ws().await;
    let open = std::fs::read_dir(format!("/proc/{}/fd", daemon.pid()))
        .unwrap()
        .count();
    set_open_files(&daemon, open + 2);
    let mut many = Vec::new();
    for _ in 0..20 {
        many.push(TcpStream::connect(daemon.address).await.unwrap());
    }
    crate::eventually!(daemon.log().contains("cannot accept connections"));
    let before = cpu_ticks(&daemon);
    for _ in 0..10 {
        assert!(old.call("callway.whoami", json!({})).await.is_ok());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let ticks = cpu_ticks(&daemon) - before;
    assert!(ticks < 10, "{ticks} ticks of 10 ms in half a second");
    drop(many);
    let mut new = daemon.ws().await;
    assert!(new.call("callway.whoami", json!({})).await.is_ok());
    let warned = daemon.log().matches("cannot accept connections").count();
    assert_eq!(warned, 1, "said once, not in a flood");
}

fn set_open_files(daemon: &Daemon, count: usize) {
    let changed = std::process::Command::new("prlimit")
        .args([
            format!("--pid={}", daemon.pid()),
            format!("--nofile={count}:"),
        ])
        .status();
    assert!(changed.unwrap().success());
}

/// CPU time in units of 10 ms.
fn cpu_ticks(daemon: &Daemon) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", daemon.pid())).unwrap();
    let fields: Vec<&str> = stat
        .rsplit_once(')')
        .unwrap()
        .1
        .split_whitespace()
        .collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[tokio::test]
async fn a_flood_of_bad_messages_slows_nobody_else() {
    let daemon = Setup::new().start().await;
    let mut flooding = Ws::connect(&daemon.ws_url("/rpc"), TOKEN).await;
    let flood = tokio::spawn(async move {
        loop {
            for _ in 0..100 {
                flooding.send("{").await;
            }
            for _ in 0..100 {
                flooding.next().await;
            }
        }
    });
    let mut good = daemon.ws().await;
    let start = Instant::now();
    for _ in 0..200 {
        assert!(good.call("callway.whoami", json!({})).await.is_ok());
    }
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
    flood.abort();
}

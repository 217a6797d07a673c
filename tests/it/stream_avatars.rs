//! Services: long-running scripts as they are written for Stream Avatars.

#[path = "stream_avatars/chat.rs"]
mod chat;
#[path = "stream_avatars/coroutines.rs"]
mod coroutines;
#[path = "stream_avatars/crossing.rs"]
mod crossing;
#[path = "stream_avatars/example.rs"]
mod example;
#[path = "stream_avatars/life.rs"]
mod life;
#[path = "stream_avatars/sockets.rs"]
mod sockets;

use crate::support::{Daemon, Echo, Setup};

/// The sample with which the documentation of the API explains WebSockets, letter by letter.
const REFERENCE: &str = include_str!("stream_avatars/reference.lua");
/// The one thing in it that no test can reach.
const ITS_SERVER: &str = "wss://ws.ifelse.io/";

/// A daemon with one service, `bot`, that acts as the tester.
fn service(script: &str, options: &str) -> Setup {
    Setup::new().script("bot.lua", script).config(&format!(
        "[[service]]\nname = \"bot\"\nscript = \"bot.lua\"\ntoken = \"tester\"\n{options}\n"
    ))
}

/// What the service logged, in its order.
fn said(daemon: &Daemon) -> Vec<String> {
    let log = daemon.log();
    let lines = log.lines().filter(|line| line.contains("service says"));
    let text = |line: &str| {
        let quoted = line.split_once("text=").unwrap().1;
        serde_json::from_str(quoted).unwrap_or_else(|_| quoted.to_owned())
    };
    lines.map(text).collect()
}

#[tokio::test]
async fn the_reference_script_logs_what_it_says() {
    let directory = tempfile::tempdir().unwrap();
    let ca = directory.path().join("ca.pem");
    let echo = Echo::start_tls(&ca).await;
    assert_eq!(REFERENCE.matches(ITS_SERVER).count(), 1);
    let script = REFERENCE.replace(ITS_SERVER, &echo.url());
    let daemon = service(&script, &format!("allow_urls = [{:?}]", echo.url()))
        .env("SSL_CERT_FILE", ca.to_str().unwrap())
        .start()
        .await;
    crate::eventually!(said(&daemon).len() >= 3);
    assert_eq!(
        said(&daemon),
        [
            "socket was opened!",
            "receiving message: gogo!",
            "nice job... we gunna wait until close now!",
        ]
    );
    echo.close(4321, "enough");
    crate::eventually!(said(&daemon).len() >= 6);
    assert_eq!(said(&daemon)[3..], ["socket is closed!", "enough", "4321"]);
    let ready = daemon.admin().get("/readyz").await.json();
    assert_eq!(ready["services"]["bot"], "running");
}

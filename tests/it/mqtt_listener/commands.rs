//! callway's own commands over the listener, which need neither a broker nor another transport.

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};

use super::{DEVICE, Hello, World};
use crate::eventually;
use crate::mqtt_listener::Device;
use crate::support::{Mosquitto, PATIENCE, TOKEN, Version, free_port};

fn callway(token: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_callway"));
    command
        .args(arguments)
        .env("CALLWAY_TOKEN", token)
        .kill_on_drop(true)
        .stdin(Stdio::null());
    command
}

/// Exit code, standard output, standard error.
async fn run(token: &str, arguments: &[&str]) -> (i32, String, String) {
    let output = callway(token, arguments).output();
    let output = tokio::time::timeout(PATIENCE, output).await;
    let output = output.expect("it ends").unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let code = output.status.code().unwrap();
    (code, text(output.stdout), text(output.stderr))
}

/// Starts one that stays, and waits for a line of standard error.
async fn start(arguments: &[&str], words: &str) -> Child {
    let mut command = callway(TOKEN, arguments);
    let piped = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let line = tokio::time::timeout(PATIENCE, lines.next_line()).await;
    let line = line.expect(words).unwrap().expect("it ended");
    assert!(line.contains(words), "{line}");
    // Kept open: it says more when it connects again.
    child.stderr = Some(lines.into_inner().into_inner());
    child
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[tokio::test]
async fn exit_codes_say_why_nothing_was_published_read_or_served() {
    let world = World::start().await;
    let via = format!("mqtt://127.0.0.1:{}", world.port);
    for (token, name, code) in [
        ("cw_wrong", "news", 77),
        (DEVICE, "secret/plans", 77),
        (TOKEN, "a//b", 65),
    ] {
        for arguments in [
            &["publish", name, "1"][..],
            &["subscribe", name],
            &["serve", name, "--exec", "cat"],
        ] {
            let outcome = run(token, &[arguments, &["--via", &via]].concat()).await;
            assert_eq!(outcome.0, code, "{arguments:?} {outcome:?}");
        }
    }
    for (url, code, words) in [
        (format!("{via}?protocol=4"), 65, "protocol=4"),
        (format!("{via}/acme/call"), 65, "endpoint has none"),
        (format!("mqtt://127.0.0.1:{}", free_port()), 69, "refused"),
    ] {
        let (got, _, said) = run(TOKEN, &["publish", "news", "1", "--via", &url]).await;
        assert_eq!(got, code, "{said}");
        assert!(said.contains(words), "{said}");
    }
    let (code, _, said) = run(TOKEN, &["subscribe", "news", "--since", "x", "--via", &via]).await;
    assert!(code == 65 && said.contains("no positions"), "{said}");
    assert!(!world.daemon.log().contains("cw_"));
}

#[tokio::test]
async fn a_channel_without_a_row_is_said_to_be_none() {
    let port = free_port();
    let setup = crate::support::Setup::new().config(&format!(
        "[[listen]]\naddress = \"127.0.0.1:{port}\"\n[[listen.endpoint]]\ndialect = \"mqtt\"\n"
    ));
    let _daemon = setup.start().await;
    let via = format!("mqtt://127.0.0.1:{port}");
    let (code, _, said) = run(TOKEN, &["publish", "nowhere", "1", "--via", &via]).await;
    assert!(code == 1 && said.contains("[[channel]]"), "{code} {said}");
}

#[tokio::test]
async fn a_broker_is_not_taken_for_a_callway() {
    let broker = Mosquitto::start().await;
    let via = format!("mqtt://127.0.0.1:{}", broker.port);
    for arguments in [
        &["publish", "news", "1"][..],
        &["subscribe", "news"],
        &["serve", "greet", "--exec", "cat"],
    ] {
        let (code, _, said) = run(TOKEN, &[arguments, &["--via", &via]].concat()).await;
        assert_eq!(code, 65, "{said}");
        assert!(said.contains("callway routes"), "{said}");
    }
}

#[tokio::test]
async fn what_one_command_publishes_another_prints() {
    let world = World::start().await;
    let via = format!("mqtt://127.0.0.1:{}", world.port);
    let arguments = ["subscribe", "news", "--count", "3", "--via", &via];
    let mut reader = start(&arguments, "subscribed to news").await;
    let (code, said, why) = run(
        TOKEN,
        &["publish", "news", r#"{"t": 22.50}"#, "--via", &via],
    )
    .await;
    assert_eq!((code, said.trim()), (0, "{}"), "{why}");
    assert_eq!(
        run(TOKEN, &["publish", "news", "on", "--via", &via])
            .await
            .0,
        0
    );
    let mut device = world.device(Version::V4, "d").await;
    assert_eq!(device.publish("news", "7", 1, false).await, 0);
    let mut lines = BufReader::new(reader.stdout.take().unwrap()).lines();
    for payload in [json!({"t": 22.5}), json!("on"), json!(7)] {
        let line = tokio::time::timeout(PATIENCE, lines.next_line()).await;
        let told = json(&line.expect("an event").unwrap().unwrap());
        assert_eq!(told, json!({"channel": "news", "payload": payload}));
    }
    let status = tokio::time::timeout(PATIENCE, reader.wait()).await;
    assert!(status.unwrap().unwrap().success());
}

#[tokio::test]
async fn a_local_program_answers_over_the_listener() {
    let world = World::start().await;
    let via = format!("mqtt://127.0.0.1:{}", world.port);
    let method = "devices/{path...}";
    let command = r#"case $CALLWAY_METHOD in */fail) echo broken >&2; exit 3;; *) cat;; esac"#;
    let arguments = ["serve", method, "--exec", command, "--via", &via];
    let _worker = start(&arguments, "serving").await;
    let mut socket = world.daemon.ws().await;
    let params = json!({"level": [1, 2.5, "three"]});
    let reply = socket.call("devices/x/dim", params.clone()).await;
    assert_eq!(reply, Ok(params));
    // And called over the listener as well.
    let (code, said, why) = run(TOKEN, &["call", "devices/x/on", "[1]", "--via", &via]).await;
    assert_eq!((code, json(&said)), (0, json!([1])), "{why}");
    let (code, _, said) = run(TOKEN, &["call", "devices/x/fail", "--via", &via]).await;
    assert_eq!(code, 1);
    assert!(
        said.contains("target_error") && said.contains("broken"),
        "{said}"
    );
}

#[tokio::test]
async fn a_reader_comes_back_when_the_daemon_does() {
    let mut world = World::start().await;
    let via = format!("mqtt://127.0.0.1:{}", world.port);
    let mut reader = start(&["subscribe", "news", "--via", &via], "subscribed").await;
    let mut lines = BufReader::new(reader.stdout.take().unwrap()).lines();
    world.daemon.restart().await;
    let port = world.port;
    eventually!(
        tokio::net::TcpStream::connect(("127.0.0.1", port))
            .await
            .is_ok()
    );
    let hello = Hello::new(Version::V5, "d");
    let (mut device, _) = Device::connect(port, &hello).await;
    let told = async {
        loop {
            device.publish("news", "again", 1, false).await;
            let next =
                tokio::time::timeout(std::time::Duration::from_millis(100), lines.next_line());
            if let Ok(line) = next.await {
                return json(&line.unwrap().unwrap());
            }
        }
    };
    let told = tokio::time::timeout(PATIENCE, told)
        .await
        .expect("it is back");
    assert_eq!(told["payload"], "again");
}

#[tokio::test]
async fn a_connection_that_is_lost_while_something_is_published_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let via = format!("mqtt://{}", listener.local_addr().unwrap());
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut packet = [0; 1024];
        assert!(stream.read(&mut packet).await.unwrap() > 0);
        let mut welcome = vec![0x20, 21, 0, 0, 18, 0x1a, 0, 15];
        welcome.extend(b"callway/reply/x");
        stream.write_all(&welcome).await.unwrap();
        assert!(stream.read(&mut packet).await.unwrap() > 0);
    };
    let arguments = ["publish", "news", "1", "--via", &via];
    let ((code, _, said), ()) = tokio::join!(run(TOKEN, &arguments), server);
    assert_eq!(code, 69, "{said}");
    assert!(said.contains("connection"), "{said}");
}

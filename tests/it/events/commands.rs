//! `callway publish` and `callway subscribe` against a running daemon.

use std::process::{Output, Stdio};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};

use super::{event, publish, subscribe, world};
use crate::support::{Daemon, PATIENCE, POWERLESS, TOKEN, free_port};

fn callway(token: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_callway"));
    command
        .args(arguments)
        .env("CALLWAY_TOKEN", token)
        .kill_on_drop(true)
        .stdin(Stdio::null());
    command
}

async fn run(token: &str, arguments: &[&str]) -> Output {
    let output = callway(token, arguments).output();
    tokio::time::timeout(PATIENCE, output)
        .await
        .unwrap()
        .unwrap()
}

/// Both kinds of endpoint.
fn ways(daemon: &Daemon) -> [String; 2] {
    [
        daemon.ws_url("/rpc"),
        format!("http://{}/api", daemon.address),
    ]
}

struct Reader {
    child: Child,
    out: Lines<BufReader<ChildStdout>>,
    errors: Lines<BufReader<ChildStderr>>,
}

impl Reader {
    async fn start(arguments: &[&str]) -> Reader {
        let mut command = callway(TOKEN, &[&["subscribe"], arguments].concat());
        let piped = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().unwrap();
        let mut reader = Reader {
            out: BufReader::new(child.stdout.take().unwrap()).lines(),
            errors: BufReader::new(child.stderr.take().unwrap()).lines(),
            child,
        };
        reader.hears("subscribed").await;
        reader
    }

    /// Waits for a line of standard error with these words.
    async fn hears(&mut self, words: &str) {
        let hears = async {
            while let Some(line) = self.errors.next_line().await.unwrap() {
                if line.contains(words) {
                    return;
                }
            }
            panic!("it ended");
        };
        tokio::time::timeout(PATIENCE, hears).await.expect(words);
    }

    async fn next(&mut self) -> Value {
        let line = tokio::time::timeout(PATIENCE, self.out.next_line()).await;
        let line = line.expect("no event is printed").unwrap().unwrap();
        serde_json::from_str(&line).unwrap()
    }
}

#[tokio::test]
async fn exit_codes_say_why_nothing_was_published_or_read() {
    let daemon = world().await;
    for via in ways(&daemon) {
        let via = ["--via", via.as_str()];
        for (token, channel, code) in [
            ("cw_wrong", "live/a", 77),
            (POWERLESS, "live/a", 77),
            (TOKEN, "nowhere", 1),
            (TOKEN, "a//b", 65),
        ] {
            for arguments in [&["publish", channel, "1"][..], &["subscribe", channel]] {
                let output = run(token, &[arguments, &via].concat()).await;
                assert_eq!(output.status.code(), Some(code), "{via:?} {arguments:?}");
            }
        }
        let arguments = [&["subscribe", "live/a", "--since", "x"], &via[..]].concat();
        let output = run(TOKEN, &arguments).await;
        assert_eq!(output.status.code(), Some(65));
    }
    for arguments in [&["publish", "a", "1"][..], &["subscribe", "a"]] {
        let output = run(
            TOKEN,
            &[arguments, &["--via", "amqp://127.0.0.1/"]].concat(),
        )
        .await;
        assert_eq!(output.status.code(), Some(64));
        let words = String::from_utf8(output.stderr).unwrap();
        assert!(words.contains("callway routes"), "{words}");
    }
    let away = format!("ws://127.0.0.1:{}/rpc", free_port());
    let output = run(TOKEN, &["subscribe", "a", "--via", &away]).await;
    assert_eq!(output.status.code(), Some(69));
}

#[tokio::test]
async fn what_one_command_publishes_another_prints() {
    let daemon = world().await;
    let mut rpc = daemon.ws().await;
    subscribe(&mut rpc, "kept/a", None).await;
    for via in ways(&daemon) {
        let mut reader = Reader::start(&["kept/a", "--count", "2", "--via", &via]).await;
        let output = run(
            TOKEN,
            &["publish", "kept/a", r#"{"t": 22.50}"#, "--via", &via],
        )
        .await;
        assert!(output.status.success(), "{output:?}");
        let kept: Value = serde_json::from_slice(&output.stdout).unwrap();
        let told = reader.next().await;
        assert_eq!(told["payload"], json!({"t": 22.5}));
        assert_eq!(
            (&told["id"], &told["position"]),
            (&kept["id"], &kept["position"])
        );
        run(TOKEN, &["publish", "kept/a", "on", "--via", &via]).await;
        assert_eq!(reader.next().await["payload"], "on");
        let status = tokio::time::timeout(PATIENCE, reader.child.wait()).await;
        assert!(
            status.unwrap().unwrap().success(),
            "it has printed what was wanted"
        );
        assert_eq!(event(&mut rpc).await, json!({"t": 22.5}));
        assert_eq!(event(&mut rpc).await, "on");
    }
}

#[tokio::test]
async fn a_reader_goes_on_where_it_was_when_the_daemon_is_killed() {
    let mut daemon = world().await;
    let mut client = daemon.ws().await;
    let start = publish(&mut client, "kept/a", json!(0)).await;
    publish(&mut client, "kept/a", json!(1)).await;
    let [ws, http] = ways(&daemon);
    let arguments = |via| ["kept/a", "--since", start.as_str(), "--via", via];
    let mut readers = [
        Reader::start(&arguments(&ws)).await,
        Reader::start(&arguments(&http)).await,
    ];
    for reader in &mut readers {
        assert_eq!(reader.next().await["payload"], 1);
    }
    daemon.restart().await;
    let mut client = daemon.ws().await;
    for number in 2..5 {
        publish(&mut client, "kept/a", json!(number)).await;
    }
    for reader in &mut readers {
        for number in 2..5 {
            assert_eq!(reader.next().await["payload"], number);
        }
        reader.hears("subscribed to kept/a from").await;
    }
}

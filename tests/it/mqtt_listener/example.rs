//! `config/examples/mqtt` does what its README says.

use std::path::Path;
use std::process::Stdio;

use tokio::process::{Child, Command};

use crate::eventually;
use crate::support::{PATIENCE, Process, free_port};

/// The commands of the README, with this port for MQTT's own.
fn commands(readme: &str, port: u16) -> Vec<String> {
    let lines = readme.lines().filter_map(|line| line.strip_prefix("    "));
    let lines = lines.map(|line| {
        let line = line.replace("127.0.0.1", &format!("127.0.0.1:{port}"));
        match line.split_once(' ') {
            Some((program, rest)) if program.starts_with("mosquitto") => {
                format!("{program} -p {port} {rest}")
            }
            _ => line.replace("callway ", concat!(env!("CARGO_BIN_EXE_callway"), " ")),
        }
    });
    lines.collect()
}

fn shell(command: &str) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("exec {command}")]);
    shell.kill_on_drop(true).stdin(Stdio::null());
    shell
}

async fn output(command: Command) -> String {
    let mut command = command;
    let output = tokio::time::timeout(PATIENCE, command.output()).await;
    let output = output.expect("it ends").unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn the_example_runs_with_one_command() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/examples/mqtt");
    let copy = tempfile::tempdir().unwrap();
    let copied = std::process::Command::new("cp")
        .arg("-r")
        .args([example.as_path(), copy.path()])
        .status();
    assert!(copied.unwrap().success());
    let file = copy.path().join("mqtt/callway.toml");
    let (port, web, admin) = (free_port(), free_port(), free_port());
    let mut text = std::fs::read_to_string(&file).unwrap();
    for (from, to) in [(":1883", port), (":8080", web), (":9464", admin)] {
        text = text.replace(from, &format!(":{to}"));
    }
    std::fs::write(&file, text).unwrap();
    let readme = std::fs::read_to_string(example.join("README.md")).unwrap();
    let commands = commands(&readme, port);
    let [_run, listen, publish, ask, serve, call] = &commands[..] else {
        panic!("{commands:#?}");
    };

    let log = copy.path().join("log");
    let args = ["run", "--config", file.to_str().unwrap()];
    let _callway = Process::start(env!("CARGO_BIN_EXE_callway"), &args, &[], &log);
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    eventually!(std::net::TcpStream::connect(address).is_ok());

    // `-d` says when it has subscribed.
    let mut listening = shell(&format!("stdbuf -oL {listen} -C 1 -d"));
    let mut listening: Child = listening.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = {
        use tokio::io::{AsyncBufReadExt as _, BufReader};
        BufReader::new(listening.stdout.take().unwrap()).lines()
    };
    let mut hears = async |words: &str| {
        let hears = async {
            while let Some(line) = lines.next_line().await.unwrap() {
                if line.contains(words) {
                    return;
                }
            }
            panic!("it ended");
        };
        tokio::time::timeout(PATIENCE, hears).await.expect(words);
    };
    hears("SUBACK").await;
    output(shell(publish)).await;
    hears(r#"{"too_hot":41.5}"#).await;
    assert_eq!(output(shell(ask)).await.trim(), r#"{"window":"open"}"#);

    let _worker = shell(serve).spawn().unwrap();
    let answered = async || {
        let outcome = shell(call).output().await.unwrap();
        String::from_utf8(outcome.stdout).unwrap().trim() == r#""devices/d7/light is done""#
    };
    eventually!(answered().await);
}

//! `callway demo`: everything it prints works when it is pasted, and it leaves nothing behind.

use std::path::Path;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::support::{PATIENCE, Ws};

#[tokio::test]
async fn everything_that_it_prints_works() {
    let demo = Demo::start().await;
    commands_work(&demo).await;
    a_worker_works(&demo).await;
    a_device_works(&demo).await;
    tokens_can_be_made(&demo).await;
    a_browser_can_follow(&demo).await;
    demo.end().await;
}

#[tokio::test]
async fn several_at_once_do_not_get_in_each_others_way() {
    let (one, two, three) = tokio::join!(Demo::start(), Demo::start(), Demo::start());
    for demo in [&one, &two, &three] {
        let command = &demo.lines_with("/api/demo/greet")[0];
        let said = paste(command).await;
        assert!(said.contains("Hello, Ada!"), "{command}\n{said}");
    }
    for demo in [one, two, three] {
        demo.end().await;
    }
}

async fn commands_work(demo: &Demo) {
    let mut commands = demo.lines_with(" call demo/");
    commands.retain(|line| !line.contains("demo/worker/"));
    commands.extend(demo.lines_with("curl "));
    assert_eq!(commands.len(), 5);
    for command in &commands {
        let said = paste(command).await;
        let expected = match command {
            c if c.contains("demo/greet") => "Hello, Ada!",
            c if c.contains("demo/convert") => "70.7",
            _ => "36.6 °C = 97.9 °F",
        };
        assert!(said.contains(expected), "{command}\n{said}");
    }
}

async fn a_worker_works(demo: &Demo) {
    let served = &demo.lines_with(" serve demo/worker/")[0];
    let mut worker = shell(&format!("exec {}", without_variable(served)))
        .env("CALLWAY_TOKEN", token_of(served))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = BufReader::new(worker.stderr.take().unwrap()).lines();
    let line = tokio::time::timeout(PATIENCE, stderr.next_line()).await;
    assert!(line.unwrap().unwrap().unwrap().contains("serving"));
    let call = &demo.lines_with(" call demo/worker/")[0];
    assert!(paste(call).await.contains("UTC"));
}

async fn a_device_works(demo: &Demo) {
    let mut reader = shell(&format!(
        "exec {} -C 1",
        demo.lines_with("mosquitto_sub ")[0]
    ))
    .stdout(Stdio::piped())
    .spawn()
    .unwrap();
    let mut heard = BufReader::new(reader.stdout.take().unwrap()).lines();
    let publish = &demo.lines_with("mosquitto_pub ")[0];
    let line = loop {
        paste(publish).await;
        let soon = std::time::Duration::from_millis(300);
        if let Ok(line) = tokio::time::timeout(soon, heard.next_line()).await {
            break line.unwrap().unwrap();
        }
    };
    assert_eq!(line, r#"demo/temperature {"celsius":21.5}"#);
    let said = paste(&demo.lines_with("mosquitto_rr ")[0]).await;
    assert!(said.contains("Hello, Ada!"), "{said}");
}

async fn tokens_can_be_made(demo: &Demo) {
    let made = paste(&demo.lines_with(" token create ")[0]).await;
    assert!(made.starts_with("cw_"), "{made}");
    let listed = paste(&demo.lines_with(" token list ")[0]).await;
    assert!(
        listed.contains("ada") && listed.contains("call demo/greet"),
        "{listed}"
    );
}

async fn a_browser_can_follow(demo: &Demo) {
    let address = demo.lines_with("open http://")[0].clone();
    let address = address.rsplit_once("open ").unwrap().1.to_owned();
    let page = paste(&format!("curl -sS '{address}'")).await;
    assert!(page.contains("Hello, Ada!"), "{page}");

    let snippet = &demo.lines_with("new WebSocket(")[0];
    let url = between(snippet, "WebSocket(\"", "\")");
    let message = between(snippet, "ws.send('", "')");
    let connected = Ws::try_connect(url, &[("origin", "https://example.com")]).await;
    let mut ws = connected.ok().unwrap();
    ws.send(message).await;
    let answer: Value = ws.next().await;
    assert_eq!(answer["result"]["greeting"], "Hello, browser!");
}

/// A running demonstration.
struct Demo {
    child: Child,
    printed: Vec<String>,
}

impl Demo {
    async fn start() -> Demo {
        let mut child = Command::new(env!("CARGO_BIN_EXE_callway"))
            .arg("demo")
            .env("CALLWAY_CONFIG", "/nonexistent")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut printed = Vec::new();
        let last = " token list ";
        while !printed
            .last()
            .is_some_and(|line: &String| line.contains(last))
        {
            let line = tokio::time::timeout(PATIENCE, lines.next_line()).await;
            printed.push(line.unwrap().unwrap().expect("it ended early"));
        }
        Demo { child, printed }
    }

    /// What is printed to be pasted.
    fn lines_with(&self, text: &str) -> Vec<String> {
        let lines = self.printed.iter().filter(|line| line.contains(text));
        lines.map(|line| line.trim().to_owned()).collect()
    }

    /// Ctrl-C.
    async fn end(mut self) {
        let directory = self.lines_with("Everything it uses is in")[0].clone();
        let directory = between(&directory, "uses is in ", ".").to_owned();
        assert!(Path::new(&directory).join("callway.toml").exists());
        let pid = Pid::from_raw(self.child.id().unwrap() as i32).unwrap();
        kill_process(pid, Signal::INT).unwrap();
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        assert!(status.unwrap().unwrap().success());
        assert!(!Path::new(&directory).exists(), "{directory} stayed behind");
    }
}

/// What a terminal would show.
async fn paste(command: &str) -> String {
    let output = tokio::time::timeout(PATIENCE, shell(command).output()).await;
    let output = output.expect("it does not end").unwrap();
    assert!(output.status.success(), "{command}\n{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn shell(command: &str) -> Command {
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(command).kill_on_drop(true);
    shell
}

/// `CALLWAY_TOKEN=… program …`: a shell that becomes the program cannot set a variable on the way.
fn without_variable(command: &str) -> &str {
    command.split_once(' ').unwrap().1
}

fn token_of(command: &str) -> &str {
    between(command, "CALLWAY_TOKEN=", " ")
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let rest = text.split_once(before).unwrap().1;
    rest.split_once(after).unwrap().0
}

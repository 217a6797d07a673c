//! `callway call` and `callway serve` against a running daemon: exit codes, what is shown, and
//! that a worker keeps its promises when things go wrong.

use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};

use crate::eventually;
use crate::support::{Daemon, POWERLESS, Setup, TOKEN, free_port};

#[tokio::test]
async fn exit_codes_say_what_went_wrong() {
    let daemon = daemon().await;
    for via in [
        daemon.ws_url("/rpc"),
        format!("http://{}/api", daemon.address),
    ] {
        let code = |token, arguments: &'static [&'static str]| {
            let via = via.clone();
            async move { call(&via, token, arguments).await.status.code() }
        };
        assert_eq!(code("cw_wrong", &["offered/x"]).await, Some(77), "{via}");
        assert_eq!(code("", &["offered/x"]).await, Some(77), "{via}");
        assert_eq!(code(POWERLESS, &["offered/x"]).await, Some(77), "{via}");
        assert_eq!(code(TOKEN, &["nobody/knows"]).await, Some(1), "{via}");
        assert_eq!(
            code(TOKEN, &["offered/x"]).await,
            Some(69),
            "{via}: no worker"
        );
        assert_eq!(
            code(TOKEN, &["offered/x", "{broken"]).await,
            Some(65),
            "{via}"
        );
        assert_eq!(code(TOKEN, &["a//b"]).await, Some(65), "{via}");
    }
    let away = format!("ws://127.0.0.1:{}/rpc", free_port());
    assert_eq!(call(&away, TOKEN, &["x"]).await.status.code(), Some(69));
    assert_eq!(
        call("ftp://host/", TOKEN, &["x"]).await.status.code(),
        Some(64)
    );
    let wrong_dialect = daemon.ws_url("/");
    assert_eq!(
        call(&wrong_dialect, TOKEN, &["x"]).await.status.code(),
        Some(65)
    );
}

#[tokio::test]
async fn a_fault_is_shown_with_its_kind_and_call() {
    let daemon = daemon().await;
    let via = daemon.ws_url("/rpc");
    let output = call(&via, TOKEN, &["nobody/knows", "--json"]).await;
    let fault: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(fault["kind"], "method_not_found");
    let id = fault["call_id"].as_str().unwrap();
    assert_eq!(id.len(), 36, "{id}");
    assert_eq!(output.stdout, b"");

    let output = call(&via, TOKEN, &["nobody/knows"]).await;
    let line = String::from_utf8(output.stderr).unwrap();
    assert!(line.starts_with("callway: method_not_found: "), "{line}");
    assert!(line.contains("(call "), "{line}");
}

#[tokio::test]
async fn tokens_and_params_come_from_files_and_standard_input() {
    let daemon = daemon().await;
    let via = daemon.ws_url("/rpc");
    let _worker = Worker::start(&via, "offered/echo", "cat").await;
    let file = daemon.directory.path().join("params.json");
    std::fs::write(&file, r#"{"from":"file"}"#).unwrap();
    let at_file = format!("@{}", file.display());
    let arguments = ["call", "offered/echo", &at_file, "--token-file", "-"];
    let mut child = callway("", &arguments, &via)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin
        .write_all(format!("{TOKEN}\n").as_bytes())
        .await
        .unwrap();
    drop(stdin);
    let output = child.wait_with_output().await.unwrap();
    assert_eq!(result(&output), json!({"from": "file"}));
}

#[tokio::test]
async fn a_program_that_fails_is_the_caller_s_target_error() {
    let daemon = daemon().await;
    let via = daemon.ws_url("/rpc");
    let _worker = Worker::start(&via, "offered/fails", "echo 'no water' >&2; exit 3").await;
    let output = call(&via, TOKEN, &["offered/fails", "--json"]).await;
    assert_eq!(output.status.code(), Some(1));
    let fault: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(fault["kind"], "target_error");
    assert!(fault["data"].to_string().contains("no water"), "{fault}");
}

#[tokio::test]
async fn a_program_ends_when_nobody_waits_any_more() {
    let daemon = daemon().await;
    let via = daemon.ws_url("/rpc");
    let trace = daemon.directory.path().join("started");
    let shown = trace.display();
    let program = format!("echo $$ > {shown}; sleep 60");
    let _worker = Worker::start(&via, "offered/slow", &program).await;
    let output = call(&via, TOKEN, &["offered/slow", "--timeout", "400ms"]).await;
    assert_eq!(output.status.code(), Some(75));
    let pid = std::fs::read_to_string(&trace).unwrap();
    let process = format!("/proc/{}", pid.trim());
    eventually!(!Path::new(&process).exists());
}

#[tokio::test]
async fn a_worker_without_the_grant_gives_up() {
    let daemon = daemon().await;
    let via = daemon.ws_url("/rpc");
    let arguments = ["serve", "offered/x", "--exec", "cat"];
    let refused = callway(POWERLESS, &arguments, &via).output().await;
    assert_eq!(refused.unwrap().status.code(), Some(77));
}

#[tokio::test]
async fn a_worker_comes_back_after_the_daemon_did() {
    let mut daemon = daemon().await;
    let via = daemon.ws_url("/rpc");
    let _worker = Worker::start(&via, "offered/echo", "cat").await;
    daemon.restart().await;
    eventually!(
        call(&via, TOKEN, &["offered/echo", "[1]"])
            .await
            .status
            .success()
    );
}

async fn daemon() -> Daemon {
    Setup::new()
        .config("[[route]]\nmethod = \"offered/{name}\"\nworker = {}\n")
        .start()
        .await
}

fn callway(token: &str, arguments: &[&str], via: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_callway"));
    command.args(arguments).args(["--via", via]);
    command.env("CALLWAY_TOKEN", token).kill_on_drop(true);
    command
}

async fn call(via: &str, token: &str, arguments: &[&str]) -> Output {
    let arguments = [&["call"], arguments].concat();
    callway(token, &arguments, via).output().await.unwrap()
}

fn result(output: &Output) -> Value {
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A running `callway serve`.
struct Worker {
    _child: Child,
}

impl Worker {
    /// Starts it and waits until its method is answered by somebody.
    async fn start(via: &str, method: &str, program: &str) -> Worker {
        let log = tempfile::NamedTempFile::new().unwrap();
        let child = callway(TOKEN, &["serve", method, "--exec", program], via)
            .stderr(log.reopen().unwrap())
            .spawn()
            .unwrap();
        eventually!(
            std::fs::read_to_string(log.path())
                .unwrap()
                .contains("serving")
        );
        Worker { _child: child }
    }
}

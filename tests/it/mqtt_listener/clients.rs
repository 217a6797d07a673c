//! Clients that nobody wrote for callway, in both versions, over TCP, TLS and WebSocket.

use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::process::Command;

use super::setup;
use crate::support::{Daemon, PATIENCE, TOKEN, free_port};

/// A listener for each way in, and the ports of the three.
async fn world() -> (Daemon, [u16; 3]) {
    let ports = [free_port(), free_port(), free_port()];
    let [plain, tls, web] = ports;
    let certificate = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let setup = setup(
        plain,
        &format!(
            r#"
            [[listen]]
            address = "127.0.0.1:{tls}"
            tls = {{ certificate = "scripts/cert.pem", key = "scripts/key.pem" }}
            [[listen.endpoint]]
            dialect = "mqtt"
            [[listen]]
            address = "127.0.0.1:{web}"
            [[listen.endpoint]]
            path = "/mqtt"
            dialect = "mqtt"
            [[listen.endpoint]]
            path = "/rpc"
            dialect = "jsonrpc"
            "#
        ),
    );
    let setup = setup.script("cert.pem", &certificate.cert.pem());
    let setup = setup.script("key.pem", &certificate.signing_key.serialize_pem());
    (setup.start().await, ports)
}

pub async fn run(script: &str, task: &Value) -> Value {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let installed = root.join("target/clients");
    let program = match script.ends_with(".py") {
        true => installed.join("venv/bin/python"),
        false => "node".into(),
    };
    let running = Command::new(program)
        .arg(root.join("tests/clients").join(script))
        .arg(task.to_string())
        .env("NODE_PATH", installed.join("npm/node_modules"))
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(PATIENCE * 2, running).await;
    let output = output.expect("the client does not end").unwrap();
    assert!(output.status.success(), "{script} {task}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
async fn client_libraries_over_each_transport() {
    let (daemon, [plain, tls, web]) = world().await;
    let ca = daemon.directory.path().join("scripts/cert.pem");
    for script in ["paho_device.py", "mqtt_device.cjs"] {
        for version in [5, 4] {
            for (transport, port) in [("tcp", plain), ("tls", tls), ("ws", web)] {
                let task = json!({
                    "version": version, "transport": transport, "port": port, "ca": ca,
                    "token": TOKEN, "client": format!("{script} {version} {transport}"),
                });
                let heard = run(script, &task).await;
                let expected = json!({"events": ["zero", "one", "two"], "reply": "hello device"});
                assert_eq!(heard, expected, "{script} {version} {transport}");
            }
        }
    }
}

#[tokio::test]
async fn mosquittos_own_clients() {
    let (daemon, [plain, tls, _]) = world().await;
    let ca = daemon.directory.path().join("scripts/cert.pem");
    for version in ["5", "311"] {
        for port in [plain, tls] {
            let command = |program: &str| {
                let mut command = Command::new(program);
                command.args(["-h", "localhost", "-p", &port.to_string(), "-V", version]);
                command.args(["-u", "any", "-P", TOKEN]);
                if port == tls {
                    command.arg("--cafile").arg(&ca);
                }
                command.kill_on_drop(true);
                command
            };
            for qos in ["0", "1", "2"] {
                let published = command("mosquitto_pub")
                    .args(["-t", "m/x", "-m", "hi", "-q", qos, "-r"])
                    .status();
                assert!(published.await.unwrap().success(), "{version} {port} {qos}");
            }
            let heard = command("mosquitto_sub")
                .args(["-t", "m/#", "-q", "2", "-C", "1", "-W", "20", "-v"])
                .output();
            let heard = heard.await.unwrap();
            assert_eq!(
                String::from_utf8_lossy(&heard.stdout),
                "m/x hi\n",
                "{heard:?}"
            );
        }
    }
    let asked = Command::new("mosquitto_rr")
        .args([
            "-p",
            &plain.to_string(),
            "-V",
            "5",
            "-W",
            "20",
            "-u",
            "any",
            "-P",
            TOKEN,
        ])
        .args(["-t", "callway/call/greet", "-e", "callway/reply/rr"])
        .args(["-m", r#"{"name":"pump"}"#])
        .output();
    let answer = asked.await.unwrap();
    assert_eq!(
        String::from_utf8_lossy(&answer.stdout).trim(),
        r#""hello pump""#
    );
}

#[tokio::test]
async fn the_command_line_calls_without_a_broker() {
    let (daemon, [plain, ..]) = world().await;
    for url in [
        format!("mqtt://127.0.0.1:{plain}"),
        format!("mqtt://127.0.0.1:{plain}/callway/call?protocol=4"),
    ] {
        let call = Command::new(env!("CARGO_BIN_EXE_callway"))
            .args(["call", "greet", r#"{"name":"shell"}"#, "--via", &url])
            .env("CALLWAY_TOKEN", TOKEN)
            .output();
        let output = call.await.unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(said.trim(), r#""hello shell""#, "{url}: {output:?}");
    }
    let log = daemon.log();
    assert!(!log.contains(TOKEN));
}

//! Clients that nobody wrote for callway: from PyPI and npm, mosquitto's own tools, a browser, and
//! `callway call`. Each makes a call; those of the libraries also answer one.

pub mod browser;

use std::path::{Path, PathBuf};
use std::process::Stdio;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::eventually;
use crate::support::{Daemon, Mosquitto, PATIENCE, Rabbit, Setup, TOKEN};

/// One script for each client library, in tests/clients.
const CLIENTS: [&str; 6] = [
    "paho_client.py",
    "pika_client.py",
    "websockets_client.py",
    "mqtt_client.cjs",
    "amqplib_client.cjs",
    "ws_client.cjs",
];

struct World {
    mosquitto: Mosquitto,
    rabbit: Rabbit,
    daemon: Daemon,
}

impl World {
    async fn start() -> World {
        let (mosquitto, rabbit) = tokio::join!(Mosquitto::start(), Rabbit::shared());
        let config = format!(
            r#"
            [bus.field5]
            url = "{mqtt}"
            calls = "callway/call"
            caller = "tester"
            [bus.field4]
            url = "{mqtt}"
            protocol = 4
            calls = "callway4/call"
            [bus.office]
            url = "{amqp}"
            calls = "callway.calls"
            [[route]]
            method = "greet"
            script = "greet.js"
            [[route]]
            method = "devices/{{name}}"
            mqtt = {{ bus = "field5", topic = "devices/{{name}}" }}
            [[route]]
            method = "old-devices/{{name}}"
            mqtt = {{ bus = "field4", topic = "old-devices/{{name}}" }}
            [[route]]
            method = "services/{{name}}"
            amqp = {{ bus = "office", routing_key = "services-{{name}}" }}
            [[route]]
            method = "workers/{{name}}"
            worker = {{}}
            "#,
            mqtt = mosquitto.url(),
            amqp = rabbit.url(),
        );
        let greet = r#"return "hello " + request.body.name;"#;
        let setup = Setup::new().config(&config).script("greet.js", greet);
        let daemon = setup.start().await;
        for bus in ["field5", "field4", "office"] {
            daemon.link_is(bus, "up").await;
        }
        World {
            mosquitto,
            rabbit,
            daemon,
        }
    }

    /// What a client script must know, and for a client that answers the method that it answers.
    fn tasks(&self, script: &str, role: &str) -> Vec<(Value, String)> {
        let name = script.replace(['.', '_'], "-");
        let base = json!({
            "do": role, "token": TOKEN, "method": "greet", "params": {"name": script},
            "port": self.mosquitto.port, "url": self.daemon.ws_url("/rpc"),
        });
        let with = |more: Value, method: String| {
            let mut task = base.clone();
            let more = more.as_object().unwrap().clone();
            task.as_object_mut().unwrap().extend(more);
            (task, method)
        };
        if script.starts_with("paho") || script.starts_with("mqtt") {
            let task = |version, calls, devices| {
                let reply_topic = format!("callway/reply/{name}/{version}");
                let topic = format!("{devices}/{name}");
                let more = json!({
                    "version": version, "calls": calls, "reply_topic": reply_topic, "topic": topic
                });
                with(more, topic)
            };
            vec![
                task(5, "callway/call", "devices"),
                task(4, "callway4/call", "old-devices"),
            ]
        } else if script.starts_with("pika") || script.starts_with("amqplib") {
            let queue = match role {
                "call" => "callway.calls".to_owned(),
                _ => format!("services-{name}"),
            };
            let more = json!({"url": self.rabbit.url(), "queue": queue});
            vec![with(more, format!("services/{name}"))]
        } else {
            let method = format!("workers/{name}");
            let more = match role {
                "call" => json!({}),
                _ => json!({"method": method}),
            };
            vec![with(more, method)]
        }
    }
}

#[tokio::test]
async fn client_libraries_call() {
    let world = World::start().await;
    let calls = CLIENTS.iter().flat_map(|script| {
        let tasks = world.tasks(script, "call").into_iter();
        tasks.map(move |(task, _)| async move {
            let said = Client::start(script, &task).finish().await;
            assert_eq!(said, json!(format!("hello {script}")), "{script} {task}");
        })
    });
    join_all(calls).await;
}

#[tokio::test]
async fn client_libraries_answer() {
    let world = World::start().await;
    let answers = CLIENTS.iter().flat_map(|script| {
        let tasks = world.tasks(script, "answer").into_iter();
        tasks.map(|(task, method)| answer(&world.daemon, script, task, method))
    });
    join_all(answers).await;
}

async fn answer(daemon: &Daemon, script: &str, task: Value, method: String) {
    let mut client = Client::start(script, &task);
    assert_eq!(client.line().await, "ready", "{script} {task}");
    let params = json!({"for": script});
    let reply = daemon.ws().await.call(&method, params.clone()).await;
    let reply = reply.unwrap_or_else(|kind| panic!("{script} {task}: {kind}"));
    assert_eq!(reply["params"], params);
    assert_eq!(client.finish().await, "answered");
}

#[tokio::test]
async fn a_device_publishes_and_a_script_runs() {
    let world = World::start().await;
    let port = world.mosquitto.port.to_string();
    let published = Command::new("mosquitto_pub")
        .args(["-p", &port, "-t", "callway/call/greet"])
        .args(["-m", r#"{"name":"pump"}"#])
        .status();
    assert!(published.await.unwrap().success());
    let ran = r#"callway_calls_total{via="mqtt",target="js",outcome="ok"}"#;
    eventually!(world.daemon.metric(ran).await == 1.0);

    let asked = Command::new("mosquitto_rr")
        .args(["-p", &port, "-V", "5", "-W", "20"])
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
async fn the_command_line_calls_over_each_transport() {
    let world = World::start().await;
    let (daemon, rabbit) = (&world.daemon, &world.rabbit);
    let urls = [
        format!("ws://{}/rpc", daemon.address),
        format!("http://{}/api", daemon.address),
        format!("{}/callway/call", world.mosquitto.url()),
        format!("{}?queue=callway.calls", rabbit.url()),
    ];
    for url in urls {
        let call = Command::new(env!("CARGO_BIN_EXE_callway"))
            .args(["call", "greet", r#"{"name":"shell"}"#, "--via", &url])
            .env("CALLWAY_TOKEN", TOKEN)
            .output();
        let output = call.await.unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(said.trim(), r#""hello shell""#, "{url}: {output:?}");
    }
}

/// A client script at work.
pub struct Client {
    child: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Client {
    /// Starts one of tests/clients with its task.
    pub fn start(script: &str, task: &Value) -> Client {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let installed = root.join("target/clients");
        assert!(
            installed.join("stamp").exists(),
            "the foreign clients are not installed; tests/run does it"
        );
        let program = match Path::new(script).extension() {
            Some(extension) if extension == "py" => installed.join("venv/bin/python"),
            _ => PathBuf::from("node"),
        };
        let mut child = Command::new(program)
            .arg(root.join("tests/clients").join(script))
            .arg(task.to_string())
            .env("NODE_PATH", installed.join("npm/node_modules"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let stdin = child.stdin.take().unwrap();
        Client {
            child,
            stdin,
            lines,
        }
    }

    /// Types a line.
    pub async fn type_in(&mut self, line: &str) {
        let line = format!("{line}\n");
        self.stdin.write_all(line.as_bytes()).await.unwrap();
    }

    /// The next line that it prints.
    pub async fn line(&mut self) -> String {
        let line = tokio::time::timeout(PATIENCE, self.lines.next_line()).await;
        let line = line.expect("the client says nothing").unwrap();
        line.expect("the client ended; see what it wrote above")
    }

    /// Its last line, as JSON, and a good end.
    pub async fn finish(mut self) -> Value {
        let said = self.line().await;
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        let status = ended.expect("the client does not end").unwrap();
        assert!(status.success(), "{said}");
        serde_json::from_str(&said).unwrap()
    }
}

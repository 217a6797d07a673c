//! The promise in one table: every caller reaches every target, on real brokers, and again after
//! the brokers were killed and restarted.

mod responders;

use futures_util::future::join_all;
use serde_json::json;

use self::responders::Responders;
use crate::support::caller::{self, BUSES, Caller};
use crate::support::{Daemon, Mosquitto, Rabbit, Setup};

const CALLERS: [&str; 10] = [
    "jsonrpc", "scriptr", "http", "mqtt5", "mqtt4", "device5", "device4", "amqp", "js", "lua",
];

/// Each target with the kind of the fault that it raises.
const TARGETS: [(&str, &str); 9] = [
    ("lua", "script_error"),
    ("js", "script_error"),
    ("mqtt5", "target_error"),
    ("mqtt4", "target_error"),
    ("amqp", "target_error"),
    ("worker", "target_error"),
    ("device5", "target_error"),
    ("device4", "target_error"),
    ("http", "target_error"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_caller_reaches_every_target() {
    let (mut mosquitto, mut rabbit) = tokio::join!(Mosquitto::start(), Rabbit::own());
    let mut responders = Responders::start(&mosquitto, &rabbit).await;
    let daemon = setup(&mosquitto, &rabbit, &responders).start().await;
    responders.connect_worker(&daemon).await;

    the_whole_table(&daemon, &mosquitto, &rabbit).await;

    mosquitto.kill();
    rabbit.kill();
    for bus in BUSES {
        daemon.link_is(bus, "down").await;
    }
    tokio::join!(mosquitto.restart(), rabbit.restart());
    the_whole_table(&daemon, &mosquitto, &rabbit).await;
}

async fn the_whole_table(daemon: &Daemon, mosquitto: &Mosquitto, rabbit: &Rabbit) {
    for bus in BUSES {
        daemon.link_is(bus, "up").await;
    }
    let rows = CALLERS.map(|caller| row(caller, daemon, mosquitto, rabbit));
    let failures: Vec<String> = join_all(rows).await.concat();
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

/// All targets for one caller; says which cells are wrong.
async fn row(name: &str, daemon: &Daemon, mosquitto: &Mosquitto, rabbit: &Rabbit) -> Vec<String> {
    let mut caller = Caller::connect(name, daemon, mosquitto, rabbit).await;
    let mut wrong = Vec::new();
    for (target, fault) in TARGETS {
        let params = json!({"from": name, "n": [1, 2.5, "ü"]});
        let expected = [
            ("ok", Ok(json!({"by": target, "got": params}))),
            ("fault", Err(fault.to_owned())),
            ("slow", Err("timeout".to_owned())),
        ];
        for (verb, expected) in expected {
            // A responder that lost its broker too may need a moment longer than callway.
            let mut got = Err("never called".to_owned());
            for _ in 0..50 {
                got = caller.call(&format!("{target}/{verb}"), &params).await;
                if !is_not_back(&got) || verb == "slow" {
                    break;
                }
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
            if got != expected {
                wrong.push(format!("{name} → {target}/{verb}: {got:?}"));
            }
        }
    }
    wrong
}

fn is_not_back(outcome: &Result<serde_json::Value, String>) -> bool {
    let kind = outcome.as_ref().err().map(String::as_str);
    matches!(kind, Some("no_responder" | "unavailable" | "timeout"))
}

/// The daemon of the table: one route per target, and one with a short deadline for `slow`.
fn setup(mosquitto: &Mosquitto, rabbit: &Rabbit, responders: &Responders) -> Setup {
    let mut config = caller::buses(mosquitto, rabbit);
    for (target, _) in TARGETS {
        let destination = match target {
            "lua" => r#"script = "{verb}.lua""#.to_owned(),
            "js" => r#"script = "{verb}.js""#.to_owned(),
            "amqp" => r#"amqp = { bus = "office", routing_key = "responder-{verb}" }"#.to_owned(),
            "worker" | "device5" | "device4" => "worker = {}".to_owned(),
            "http" => format!(
                r#"http = {{ url = "http://{}/{{verb}}" }}"#,
                responders.http
            ),
            mqtt => {
                let bus = mqtt.replace("mqtt", "field");
                format!(r#"mqtt = {{ bus = "{bus}", topic = "{mqtt}/{{verb}}" }}"#)
            }
        };
        config.push_str(&format!(
            "[[route]]\nmethod = \"{target}/{{verb}}\"\n{destination}\ntimeout = \"5s\"\n\
             [[route]]\nmethod = \"{target}/slow\"\n{}\ntimeout = \"250ms\"\n",
            destination.replace("{verb}", "slow"),
        ));
    }
    Setup::new()
        .config(&config)
        .script("ok.js", r#"return { by: "js", got: request.body };"#)
        .script("fault.js", r#"throw new Error("broken on purpose");"#)
        .script("slow.js", "while (true) {}")
        .script("ok.lua", r#"return { by = "lua", got = request.body }"#)
        .script("fault.lua", r#"error("broken on purpose")"#)
        .script("slow.lua", "while true do end")
        .script("relay.js", caller::RELAY_JS)
        .script("relay.lua", caller::RELAY_LUA)
}

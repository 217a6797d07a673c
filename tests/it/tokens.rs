//! Tokens that are made, revoked and expire while callway runs.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::eventually;
use crate::support::caller::{self, BUSES, Caller, TRANSPORTS};
use crate::support::{Daemon, Http, Mosquitto, Mqtt, Rabbit, Setup, Version, Ws};

const ECHO: &str = r#"
    [[route]]
    method = "echo"
    script = "echo.js"
    [[route]]
    method = "vision/{path...}"
    worker = {}
"#;

async fn daemon() -> Daemon {
    let setup = Setup::new().config(ECHO);
    let setup = setup.script("echo.js", "return request.body;");
    setup.start().await
}

async fn revoke(daemon: &Daemon, name: &str) {
    let output = daemon.command(&["token", "revoke", name]).await;
    assert!(output.status.success(), "{output:?}");
}

async fn echo(daemon: &Daemon, token: &str) -> u16 {
    let http = Http::new(daemon.address).bearer(token);
    http.post("/api/echo", &json!({"a": 1})).await.status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revoked_is_revoked_on_every_transport_at_once() {
    let (mosquitto, rabbit) = tokio::join!(Mosquitto::start(), Rabbit::shared());
    let device =
        "[[route]]\nmethod = \"device\"\nmqtt = { bus = \"field5\", topic = \"device\" }\n";
    let setup = Setup::new()
        .config(&caller::buses(&mosquitto, &rabbit))
        .config(ECHO)
        .config(device)
        .script("echo.js", "return request.body;")
        .script("relay.js", caller::RELAY_JS)
        .script("relay.lua", caller::RELAY_LUA);
    let daemon = setup.start().await;
    for bus in BUSES {
        daemon.link_is(bus, "up").await;
    }
    let token = daemon.token("ada", &["--call", "{path...}"]).await;
    let mut silent = Mqtt::connect(mosquitto.port, Version::V5).await;
    silent.subscribe("device").await;

    let mut idle = Ws::connect(&daemon.ws_url("/rpc"), &token).await;
    let mut scriptr = Ws::connect(&daemon.ws_url("/"), &token).await;
    scriptr.next().await;
    let mut callers = Vec::new();
    for way in TRANSPORTS {
        let connect = Caller::connect_as(&token, way, &daemon, &mosquitto, &rabbit);
        let mut caller = connect.await;
        let outcome = caller.call("echo", &json!({"way": way})).await;
        assert_eq!(outcome, Ok(json!({"way": way})), "{way}");
        callers.push((way, caller));
    }
    // One call of each is under way, to a device that never answers. A WebSocket may be closed
    // before the call's end is told, so there it is left to its own test below.
    let mut calls = tokio::task::JoinSet::new();
    for (way, mut caller) in callers {
        if !matches!(way, "jsonrpc" | "scriptr") {
            calls.spawn(async move {
                let outcome = caller.call("device", &json!({})).await;
                (way, caller, outcome)
            });
            silent.next().await;
        }
    }
    let started = Instant::now();
    revoke(&daemon, "ada").await;
    assert_eq!(idle.close_code().await, 4003);
    assert_eq!(scriptr.close_code().await, 4003);
    let mut callers = Vec::new();
    while let Some(ended) = calls.join_next().await {
        let (way, caller, outcome) = ended.unwrap();
        assert_eq!(outcome, Err("unauthenticated".into()), "{way}");
        callers.push((way, caller));
    }
    assert!(
        started.elapsed() < Duration::from_secs(10),
        "the calls had 30 s"
    );
    for (way, mut caller) in callers {
        let outcome = caller.call("echo", &json!({})).await;
        assert_eq!(outcome, Err("unauthenticated".into()), "{way}");
    }
    let bearer = format!("Bearer {token}");
    let refused = Ws::try_connect(&daemon.ws_url("/rpc"), &[("authorization", &bearer)]).await;
    assert_eq!(refused.err(), Some(401));
    let metric = daemon.metric("callway_calls_in_flight").await;
    assert_eq!(metric, 0.0);
}

#[tokio::test]
async fn a_revoked_client_s_calls_are_given_up() {
    let daemon = daemon().await;
    let token = daemon.token("ada", &["--call", "vision/count"]).await;
    let mut worker = daemon.ws().await;
    let offer = json!({"methods": ["vision/count"]});
    worker.call("callway.serve", offer).await.unwrap();
    let mut ada = Ws::connect(&daemon.ws_url("/rpc"), &token).await;
    ada.request("vision/count", json!({})).await;
    let is = |method: &'static str| move |message: &Value| message["method"] == method;
    worker.find(is("vision/count")).await;
    revoke(&daemon, "ada").await;
    worker.find(is("callway.cancel")).await;
    assert_eq!(ada.close_code().await, 4003);
}

#[tokio::test]
async fn a_revoked_worker_loses_its_seat() {
    let daemon = daemon().await;
    let token = daemon.token("eye", &["--serve", "vision/{path...}"]).await;
    let mut worker = Ws::connect(&daemon.ws_url("/rpc"), &token).await;
    let offer = json!({"methods": ["vision/count"]});
    worker.call("callway.serve", offer).await.unwrap();
    let mut caller = daemon.ws().await;
    let id = caller.request("vision/count", json!({})).await;
    worker.find(|message| message.get("method").is_some()).await;
    revoke(&daemon, "eye").await;
    let fault = caller.response(id).await["error"]["data"].take();
    assert_eq!(fault["detail"]["reason"], "worker_lost");
    assert_eq!(worker.close_code().await, 4003);
    let after = caller.call("vision/count", json!({})).await;
    assert_eq!(after, Err("no_responder".into()));
}

#[tokio::test]
async fn a_token_expires_on_time() {
    let daemon = daemon().await;
    let life = Duration::from_millis(2500);
    let before = Instant::now();
    let arguments = ["--call", "echo", "--expires", "2500ms"];
    let token = daemon.token("brief", &arguments).await;
    let made = Instant::now();
    let mut ws = Ws::connect(&daemon.ws_url("/rpc"), &token).await;
    assert_eq!(echo(&daemon, &token).await, 200);
    assert_eq!(ws.close_code().await, 4003);
    assert!(before.elapsed() >= life, "not early");
    assert!(made.elapsed() < life + Duration::from_secs(1), "not late");
    assert_eq!(echo(&daemon, &token).await, 401);
    let shown = daemon.command(&["token", "show", "brief", "--json"]).await;
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(shown["expired"], true);
    // Its name is free again.
    let second = daemon.token("brief", &["--call", "echo"]).await;
    assert_eq!(echo(&daemon, &second).await, 200);
    assert_eq!(echo(&daemon, &token).await, 401);
}

#[tokio::test]
async fn made_tokens_outlive_the_daemon_that_made_them() {
    let mut daemon = daemon().await;
    let kept = daemon.token("kept", &["--call", "echo"]).await;
    let gone = daemon.token("gone", &["--call", "echo"]).await;
    let brief = ["--call", "echo", "--expires", "1s"];
    let brief = daemon.token("brief", &brief).await;
    revoke(&daemon, "gone").await;
    daemon.restart().await;
    assert_eq!(echo(&daemon, &kept).await, 200);
    assert_eq!(echo(&daemon, &gone).await, 401);
    eventually!(echo(&daemon, &brief).await == 401);
    revoke(&daemon, "kept").await;
    assert_eq!(echo(&daemon, &kept).await, 401);
    daemon.restart().await;
    assert_eq!(echo(&daemon, &kept).await, 401, "revoked for good");
}

#[tokio::test]
async fn a_name_is_given_once() {
    let daemon = daemon().await;
    daemon.token("ada", &[]).await;
    for name in ["ada", "tester"] {
        let output = daemon.command(&["token", "create", name]).await;
        assert_eq!(output.status.code(), Some(65), "{name}");
        assert!(output.stdout.is_empty());
    }
    let row = daemon.command(&["token", "revoke", "tester"]).await;
    assert_eq!(
        row.status.code(),
        Some(65),
        "it stands in the configuration"
    );
    assert_eq!(
        daemon.ws().await.call("echo", json!([1])).await,
        Ok(json!([1]))
    );
    let nobody = daemon.command(&["token", "revoke", "nobody"]).await;
    assert_eq!(nobody.status.code(), Some(1));
}

#[tokio::test]
async fn the_configuration_goes_before_what_was_made() {
    let mut daemon = daemon().await;
    let made = daemon.token("ada", &["--call", "echo"]).await;
    daemon.kill();
    let file = daemon.directory.path().join("callway.toml");
    let mut config = std::fs::read_to_string(&file).unwrap();
    let row = format!(
        "[[token]]\nname = \"ada\"\nsha256 = \"{}\"\ncall = [\"echo\"]\n",
        callway::auth::digest("cw_row")
    );
    config.push_str(&row);
    std::fs::write(&file, config).unwrap();
    daemon.again().await;
    assert_eq!(echo(&daemon, &made).await, 401);
    assert_eq!(echo(&daemon, "cw_row").await, 200);
    assert!(daemon.log().contains("a made token is refused"));
    // The one that was made is revoked, the row stays.
    revoke(&daemon, "ada").await;
    assert_eq!(echo(&daemon, "cw_row").await, 200);
}

#[tokio::test]
async fn tokens_are_shown_without_themselves() {
    let daemon = daemon().await;
    let arguments = ["--call", "log/{caller}", "--admin", "--expires", "90d"];
    let token = daemon.token("ada", &arguments).await;
    let list = daemon.command(&["token", "list", "--json"]).await;
    let list: Value = serde_json::from_slice(&list.stdout).unwrap();
    let names: Vec<_> = list["tokens"].as_array().unwrap().iter().collect();
    let names: Vec<_> = names.iter().map(|token| &token["name"]).collect();
    assert_eq!(names, ["tester", "powerless", "ada"]);
    let ada = &list["tokens"][2];
    assert_eq!(ada["call"], json!(["log/ada"]));
    assert_eq!(
        (&ada["source"], &ada["admin"]),
        (&json!("made"), &json!(true))
    );
    let shown = daemon.command(&["token", "show", "ada"]).await;
    let shown = String::from_utf8(shown.stdout).unwrap();
    for line in [
        "name     ada",
        "may      call log/ada",
        "may      use the administration",
    ] {
        assert!(shown.lines().any(|one| one == line), "{line}: {shown}");
    }
    assert!(!shown.contains(&token) && !shown.contains('\x1b'));
    let mut ws = Ws::connect(&daemon.ws_url("/rpc"), &token).await;
    let me = ws.call("callway.whoami", json!({})).await.unwrap();
    assert_eq!(me["call"], json!(["log/ada"]));
}

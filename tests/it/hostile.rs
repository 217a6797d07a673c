//! Bad input: each gets the right kind of fault, the same on all transports; the connection lives
//! on where its protocol lets it, and the next good message is served.

mod addresses;
mod frames;

use serde_json::json;
use serde_json::value::RawValue;

use crate::support::caller::{self, BUSES, Caller, TRANSPORTS};
use crate::support::{Daemon, Mosquitto, POWERLESS, Rabbit, Setup, TOKEN, Ws};

/// A daemon behind all transports, with a script to call and captures that end in addresses.
struct World {
    mosquitto: Mosquitto,
    rabbit: Rabbit,
    daemon: Daemon,
}

impl World {
    async fn start(more: &str) -> World {
        let (mosquitto, rabbit) = tokio::join!(Mosquitto::start(), Rabbit::shared());
        World::start_between(mosquitto, rabbit, more).await
    }

    async fn start_between(mosquitto: Mosquitto, rabbit: Rabbit, more: &str) -> World {
        let routes = r#"
            [[route]]
            method = "echo"
            script = "echo.js"
            [[route]]
            method = "small"
            script = "echo.js"
            max_params = "1KiB"
            [[route]]
            method = "strict"
            script = "echo.js"
            schema = { params = { type = "object", properties = { n = { type = "integer" } } } }
            [[route]]
            method = "topics/{name}"
            mqtt = { bus = "field5", topic = "devices/{name}/rpc" }
            [[route]]
            method = "keys/{name}"
            amqp = { bus = "office", routing_key = "service.{name}" }
            [[route]]
            method = "files/{path...}"
            script = "{path}.js"
        "#;
        let setup = Setup::new()
            .config(&caller::buses(&mosquitto, &rabbit))
            .config(routes)
            .config(more)
            .script("echo.js", "return request.body;")
            .script("loop.js", r#"return callway.call("files/loop", null);"#)
            .script("relay.js", caller::RELAY_JS)
            .script("relay.lua", caller::RELAY_LUA);
        let daemon = setup.start().await;
        for bus in BUSES {
            daemon.link_is(bus, "up").await;
        }
        World {
            mosquitto,
            rabbit,
            daemon,
        }
    }

    async fn caller(&self, token: &str, way: &str) -> Caller {
        Caller::connect_as(token, way, &self.daemon, &self.mosquitto, &self.rabbit).await
    }
}

/// scriptr has one word for two kinds.
fn is(kind: &str, got: &str) -> bool {
    kind == got || (got == "invalid_*" && kind.starts_with("invalid_"))
}

#[tokio::test]
async fn hostile_params_get_the_same_verdict_everywhere() {
    let world = World::start("").await;
    let deep = "[".repeat(200_000);
    let rather_deep = "[".repeat(129) + &"]".repeat(129);
    let large = json!(["x".repeat(2000)]).to_string();
    let huge = json!(["x".repeat(200_000)]).to_string();
    let cases: [(&str, &str, &str); 15] = [
        ("echo", r#"{"a":"#, "parse_error"),
        ("echo", r#"{"a":1,}"#, "parse_error"),
        ("echo", r#"{"a":01}"#, "parse_error"),
        ("echo", "[NaN]", "parse_error"),
        ("echo", "[1e999]", "parse_error"),
        ("echo", r#"["\ud800"]"#, "parse_error"),
        ("echo", r#"["\udc00\ud800"]"#, "parse_error"),
        ("echo", &deep, "parse_error"),
        ("echo", &rather_deep, "parse_error"),
        ("no/such/method", "{}", "method_not_found"),
        ("strict", r#"{"n":"text"}"#, "invalid_params"),
        ("strict", "[]", "invalid_params"),
        ("small", &large, "too_large"),
        ("small", &huge, "too_large"),
        ("files/missing", "{}", "method_not_found"),
    ];
    for way in TRANSPORTS {
        let mut caller = world.caller(TOKEN, way).await;
        for (method, params, kind) in &cases {
            // There the reply address stands in the very text that cannot be read.
            if way == "mqtt4" && serde_json::from_str::<&RawValue>(params).is_err() {
                continue;
            }
            let got = caller.call_text(method, params.as_bytes()).await;
            let shown = &params[..params.len().min(40)];
            let got = got.expect_err("a fault is owed");
            assert!(is(kind, &got), "{way} {method} {shown}: {got}, not {kind}");
            // The same connection goes on.
            let good = caller.call("echo", &json!({"ok": way})).await;
            assert_eq!(good, Ok(json!({"ok": way})), "{way} after {shown}");
        }
    }
}

#[tokio::test]
async fn invalid_utf8_is_a_parse_error() {
    let world = World::start("").await;
    // On WebSocket it is a broken frame, see frames.rs.
    for way in ["http", "mqtt5", "mqtt4", "amqp"] {
        let mut caller = world.caller(TOKEN, way).await;
        for bad in [
            &b"{\"a\":\"\xff\"}"[..],
            b"[\"\xc0\x80\"]",
            b"[\"\xed\xa0\x80\"]",
        ] {
            let got = caller.call_text("echo", bad).await;
            assert_eq!(got, Err("parse_error".into()), "{way}");
        }
        assert_eq!(caller.call("echo", &json!([1])).await, Ok(json!([1])));
    }
}

#[tokio::test]
async fn captured_text_injects_nothing() {
    let world = World::start("").await;
    for way in ["jsonrpc", "amqp", "mqtt4"] {
        let mut caller = world.caller(TOKEN, way).await;
        let hostile = [
            "topics/+",
            "topics/#",
            "topics/a/b",
            "keys/a.b",
            "keys/*",
            "keys/#",
            "files/../secret",
            "files/..",
            "files/.",
            "files//echo",
            "/echo",
            "echo/",
            "",
            "callway.whatever",
        ];
        for method in hostile {
            let got = caller.call(method, &json!({})).await.unwrap_err();
            let refused = ["invalid_request", "method_not_found"].contains(&got.as_str());
            assert!(refused, "{way} {method:?}: {got}");
        }
        assert_eq!(caller.call("echo", &json!(["ok"])).await, Ok(json!(["ok"])));
    }
}

#[tokio::test]
async fn who_may_not_call_is_told_the_same_everywhere() {
    let world = World::start("").await;
    for way in TRANSPORTS {
        let mut caller = world.caller(POWERLESS, way).await;
        for method in ["echo", "no/such/method"] {
            let got = caller.call(method, &json!({})).await;
            assert_eq!(got, Err("forbidden".into()), "{way} {method}");
        }
    }
    let unknown = "cw_unknown";
    for way in ["http", "mqtt5", "mqtt4", "amqp"] {
        let got = world
            .caller(unknown, way)
            .await
            .call("echo", &json!({}))
            .await;
        assert_eq!(got, Err("unauthenticated".into()), "{way}");
    }
    let bearer = format!("Bearer {unknown}");
    let refused =
        Ws::try_connect(&world.daemon.ws_url("/rpc"), &[("authorization", &bearer)]).await;
    assert_eq!(refused.err(), Some(401));
    let url = world.daemon.ws_url(&format!("/{unknown}"));
    let mut scriptr = Ws::try_connect(&url, &[])
        .await
        .expect("refused after the upgrade");
    assert_eq!(scriptr.close_code().await, 4000);
}

#[tokio::test]
async fn a_call_that_comes_back_to_itself_ends() {
    let (mosquitto, rabbit) = tokio::join!(Mosquitto::start(), Rabbit::shared());
    // Two names of one broker: no check of the configuration can see that this is a circle.
    let circle = format!(
        r#"
        [bus.out]
        url = "{url}"
        calls = ""
        [bus.back]
        url = "{other}"
        calls = "back.calls"
        caller = "tester"
        [[route]]
        method = "circle"
        amqp = {{ bus = "out", routing_key = "back.calls" }}
        [limits]
        hops = 3
        "#,
        url = rabbit.url(),
        other = rabbit.url().replace("127.0.0.1", "localhost"),
    );
    let world = World::start_between(mosquitto, rabbit, &circle).await;
    for bus in ["out", "back"] {
        world.daemon.link_is(bus, "up").await;
    }
    let mut caller = world.caller(TOKEN, "jsonrpc").await;
    let stopped = r#"callway_limit_reached_total{limit="hops"}"#;
    let got = caller.call("circle", &json!({})).await;
    assert_eq!(
        got,
        Err("target_error".into()),
        "callway is the responder that failed"
    );
    assert_eq!(world.daemon.metric(stopped).await, 1.0);
    let got = caller.call("files/loop", &json!({})).await;
    assert_eq!(got, Err("script_error".into()));
    assert_eq!(world.daemon.metric(stopped).await, 2.0);
    assert_eq!(caller.call("echo", &json!([1])).await, Ok(json!([1])));
}

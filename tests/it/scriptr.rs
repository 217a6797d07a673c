//! scriptr's WebSocket and HTTP form, as its clients speak them.

mod access;
mod buses;
mod clients;
mod example;
mod surface;

use serde_json::{Value, json};

use crate::support::{Daemon, Http, HttpReply, POWERLESS, Service, Setup, TOKEN, Ws};

/// A token as scriptr.io makes them: base64, with all that hurts in a URL.
const BASE64: &str = "QUNNRTpk+XZpY2U6/w==";

async fn daemon(service: &Service) -> Daemon {
    let at = service.address();
    Setup::new()
        .config(&format!(
            r#"
            [[listen.endpoint]]
            path = "/open"
            dialect = "scriptr"
            anonymous = "tester"
            legacy_envelope = true
            ordered = false
            methods = "echo/{{path...}}"
            [[token]]
            name = "device"
            sha256 = "{}"
            call = ["echo/{{path...}}"]
            [[route]]
            method = "echo/{{path...}}"
            http = {{ url = "http://{at}/{{path}}" }}
            [[route]]
            method = "echo/slow"
            http = {{ url = "http://{at}/slow" }}
            timeout = "400ms"
            "#,
            callway::auth::digest(BASE64),
        ))
        .start()
        .await
}

async fn connect(daemon: &Daemon, path: &str) -> Ws {
    Ws::try_connect(&daemon.ws_url(path), &[]).await.unwrap()
}

async fn greeted(daemon: &Daemon, path: &str) -> (Ws, String) {
    let mut socket = connect(daemon, path).await;
    let greeting = socket.next().await;
    let id = greeting["id"].as_str().unwrap().to_owned();
    assert_eq!(
        greeting,
        json!({"id": id, "status": "success", "result": "connected."})
    );
    assert!(
        id.len() == 8 && id.bytes().all(|b| b.is_ascii_hexdigit()),
        "{id}"
    );
    (socket, id)
}

#[tokio::test]
async fn a_bad_token_closes_with_4000() {
    let service = Service::start().await;
    let daemon = daemon(&service).await;
    for path in [
        "/",
        "/unknown",
        "//unknown",
        "/unknown==",
        "/?token=unknown",
    ] {
        assert_eq!(
            connect(&daemon, path).await.close_code().await,
            4000,
            "{path}"
        );
    }
    assert!(!daemon.log().contains("unknown=="));
}

#[tokio::test]
async fn a_token_is_found_however_clients_write_it() {
    let service = Service::start().await;
    let daemon = daemon(&service).await;
    let escaped = BASE64
        .replace('+', "%2B")
        .replace('/', "%2F")
        .replace('=', "%3D");
    for path in [
        format!("/{BASE64}"),
        format!("//{BASE64}"),
        format!("/{escaped}"),
        format!("/?auth_token={escaped}"),
        format!("/?token={BASE64}"),
    ] {
        greeted(&daemon, &path).await;
    }
}

#[tokio::test]
async fn failures_have_scriptrs_words_and_the_socket_lives() {
    let service = Service::start().await;
    let daemon = daemon(&service).await;
    let (mut socket, id) = greeted(&daemon, &format!("/{TOKEN}")).await;
    let deep = format!(
        r#"{{"method":"echo/x","params":{}1{}}}"#,
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    for (frame, status, code) in [
        ("{", "400", "PARSE_ERROR"),
        ("[]", "400", "INVALID_PARAMETER_VALUE"),
        (r#"{"params":1}"#, "400", "INVALID_PARAMETER_VALUE"),
        (r#"{"method":"no/such"}"#, "404", "INVALID_SCRIPT_NAME"),
        (r#"{"method":"echo//x"}"#, "400", "INVALID_PARAMETER_VALUE"),
        (
            r#"{"method":"echo/x","params":"\ud800"}"#,
            "400",
            "PARSE_ERROR",
        ),
        (
            r#"{"method":"echo/x","params":1e999}"#,
            "400",
            "PARSE_ERROR",
        ),
        (&deep, "400", "PARSE_ERROR"),
        (r#"{"method":"echo/fails"}"#, "502", "TARGET_ERROR"),
        (r#"{"method":"echo/slow"}"#, "504", "TIMEOUT"),
        (
            r#"{"method":"Publish","params":{"channel":"c","message":"m"}}"#,
            "404",
            "CHANNEL_NOT_FOUND",
        ),
        (
            r#"{"method":"Unscubscribe","params":{"channel":[1]}}"#,
            "400",
            "INVALID_PARAMETER_VALUE",
        ),
    ] {
        socket.send(frame).await;
        let reply = socket.next().await;
        assert_eq!(reply["status"], "failure", "{reply}");
        assert_eq!(
            (&reply["statusCode"], &reply["errorCode"]),
            (&json!(status), &json!(code)),
            "{reply}"
        );
        assert!(reply["errorDetail"].is_string());
        assert!(reply["id"].as_str().unwrap().starts_with(&format!("{id}-")));
    }
    socket.send(r#"{"method":"echo/text","id":"w_7"}"#).await;
    assert_eq!(
        socket.next().await,
        json!({"id": format!("{id}-w_7"), "status": "success", "statusCode": "200", "result": "plain"})
    );

    let (mut powerless, _) = greeted(&daemon, &format!("/{POWERLESS}")).await;
    powerless.send(r#"{"method":"echo/x"}"#).await;
    let refused = powerless.next().await;
    assert_eq!(
        (&refused["statusCode"], &refused["errorCode"]),
        (&json!("403"), &json!("PERMISSION_DENIED"))
    );
}

#[tokio::test]
async fn replies_come_in_order_unless_told_otherwise() {
    let service = Service::start().await;
    let daemon = daemon(&service).await;
    let (mut ordered, session) = greeted(&daemon, &format!("/{TOKEN}")).await;
    ordered.send(r#"{"method":"/echo/slow","id":1}"#).await;
    ordered.send(r#"{"method":"echo/text","id":2}"#).await;
    ordered.send("{").await;
    assert_eq!(ordered.next().await["id"], format!("{session}-1"));
    assert_eq!(ordered.next().await["id"], format!("{session}-2"));
    assert_eq!(ordered.next().await["errorCode"], "PARSE_ERROR");

    // Anonymous, with a prefix, and the older shape beside the documented one.
    let (mut free, session) = greeted(&daemon, "/open").await;
    free.send(r#"{"method":"slow","id":1}"#).await;
    free.send(r#"{"method":"text","id":2}"#).await;
    let first = free.next().await;
    assert_eq!(first["id"], format!("{session}-2"));
    assert_eq!(first["result"], "plain");
    assert_eq!(first["response"]["result"], "plain");
    assert_eq!(first["response"]["metadata"]["status"], "success");
    let second = free.next().await;
    assert_eq!(second["response"]["result"]["errorCode"], "TIMEOUT");
}

#[tokio::test]
async fn requests_before_the_greeting_are_answered_after_it() {
    let service = Service::start().await;
    let daemon = daemon(&service).await;
    let mut socket = connect(&daemon, &format!("/{TOKEN}")).await;
    socket.send(r#"{"method":"echo/text","id":1}"#).await;
    assert_eq!(socket.next().await["result"], "connected.");
    assert_eq!(socket.next().await["result"], "plain");
}

fn metadata(reply: &HttpReply) -> Value {
    reply.json()["response"]["metadata"].clone()
}

#[tokio::test]
async fn http_failures_have_numbers_and_the_code_clients_renew_on() {
    let service = Service::start().await;
    let daemon = daemon(&service).await;
    let nobody = Http::new(daemon.address);
    for path in [
        "/echo/x",
        "/echo/x?auth_token=unknown",
        "/echo/x?token=unknown",
    ] {
        let reply = nobody.get(path).await;
        assert_eq!(reply.status, 400, "{path}");
        assert_eq!(metadata(&reply)["errorCode"], "INVALID_TOKEN");
        assert_eq!(metadata(&reply)["statusCode"], 400);
        assert_eq!(metadata(&reply)["status"], "failure");
    }
    let tester = daemon.http();
    for (path, status, code) in [
        ("/no/such", 404, "INVALID_SCRIPT_NAME"),
        ("/echo/fails", 502, "TARGET_ERROR"),
        ("/echo/slow", 504, "TIMEOUT"),
        ("/echo/a%2Fb", 400, "INVALID_PARAMETER_VALUE"),
    ] {
        let reply = tester.get(path).await;
        assert_eq!(reply.status, status, "{path}");
        assert_eq!(metadata(&reply)["errorCode"], code);
        assert_eq!(metadata(&reply)["statusCode"], status);
        assert!(metadata(&reply)["requestId"].is_string());
    }
    let form = tester.header("content-type", "multipart/form-data; boundary=b");
    let reply = form.send("POST", "/echo/x", b"--b").await;
    assert_eq!(
        (reply.status, metadata(&reply)["errorCode"].as_str()),
        (400, Some("INVALID_PARAMETER_VALUE"))
    );
    let broken = daemon.http().header("content-type", "application/json");
    let reply = broken.send("POST", "/echo/x", b"{").await;
    assert_eq!(
        (reply.status, metadata(&reply)["errorCode"].as_str()),
        (400, Some("PARSE_ERROR"))
    );
    let traced = nobody.send("TRACE", "/echo/x", b"").await;
    assert_eq!(traced.status, 405);
}

#[tokio::test]
async fn http_parameters_and_tokens_come_from_wherever_they_stand() {
    let service = Service::start().await;
    let daemon = daemon(&service).await;
    let nobody = Http::new(daemon.address);
    let form = nobody
        .clone()
        .header("content-type", "application/x-www-form-urlencoded");
    let json = nobody.clone().header("content-type", "application/json");
    let body = format!("b=x+y&token={TOKEN}");
    let escaped = BASE64.replace('+', "%2B").replace('=', "%3D");
    for (reply, expected) in [
        (
            form.send("POST", "/echo/x?a=1", body.as_bytes()).await,
            json!({"a": "1", "b": "x y"}),
        ),
        (
            nobody
                .get(&format!("/echo/x?auth_token={escaped}&a=1&a=2"))
                .await,
            json!({"a": ["1", "2"]}),
        ),
        (
            json.send("PUT", &format!("/echo/x?token={TOKEN}"), br#"{"n":[1]}"#)
                .await,
            json!({"n": [1]}),
        ),
        (
            nobody
                .clone()
                .header("authorization", &format!("bEaReR {TOKEN}"))
                .send("DELETE", "/echo/x", b"")
                .await,
            Value::Null,
        ),
        (
            nobody
                .send("PATCH", &format!("/open/x?token={TOKEN}"), b"some text")
                .await,
            json!("some text"),
        ),
    ] {
        assert_eq!(
            reply.status,
            200,
            "{}",
            String::from_utf8_lossy(&reply.body)
        );
        let wrapper = reply.json();
        assert_eq!(metadata(&reply)["status"], "success");
        assert_eq!(metadata(&reply)["statusCode"], "200", "a text in successes");
        let got = wrapper["response"]["result"]["body"].as_str().unwrap();
        let got: Value = serde_json::from_str(got).unwrap_or_else(|_| got.into());
        assert_eq!(got, expected);
        assert!(!wrapper.to_string().contains(TOKEN), "{wrapper}");
    }
}

#[tokio::test]
async fn what_a_script_writes_takes_the_place_of_the_wrapper() {
    let daemon = Setup::new()
        .config("[[route]]\nmethod = \"page\"\nscript = \"page.js\"\n")
        .script(
            "page.js",
            r#"console.log("hello"); response.setStatus(201); response.setHeader("X-Mine", "yes"); response.write("<p>made</p>"); response.close();"#,
        )
        .start()
        .await;
    for path in ["/page", "/api/page"] {
        let reply = daemon.http().send("POST", path, b"").await;
        assert_eq!(reply.status, 201, "{path}");
        assert_eq!(reply.body, b"<p>made</p>");
        assert_eq!(reply.header("x-mine"), Some("yes"));
    }
}

#[tokio::test]
async fn a_script_sees_what_was_sent_and_its_log_comes_back() {
    let daemon = Setup::new()
        .config("[[route]]\nmethod = \"see/{path...}\"\nscript = \"see.js\"\n")
        .script(
            "see.js",
            r#"console.log("seen"); if (request.parameters.fail) throw new Error("on purpose");
            return { parameters: request.parameters, raw: request.rawBody, path: request.pathInfo, verb: request.method, query: request.queryString };"#,
        )
        .start()
        .await;
    let form = daemon
        .http()
        .header("content-type", "application/x-www-form-urlencoded");
    let reply = form.send("PUT", "/see/a%20b?q=1&token=", b"f=2").await;
    assert_eq!(
        reply.json()["response"]["result"],
        json!({
            "parameters": {"q": "1", "f": "2"}, "raw": "f=2", "path": "/see/a b",
            "verb": "PUT", "query": "q=1",
        })
    );
    assert_eq!(metadata(&reply)["scriptLog"][0]["message"], "seen");
    let failed = form.send("POST", "/see/x", b"fail=1").await;
    assert_eq!(
        (failed.status, &metadata(&failed)["errorCode"]),
        (500, &json!("SCRIPT_ERROR"))
    );

    let (mut socket, _) = greeted(&daemon, &format!("/{TOKEN}")).await;
    socket
        .send(r#"{"method":"see/ws","params":{"n":[1]}}"#)
        .await;
    let reply = socket.next().await;
    assert_eq!(reply["result"]["parameters"], json!({"n": [1]}));
    assert_eq!(reply["scriptLog"][0]["message"], "seen");
}

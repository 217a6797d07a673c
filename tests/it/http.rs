//! The dialect http, as curl and browsers speak it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{Daemon, Http, HttpReply, POWERLESS, Service, Setup, TOKEN, Ws, free_port};

async fn daemon(service: &Service) -> Daemon {
    let at = service.address();
    Setup::new()
        .config(&format!(
            r#"
            [[route]]
            method = "echo/{{path...}}"
            http = {{ url = "http://{at}/{{path}}" }}
            max_params = 1000
            [[route]]
            method = "read/{{path...}}"
            http = {{ url = "http://{at}/{{path}}" }}
            get = true
            [[route]]
            method = "fails"
            http = {{ url = "http://{at}/fails" }}
            [[route]]
            method = "slow"
            http = {{ url = "http://{at}/slow" }}
            [[route]]
            method = "lonely"
            worker = {{}}
            [[route]]
            method = "strict"
            http = {{ url = "http://{at}/strict" }}
            schema = {{ params = {{ type = "object", required = ["n"] }} }}
            [[route]]
            method = "rare"
            http = {{ url = "http://{at}/rare" }}
            rate = "1/h"
            "#
        ))
        .start()
        .await
}

/// The params as the service got them.
fn got(reply: &HttpReply) -> Value {
    assert_eq!(
        reply.status,
        200,
        "{}",
        String::from_utf8_lossy(&reply.body)
    );
    serde_json::from_str(reply.json()["body"].as_str().unwrap()).unwrap()
}

#[tokio::test]
async fn every_refusal_is_a_problem_with_its_status() {
    let service = Service::start().await;
    let daemon = daemon(&service).await;
    let tester = daemon.http().header("content-type", "application/json");
    let nobody = Http::new(daemon.address);
    let guesser = Http::new(daemon.address).bearer("cw_wrong");
    let powerless = Http::new(daemon.address).bearer(POWERLESS);
    let large = format!("\"{}\"", "x".repeat(300 * 1024));
    let over_max_params = format!("\"{}\"", "x".repeat(1500));
    let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    tester.send("POST", "/api/rare", b"1").await;
    let cases: &[(&Http, &str, &[u8], u16, &str)] = &[
        (&nobody, "echo/x", b"", 401, "unauthenticated"),
        (&guesser, "echo/x", b"", 401, "unauthenticated"),
        (&powerless, "echo/x", b"", 403, "forbidden"),
        (&powerless, "no/such/route", b"", 403, "forbidden"),
        (&tester, "no/such/route", b"", 404, "method_not_found"),
        (&tester, "echo/../x", b"", 400, "invalid_request"),
        (&tester, "echo/%2e%2e/x", b"", 400, "invalid_request"),
        (&tester, "echo//x", b"", 400, "invalid_request"),
        (&tester, "echo/a%2Fb", b"", 400, "invalid_request"),
        (&tester, "echo/%zz", b"", 400, "invalid_request"),
        (&tester, "echo/%ff", b"", 400, "invalid_request"),
        (&tester, "echo/%00", b"", 400, "invalid_request"),
        (&tester, "callway.whoami", b"", 400, "invalid_request"),
        (&tester, "echo/x", b"{\"a\":", 400, "parse_error"),
        (&tester, "echo/x", b"hello", 400, "parse_error"),
        (&tester, "echo/x", b"\"\xff\"", 400, "parse_error"),
        (&tester, "echo/x", br#""\ud800""#, 400, "parse_error"),
        (&tester, "echo/x", b"1e999", 400, "parse_error"),
        (&tester, "read/x", deep.as_bytes(), 413, "too_large"),
        (
            &tester,
            "read/x",
            &deep.as_bytes()[..200_000],
            400,
            "parse_error",
        ),
        (
            &tester,
            "echo/x",
            over_max_params.as_bytes(),
            413,
            "too_large",
        ),
        (&tester, "echo/x", large.as_bytes(), 413, "too_large"),
        (&tester, "strict", br#"{"m":1}"#, 400, "invalid_params"),
        (&tester, "fails", b"", 502, "target_error"),
        (&tester, "lonely", b"", 503, "no_responder"),
        (&tester, "rare", b"", 429, "overloaded"),
    ];
    for (client, method, body, status, kind) in cases {
        let reply = client.send("POST", &format!("/api/{method}"), body).await;
        let case = format!(
            "{method} {}",
            String::from_utf8_lossy(&body[..body.len().min(20)])
        );
        assert_eq!(reply.status, *status, "{case}");
        assert_eq!(
            reply.header("content-type"),
            Some("application/problem+json"),
            "{case}"
        );
        let problem = reply.json();
        assert_eq!(problem["kind"], *kind, "{case}");
        assert_eq!(problem["status"], *status, "{case}");
        assert_eq!(problem["type"], "about:blank", "{case}");
        assert!(reply.header("content-length").is_some(), "{case}");
        assert_eq!(reply.header("www-authenticate").is_some(), *status == 401);
    }
    let rare = tester.send("POST", "/api/rare", b"1").await;
    assert!(rare.header("retry-after").unwrap().parse::<u64>().unwrap() > 60);
    assert!(rare.json()["call_id"].is_string());
    assert!(!daemon.log().contains("cw_wrong") && !daemon.log().contains(TOKEN));
    // And the next good one is served.
    assert_eq!(
        got(&tester.send("POST", "/api/echo/x", b"[7]").await),
        json!([7])
    );
}

#[tokio::test]
async fn verbs_are_post_and_get_where_a_route_allows_it() {
    let service = Service::start().await;
    let daemon = daemon(&service).await;
    let http = daemon.http();
    for (verb, method, allow) in [
        ("PUT", "read/x", "GET, HEAD, POST, OPTIONS"),
        ("DELETE", "echo/x", "GET, HEAD, POST, OPTIONS"),
        ("GET", "echo/x", "POST"),
        ("HEAD", "echo/x", "POST"),
    ] {
        let reply = http.send(verb, &format!("/api/{method}"), b"").await;
        assert_eq!(
            (reply.status, reply.header("allow")),
            (405, Some(allow)),
            "{verb}"
        );
    }
    let powerless = Http::new(daemon.address).bearer(POWERLESS);
    assert_eq!(powerless.get("/api/echo/x").await.status, 403);
    assert_eq!(http.get("/api/no/such").await.status, 404);

    let reply = http
        .get("/api/read/x?a=1&token=cw_token-of-the-tester&b=x+y")
        .await;
    assert_eq!(got(&reply), json!({"a": "1", "b": "x y"}));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    let head = http.send("HEAD", "/api/read/x", b"").await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    let options = http.send("OPTIONS", "/api/read/x", b"").await;
    assert_eq!(options.status, 204);
    assert!(options.header("allow").is_some());
}

#[tokio::test]
async fn a_token_may_stand_in_header_or_query_but_only_one() {
    let service = Service::start().await;
    let daemon = daemon(&service).await;
    let bare = Http::new(daemon.address).header("content-type", "application/json");
    for query in ["token", "auth_token"] {
        let path = format!("/api/echo/x?{query}={TOKEN}");
        assert_eq!(bare.send("POST", &path, b"1").await.status, 200, "{query}");
    }
    for scheme in ["bearer", "BEARER"] {
        let client = bare
            .clone()
            .header("authorization", &format!("{scheme} {TOKEN}"));
        assert_eq!(client.send("POST", "/api/echo/x", b"1").await.status, 200);
    }
    let both = bare.bearer(TOKEN);
    let same = format!("/api/echo/x?token={TOKEN}");
    assert_eq!(both.send("POST", &same, b"1").await.status, 200);
    let other = format!("/api/echo/x?token={POWERLESS}");
    let refused = both.send("POST", &other, b"1").await;
    assert_eq!(
        (refused.status, refused.kind().as_str()),
        (401, "unauthenticated")
    );
}

#[tokio::test]
async fn prefer_wait_bounds_the_call() {
    let service = Service::start().await;
    let daemon = daemon(&service).await;
    let started = Instant::now();
    let http = daemon.http().header("prefer", "respond-async, wait=1");
    let reply = http.post("/api/slow", &Value::Null).await;
    assert_eq!((reply.status, reply.kind().as_str()), (504, "timeout"));
    assert_eq!(reply.header("preference-applied"), Some("wait=1"));
    assert!(started.elapsed() >= Duration::from_secs(1));
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn browsers_may_ask_from_anywhere_or_from_a_list() {
    let service = Service::start().await;
    let daemon = daemon(&service).await;
    let page = Http::new(daemon.address).header("origin", "https://app.example.com");
    let preflight = page
        .clone()
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization");
    let reply = preflight.send("OPTIONS", "/api/echo/x", b"").await;
    assert_eq!(reply.status, 204, "without a credential");
    assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
    assert!(
        reply
            .header("access-control-allow-headers")
            .unwrap()
            .contains("authorization")
    );
    assert!(
        reply
            .header("access-control-allow-methods")
            .unwrap()
            .contains("POST")
    );
    assert_eq!(reply.header("access-control-allow-credentials"), None);

    let refused = page.post("/api/echo/x", &json!(1)).await;
    assert_eq!(refused.status, 401);
    assert_eq!(
        refused.header("access-control-allow-origin"),
        Some("*"),
        "readable"
    );
    let answered = page.bearer(TOKEN).post("/api/echo/x", &json!(1)).await;
    assert_eq!(answered.status, 200);
    assert!(
        answered
            .header("access-control-expose-headers")
            .unwrap()
            .contains("retry-after")
    );
}

#[tokio::test]
async fn pages_of_other_origins_are_refused_before_anything_else() {
    let port = free_port();
    let _daemon = Setup::new()
        .config(&format!(
            r#"
            [[listen]]
            address = "127.0.0.1:{port}"
            allowed_origins = ["https://app.example.com"]
            [[listen.endpoint]]
            path = "/"
            dialect = "scriptr"
            [[listen.endpoint]]
            path = "/api"
            dialect = "http"
            "#
        ))
        .start()
        .await;
    let strict = Http::new(([127, 0, 0, 1], port).into()).bearer(TOKEN);
    let from = |origin: &str| strict.clone().header("origin", origin);
    for origin in [
        "null",
        "https://app.example.com.evil.org",
        "http://app.example.com",
    ] {
        let reply = from(origin).post("/api/x", &json!(1)).await;
        assert_eq!(
            (reply.status, reply.kind().as_str()),
            (403, "forbidden"),
            "{origin}"
        );
        assert_eq!(
            reply.header("access-control-allow-origin"),
            None,
            "{origin}"
        );
        let url = format!("ws://127.0.0.1:{port}/{TOKEN}");
        let upgraded = Ws::try_connect(&url, &[("origin", origin)]).await;
        assert_eq!(upgraded.err(), Some(403), "{origin}");
    }
    let ours = from("https://app.example.com")
        .post("/api/x", &json!(1))
        .await;
    assert_eq!(ours.status, 404);
    assert_eq!(
        ours.header("access-control-allow-origin"),
        Some("https://app.example.com")
    );
    assert_eq!(ours.header("vary"), Some("origin"));
    assert_eq!(
        strict.post("/api/x", &json!(1)).await.status,
        404,
        "no browser"
    );
}

#[tokio::test]
async fn a_connection_serves_one_request_after_the_other() {
    let service = Service::start().await;
    let daemon = daemon(&service).await;
    let request = |body: &str, close: &str| {
        format!(
            "POST /api/echo/x HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n{close}\r\n{body}",
            body.len()
        )
    };
    let three = [
        request("[1]", ""),
        request("{broken", ""),
        request("[3]", "connection: close\r\n"),
    ];
    let answer = Http::new(daemon.address)
        .raw(three.concat().as_bytes())
        .await;
    let text = String::from_utf8(answer).unwrap();
    let statuses: Vec<_> = text
        .match_indices("HTTP/1.1 ")
        .map(|(at, _)| &text[at + 9..at + 12])
        .collect();
    assert_eq!(statuses, ["200", "400", "200"]);
}

#[tokio::test]
async fn hostile_requests_are_refused_and_bounded_in_time() {
    let service = Service::start().await;
    let daemon = daemon(&service).await;
    let http = Http::new(daemon.address);
    let many_headers: String = (0..130).map(|n| format!("x-{n}: y\r\n")).collect();
    let long_path = "a/".repeat(35_000);
    for (request, allowed) in [
        (
            format!("POST /api/{long_path} HTTP/1.1\r\nhost: x\r\n\r\n"),
            [414, 431],
        ),
        (
            format!("POST /api/x HTTP/1.1\r\nhost: x\r\n{many_headers}\r\n"),
            [431, 431],
        ),
        (
            format!(
                "POST /api/x HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n",
                "y".repeat(70_000)
            ),
            [431, 431],
        ),
        (
            "POST /api/x HTTP/1.1\r\ncontent-length: -1\r\n\r\n".to_owned(),
            [400, 400],
        ),
        ("nonsense\r\n\r\n".to_owned(), [400, 400]),
        (
            "POST /api/x HTTP/1.1\r\nconnection: close\r\n\r\n".to_owned(),
            [400, 400],
        ),
        (
            "POST /api/x HTTP/1.1\r\nhost: x\r\nhost: y\r\nconnection: close\r\n\r\n".to_owned(),
            [400, 400],
        ),
        // A client of HTTP/1.0 need not name a host, and gets as far as any other.
        ("POST /api/x HTTP/1.0\r\n\r\n".to_owned(), [401, 401]),
    ] {
        let status = HttpReply::parse(&http.raw(request.as_bytes()).await).status;
        assert!(
            allowed.contains(&status),
            "{status} for {}",
            &request[..40.min(request.len())]
        );
    }

    // A head or a body that never ends: the server ends the connection.
    let started = Instant::now();
    let slow_head = async { http.raw(b"POST /api/x HTTP/1.1\r\nhost: x\r\n").await };
    let slow_body = format!(
        "POST /api/echo/x HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\ncontent-length: 10\r\nconnection: close\r\n\r\nhalf"
    );
    let slow_body = async { http.raw(slow_body.as_bytes()).await };
    let (_, slow_body) = tokio::join!(slow_head, slow_body);
    assert_eq!(HttpReply::parse(&slow_body).status, 408);
    assert!(
        started.elapsed() < Duration::from_secs(15),
        "limits.handshake is 5 s"
    );
}

#[tokio::test]
async fn who_waits_for_leave_to_send_is_refused_before_sending() {
    let service = Service::start().await;
    let daemon = daemon(&service).await;
    let head = |length: usize| {
        format!(
            "POST /api/echo/x HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\n\
             content-type: application/json\r\ncontent-length: {length}\r\nexpect: 100-continue\r\n\
             connection: close\r\n\r\n"
        )
    };
    let refused = Http::new(daemon.address)
        .raw(head(10_000_000).as_bytes())
        .await;
    assert_eq!(HttpReply::parse(&refused).status, 413);

    let mut stream = TcpStream::connect(daemon.address).await.unwrap();
    stream.write_all(head(3).as_bytes()).await.unwrap();
    let mut leave = [0; 25];
    stream.read_exact(&mut leave).await.unwrap();
    assert_eq!(&leave, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"[3]").await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert_eq!(got(&HttpReply::parse(&answer)), json!([3]));
}

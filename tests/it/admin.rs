//! The administration: health, readiness, metrics, `/api` on the address and on the socket, and
//! nothing for pages on the web.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use bytes::Bytes;
use callway::call::Fault;
use callway::config::Limits;
use callway::observe::Metrics;
use callway::spool::{Lane, Spool};
use callway::store::{Letter, LetterKind, Store};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use crate::eventually;
use crate::support::{Daemon, Http, HttpReply, POWERLESS, Setup, TOKEN, free_port};

/// Sends one request to the socket, with this Host.
async fn ask(daemon: &Daemon, line: &str, host: &str, body: &str) -> HttpReply {
    let path = daemon.directory.path().join("admin.sock");
    let mut stream = UnixStream::connect(path).await.unwrap();
    let length = body.len();
    let request = format!(
        "{line} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    HttpReply::parse(&answer)
}

#[tokio::test]
async fn ready_although_a_bus_is_down() {
    let nobody = free_port();
    let daemon = Setup::new()
        .config(&format!(
            "[bus.field]\nurl = \"mqtt://127.0.0.1:{nobody}\"\n"
        ))
        .start()
        .await;
    let admin = daemon.admin();
    assert_eq!(admin.get("/healthz").await.status, 200);
    daemon.link_is("field", "down").await;
    let ready = admin.get("/readyz").await;
    assert_eq!(ready.status, 200);
    assert_eq!(ready.json()["links"], json!({"field": "down"}));
    assert_eq!(daemon.metric(r#"callway_link_up{bus="field"}"#).await, 0.0);
}

#[tokio::test]
async fn metrics_count_calls_and_never_name_what_a_stranger_made_up() {
    let daemon = Setup::new().start().await;
    let reply = daemon.http().post("/api/made/up", &json!(1)).await;
    assert_eq!(reply.status, 404);
    let page = daemon.admin().get("/metrics").await;
    assert!(
        page.header("content-type")
            .unwrap()
            .starts_with("application/openmetrics-text")
    );
    let text = String::from_utf8(page.body).unwrap();
    assert!(text.ends_with("# EOF\n"));
    assert!(text.contains("callway_calls_in_flight 0"));
    assert!(!text.contains("made/up"));
    let counted = r#"callway_calls_total{via="http",target="none",outcome="method_not_found"}"#;
    assert_eq!(daemon.metric(counted).await, 1.0);
}

#[tokio::test]
async fn a_page_that_points_its_name_here_gets_nothing() {
    let daemon = Setup::new().start().await;
    let port = daemon.admin.port();
    let ask = |line: &str, host: &str| {
        format!("{line} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n")
    };
    let admin = Http::new(daemon.admin);
    for (line, host, status) in [
        ("GET /metrics", "evil.example".to_owned(), "403"),
        ("GET /metrics", format!("evil.example:{port}"), "403"),
        ("GET http://evil.example/metrics", "127.0.0.1".into(), "403"),
        ("GET /metrics", format!("localhost:{port}"), "200"),
        ("POST /metrics", format!("localhost:{port}"), "405"),
        ("GET /", format!("localhost:{port}"), "404"),
    ] {
        let answer = admin.raw(ask(line, &host).as_bytes()).await;
        let answer = String::from_utf8(answer).unwrap();
        assert_eq!(&answer[9..12], status, "{line} of {host}");
    }
}

#[tokio::test]
async fn the_socket_lets_in_whom_its_permissions_let_in() {
    let daemon = Setup::new().start().await;
    let socket = daemon.directory.path().join("admin.sock");
    let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    for (line, host, status) in [
        ("GET /api/tokens", "localhost", 200),
        ("GET /readyz", "localhost", 200),
        ("GET /api/tokens", "evil.example", 403),
        ("GET /api/nothing", "localhost", 404),
        ("GET /api/tokens/nobody", "localhost", 404),
        ("GET /api/dead/7", "localhost", 404),
        ("GET /api/dead/x", "localhost", 404),
        ("PUT /api/tokens", "localhost", 405),
        ("GET /api/spool/retry", "localhost", 405),
        ("GET /api/spool?count=x", "localhost", 400),
        ("GET /api/dead?count=x", "localhost", 400),
    ] {
        let reply = ask(&daemon, line, host, "").await;
        assert_eq!(reply.status, status, "{line} of {host}: {reply:?}");
    }
}

#[tokio::test]
async fn a_wish_that_makes_no_sense_is_refused_and_makes_nothing() {
    let daemon = Setup::new().start().await;
    for (wish, kind) in [
        ("{", "parse_error"),
        ("[]", "invalid_params"),
        ("{}", "invalid_params"),
        (r#"{"name":"a","calls":["x"]}"#, "invalid_params"),
        (r#"{"name":"a/b"}"#, "invalid_params"),
        (r#"{"name":"a","call":["x//y"]}"#, "invalid_params"),
        (r#"{"name":"a","expires":"soon"}"#, "invalid_params"),
        (r#"{"name":"a","expires":"0s"}"#, "invalid_params"),
        (
            r#"{"name":"a","expires":"213503982334601d"}"#,
            "invalid_params",
        ),
        (&" ".repeat(70_000), "too_large"),
    ] {
        let reply = ask(&daemon, "POST /api/tokens", "localhost", wish).await;
        assert_eq!(reply.kind(), kind, "{wish}");
    }
    let all = ask(&daemon, "GET /api/tokens", "localhost", "")
        .await
        .json();
    assert_eq!(all["tokens"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn the_address_lets_in_administrators_alone() {
    let daemon = Setup::new().start().await;
    let admin = daemon.token("root", &["--admin"]).await;
    let tokens = |http: Http| async move { http.get("/api/tokens").await };
    let nobody = tokens(daemon.admin()).await;
    assert_eq!(
        (nobody.status, nobody.kind()),
        (401, "unauthenticated".into())
    );
    assert!(nobody.header("www-authenticate").is_some());
    let stranger = tokens(daemon.admin().bearer("cw_made-up")).await;
    assert_eq!(stranger.status, 401);
    for token in [TOKEN, POWERLESS] {
        let reply = tokens(daemon.admin().bearer(token)).await;
        assert_eq!((reply.status, reply.kind()), (403, "forbidden".into()));
    }
    let root = daemon.admin().bearer(&admin);
    assert_eq!(tokens(root.clone()).await.status, 200);
    let made = root.post("/api/tokens", &json!({"name": "ada"})).await;
    assert_eq!(made.status, 201);
    assert_eq!(made.header("cache-control"), Some("no-store"));
    assert!(made.json()["token"].as_str().unwrap().starts_with("cw_"));
    let evil = format!(
        "GET /api/tokens HTTP/1.1\r\nhost: evil.example\r\nauthorization: Bearer {admin}\r\n\
         connection: close\r\n\r\n"
    );
    let evil = HttpReply::parse(&root.raw(evil.as_bytes()).await);
    assert_eq!(evil.status, 403);
    assert_eq!(
        root.send("DELETE", "/api/tokens/root", b"").await.status,
        204
    );
    assert_eq!(
        tokens(root).await.status,
        401,
        "its own token, revoked by itself"
    );
}

#[tokio::test]
async fn orders_are_taken_during_a_drain() {
    let setup = Setup::new().config("[[route]]\nmethod = \"slow\"\nworker = {}\n");
    let mut daemon = setup.start().await;
    let mut worker = daemon.ws().await;
    let offer = json!({"methods": ["slow"]});
    worker.call("callway.serve", offer).await.unwrap();
    let mut caller = daemon.ws().await;
    let id = caller.request("slow", json!({})).await;
    let asked = worker.find(|message| message["method"] == "slow").await;
    daemon.signal(Signal::TERM);
    eventually!(daemon.admin().get("/readyz").await.status == 503);
    assert!(daemon.command(&["token", "list"]).await.status.success());
    assert!(daemon.command(&["dead", "list"]).await.status.success());
    let answer = json!({"jsonrpc": "2.0", "id": asked["id"], "result": 1});
    worker.send(answer.to_string()).await;
    assert_eq!(caller.response(id).await["result"], 1);
    assert!(daemon.ended().await.success());
    assert!(!daemon.directory.path().join("admin.sock").exists());
}

#[tokio::test]
async fn a_daemon_whose_socket_is_taken_does_not_start() {
    let first = Setup::new().start().await;
    let socket = first.directory.path().join("admin.sock");
    let socket = format!("{:?}", socket.display().to_string());
    let mut second = Setup::new()
        .env("CALLWAY__ADMIN__SOCKET", socket.trim_matches('"'))
        .spawn();
    assert_eq!(second.ended().await.code(), Some(69));
    assert!(second.log().contains("another process listens there"));
    assert!(first.command(&["token", "list"]).await.status.success());
}

/// What a command prints.
async fn said(daemon: &Daemon, arguments: &[&str]) -> String {
    let output = daemon.command(arguments).await;
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// As it would be buried, in the database of a daemon that does not run.
async fn bury(database: &Path, letters: &[(&str, &[u8])]) {
    let store = Store::open(database, &Metrics::new().into()).unwrap();
    for (name, body) in letters {
        let letter = Letter {
            kind: LetterKind::Event,
            name: (*name).into(),
            source: "bus/field".into(),
            reason: Fault::unavailable("link_down", "seven days").to_string(),
            headers: json!({"hops": 1}).as_object().unwrap().clone(),
            body: Bytes::copy_from_slice(body),
            call_id: None,
            time: 951_782_400_007,
        };
        store.bury(letter, 100).await.unwrap();
    }
}

#[tokio::test]
async fn dead_letters_are_looked_at_and_removed() {
    let mut daemon = Setup::new().start().await;
    daemon.stop().await;
    let database = daemon.directory.path().join("state/callway.db");
    let letters: [(&str, &[u8]); 3] = [("a", b"{}"), ("b\x1b[2J", b"\xff"), ("c", b"text\x07")];
    bury(&database, &letters).await;
    daemon.again().await;
    assert_eq!(daemon.metric("callway_dead_letters").await, 3.0);

    let run = |arguments: &'static [&'static str]| said(&daemon, arguments);
    let list: Value = serde_json::from_str(&run(&["dead", "list", "--json"]).await).unwrap();
    let names: Vec<_> = list["letters"].as_array().unwrap().iter().collect();
    let names: Vec<_> = names.iter().map(|letter| &letter["name"]).collect();
    assert_eq!(names, ["c", "b\x1b[2J", "a"]);
    assert_eq!(list["letters"][0].get("body"), None);
    let page = run(&["dead", "list", "--json", "--before", "2"]).await;
    let page: Value = serde_json::from_str(&page).unwrap();
    assert_eq!(page["letters"].as_array().unwrap().len(), 1);
    let list = run(&["dead", "list"]).await;
    assert!(list.contains("2000-02-29T00:00:00Z") && list.contains("unavailable: seven days"));
    let whole = run(&["dead", "show", "3"]).await;
    assert!(whole.contains("from     bus/field") && whole.contains("header   hops: 1"));
    assert!(whole.ends_with("\ntext\\u{7}\n"), "{whole:?}");
    assert!(
        !list.contains('\x1b'),
        "a terminal takes no orders from strangers"
    );
    let bytes = run(&["dead", "show", "2", "--json"]).await;
    let bytes: Value = serde_json::from_str(&bytes).unwrap();
    assert_eq!(bytes["body"], json!({"base64": "/w=="}));

    assert_eq!(run(&["dead", "purge"]).await, "3 dead letters removed\n");
    assert_eq!(run(&["dead", "list"]).await, "there are no dead letters\n");
    assert_eq!(daemon.metric("callway_dead_letters").await, 0.0);
    let gone = daemon.command(&["dead", "show", "3"]).await;
    assert_eq!(gone.status.code(), Some(1));
}

#[tokio::test]
async fn what_waits_on_disk_is_looked_at_and_removed() {
    let mut daemon = Setup::new().start().await;
    daemon.stop().await;
    let directory = daemon.directory.path().join("state/spool");
    let spool = Spool::open(&directory, &Limits::default(), &Metrics::new().into()).unwrap();
    for (queue, body) in [
        ("nobody/a", "1"),
        ("nobody/b", "\x1b[2J"),
        ("nobody/a", "3"),
    ] {
        let body = Bytes::from_static(body.as_bytes());
        spool
            .append(queue, Lane::Named(7), body)
            .unwrap()
            .await
            .unwrap();
    }
    spool.close().await;
    daemon.again().await;

    let list = said(&daemon, &["spool", "list", "--json"]).await;
    let list: Value = serde_json::from_str(&list).unwrap();
    let queue = |name: &str| {
        let mut queues = list["queues"].as_array().unwrap().iter();
        queues.find(|queue| queue["queue"] == name).unwrap()
    };
    assert_eq!(queue("nobody/a")["messages"], 2);
    assert!(queue("nobody/b")["oldest"].as_str().unwrap().ends_with('Z'));
    let bodies: Vec<_> = list["messages"].as_array().unwrap().iter().collect();
    let bodies: Vec<_> = bodies.iter().map(|message| &message["body"]).collect();
    assert_eq!(bodies, ["1", "\x1b[2J", "3"]);
    assert_eq!(list["messages"][0]["lane"], "0000000000000007");
    let table = said(&daemon, &["spool", "list"]).await;
    assert!(
        table.contains("nobody/b") && !table.contains('\x1b'),
        "{table}"
    );
    let one = said(&daemon, &["spool", "list", "nobody/b", "--json"]).await;
    let one: Value = serde_json::from_str(&one).unwrap();
    assert_eq!(one["messages"].as_array().unwrap().len(), 1);
    said(&daemon, &["spool", "retry"]).await;
    said(&daemon, &["spool", "retry", "nobody/a"]).await;
    let purged = said(&daemon, &["spool", "purge", "nobody/a"]).await;
    assert_eq!(purged, "2 messages removed\n");
    let rest = said(&daemon, &["spool", "purge", "--json"]).await;
    assert_eq!(rest, "{\"purged\":1}\n");
    daemon.stop().await;
    daemon.again().await;
    let list = said(&daemon, &["spool", "list", "--json"]).await;
    let list: Value = serde_json::from_str(&list).unwrap();
    assert_eq!(list["messages"], json!([]));
}

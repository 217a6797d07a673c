//! The admin address: health, readiness, metrics, and nothing for pages on the web.

use serde_json::json;

use crate::support::{Http, Setup, free_port};

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

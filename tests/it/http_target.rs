//! HTTP services as targets: what they are told, and what becomes of each way they may answer.

use serde_json::{Value, json};

use crate::support::{Daemon, Service, Setup, free_port};

/// One route per behaviour of the service, and one to where nobody listens.
async fn daemon(service: &Service) -> Daemon {
    let nobody = free_port();
    let at = service.address();
    Setup::new()
        .config(&format!(
            r#"
            [[route]]
            method = "service/{{path...}}"
            http = {{ url = "http://{at}/{{path}}" }}
            [[route]]
            method = "service/slow"
            http = {{ url = "http://{at}/slow" }}
            timeout = "300ms"
            [[route]]
            method = "patient/slow"
            http = {{ url = "http://{at}/slow" }}
            [[route]]
            method = "got/{{item}}"
            http = {{ url = "http://{at}/items?item={{item}}", verb = "GET" }}
            [[route]]
            method = "nobody"
            http = {{ url = "http://127.0.0.1:{nobody}/" }}
            retry = {{ attempts = 2, backoff = "10ms" }}
            [[route]]
            method = "insecure"
            http = {{ url = "https://{at}/" }}
            "#
        ))
        .start()
        .await
}

#[tokio::test]
async fn whatever_a_service_does_has_its_kind() {
    let service = Service::start().await;
    let daemon = daemon(&service).await;
    let http = daemon.http();
    for (method, status, kind) in [
        ("service/fails", 502, "target_error"),
        ("service/moved", 502, "target_error"),
        ("service/not-json", 502, "target_error"),
        ("service/broken", 503, "unavailable"),
        ("service/huge", 413, "too_large"),
        ("service/slow", 504, "timeout"),
        ("nobody", 503, "unavailable"),
        ("insecure", 503, "unavailable"),
    ] {
        let reply = http.post(&format!("/api/{method}"), &json!({})).await;
        assert_eq!(
            (reply.status, reply.kind().as_str()),
            (status, kind),
            "{method}"
        );
    }
    let failed = http.post("/api/service/fails", &json!({})).await.json();
    assert_eq!(
        failed["data"],
        json!({"status": 500, "body": {"code": "E1"}})
    );
    let moved = http.post("/api/service/moved", &json!({})).await.json();
    assert_eq!(moved["data"]["status"], 302, "redirects are not followed");
    assert!(
        !service
            .asked()
            .iter()
            .any(|asked| asked.starts_with("POST /text")),
        "nobody asked for where it moved to"
    );
    let nobody = http.post("/api/nobody", &json!({})).await;
    assert_eq!(nobody.json()["data"]["reason"], "connect");
    assert_eq!(nobody.header("retry-after"), Some("1"));
}

#[tokio::test]
async fn a_service_is_told_what_it_needs() {
    let service = Service::start().await;
    let daemon = daemon(&service).await;
    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let http = daemon
        .http()
        .header("prefer", "wait=3")
        .header("callway-hops", "2")
        .header("traceparent", traceparent);

    let reply = http.post("/api/service/a%20b/c", &json!({"n": 1})).await;
    assert_eq!(reply.header("preference-applied"), Some("wait=3"));
    let said = reply.json();
    assert_eq!(said["body"], r#"{"n":1}"#);
    let head = said["head"].as_str().unwrap();
    assert!(head.starts_with("POST /a%20b/c HTTP/1.1"), "{head}");
    for line in [
        "content-type: application/json",
        "prefer: wait=3",
        "callway-hops: 3",
        &format!("traceparent: {traceparent}"),
        "callway-call-id: ",
        "callway-deadline: ",
    ] {
        assert!(head.contains(line), "{line} in {head}");
    }
    assert!(!head.to_lowercase().contains("authorization"), "{head}");

    let text = http.post("/api/service/text", &Value::Null).await;
    assert_eq!(text.body, b"plain");
    assert_eq!(
        text.header("content-type"),
        Some("text/plain; charset=utf-8")
    );
    assert_eq!(
        http.post("/api/service/empty", &Value::Null).await.body,
        b"null"
    );
}

#[tokio::test]
async fn params_of_a_get_are_its_query() {
    let service = Service::start().await;
    let daemon = daemon(&service).await;
    let http = daemon.http();
    let reply = http
        .post("/api/got/7", &json!({"a": "x&y", "b": [1, 2]}))
        .await;
    let head = reply.json()["head"].as_str().unwrap().to_owned();
    assert!(
        head.starts_with("GET /items?item=7&a=x%26y&b=1&b=2 HTTP/1.1"),
        "{head}"
    );
    let refused = http.post("/api/got/7", &json!([1])).await;
    assert_eq!(
        (refused.status, refused.kind().as_str()),
        (400, "invalid_params")
    );
}

#[tokio::test]
async fn a_caller_that_goes_away_cancels_what_the_service_does() {
    let service = Service::start().await;
    let daemon = daemon(&service).await;
    let address = daemon.address;
    let mut caller = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!(
        "POST /api/patient/slow HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\nauthorization: Bearer {}\r\n\r\n",
        crate::support::TOKEN
    );
    tokio::io::AsyncWriteExt::write_all(&mut caller, request.as_bytes())
        .await
        .unwrap();
    crate::eventually!(!service.asked().is_empty());
    drop(caller);
    service.slow_was_given_up().await;
    crate::eventually!(
        daemon
            .metric(r#"callway_calls_total{via="http",target="http",outcome="cancelled"}"#)
            .await
            == 1.0
    );
}

#[tokio::test]
async fn a_request_that_leads_back_to_callway_ends() {
    let setup = Setup::new();
    let url = format!(
        "http://{}/api/loop?token={}",
        setup.address(),
        crate::support::TOKEN
    );
    let daemon = setup
        .config(&format!(
            "[[route]]\nmethod = \"loop\"\nhttp = {{ url = \"{url}\" }}"
        ))
        .start()
        .await;
    let reply = daemon.http().post("/api/loop", &json!({})).await;
    let mut innermost = reply.json();
    let mut passes = 1;
    while let Some(body) = innermost["data"].get("body") {
        innermost = body.clone();
        passes += 1;
    }
    assert_eq!(innermost["kind"], "invalid_request", "{innermost}");
    assert_eq!(
        passes, 10,
        "the first and 8 hops are allowed, one more is refused"
    );
}

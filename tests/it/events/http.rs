//! Channels over HTTP: publishing, looking back, and event streams.

use std::time::Duration;

use serde_json::json;

use super::{event, publish, subscribe, world};
use crate::support::{Http, POWERLESS, Setup, Sse, TOKEN};

fn bearer() -> String {
    format!("Bearer {TOKEN}")
}

#[tokio::test]
async fn what_must_not_be_is_refused_in_http_s_words() {
    let daemon = world().await;
    let http = daemon.http();
    let powerless = Http::new(daemon.address).bearer(POWERLESS);
    for (path, status, kind) in [
        ("/api/channels/nowhere", 404, "method_not_found"),
        ("/api/channels/live%2Fa", 400, "invalid_request"),
        ("/api/channels/", 400, "invalid_request"),
        ("/api/channels/live/%23", 400, "invalid_request"),
    ] {
        for reply in [http.get(path).await, http.post(path, &json!(1)).await] {
            assert_eq!(
                (reply.status, reply.kind().as_str()),
                (status, kind),
                "{path}"
            );
        }
        assert_eq!(
            Sse::open(daemon.address, path, &[("authorization", &bearer())])
                .await
                .err(),
            Some(status)
        );
    }
    for query in ["?since=x", "?count=x"] {
        let reply = http.get(&format!("/api/channels/live/a{query}")).await;
        assert_eq!(
            (reply.status, reply.kind().as_str()),
            (400, "invalid_params")
        );
        let reply = powerless.get(&format!("/api/channels/live/a{query}")).await;
        assert_eq!(reply.status, 403);
    }
    let reply = powerless.post("/api/channels/live/a", &json!(1)).await;
    assert_eq!(reply.status, 403);
    let nobody = Http::new(daemon.address).get("/api/channels/live/a").await;
    assert_eq!(nobody.status, 401);
    let put = http.send("PUT", "/api/channels/live/a", b"1").await;
    assert_eq!(put.status, 405);
}

#[tokio::test]
async fn what_is_posted_is_followed_and_looked_up() {
    let daemon = world().await;
    let mut rpc = daemon.ws().await;
    subscribe(&mut rpc, "kept/a", None).await;
    let path = "/api/channels/kept/a";
    let mut stream = Sse::open(daemon.address, &format!("{path}?token={TOKEN}"), &[])
        .await
        .unwrap_or_else(|status| panic!("{status}"));
    let http = daemon.http();
    for (kind, body) in [
        ("application/json", "{\"a\": 1}"),
        ("application/json", "{broken"),
        ("text/plain", "21.5"),
    ] {
        let post = http.clone().header("content-type", kind);
        let reply = post.send("POST", path, body.as_bytes()).await;
        assert_eq!((reply.status, reply.body.len()), (204, 0));
        assert!(reply.header("callway-position").is_some());
    }
    http.send("POST", path, b"\xff\x00").await;
    let shown = [
        json!({"a": 1}),
        json!("{broken"),
        json!("21.5"),
        json!({"base64": "/wA="}),
    ];
    for payload in &shown {
        assert_eq!(event(&mut rpc).await, *payload);
        let told = stream.next().await.unwrap();
        assert_eq!(told["payload"], *payload);
        assert_eq!(told["position"], stream.last_id);
        assert_eq!(told["channel"], "kept/a");
    }
    let past = http.get(&format!("{path}?count=2")).await;
    assert_eq!(
        (past.status, past.header("cache-control")),
        (200, Some("no-store"))
    );
    let past = past.json();
    assert_eq!(past["position"], stream.last_id);
    assert_eq!(past["events"][0]["payload"], shown[2]);
    let head = http.send("HEAD", path, b"").await;
    assert_eq!((head.status, head.body.len()), (200, 0));
}

#[tokio::test]
async fn a_stream_goes_on_where_it_was_lost() {
    let mut daemon = Setup::new()
        .config(super::CHANNELS)
        .config("[limits]\nping = \"200ms\"")
        .start()
        .await;
    let mut rpc = daemon.ws().await;
    let path = "/api/channels/kept/a";
    let bearer = bearer();
    let open = async |address, query: &str, last: &str| {
        let headers = [("authorization", bearer.as_str()), ("last-event-id", last)];
        let stream = Sse::open(address, &format!("{path}{query}"), &headers).await;
        stream.unwrap_or_else(|status| panic!("{status}"))
    };
    let mut stream = open(daemon.address, "", "").await;
    crate::eventually!({
        publish(&mut rpc, "kept/a", json!(0)).await;
        stream.next().await.is_some()
    });
    let start = stream.last_id.clone();
    drop(stream);
    for number in 1..=500 {
        publish(&mut rpc, "kept/a", json!(number)).await;
    }
    daemon.restart().await;
    let mut stream = open(daemon.address, "?since=zzz", &start).await;
    for number in 1..=500 {
        assert_eq!(stream.next().await.unwrap()["payload"], number);
    }
    assert_eq!(stream.comments[0], "recovered=true");
    let quiet = tokio::time::timeout(Duration::from_millis(700), stream.next()).await;
    assert!(quiet.is_err(), "nothing twice");
    assert!(stream.comments.len() > 1, "it shows that it is alive");
    // The drain ends the stream in good order.
    assert_eq!(daemon.stop().await, 0);
    assert_eq!(stream.next().await, None);
}

#[tokio::test]
async fn a_stream_ends_with_its_token() {
    let daemon = world().await;
    let token = daemon.token("ada", &["--subscribe", "{path...}"]).await;
    let path = format!("/api/channels/live/a?token={token}");
    let stream = Sse::open(daemon.address, &path, &[]).await;
    let mut stream = stream.unwrap_or_else(|status| panic!("{status}"));
    let mut rpc = daemon.ws().await;
    publish(&mut rpc, "live/a", json!(1)).await;
    assert_eq!(stream.next().await.unwrap()["payload"], 1);
    let revoked = daemon.command(&["token", "revoke", "ada"]).await;
    assert!(revoked.status.success());
    assert_eq!(stream.next().await, None);
    publish(&mut rpc, "live/a", json!(2)).await;
    crate::eventually!(daemon.metric("callway_subscriptions").await == 0.0);
    assert_eq!(Sse::open(daemon.address, &path, &[]).await.err(), Some(401));
}

//! Scripts publish too, as their caller.

use serde_json::json;

use super::{CHANNELS, event, subscribe};
use crate::support::{Http, Setup, TOKEN};

const ROUTES: &str = r#"
    [[route]]
    method = "js/{path...}"
    script = "{path}.js"
    [[route]]
    method = "lua/{path...}"
    script = "{path}.lua"
    [[token]]
    name = "caller-only"
    sha256 = "SHA"
    call = ["{path...}"]
    [limits]
    script_calls = 10
"#;
const CALLER_ONLY: &str = "cw_token-that-may-only-call";

#[tokio::test]
async fn a_script_publishes_as_its_caller() {
    let sha = callway::auth::digest(CALLER_ONLY).to_string();
    let daemon = Setup::new()
        .config(CHANNELS)
        .config(&ROUTES.replace("SHA", &sha))
        .script("say.js", "return callway.publish('kept/a', request.body);")
        .script("say.lua", "return callway.publish('kept/a', request.body)")
        .script(
            "bare.js",
            "publish('kept/a', \"{'m':'hey'}\"); publish('kept/a', {m: 1});",
        )
        .script(
            "caught.js",
            "try { callway.publish(request.body, 1); } catch (e) { return e.kind; }",
        )
        .script(
            "caught.lua",
            "local ok, e = pcall(callway.publish, request.body, 1) return e.kind",
        )
        .script("broken.js", "return callway.publish('kept/a', '\\ud800');")
        .script("flood.js", "for (;;) callway.publish('live/a', 1);")
        .start()
        .await;
    let mut reader = daemon.ws().await;
    subscribe(&mut reader, "kept/a", None).await;
    let http = daemon.http();
    for language in ["js", "lua"] {
        let reply = http
            .post(&format!("/api/{language}/say"), &json!({"t": 1}))
            .await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert!(reply.json()["position"].is_string());
        assert_eq!(event(&mut reader).await, json!({"t": 1}), "{language}");

        let caught = |token: &'static str, channel: &'static str| {
            let http = Http::new(daemon.address).bearer(token);
            async move {
                let path = format!("/api/{language}/caught");
                http.post(&path, &json!(channel)).await.json()
            }
        };
        assert_eq!(caught(CALLER_ONLY, "kept/a").await, "forbidden");
        assert_eq!(caught(TOKEN, "nowhere").await, "method_not_found");
    }
    http.post("/api/js/bare", &json!(null)).await;
    assert_eq!(event(&mut reader).await, "{'m':'hey'}");
    assert_eq!(event(&mut reader).await, json!({"m": 1}));
    let broken = http.post("/api/js/broken", &json!(null)).await;
    assert_eq!(
        broken.kind(),
        "script_error",
        "what is no JSON is not published"
    );
    let flood = http.post("/api/js/flood", &json!(null)).await;
    assert_eq!(flood.kind(), "script_limit");
    let counted = r#"callway_events_total{via="script",outcome="accepted"}"#;
    assert_eq!(daemon.metric(counted).await, 14.0);
}

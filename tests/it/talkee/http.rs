//! The HTTP form: logins, who one is, errors in Talkee's words.

use serde_json::{Value, json};

use super::{ALICE, ROOM, api, enter, message, say, setup};
use crate::support::POWERLESS;

fn with_login() -> crate::support::Setup {
    // Beside the scripts, where a test can put a file.
    setup("jwt_secret_file = \"scripts/secret\"").script("secret", "of the tests\n")
}

#[tokio::test]
async fn errors_are_said_with_status_200() {
    let daemon = setup("").start().await;
    let alice = api(&daemon).bearer(ALICE);
    for (client, verb, path, body, code, message) in [
        (api(&daemon), "GET", ROOM, "", 401, "unauthorized"),
        (
            api(&daemon).header("authorization", "Bearer "),
            "GET",
            ROOM,
            "",
            401,
            "unauthorized",
        ),
        (
            api(&daemon).bearer("cw_x"),
            "POST",
            ROOM,
            "{}",
            401,
            "unauthorized",
        ),
        (
            alice.clone(),
            "POST",
            ROOM,
            "{",
            400,
            "twirp error malformed",
        ),
        (
            alice.clone(),
            "POST",
            ROOM,
            r#"{"category":"text","data":"?"}"#,
            400,
            "base64",
        ),
        (
            alice.clone(),
            "GET",
            "/talkee/ws/messages?slug=a",
            "",
            400,
            "invalid site id",
        ),
        (
            alice.clone(),
            "GET",
            "/talkee/ws/messages?site_id=1",
            "",
            400,
            "invalid slug",
        ),
        (
            api(&daemon).bearer(POWERLESS),
            "GET",
            ROOM,
            "",
            403,
            "subscribe",
        ),
        (
            alice.clone(),
            "GET",
            "/talkee/nothing",
            "",
            404,
            "not found",
        ),
    ] {
        let reply = client.send(verb, path, body.as_bytes()).await;
        assert_eq!(reply.status, 200, "{path}");
        let said = reply.json();
        assert_eq!(said["code"], code, "{verb} {path} {body}: {said}");
        assert!(said["msg"].as_str().unwrap().contains(message), "{said}");
    }
    let large = api(&daemon)
        .bearer(ALICE)
        .post(ROOM, &super::message(&"x".repeat(300_000)))
        .await;
    assert_eq!(large.json()["code"], 413);
    for path in [
        "/talkee/api/me",
        "/talkee/api/comments",
        "/talkee/api/users/9",
    ] {
        let said = api(&daemon).get(path).await.json();
        assert!(
            said["ts"].is_u64() && said["data"]["code"].is_u64(),
            "{path}: {said}"
        );
    }
}

#[tokio::test]
async fn lists_may_be_bare_and_readers_nameless() {
    let daemon = setup("messages = \"array\"\nanonymous_read = true")
        .start()
        .await;
    let said = say(&daemon, ALICE, ROOM, &message("hi")).await;
    let nameless = api(&daemon).header("authorization", "Bearer ");
    assert_eq!(nameless.get(ROOM).await.json(), json!([said]));
    assert_eq!(
        nameless.post(ROOM, &message("hi")).await.json()["code"],
        401
    );
    let powerless = api(&daemon).bearer(POWERLESS).get(ROOM).await.json();
    assert_eq!(powerless, json!([said]), "a token takes nothing away");
    let refused = api(&daemon).bearer("cw_x").get(ROOM).await.json();
    assert_eq!(refused["code"], 401, "a wrong token is not none");
}

#[tokio::test]
async fn a_login_hands_out_a_token() {
    let daemon = with_login().start().await;
    let http = api(&daemon);
    let login = async |body: Value| http.post("/talkee/api/auth/login/", &body).await.json();
    for (body, message) in [
        (json!({"method": "password"}), "[10003]"),
        (json!({"method": "token", "token": "cw_x"}), "[10006]"),
        (
            json!({"method": "token", "token": crate::support::TOKEN}),
            "[10006]",
        ),
        (
            json!({"method": "mvm", "signed_message": "x", "signature": "0x"}),
            "invalid origin",
        ),
    ] {
        let refused = login(body.clone()).await;
        let said = refused["data"]["msg"].as_str().unwrap();
        assert!(said.contains(message), "{body}: {said}");
    }
    let body = json!({"method": "mixin_token", "mixin_token": ALICE});
    let reply = login(body).await;
    assert_eq!(reply["data"]["user"]["id"], 1, "{reply}");
    let token = reply["data"]["access_token"].as_str().unwrap();
    let me = api(&daemon)
        .bearer(token)
        .get("/talkee/api/me")
        .await
        .json();
    assert_eq!(me["data"], reply["data"]["user"]);
    let known = api(&daemon).get("/talkee/api/users/1").await.json();
    assert_eq!(known["data"], me["data"]);
    let said = say(&daemon, token, ROOM, &message("hi")).await;
    assert_eq!(said["user"], me["data"]);
    let mut member = enter(&daemon, token, "site_id=1&slug=room-a").await;
    assert!(member.is_quiet(std::time::Duration::from_millis(200)).await);
    let (rpc, bearer) = (daemon.ws_url("/rpc"), format!("Bearer {token}"));
    let bearer = [("authorization", bearer.as_str())];
    let refused = crate::support::Ws::try_connect(&rpc, &bearer).await;
    assert_eq!(refused.err(), Some(401), "it is a token of Talkee alone");
    assert!(!daemon.log().contains(token));
}

#[tokio::test]
async fn pages_may_ask_and_echoes_come_back() {
    let daemon = setup("").start().await;
    let page = api(&daemon)
        .header("origin", "https://page.example")
        .header("access-control-request-method", "POST");
    let allowed = page.send("OPTIONS", "/talkee/api/assets", b"").await;
    assert_eq!(allowed.status, 204);
    assert_eq!(allowed.header("access-control-allow-origin"), Some("*"));
    assert_eq!(allowed.header("access-control-max-age"), Some("86400"));
    let fields = allowed.header("access-control-allow-headers").unwrap();
    assert!(fields.contains("X-TALKEE-SITE-SLUG") && fields.contains("Authorization"));
    let echoed = api(&daemon).get("/talkee/api/echo/a%20b/").await.json();
    assert_eq!(echoed["data"], json!({"msg": "a b"}));
    let echoed = api(&daemon)
        .post("/talkee/api/echo", &json!({"msg": "hi"}))
        .await
        .json();
    assert_eq!(echoed["data"], json!({"msg": "hi"}));
    let health = api(&daemon).get("/talkee/hc").await.json();
    assert!(health["uptime"].is_string() && health["version"].is_string());
}

//! The HTTP twins of the actions.

use serde_json::{Value, json};

use super::{KEY, connect, decided, decision, setup};
use crate::support::{Daemon, Http, HttpReply};

fn http(daemon: &Daemon) -> Http {
    Http::new(daemon.address)
}

fn with_token(daemon: &Daemon, token: &str) -> Http {
    http(daemon).header("authorization", token)
}

fn seen(reply: &HttpReply) -> (u16, Value) {
    (reply.status, reply.json())
}

fn failed(status: u16, message: &str) -> (u16, Value) {
    (status, json!({"message": message, "status": status}))
}

#[tokio::test]
async fn a_visit_over_http_is_the_same_account_as_over_a_socket() {
    let daemon = setup("").start().await;
    let registration = json!({"API_KEY": KEY, "checksum": "c", "name": "tom", "prompt": "p"});
    let reply = http(&daemon).post("/game/Register", &registration).await;
    let token = reply.json()["token"].as_str().unwrap().to_owned();
    let (status, body) = seen(&reply);
    let expected = json!({"message": "Registered", "status": 200, "token": token});
    assert_eq!((status, body), (200, expected));

    let said = json!({"message": "action:tom heard hi", "status": 200});
    for path in [
        "/game/MakeDecision",
        "/game/TakeDecision",
        "/game/MakeDecision/",
    ] {
        let reply = with_token(&daemon, &token)
            .post(path, &json!({"message": "hi"}))
            .await;
        assert_eq!(seen(&reply), (200, said.clone()), "{path}");
    }
    let bearer = http(&daemon).bearer(&token);
    let reply = bearer
        .post("/game/MakeDecision", &json!({"Message": "hi"}))
        .await;
    assert_eq!(reply.status, 200, "a scheme is forgiven");
    let mut socket = connect(&daemon).await;
    let answer = super::ask(&mut socket, decision(&token, "hi")).await;
    assert_eq!(answer, decided("action:tom heard hi"));
    let more = json!({"sender": "ann"});
    let reply = with_token(&daemon, &token)
        .post("/game/NewMessage", &more)
        .await;
    assert_eq!(reply.json()["message"], more);

    for path in ["/game/Connect", "/game/Connection"] {
        let reply = http(&daemon).post(path, &json!({"checksum": "c"})).await;
        assert_eq!(reply.json()["message"], "Connected");
        let token = reply.json()["token"].as_str().unwrap().to_owned();
        let left = with_token(&daemon, &token)
            .send("POST", "/game/Disconnect", b"")
            .await;
        assert_eq!(seen(&left), failed(200, "Disconnected"));
        let left = with_token(&daemon, &token)
            .send("POST", "/game/Disconnect", b"")
            .await;
        assert_eq!(seen(&left), failed(403, "Invalid Token"));
    }
}

#[tokio::test]
async fn mistakes_have_a_status() {
    let daemon = setup("").start().await;
    let client = http(&daemon);
    let registration =
        |key: &str| json!({"API_KEY": key, "checksum": "c", "name": "n", "prompt": "p"});
    let missing = "Missing required fields in the JSON message";
    client.post("/game/Register", &registration(KEY)).await;
    for (path, body, status, message) in [
        (
            "Register",
            json!([]),
            400,
            "Error while decoding JSON message",
        ),
        ("Register", json!({}), 400, missing),
        ("Register", registration("wrong"), 403, "Invalid API Key"),
        (
            "Register",
            registration(KEY),
            409,
            "Error saving in database",
        ),
        (
            "Connect",
            json!({"checksum": "x"}),
            404,
            "Account doesn't exist",
        ),
        ("Connect", json!({}), 400, missing),
        (
            "MakeDecision",
            json!({"message": "hi"}),
            401,
            "No token in request body",
        ),
        (
            "MakeDecision",
            json!({"message": "hi", "token": "x"}),
            401,
            "No token in request body",
        ),
        ("Disconnect", json!({}), 401, "No token in request body"),
        ("Dance", json!({}), 404, "Unknown action"),
        ("", json!({}), 404, "Unknown action"),
    ] {
        let reply = client.post(&format!("/game/{path}"), &body).await;
        assert_eq!(seen(&reply), failed(status, message), "{path} {body}");
    }
    let bad = with_token(&daemon, "x")
        .post("/game/MakeDecision", &json!({"message": "m"}))
        .await;
    assert_eq!(seen(&bad), failed(403, "Invalid Token"));
    let broken = client
        .send("POST", "/game/Register", b"{\"API_KEY\": \"k\" \"name\"")
        .await;
    assert_eq!(broken.status, 400);
    let large = vec![b' '; 256 * 1024 + 1];
    assert_eq!(
        client.send("POST", "/game/Register", &large).await.status,
        413
    );
    let get = client.get("/game/Register").await;
    assert_eq!(
        (get.status, get.header("allow")),
        (405, Some("POST, OPTIONS"))
    );
    for path in ["/game/ws", "/game/ws/"] {
        assert_eq!(client.get(path).await.status, 426);
    }
}

#[tokio::test]
async fn entities_are_got() {
    let daemon = setup("")
        .config("[[route]]\nmethod = \"game/GetEntities\"\nscript = \"entities.js\"")
        .script("entities.js", "return [request.user.id];")
        .start()
        .await;
    let client = http(&daemon);
    let registration = json!({"API_KEY": KEY, "checksum": "c", "name": "tom", "prompt": "p"});
    let reply = client.post("/game/Register", &registration).await;
    let token = reply.json()["token"].as_str().unwrap().to_owned();
    let known = with_token(&daemon, &token);
    let reply = known.get("/game/GetEntities").await;
    assert_eq!(
        reply.json(),
        json!({"message": ["action:tom"], "status": 200})
    );
    let reply = client.get("/game/GetEntities").await;
    assert_eq!(seen(&reply), failed(401, "No token in request body"));
    let reply = known.send("DELETE", "/game/GetEntities", b"").await;
    assert_eq!(
        (reply.status, reply.header("allow")),
        (405, Some("GET, POST, OPTIONS"))
    );
}

#[tokio::test]
async fn anybody_may_look_whether_it_is_there_also_a_page_of_elsewhere() {
    let daemon = setup("").start().await;
    let client = http(&daemon).header("origin", "https://game.example.com");
    let reply = client.get("/game/health").await;
    assert_eq!((reply.status, reply.text().as_str()), (200, "OK"));
    let reply = client.get("/game/Status").await;
    assert_eq!(seen(&reply), failed(200, "OK"));
    assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
    let asks = client
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization");
    let reply = asks.send("OPTIONS", "/game/MakeDecision", b"").await;
    assert_eq!(reply.status, 204);
    assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
    let allowed = reply.header("access-control-allow-headers").unwrap();
    assert!(allowed.contains("authorization"), "{allowed}");
}

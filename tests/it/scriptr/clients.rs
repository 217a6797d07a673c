//! scriptr's clients as their makers and the public samples have them.

use serde_json::json;

use crate::foreign::Client;
use crate::foreign::browser::show;
use crate::support::{Daemon, Setup};

const TOKEN: &str = "QUNNRTpkZXZpY2U6AA==";

async fn daemon() -> Daemon {
    let config = format!(
        r#"
        [[listen.endpoint]]
        path = "/older"
        dialect = "scriptr"
        legacy_envelope = true
        [[token]]
        name = "device"
        sha256 = "{}"
        call = ["tutorials/{{path...}}", "no/such"]
        publish = ["news"]
        subscribe = ["news"]
        [[channel]]
        name = "news"
        [[route]]
        method = "tutorials/{{path...}}"
        script = "tutorials/{{path}}.js"
        "#,
        callway::auth::digest(TOKEN)
    );
    let read = r#"var temperature = request.parameters.temperature;
        var humidity = request.parameters.humidity;
        if (request.parameters.wait) for (var end = Date.now() + 200; Date.now() < end;);
        return { temperature: temperature, humidity: humidity, id: request.user.id };"#;
    let setup = Setup::new().config(&config);
    setup
        .script("tutorials/howto/api/websocket_receive_json.js", read)
        .start()
        .await
}

const METHOD: &str = "tutorials/howto/api/websocket_receive_json";

#[tokio::test]
async fn the_python_package_websocket_client_calls_and_listens() {
    let daemon = daemon().await;
    let task = json!({
        "url": daemon.ws_url(""), "token": TOKEN, "method": METHOD, "channel": "news",
    });
    let said = Client::start("scriptr_websocket.py", &task).finish().await;
    assert_eq!(
        said,
        json!({
            "greeting": "connected.", "subscribed": "success", "published": "success",
            "heard": "{'message':'hey'}",
            "result": {"temperature": 22, "humidity": 43, "id": "device"},
            "failure": "INVALID_SCRIPT_NAME", "closed": 4000,
        })
    );
}

#[tokio::test]
async fn the_node_package_ws_waits_for_the_greeting_and_matches_in_order() {
    let daemon = daemon().await;
    let task = json!({
        "url": daemon.ws_url("/older"), "token": TOKEN, "method": METHOD, "channel": "news",
    });
    let said = Client::start("scriptr_ws.cjs", &task).finish().await;
    let result = json!({"id": "device"});
    let missing = said["answers"][2]["result"].clone();
    let answers = [
        json!({"status": "success", "result": result}),
        json!({"status": "success", "result": result}),
        json!({"status": "failure", "result": missing, "code": "INVALID_SCRIPT_NAME"}),
        json!({"status": "success", "result": {}}),
        json!({"status": "success", "result": {}}),
    ];
    assert_eq!(said["answers"], json!(answers));
    assert_eq!(said["subscribed"], "success");
    assert_eq!(
        said["heard"],
        json!(["one", r#"{"id":"tag","result":{"two":2}}"#])
    );
}

#[tokio::test]
async fn a_page_calls_over_its_socket_and_from_another_origin() {
    let daemon = daemon().await;
    let task = json!({
        "url": daemon.ws_url(""), "http": format!("http://{}", daemon.address),
        "token": TOKEN, "method": METHOD,
    });
    let page = include_str!("../../clients/scriptr_page.html");
    let said = show(page, &task).await;
    assert_eq!(said["frames"][0]["result"], "connected.", "{said}");
    let result = json!({"temperature": 22, "humidity": 43, "id": "device"});
    assert_eq!(said["frames"][1]["result"], result);
    assert_eq!(said["frames"][1]["statusCode"], "200");
    let response = &said["answer"]["response"];
    assert_eq!(response["result"]["temperature"], 23, "{said}");
    assert_eq!(response["metadata"]["status"], "success");
    assert_eq!(said["refused"][0], 400);
    let refused = &said["refused"][1]["response"]["metadata"];
    assert_eq!(refused["errorCode"], "INVALID_TOKEN");
}

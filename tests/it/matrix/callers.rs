//! The rows of the table: eight ways to call, each giving a result or the kind of a fault.

use serde_json::{Value, json};

use crate::support::{Amqp, Daemon, Http, Message, Mosquitto, Mqtt, Rabbit, TOKEN, Version, Ws};

/// The names of the rows.
pub const CALLERS: [&str; 8] = [
    "jsonrpc", "scriptr", "http", "mqtt5", "mqtt4", "amqp", "js", "lua",
];

/// Passes a call on, and shows what became of it.
pub const RELAY_JS: &str = r#"
try {
  return { result: callway.call(request.body.method, request.body.params) };
} catch (fault) {
  return { kind: fault.kind };
}
"#;
/// The same in Lua.
pub const RELAY_LUA: &str = r#"
local ok, outcome = pcall(callway.call, request.body.method, request.body.params)
if ok then return { result = outcome } end
return { kind = outcome.kind }
"#;

/// One connected caller.
pub enum Caller {
    Jsonrpc(Ws),
    Scriptr(Ws),
    Http(Http),
    Mqtt(Mqtt, Version),
    Amqp(Amqp),
    Script(Http, String),
}

impl Caller {
    /// Connects the caller of a row.
    pub async fn connect(
        name: &str,
        daemon: &Daemon,
        mosquitto: &Mosquitto,
        rabbit: &Rabbit,
    ) -> Caller {
        match name {
            "jsonrpc" => Caller::Jsonrpc(daemon.ws().await),
            "scriptr" => {
                let url = daemon.ws_url(&format!("/{TOKEN}"));
                let mut socket = Ws::try_connect(&url, &[]).await.unwrap();
                assert_eq!(socket.next().await["result"], "connected.");
                Caller::Scriptr(socket)
            }
            "http" => Caller::Http(daemon.http()),
            "mqtt5" => Caller::Mqtt(subscribed(mosquitto, Version::V5).await, Version::V5),
            "mqtt4" => Caller::Mqtt(subscribed(mosquitto, Version::V4).await, Version::V4),
            "amqp" => Caller::Amqp(Amqp::connect(&rabbit.url()).await),
            script => Caller::Script(daemon.http(), format!("/api/relay/{script}")),
        }
    }

    /// The result, or the kind of the fault.
    pub async fn call(&mut self, method: &str, params: &Value) -> Result<Value, String> {
        match self {
            Caller::Jsonrpc(socket) => socket.call(method, params.clone()).await,
            Caller::Scriptr(socket) => {
                let request = json!({"method": method, "params": params, "id": method});
                socket.send(request.to_string()).await;
                let mut reply = socket.next().await;
                match reply["status"].as_str() {
                    Some("success") => Ok(reply["result"].take()),
                    _ => Err(reply["errorCode"].as_str().unwrap().to_lowercase()),
                }
            }
            Caller::Http(client) => {
                let reply = client.post(&format!("/api/{method}"), params).await;
                match reply.status {
                    200 => Ok(reply.json()),
                    _ => Err(reply.kind()),
                }
            }
            Caller::Mqtt(client, Version::V5) => {
                let topic = format!("callway5/call/{method}");
                let request = Message::new(&topic, params.to_string())
                    .reply_to("reply/5", method)
                    .user("token", TOKEN);
                client.publish(&request).await.unwrap();
                let reply = client.next().await;
                assert_eq!(reply.correlation.as_deref(), Some(method.as_bytes()));
                outcome(reply.property("status"), reply.json())
            }
            Caller::Mqtt(client, Version::V4) => {
                let envelope = json!({
                    "method": method, "params": params, "id": method, "token": TOKEN,
                    "reply_to": "reply/4",
                });
                let request = Message::new("callway4/call", envelope.to_string());
                client.publish(&request).await.unwrap();
                let mut reply = client.next().await.json();
                assert_eq!(reply["id"], method);
                match reply["error"]["data"]["kind"].as_str() {
                    Some(kind) => Err(kind.to_owned()),
                    None => Ok(reply["result"].take()),
                }
            }
            Caller::Amqp(client) => {
                let body = params.to_string();
                let reply = client
                    .call("callway.calls", method, TOKEN, body.as_bytes())
                    .await;
                outcome(reply.status.as_deref(), reply.json())
            }
            Caller::Script(client, path) => {
                let request = json!({"method": method, "params": params});
                let reply = client.post(path, &request).await;
                assert_eq!(reply.status, 200, "{reply:?}");
                let mut told = reply.json();
                match told["kind"].as_str() {
                    Some(kind) => Err(kind.to_owned()),
                    None => Ok(told["result"].take()),
                }
            }
        }
    }
}

async fn subscribed(mosquitto: &Mosquitto, version: Version) -> Mqtt {
    let mut client = Mqtt::connect(mosquitto.port, version).await;
    let topic = match version {
        Version::V5 => "reply/5",
        Version::V4 => "reply/4",
    };
    client.subscribe(topic).await;
    client
}

/// The bare reply of MQTT 5 and AMQP.
fn outcome(status: Option<&str>, body: Value) -> Result<Value, String> {
    match status.expect("every reply has a status") {
        "ok" => Ok(body),
        kind => {
            assert_eq!(body["kind"], kind, "the body tells the same");
            Err(kind.to_owned())
        }
    }
}

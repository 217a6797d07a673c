//! Ten ways to call, each giving a result or the kind of a fault.

use serde_json::{Value, json};

use super::{Amqp, Daemon, Http, Message, Mosquitto, Mqtt, Rabbit, TOKEN, Version, Ws};

/// The transports of callers. `jsonrpc` and `scriptr` are spoken over WebSocket.
pub const TRANSPORTS: [&str; 6] = ["jsonrpc", "scriptr", "http", "mqtt5", "mqtt4", "amqp"];

/// What [`Caller::connect`] needs: two buses on one mosquitto, one on RabbitMQ.
pub fn buses(mosquitto: &Mosquitto, rabbit: &Rabbit) -> String {
    format!(
        r#"
        [bus.field5]
        url = "{mqtt}"
        calls = "callway5/call"
        reply_topics = ["reply/#"]
        [bus.field4]
        url = "{mqtt}"
        protocol = 4
        calls = "callway4/call"
        reply_topics = ["reply/#"]
        [bus.office]
        url = "{amqp}"
        calls = "callway.calls"
        [[route]]
        method = "relay/js"
        script = "relay.js"
        [[route]]
        method = "relay/lua"
        script = "relay.lua"
        "#,
        mqtt = mosquitto.url(),
        amqp = rabbit.url(),
    )
}

/// The names of the buses.
pub const BUSES: [&str; 3] = ["field5", "field4", "office"];

/// A script that passes a call on, and shows what became of it.
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
pub struct Caller {
    token: String,
    way: Way,
}

enum Way {
    Jsonrpc(Ws),
    Scriptr(Ws),
    Http(Http),
    /// With the topics of calls and replies.
    Mqtt(Mqtt, Version, &'static str, &'static str),
    Amqp(Amqp),
    Script(Http, String),
}

impl Caller {
    /// Connects: one of [`TRANSPORTS`], `device5` or `device4` for MQTT without a broker, or `js` or
    /// `lua` for a script that calls.
    pub async fn connect(
        way: &str,
        daemon: &Daemon,
        mosquitto: &Mosquitto,
        rabbit: &Rabbit,
    ) -> Caller {
        Caller::connect_as(TOKEN, way, daemon, mosquitto, rabbit).await
    }

    /// Connects with another token.
    pub async fn connect_as(
        token: &str,
        way: &str,
        daemon: &Daemon,
        mosquitto: &Mosquitto,
        rabbit: &Rabbit,
    ) -> Caller {
        let http = Http::new(daemon.address).bearer(token);
        let way = match way {
            "jsonrpc" => Way::Jsonrpc(Ws::connect(&daemon.ws_url("/rpc"), token).await),
            "scriptr" => {
                let url = daemon.ws_url(&format!("/{token}"));
                let mut socket = Ws::try_connect(&url, &[]).await.unwrap();
                assert_eq!(socket.next().await["result"], "connected.");
                Way::Scriptr(socket)
            }
            "http" => Way::Http(http.header("content-type", "application/json")),
            "mqtt5" | "mqtt4" => {
                let (version, calls, replies) = match way {
                    "mqtt5" => (Version::V5, "callway5/call", "reply/5"),
                    _ => (Version::V4, "callway4/call", "reply/4"),
                };
                let mut client = Mqtt::connect(mosquitto.port, version).await;
                client.subscribe(replies).await;
                Way::Mqtt(client, version, calls, replies)
            }
            "device5" | "device4" => {
                let version = match way {
                    "device5" => Version::V5,
                    _ => Version::V4,
                };
                let login = Some(("any", token));
                let client = Mqtt::try_connect(daemon.mqtt.port(), version, login).await;
                Way::Mqtt(client.unwrap(), version, "callway/call", "callway/reply/me")
            }
            "amqp" => Way::Amqp(Amqp::connect(&rabbit.url()).await),
            script => Way::Script(http, format!("/api/relay/{script}")),
        };
        let token = token.to_owned();
        Caller { token, way }
    }

    /// The result, or the kind of the fault.
    pub async fn call(&mut self, method: &str, params: &Value) -> Result<Value, String> {
        self.call_text(method, params.to_string().as_bytes()).await
    }

    /// The same with params that need not be JSON; on WebSocket they must be UTF-8.
    pub async fn call_text(&mut self, method: &str, params: &[u8]) -> Result<Value, String> {
        let token = &self.token;
        let text = || std::str::from_utf8(params).unwrap();
        match &mut self.way {
            Way::Jsonrpc(socket) => {
                let head = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}""#);
                socket
                    .send(format!(r#"{head},"params":{}}}"#, text()))
                    .await;
                jsonrpc_outcome(socket.next().await)
            }
            Way::Scriptr(socket) => {
                let head = format!(r#"{{"id":"1","method":"{method}""#);
                socket
                    .send(format!(r#"{head},"params":{}}}"#, text()))
                    .await;
                scriptr_outcome(socket.next().await)
            }
            Way::Http(client) => {
                let reply = client.send("POST", &format!("/api/{method}"), params).await;
                match reply.status {
                    200 => Ok(reply.json()),
                    _ => Err(reply.kind()),
                }
            }
            Way::Mqtt(client, Version::V5, calls, replies) => {
                let topic = format!("{calls}/{method}");
                let mut request = Message::new(&topic, params)
                    .reply_to(replies, method)
                    .user("token", token);
                request.content_type = Some("application/json".into());
                client.publish(&request).await.unwrap();
                let reply = client.next().await;
                assert_eq!(reply.correlation.as_deref(), Some(method.as_bytes()));
                bare_outcome(reply.property("status"), reply.json())
            }
            Way::Mqtt(client, Version::V4, calls, replies) => {
                let head = format!(
                    r#"{{"id":1,"method":"{method}","token":"{token}","reply_to":"{replies}""#
                );
                let mut envelope = format!(r#"{head},"params":"#).into_bytes();
                envelope.extend_from_slice(params);
                envelope.push(b'}');
                let request = Message::new(calls, envelope);
                client.publish(&request).await.unwrap();
                jsonrpc_outcome(client.next().await.json())
            }
            Way::Amqp(client) => {
                let reply = client.call("callway.calls", method, token, params).await;
                bare_outcome(reply.status.as_deref(), reply.json())
            }
            Way::Script(client, path) => {
                let params: Value = serde_json::from_slice(params).unwrap();
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

fn jsonrpc_outcome(mut response: Value) -> Result<Value, String> {
    match response["error"]["data"]["kind"].as_str() {
        Some(kind) => Err(kind.to_owned()),
        None if response.get("error").is_some() => panic!("no kind: {response}"),
        None => Ok(response["result"].take()),
    }
}

/// The codes that scriptr has words of its own for, and the kind in capitals for all others.
fn scriptr_outcome(mut reply: Value) -> Result<Value, String> {
    if reply["status"] == "success" {
        return Ok(reply["result"].take());
    }
    let code = reply["errorCode"].as_str().unwrap_or_default();
    Err(match code {
        "INVALID_SCRIPT_NAME" => "method_not_found".into(),
        "PERMISSION_DENIED" => "forbidden".into(),
        "INVALID_PARAMETER_VALUE" => "invalid_*".into(),
        other => other.to_lowercase(),
    })
}

/// The bare reply of MQTT 5 and AMQP.
fn bare_outcome(status: Option<&str>, body: Value) -> Result<Value, String> {
    match status.expect("every reply has a status") {
        "ok" => Ok(body),
        kind => {
            assert_eq!(body["kind"], kind, "the body tells the same");
            Err(kind.to_owned())
        }
    }
}

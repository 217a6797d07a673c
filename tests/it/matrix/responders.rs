//! The columns of the table that live outside of callway: devices, a service on AMQP, a worker
//! and an HTTP service. Each answers `ok`, fails on `fault` and keeps silent on `slow`; each comes
//! back when its broker does.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use lapin::BasicProperties;
use lapin::options::{BasicConsumeOptions, QueueDeclareOptions};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::support::{Amqp, Daemon, Message, Mosquitto, Mqtt, Rabbit, TOKEN, Version, headers};

/// All of them; they end on drop.
pub struct Responders {
    /// Where the HTTP service listens.
    pub http: SocketAddr,
    tasks: JoinSet<()>,
}

impl Responders {
    /// Starts all but the worker, which needs a daemon, and waits until they listen.
    pub async fn start(mosquitto: &Mosquitto, rabbit: &Rabbit) -> Responders {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let http = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(http_service(listener));
        for version in [Version::V5, Version::V4] {
            tasks.spawn(come_back(mosquitto.port, move |port| async move {
                let client = Mqtt::try_connect(port, version, None).await?;
                device(client, version, "mqtt", "").await
            }));
        }
        tasks.spawn(come_back(rabbit.url(), service));
        Responders { http, tasks }
    }

    /// Offers `worker/…`, and as devices without a broker `device5/…` and `device4/…`.
    pub async fn connect_worker(&mut self, daemon: &Daemon) {
        for version in [Version::V5, Version::V4] {
            let login = Some(("any", TOKEN));
            let client = Mqtt::try_connect(daemon.mqtt.port(), version, login).await;
            let answers = device(client.unwrap(), version, "device", "callway/serve/");
            self.tasks
                .spawn(async { answers.await.unwrap_or_default() });
        }
        let mut socket = daemon.ws().await;
        let offer = json!({"methods": ["worker/{verb}"], "concurrency": 64});
        socket.call("callway.serve", offer).await.unwrap();
        self.tasks.spawn(async move {
            loop {
                let request = socket.next_ever().await;
                let (id, method) = (&request["id"], &request["method"]);
                let response = match method.as_str() {
                    Some("worker/ok") => {
                        let result = json!({"by": "worker", "got": request["params"]});
                        json!({"jsonrpc": "2.0", "id": id, "result": result})
                    }
                    Some("worker/fault") => error(id),
                    _ => continue,
                };
                socket.send(response.to_string()).await;
            }
        });
    }
}

/// Runs a responder again and again; it ends when its broker does.
async fn come_back<A: Clone, F: Future<Output = Option<()>>>(at: A, run: impl Fn(A) -> F) {
    loop {
        run(at.clone()).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn device(mut client: Mqtt, version: Version, kind: &str, prefix: &str) -> Option<()> {
    let by = match version {
        Version::V5 => format!("{kind}5"),
        Version::V4 => format!("{kind}4"),
    };
    client
        .try_subscribe(&format!("{prefix}{by}/+"))
        .await
        .then_some(())?;
    loop {
        let request = client.recv().await?;
        let fails = request.topic.ends_with("/fault");
        if request.topic.ends_with("/slow") {
            continue;
        }
        let reply = match version {
            Version::V5 => {
                let body = json!({"by": by, "got": request.json()}).to_string();
                let mut reply = Message::new(request.response_topic.as_deref()?, body);
                reply.correlation = request.correlation;
                if fails {
                    reply.user("status", "broken")
                } else {
                    reply
                }
            }
            Version::V4 => {
                let envelope = request.json();
                let id = &envelope["id"];
                let response = if fails {
                    error(id)
                } else {
                    let result = json!({"by": by, "got": envelope["params"]});
                    json!({"jsonrpc": "2.0", "id": id, "result": result})
                };
                Message::new(envelope["reply_to"].as_str()?, response.to_string())
            }
        };
        client.publish(&reply).await?;
    }
}

async fn service(url: String) -> Option<()> {
    let client = Amqp::try_connect(&url).await.ok()?;
    let mut requests = Vec::new();
    for verb in ["ok", "fault", "slow"] {
        let queue = format!("responder-{verb}");
        let exclusive = QueueDeclareOptions {
            exclusive: true,
            ..Default::default()
        };
        let declared =
            client
                .channel
                .queue_declare(queue.as_str().into(), exclusive, Default::default());
        declared.await.ok()?;
        let options = BasicConsumeOptions {
            no_ack: true,
            ..Default::default()
        };
        let consumer = client.channel.basic_consume(
            queue.as_str().into(),
            "".into(),
            options,
            Default::default(),
        );
        let consumer = consumer.await.ok()?;
        requests.push(consumer.map(move |delivery| (verb, delivery)));
    }
    let mut requests = futures_util::stream::select_all(requests);
    while let Some((verb, delivery)) = requests.next().await {
        let delivery = delivery.ok()?;
        if verb == "slow" {
            continue;
        }
        let got: Value = serde_json::from_slice(&delivery.data).ok()?;
        let body = json!({"by": "amqp", "got": got}).to_string();
        let mut properties = BasicProperties::default();
        if let Some(id) = delivery.properties.correlation_id() {
            properties = properties.with_correlation_id(id.clone());
        }
        if verb == "fault" {
            properties = properties.with_headers(headers(&[("status", "broken")]));
        }
        let reply_to = delivery.properties.reply_to().clone()?;
        client
            .try_publish("", reply_to.as_str(), body.as_bytes(), properties)
            .await
            .ok()?;
    }
    None
}

async fn http_service(listener: TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let served =
            http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(http_answer));
        connections.spawn(async move {
            // A caller that gives up closes its connection.
            served.await.ok();
        });
    }
}

async fn http_answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    if path == "/slow" {
        std::future::pending::<()>().await;
    }
    let mut response = Response::new(Full::default());
    if path == "/fault" {
        *response.status_mut() = hyper::StatusCode::INTERNAL_SERVER_ERROR;
    } else {
        let got: Value = serde_json::from_slice(&body).unwrap();
        let body = json!({"by": "http", "got": got}).to_string();
        *response.body_mut() = Full::from(body);
        let json = hyper::header::HeaderValue::from_static("application/json");
        response.headers_mut().insert("content-type", json);
    }
    Ok(response)
}

fn error(id: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "error": {"code": 1, "message": "broken on purpose"}})
}

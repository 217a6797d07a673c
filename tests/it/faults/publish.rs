//! Publishers: each tries its message until that is acknowledged, then goes on to the next.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::id::{FLOWS, Flow, Id};
use super::ledger::Ledger;
use super::line::Line;
use crate::support::{Http, Message, Mqtt, TOKEN, Version};

/// Keys of each flow.
const KEYS: u16 = 4;
/// Between two messages of one key.
const PACE: Duration = Duration::from_millis(40);
/// Before the same is tried again.
const RETRY: Duration = Duration::from_millis(150);
/// A publisher that hears nothing for so long starts over.
const ANSWER: Duration = Duration::from_secs(5);
/// After the faults, all must have their acknowledgement by then.
const LAST: Duration = Duration::from_secs(60);

/// Where publishers find what they publish to.
#[derive(Clone)]
pub struct Doors {
    /// The port of the MQTT broker.
    pub mqtt: u16,
    /// The URL of the AMQP broker.
    pub amqp: String,
    /// The port that leads to callway.
    pub callway: u16,
    /// Whether an acknowledgement of the MQTT broker counts; else only callway's own does.
    pub trust_mqtt: bool,
}

/// Publishers at work.
#[derive(Default)]
pub struct Load {
    ledger: Ledger,
    stop: Arc<AtomicBool>,
    tasks: JoinSet<Flow>,
}

impl Load {
    /// Starts the publishers of all flows.
    pub fn start(doors: &Doors, ledger: &Ledger) -> Load {
        let mut load = Load {
            ledger: ledger.clone(),
            ..Load::default()
        };
        for key in 0..KEYS {
            load.add(Flow::MqttToAmqp, key, Device::new(doors), doors.trust_mqtt);
            load.add(Flow::AmqpToMqtt, key, Service::new(doors), true);
            load.add(Flow::WsToMqtt, key, Socket::new(doors, ledger), true);
            load.add(Flow::WsToAmqp, key, Socket::new(doors, ledger), true);
            load.add(Flow::HttpToMqtt, key, Web::new(doors, ledger), true);
        }
        load
    }

    /// `trusted`: whether what this publisher is told counts as acknowledged.
    fn add(&mut self, flow: Flow, key: u16, mut by: impl Publish, trusted: bool) {
        let (stop, ledger) = (self.stop.clone(), self.ledger.clone());
        self.tasks.spawn(async move {
            let mut number = 0;
            while !stop.load(Ordering::Relaxed) {
                let id = Id { flow, key, number };
                while !try_once(&mut by, id, &ledger).await {
                    sleep(RETRY).await;
                }
                if trusted {
                    ledger.acknowledge(id);
                }
                number += 1;
                sleep(PACE).await;
            }
            flow
        });
    }

    /// Lets each publisher finish its last message; which did not in time.
    pub async fn stop(mut self) -> Vec<Flow> {
        self.stop.store(true, Ordering::Relaxed);
        let mut left: Vec<_> = FLOWS.repeat(usize::from(KEYS));
        let finish = async {
            while let Some(flow) = self.tasks.join_next().await {
                let flow = flow.unwrap();
                let at = left.iter().position(|other| *other == flow).unwrap();
                left.remove(at);
            }
        };
        // What is left says it.
        timeout(LAST, finish).await.ok();
        left
    }
}

async fn try_once(by: &mut impl Publish, id: Id, ledger: &Ledger) -> bool {
    ledger.attempt(id);
    match timeout(ANSWER, by.publish(id)).await {
        Ok(Some(())) => true,
        Ok(None) | Err(_) => {
            by.start_over();
            false
        }
    }
}

/// One connection of one kind.
trait Publish: Send + 'static {
    /// Publishes and waits for the acknowledgement; `None` if there is none.
    fn publish(&mut self, id: Id) -> impl Future<Output = Option<()>> + Send;
    /// Forgets its connection.
    fn start_over(&mut self);
}

/// Publishes over MQTT at QoS 1.
struct Device(u16, Option<Mqtt>);

impl Device {
    fn new(doors: &Doors) -> Device {
        Device(doors.mqtt, None)
    }
}

impl Publish for Device {
    async fn publish(&mut self, id: Id) -> Option<()> {
        if self.1.is_none() {
            self.1 = Mqtt::try_connect(self.0, Version::V5, None).await;
        }
        let mut message = Message::new(&format!("in/{}", id.channel()), id.payload());
        message.qos = 1;
        // Without a subscriber it would be acknowledged and gone.
        let acknowledged = self.1.as_mut()?.publish(&message).await?;
        (acknowledged == 0).then_some(())
    }

    fn start_over(&mut self) {
        self.1 = None;
    }
}

/// Publishes over AMQP, persistent, mandatory and confirmed.
struct Service(String, Option<(Connection, Channel)>);

impl Service {
    fn new(doors: &Doors) -> Service {
        Service(doors.amqp.clone(), None)
    }
}

impl Publish for Service {
    async fn publish(&mut self, id: Id) -> Option<()> {
        if self.1.is_none() {
            let properties = ConnectionProperties::default();
            let connection = Connection::connect(&self.0, properties).await.ok()?;
            let channel = connection.create_channel().await.ok()?;
            let confirmed = channel.confirm_select(ConfirmSelectOptions::default());
            confirmed.await.ok()?;
            self.1 = Some((connection, channel));
        }
        let (_, channel) = self.1.as_ref()?;
        let options = BasicPublishOptions {
            mandatory: true,
            ..Default::default()
        };
        let persistent = BasicProperties::default().with_delivery_mode(2);
        let (key, payload) = (id.routing_key(), id.payload());
        let sent = channel.basic_publish(
            "in".into(),
            key.as_str().into(),
            options,
            payload.as_bytes(),
            persistent,
        );
        match sent.await.ok()?.await.ok()? {
            Confirmation::Ack(None) => Some(()),
            _ => None,
        }
    }

    fn start_over(&mut self) {
        self.1 = None;
    }
}

/// Publishes with `callway.publish`.
struct Socket {
    port: u16,
    line: Option<Line>,
    ledger: Ledger,
}

impl Socket {
    fn new(doors: &Doors, ledger: &Ledger) -> Socket {
        Socket {
            port: doors.callway,
            line: None,
            ledger: ledger.clone(),
        }
    }
}

impl Publish for Socket {
    async fn publish(&mut self, id: Id) -> Option<()> {
        if self.line.is_none() {
            self.line = Line::open(self.port).await;
        }
        let (channel, payload) = (id.channel(), id.payload());
        let params = format!(r#","params":{{"channel":"{channel}","payload":{payload}}}"#);
        let line = self.line.as_mut()?;
        let response = line.request("callway.publish", &params).await?;
        if response.get("result").is_some() {
            return Some(());
        }
        refused(&self.ledger, &response["error"]["data"], "detail");
        None
    }

    fn start_over(&mut self) {
        self.line = None;
    }
}

/// Publishes with POST, one connection for each.
struct Web {
    http: Http,
    ledger: Ledger,
}

impl Web {
    fn new(doors: &Doors, ledger: &Ledger) -> Web {
        let address = SocketAddr::from(([127, 0, 0, 1], doors.callway));
        let http = Http::new(address).bearer(TOKEN);
        Web {
            http: http.header("content-type", "application/json"),
            ledger: ledger.clone(),
        }
    }
}

impl Publish for Web {
    async fn publish(&mut self, id: Id) -> Option<()> {
        let path = format!("/api/channels/{}", id.channel());
        let payload = id.payload();
        let reply = self
            .http
            .try_send("POST", &path, payload.as_bytes())
            .await?;
        if matches!(reply.status, 202 | 204) {
            return Some(());
        }
        refused(&self.ledger, &reply.json(), "data");
        None
    }

    fn start_over(&mut self) {}
}

/// Notes the kind of a fault, or better its reason.
fn refused(ledger: &Ledger, fault: &Value, data: &str) {
    let reason = fault[data]["reason"].as_str();
    let kind = fault["kind"].as_str().unwrap_or("no kind");
    ledger.refuse(reason.unwrap_or(kind));
}

//! MQTT 5 request/response by a client library, as programs do it that have no bridge: the floor
//! client, and the responder that both it and callway ask. The library is the one that callway's
//! link uses, set up in the same way, so that a ratio to the floor tells about callway alone.

use std::time::Instant;

use bytes::Bytes;
use rumqttc_v5::mqttbytes::QoS;
use rumqttc_v5::mqttbytes::v5::{Packet, Publish, PublishProperties};
use rumqttc_v5::{
    AsyncClient, Broker, Event, EventLoop, MqttOptions, NetworkOptions, PublishOptions,
};
use tokio::task::JoinSet;

use crate::Failure;
use crate::load::{Load, Measured, Tally, sum};
use crate::wire::{CALL_ID, Extras, PARAMS};

/// The topic that the responder answers, by QoS.
pub const TOPICS: [&str; 2] = ["bench/q0", "bench/q1"];

/// More than there are requests under way.
const QUEUE: usize = 8192;

/// Connects and subscribes.
async fn connect(
    port: u16,
    client_id: &str,
    filters: &[(&str, u8)],
) -> Result<(AsyncClient, EventLoop), Failure> {
    let mut options = MqttOptions::new(client_id, Broker::tcp("127.0.0.1", port));
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    options
        .set_network_options(network)
        .set_clean_start(true)
        .set_receive_maximum(Some(u16::MAX))
        .set_outgoing_inflight_upper_limit(1000)
        .set_max_request_batch(64);
    let (client, mut events) = AsyncClient::builder(options).capacity(QUEUE).try_build()?;
    for (filter, level) in filters {
        client.try_subscribe(*filter, qos(*level))?;
    }
    let mut missing = filters.len();
    while missing > 0 {
        if let Event::Incoming(Packet::SubAck(_)) = events.poll().await? {
            missing -= 1;
        }
    }
    Ok((client, events))
}

/// A client that does request/response itself, on a connection of its own.
pub struct Floor {
    client: AsyncClient,
    events: EventLoop,
    qos: u8,
    extras: Extras,
    reply_topic: String,
}

impl Floor {
    /// Connects and waits for replies. `number` tells it from the other clients.
    pub async fn connect(
        port: u16,
        number: usize,
        qos: u8,
        extras: Extras,
    ) -> Result<Floor, Failure> {
        let reply_topic = format!("bench/reply/{number}");
        let id = format!("bench-{number}");
        let (client, events) = connect(port, &id, &[(&reply_topic, qos)]).await?;
        Ok(Floor {
            client,
            events,
            qos,
            extras,
            reply_topic,
        })
    }

    fn request(&self, slot: usize) -> Result<(), Failure> {
        let topic = TOPICS[usize::from(self.qos)];
        let mut properties = PublishProperties {
            response_topic: Some(self.reply_topic.clone()),
            correlation_data: Some(Bytes::copy_from_slice(&[slot as u8])),
            ..PublishProperties::default()
        };
        if self.extras == Extras::All {
            properties.correlation_data = Some(Bytes::copy_from_slice(&[slot as u8; 32]));
            properties.message_expiry_interval = Some(30);
            properties.content_type = Some("application/json".into());
            let user = [
                ("method", topic),
                ("call-id", CALL_ID),
                ("deadline", "1795800000000"),
                ("hops", "1"),
            ];
            properties.user_properties =
                user.map(|(name, value)| (name.into(), value.into())).into();
        }
        let options = PublishOptions::new(qos(self.qos)).properties(properties);
        Ok(self.client.try_publish(topic, PARAMS, options)?)
    }

    async fn run(mut self, load: Load, start: Instant) -> Result<Tally, Failure> {
        let mut tally = Tally::new(start, load);
        let mut sent = vec![start; load.in_flight];
        for (slot, at) in sent.iter_mut().enumerate() {
            *at = Instant::now();
            self.request(slot)?;
        }
        let mut waiting = load.in_flight;
        while waiting > 0 {
            let Event::Incoming(Packet::Publish(reply)) = self.events.poll().await? else {
                continue;
            };
            let slot = usize::from(correlation(&reply).ok_or("a reply without correlation")?[0]);
            let now = Instant::now();
            waiting -= 1;
            if tally.reply(sent[slot], now) {
                sent[slot] = now;
                self.request(slot)?;
                waiting += 1;
            }
        }
        Ok(tally)
    }
}

/// Runs the load, one connection for each client.
pub async fn run(clients: Vec<Floor>, load: Load) -> Result<Measured, Failure> {
    let start = Instant::now();
    let mut lanes = JoinSet::new();
    for client in clients {
        lanes.spawn(client.run(load, start));
    }
    let mut tallies = Vec::new();
    while let Some(tally) = lanes.join_next().await {
        tallies.push(tally??);
    }
    sum(tallies, load)
}

/// Answers each request with its own payload, at the QoS of the request.
pub async fn respond(port: u16) -> Result<(), Failure> {
    let filters = [(TOPICS[0], 0), (TOPICS[1], 1)];
    let (client, mut events) = connect(port, "bench-responder", &filters).await?;
    println!("ready");
    loop {
        let Event::Incoming(Packet::Publish(request)) = events.poll().await? else {
            continue;
        };
        let asked = request.properties.as_ref();
        let Some(reply_to) = asked.and_then(|asked| asked.response_topic.clone()) else {
            continue;
        };
        let properties = PublishProperties {
            correlation_data: correlation(&request).cloned(),
            ..PublishProperties::default()
        };
        let options = PublishOptions::new(request.qos).properties(properties);
        client.try_publish(reply_to, request.payload, options)?;
    }
}

fn correlation(message: &Publish) -> Option<&Bytes> {
    let data = message.properties.as_ref()?.correlation_data.as_ref()?;
    (!data.is_empty()).then_some(data)
}

fn qos(level: u8) -> QoS {
    match level {
        0 => QoS::AtMostOnce,
        _ => QoS::AtLeastOnce,
    }
}

//! MQTT 3.1.1 by rumqttc: settings in, one kind of events out.

use std::time::Duration;

use rumqttc_v4::mqttbytes::QoS;
use rumqttc_v4::mqttbytes::v4::{Packet, PubAck, PubRec, Publish, SubscribeReasonCode};
use rumqttc_v4::{
    AckMode, AsyncClient, Broker, Event as RawEvent, EventLoop, ManualAck, MqttOptions,
    NetworkOptions, PublishNotice, PublishOptions, SubscribeFilterInput, SubscribeNotice,
    TlsConfiguration, Transport, UnsubscribeNotice, ValidatedTopic,
};

use super::connection::{AckError, Event, Mode, PublishError, Settings};
use super::dial::{address, dial};
use super::message::{Delivery, Message, Properties};
use super::receipt::Tag;
use super::subscription::Subscription;

/// MQTT 3.1.1 has no way to tell the broker a limit, and a packet over it would end the
/// connection: anyone could cut the link off with one large message. So up to here a message is
/// read and refused by itself.
const MAX_PACKET: usize = 16 * 1024 * 1024;
/// The largest packet that there is (§2.2.3). From a broker that keeps the session a larger one
/// than the limit would come again with every connection, and nothing behind it ever.
const ANY_PACKET: usize = 268_435_455 + 5;

/// A client and the loop that must be polled for it. Nothing is connected yet.
pub(super) fn open(settings: &Settings) -> Result<(AsyncClient, EventLoop), String> {
    let bus = &settings.bus;
    let mut options = MqttOptions::new(
        settings.client_id.clone(),
        Broker::tcp(bus.host.clone(), bus.port),
    );
    let kept = settings.mode.kept_secs().is_some();
    let max_packet = if kept { ANY_PACKET } else { MAX_PACKET };
    let max_packet = max_packet.max(settings.max_packet as usize);
    options
        .set_keep_alive(settings.keep_alive.as_secs() as u16)
        .set_max_packet_size(max_packet, max_packet)
        .set_inflight(settings.inflight)
        .set_max_request_batch(settings.batch)
        .set_read_batch_size(settings.batch)
        .try_set_clean_session(!kept)
        .map_err(|error| error.to_string())?;
    if let Mode::Receives { .. } = settings.mode {
        options.set_ack_mode(AckMode::Manual);
    }
    if let Some((user, password)) = &bus.login {
        options.set_credentials(user.clone(), password.expose().as_bytes().to_vec());
    }
    let address = address(bus);
    options.set_socket_connector(move |_, network| dial(address.clone(), network));
    if let Some(tls) = &settings.tls {
        options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(
            tls.clone(),
        )));
    }
    let (client, mut events) = AsyncClient::builder(options)
        .capacity(settings.queue)
        .try_build()
        .map_err(|error| error.to_string())?;
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    network.set_connection_timeout(settings.connect_timeout.as_secs().max(1));
    events.set_network_options(network);
    Ok((client, events))
}

/// Queues a message whose topic was checked.
pub(super) fn publish(
    client: &AsyncClient,
    message: Message,
) -> Result<Option<PublishNotice>, PublishError> {
    let Ok(topic) = ValidatedTopic::new(message.topic) else {
        return Err(PublishError::Topic);
    };
    let options = PublishOptions::new(qos(message.qos));
    let outcome = if message.qos == 0 {
        client
            .try_publish(topic, message.payload, options)
            .map(|()| None)
    } else {
        client
            .try_publish_tracked(topic, message.payload, options)
            .map(Some)
    };
    outcome.map_err(|error| match error {
        rumqttc_v4::ClientError::RequestChannelFull(_) => PublishError::Full,
        _ => PublishError::Closed,
    })
}

/// Whether the broker took a message of QoS 1 or 2; MQTT 3.1.1 knows no refusal.
pub(super) async fn acknowledged(notice: PublishNotice) -> Result<(), AckError> {
    match notice.wait_async().await {
        Ok(_) => Ok(()),
        Err(_) => Err(AckError::Lost),
    }
}

/// Asks for subscriptions; of their terms MQTT 3.1.1 knows the QoS alone.
pub(super) fn subscribe(
    client: &AsyncClient,
    wanted: &[Subscription],
) -> Result<SubscribeNotice, PublishError> {
    let filters = wanted
        .iter()
        .map(|wanted| SubscribeFilterInput::new(wanted.filter.clone(), qos(wanted.qos)));
    client
        .try_subscribe_many_tracked(filters)
        .map_err(|_| PublishError::Closed)
}

/// Gives subscriptions up.
pub(super) fn unsubscribe(
    client: &AsyncClient,
    filters: &[String],
) -> Result<UnsubscribeNotice, PublishError> {
    client
        .try_unsubscribe_many_tracked(filters.iter().cloned())
        .map_err(|_| PublishError::Closed)
}

/// Queues an acknowledgement.
pub(super) fn acknowledge(client: &AsyncClient, tag: Tag) -> Result<(), PublishError> {
    let packet = match tag.qos {
        1 => ManualAck::PubAck(PubAck::new(tag.id)),
        _ => ManualAck::PubRec(PubRec::new(tag.id)),
    };
    client
        .try_manual_ack(packet)
        .map_err(|_| PublishError::Closed)
}

/// One entry per filter: why the broker refused it, or `None`.
pub(super) async fn subscribed(notice: SubscribeNotice) -> Option<Vec<Option<String>>> {
    let ack = notice.wait_async().await.ok()?;
    let refusals = ack.return_codes.iter().map(|code| match code {
        SubscribeReasonCode::Success(_) => None,
        SubscribeReasonCode::Failure => Some("refused".to_owned()),
    });
    Some(refusals.collect())
}

/// Says goodbye once what is queued has been sent.
pub(super) fn disconnect(client: &AsyncClient, patience: Duration) {
    // A full queue or a dead connection need no goodbye.
    client.try_disconnect_with_timeout(patience).ok();
}

/// Translates what the loop yields.
pub(super) fn event(raw: RawEvent) -> Event {
    match raw {
        RawEvent::Incoming(Packet::Publish(publish)) => Event::Delivery(delivery(publish)),
        RawEvent::Incoming(Packet::ConnAck(ack)) => Event::Connected {
            max_packet: usize::MAX,
            resumed: ack.session_present,
        },
        RawEvent::Incoming(Packet::PubAck(_) | Packet::PubComp(_)) => Event::Acknowledged,
        RawEvent::Incoming(_) => Event::Heard,
        RawEvent::Outgoing(_) => Event::Sent,
    }
}

fn delivery(publish: Publish) -> Delivery {
    Delivery {
        topic: publish.topic,
        payload: publish.payload,
        qos: publish.qos as u8,
        retained: publish.retain,
        id: publish.pkid,
        again: publish.dup,
        properties: Properties::default(),
    }
}

fn qos(level: u8) -> QoS {
    match level {
        0 => QoS::AtMostOnce,
        1 => QoS::AtLeastOnce,
        _ => QoS::ExactlyOnce,
    }
}

//! MQTT 5 by rumqttc: settings in, one kind of events out.

use std::time::Duration;

use rumqttc_v5::mqttbytes::QoS;
use rumqttc_v5::mqttbytes::v5::{
    ConnAck, Packet, PubAck, PubAckReason, PubRec, Publish, PublishProperties, RetainForwardRule,
    SubscribeReasonCode,
};
use rumqttc_v5::{
    AckMode, AsyncClient, Broker, Event as RawEvent, EventLoop, ManualAck, MqttOptions,
    NetworkOptions, PublishNotice, PublishOptions, PublishResult, SubscribeFilterInput,
    SubscribeNotice, TlsConfiguration, Transport, UnsubscribeNotice, ValidatedTopic,
};

use super::connection::{AckError, Event, Mode, PublishError, Settings};
use super::dial::{address, dial};
use super::message::{Delivery, Message, Properties};
use super::receipt::Tag;
use super::resume::Afresh;
use super::subscription::{Retain, Subscription};

/// A client and the loop that must be polled for it. Nothing is connected yet.
pub(super) fn open(settings: &Settings) -> Result<(AsyncClient, EventLoop), String> {
    let bus = &settings.bus;
    let mut options = MqttOptions::new(
        settings.client_id.clone(),
        Broker::tcp(bus.host.clone(), bus.port),
    );
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    let kept = settings.mode.kept_secs();
    options
        .set_network_options(network)
        .set_keep_alive(settings.keep_alive.as_secs() as u16)
        .set_connect_timeout(settings.connect_timeout)
        .set_clean_start(kept.is_none())
        .set_session_expiry_interval(Some(kept.unwrap_or(0)))
        // A broker drops what it may not send at once when its queue is short.
        .set_receive_maximum(Some(u16::MAX))
        .set_max_packet_size(Some(settings.max_packet))
        .set_outgoing_inflight_upper_limit(settings.inflight)
        .set_max_request_batch(settings.batch)
        .set_read_batch_size(settings.batch);
    match settings.mode {
        Mode::Receives { .. } => drop(options.set_ack_mode(AckMode::Manual)),
        Mode::Visits => drop(options.set_request_response_info(Some(1))),
        Mode::Sends => {}
    }
    if kept.is_some() {
        options.set_session_store(Afresh {
            inflight: settings.inflight,
        });
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
    AsyncClient::builder(options)
        .capacity(settings.queue)
        .try_build()
        .map_err(|error| error.to_string())
}

/// Queues a message whose topic was checked.
pub(super) fn publish(
    client: &AsyncClient,
    message: Message,
) -> Result<Option<PublishNotice>, PublishError> {
    let Ok(topic) = ValidatedTopic::new(message.topic) else {
        return Err(PublishError::Topic);
    };
    let properties = PublishProperties {
        message_expiry_interval: message.properties.expiry,
        response_topic: message.properties.response_topic,
        correlation_data: message.properties.correlation,
        user_properties: message.properties.user,
        content_type: message.properties.content_type,
        ..PublishProperties::default()
    };
    let options = PublishOptions::new(qos(message.qos)).properties(properties);
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
        rumqttc_v5::ClientError::RequestChannelFull(_) => PublishError::Full,
        _ => PublishError::Closed,
    })
}

/// What the broker said to a message of QoS 1 or 2.
pub(super) async fn acknowledged(notice: PublishNotice) -> Result<(), AckError> {
    match notice.wait_async().await {
        Ok(PublishResult::Qos1(ack)) => match ack.reason {
            PubAckReason::Success => Ok(()),
            PubAckReason::NoMatchingSubscribers => Err(AckError::NoSubscriber),
            reason => Err(AckError::Refused(format!("{reason:?}"))),
        },
        Ok(PublishResult::Qos2PubRecRejected(ack)) => {
            Err(AckError::Refused(format!("{:?}", ack.reason)))
        }
        Ok(_) => Ok(()),
        Err(_) => Err(AckError::Lost),
    }
}

/// Asks for subscriptions.
pub(super) fn subscribe(
    client: &AsyncClient,
    wanted: &[Subscription],
) -> Result<SubscribeNotice, PublishError> {
    let filters = wanted.iter().map(|wanted| {
        SubscribeFilterInput::new(wanted.filter.clone(), qos(wanted.qos)).retain_forward_rule(
            match wanted.retain {
                Retain::Never => RetainForwardRule::Never,
                Retain::OnSubscribe => RetainForwardRule::OnEverySubscribe,
            },
        )
    });
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
        1 => ManualAck::PubAck(PubAck::new(tag.id, None)),
        _ => ManualAck::PubRec(PubRec::new(tag.id, None)),
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
        refusal => Some(format!("{refusal:?}")),
    });
    Some(refusals.collect())
}

/// Says goodbye once what is queued has been sent.
pub(super) fn disconnect(client: &AsyncClient, patience: Duration) {
    // A full queue or a dead connection need no goodbye.
    client.try_disconnect_with_timeout(patience).ok();
}

/// Translates what the loop yields.
pub(super) fn event(raw: RawEvent, events: &mut EventLoop) -> Event {
    match raw {
        RawEvent::Incoming(Packet::Publish(publish)) => Event::Delivery(delivery(publish)),
        RawEvent::Incoming(Packet::ConnAck(ack)) => {
            // It has served; left there, it would be asked to save something with every packet.
            events.options.clear_session_store();
            Event::Connected {
                max_packet: max_packet(&ack),
                resumed: ack.session_present,
            }
        }
        RawEvent::Incoming(Packet::PubAck(_) | Packet::PubComp(_)) => Event::Acknowledged,
        RawEvent::Incoming(Packet::PubRec(ack)) if ack.reason as u8 >= 0x80 => Event::Acknowledged,
        RawEvent::Incoming(_) => Event::Heard,
        RawEvent::Outgoing(_) | RawEvent::Auth(_) => Event::Sent,
    }
}

fn max_packet(ack: &ConnAck) -> usize {
    let limit = ack.properties.as_ref().and_then(|p| p.max_packet_size);
    limit.map_or(usize::MAX, |limit| limit as usize)
}

fn delivery(publish: Publish) -> Delivery {
    let properties = publish.properties.unwrap_or_default();
    Delivery {
        topic: publish.topic,
        payload: publish.payload,
        qos: publish.qos as u8,
        retained: publish.retain,
        id: publish.pkid,
        again: publish.dup,
        properties: Properties {
            response_topic: properties.response_topic,
            correlation: properties.correlation_data,
            expiry: properties.message_expiry_interval,
            content_type: properties.content_type,
            user: properties.user_properties,
        },
    }
}

fn qos(level: u8) -> QoS {
    match level {
        0 => QoS::AtMostOnce,
        1 => QoS::AtLeastOnce,
        _ => QoS::ExactlyOnce,
    }
}

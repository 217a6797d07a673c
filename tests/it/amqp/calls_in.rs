//! Calls that come in over AMQP, and messages that are no calls.

use callway::call::Kind;
use futures_util::StreamExt as _;
use lapin::BasicProperties;
use lapin::options::{BasicConsumeOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use serde_json::json;

use super::bridge::{Bridge, CALLS, bus, route};
use super::service::{Service, echo, silent};
use crate::support::{Amqp, PATIENCE, Rabbit, TOKEN, header, headers};
use callway::config::Identity;

fn with_token(client: &Amqp, id: &str) -> BasicProperties {
    BasicProperties::default()
        .with_headers(headers(&[("token", TOKEN)]))
        .with_reply_to(client.reply_queue.as_str().into())
        .with_correlation_id(id.into())
}

#[tokio::test]
async fn the_method_may_stand_in_four_places() {
    let rabbit = Rabbit::shared().await;
    let _bridge = Bridge::start(bus(&rabbit), vec![route("a/{x}", "", "service")]).await;
    let _service = Service::start(&rabbit.url(), "service", echo).await;
    let mut client = Amqp::connect(&rabbit.url()).await;

    let reply = client.call(CALLS, "a/header", TOKEN, br#"{"n":1}"#).await;
    assert_eq!(reply.status.as_deref(), Some("ok"));
    assert_eq!(reply.json(), json!({"n": 1}));

    let properties = with_token(&client, "type").with_type("a/type".into());
    client.publish("", CALLS, b"[2]", properties).await;
    let reply = client.reply().await;
    assert_eq!(reply.correlation.as_deref(), Some("type"));
    assert_eq!(reply.json(), json!([2]));

    let properties = with_token(&client, "key");
    client
        .publish("callway", "call.a.key", b"on", properties)
        .await;
    let reply = client.reply().await;
    assert_eq!(reply.correlation.as_deref(), Some("key"));
    assert_eq!(reply.body, b"on");

    let envelope = json!({
        "method": "a/envelope", "params": {"n": 4}, "id": 4, "token": TOKEN,
        "reply_to": client.reply_queue, "timeout": "5s",
    });
    let body = envelope.to_string();
    client
        .publish("", CALLS, body.as_bytes(), Default::default())
        .await;
    let reply = client.reply().await;
    assert_eq!(reply.correlation.as_deref(), Some("4"));
    assert_eq!(reply.json(), json!({"n": 4}));
}

#[tokio::test]
async fn each_bad_call_gets_its_kind_and_the_next_is_served() {
    let rabbit = Rabbit::shared().await;
    let _bridge = Bridge::start(bus(&rabbit), vec![route("a/{x}", "", "service")]).await;
    let _service = Service::start(&rabbit.url(), "service", echo).await;
    let mut client = Amqp::connect(&rabbit.url()).await;
    let table = |name: &str, value: AMQPValue| {
        let mut table: FieldTable = headers(&[("token", TOKEN), ("method", "a/b")]);
        table.insert(name.into(), value);
        table
    };
    let good = |client: &Amqp| with_token(client, "x");
    let bad = [
        (
            good(&client).with_type("nobody/home".into()),
            "{}",
            Kind::MethodNotFound,
        ),
        (
            good(&client).with_type("a//b".into()),
            "{}",
            Kind::InvalidRequest,
        ),
        (
            good(&client).with_type("a/b".into()),
            "{\"n\":",
            Kind::ParseError,
        ),
        (good(&client), "21.5", Kind::InvalidRequest),
        (good(&client), "not json", Kind::ParseError),
        (
            good(&client)
                .with_type("a/b".into())
                .with_content_encoding("gzip".into()),
            "{}",
            Kind::InvalidRequest,
        ),
        (
            good(&client).with_headers(table("hops", AMQPValue::LongInt(99))),
            "{}",
            Kind::InvalidRequest,
        ),
        (
            good(&client).with_headers(table("hops", AMQPValue::Boolean(true))),
            "{}",
            Kind::InvalidRequest,
        ),
        (
            good(&client).with_headers(table("deadline", AMQPValue::LongString("soon".into()))),
            "{}",
            Kind::InvalidRequest,
        ),
        (
            good(&client).with_headers(table("deadline", AMQPValue::LongLongInt(1))),
            "{}",
            Kind::Timeout,
        ),
        (
            good(&client).with_headers(headers(&[("method", "a/b"), ("token", "guess")])),
            "{}",
            Kind::Unauthenticated,
        ),
        (
            good(&client).with_headers(headers(&[("method", "a/b")])),
            "{}",
            Kind::Unauthenticated,
        ),
    ];
    for (properties, body, kind) in bad {
        let shown = format!("{properties:?} {body}");
        client.publish("", CALLS, body.as_bytes(), properties).await;
        let reply = client.reply().await;
        assert_eq!(reply.status.as_deref(), Some(kind.as_str()), "{shown}");
        assert_eq!(reply.json()["kind"], kind.as_str());
        let reply = client.call(CALLS, "a/b", TOKEN, b"{}").await;
        assert_eq!(reply.status.as_deref(), Some("ok"));
    }
    // The broker's permissions are on routing keys: a header must not get around them.
    let properties = with_token(&client, "x").with_type("a/secret".into());
    client
        .publish("callway", "call.a.public", b"{}", properties)
        .await;
    let reply = client.reply().await;
    assert_eq!(reply.status.as_deref(), Some("invalid_request"));
    assert!(reply.json()["call_id"].is_string(), "also without a call");
}

#[tokio::test]
async fn what_can_never_be_a_call_is_kept_without_its_token() {
    let rabbit = Rabbit::shared().await;
    let bridge = Bridge::start(bus(&rabbit), vec![route("a/{x}", "", "service")]).await;
    let _service = Service::start(&rabbit.url(), "service", echo).await;
    let mut client = Amqp::connect(&rabbit.url()).await;
    let token =
        || BasicProperties::default().with_headers(headers(&[("token", TOKEN), ("x", "y")]));
    let body = json!({"methid": "a/b", "token": TOKEN, "n": 1}).to_string();
    client.publish("", CALLS, body.as_bytes(), token()).await;
    client
        .publish("", CALLS, b"{\"n\":", token().with_type("a/b".into()))
        .await;
    // Not a poisoned message but a bad credential: nothing to look at later.
    let unknown = BasicProperties::default()
        .with_type("a/b".into())
        .with_headers(headers(&[("token", "guess")]));
    client.publish("", CALLS, b"{}", unknown).await;

    let kept = client.channel.basic_consume(
        "callway.dead".into(),
        "".into(),
        BasicConsumeOptions::default(),
        Default::default(),
    );
    let mut kept = kept.await.unwrap();
    for (kind, expected) in [
        ("invalid_request", r#"{"methid":"a/b","n":1}"#),
        ("parse_error", "{\"n\":"),
    ] {
        let next = tokio::time::timeout(PATIENCE, kept.next()).await;
        let message = next.expect("nothing was kept").unwrap().unwrap();
        assert_eq!(String::from_utf8_lossy(&message.data), expected);
        assert_eq!(header(&message.properties, "x").as_deref(), Some("y"));
        assert_eq!(header(&message.properties, "token"), None);
        assert_eq!(
            header(&message.properties, "source").as_deref(),
            Some("office")
        );
        let why = header(&message.properties, "reason").unwrap();
        assert!(why.starts_with(kind), "{why}");
    }
    let reply = client.call(CALLS, "a/b", TOKEN, b"{}").await;
    assert_eq!(reply.status.as_deref(), Some("ok"));
    assert_eq!(bridge.dropped("parked"), 2);
    let queue = client.channel.queue_declare(
        CALLS.into(),
        QueueDeclareOptions {
            passive: true,
            ..Default::default()
        },
        Default::default(),
    );
    assert_eq!(
        queue.await.unwrap().message_count(),
        0,
        "everything was settled"
    );
}

#[tokio::test]
async fn callway_writes_to_no_queue_that_it_may_not() {
    let rabbit = Rabbit::shared().await;
    let bridge = Bridge::start(bus(&rabbit), vec![route("a/{x}", "", "service")]).await;
    let mut service = Service::start(&rabbit.url(), "service", echo).await;
    let mut victim = Service::start(&rabbit.url(), "payroll", silent).await;
    let mut client = Amqp::connect(&rabbit.url()).await;
    for foreign in ["payroll", CALLS, "callway.dead"] {
        let properties = with_token(&client, "x").with_type("a/b".into());
        let properties = properties.with_reply_to(foreign.into());
        client.publish("", CALLS, b"{}", properties).await;
    }
    let envelope = json!({"method": "a/b", "token": TOKEN, "reply_to": "payroll"}).to_string();
    client
        .publish("", CALLS, envelope.as_bytes(), Default::default())
        .await;
    // A topic is an address too, and none is allowed here.
    let topic = headers(&[("token", TOKEN), ("x-reply-to-topic", "devices/7/reply")]);
    let topic = BasicProperties::default()
        .with_type("a/b".into())
        .with_headers(topic);
    client.publish("", CALLS, b"{}", topic).await;

    client.call(CALLS, "a/b", TOKEN, b"\"the only one\"").await;
    assert_eq!(service.next().await.data, b"\"the only one\"");
    assert!(
        service.requests.try_recv().is_err(),
        "a refused call is not run"
    );
    assert!(victim.requests.try_recv().is_err());
    assert_eq!(bridge.dropped("forbidden_reply_address"), 5);
}

#[tokio::test]
async fn clients_of_the_broker_s_mqtt_are_answered_on_their_topic() {
    let rabbit = Rabbit::shared().await;
    let mut bus = bus(&rabbit);
    bus.reply_topics = vec!["devices/+/reply".into()];
    let _bridge = Bridge::start(bus, vec![route("a/{x}", "", "service")]).await;
    let _service = Service::start(&rabbit.url(), "service", echo).await;
    let mut client = Amqp::connect(&rabbit.url()).await;
    let bound = client.channel.queue_bind(
        client.reply_queue.as_str().into(),
        "amq.topic".into(),
        "devices.7.reply".into(),
        QueueBindOptions::default(),
        Default::default(),
    );
    bound.await.unwrap();
    let pairs = [
        ("token", TOKEN),
        ("x-reply-to-topic", "devices/7/reply"),
        ("x-correlation-id", "seven"),
    ];
    let properties = BasicProperties::default().with_headers(headers(&pairs));
    client
        .publish("callway", "call.a.b", b"{}", properties)
        .await;
    let reply = client.reply().await;
    assert_eq!(reply.status.as_deref(), Some("ok"));
    assert_eq!(reply.correlation.as_deref(), Some("seven"));
}

#[tokio::test]
async fn the_broker_s_user_may_be_the_caller() {
    let rabbit = Rabbit::shared().await;
    let mut bus = bus(&rabbit);
    bus.common.identity = Identity::UserId;
    let _bridge = Bridge::start(bus, vec![route("a/{x}", "", "service")]).await;
    let _service = Service::start(&rabbit.url(), "service", echo).await;
    let mut client = Amqp::connect(&rabbit.url()).await;
    let properties = with_token(&client, "1").with_type("a/b".into());
    client.publish("", CALLS, b"{}", properties.clone()).await;
    let reply = client.reply().await;
    assert_eq!(
        reply.status.as_deref(),
        Some("unauthenticated"),
        "a token does not count here"
    );
    client
        .publish("", CALLS, b"{}", properties.with_user_id("guest".into()))
        .await;
    assert_eq!(client.reply().await.status.as_deref(), Some("ok"));
}

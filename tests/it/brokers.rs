//! The ground the other tests stand on: brokers that a test can kill, pause and restart.

use std::time::Duration;

use crate::support::{Amqp, Message, Mosquitto, Mqtt, Rabbit, Version};

#[tokio::test]
async fn a_mosquitto_comes_back_on_its_port() {
    let mut broker = Mosquitto::start().await;
    let mut old = Mqtt::connect(broker.port, Version::V5).await;
    broker.kill();
    assert!(old.recv().await.is_none(), "the connection ends");
    assert!(
        Mqtt::try_connect(broker.port, Version::V5, None)
            .await
            .is_none()
    );
    broker.restart().await;

    for version in [Version::V5, Version::V4] {
        let mut client = Mqtt::connect(broker.port, version).await;
        client.subscribe("a/+").await;
        let mut message = Message::new("a/b", "hello");
        message.qos = 1;
        assert_eq!(client.publish(&message).await, Some(0));
        assert_eq!(client.next().await.payload, b"hello");
    }

    let mut client = Mqtt::connect(broker.port, Version::V5).await;
    client.subscribe("q").await;
    broker.pause();
    let question = Message::new("q", "?").reply_to("r", "1").user("k", "v");
    client.publish(&question).await.unwrap();
    let silence = tokio::time::timeout(Duration::from_millis(200), client.recv()).await;
    assert!(silence.is_err(), "a paused broker says nothing");
    broker.resume();
    let got = client.next().await;
    assert_eq!(got.response_topic.as_deref(), Some("r"));
    assert_eq!(got.correlation.as_deref(), Some(&b"1"[..]));
    assert_eq!(got.property("k"), Some("v"));
}

#[tokio::test]
async fn tests_on_the_shared_node_do_not_meet() {
    let (one, two) = (Rabbit::shared().await, Rabbit::shared().await);
    assert_ne!(one.vhost, two.vhost);
    let mut client = Amqp::connect(&one.url()).await;
    let queue = client.reply_queue.clone();
    let other = Amqp::connect(&two.url()).await;
    other
        .publish("", &queue, b"stray", Default::default())
        .await;
    client
        .publish("", &queue, b"mine", Default::default())
        .await;
    assert_eq!(client.reply().await.body, b"mine");
}

#[tokio::test]
async fn an_own_node_comes_back_on_its_port() {
    let mut rabbit = Rabbit::own().await;
    rabbit.kill();
    assert!(Amqp::try_connect(&rabbit.url()).await.is_err());
    rabbit.restart().await;
    let mut client = Amqp::connect(&rabbit.url()).await;
    let queue = client.reply_queue.clone();
    client
        .publish("", &queue, b"again", Default::default())
        .await;
    assert_eq!(client.reply().await.body, b"again");
}

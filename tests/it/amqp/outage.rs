//! A broker that dies, hangs, or takes no messages.

use std::time::{Duration, Instant};

use callway::call::Kind;
use callway::observe::LinkState;
use lapin::ExchangeKind;
use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};

use super::bridge::{Bridge, CALLS, bus, reason, route};
use super::service::{Service, answer, echo, silent};
use crate::support::{Amqp, Rabbit, TOKEN};

const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_killed_broker_fails_what_waits_and_all_works_again() {
    let mut rabbit = Rabbit::own().await;
    let routes = vec![route("a", "", "service"), route("slow", "", "slow")];
    let bridge = Bridge::start(bus(&rabbit), routes).await;
    let mut slow = Service::start(&rabbit.url(), "slow", silent).await;
    // RabbitMQ forgets a quorum queue that it is killed within moments of making.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let waiting = bridge.call("slow", "{}", LONG);
    let killed = async {
        slow.next().await;
        rabbit.kill();
    };
    let (outcome, ()) = tokio::join!(waiting, killed);
    let fault = outcome.unwrap_err();
    assert_eq!(fault.kind, Kind::Unavailable);
    assert_eq!(reason(&fault), "link_lost");
    assert!(!fault.may_retry(), "the service had it already");

    bridge.link_is(LinkState::Down).await;
    let start = Instant::now();
    let fault = bridge.call("a", "{}", LONG).await.unwrap_err();
    assert_eq!(reason(&fault), "link_down");
    assert!(fault.may_retry());
    assert!(
        start.elapsed() < Duration::from_millis(100),
        "nobody waits for a dead link"
    );

    rabbit.restart().await;
    bridge.link_is(LinkState::Up).await;
    let _service = Service::start(&rabbit.url(), "service", echo).await;
    bridge.call("a", "[1]", LONG).await.unwrap();
    let mut client = Amqp::connect(&rabbit.url()).await;
    let reply = client.call(CALLS, "a", TOKEN, b"{}").await;
    assert_eq!(reply.status.as_deref(), Some("ok"));
}

#[tokio::test]
async fn a_broker_that_hangs_is_found_out() {
    let mut rabbit = Rabbit::own().await;
    let bridge = Bridge::start(bus(&rabbit), vec![route("a", "", "service")]).await;
    rabbit.pause();
    let start = Instant::now();
    let patience = Duration::from_millis(500);
    let fault = bridge.call("a", "{}", patience).await.unwrap_err();
    assert_eq!(fault.kind, Kind::Timeout);
    assert!(start.elapsed() < patience * 2);
    bridge.link_is(LinkState::Down).await;
    assert!(start.elapsed() < Duration::from_secs(10));
    rabbit.resume();
    bridge.link_is(LinkState::Up).await;
    let _service = Service::start(&rabbit.url(), "service", echo).await;
    bridge.call("a", "{}", LONG).await.unwrap();
}

#[tokio::test]
async fn a_broker_short_of_memory_blocks_calls_out_and_nothing_else() {
    let mut rabbit = Rabbit::own().await;
    let bridge = Bridge::start(bus(&rabbit), vec![route("a", "", "service")]).await;
    let _service = Service::start(&rabbit.url(), "service", echo).await;
    bridge.call("a", "{}", LONG).await.unwrap();
    rabbit
        .control(&["set_vm_memory_high_watermark", "absolute", "1000000"])
        .await;
    crate::eventually!({
        let outcome = bridge.call("a", "{}", Duration::from_secs(5)).await;
        outcome.is_err_and(|fault| fault.kind == Kind::Unavailable && reason(&fault) == "blocked")
    });
    let fault = bridge.call("a", "{}", LONG).await.unwrap_err();
    assert!(fault.may_retry(), "not even sent");
    bridge.link_is(LinkState::Degraded).await;
    rabbit
        .control(&["set_vm_memory_high_watermark", "absolute", "2GiB"])
        .await;
    crate::eventually!(bridge.call("a", "{}", LONG).await.is_ok());
    bridge.link_is(LinkState::Up).await;
}

#[tokio::test]
async fn a_start_without_a_broker_waits_for_nothing() {
    let mut rabbit = Rabbit::own().await;
    rabbit.kill();
    let bridge = Bridge::spawn(bus(&rabbit), vec![route("a", "", "service")]);
    let fault = bridge.call("a", "{}", LONG).await.unwrap_err();
    assert_eq!(reason(&fault), "link_down");
    bridge.link_is(LinkState::Down).await;
    rabbit.restart().await;
    bridge.link_is(LinkState::Up).await;
}

#[tokio::test]
async fn a_queue_that_differs_stops_calls_in_alone() {
    let rabbit = Rabbit::shared().await;
    let client = Amqp::connect(&rabbit.url()).await;
    let other = QueueDeclareOptions {
        durable: true,
        ..Default::default()
    };
    let declared = client
        .channel
        .queue_declare(CALLS.into(), other, Default::default());
    declared.await.unwrap();
    let declared = client.channel.exchange_declare(
        "callway".into(),
        ExchangeKind::Topic,
        lapin::options::ExchangeDeclareOptions {
            durable: true,
            ..Default::default()
        },
        Default::default(),
    );
    declared.await.unwrap();
    let bridge = Bridge::spawn(bus(&rabbit), vec![route("a", "", "service")]);
    bridge.link_is(LinkState::Down).await;
    let _service = Service::start(&rabbit.url(), "service", echo).await;
    crate::eventually!(bridge.call("a", "{}", LONG).await.is_ok());
    assert_eq!(bridge.context.links.all()["office"], LinkState::Down);
    let deleted = client
        .channel
        .queue_delete(CALLS.into(), QueueDeleteOptions::default());
    deleted.await.unwrap();
    bridge.link_is(LinkState::Up).await;
}

#[tokio::test]
async fn a_drain_answers_what_came_in_and_takes_no_more() {
    let rabbit = Rabbit::shared().await;
    let bridge = Bridge::start(bus(&rabbit), vec![route("a", "", "service")]).await;
    let mut service = Service::start(&rabbit.url(), "service", silent).await;
    let mut client = Amqp::connect(&rabbit.url()).await;
    let responder = Amqp::connect(&rabbit.url()).await;
    let answered = client.call(CALLS, "a", TOKEN, b"[1]");
    let drained = async {
        let request = service.next().await;
        bridge.context.drain.cancel();
        bridge.context.tasks.close();
        answer(&responder.channel, &request, "", "[2]").await;
    };
    let (reply, ()) = tokio::join!(answered, drained);
    assert_eq!(reply.status.as_deref(), Some("ok"));
    let ended = tokio::time::timeout(Duration::from_secs(5), bridge.context.tasks.wait());
    ended.await.expect("something still runs");

    // Left for whoever comes next.
    client.publish("", CALLS, b"{}", Default::default()).await;
    let passive = QueueDeclareOptions {
        passive: true,
        ..Default::default()
    };
    crate::eventually!({
        let queue = client
            .channel
            .queue_declare(CALLS.into(), passive, Default::default());
        queue.await.unwrap().message_count() == 1
    });
}

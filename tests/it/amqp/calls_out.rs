//! Calls that services on AMQP answer.

use std::time::Duration;

use callway::call::Kind;
use lapin::ExchangeKind;
use lapin::options::ExchangeDeclareOptions;
use serde_json::json;

use super::bridge::{Bridge, bus, reason, route};
use super::service::{Service, echo, silent};
use crate::support::{Amqp, Rabbit, header};

const SOON: Duration = Duration::from_secs(5);

#[tokio::test]
async fn nobody_there_is_said_at_once() {
    let rabbit = Rabbit::shared().await;
    let bridge = Bridge::start(bus(&rabbit), vec![route("billing/{op}", "", "billing")]).await;
    let start = std::time::Instant::now();
    let fault = bridge.call("billing/pay", "{}", SOON).await.unwrap_err();
    assert_eq!(fault.kind, Kind::NoResponder);
    assert!(fault.may_retry(), "nothing was handed over");
    assert!(start.elapsed() < SOON / 2);
}

#[tokio::test]
async fn a_request_says_all_that_a_service_needs() {
    let rabbit = Rabbit::shared().await;
    let routes = vec![route("billing/{op}", "", "billing")];
    let bridge = Bridge::start(bus(&rabbit), routes).await;
    let mut service = Service::start(&rabbit.url(), "billing", echo).await;
    let reply = bridge
        .call_with_hops("billing/pay", r#"{"n":1}"#, SOON, 2)
        .await;
    assert_eq!(reply.unwrap().payload.as_json(), r#"{"n":1}"#);

    let request = service.next().await;
    let properties = &request.properties;
    let text = |value: &Option<lapin::types::ShortString>| value.clone().unwrap().to_string();
    assert_eq!(text(properties.kind()), "billing/pay");
    assert_eq!(text(properties.content_type()), "application/json");
    assert_eq!(text(properties.correlation_id()).len(), 32);
    let left: u64 = text(properties.expiration()).parse().unwrap();
    assert!((1..=5000).contains(&left));
    assert!(header(properties, "call-id").is_some());
    assert!(header(properties, "traceparent").is_some());
    let table = properties.headers().as_ref().unwrap().inner();
    assert_eq!(table["hops"].as_long_long_int(), Some(3));
    assert!(table["deadline"].as_long_long_int().unwrap() > 1_700_000_000_000);
}

#[tokio::test]
async fn what_a_service_answers_is_what_it_means() {
    let rabbit = Rabbit::shared().await;
    let routes = vec![route("shop/{op}", "", "shop-{op}")];
    let bridge = Bridge::start(bus(&rabbit), routes).await;
    let url = rabbit.url();
    let sold_out = |_: &_| vec![("out_of_stock", json!({"left": 0}).to_string())];
    let _error = Service::start(&url, "shop-error", sold_out).await;
    let _broken = Service::start(&url, "shop-broken", |_| vec![("ok", "{\"a\":".into())]).await;
    let _twice = Service::start(&url, "shop-twice", |r| [echo(r), echo(r)].concat()).await;

    let fault = bridge.call("shop/error", "{}", SOON).await.unwrap_err();
    assert_eq!(fault.kind, Kind::TargetError);
    assert_eq!(fault.data.unwrap(), r#"{"left":0}"#);
    let fault = bridge.call("shop/broken", "{}", SOON).await.unwrap_err();
    assert_eq!(fault.kind, Kind::TargetError);
    // A dot would lead to another queue of the same exchange.
    let fault = bridge.call("shop/a.b", "{}", SOON).await.unwrap_err();
    assert_eq!(fault.kind, Kind::InvalidRequest);
    let long = format!("shop/{}", "x".repeat(253));
    let fault = bridge.call(&long, "{}", SOON).await.unwrap_err();
    assert_eq!(fault.kind, Kind::InvalidRequest);

    bridge.call("shop/twice", "{}", SOON).await.unwrap();
    crate::eventually!(bridge.dropped("late_reply") == 1);
}

#[tokio::test]
async fn a_reply_after_the_deadline_finds_nobody() {
    let rabbit = Rabbit::shared().await;
    let bridge = Bridge::start(bus(&rabbit), vec![route("slow", "", "slow")]).await;
    let mut service = Service::start(&rabbit.url(), "slow", silent).await;
    let patience = Duration::from_millis(200);
    let fault = bridge.call("slow", "{}", patience).await.unwrap_err();
    assert_eq!(fault.kind, Kind::Timeout);

    let client = Amqp::connect(&rabbit.url()).await;
    let request = service.next().await;
    super::service::answer(&client.channel, &request, "", "{}").await;
    crate::eventually!(bridge.dropped("late_reply") == 1);
    let mut forged = request;
    forged.properties = forged.properties.with_correlation_id("guess".into());
    super::service::answer(&client.channel, &forged, "", "{}").await;
    crate::eventually!(bridge.dropped("foreign_reply") == 1);
}

#[tokio::test]
async fn a_wrong_exchange_is_the_trouble_of_its_row_alone() {
    let rabbit = Rabbit::shared().await;
    let mut different = route("different", "taken", "x");
    if let callway::config::RouteTarget::Amqp { declare, .. } = &mut different.target {
        *declare = Some("topic");
    }
    let client = Amqp::connect(&rabbit.url()).await;
    let declared = client.channel.exchange_declare(
        "taken".into(),
        ExchangeKind::Direct,
        ExchangeDeclareOptions::default(),
        Default::default(),
    );
    declared.await.unwrap();
    let routes = vec![
        route("gone", "not-there", "x"),
        different,
        route("good", "", "good"),
    ];
    let bridge = Bridge::start(bus(&rabbit), routes).await;
    let _service = Service::start(&rabbit.url(), "good", echo).await;
    for method in ["gone", "different", "gone"] {
        let fault = bridge.call(method, "{}", SOON).await.unwrap_err();
        assert_eq!(fault.kind, Kind::Unavailable);
        assert_eq!(reason(&fault), "exchange");
        bridge.call("good", "{}", SOON).await.unwrap();
    }
    let declared = client.channel.exchange_declare(
        "not-there".into(),
        ExchangeKind::Topic,
        ExchangeDeclareOptions::default(),
        Default::default(),
    );
    declared.await.unwrap();
    // Now the exchange is found, and nobody is bound to it.
    crate::eventually!({
        let fault = bridge.call("gone", "{}", SOON).await.unwrap_err();
        fault.kind == Kind::NoResponder
    });
}

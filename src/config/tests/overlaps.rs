//! Addresses that must not meet are refused when the configuration is read.

use super::problems;

const MQTT: &str = r#"
[bus.field]
url = "mqtt://broker"
calls = "field/call"
"#;
const AMQP: &str = r#"
[bus.office]
url = "amqp://broker/%2f"
"#;

/// What is said of these lines, if it is one thing.
fn problem(text: &str) -> Option<String> {
    let found = problems(text);
    assert!(found.len() < 2, "{text}\n{found:#?}");
    found.into_iter().next()
}

fn mqtt_route(topic: &str) -> Option<String> {
    let topic = format!(r#"{{ bus = "field", topic = "{topic}" }}"#);
    let route = format!("[[route]]\nmethod = \"a/{{x}}/{{y...}}\"\nmqtt = {topic}\n");
    problem(&format!("{MQTT}{route}"))
}

fn amqp_route(exchange: &str, key: &str) -> Option<String> {
    let to = format!(r#"{{ bus = "office", exchange = "{exchange}", routing_key = "{key}" }}"#);
    let route = format!("[[route]]\nmethod = \"a/{{x}}/{{y...}}\"\namqp = {to}\n");
    problem(&format!("{AMQP}{route}"))
}

#[track_caller]
fn refused(problem: Option<String>, words: &str) {
    assert!(
        problem.as_ref().is_some_and(|text| text.contains(words)),
        "{problem:?}"
    );
}

#[test]
fn a_route_does_not_lead_into_the_calls() {
    refused(mqtt_route("field/call/{x}"), "leads back");
    refused(mqtt_route("field/{x}/{y}"), "leads back");
    // A capture of several segments fills several levels.
    refused(mqtt_route("field/{y}"), "leads back");
    refused(mqtt_route("field/c-{x}/z"), "leads back");
    refused(mqtt_route("callway/inbox/{y}"), "inbox");
    // The topic of envelopes is one of theirs.
    refused(mqtt_route("field/{x}"), "leads back");
    assert_eq!(mqtt_route("field/rpc/{y}"), None);
    assert_eq!(mqtt_route("devices/{y}"), None);

    refused(amqp_route("", "callway.calls"), "leads back");
    refused(amqp_route("", "callway.{x}"), "leads back");
    refused(amqp_route("callway", "call.{x}"), "leads back");
    refused(amqp_route("callway", "{x}.a"), "leads back");
    assert_eq!(amqp_route("", "billing.{x}"), None);
    assert_eq!(amqp_route("callway", "event.{x}"), None);
}

#[test]
fn the_calls_do_not_take_in_the_inbox() {
    let bus = "[bus.a]\nurl = \"mqtt://broker\"\ncalls = \"callway\"\nreply_topics = []\n";
    refused(problem(bus), "inbox");
}

#[test]
fn two_buses_do_not_take_the_same_calls() {
    let mqtt = |url: &str, calls: &str| {
        problem(&format!(
            "{MQTT}[bus.other]\nurl = \"{url}\"\nprotocol = 4\ncalls = \"{calls}\"\n"
        ))
    };
    refused(mqtt("mqtt://me@BROKER:1883", "field/call"), "bus field");
    refused(mqtt("mqtt://broker", "field/call/low"), "run twice");
    assert_eq!(mqtt("mqtt://broker", "other/call"), None);
    assert_eq!(mqtt("mqtt://broker", ""), None);
    assert_eq!(mqtt("mqtt://broker:1884", "field/call"), None);

    let amqp = |url: &str, calls: &str| {
        problem(&format!(
            "{AMQP}[bus.other]\nurl = \"{url}\"\ncalls = \"{calls}\"\n"
        ))
    };
    // Whatever the queue is called, it is bound to the same exchange.
    refused(amqp("amqp://me@broker:5672", "more.calls"), "run twice");
    assert_eq!(amqp("amqp://broker/%2f", ""), None);
    assert_eq!(amqp("amqp://broker/other", "callway.calls"), None);
}

#[test]
fn the_addresses_of_an_account_meet_nothing_else() {
    let account = |lines: &str| problem(&format!("{MQTT}scriptr = \"acme\"\n{lines}"));
    assert_eq!(account(""), None);
    let other = "[bus.other]\nurl = \"mqtt://broker\"\n";
    refused(
        account(&format!("{other}calls = \"\"\nscriptr = \"acme\"\n")),
        "run twice",
    );
    refused(
        account(&format!("{other}calls = \"acme/call\"\n")),
        "topics of calls",
    );
    refused(
        account("reply_topics = [\"acme/reply\"]\n"),
        "topics of the account",
    );
    refused(account("protocol = 4\n"), "3.1.1");
    let channel = |topic: &str| {
        let to = format!(r#"{{ bus = "field", topic = "{topic}", direction = "out" }}"#);
        account(&format!("[[channel]]\nname = \"c\"\nmqtt = {to}\n"))
    };
    refused(channel("acme/c/message"), "scriptr's topics");
    assert_eq!(channel("acme-c"), None);
    let route = r#"{ bus = "field", topic = "acme/{x}" }"#;
    refused(
        account(&format!(
            "[[route]]\nmethod = \"a/{{x}}\"\nmqtt = {route}\n"
        )),
        "leads back",
    );
    let exchange = |name: &str| {
        let to = format!(
            r#"{{ bus = "office", exchange = "{name}", routing_key = "k", direction = "out" }}"#
        );
        let row = format!("[[channel]]\nname = \"c\"\namqp = {to}\n");
        problem(&format!("{AMQP}scriptr = \"acme\"\n{row}"))
    };
    refused(exchange("acme-c"), "scriptr's");
    assert_eq!(exchange("acme"), None);
    let other = "[bus.other]\nurl = \"amqp://broker\"\ncalls = \"\"\nscriptr = \"other\"\n";
    let both = problem(&format!("{AMQP}scriptr = \"acme\"\n{other}"));
    refused(both, "a virtual host");
    for name in ["QUNNRQ==", "a/b", "callway", ""] {
        refused(
            problem(&format!("{AMQP}scriptr = {name:?}\n")),
            "account name",
        );
    }
}

#[test]
fn a_route_through_another_bus_of_the_same_broker_counts_too() {
    let found = problem(&format!(
        "{MQTT}[bus.other]\nurl = \"mqtt://broker\"\ncalls = \"\"\n\
         [[route]]\nmethod = \"a/{{x}}\"\n\
         mqtt = {{ bus = \"other\", topic = \"field/call/{{x}}\" }}\n"
    ));
    refused(found, "leads back");
}

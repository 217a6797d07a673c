//! Channels that lead to each other, and topics that belong to others, are refused at load.

use super::problems;

const BUSES: &str = r#"
[[token]]
name = "bridge"
sha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
[bus.field]
url = "mqtt://broker"
calls = "field/call"
reply_topics = ["field/reply/#"]
[bus.same]
url = "mqtt://user@broker:1883"
calls = ""
[bus.old]
url = "mqtt://elsewhere"
protocol = 4
calls = ""
[bus.office]
url = "amqp://broker/%2f"
"#;

/// A row with these keys.
fn channel(name: &str, keys: &[&str]) -> String {
    format!("[[channel]]\nname = \"{name}\"\n{}\n", keys.join("\n"))
}

fn mqtt(bus: &str, topic: &str, direction: &str) -> String {
    format!("mqtt = {{ bus = \"{bus}\", topic = \"{topic}\", direction = \"{direction}\" }}")
}

fn amqp(key: &str, direction: &str) -> String {
    format!(
        "amqp = {{ bus = \"office\", exchange = \"e\", routing_key = \"{key}\", direction = \"{direction}\" }}"
    )
}

fn problem(rows: &[String]) -> Option<String> {
    let text = format!("{BUSES}{}", rows.concat());
    let found = problems(&text);
    assert!(found.len() < 2, "{text}\n{found:#?}");
    found.into_iter().next()
}

#[track_caller]
fn refused(rows: &[String], words: &str) {
    let problem = problem(rows);
    let says = problem.as_ref().is_some_and(|text| text.contains(words));
    assert!(says, "{words}: {problem:?}");
}

#[test]
fn two_channels_that_lead_to_each_other_are_shown_with_the_way() {
    let there = channel(
        "a/{x}",
        &[&mqtt("field", "t/{x}", "in"), &amqp("k.{x}", "out")],
    );
    let back = channel(
        "b/{y}",
        &[&amqp("k.{y}", "in"), &mqtt("same", "t/{y}", "out")],
    );
    refused(
        &[there.clone(), back],
        "a/{x} → e k.+ on office → b/{y} → t/+ on same → a/{x}",
    );
    let elsewhere = channel(
        "b/{y}",
        &[&amqp("k.{y}", "in"), &mqtt("same", "u/{y}", "out")],
    );
    assert_eq!(problem(&[there.clone(), elsewhere]), None);
    let other_broker = channel(
        "b/{y}",
        &[&amqp("k.{y}", "in"), &mqtt("old", "t/{y}", "out")],
    );
    assert_eq!(problem(&[there, other_broker]), None);
}

#[test]
fn a_longer_way_round_is_found_too() {
    let rows = [
        channel("start", &[&amqp("start", "out")]),
        channel("a", &[&mqtt("field", "t/1", "in"), &amqp("two", "out")]),
        channel("b", &[&amqp("two", "in"), &mqtt("old", "3", "out")]),
        channel("c", &[&mqtt("old", "3", "in"), &amqp("four", "out")]),
        channel(
            "d/{x...}",
            &[&amqp("{x}", "in"), &mqtt("field", "t/{x}", "out")],
        ),
    ];
    refused(&rows, "events would go round");
}

#[test]
fn one_row_both_ways_is_no_way_round() {
    let both = channel(
        "a/{x}",
        &[&mqtt("field", "t/{x}", "both"), &amqp("k.{x}", "both")],
    );
    assert_eq!(problem(&[both]), None);
}

#[test]
fn a_call_that_asks_the_channel_s_own_topic_is_a_way_round() {
    let call = ["call = \"ask/{x}\"", "call_as = \"bridge\""];
    let row = channel("a/{x}", &[&mqtt("field", "t/{x}", "in"), call[0], call[1]]);
    let route = |method: &str, topic: &str| {
        format!(
            "[[route]]\nmethod = \"{method}\"\nmqtt = {{ bus = \"field\", topic = \"{topic}\" }}\n"
        )
    };
    refused(
        &[row.clone(), route("ask/{y}", "t/{y}")],
        "calls ask/{y}, which asks t/+ on field",
    );
    assert_eq!(problem(&[row.clone(), route("ask/{y}", "u/{y}")]), None);
    // A more specific row takes all that is called.
    let rows = [
        row.clone(),
        route("{all...}", "t/7"),
        route("ask/{y}", "u/{y}"),
    ];
    assert_eq!(problem(&rows), None);
    refused(
        &[row, route("{all...}", "t/7"), route("ask/1", "u/1")],
        "calls {all...}",
    );
}

#[test]
fn topics_of_calls_and_replies_are_none_of_events() {
    for direction in ["in", "out"] {
        let row = |bus: &str, topic: &str| [channel("a/{x...}", &[&mqtt(bus, topic, direction)])];
        refused(&row("field", "field/call/{x}"), "the topics of calls");
        refused(&row("same", "field/{x}"), "the topics of calls");
        refused(
            &row("field", "field/reply/{x}"),
            "where replies to calls go",
        );
        refused(&row("old", "callway/inbox/{x}"), "inbox");
        assert_eq!(problem(&row("old", "field/{x}")), None);
    }
}

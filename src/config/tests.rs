//! What people write wrong, and what they are told.

mod certificates;
mod cycles;
mod defaults;
mod layers;
mod mqtt;
mod mutations;
mod overlaps;
mod reference;
mod scripts;

use std::path::Path;

use super::{Bus, Config, Environment, Errors, MqttProtocol, RouteTarget, load, parse};

fn problems(text: &str) -> Vec<String> {
    match parse(text, Path::new("/nonexistent")) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.lines(),
    }
}

fn accepted(text: &str) -> Config {
    parse(text, Path::new("/nonexistent")).unwrap_or_else(|errors: Errors| panic!("{errors}"))
}

/// Each text has one mistake; the message must name its line and column, and hold these words.
#[test]
fn each_mistake_is_named_with_its_place() {
    let cases: &[(&str, &str, &str)] = &[
        (
            "[limits]\ntimout = \"5s\"\n",
            "2:1",
            "did you mean `timeout`",
        ),
        ("[limits]\ntimeout = 5\n", "2:11", "duration"),
        ("[limits]\ntimeout = \"5\"\n", "2:11", "not a duration"),
        ("[limits]\nping = \"0s\"\n", "2:8", "longer than nothing"),
        ("[limits]\nhops = 0\n", "2:8", "between 1 and"),
        ("[limits]\nhops = \"8\"\n", "2:8", "an integer"),
        (
            "[limits]\ntimeout = \"9m\"\n",
            "2:11",
            "longer than `max_timeout`",
        ),
        ("[limits]\nspool_size = \"1KiB\"\n", "2:14", "at least 1MiB"),
        ("[store]\nurl = \"x\"\n", "2:7", "sqlite:PATH"),
        (
            "[[jwt]]\nname = \"x\"\n",
            "1:3",
            "not available in this version",
        ),
        (
            "[[listen]]\naddress = \"localhost:1\"\nendpoint = []\n",
            "2:11",
            "not an address",
        ),
        (
            "[[listen]]\naddress = \"127.0.0.1:0\"\n",
            "1:1",
            "`endpoint` is missing",
        ),
        (
            "[[listen]]\naddress = \"0.0.0.0:80\"\nplaintext = true\nendpoint = []\n",
            "2:11",
            "no token yet",
        ),
        (
            "[[listen]]\naddress = \"127.0.0.1:0\"\n[[listen.endpoint]]\npath = \"rpc\"\ndialect = \"http\"\n",
            "4:8",
            "begins with /",
        ),
        (
            "[[listen]]\naddress = \"127.0.0.1:0\"\n[[listen.endpoint]]\npath = \"/\"\ndialect = \"grpc\"\n",
            "5:11",
            "not a dialect",
        ),
        (
            "[[listen]]\naddress = \"127.0.0.1:0\"\n[[listen.endpoint]]\npath = \"/\"\ndialect = \"http\"\napi_key = \"k\"\n",
            "6:11",
            "belongs to the dialect action",
        ),
        (
            "[[listen]]\naddress = \"127.0.0.1:0\"\n[[listen.endpoint]]\npath = \"/\"\ndialect = \"action\"\nmethods = \"game/{path...}\"\n",
            "6:11",
            "holds {action} once",
        ),
        (
            "[[listen]]\naddress = \"127.0.0.1:0\"\n[[listen.endpoint]]\npath = \"/\"\ndialect = \"action\"\napi_key = \"\"\n",
            "6:11",
            "nobody could register",
        ),
        (
            "[[listen]]\naddress = \"127.0.0.1:0\"\n[[listen.endpoint]]\npath = \"/\"\ndialect = \"action\"\napi_key = \"k\"\napi_key_file = \"f\"\n",
            "7:16",
            "given twice",
        ),
        (
            "[[listen]]\naddress = \"127.0.0.1:0\"\n[[listen.endpoint]]\npath = \"/\"\ndialect = \"action\"\ntoken_idle = \"0s\"\n",
            "6:14",
            "longer than nothing",
        ),
        (
            "[[token]]\nname = \"action:tom\"\nsha256 = \"abc\"\n",
            "2:8",
            "belong to accounts",
        ),
        (
            "[[token]]\nname = \"a\"\nsha256 = \"abc\"\n",
            "3:10",
            "64 hexadecimal digits",
        ),
        ("[[route]]\nmethod = \"a\"\n", "1:1", "needs a target"),
        (
            "[[route]]\nmethod = \"a\"\nworker = {}\nhttp = { url = \"http://h/\" }\n",
            "4:8",
            "one target",
        ),
        ("[[route]]\nmethod = \"a/{b\"\nworker = {}\n", "2:10", "}"),
        (
            "[[route]]\nmethod = \"a\"\nscript = \"a.py\"\n",
            "3:10",
            ".js or .lua",
        ),
        (
            "[[route]]\nmethod = \"a\"\nscript = \"../a.js\"\n",
            "3:10",
            "stays inside",
        ),
        (
            "[[route]]\nmethod = \"a\"\nscript = \"{b}.js\"\n",
            "3:10",
            "not a capture",
        ),
        (
            "[[route]]\nmethod = \"a\"\nqueue = 1\nworker = {}\n",
            "3:9",
            "waiting room",
        ),
        (
            "[[route]]\nmethod = \"a\"\nhttp = { url = \"http://{a}/\" }\n",
            "3:16",
            "not a capture",
        ),
        (
            "[[route]]\nmethod = \"{a}\"\nhttp = { url = \"http://{a}/\" }\n",
            "3:16",
            "not in its host",
        ),
        (
            "[[route]]\nmethod = \"a\"\nmqtt = { bus = \"fild\", topic = \"t\" }\n",
            "3:16",
            "no MQTT bus",
        ),
        (
            "[[channel]]\nname = \"a/{b}\"\ncall = \"c/{b}\"\n",
            "3:8",
            "call_as",
        ),
        ("[bus.field]\nurl = \"kafka://h\"\n", "2:7", "mqtt://"),
        (
            "[bus.field]\nurl = \"mqtt://h\"\nprefetch = 3\n",
            "3:12",
            "does not belong",
        ),
        (
            "[bus.field]\nurl = \"mqtt://h\"\ncaller = \"nobody\"\n",
            "3:10",
            "no token",
        ),
        (
            "[bus.field]\nurl = \"mqtt://h\"\npassword = \"${CALLWAY_TEST_UNSET}\"\n",
            "3:12",
            "not set",
        ),
        (
            "[bus.field]\nurl = \"mqtt://h\"\nreply_topics = [\"callway/inbox/x\"]\n",
            "3:17",
            "inbox",
        ),
        (
            "[bus.field]\nurl = \"amqp://h\"\nreply_queues = [\"callway.*\"]\n",
            "3:17",
            "taken for calls",
        ),
        ("a = \n", "1:5", ""),
        ("[limits]\nhops = 1\nhops = 2\n", "3:1", "duplicate"),
    ];
    for (text, place, words) in cases {
        let found = problems(text);
        let fits = found.iter().any(|line| {
            line.starts_with(&format!("callway.toml:{place}:")) && line.contains(words)
        });
        assert!(
            fits && found.len() == 1,
            "{text}\nwanted {place} {words:?}, found {found:#?}"
        );
    }
}

#[test]
fn all_mistakes_are_told_at_once() {
    let found = problems("[limits]\ntimout = \"5s\"\nping = 1\n[logg]\nlevel = \"info\"\n");
    assert_eq!(found.len(), 3, "{found:#?}");
    let found = problems("[[route]]\nmethod = \"a\"\n[[route]]\nmethod = \"b/{c\"\nworker = {}\n");
    assert_eq!(found.len(), 2, "{found:#?}");
}

#[test]
fn a_mistake_is_shown_with_its_line_and_a_caret() {
    let errors = parse("[limits]\ntimout = \"5s\"\n", Path::new(".")).unwrap_err();
    let shown = errors.render(false);
    assert!(
        shown.contains("callway.toml:2:1") && shown.contains("timout = \"5s\""),
        "{shown}"
    );
    assert!(shown.contains("^^^^^^"), "{shown}");
}

#[test]
fn rows_that_take_the_same_names_show_both_places() {
    let errors = parse(
        "[[route]]\nmethod = \"a/{x}\"\nworker = {}\n[[route]]\nmethod = \"a/{y}\"\nworker = {}\n",
        Path::new("."),
    )
    .unwrap_err();
    let shown = errors.render(false);
    assert!(
        shown.contains("a/{x}") && shown.contains("a/{y}"),
        "{shown}"
    );
}

#[test]
fn old_mqtt_speaks_json_rpc_only() {
    let config = accepted(
        "[bus.old]\nurl = \"mqtt://h\"\nprotocol = 4\n[[route]]\nmethod = \"a\"\nmqtt = { bus = \"old\", topic = \"t\" }\n",
    );
    assert!(matches!(&config.buses[0], Bus::Mqtt(bus) if bus.protocol == MqttProtocol::V4));
    assert!(matches!(
        config.routes[0].target,
        RouteTarget::Mqtt { jsonrpc: true, .. }
    ));
}

#[test]
fn no_secret_shows_itself() {
    let config = accepted("[bus.b]\nurl = \"amqp://user:hunter2@h\"\n");
    assert!(!format!("{config:?}").contains("hunter2"));
    let errors = parse(
        "[bus.b]\nurl = \"amqp://h\"\npassword = 70417\n",
        Path::new("."),
    );
    let shown = errors.unwrap_err().render(false);
    assert!(
        shown.contains("must be a string") && !shown.contains("70417"),
        "{shown}"
    );
}

#[test]
fn files_are_laid_over_each_other_and_the_environment_over_them() {
    let directory = tempfile::tempdir().unwrap();
    let main = directory.path().join("callway.toml");
    std::fs::create_dir(directory.path().join("conf.d")).unwrap();
    std::fs::write(
        &main,
        "[limits]\nhops = 3\nbatch = 5\n[[route]]\nmethod = \"a\"\nworker = {}\n",
    )
    .unwrap();
    let extra = "[limits]\nhops = 4\n[[route]]\nmethod = \"b\"\nworker = {}\n";
    std::fs::write(directory.path().join("conf.d/10.toml"), extra).unwrap();
    let layer = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let environment: Environment = vec![
        layer("CALLWAY__LIMITS__BATCH", "7"),
        layer("CALLWAY__CLUSTER__INSTANCE", "00123"),
        layer("CALLWAY_CONFIG", "elsewhere"),
    ];
    let files = [main];
    let config = load(&files, &environment).unwrap();
    assert_eq!(
        (config.limits.hops, config.limits.batch, config.routes.len()),
        (4, 7, 2)
    );
    assert_eq!(&*config.cluster.instance, "00123", "a text stays a text");

    for (name, value, words) in [
        ("CALLWAY__LIMITS__BATCH", "seven", "an integer"),
        ("CALLWAY__LIMITS__BACH", "7", "did you mean `batch`"),
        ("CALLWAY__ROUTE__METHOD", "x", "arrays of tables"),
    ] {
        let error = load(&files, &vec![layer(name, value)])
            .unwrap_err()
            .to_string();
        assert!(error.contains(name) && error.contains(words), "{error}");
    }
}

//! Endpoints of devices.

use super::{accepted, problems};
use crate::config::MqttOptions;

const PLAIN: &str =
    "[[listen]]\naddress = \"127.0.0.1:0\"\n[[listen.endpoint]]\ndialect = \"mqtt\"\n";

#[test]
fn plain_mqtt_needs_no_path_and_has_its_listener_to_itself() {
    let config = accepted(PLAIN);
    let options = config.listeners[0].mqtt().unwrap();
    assert_eq!(
        (options.session_expiry.as_secs(), options.queue),
        (3600, 1000)
    );
    let both = format!("{PLAIN}[[listen.endpoint]]\npath = \"/rpc\"\ndialect = \"jsonrpc\"\n");
    let found = problems(&both);
    assert!(found[0].contains("alone on its listener"), "{found:?}");
    let twice = format!("{PLAIN}[[listen.endpoint]]\ndialect = \"mqtt\"\n");
    assert!(problems(&twice)[0].contains("two endpoints without path"));
    let jsonrpc = PLAIN.replace("mqtt", "jsonrpc");
    assert!(problems(&jsonrpc)[0].contains("only mqtt does without"));
}

#[test]
fn over_websocket_it_stands_beside_others() {
    let text = PLAIN.replace("dialect", "path = \"/mqtt\"\ndialect");
    let both = format!(
        "{text}session_expiry = \"7d\"\nqueue = 5\n[[listen.endpoint]]\npath = \"/rpc\"\ndialect = \"jsonrpc\"\n"
    );
    let config = accepted(&both);
    assert_eq!(config.listeners[0].mqtt(), None::<MqttOptions>);
    assert_eq!(config.listeners[0].endpoints.len(), 2);
    let wrong = format!("{}queue = 5\n", both);
    assert!(problems(&wrong)[0].contains("belongs to the dialect mqtt"));
    assert!(problems(&format!("{PLAIN}queue = 0\n"))[0].contains("between 1 and 65535"));
}

#[test]
fn who_has_no_password_and_who_is_silent_is_settled_by_options() {
    let config = accepted(PLAIN);
    let options = config.listeners[0].mqtt().unwrap();
    assert_eq!((options.anonymous, options.keep_alive), (None, 1200));
    let given = format!("{PLAIN}keep_alive = \"60s\"\n");
    let options = accepted(&given).listeners[0].mqtt().unwrap();
    assert_eq!(options.keep_alive, 60);
    for wrong in ["0s", "20h"] {
        let given = format!("{PLAIN}keep_alive = \"{wrong}\"\n");
        assert!(problems(&given)[0].contains("between 1 and 65535 seconds"));
    }
    let nobody = format!("{PLAIN}anonymous = \"nobody\"\n");
    assert!(problems(&nobody)[0].contains("there is no token"));
}

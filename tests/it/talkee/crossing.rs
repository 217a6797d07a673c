//! From a room to a device on MQTT, and back.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::{ALICE, BOB, enter, message, say};
use crate::support::{Message, Mosquitto, Mqtt, Setup, Version};

#[tokio::test]
async fn a_message_reaches_a_device_and_the_device_answers() {
    let mosquitto = Mosquitto::start().await;
    let rows = format!(
        r#"
        [[listen.endpoint]]
        path = "/talkee"
        dialect = "talkee"
        channel = "rooms/{{site_id}}/{{slug}}"
        [bus.field]
        url = "{}"
        [[channel]]
        name = "rooms/{{site}}/{{slug}}"
        mqtt = {{ bus = "field", topic = "chat/{{site}}/{{slug}}", qos = 1, direction = "both" }}
        history = {{ count = 100 }}
        "#,
        mosquitto.url()
    );
    let tokens = [("alice", ALICE), ("bob", BOB)].map(|(name, token)| {
        let digest = callway::auth::digest(token);
        format!("[[token]]\nname = \"{name}\"\nsha256 = \"{digest}\"\npublish = [\"rooms/{{x...}}\"]\nsubscribe = [\"rooms/{{x...}}\"]\n")
    });
    let daemon = Setup::new()
        .config(&rows)
        .config(&tokens.concat())
        .start()
        .await;
    daemon.link_is("field", "up").await;
    let mut device = Mqtt::connect(mosquitto.port, Version::V5).await;
    device.subscribe("chat/1/greenhouse").await;
    let mut bob = enter(&daemon, BOB, "site_id=1&slug=greenhouse").await;

    crate::eventually!(daemon.metric("callway_subscriptions").await >= 1.0);
    let room = "/talkee/ws/messages?site_id=1&slug=greenhouse";
    let said = say(&daemon, ALICE, room, &message("open the window")).await;
    let arrived = device.next().await;
    assert_eq!(arrived.json(), said);
    assert_eq!(bob.next().await, said);

    // A device repeats it, with its id and without saying that callway sent it.
    let mut copy = Message::new("chat/1/greenhouse", arrived.payload);
    let id = |(_, value): &(String, String)| uuid::Uuid::try_parse(value).is_ok();
    copy.user = arrived.user.into_iter().filter(id).collect();
    assert_eq!(copy.user.len(), 1, "it has an id");
    device.publish(&copy).await;
    let heard = bob.next().await;
    assert_eq!(heard["data"], said["data"]);
    assert_eq!(heard["user"]["id"], 0, "it is no message of alice any more");

    let answer = Message::new("chat/1/greenhouse", "it is open");
    device.publish(&answer).await;
    let heard = bob
        .find(|frame| frame["data"] == BASE64.encode("it is open"))
        .await;
    assert_eq!(heard["user"]["id"], 0);
    assert_eq!(heard["category"], "text");
}

//! What is said in a room is heard by its members, and by nobody else.

use std::time::Duration;

use serde_json::{Value, json};

use super::{ALICE, BOB, ROOM, api, enter, message, say, setup};
use crate::eventually;
use crate::support::{Daemon, TOKEN, Ws};

async fn history(daemon: &Daemon, token: &str, room: &str) -> Vec<Value> {
    let reply = api(daemon).bearer(token).get(room).await.json();
    reply["data"]
        .as_array()
        .unwrap_or_else(|| panic!("{reply}"))
        .clone()
}

#[tokio::test]
async fn a_message_reaches_the_others_as_it_was_answered() {
    let daemon = setup("").start().await;
    let mut alice = enter(&daemon, ALICE, "site_id=1&slug=room-a").await;
    let mut bob = enter(&daemon, BOB, "site_id=1&slug=room-a/").await;
    let mut bob_here = enter(&daemon, BOB, "site_id=1&slug=room-a?filter=latest").await;
    heard(&daemon, &mut bob_here).await;
    let answer = say(&daemon, ALICE, ROOM, &message("Hello!")).await;
    assert_eq!(bob_here.next().await, answer);
    assert_eq!(answer["user"]["full_name"], "Alice");
    assert_eq!(answer["data"], "SGVsbG8h");
    assert!(answer["id"].is_string() && answer["id"] == answer["message_id"]);
    let quiet = Duration::from_millis(200);
    assert!(alice.is_quiet(quiet).await, "its sender has the answer");
    assert!(bob.is_quiet(quiet).await, "another room");
    let latest = history(&daemon, BOB, &format!("{ROOM}&filter=latest")).await;
    assert_eq!(latest.last(), Some(&answer));
}

/// Waits until a member of room-a hears what is said there.
async fn heard(daemon: &Daemon, member: &mut Ws) {
    let patience = Duration::from_millis(100);
    loop {
        say(daemon, ALICE, ROOM, &message("anybody?")).await;
        if !member.is_quiet(patience).await {
            break;
        }
    }
    while !member.is_quiet(patience).await {
        member.next().await;
    }
}

#[tokio::test]
async fn an_id_is_one_message_also_after_a_restart() {
    let mut daemon = setup("").start().await;
    let mut first = message("once");
    first["message_id"] = "c7c4b1d1".into();
    let said = say(&daemon, ALICE, ROOM, &first).await;
    assert_eq!(said["message_id"], "c7c4b1d1");
    assert_eq!(say(&daemon, ALICE, ROOM, &first).await, said);
    daemon.restart().await;
    assert_eq!(say(&daemon, ALICE, ROOM, &first).await, said);
    let other = say(&daemon, BOB, ROOM, &first).await;
    assert_eq!(other["code"], 400, "another's message: {other}");
    let elsewhere = ROOM.replace("room-a", "room-b");
    let there = say(&daemon, ALICE, &elsewhere, &first).await;
    assert_eq!(there["message_id"], "c7c4b1d1", "ids belong to rooms");
    let latest = history(&daemon, ALICE, ROOM).await;
    assert_eq!(latest, [said], "its name is known again after the restart");
}

#[tokio::test]
async fn the_latest_hundred_are_kept_in_order() {
    let daemon = setup("").start().await;
    for number in 0..103 {
        say(&daemon, ALICE, ROOM, &message(&number.to_string())).await;
    }
    let latest = history(&daemon, ALICE, ROOM).await;
    let data: Vec<_> = latest.iter().map(|message| &message["data"]).collect();
    let expected: Vec<_> = (3..103)
        .map(|n: i32| message(&n.to_string())["data"].clone())
        .collect();
    assert_eq!(data, expected.iter().collect::<Vec<_>>());
}

#[tokio::test]
async fn whoever_else_publishes_has_no_users_name() {
    let daemon = setup("").start().await;
    let said = say(&daemon, ALICE, ROOM, &message("mine")).await;
    let mut publisher = Ws::connect(&daemon.ws_url("/rpc"), TOKEN).await;
    let params = json!({"channel": "talkee/1/room-a", "payload": said});
    publisher.call("callway.publish", params).await.unwrap();
    eventually!(history(&daemon, BOB, ROOM).await.len() == 2);
    let latest = history(&daemon, BOB, ROOM).await;
    assert_eq!(latest[0], said);
    assert_eq!(
        (&latest[1]["user"]["id"], &latest[1]["data"]),
        (&json!(0), &said["data"])
    );
}

/// Many rooms, many members, everyone says something: nobody gets what is not theirs.
#[tokio::test]
async fn a_thousand_members_hear_their_own_rooms_alone() {
    const MEMBERS: usize = 1000;
    const ROOMS: usize = 50;
    let daemon = setup("")
        .config("[limits]\nauth_failures = \"1000/s\"")
        .start()
        .await;
    let mut members = Vec::new();
    for number in 0..MEMBERS {
        // Names that only differ by what has to be encoded.
        let query = format!("site_id=1&slug=r%2F{}", number % ROOMS);
        members.push(enter(&daemon, BOB, &query).await);
    }
    let open = || async { daemon.metric(r#"callway_connections{via="ws"}"#).await };
    eventually!(open().await >= MEMBERS as f64);
    for room in 0..ROOMS {
        let path = format!("/talkee/ws/messages?site_id=1&slug=r%2F{room}");
        say(&daemon, ALICE, &path, &message(&room.to_string())).await;
        // The same slug in another site, and one that looks like it.
        let path = format!("/talkee/ws/messages?site_id=2&slug=r%2F{room}");
        say(&daemon, ALICE, &path, &message("elsewhere")).await;
        let path = format!("/talkee/ws/messages?site_id=1&slug=r%252F{room}");
        say(&daemon, ALICE, &path, &message("elsewhere")).await;
    }
    for (number, member) in members.iter_mut().enumerate() {
        let expected = message(&(number % ROOMS).to_string())["data"].clone();
        assert_eq!(member.next().await["data"], expected);
    }
    for member in members.iter_mut().step_by(37) {
        assert!(member.is_quiet(Duration::from_millis(20)).await);
    }
}

//! What is said in a room is heard by its members, and by nobody else.

use std::time::Duration;

use futures_util::future::join_all;
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

const MEMBERS: usize = 1000;
const ROOMS: usize = 50;

/// One of the rooms; their names differ by little, some only by what has to be encoded.
fn room(number: usize) -> String {
    let look = ["r%2F", "r%252F", "r%2B", "r", "R"][number / 2 % 5];
    format!("site_id={}&slug={look}{}", 1 + number % 2, number / 10)
}

/// A thousand callers who may all be everywhere, so that nothing but the rooms keeps them apart;
/// everyone says something, and nobody gets what is not theirs.
#[tokio::test]
async fn a_thousand_members_hear_their_own_rooms_alone() {
    let token = |member: usize| format!("cw_token-of-member-{member}");
    let rows = (0..MEMBERS).map(|member| {
        let sha256 = callway::auth::digest(&token(member));
        let rooms = r#"["talkee/{site_id}/{slug}"]"#;
        format!(
            "[[token]]\nname = \"member-{member}\"\nsha256 = \"{sha256}\"\n\
             publish = {rooms}\nsubscribe = {rooms}\n"
        )
    });
    let daemon = setup("").config(&rows.collect::<String>()).start().await;
    let mut members = Vec::new();
    for member in 0..MEMBERS {
        members.push(enter(&daemon, &token(member), &room(member % ROOMS)).await);
    }
    let inside = || async { daemon.metric("callway_subscriptions").await };
    eventually!(inside().await >= MEMBERS as f64);

    let text = |member: usize| message(&format!("member {member}"));
    let path = |number: usize| format!("/talkee/ws/messages?{}", room(number));
    let (daemon, token, text, path) = (&daemon, &token, &text, &path);
    join_all((0..ROOMS).map(|number| async move {
        for member in (number..MEMBERS).step_by(ROOMS) {
            let said = say(daemon, &token(member), &path(number), &text(member)).await;
            assert_eq!(said["user"]["full_name"], format!("member-{member}"));
        }
    }))
    .await;
    // Whatever was said is on its way before this.
    for number in 0..ROOMS {
        say(daemon, ALICE, &path(number), &message("the end")).await;
    }
    join_all(
        members
            .iter_mut()
            .enumerate()
            .map(|(me, socket)| async move {
                for other in (me % ROOMS..MEMBERS).step_by(ROOMS) {
                    if other != me {
                        assert_eq!(socket.next().await["data"], text(other)["data"], "{me}");
                    }
                }
                assert_eq!(
                    socket.next().await["data"],
                    message("the end")["data"],
                    "{me}"
                );
                assert!(socket.is_quiet(Duration::from_millis(300)).await, "{me}");
            }),
    )
    .await;
}

//! Who does not say who it is, or says it wrongly.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use super::{ALICE, enter, setup};
use crate::support::{POWERLESS, Ws};

const QUERY: &str = "site_id=1&slug=room-a";

#[tokio::test]
async fn a_first_message_that_proves_nobody_ends_it() {
    let daemon = setup("").start().await;
    let url = daemon.ws_url(&format!("/talkee/ws?{QUERY}"));
    for first in [
        "hello",
        "{}",
        r#"{"type":"auth","token":""}"#,
        r#"{"type":"hello","token":"cw_token-of-alice"}"#,
        r#"{"type":"auth","token":"cw_unknown"}"#,
        r#"{"type":"auth","token":"a.b.c"}"#,
        r#"{"type":"auth","token":"cw_token-of-alice""#,
    ] {
        let mut stranger = Ws::try_connect(&url, &[]).await.unwrap();
        stranger.send(first).await;
        assert_eq!(stranger.close_code().await, 4001, "{first}");
    }
    let mut stranger = Ws::try_connect(&url, &[]).await.unwrap();
    stranger.send("x".repeat(300 * 1024)).await;
    assert_eq!(stranger.close_code().await, 1009);
    let mut powerless = enter(&daemon, POWERLESS, QUERY).await;
    assert_eq!(powerless.close_code().await, 1008, "no grant for the room");
}

#[tokio::test]
async fn who_says_nothing_has_to_leave_in_time() {
    let limits = "[limits]\nhandshake = \"300ms\"";
    let daemon = setup("").config(limits).start().await;
    let url = daemon.ws_url(&format!("/talkee/ws?{QUERY}"));
    let begun = Instant::now();
    let mut silent = Ws::try_connect(&url, &[]).await.unwrap();
    silent.send_frame(Message::binary(&b"ignored"[..])).await;
    assert_eq!(silent.close_code().await, 4013);
    assert!(begun.elapsed() >= Duration::from_millis(300));
}

#[tokio::test]
async fn a_member_only_says_again_who_it_is() {
    let daemon = setup("").start().await;
    let auth = json!({"type": "auth", "token": ALICE}).to_string();
    let mut member = enter(&daemon, ALICE, QUERY).await;
    member.send(auth.clone()).await;
    member.send_frame(Message::binary(&b"ignored"[..])).await;
    member.send(auth).await;
    assert!(member.is_quiet(Duration::from_millis(200)).await);
    member.send(r#"{"type":"hello"}"#).await;
    assert_eq!(member.close_code().await, 4001);

    let mut other = enter(&daemon, ALICE, QUERY).await;
    let auth = json!({"type": "auth", "token": super::BOB}).to_string();
    other.send(auth).await;
    assert_eq!(other.close_code().await, 4001, "one member, one caller");
}

#[tokio::test]
async fn where_no_room_is_named_there_is_none() {
    let daemon = setup("").start().await;
    for query in ["", "site_id=0&slug=a", "site_id=1", "site_id=x&slug=a"] {
        let url = daemon.ws_url(&format!("/talkee/ws?{query}"));
        let refused = Ws::try_connect(&url, &[]).await.err();
        assert_eq!(refused, Some(200), "{query}");
    }
}

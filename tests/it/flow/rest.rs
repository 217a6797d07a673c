//! The REST API of back ends.

use serde_json::{Value, json};

use super::{KEY, all_powerful, ask, back_end, connect_to, setup, text};
use crate::support::{Http, POWERLESS};

const MESSAGES: &str = "/flow/rest/v1/messages";

fn say(speech: &str) -> Value {
    let originator = json!({"name": "John Doe", "role": "external"});
    json!({"payload": {"type": "text", "speech": speech, "originator": originator}})
}

#[tokio::test]
async fn requests_that_cannot_be_served_say_why() {
    let daemon = setup("").start().await;
    let key = back_end(&daemon, KEY);
    let at = |path: &str| format!("/flow/rest/v1/{path}");
    for (http, path, body, status) in [
        (&Http::new(daemon.address), "messages", json!({}), 401),
        (&back_end(&daemon, "unknown"), "messages/t", say("hi"), 401),
        (&back_end(&daemon, POWERLESS), "messages/t", say("hi"), 403),
        (&key, "messages/t", json!({}), 400),
        (
            &key,
            "messages/t",
            json!({"payload": {"type": "voice"}}),
            400,
        ),
        (&key, "messages/t", say(&"x".repeat(256)), 400),
        (&key, "messages/t?sync=true", say("fail"), 500),
        (&key, "messages/t?writeConcern=true", say("fail"), 500),
        (&key, "handover/t", json!({}), 501),
        (&key, "broadcast/instant", json!({}), 501),
        (&key, "users", json!({}), 404),
        (&key, "threads", json!({}), 405),
    ] {
        let reply = http.post(&at(path), &body).await;
        assert_eq!(reply.status, status, "{path} {body}: {}", reply.text());
        assert_eq!(reply.json()["status"], "error");
        assert!(reply.json()["payload"]["message"].is_string());
    }
    let broken = key.send("POST", &at("messages/t"), b"{").await;
    assert_eq!(broken.status, 400);
    let poor = back_end(&daemon, POWERLESS).get(&at("messages/t")).await;
    assert_eq!(poor.status, 403);
    assert_eq!(key.get(&at("messages/t?page=0")).await.status, 400);
}

#[tokio::test]
async fn a_message_is_taken_at_once_or_answered_whole() {
    let daemon = setup("").start().await;
    let key = back_end(&daemon, KEY);
    let made = key.post(MESSAGES, &json!({})).await.json();
    let thread = made["threadId"].as_str().unwrap();
    assert_eq!(made["status"], "ok");
    assert!(
        thread.ends_with("|w_first") && thread.len() == 36 + 8,
        "{thread}"
    );

    let path = format!("{MESSAGES}/{thread}");
    let whole = key
        .post(&format!("{path}?sync=true"), &say("hi"))
        .await
        .json();
    assert_eq!(whole["status"], "ok");
    assert_eq!(
        whole["messages"][0]["responses"][0]["payload"]["text"],
        "you said hi"
    );
    assert_eq!(
        (&whole["threadId"], &whole["replyTo"]),
        (&json!(thread), &json!("hi"))
    );
    assert_eq!(whole["user"]["name"], "John Doe");
    assert!(whole["activityId"].is_string() && whole["createdAt"].is_string());

    let event = json!({"payload": {"type": "event", "eventName": "MY_EVENT"}});
    for (body, concern) in [
        (say("done"), "?writeConcern=true"),
        (event, "?writeConcern=true"),
        (say("later"), ""),
    ] {
        let taken = key.post(&format!("{path}{concern}"), &body).await;
        assert_eq!((taken.status, taken.json()), (200, json!({"status": "ok"})));
    }
    let history = async || key.get(&path).await.json()["result"]["history"].clone();
    crate::eventually!(history().await.as_array().unwrap().len() == 8);
    let history = history().await;
    assert_eq!(history[0]["originator"]["name"], "John Doe");
    assert_eq!(
        history[4]["messages"][0]["attachment"]["payload"]["name"],
        "MY_EVENT"
    );

    // A back end speaks where its token may; a client only where its threads are.
    let mut socket = connect_to(&daemon, "first", "t|first").await;
    ask(&mut socket, "t|first", "hi").await;
    all_powerful(&daemon)
        .post(&format!("{MESSAGES}/t%7Cfirst"), &say("from outside"))
        .await;
    assert_eq!(text(&socket.next().await), "you said from outside");
    // A thread that bears a client's name is that client's, whoever begins it.
    let begun = format!("{MESSAGES}/2e1f%7Csecond?writeConcern=true");
    let reply = all_powerful(&daemon).post(&begun, &say("welcome")).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let mut second = connect_to(&daemon, "second", "2e1f|second").await;
    ask(&mut second, "2e1f|second", "hi").await;
    second.send(super::send(thread, "mine?")).await;
    assert_eq!(second.next().await["type"], "error");
}

#[tokio::test]
async fn histories_and_threads_come_by_pages() {
    let daemon = setup("").start().await;
    let key = back_end(&daemon, KEY);
    for number in 0..21 {
        let path = format!("{MESSAGES}/t?writeConcern=true");
        assert_eq!(key.post(&path, &say(&number.to_string())).await.status, 200);
    }
    let page = async |page: usize| {
        let path = format!("{MESSAGES}/t?sync=true&page={page}");
        key.get(&path).await.json()["result"].clone()
    };
    let (newest, last) = (page(1).await, page(3).await);
    assert_eq!((&newest["pages"], &newest["page"]), (&json!(3), &json!(1)));
    assert_eq!(newest["history"].as_array().unwrap().len(), 20);
    assert_eq!(
        newest["history"][19]["messages"][0]["fallback"],
        "you said 20"
    );
    assert_eq!(last["history"].as_array().unwrap().len(), 2);
    assert_eq!(last["history"][0]["messages"][0]["fallback"], "0");
    assert_eq!(page(4).await["history"], json!([]));

    for number in 0..22 {
        key.post(&format!("{MESSAGES}/u{number}"), &say("x")).await;
    }
    let threads = key.get("/flow/rest/v1/threads?page=2").await.json();
    assert_eq!(threads["result"]["threads"], json!(["u1", "u0", "t"]));
    assert_eq!(threads["result"]["pages"], 2);
    let none = back_end(&daemon, POWERLESS)
        .get("/flow/rest/v1/threads")
        .await
        .json();
    assert_eq!(
        none["result"]["threads"],
        json!([]),
        "what it may not read is not named"
    );
}

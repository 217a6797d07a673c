//! A thousand users at once: each gets what is said in its own thread, and nothing else.

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{endpoint, info_of, open, publish, send, setup, text};
use crate::support::{Daemon, Ws};

const USERS: usize = 1000;

struct User {
    number: usize,
    thread: String,
    secret: Value,
    socket: Ws,
}

impl User {
    async fn come(daemon: &Daemon, number: usize) -> User {
        let client = ["first", "second"][number % 2];
        let thread = format!("user-{number}|{client}");
        let info = info_of(daemon, client, &thread, "null").await;
        User {
            number,
            secret: info.json()["secret"].clone(),
            socket: open(&endpoint(&info)).await,
            thread,
        }
    }

    async fn say(&mut self, thread: &str, speech: &str) {
        let mut frame: Value = serde_json::from_str(&send(thread, speech)).unwrap();
        frame["payload"]["nonce"] = self.secret.clone();
        self.socket.send(frame.to_string()).await;
    }

    /// Tries its neighbour's thread, then speaks in its own.
    async fn speak(&mut self) {
        let neighbour = (self.number + 1) % USERS;
        let other = format!("user-{neighbour}|{}", ["first", "second"][neighbour % 2]);
        let same_client = (self.number + 2) % USERS;
        let same = format!(
            "user-{same_client}|{}",
            ["first", "second"][same_client % 2]
        );
        for thread in [other, same] {
            self.say(&thread, "let me in").await;
            let refused = self.socket.next().await;
            assert_eq!(
                refused["type"], "error",
                "{} in {thread}: {refused}",
                self.thread
            );
        }
        let (thread, speech) = (self.thread.clone(), format!("I am {}", self.number));
        self.say(&thread, &speech).await;
        let delivered = self.socket.next().await;
        assert_eq!(delivered["payload"]["speech"], speech.as_str());
        assert_eq!(
            text(&self.socket.next().await),
            format!("you said {speech}")
        );
    }

    /// Everything that comes until the last push, which each thread gets.
    async fn hear(&mut self) -> Vec<String> {
        let mut heard = Vec::new();
        loop {
            let frame = self.socket.next().await;
            assert_eq!(frame["payload"]["threadId"], self.thread.as_str());
            heard.push(text(&frame));
            if heard.last().is_some_and(|text| text.starts_with("last")) {
                return heard;
            }
        }
    }
}

#[tokio::test]
async fn nobody_hears_what_is_not_theirs() {
    let daemon = setup("nonce = true").start().await;
    let mut users = Vec::new();
    for numbers in (0..USERS).collect::<Vec<_>>().chunks(100) {
        let come = numbers.iter().map(|number| User::come(&daemon, *number));
        users.extend(join_all(come).await);
    }
    for some in users.chunks_mut(100) {
        join_all(some.iter_mut().map(User::speak)).await;
    }
    let channels: Vec<_> = users
        .iter()
        .map(|user| format!("flow/{}", user.thread.replace('|', "%257C")))
        .collect();
    for word in ["push", "last"] {
        for some in channels.chunks(100) {
            let pushes =
                some.iter().map(|channel| {
                    let daemon = &daemon;
                    async move {
                        publish(daemon, channel, &json!(format!("{word} for {channel}"))).await
                    }
                });
            join_all(pushes).await;
        }
    }
    let heard = join_all(users.iter_mut().map(User::hear)).await;
    for (heard, channel) in heard.iter().zip(&channels) {
        assert_eq!(
            heard,
            &[format!("push for {channel}"), format!("last for {channel}")]
        );
    }
}

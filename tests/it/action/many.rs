//! A thousand users: each gets its own answers, and nobody another's.

use std::sync::Arc;

use futures_util::stream::{self, StreamExt as _};
use serde_json::json;

use super::{ask, connect, decided, decision, register, setup};
use crate::support::Daemon;

const USERS: usize = 1000;
const AT_ONCE: usize = 50;

#[tokio::test]
async fn a_thousand_users_get_their_own_answers() {
    let daemon = Arc::new(setup("").start().await);
    let users = stream::iter(0..USERS).map(|user| one(daemon.clone(), user));
    let tokens: Vec<String> = users.buffer_unordered(AT_ONCE).collect().await;
    let mut distinct = tokens.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), USERS);

    // All over one socket, in any order of users: the answers come in the order of the questions.
    let mut socket = connect(&daemon).await;
    for user in (0..USERS).step_by(17) {
        let login = json!({"action": "Connection", "checksum": format!("checksum of user {user}")});
        let answer = ask(&mut socket, login).await;
        let token = super::token(&answer);
        assert!(!tokens.contains(&token));
        for n in 0..3 {
            socket
                .send(decision(&token, &n.to_string()).to_string())
                .await;
        }
        for n in 0..3 {
            let said = decided(&format!("action:user {user} heard {n}"));
            assert_eq!(socket.next().await, said);
        }
    }
}

/// One user's visit; returns its token.
async fn one(daemon: Arc<Daemon>, user: usize) -> String {
    let mut socket = connect(&daemon).await;
    let name = format!("user {user}");
    let token = register(&mut socket, &name).await;
    for n in 0..3 {
        let message = format!("{user}.{n}");
        socket.send(decision(&token, &message).to_string()).await;
    }
    for n in 0..3 {
        let said = decided(&format!("action:{name} heard {user}.{n}"));
        assert_eq!(socket.next().await, said);
    }
    token
}

//! The system's own widget, from npm, in a real browser.

use std::path::Path;

use serde_json::json;

use super::{ALICE, BOB, api, enter, message, say, setup};
use crate::foreign::browser::browse;

#[tokio::test]
async fn it_shows_the_history_and_sends() {
    let options = "messages = \"array\"\njwt_secret_file = \"scripts/secret\"";
    let daemon = setup(options)
        .script("secret", "of the tests\n")
        .start()
        .await;
    let room = "/talkee/ws/messages?site_id=1&slug=blog/post-1";
    say(&daemon, ALICE, room, &message("said before")).await;
    let login = json!({"method": "token", "token": BOB});
    let login = api(&daemon).post("/talkee/api/auth/login", &login).await;
    let mut alice = enter(&daemon, ALICE, "site_id=1&slug=blog/post-1").await;

    let modules = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/clients/npm/node_modules");
    let module = |path: &str| std::fs::read_to_string(modules.join(path)).unwrap();
    let files = vec![
        ("/", include_str!("../../clients/talkee.html").to_owned()),
        ("/vue.js", module("vue/dist/vue.global.prod.js")),
        ("/talkee.js", module("@foxone/talkee/dist/index.umd.js")),
    ];
    let task = json!({
        "base": format!("://{}/talkee", daemon.address),
        "token": login.json()["data"]["access_token"],
        "history": "said before",
        "text": "said by the widget",
    });
    let shown = browse(files, &task).await;
    assert_eq!(
        shown["bubbles"],
        json!([
            {"name": "Alice", "text": "said before", "own": false},
            {"name": "Bob", "text": "said by the widget", "own": true},
        ]),
        "{shown}"
    );
    let heard = alice.next().await;
    assert_eq!(heard["user"]["full_name"], "Bob");
}

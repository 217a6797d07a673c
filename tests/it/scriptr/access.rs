//! Who may do what: a script's own ACL, and channels among many users.

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::greeted;
use crate::support::{Daemon, Http, POWERLESS, Setup, TOKEN, Ws};

#[tokio::test]
async fn a_scripts_own_acl_says_no() {
    let daemon = Setup::new()
        .config(
            r#"
            [[listen.endpoint]]
            path = "/open"
            dialect = "scriptr"
            anonymous = "visitor"
            [[token]]
            name = "visitor"
            sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
            call = ["{path...}"]
            [[route]]
            method = "{path...}"
            script = "{path}.js"
            "#,
        )
        .script("anyone.js", "return 1;")
        .script("known.js", "return 1;")
        .script(".known.metadata", r#"{"acl":{"execute":"authenticated"}}"#)
        .script("other.js", "return 1;")
        .script(
            ".other.js.metadata",
            r#"{"acl":{"execute":"somebody; group:us"}}"#,
        )
        .script("through.js", r#"return callway.call("other");"#)
        .script(
            "asks.js",
            r#"return [isIdInAcl(request.user.id, "AUTHENTICATED; x"), isIdInAcl("x", "y; x")];"#,
        )
        .start()
        .await;
    let status = async |http: &Http, path: &str| {
        let reply = http.get(path).await;
        (
            reply.status,
            reply.json()["response"]["metadata"]["errorCode"].clone(),
        )
    };
    let denied = (403, json!("PERMISSION_DENIED"));
    let visitor = Http::new(daemon.address);
    assert_eq!(status(&visitor, "/open/anyone").await.0, 200);
    assert_eq!(status(&visitor, "/open/known").await, denied);
    let tester = daemon.http();
    for (http, path, authenticated) in [(&visitor, "/open/asks", false), (&tester, "/asks", true)] {
        let asked = http.get(path).await.json();
        assert_eq!(asked["response"]["result"], json!([authenticated, true]));
    }
    assert_eq!(status(&tester, "/known").await.0, 200);
    assert_eq!(status(&tester, "/other").await, denied);
    assert_eq!(status(&tester, "/through").await.0, 500);
    let powerless = Http::new(daemon.address).bearer(POWERLESS);
    assert_eq!(
        status(&powerless, "/anyone").await,
        denied,
        "grants come first"
    );
}

const USERS: usize = 1000;

fn token(user: usize) -> String {
    format!("cw_token-of-user-{user}")
}

async fn join(daemon: &Daemon, user: usize) -> Ws {
    let (mut socket, _) = greeted(daemon, &format!("/{}", token(user))).await;
    let subscribe = |to: usize| {
        json!({"method": "Subscribe", "params": {"channel": format!("own/user-{to}")}}).to_string()
    };
    socket.send(subscribe((user + 1) % USERS)).await;
    assert_eq!(socket.next().await["errorCode"], "PERMISSION_DENIED");
    socket.send(subscribe(user)).await;
    assert_eq!(socket.next().await["status"], "success");
    socket
}

#[tokio::test]
async fn a_thousand_users_get_what_is_theirs_alone() {
    let rows: String = (0..USERS)
        .map(|user| {
            let sha = callway::auth::digest(&token(user));
            format!(
                "[[token]]\nname = \"user-{user}\"\nsha256 = \"{sha}\"\nsubscribe = [\"own/{{caller}}\"]\n"
            )
        })
        .collect();
    let channel = "[[channel]]\nname = \"own/{user}\"\n";
    let daemon = Setup::new().config(&rows).config(channel).start().await;
    let mut sockets = Vec::with_capacity(USERS);
    for hundred in 0..USERS / 100 {
        let some = (0..100).map(|one| join(&daemon, hundred * 100 + one));
        sockets.extend(join_all(some).await);
    }
    let (mut publisher, _) = greeted(&daemon, &format!("/{TOKEN}")).await;
    for round in 0..3 {
        for user in 0..USERS {
            let message = json!({"for": user, "round": round});
            let params = json!({"channel": format!("own/user-{user}"), "message": message});
            let frame = json!({"method": "Publish", "params": params});
            publisher.send(frame.to_string()).await;
            assert_eq!(publisher.next().await["status"], "success");
        }
    }
    let heard = sockets
        .iter_mut()
        .enumerate()
        .map(|(user, socket)| async move {
            let mut heard: Vec<Value> = Vec::new();
            for _ in 0..3 {
                heard.push(socket.next().await);
            }
            let own = [0, 1, 2].map(|round| json!({"for": user, "round": round}));
            assert_eq!(heard, own);
            // Answered after whatever else would come.
            socket.send(r#"{"method":"nothing","id":"last"}"#).await;
            assert_eq!(socket.next().await["status"], "failure", "user {user}");
        });
    join_all(heard).await;
}

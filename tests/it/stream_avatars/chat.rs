//! Users, chat and commands on a channel; what is kept of them.

use serde_json::{Value, json};

use super::{said, service};
use crate::support::{Daemon, Setup, Ws};

const CHAT: &str = "chat = \"stream/chat\"\n[[channel]]\nname = \"stream/{what}\"\n";

const BOT: &str = r#"
    function viewer(user) log('new ' .. user.displayName) end
    function chatted(user, message) log(user.id .. '/' .. user.displayName .. ': ' .. message) end
    function command(user, message)
        local words = helper.split(message, ' ')
        if words[1] == '!earn' then
            local success, balance = addCurrency(user, tonumber(words[2]))
            local seen = user.loadUserData('seen') or { times = 0 }
            seen.times = seen.times + 1
            user.saveUserData('seen', seen)
            writeChat(user.displayName .. ' has ' .. balance .. ' after ' .. seen.times)
        elseif words[1] == '!spend' then
            local success, balance = removeCurrency(user, tonumber(words[2]))
            writeChat(tostring(success) .. ' ' .. balance .. ' ' .. getCurrency(user.displayName))
        elseif words[1] == '!who' then
            local user = getUser('ada')
            local gone = getUserById('2')
            writeChat(#getUsers() .. ' ' .. tostring(user.moderator) .. ' ' .. tostring(gone and gone.isActive))
        elseif words[1] == '!echo' then
            runCommand('!echo', true)
        end
    end
    data = {}
    return function()
        load()
        setProperty(data, 'starts', 0)
        data.starts = data.starts + 1
        save()
        addEvent('newViewer', 'viewer')
        addEvent('chatMessage', 'chatted')
        addEvent('customCommand', 'command')
        log('start ' .. data.starts)
        keepAlive()
    end
"#;

/// A viewer who reads along.
struct Viewer(Ws);

impl Viewer {
    async fn join(daemon: &Daemon) -> Viewer {
        let mut socket = daemon.ws().await;
        let channel = json!({ "channel": "stream/chat" });
        socket.call("callway.subscribe", channel).await.unwrap();
        Viewer(socket)
    }

    async fn say(&mut self, event: Value) {
        let params = json!({ "channel": "stream/chat", "payload": event });
        self.0.call("callway.publish", params).await.unwrap();
    }

    async fn write(&mut self, id: &str, name: &str, message: &str) {
        let user = json!({ "id": id, "name": name });
        self.say(json!({ "user": user, "message": message })).await;
    }

    /// The next thing that a bot writes.
    async fn reads(&mut self) -> String {
        let bot = |value: &Value| {
            let payload = &value["params"]["payload"];
            value["method"] == "callway.event"
                && payload["message"].is_string()
                && payload.get("user").is_none()
        };
        let event = self.0.find(bot).await;
        event["params"]["payload"]["message"]
            .as_str()
            .unwrap()
            .to_owned()
    }
}

#[tokio::test]
async fn a_bot_hears_chats_and_keeps_balances() {
    let mut daemon = service(BOT, CHAT).start().await;
    crate::eventually!(said(&daemon).len() == 1);
    let mut viewer = Viewer::join(&daemon).await;
    viewer.write("1", "Ada", "hello").await;
    viewer.write("1", "Ada", "!earn 5").await;
    assert_eq!(viewer.reads().await, "Ada has 5 after 1");
    viewer.write("1", "Ada", "!spend 7").await;
    assert_eq!(viewer.reads().await, "false 5 5");
    viewer
        .say(json!({ "user": { "id": 2, "name": "Bob" }, "event": "join" }))
        .await;
    viewer
        .say(json!({ "user": { "id": 2 }, "event": "leave" }))
        .await;
    viewer
        .say(json!({ "user": { "id": "1", "moderator": true }, "event": "marks" }))
        .await;
    viewer.write("1", "Ada", "!who").await;
    assert_eq!(viewer.reads().await, "1 true false");
    // What is no event of a chat harms nobody.
    for strange in [
        json!(null),
        json!([1]),
        json!("text"),
        json!({ "user": 5 }),
        json!({ "user": { "id": 1 }, "message": 7 }),
    ] {
        viewer.say(strange).await;
    }
    viewer.write("1", "Ada", "!spend 2").await;
    assert_eq!(viewer.reads().await, "true 3 3");
    let lines = said(&daemon);
    assert_eq!(
        lines[..4],
        ["start 1", "new Ada", "1/Ada: hello", "1/Ada: !earn 5"]
    );

    daemon.restart().await;
    crate::eventually!(said(&daemon).first().is_some_and(|line| line == "start 2"));
    let mut viewer = Viewer::join(&daemon).await;
    viewer.write("1", "Ada", "!earn 1").await;
    assert_eq!(viewer.reads().await, "Ada has 4 after 2");
}

#[tokio::test]
async fn a_command_that_runs_itself_comes_to_an_end() {
    let daemon = service(BOT, CHAT).start().await;
    crate::eventually!(said(&daemon).len() == 1);
    let mut viewer = Viewer::join(&daemon).await;
    viewer.write("1", "Ada", "!echo").await;
    let hops = r#"callway_limit_reached_total{limit="hops"}"#;
    crate::eventually!(daemon.metric(hops).await >= 1.0);
    viewer.write("1", "Ada", "!earn 1").await;
    assert_eq!(viewer.reads().await, "Ada has 1 after 1");
    let echoes = said(&daemon)
        .iter()
        .filter(|line| line.ends_with(": !echo"))
        .count();
    assert_eq!(
        echoes, 9,
        "as often as limits.hops allows, and once by hand"
    );
}

#[tokio::test]
async fn one_service_is_the_chat_platform_of_another() {
    let platform = r#"
        function output(message) log('to the viewers: ' .. message) end
        return function()
            addEvent('luaPlatformOutput', 'output')
            local platform = getApp().platformServiceSettings
            wait(0.5)
            platform.SetStreamer(1234, 'ada_lua')
            platform.SetUserJoin(5, 'Bob')
            platform.SetFollower(5, true)
            platform.AddMessage(5, 'Bob', '!earn 3')
            platform.PlatformCurrencyDonation(5, 'Bob', 50, 1000)
            platform.CustomCommandRedemption(5, 'Bob', '!spend', '1')
            log(getApp().getStreamerUser().displayName)
            keepAlive()
        end
    "#;
    let listener = r#"
        function follower(user) log('follows: ' .. user.displayName) end
        function donated(user, info) log(user.displayName .. ' gave ' .. info.amount_donated) end
        return function()
            addEvent('follower', 'follower') addEvent('platformDonation', 'donated')
            keepAlive()
        end
    "#;
    let row = |name: &str| {
        format!(
            "[[service]]\nname = {name:?}\nscript = \"{name}.lua\"\ntoken = \"tester\"\nchat = \"stream/chat\"\n"
        )
    };
    let daemon = Setup::new()
        .script("bot.lua", BOT)
        .script("platform.lua", platform)
        .script("listener.lua", listener)
        .config(&format!(
            "{}{}{}[[channel]]\nname = \"stream/chat\"",
            row("bot"),
            row("platform"),
            row("listener")
        ))
        .start()
        .await;
    let has = |line: &str| said(&daemon).iter().any(|said| said == line);
    for line in [
        "to the viewers: Bob has 3 after 1",
        "to the viewers: true 2 2",
        "follows: Bob",
        "Bob gave 50",
    ] {
        crate::eventually!(has(line));
    }
}

#[tokio::test]
async fn users_are_themselves_and_long_names_cost_nobody_anything() {
    let script = r#"
        function chatted(user, message)
            log(user.displayName, message, user == getUserById(user.id), user == getApp().getStreamerUser())
        end
        function raw(payload, about) log('raw', payload.event, about.channel) end
        return function()
            addEvent('chatMessage', 'chatted')
            callway.subscribe('stream/chat', 'raw')
            log('start')
            writeChat(5)
            keepAlive()
        end
    "#;
    let daemon = service(script, CHAT).start().await;
    crate::eventually!(said(&daemon).len() >= 2);
    let mut viewer = Viewer::join(&daemon).await;
    let long = "n".repeat(300);
    viewer.write(&long, "Eve", "hello").await;
    viewer.write("1", &long, "hi").await;
    viewer
        .say(json!({ "user": { "id": "1", "name": "Ada" }, "event": "dances" }))
        .await;
    viewer.write("1", "Ada", "again").await;
    crate::eventually!(said(&daemon).len() >= 8);
    let lines = said(&daemon);
    let chatted: Vec<_> = lines
        .iter()
        .filter(|line| !line.starts_with("raw"))
        .collect();
    assert_eq!(
        chatted,
        ["start", "1 hi true false", "Ada again true false"]
    );
    let raw: Vec<_> = lines
        .iter()
        .filter(|line| line.starts_with("raw"))
        .collect();
    assert_eq!(raw.len(), 5, "{lines:?}");
    assert!(
        raw.contains(&&"raw dances stream/chat".to_owned()),
        "{raw:?}"
    );
    assert!(daemon.log().contains("a user's id has more than 256 bytes"));
}

//! What scripts of scriptr.io find, and use as they did there.

use std::time::Duration;

use serde_json::{Value, json};

use super::greeted;
use crate::eventually;
use crate::support::{Daemon, HttpReply, Mosquitto, Mqtt, Setup, TOKEN, Version};

const ROUTES: &str = r#"
    [[route]]
    method = "lua/{path...}"
    script = "{path}.lua"
    [[route]]
    method = "{path...}"
    script = "{path}.js"
    [[channel]]
    name = "news"
    [[channel]]
    name = "marks/{who}"
"#;

fn setup() -> Setup {
    Setup::new().config(ROUTES)
}

/// The result of a script that is called over HTTP.
async fn run(daemon: &Daemon, path: &str) -> Value {
    let reply = daemon.http().get(path).await;
    assert_eq!(reply.status, 200, "{path}: {}", text(&reply));
    reply.json()["response"]["result"].clone()
}

fn text(reply: &HttpReply) -> String {
    String::from_utf8_lossy(&reply.body).into_owned()
}

#[tokio::test]
async fn what_is_not_provided_says_so_by_name() {
    let daemon = setup()
        // What a script does not mention is not there either.
        .script(
            "touch.js",
            "/* sendMail runAs xmlToJson schedule push */ return eval(request.parameters.code);",
        )
        .script("lua/touch.lua", "return require(request.parameters.name)")
        .start()
        .await;
    let touch = async |code: &str| {
        let code = percent_encoding::utf8_percent_encode(code, percent_encoding::NON_ALPHANUMERIC);
        daemon.http().get(&format!("/touch?code={code}")).await
    };
    for (code, name) in [
        ("sendMail('a', 'b', 'c', 'd')", "sendMail"),
        ("runAs(function () {}, 'x')", "runAs"),
        ("xmlToJson('<a/>')", "xmlToJson"),
        ("require('document')", "document"),
        ("require('bridge')", "bridge"),
        ("require('queue').getInstance('news').peek()", "queue.peek"),
        ("require('channel').create('other')", "channel.create"),
        (
            "http.request({url: 'http://127.0.0.1/', files: {a: []}})",
            "files",
        ),
        ("schedule('touch', 'tomorrow')", "tomorrow"),
        (
            "schedule('touch', '2015-09-08T14:28:41.093Z')",
            "has passed",
        ),
        (
            "require('mqtt').getInstance('mqtt://elsewhere:1883').publish('a', 'b')",
            "mqtt",
        ),
    ] {
        let reply = touch(code).await;
        assert_eq!(reply.status, 500, "{code}: {}", text(&reply));
        let detail = reply.json()["response"]["metadata"]["errorDetail"].to_string();
        assert!(detail.contains(name), "{code}: {detail}");
    }
    let lua = daemon.http().get("/lua/lua/touch?name=document").await;
    assert!(text(&lua).contains("document"), "{}", text(&lua));
    // A script that calls something of its own so is not disturbed.
    let reply = touch("push = 5; var storage = push + 1; storage").await;
    assert_eq!(reply.json()["response"]["result"], 6);
}

#[tokio::test]
async fn storage_outlives_calls_and_the_process() {
    let mut daemon = setup()
        .script(
            "count.js",
            r#"if (!storage.local.count) storage.local.count = 0;
            storage.local.count = storage.local.count + 1;
            storage.global.last = { count: storage.local.count };
            return [storage.local.count, Object.keys(storage.local), "count" in storage.global];"#,
        )
        .script(
            "other.js",
            r#"var stored = require("storage");
            var seen = [stored.local.count === undefined, storage.global.last];
            if (request.parameters.forget) delete storage.global.last;
            return seen;"#,
        )
        .script("big.js", "storage.local.x = new Array(70000).join('x');")
        .script(
            "lua/count.lua",
            r#"storage.global.lua = (storage.global.lua or 0) + 1
            storage.global.last = nil
            return { storage.global.lua, storage.global.last == nil, require("storage").global.lua }"#,
        )
        .start()
        .await;
    assert_eq!(run(&daemon, "/count").await, json!([1, ["count"], false]));
    assert_eq!(run(&daemon, "/count").await[0], 2);
    assert_eq!(run(&daemon, "/other").await, json!([true, {"count": 2}]));
    daemon.restart().await;
    assert_eq!(run(&daemon, "/count").await[0], 3);
    assert_eq!(run(&daemon, "/other?forget=1").await[1]["count"], 3);
    assert_eq!(run(&daemon, "/other").await, json!([true, null]));
    let refused = daemon.http().get("/big").await;
    assert!(text(&refused).contains("64 KiB"), "{}", text(&refused));
    run(&daemon, "/count").await;
    assert_eq!(run(&daemon, "/lua/lua/count").await, json!([1, true, 1]));
    assert_eq!(run(&daemon, "/lua/lua/count").await[0], 2);
}

#[tokio::test]
async fn a_scheduled_script_runs_also_after_a_restart() {
    let mark = r#"storage.global.runs = (storage.global.runs || 0) + 1; publish("news", "ran");"#;
    let mut daemon = setup()
        .script("mark.js", mark)
        .script("runs.js", "return storage.global.runs || 0;")
        .script(
            "plan.js",
            r#"var soon = new Date(Date.now() + Number(request.parameters.ms));
            return schedule("/mark", request.parameters.cron || soon);"#,
        )
        .script("lua/plan.lua", r#"return schedule("mark", "* * * * * *")"#)
        .script("undo.js", "return unschedule(request.parameters.handle);")
        .start()
        .await;
    let handle = run(&daemon, "/plan?ms=600").await;
    assert_eq!(handle.as_str().unwrap().len(), 32, "{handle}");
    daemon.restart().await;
    eventually!(run(&daemon, "/runs").await == 1);
    let again = run(&daemon, "/plan?ms=0&cron=*%20*%20*%20*%20*%20*").await;
    eventually!(run(&daemon, "/runs").await.as_u64() >= Some(3));
    let undone = run(
        &daemon,
        &format!("/undo?handle={}", again.as_str().unwrap()),
    )
    .await;
    assert_eq!(undone["metadata"]["status"], "success");
    let lua = run(&daemon, "/lua/lua/plan").await;
    run(&daemon, &format!("/undo?handle={}", lua.as_str().unwrap())).await;
    // One may have been under way.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let runs = run(&daemon, "/runs").await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(run(&daemon, "/runs").await, runs);
}

#[tokio::test]
async fn a_script_subscribes_to_a_channel() {
    let mut daemon = setup()
        .script(
            "listen.js",
            r#"return [subscribe("news", "hear"), subscribe("missing", "hear").metadata.errorCode];"#,
        )
        .script(
            "hear.js",
            r#"publish("marks/js", { body: request.body, raw: request.rawBody });"#,
        )
        .script(
            "ignore.js",
            r#"return require("pubsub").getInstance("news").unsubscribe("hear", "script");"#,
        )
        .script(
            "say.js",
            r#"var topic = require("pubsub").getInstance("news");
            return topic.publish(request.parameters.what, request.parameters.wrapped);"#,
        )
        .script(
            "queue.js",
            r#"return require("queue").getInstance("news").queue("hear", { queued: true });"#,
        )
        .start()
        .await;
    let (mut marks, _) = greeted(&daemon, &format!("/{TOKEN}")).await;
    let (mut news, _) = greeted(&daemon, &format!("/{TOKEN}")).await;
    for (socket, channel) in [(&mut marks, "marks/js"), (&mut news, "news")] {
        let frame = json!({"method": "Subscribe", "params": {"channel": channel}});
        socket.send(frame.to_string()).await;
        assert_eq!(socket.next().await["status"], "success");
    }
    let listening = run(&daemon, "/listen").await;
    assert_eq!(listening[0]["metadata"]["status"], "success");
    assert_eq!(listening[1], "CHANNEL_NOT_FOUND");

    assert_eq!(
        run(&daemon, "/say?what=plain").await["metadata"]["status"],
        "success"
    );
    assert_eq!(news.next_text().await, "plain");
    assert_eq!(marks.next().await, json!({"body": "plain", "raw": "plain"}));
    daemon.restart().await;
    let (mut marks, _) = greeted(&daemon, &format!("/{TOKEN}")).await;
    marks
        .send(r#"{"method":"Subscribe","params":{"channel":"marks/js"}}"#)
        .await;
    marks.next().await;
    run(&daemon, "/say?what=x&wrapped=true").await;
    // What was under way when it ended may be heard twice.
    let wrapped = json!({"from": "scriptr", "message": "x"});
    marks.find(|heard| heard["body"] == wrapped).await;
    run(&daemon, "/ignore").await;
    run(&daemon, "/say?what=unheard").await;
    run(&daemon, "/queue").await;
    loop {
        let body = marks.next().await["body"].clone();
        assert_ne!(body, "unheard");
        if body == json!({"queued": true}) {
            break;
        }
    }
}

#[tokio::test]
async fn modules_answer_as_they_did() {
    let mosquitto = Mosquitto::start().await;
    let bus = format!(
        r#"
        [bus.field]
        url = "{}"
        [[channel]]
        name = "pumps/{{pump}}"
        mqtt = {{ bus = "field", topic = "pumps/{{pump}}/cmd", direction = "out" }}
        "#,
        mosquitto.url()
    );
    let port = mosquitto.port;
    let script = format!(
        r#"var log = require("log"), channels = require("channel"), mqtt = require("mqtt");
        log.info("unheard"); log.setLevel("INFO"); log.info("heard"); log.debug("unheard");
        console.setLevel("OFF"); console.error("unheard"); console.setLevel("DEBUG");
        var broker = mqtt.getInstance("mqtt://127.0.0.1:{port}", {{ qos: 1 }});
        broker.publish("pumps/7/cmd", "start"); broker.close();
        mqtt.getInstance("field").publish("pumps/8/cmd", {{ stop: true }});
        response.addHeaders(configuration.crossDomainHeaders);
        return [
            channels.get("news"), channels.get("missing").metadata.errorCode,
            channels.create("news").metadata.errorCode, channels.list().result.channels,
            require("http").request === http.request, isIdInAcl("x", "a;x"), isIdInAcl("y", "a;x"),
            request.account.accountKey, request.user.id, atob(btoa("a")), require("log") === log,
            publish("news", "x").metadata.status, typeof request.headers.host
        ];"#
    );
    // What a script puts into `response` takes the place of the wrapper, so it is looked at apart.
    let script = script.replace("response.addHeaders(configuration.crossDomainHeaders);", "");
    let daemon = setup()
        .config(&bus)
        .script("all.js", &script)
        .script(
            "own.js",
            "response.addHeaders(configuration.crossDomainHeaders); response.write('own');",
        )
        .start()
        .await;
    daemon.link_is("field", "up").await;
    let mut pump = Mqtt::connect(port, Version::V4).await;
    pump.subscribe("pumps/+/cmd").await;
    let reply = daemon.http().get("/all").await;
    assert_eq!(reply.status, 200, "{}", text(&reply));
    let response = &reply.json()["response"];
    assert_eq!(
        response["result"],
        json!([
            {"metadata": {"status": "success", "statusCode": "200"}, "result": {"name": "news"}},
            "CHANNEL_NOT_FOUND", "DUPLICATE_CHANNEL", [{"name": "news"}],
            true, true, false, "callway", "tester", "a", true, "success", "string"
        ])
    );
    let log = response["metadata"]["scriptLog"].as_array().unwrap();
    let heard: Vec<_> = log.iter().map(|line| line["message"].clone()).collect();
    assert_eq!(heard, ["heard"]);
    assert_eq!(pump.next().await.payload, b"start");
    assert_eq!(pump.next().await.json(), json!({"stop": true}));
    assert_eq!(daemon.http().get("/own").await.body, b"own");
}

#[tokio::test]
async fn files_are_seen_by_scripts() {
    let daemon = setup()
        .script(
            "files.js",
            r#"var file = request.files.doc ? request.files.doc[1] : request.files.file[0];
            return [request.parameters, file, btoa(file.content), request.rawBody];"#,
        )
        .script(
            "lua/files.lua",
            r#"local files, account = request.files.doc, request.account.accountKey
            return { files[1].content, files[2].size, account, isIdInAcl("x", "a; x") }"#,
        )
        .start()
        .await;
    let body = format!(
        "--b\r\nContent-Disposition: form-data; name=\"auth_token\"\r\n\r\n{TOKEN}\r\n\
         --b\r\nContent-Disposition: form-data; name=\"t\"\r\n\r\n22\r\n\
         --b\r\nContent-Disposition: form-data; name=\"doc\"; filename=\"a.txt\"\r\n\r\nA\r\n\
         --b\r\nContent-Disposition: form-data; name=\"doc\"; filename=\"b.bin\"\r\n\
         Content-Type: image/png\r\n\r\n",
    );
    let body = [body.as_bytes(), &[0xff, 0x00], b"\r\n--b--\r\n"].concat();
    let nobody = crate::support::Http::new(daemon.address);
    let form = nobody.header("content-type", "multipart/form-data; boundary=b");
    let reply = form.send("POST", "/files?q=1", &body).await;
    assert_eq!(reply.status, 200, "{}", text(&reply));
    assert!(!text(&reply).contains(TOKEN));
    let file = json!({
        "paramName": "doc", "fileName": "b.bin", "size": 2, "contentType": "image/png",
        "content": "\u{ff}\u{0}",
    });
    let result = &reply.json()["response"]["result"];
    assert_eq!(*result, json!([{"q": "1", "t": "22"}, file, "/wA=", ""]));
    let reply = form.send("POST", "/lua/lua/files", &body).await;
    let result = &reply.json()["response"]["result"];
    assert_eq!(
        *result,
        json!(["A", 2, "callway", true]),
        "{}",
        text(&reply)
    );

    let upload = daemon.http().header("content-type", "text/csv");
    let reply = upload.send("POST", "/files?fileName=x.csv", b"a,b").await;
    let result = &reply.json()["response"]["result"];
    assert_eq!(result[1]["fileName"], "x.csv");
    assert_eq!(result[3], "a,b");
}

//! Services among the other parts of callway: they answer, call, publish and subscribe.

use serde_json::json;

use super::said;
use crate::support::{Amqp, Rabbit, Setup, TOKEN};

const BOT: &str = r#"
    function answer(params, call)
        if params.fail then error('on purpose') end
        if params.wait then wait(params.wait) log('never') end
        local twice = callway.call('double', { n = params.n })
        return { twice = twice, method = call.method }
    end
    function heard(payload, event) log(event.channel .. ' ' .. payload.celsius) end
    return function()
        callway.serve('bot/{verb}', 'answer')
        callway.subscribe('telemetry/7', 'heard')
        log(type(callway.publish('telemetry/7', { celsius = 21.5 }).id))
        for _, try in {
            function() callway.serve('other/{x...}', 'answer') end,
            function() callway.call('nobody/here') end,
            function() callway.publish('private/x', 1) end,
            function() callway.serve('bot/{verb}', 'nobody') end,
            function() callway.subscribe('telemetry/#', 'heard') end,
        } do
            log(select(2, pcall(try)))
        end
        keepAlive()
    end
"#;

const ROWS: &str = r#"
    [[token]]
    name = "bot"
    sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
    call = ["{path...}"]
    serve = ["bot/{verb}"]
    publish = ["telemetry/{x}"]
    subscribe = ["telemetry/{x}"]
    [[route]]
    method = "bot/{verb}"
    worker = {}
    [[route]]
    method = "double"
    script = "double.lua"
    [[channel]]
    name = "telemetry/{x}"
"#;

#[tokio::test]
async fn a_bot_answers_over_amqp_and_websocket() {
    let rabbit = Rabbit::shared().await;
    let bus = format!(
        "[bus.office]\nurl = {:?}\ncalls = \"callway.calls\"\n",
        rabbit.url()
    );
    let row = "[[service]]\nname = \"bot\"\nscript = \"bot.lua\"\ntoken = \"bot\"\n";
    let daemon = Setup::new()
        .config(&format!("{row}{ROWS}{bus}"))
        .script("bot.lua", BOT)
        .script("double.lua", "return request.body.n * 2")
        .start()
        .await;
    daemon.link_is("office", "up").await;
    crate::eventually!(said(&daemon).len() >= 7);
    let lines = said(&daemon);
    assert!(lines.contains(&"string".to_owned()) && lines.contains(&"telemetry/7 21.5".to_owned()));
    let faults: Vec<_> = lines.iter().filter(|line| line.contains(": ")).collect();
    assert!(faults[0].starts_with("forbidden: no grant"), "{lines:?}");
    assert!(faults[1].starts_with("method_not_found: "), "{lines:?}");
    assert!(faults[2].starts_with("forbidden: "), "{lines:?}");
    assert!(
        faults[3].contains("callway.serve: there is no global function nobody"),
        "{lines:?}"
    );
    assert!(faults[4].starts_with("invalid_request: "), "{lines:?}");

    let mut client = Amqp::connect(&rabbit.url()).await;
    let reply = client
        .call("callway.calls", "bot/ask", TOKEN, br#"{"n":21}"#)
        .await;
    assert_eq!(reply.status.as_deref(), Some("ok"), "{}", reply.json());
    assert_eq!(reply.json(), json!({ "twice": 42, "method": "bot/ask" }));

    let mut socket = daemon.ws().await;
    let failed = socket.request("bot/ask", json!({ "fail": true })).await;
    let error = socket.response(failed).await["error"].take();
    assert_eq!(error["data"]["kind"], "target_error", "{error}");
    assert!(error.to_string().contains("on purpose"), "{error}");
    // Whoever goes away stops the coroutine that works for him.
    let slow = json!({"jsonrpc": "2.0", "id": 9, "method": "bot/ask", "params": {"wait": 30}, "timeout": "200ms"});
    socket.send(slow.to_string()).await;
    assert_eq!(socket.response(9).await["error"]["data"]["kind"], "timeout");
    assert_eq!(
        socket.call("bot/ask", json!({ "n": 1 })).await.unwrap()["twice"],
        2
    );
}

#[tokio::test]
async fn what_a_service_answers_is_bounded() {
    let script = "
        function answer(params)
            if params.fail then error(string.rep('e', 100000)) end
            return string.rep('x', params.length)
        end
        return function() callway.serve('bot/{verb}', 'answer') log('up') keepAlive() end";
    let daemon = Setup::new()
        .config("[[service]]\nname = \"bot\"\nscript = \"bot.lua\"\ntoken = \"bot\"")
        .config(ROWS)
        .config("[limits]\nmessage = \"16KiB\"")
        .script("bot.lua", script)
        .script("double.lua", "return 1")
        .start()
        .await;
    crate::eventually!(said(&daemon) == ["up"]);
    let mut socket = daemon.ws().await;
    let fine = socket.call("bot/a", json!({ "length": 100 })).await;
    assert_eq!(fine.unwrap().as_str().unwrap().len(), 100);
    for (params, wanted) in [
        (json!({ "length": 20000 }), "limits.message allows 16384"),
        (json!({ "fail": true }), "eeee"),
    ] {
        let id = socket.request("bot/a", params).await;
        let error = socket.response(id).await["error"].take();
        assert_eq!(error["data"]["kind"], "target_error", "{error}");
        let text = error.to_string();
        assert!(text.contains(wanted) && text.len() < 10_000, "{text}");
    }
}

//! How services start, end and start again.

use std::process::Command;

use serde_json::json;

use super::{said, service};
use crate::support::{Daemon, Echo, Setup};

fn row(name: &str) -> String {
    format!("[[service]]\nname = {name:?}\nscript = \"{name}.lua\"\ntoken = \"tester\"\n")
}

async fn state(daemon: &Daemon, name: &str) -> String {
    let ready = daemon.admin().get("/readyz").await.json();
    ready["services"][name].as_str().unwrap().to_owned()
}

async fn restarts(daemon: &Daemon, name: &str, reason: &str) -> f64 {
    let metric = format!(r#"callway_service_restarts_total{{service="{name}",reason="{reason}"}}"#);
    daemon.metric(&metric).await
}

#[tokio::test]
async fn what_runs_away_is_stopped_and_others_go_on() {
    let beat = "function tick() end return function() while true do wait(0.05) log('beat') end end";
    let daemon = Setup::new()
        .script("calm.lua", beat)
        .script("loop.lua", "return function() wait(0.05) while true do end end")
        .script("stubborn.lua", "return function() while true do pcall(function() while true do end end) end end")
        .script("event.lua", "function spin() while true do end end return function() async('spin') keepAlive() end")
        .script("memory.lua", "return function() local all = {} while true do all[#all + 1] = string.rep('x', 100000) .. #all end end")
        .script("top.lua", "while true do end")
        .config(&["calm", "loop", "stubborn", "event", "memory", "top"].map(row).concat())
        .config("[limits]\nscript_time = \"200ms\"\nscript_memory = \"8MiB\"")
        .start()
        .await;
    for name in ["loop", "stubborn", "event", "memory", "top"] {
        crate::eventually!(restarts(&daemon, name, "limit").await >= 2.0);
    }
    let log = daemon.log();
    assert!(log.contains("CPU time: the script ran for 200ms"), "{log}");
    assert!(log.contains("memory: the service needs more than"), "{log}");
    assert_eq!(state(&daemon, "calm").await, "running");
    assert_eq!(restarts(&daemon, "calm", "limit").await, 0.0);
    let before = said(&daemon).len();
    crate::eventually!(said(&daemon).len() > before + 3);
}

#[tokio::test]
async fn a_service_that_fails_starts_again_and_one_that_returns_is_over() {
    let fails = "data = {} return function() load() data.n = (data.n or 0) + 1 save() if data.n < 3 then error('try ' .. data.n) end log('third') keepAlive() end";
    let daemon = Setup::new()
        .script("fails.lua", fails)
        .script("returns.lua", "function tick() wait(0.1) log('never') end return function() async('tick') log('once') end")
        .script("nothing.lua", "local x = 1")
        .script("top.lua", "wait(1) return function() end")
        .config(&["fails", "returns", "nothing", "top"].map(row).concat())
        .start()
        .await;
    crate::eventually!(said(&daemon).iter().any(|line| line == "third"));
    assert_eq!(restarts(&daemon, "fails", "error").await, 2.0);
    assert!(
        daemon.log().contains("try 2 (/fails.lua:1)"),
        "{}",
        daemon.log()
    );
    crate::eventually!(state(&daemon, "returns").await == "ended");
    crate::eventually!(
        daemon
            .log()
            .contains("the script must end with `return function()")
    );
    crate::eventually!(
        daemon
            .log()
            .contains("wait: not at the top level of a script")
    );
    assert_eq!(
        said(&daemon).iter().filter(|line| *line == "once").count(),
        1
    );
}

#[tokio::test]
async fn a_killed_process_is_replaced_and_the_drain_is_clean() {
    let echo = Echo::start().await;
    let script = format!(
        "function heard(title, type) log(type) end
        return function() addEvent('websocket', 'heard') getApp().createWebsocket('a', '{}') keepAlive() end",
        echo.url()
    );
    let rules = format!("allow_urls = [{:?}]", echo.url());
    let mut daemon = service(&script, &rules).start().await;
    crate::eventually!(said(&daemon).len() == 1);
    let host = hosts(daemon.pid());
    assert_eq!(host.len(), 1);
    let status = std::fs::read_to_string(format!("/proc/{}/status", host[0])).unwrap();
    assert!(status.contains("\nSeccomp:\t2\n") && status.contains("\nNoNewPrivs:\t1\n"));
    let pid = rustix::process::Pid::from_raw(host[0]).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    crate::eventually!(said(&daemon).len() == 2);
    assert_eq!(restarts(&daemon, "bot", "died").await, 1.0);
    let host = hosts(daemon.pid())[0];
    crate::eventually!(echo.asked().len() == 2);
    assert_eq!(daemon.stop().await, 0);
    assert_eq!(echo.closed(), [1001, 1001], "each life says goodbye");
    crate::eventually!(!std::path::Path::new(&format!("/proc/{host}")).exists());
    assert!(
        !daemon.log().contains("not everything ended in time"),
        "{}",
        daemon.log()
    );
}

#[tokio::test]
async fn what_comes_too_fast_is_lost_and_counted() {
    let script = r#"
        function sleep() wait(600) end
        function heard(payload)
            local before = os.clock()
            while os.clock() - before < 0.005 do end
            if payload == 'last' then log('last') end
        end
        return function()
            callway.subscribe('fast', 'heard')
            local ids = {}
            for i = 1, 999 do ids[i] = async('sleep') end
            log(select(2, pcall(async, 'sleep')))
            for _, id in ids do stopAsync(id) end
            log('ready')
            keepAlive()
        end
    "#;
    let options = "[[channel]]\nname = \"fast\"\n[limits]\nsend_queue = \"16KiB\"";
    let daemon = service(script, options).start().await;
    crate::eventually!(said(&daemon).len() == 2);
    let line = said(&daemon)[0].clone();
    assert!(
        line.contains("async: there are 1000 coroutines already"),
        "{line}"
    );
    let limit = |name: &str| format!(r#"callway_limit_reached_total{{limit="{name}"}}"#);
    assert_eq!(daemon.metric(&limit("service_coroutines")).await, 1.0);

    let mut socket = daemon.ws().await;
    let event = |payload: &str| json!({ "channel": "fast", "payload": payload });
    let long = "x".repeat(1000);
    for _ in 0..1500 {
        let published = socket.call("callway.publish", event(&long)).await;
        published.unwrap();
    }
    crate::eventually!(daemon.metric(&limit("service_events")).await >= 1.0);
    // What comes later is heard.
    crate::eventually!({
        let published = socket.call("callway.publish", event("last")).await;
        published.unwrap();
        said(&daemon).last().is_some_and(|line| line == "last")
    });
    assert_eq!(state(&daemon, "bot").await, "running");
}

fn hosts(parent: i32) -> Vec<i32> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.filter(|pid: &i32| {
        let read =
            |what: &str| std::fs::read_to_string(format!("/proc/{pid}/{what}")).unwrap_or_default();
        let stat = read("stat");
        let after_name = stat.rsplit(')').next().unwrap_or_default();
        after_name.split_whitespace().nth(1) == Some(&parent.to_string())
            && read("cmdline").contains("service-host")
    })
    .collect()
}

#[test]
fn what_is_wrong_with_a_row_is_said_where_it_is_wrong() {
    let directory = tempfile::tempdir().unwrap();
    let scripts = directory.path().join("scripts");
    std::fs::create_dir(&scripts).unwrap();
    std::fs::write(scripts.join("bad.lua"), "local a = 1\nlocal b = = 2\n").unwrap();
    std::fs::write(scripts.join("good.lua"), "return function() end").unwrap();
    let token = "[[token]]\nname = \"t\"\nsha256 = \"0000000000000000000000000000000000000000000000000000000000000000\"\nsubscribe = [\"a\"]\n[[channel]]\nname = \"{x}\"\n";
    for (row, wanted) in [
        ("script = \"bad.lua\"\ntoken = \"t\"", "bad.lua:2:"),
        ("script = \"none.lua\"\ntoken = \"t\"", "cannot read"),
        ("script = \"good.js\"\ntoken = \"t\"", "ends in .lua"),
        ("script = \"../x.lua\"\ntoken = \"t\"", "cannot read"),
        ("script = \"good.lua\"\ntoken = \"u\"", "there is no token"),
        ("script = \"good.lua\"", "the key `token` is missing"),
        (
            "script = \"good.lua\"\ntoken = \"t\"\nallow_urls = [\"ftp://x/\"]",
            "ws://, wss://, http://, https://",
        ),
        (
            "script = \"good.lua\"\ntoken = \"t\"\nchat = \"b\"",
            "may not subscribe",
        ),
        (
            "script = \"good.lua\"\ntoken = \"t\"\nchat = \"a/b\"",
            "no [[channel]] row",
        ),
        (
            "script = \"good.lua\"\ntoken = \"t\"\nscirpt = \"x\"",
            "did you mean `script`?",
        ),
        (
            "script = \"good.lua\"\ntoken = \"t\"\n[[service]]\nname = \"s\"\nscript = \"good.lua\"\ntoken = \"t\"",
            "two services with the name s",
        ),
        ("script = \"good.lua\"\ntoken = \"t\"\nchat = \"a\"", ""),
    ] {
        let config = directory.path().join("callway.toml");
        std::fs::write(
            &config,
            format!("{token}[[service]]\nname = \"s\"\n{row}\n"),
        )
        .unwrap();
        let mut check = Command::new(env!("CARGO_BIN_EXE_callway"));
        let output = check
            .args(["check", "--config"])
            .arg(&config)
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(wanted), "{row}\n{said}");
        assert_eq!(
            output.status.code(),
            Some(if wanted.is_empty() { 0 } else { 78 }),
            "{said}"
        );
    }
}

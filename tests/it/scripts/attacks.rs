//! Scripts that will not stop: each ends within 1.5 × the limit while other calls go on.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use futures_util::{StreamExt as _, stream};
use serde_json::json;

use super::{ROUTES, call};
use crate::support::{Daemon, Setup};

const LIMIT: Duration = Duration::from_millis(300);
/// For what is not the script: connecting, starting a process in the place of one that was killed.
const START: Duration = Duration::from_millis(100);

const ATTACKS: [(&str, &str); 29] = [
    ("loop.js", "while (true) {}"),
    (
        "catch.js",
        "while (true) { try { while (true) {} } catch (e) {} finally { continue; } }",
    ),
    ("regex.js", "/^(a+)+$/.test(new Array(40).join('a') + 'b');"),
    ("array.js", "return (new Array(1e9) + '').length;"),
    (
        "memory.js",
        "var a = []; while (true) { a.push(new Array(1000).join('x') + a.length); }",
    ),
    ("string.js", "var s = 'x'; while (true) { s += s; }"),
    (
        "recursion.js",
        "function f() { return f() + 1; } return f();",
    ),
    (
        "microtasks.js",
        "function f() { Promise.resolve().then(f); } f();",
    ),
    (
        "async.js",
        "return (async function () { while (true) { await null; } })();",
    ),
    (
        "generator.js",
        "function* g() { while (true) { yield 1; } } for (var x of g()) {}",
    ),
    ("bigint.js", "var n = 3n; while (true) { n = n * n; }"),
    (
        "sort.js",
        "while (true) { var a = []; for (var i = 0; i < 1e5; i++) { a.push(-i); } a.sort(function () { return 1; }); }",
    ),
    (
        "getter.js",
        "var o = {get x() { return this.x; }, toJSON: function () { while (true) {} }}; return o;",
    ),
    (
        "proxy.js",
        "var p = new Proxy({}, {get: function (t, k, r) { while (true) {} }}); return p.x;",
    ),
    (
        "buffer.js",
        "var a = []; while (true) { a.push(new ArrayBuffer(1 << 20)); }",
    ),
    ("loop.lua", "while true do end"),
    (
        "pcall.lua",
        "while true do pcall(function() while true do end end) end",
    ),
    (
        "coroutine.lua",
        "while true do local c = coroutine.wrap(function() while true do end end) pcall(c) end",
    ),
    (
        "xpcall.lua",
        "local function f() xpcall(function() while true do end end, f) end while true do pcall(f) end",
    ),
    (
        "pattern.lua",
        "local s = string.rep('a', 100) while true do string.find(s, string.rep('a-', 26) .. 'b') end",
    ),
    (
        "memory.lua",
        "local t = {} while true do t[#t + 1] = string.rep('x', 1000) .. #t end",
    ),
    ("rep.lua", "return #string.rep('x', 2^30)"),
    ("reps.lua", "while true do pcall(string.rep, 'x', 2^30) end"),
    ("concat.lua", "local s = 'x' while true do s = s .. s end"),
    (
        "recursion.lua",
        "local function f() return f() + 1 end return f()",
    ),
    (
        "sort.lua",
        "while true do local t = {} for i = 1, 1e5 do t[i] = -i end pcall(table.sort, t, function() return true end) end",
    ),
    (
        "gsub.lua",
        "while true do string.gsub(string.rep('a', 1e5), '.', function() end) end",
    ),
    (
        "index.lua",
        "local t = setmetatable({}, {__index = function(t, k) while true do end end}) return t.x",
    ),
    (
        "buffer.lua",
        "local t = {} while true do t[#t + 1] = buffer.create(2^20) end",
    ),
];

/// `CALLWAY_ATTACKS=100` tries each attack so often, which takes a while, and holds them to the bound
/// of a machine that does nothing else.
fn tries() -> Option<usize> {
    std::env::var("CALLWAY_ATTACKS").ok()?.parse().ok()
}

/// How long an attack may take: what docs/scripts.md promises for a machine with a core to spare,
/// and, among other tests, what it promises for any.
fn allowed() -> Duration {
    match tries() {
        Some(_) => LIMIT * 3 / 2 + START,
        None => LIMIT * 6 + START,
    }
}

/// As many attack at once as there are cores: the limit is CPU time, so more than that wait for each
/// other.
fn at_once() -> usize {
    std::thread::available_parallelism().unwrap().get()
}

async fn daemon() -> Daemon {
    let mut setup = Setup::new()
        .config(ROUTES)
        .config(&format!(
            "[limits]\nscript_time = \"{}ms\"",
            LIMIT.as_millis()
        ))
        .script("quick.lua", "return request.body")
        .script("quick.js", "return request.body;");
    for (name, source) in ATTACKS {
        setup = setup.script(name, source);
    }
    setup.start().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_attack_outlives_its_budget_nor_stops_others() {
    let daemon = daemon().await;
    let done = tokio_util::sync::CancellationToken::new();
    let attack = async {
        let tries = ATTACKS
            .iter()
            .flat_map(|(name, _)| vec![*name; tries().unwrap_or(5)]);
        let ends = stream::iter(tries).map(|name| attack(&daemon, name));
        let ends: Vec<_> = ends.buffer_unordered(at_once()).collect().await;
        done.cancel();
        ends
    };
    let (ends, waits) = tokio::join!(attack, bystander(&daemon, &done));
    let allowed = allowed();
    let late: Vec<_> = ends
        .iter()
        .filter(|(_, kind, took)| *took > allowed || kind != "script_limit")
        .collect();
    assert!(late.is_empty(), "of {}: {late:?}", ends.len());
    // The others had every second core at times; they were served all along.
    let mut waits = waits;
    waits.sort();
    assert!(waits.len() > 20, "only {} other calls", waits.len());
    let median = waits[waits.len() / 2];
    assert!(
        median < allowed / 2,
        "others waited {median:?} in the median"
    );
}

async fn attack(daemon: &Daemon, name: &'static str) -> (&'static str, String, Duration) {
    let (script, language) = name.split_once('.').unwrap();
    let started = Instant::now();
    let path = format!("/api/{language}/{script}");
    let reply = daemon.http().post(&path, &json!({})).await;
    let kind = match reply.status {
        200 => format!("result {}", reply.text()),
        _ => reply.kind(),
    };
    (name, kind, started.elapsed())
}

/// Calls quick scripts until the attacks are over; how long each took.
async fn bystander(daemon: &Daemon, done: &tokio_util::sync::CancellationToken) -> Vec<Duration> {
    let mut waits = Vec::new();
    while !done.is_cancelled() {
        let started = Instant::now();
        let both = ["lua/quick", "js/quick"].map(|method| call(daemon, method, json!([1])));
        assert_eq!(join_all(both).await, [json!([1]), json!([1])]);
        waits.push(started.elapsed());
    }
    waits
}

#[tokio::test]
async fn what_can_never_be_settled_ends_at_once() {
    let daemon = Setup::new()
        .config(ROUTES)
        .script("never.js", "return new Promise(function () {});")
        .script("deep.js", "return JSON.parse(new Array(200001).join('['));")
        .script("deep.lua", "return json.parse(string.rep('[', 200000))")
        .start()
        .await;
    for method in ["js/never", "js/deep", "lua/deep"] {
        let started = Instant::now();
        let (kind, body) = super::fault(&daemon, method).await;
        assert!(kind == "script_error" || kind == "script_limit", "{body}");
        assert!(started.elapsed() < Duration::from_millis(800), "{method}");
    }
}

#[tokio::test]
async fn a_body_that_becomes_too_much_lua_costs_its_own_call_and_no_host() {
    let daemon = Setup::new()
        .config(ROUTES)
        .config("[limits]\nmessage = \"1MiB\"\nparams = \"1MiB\"\nscript_memory = \"4MiB\"")
        .script("count.lua", "return #request.body")
        .start()
        .await;
    let lists = |count: usize| json!(vec![Vec::<u8>::new(); count]);
    let nested = |count: usize| {
        let chain = (0..100).fold(json!(1), |inner, _| json!([inner]));
        json!(vec![chain; count])
    };
    let hosts = super::children(daemon.pid());
    // The first two are small enough to be let in unchecked, the third is not but fits.
    for (body, count) in [
        (lists(10_000), 10_000),
        (nested(150), 150),
        (lists(20_000), 20_000),
    ] {
        assert_eq!(call(&daemon, "lua/count", body).await, json!(count));
    }
    for body in [lists(300_000), nested(4_000)] {
        let reply = daemon.http().post("/api/lua/count", &body).await;
        assert_eq!(reply.kind(), "script_limit", "{}", reply.text());
        assert!(reply.text().contains("memory"), "{}", reply.text());
    }
    assert_eq!(call(&daemon, "lua/count", lists(1)).await, json!(1));
    let alive = super::children(daemon.pid());
    assert!(hosts.iter().all(|host| alive.contains(host)), "{alive:?}");
}

#[tokio::test]
async fn a_script_stops_when_its_caller_goes_away() {
    let daemon = Setup::new()
        .config(ROUTES)
        .config("[limits]\nscript_time = \"20s\"")
        .script("loop.js", "while (true) {}")
        .script("loop.lua", "while true do end")
        .script("array.js", "return (new Array(1e9) + '').length;")
        .start()
        .await;
    for method in ["js/loop", "lua/loop", "js/array"] {
        let path = format!("/api/{method}");
        let http = daemon.http();
        let body = json!({});
        let call = http.post(&path, &body);
        assert!(
            tokio::time::timeout(Duration::from_millis(300), call)
                .await
                .is_err()
        );
        crate::eventually!(cpu(daemon.pid()).await < 0.2, within Duration::from_secs(5));
    }
}

/// Cores that the daemon's script hosts use at the moment.
async fn cpu(daemon: i32) -> f64 {
    let ticks = || -> u64 {
        super::children(daemon)
            .iter()
            .filter_map(|pid| std::fs::read_to_string(format!("/proc/{pid}/stat")).ok())
            .map(|stat| {
                let fields: Vec<_> = stat
                    .rsplit(')')
                    .next()
                    .unwrap()
                    .split_whitespace()
                    .collect();
                fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
            })
            .sum()
    };
    let before = ticks();
    tokio::time::sleep(Duration::from_millis(200)).await;
    ticks().saturating_sub(before) as f64 / 20.0
}

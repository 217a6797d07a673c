//! Scripts that try to get out, or to leave something behind for the next call.

use serde_json::{Value, json};

use super::{ROUTES, call};
use crate::support::Setup;

/// Each says what it found; nothing is `null` or `false`, or an error.
const TRIES: [(&str, &str); 46] = [
    (
        "js",
        "return typeof process !== 'undefined' || typeof Deno !== 'undefined' || null;",
    ),
    (
        "js",
        "return typeof std !== 'undefined' || typeof os !== 'undefined' || null;",
    ),
    (
        "js",
        "return Function('return typeof std + typeof os + typeof process')() === 'undefinedundefinedundefined' ? null : 'found';",
    ),
    (
        "js",
        "return (function () {}).constructor('return this')().process || null;",
    ),
    (
        "js",
        "return (async function () {}).constructor('return typeof std')().then(function (t) { return t === 'undefined' ? null : t; });",
    ),
    (
        "js",
        "return [].constructor.constructor('return this.std')() || null;",
    ),
    ("js", "return require('/etc/passwd');"),
    ("js", "return require('../../../../etc/passwd');"),
    ("js", "return require('file:///etc/passwd');"),
    ("js", "return require('link');"),
    ("js", "return require('linked/secret');"),
    ("js", "return require('fs');"),
    ("js", "return require('std');"),
    ("js", "return require('os');"),
    ("js", "return require('a\\u0000.js');"),
    (
        "js",
        "return import('std').then(function () { return 'found'; }, function () { return null; });",
    ),
    (
        "js",
        "return import('/etc/passwd').then(function () { return 'found'; }, function () { return null; });",
    ),
    (
        "js",
        "return import('./quick.js').then(function () { return 'found'; }, function () { return null; });",
    ),
    (
        "js",
        "return typeof eval('typeof scriptArgs') === 'string' && typeof scriptArgs !== 'undefined' ? 'found' : null;",
    ),
    (
        "js",
        "return typeof fetch !== 'undefined' || typeof XMLHttpRequest !== 'undefined' || typeof WebSocket !== 'undefined' || null;",
    ),
    (
        "js",
        "return typeof Worker !== 'undefined' || typeof SharedArrayBuffer === 'object' || null;",
    ),
    (
        "js",
        "try { null.x; } catch (e) { return e.constructor.constructor('return typeof os')() === 'undefined' ? null : 'found'; }",
    ),
    (
        "js",
        "return callway.call.constructor('return typeof process')() === 'undefined' ? null : 'found';",
    ),
    ("js", "return http.request({url: 'http://127.0.0.1:22/'});"),
    (
        "lua",
        "return os.execute ~= nil or os.getenv ~= nil or os.remove ~= nil or os.rename ~= nil or os.exit ~= nil or os.tmpname ~= nil",
    ),
    ("lua", "return io ~= nil"),
    ("lua", "return package ~= nil"),
    ("lua", "return debug ~= nil"),
    ("lua", "return loadstring ~= nil or load ~= nil"),
    ("lua", "return dofile ~= nil or loadfile ~= nil"),
    ("lua", "return string.dump ~= nil"),
    ("lua", "return getfenv ~= nil or setfenv ~= nil"),
    ("lua", "return collectgarbage ~= nil or newproxy ~= nil"),
    ("lua", "return getmetatable(_G) or nil"),
    ("lua", "return require('/etc/passwd')"),
    ("lua", "return require('../../../../etc/passwd')"),
    ("lua", "return require('link')"),
    ("lua", "return require('linked/secret')"),
    ("lua", "return require('@self/../x')"),
    ("lua", "return require('io')"),
    (
        "lua",
        "getmetatable('').__index = function() end return 'found'",
    ),
    ("lua", "string.format = nil return 'found'"),
    ("lua", "setmetatable(string, {}) return 'found'"),
    ("lua", "callway.call = nil return 'found'"),
    ("lua", "rawset(table, 'insert', nil) return 'found'"),
    (
        "lua",
        "http.request({url = 'http://127.0.0.1:22/'}) return 'found'",
    ),
];

/// What the first leaves behind, the second must not find.
const LEAKS: [(&str, &str, &str); 17] = [
    (
        "js",
        "console.log = atob = publish = callway.call = Math.random = response = null;",
        "console.log(atob('YQ=='), Math.random()); response.flush(); return typeof callway.leak;",
    ),
    ("js", "leak = 1;", "return typeof leak;"),
    ("js", "this.leak = 1;", "return typeof this.leak;"),
    (
        "js",
        "globalThis.leak = 1;",
        "return typeof globalThis.leak;",
    ),
    (
        "js",
        "Object.prototype.leak = 1;",
        "return typeof ({}).leak;",
    ),
    (
        "js",
        "Array.prototype.map = function () { return 'leak'; };",
        "return [1].map(function () { return 'undefined'; })[0];",
    ),
    (
        "js",
        "JSON.parse = null; JSON.stringify = function () { return '\"leak\"'; };",
        "return typeof JSON.stringify(undefined);",
    ),
    (
        "js",
        "Object.defineProperty(Function.prototype, 'leak', {value: 1});",
        "return typeof isNaN.leak;",
    ),
    (
        "js",
        "Symbol.for('leak').constructor.prototype.leak = 1;",
        "return typeof Symbol.for('leak').leak;",
    ),
    (
        "js",
        "Object.getPrototypeOf(console.log).leak = 1;",
        "return typeof Object.getPrototypeOf(console.log).leak;",
    ),
    (
        "js",
        "console.log.constructor.prototype.constructor = 1;",
        "return console.log instanceof Function && [].map instanceof Function ? 'undefined' : 'leak';",
    ),
    (
        "js",
        "require('quick').leak = 1;",
        "return typeof require('quick').leak;",
    ),
    ("lua", "leak = 1", "return leak == nil and 'undefined'"),
    (
        "lua",
        "_G.leak = 1",
        "return _G.leak == nil and 'undefined'",
    ),
    (
        "lua",
        "require('quick').leak = 1",
        "return require('quick').leak == nil and 'undefined'",
    ),
    (
        "lua",
        "math.randomseed(7)",
        "local a = math.random() math.randomseed(7) return a ~= math.random() and 'undefined'",
    ),
    (
        "lua",
        "pcall(function() getmetatable('').leak = 1 end) pcall(rawset, string, 'leak', 1)",
        "return (('').leak == nil and string.leak == nil) and 'undefined'",
    ),
];

#[tokio::test]
async fn nothing_is_found_outside() {
    let outside = tempfile::tempdir().unwrap();
    for name in ["secret.js", "secret.lua"] {
        std::fs::write(outside.path().join(name), "exports.found = 'found'").unwrap();
    }
    let mut setup = Setup::new()
        .config(ROUTES)
        .script("quick.js", "exports.x = 1;")
        .script("quick.lua", "exports.x = 1");
    for (index, (language, source)) in TRIES.iter().enumerate() {
        setup = setup.script(&format!("try{index}.{language}"), source);
    }
    let daemon = setup.start().await;
    let scripts = daemon.directory.path().join("scripts");
    std::os::unix::fs::symlink(outside.path(), scripts.join("linked")).unwrap();
    for language in ["js", "lua"] {
        let secret = outside.path().join(format!("secret.{language}"));
        std::os::unix::fs::symlink(secret, scripts.join(format!("link.{language}"))).unwrap();
    }
    for (index, (language, source)) in TRIES.iter().enumerate() {
        let path = format!("/api/{language}/try{index}");
        let reply = daemon.http().post(&path, &json!({})).await;
        match reply.status {
            200 => {
                let found = reply.json();
                assert!(
                    found.is_null() || found == json!(false),
                    "{source}: {found}"
                );
            }
            _ => assert_eq!(reply.kind(), "script_error", "{source}: {}", reply.text()),
        }
    }
    for path in ["js/link", "lua/link", "js/linked/secret", "lua/%2e%2e/x"] {
        let reply = daemon
            .http()
            .post(&format!("/api/{path}"), &json!({}))
            .await;
        assert!(reply.status >= 400, "{path}: {}", reply.text());
    }
}

#[tokio::test]
async fn nothing_is_left_for_the_next_call() {
    let mut setup = Setup::new()
        .config(ROUTES)
        .script("quick.js", "exports.x = 1;")
        .script("quick.lua", "exports.x = 1");
    for (index, (language, leave, find)) in LEAKS.iter().enumerate() {
        setup = setup
            .script(&format!("leave{index}.{language}"), leave)
            .script(&format!("find{index}.{language}"), find);
    }
    let daemon = setup.start().await;
    for (index, (language, leave, _)) in LEAKS.iter().enumerate() {
        // Two hosts take turns: so each looks for what it, and what the other, was left.
        for _ in 0..8 {
            call(&daemon, &format!("{language}/leave{index}"), Value::Null).await;
            for _ in 0..2 {
                let found = call(&daemon, &format!("{language}/find{index}"), Value::Null).await;
                assert_eq!(found, json!("undefined"), "after {leave}");
            }
        }
    }
}

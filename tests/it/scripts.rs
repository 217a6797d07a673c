//! Scripts: what they see, in both languages.

#[path = "scripts/attacks.rs"]
mod attacks;
#[path = "scripts/escapes.rs"]
mod escapes;

use serde_json::{Value, json};

use crate::support::{Daemon, Setup};

const ROUTES: &str = r#"
    [[route]]
    method = "js/{path...}"
    script = "{path}.js"
    [[route]]
    method = "lua/{path...}"
    script = "{path}.lua"
"#;

async fn call(daemon: &Daemon, method: &str, params: Value) -> Value {
    let reply = daemon.http().post(&format!("/api/{method}"), &params).await;
    assert_eq!(reply.status, 200, "{method}: {}", reply.text());
    reply.json()
}

async fn fault(daemon: &Daemon, method: &str) -> (String, Value) {
    let reply = daemon
        .http()
        .post(&format!("/api/{method}"), &json!({}))
        .await;
    assert_ne!(reply.status, 200, "{method}: {}", reply.text());
    (reply.kind(), reply.json())
}

#[tokio::test]
async fn an_error_names_its_file_and_line() {
    let daemon = Setup::new()
        .config(ROUTES)
        .script("throws.js", "var a = 1;\nthrow new TypeError('broken');")
        .script("throws.lua", "local a = 1\nerror('broken')")
        .script("value.js", "throw {code: 7};")
        .script("value.lua", "error({code = 7})")
        .script("inside.js", "require('lib/throws');")
        .script("inside.lua", "require('lib/throws')")
        .script("lib/throws.js", "\n\nundefined_name.x;")
        .script("lib/throws.lua", "\n\nlocal x = nil + 1")
        .start()
        .await;
    // Those that are there from the start are refused when the configuration is read.
    let scripts = daemon.directory.path().join("scripts");
    std::fs::write(scripts.join("syntax.js"), "var a = 1;\nvar b = ;").unwrap();
    std::fs::write(scripts.join("syntax.lua"), "local a = 1\nlocal b = = 2").unwrap();
    for language in ["js", "lua"] {
        for (name, file, line) in [
            ("throws", "throws", 2),
            ("syntax", "syntax", 2),
            ("inside", "lib/throws", 3),
        ] {
            let (kind, body) = fault(&daemon, &format!("{language}/{name}")).await;
            assert_eq!(kind, "script_error", "{body}");
            assert_eq!(body["data"]["line"], line, "{body}");
            assert_eq!(
                body["data"]["file"],
                format!("/{file}.{language}"),
                "{body}"
            );
        }
        let (kind, body) = fault(&daemon, &format!("{language}/value")).await;
        assert_eq!(kind, "script_error");
        assert!(
            body["detail"].as_str().unwrap().contains(r#"{"code":7}"#),
            "{body}"
        );
        let (kind, _) = fault(&daemon, &format!("{language}/absent")).await;
        assert_eq!(kind, "method_not_found");
    }
}

#[tokio::test]
async fn a_script_sees_its_request() {
    let daemon = Setup::new()
        .config(ROUTES)
        .script("see.js", "return {body: request.body, raw: request.rawBody, parameters: request.parameters, user: request.user.id, method: request.method, custom: request.headers['X-Custom'], secret: request.headers.authorization, id: typeof request.id};")
        .script("see.lua", "return {body = request.body, raw = request.rawBody, parameters = request.parameters, user = request.user.id, method = request.method, custom = request.headers['X-Custom'], secret = request.headers.authorization, id = type(request.id)}")
        .start()
        .await;
    for language in ["js", "lua"] {
        let http = daemon.http().header("x-custom", "yes");
        let path = format!("/api/{language}/see");
        let seen = http.post(&path, &json!({ "a": [1, "ü"] })).await.json();
        assert_eq!(seen["body"], json!({ "a": [1, "ü"] }));
        assert_eq!(seen["parameters"], seen["body"]);
        assert_eq!(seen["raw"], r#"{"a":[1,"ü"]}"#);
        assert_eq!(seen["user"], "tester");
        assert_eq!(seen["method"], "POST");
        assert_eq!(seen["custom"], "yes", "{seen}");
        assert!(seen["secret"].is_null(), "{seen}");
        assert_eq!(seen["id"], "string");
        let text = http.clone().header("content-type", "text/plain");
        let seen = text.send("POST", &path, "on ü".as_bytes()).await.json();
        assert_eq!(
            (&seen["body"], &seen["raw"]),
            (&json!("on ü"), &json!("on ü"))
        );
        assert_eq!(seen["parameters"], json!({}));
        let bytes = http
            .clone()
            .header("content-type", "application/octet-stream");
        let seen = bytes.send("POST", &path, b"\xff\x00").await.json();
        assert_eq!(seen["body"], "/wA=");
    }
}

#[tokio::test]
async fn results_become_json_by_its_rules() {
    let daemon = Setup::new()
        .config(ROUTES)
        .script("nothing.js", "42;")
        .script("nothing.lua", "local x = 42")
        .script("odd.js", "return {a: undefined, b: NaN, c: new Date(0), d: [undefined, 1]};")
        .script("odd.lua", "return {b = 0/0, d = {1, 2, 3}, e = json.array({}), f = {}, n = json.null, half = 0.5, whole = 2}")
        .script("promise.js", "return Promise.resolve(20).then(function (x) { return x + 1; });")
        .script("roundtrip.lua", "return json.parse(json.serialize(request.body))")
        .script("wrong.lua", "return print")
        .start()
        .await;
    assert_eq!(call(&daemon, "js/nothing", json!(1)).await, Value::Null);
    assert_eq!(call(&daemon, "lua/nothing", json!(1)).await, Value::Null);
    let odd = call(&daemon, "js/odd", json!(1)).await;
    assert_eq!(
        odd,
        json!({ "b": null, "c": "1970-01-01T00:00:00.000Z", "d": [null, 1] })
    );
    let odd = call(&daemon, "lua/odd", json!(1)).await;
    let wanted =
        json!({ "b": null, "d": [1, 2, 3], "e": [], "f": {}, "n": null, "half": 0.5, "whole": 2 });
    assert_eq!(odd, wanted);
    assert_eq!(call(&daemon, "js/promise", json!(1)).await, json!(21));
    let value = json!({ "a": [], "b": {}, "c": [1, null, "x"], "d": 1.5 });
    assert_eq!(call(&daemon, "lua/roundtrip", value.clone()).await, value);
    assert_eq!(fault(&daemon, "lua/wrong").await.0, "script_error");
}

#[tokio::test]
async fn modules_offer_exports_or_their_top_level() {
    let daemon = Setup::new()
        .config(ROUTES)
        .script("main.js", "var a = require('lib/exports'), b = require('/lib/plain.js'), c = require('./lib/cycle'); b.count(); b.count(); return [a.double(2), b.total, b.count(), c.name, c.other.name, require('/lib/plain') === b];")
        .script("lib/exports.js", "var hidden = 2; exports.double = function (x) { return x * hidden; };")
        .script("lib/plain.js", "var total = 0;\nfunction count() { total += 1; return total; }")
        .script("lib/cycle.js", "exports.name = 'cycle'; exports.other = require('./other');")
        .script("lib/other.js", "exports.name = require('./cycle').name + ' of two';")
        .script("main.lua", "local a, b, c = require('lib/exports'), require('/lib/plain.lua'), require('./lib/cycle') b.count() b.count() return {a.double(2), b.total, b.count(), c.name, c.other.name, require('/lib/plain') == b}")
        .script("lib/exports.lua", "local hidden = 2 exports.double = function(x) return x * hidden end")
        .script("lib/plain.lua", "total = 0\nfunction count() total += 1 return total end")
        .script("lib/cycle.lua", "exports.name = 'cycle' exports.other = require('./other')")
        .script("lib/other.lua", "exports.name = require('./cycle').name .. ' of two'")
        .script("core.js", "require('document');")
        .script("core.lua", "require('document')")
        .start()
        .await;
    for language in ["js", "lua"] {
        let seen = call(&daemon, &format!("{language}/main"), json!({})).await;
        assert_eq!(
            seen,
            json!([4, 2, 3, "cycle", "cycle of two", true]),
            "{language}"
        );
        let (kind, body) = fault(&daemon, &format!("{language}/core")).await;
        assert_eq!(kind, "script_error");
        assert!(
            body["detail"].as_str().unwrap().contains("core module"),
            "{body}"
        );
    }
}

#[tokio::test]
async fn a_script_answers_http_by_itself() {
    let js = "response.setStatus(201); response.setHeader('x-made-by', 'script'); response.write('<b>'); response.write('ok</b>'); response.close(); response.write('late');";
    let daemon = Setup::new()
        .config(ROUTES)
        .script("page.js", js)
        .script("page.lua", &js.replace(';', " "))
        .start()
        .await;
    for language in ["js", "lua"] {
        let reply = daemon
            .http()
            .post(&format!("/api/{language}/page"), &json!({}))
            .await;
        assert_eq!(
            (reply.status, reply.text().as_str()),
            (201, "<b>ok</b>"),
            "{language}"
        );
        assert_eq!(reply.header("x-made-by"), Some("script"));
    }
}

#[tokio::test]
async fn a_script_calls_on_within_its_budget() {
    let daemon = Setup::new()
        .config(ROUTES)
        .config("[limits]\nscript_calls = 5\n")
        .script("once.js", "return callway.call('lua/twice', {x: request.body.x});")
        .script("twice.lua", "return request.body.x * 2")
        .script("catch.js", "try { callway.call('nobody/here'); } catch (e) { return [e.kind, e instanceof Error]; }")
        .script("catch.lua", "local ok, e = pcall(callway.call, 'nobody/here') return {e.kind, ok == false}")
        .script("many.js", "while (true) { try { callway.call('lua/twice', {x: 1}); } catch (e) {} }")
        .script("many.lua", "while true do pcall(callway.call, 'lua/twice', {x = 1}) end")
        .script("self.js", "return callway.call('js/self', {});")
        .start()
        .await;
    assert_eq!(
        call(&daemon, "js/once", json!({ "x": 21 })).await,
        json!(42)
    );
    for language in ["js", "lua"] {
        let caught = call(&daemon, &format!("{language}/catch"), json!({})).await;
        assert_eq!(caught, json!(["method_not_found", true]));
        let (kind, body) = fault(&daemon, &format!("{language}/many")).await;
        assert_eq!(kind, "script_limit", "{body}");
        assert!(
            body["detail"].as_str().unwrap().starts_with("calls"),
            "{body}"
        );
    }
    // It calls itself until the request has passed through callway too often.
    let (kind, body) = fault(&daemon, "js/self").await;
    assert_eq!(kind, "script_error", "{body}");
}

#[tokio::test]
async fn requests_reach_what_is_allowed_and_nothing_else() {
    let service = Setup::new()
        .config(ROUTES)
        .script("shout.js", "return {shout: request.body.say + '!'};")
        .start()
        .await;
    let url = format!("http://{}/api/js/", service.address);
    let request = format!(
        "{{url: '{url}shout', method: 'POST', headers: {{'content-type': 'application/json', authorization: 'Bearer {}'}}, bodyString: '{{\"say\":\"hi\"}}'}}",
        crate::support::TOKEN
    );
    let lua = request
        .replace("url: ", "url = ")
        .replace("method: ", "method = ")
        .replace("headers: ", "headers = ")
        .replace("'content-type': ", "['content-type'] = ")
        .replace("authorization: ", "authorization = ")
        .replace("bodyString: ", "bodyString = ");
    let daemon = Setup::new()
        .env("CALLWAY__SCRIPTS__ALLOW_URLS", &url)
        .config(ROUTES)
        .script("fetch.js", &format!("var r = http.request({request}); return [r.status, JSON.parse(r.body).shout, r.timeout];"))
        .script("fetch.lua", &format!("local r = http.request({lua}) return {{r.status, json.parse(r.body).shout, r.timeout}}"))
        .script("stray.js", &format!("var kinds = []; ['http://{0}/api/x', 'http://{0}/api/js/../x', 'http://localhost:{1}/api/js/', 'http://169.254.169.254/', 'file:///etc/passwd', 'http://[::1]/', 'nonsense'].forEach(function (u) {{ try {{ http.request({{url: u}}); kinds.push('reached ' + u); }} catch (e) {{ kinds.push(e.kind); }} }}); return kinds;", service.address, service.address.port()))
        .start()
        .await;
    for language in ["js", "lua"] {
        let seen = call(&daemon, &format!("{language}/fetch"), json!({})).await;
        assert_eq!(seen, json!([200, "hi!", false]), "{language}");
    }
    let kinds = call(&daemon, "js/stray", json!({})).await;
    let mut wanted = vec!["forbidden"; 6];
    wanted.push("invalid_params");
    assert_eq!(kinds, json!(wanted));
}

#[tokio::test]
async fn a_host_is_locked_in_and_ends_with_its_daemon() {
    let mut daemon = Setup::new()
        .config(ROUTES)
        .script("one.js", "return 1;")
        .start()
        .await;
    assert_eq!(call(&daemon, "js/one", json!({})).await, json!(1));
    let hosts = children(daemon.pid());
    assert!(!hosts.is_empty());
    for host in &hosts {
        // One that was started just now may be about to close its sandbox.
        let status = || std::fs::read_to_string(format!("/proc/{host}/status")).unwrap();
        crate::eventually!(status().contains("\nSeccomp:\t2\n"));
        assert!(status().contains("\nNoNewPrivs:\t1\n"));
        let limits = std::fs::read_to_string(format!("/proc/{host}/limits")).unwrap();
        let files = limits
            .lines()
            .find(|l| l.starts_with("Max open files"))
            .unwrap();
        assert_eq!(files.split_whitespace().nth(3), Some("0"), "{limits}");
    }
    // kill -9 leaves no time to say goodbye.
    daemon.restart().await;
    for host in hosts {
        crate::eventually!(!is_script_host(host));
    }
    assert_eq!(call(&daemon, "js/one", json!({})).await, json!(1));
}

fn is_script_host(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/cmdline"))
        .is_ok_and(|line| line.contains("script-host"))
}

fn children(parent: i32) -> Vec<i32> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let after_name = stat.rsplit(')').next().unwrap_or_default();
            after_name.split_whitespace().nth(1) == Some(&parent.to_string())
        })
        .filter(|pid| is_script_host(*pid))
        .collect()
}

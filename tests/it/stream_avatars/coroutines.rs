//! Coroutines, their globals, and the functions that need nothing outside.

use super::{said, service};

/// Runs a script to the line `done`; what it logged before.
async fn lines(script: &str) -> Vec<String> {
    let daemon = service(&format!("{script}\n"), "").start().await;
    crate::eventually!(said(&daemon).last().is_some_and(|line| line == "done"));
    let mut lines = said(&daemon);
    lines.pop();
    lines
}

#[tokio::test]
async fn each_coroutine_has_globals_of_its_own() {
    let script = r#"
        counter = 1
        list = { 'a' }
        log('top level')
        function other()
            log('begins with ' .. counter)
            counter = 50
            list[1] = 'changed'
            log('main has ' .. get('counter') .. ' ' .. get('list')[1])
            local copy = get('list')
            copy[2] = 'b'
            log('still ' .. #get('list'))
            set('list', copy)
            set('added', true)
            wait(0.05)
            log('keeps ' .. counter)
        end
        return function()
            counter = 2
            local id = async('other')
            log('main goes on with ' .. counter)
            waitForAsync(id)
            log('then ' .. counter .. ' ' .. #list .. ' ' .. list[1] .. ' ' .. tostring(added))
            log(pcall(set, 'f', print))
            log('done')
            keepAlive()
            log('never')
        end
    "#;
    let wanted = [
        "top level",
        "begins with 1",
        "main has 2 a",
        "still 1",
        "main goes on with 2",
        "keeps 50",
        "then 2 2 a true",
        "false set: a function cannot be copied",
    ];
    assert_eq!(lines(script).await, wanted);
}

#[tokio::test]
async fn coroutines_wait_for_each_other_and_can_be_stopped() {
    let script = r#"
        function slow() log('slow begins') wait(30) log('never') end
        function broken() error('on purpose') end
        function early() log('early') yieldBreak() log('never') end
        function inner()
            local own = coroutine.wrap(function() wait(0.02) coroutine.yield('half') return 'whole' end)
            log(own() .. ' ' .. own())
        end
        return function()
            local id = async('slow')
            stopAsync(id)
            waitForAsync(id)
            waitForCoroutine(async('broken'))
            waitForAsync(async('early'))
            waitForAsync(async('inner'))
            local before, delta = os.clock(), yield()
            log(delta > 0.01 and delta < 5, type(os.time()))
            log(pcall(async, 'nobody'))
            log(pcall(wait, 'x'))
            log(pcall(addEvent, 'chatMessage', 'nobody'))
            log('done')
            keepAlive()
        end
    "#;
    let wanted = [
        "slow begins",
        "early",
        "half whole",
        "true number",
        "false async: there is no global function nobody in this script",
        "false wait: argument 1 must be a number, not string",
        "false addEvent: there is no global function nobody in this script",
    ];
    assert_eq!(lines(script).await, wanted);
}

#[tokio::test]
async fn helpers_do_what_their_names_say() {
    let script = r#"
        cd = {}
        return function()
            setProperty(data, 'test', 20) setProperty(data, 'test', 30)
            log(data.test, get('data').test)
            cd = helper.createCooldown(30, true)
            log(helper.checkCooldown('cd'), helper.cooldownTimeLeft('cd'))
            helper.setCooldown('cd')
            log(helper.checkCooldown('cd'), helper.cooldownTimeLeft('cd') > 25)
            log(pcall(helper.checkCooldown, 'none'))
            local words = helper.split('!give ada 5', ' ')
            log(#words, words[1], words[3])
            log(helper.startsWith('hello', 'he'), helper.replace('hello', 'l', '8'), helper.hasValue({ 'x' }, 'x'))
            log(helper.randomElement({ 'only' }), helper.randomElement({}))
            local pattern = '(?<=[a-zA-Z0-9])([.])(?=[a-zA-Z]{2,})'
            log(helper.matchRegex(pattern, 'a.ab'), helper.matchRegex(pattern, 'aa.a'))
            local value = json.parse('{"a":[1,null],"b":null,"u":"https:\\/\\/x"}')
            log(value.a[2] == json.null, value.b == nil, json.serialize(value))
            log(pcall(json.parse, '{"a":'))
            log(getApp().sha256_base64('test'))
            setProperty(value, 'c', 1) setProperty(value, 'c', 2)
            log(value.c)
            log('done')
            keepAlive()
        end
    "#;
    let said = lines(script).await;
    assert_eq!(
        said[0], "20 20",
        "`data` is there before anything is loaded"
    );
    let said = &said[1..];
    assert_eq!(said[..2], ["true 0", "false true"]);
    assert!(
        said[2].starts_with("false helper.checkCooldown: "),
        "{said:?}"
    );
    assert_eq!(
        said[3..7],
        ["3 !give 5", "true he88o true", "only nil", "true false"]
    );
    assert!(said[7].starts_with(r#"true true {"#), "{said:?}");
    assert!(said[7].contains(r#""u":"https://x""#), "{said:?}");
    assert!(said[8].starts_with("false json.parse: "), "{said:?}");
    // printf %s test | openssl dgst -sha256 -binary | base64
    assert_eq!(
        said[9..],
        ["n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg=", "1"]
    );
}

#[tokio::test]
async fn what_only_draws_does_nothing_and_is_said_once() {
    let script = r#"
        return function()
            local app = getApp()
            for i = 1, 3 do
                local object = app.createGameObject()
                applyImage(object, 'welcome')
                object.image.anchor('center', true)
                object.physics.hasRigidBody = true
                app.globalAvatarScale = 2
                waitForAnimation(object.image)
                object.setPosition(object.getPosition().x + 1, 2)
                if object.getPosition().x > 500 then log('never') end
            end
            log('level: ' .. getBackground())
            for _, avatar in pairs(getAllAvatars()) do log('never') end
            log(app.getResolution().x > 0, pcall(setupBankController))
            log('done')
            keepAlive()
        end
    "#;
    let daemon = service(script, "").start().await;
    crate::eventually!(said(&daemon).last().is_some_and(|line| line == "done"));
    let lines = said(&daemon);
    assert_eq!(lines[0], "level: ");
    assert!(
        lines[1].starts_with("true false setupBankController: not provided"),
        "{lines:?}"
    );
    let named = |member: &str| format!(r#"member="{member}""#);
    for member in [
        "app.createGameObject",
        "applyImage",
        "anchor",
        "app.globalAvatarScale",
    ] {
        crate::eventually!(daemon.log().contains(&named(member)));
        assert_eq!(daemon.log().matches(&named(member)).count(), 1, "{member}");
        let metric =
            format!(r#"callway_service_members_ignored_total{{service="bot",member="{member}"}}"#);
        assert_eq!(daemon.metric(&metric).await, 3.0, "{member}");
    }
}

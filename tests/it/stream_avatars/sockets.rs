//! Outbound WebSockets and web requests, and what guards them.

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;

use super::{said, service};
use crate::support::{Echo, Service};

/// Logs what happens to all sockets, then does what is put in.
fn script(body: &str) -> String {
    format!(
        "function heard(title, type, message, code)
            log(title .. ' ' .. type .. ' [' .. message .. '] [' .. code .. ']')
            set(title .. type, true)
        end
        return function()
            local app = getApp()
            app.addEvent('websocket', 'heard')
            {body}
            keepAlive()
        end"
    )
}

#[tokio::test]
async fn headers_go_along_and_an_odd_one_is_left_out() {
    let echo = Echo::start().await;
    let url = echo.url();
    let body = format!(
        "app.createWebsocket('a', '{url}', {{'Sec-WebSocket-Protocol', 'obswebsocket.json', 'X-One', '1', 'odd'}})
         app.createWebsocket('b', '{url}', {{'lonely'}})
         wait(0.3)
         app.sendWebsocketMessage('a', 'first')
         app.sendWebsocketMessage('a', 'second ü')
         wait(0.3)
         app.removeWebsocket('a') app.removeWebSocket('a') app.removeWebSocket('never was')
         app.sendWebsocketMessage('a', 'to nobody')
         app.createWebsocket('b', '{url}')"
    );
    let daemon = service(&script(&body), &format!("allow_urls = [{url:?}]"))
        .start()
        .await;
    crate::eventually!(echo.asked().len() == 3);
    let heads = echo.asked();
    let has = |head: &[(String, String)], name: &str, value: &str| {
        head.iter().any(|(n, v)| n == name && v == value)
    };
    let of_a = heads.iter().find(|head| has(head, "x-one", "1")).unwrap();
    assert!(has(of_a, "sec-websocket-protocol", "obswebsocket.json"));
    assert!(
        heads
            .iter()
            .flatten()
            .all(|(name, _)| name != "odd" && name != "lonely")
    );
    crate::eventually!(
        said(&daemon)
            .iter()
            .filter(|line| line.contains("b OnOpen"))
            .count()
            == 2
    );
    let of_a: Vec<_> = said(&daemon)
        .into_iter()
        .filter(|line| line.starts_with("a "))
        .collect();
    assert_eq!(
        of_a,
        [
            "a OnOpen [] []",
            "a OnMessage [first] []",
            "a OnMessage [second ü] []",
        ],
        "nothing is told of one that the script removed"
    );
    // One was removed and one replaced; the servers were told.
    crate::eventually!(echo.closed() == [1000, 1000]);
    assert!(
        daemon
            .log()
            .contains("a message for a socket that is not there")
    );
}

#[tokio::test]
async fn nothing_is_reached_that_is_not_allowed() {
    let echo = Echo::start().await;
    let url = echo.url();
    let port = url
        .trim_end_matches('/')
        .rsplit(':')
        .next()
        .unwrap()
        .to_owned();
    let secret = Service::start().await;
    let body = format!(
        "for _, url in {{ 'ws://localhost:{port}/', 'wss://127.0.0.1:{port}/', 'ws://127.0.0.1:1/', '{url}../x',
                          'ws://user@127.0.0.1:{port}/', 'http://127.0.0.1:{port}/', 'nonsense', 'ws://[::1]:{port}/' }} do
            app.createWebsocket(url, url)
         end
         log(pcall(getWebRequest, 'http://{}/text', nil, nil))
         app.createWebsocket('good', '{url}')",
        secret.address()
    );
    let daemon = service(&script(&body), &format!("allow_urls = [{url:?}]"))
        .start()
        .await;
    crate::eventually!(said(&daemon).len() >= 10);
    let lines = said(&daemon);
    assert!(lines.contains(&"good OnOpen [] []".to_owned()), "{lines:?}");
    // A prefix of `/` allows what leads back to it.
    let opened = lines.iter().filter(|line| line.contains("OnOpen")).count();
    assert_eq!(opened, 2, "{lines:?}");
    let refused = lines.iter().filter(|line| line.contains("OnError"));
    assert_eq!(refused.count(), 7, "{lines:?}");
    let fetched = lines.iter().find(|line| line.starts_with("false "));
    assert!(
        fetched.unwrap().starts_with("false forbidden: "),
        "{lines:?}"
    );
    assert!(secret.asked().is_empty());
}

#[tokio::test]
async fn a_server_that_never_answers_and_one_that_redirects_are_errors() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = silent.accept().await.unwrap();
        while stream.read_u8().await.is_ok() {}
    });
    let moved = Service::start().await;
    let body = format!(
        "app.createWebsocket('silent', 'ws://{address}/')
         app.createWebsocket('moved', 'ws://{}/moved')",
        moved.address()
    );
    let rules = format!(
        "allow_urls = [\"ws://{address}/\", \"ws://{}/\"]",
        moved.address()
    );
    let daemon = service(
        &script(&body),
        &format!("{rules}\n[limits]\nhandshake = \"300ms\""),
    )
    .start()
    .await;
    crate::eventually!(said(&daemon).len() >= 2);
    let lines = said(&daemon);
    let line = |title: &str| lines.iter().find(|line| line.starts_with(title)).unwrap();
    assert!(
        line("silent OnError").contains("no answer within 300ms"),
        "{lines:?}"
    );
    assert!(line("moved OnError").contains("302"), "{lines:?}");
    assert_eq!(moved.asked().len(), 1, "the redirect was not followed");
}

#[tokio::test]
async fn messages_are_bounded_both_ways() {
    let echo = Echo::start().await;
    let url = echo.url();
    let body = format!(
        "app.createWebsocket('a', '{url}')
         while not aOnOpen do wait(0.05) end
         log(pcall(app.sendWebsocketMessage, 'a', string.rep('x', 5000)))
         app.createWebsocket('b', '{url}')
         app.sendWebsocketMessage('b', 'big')
         log(pcall(app.sendWebsocketMessage, 'a', {{}}))
         log(pcall(app.createWebsocket, nil, '{url}'))
         app.sendWebsocketMessage('a', string.rep('x', 4000))
         while not aOnMessage do wait(0.05) end
         app.sendWebsocketMessage('a', 'deaf')
         while not aOnError do
            for i = 1, 100 do app.sendWebsocketMessage('a', string.rep('y', 4000)) end
            wait(0.01)
         end"
    );
    let options =
        format!("allow_urls = [{url:?}]\n[limits]\nmessage = \"4KiB\"\nsend_queue = \"64KiB\"");
    let daemon = service(&script(&body), &options).start().await;
    crate::eventually!(said(&daemon).iter().any(|line| line.contains("a OnError")));
    let lines = said(&daemon);
    assert!(
        lines[1].starts_with("false app.sendWebsocketMessage: the message has 5000 bytes"),
        "{lines:?}"
    );
    assert!(
        lines[2].contains("app.sendWebsocketMessage: argument 2 must be a string, not table"),
        "{lines:?}"
    );
    assert!(
        lines[3].contains("app.createWebsocket: argument 1 must be the title"),
        "{lines:?}"
    );
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with("a OnMessage [xxxx")),
        "{lines:?}"
    );
    crate::eventually!(
        said(&daemon)
            .iter()
            .filter(|line| line.contains("OnError"))
            .count()
            == 2
    );
    let lines = said(&daemon);
    let last = |title: &str| lines.iter().find(|line| line.starts_with(title)).unwrap();
    assert!(last("a OnError").contains("limits.send_queue"), "{lines:?}");
    assert!(
        last("b OnError").contains("limits.message allows 4096"),
        "{lines:?}"
    );
    let metric = r#"callway_limit_reached_total{limit="service_socket_queue"}"#;
    assert_eq!(daemon.metric(metric).await, 1.0);
}

#[tokio::test]
async fn web_requests_bring_text_and_headers() {
    let web = Service::start().await;
    let url = format!("http://{}/", web.address());
    let body = format!(
        "log(getWebRequest('{url}text', nil, nil))
         local text, headers = postWebRequest('{url}any', {{ ['X-One'] = '1' }}, 'hello')
         log(json.parse(text).body, headers['content-type'])
         log(pcall(getWebRequest, '{url}huge'))
         log(pcall(postWebRequest, '{url}any', nil, 5))"
    );
    let daemon = service(&script(&body), &format!("allow_urls = [{url:?}]"))
        .start()
        .await;
    crate::eventually!(said(&daemon).len() >= 4);
    let lines = said(&daemon);
    assert_eq!(lines[..2], ["plain", "hello application/json"]);
    assert!(lines[2].starts_with("false too_large: "), "{lines:?}");
    assert!(
        lines[3].starts_with("false postWebRequest: argument 3"),
        "{lines:?}"
    );
    assert!(web.asked().iter().any(|asked| asked.contains("x-one: 1")));
}

#[tokio::test]
async fn a_server_may_choose_none_of_the_protocols() {
    let echo = Echo::start().await;
    let url = echo.url();
    let body = format!(
        "app.createWebsocket('a', '{url}', {{'Sec-WebSocket-Protocol', 'unknown'}})
         app.sendWebsocketMessage('a', 5)"
    );
    let daemon = service(&script(&body), &format!("allow_urls = [{url:?}]"))
        .start()
        .await;
    crate::eventually!(said(&daemon).len() >= 2);
    let wanted = ["a OnOpen [] []", "a OnMessage [5] []"];
    assert_eq!(said(&daemon), wanted);
}

#[tokio::test]
async fn what_was_sent_goes_out_before_the_socket_closes() {
    let echo = Echo::start().await;
    let url = echo.url();
    let script = format!(
        "function heard(title, type)
            if type == 'OnOpen' then set('opened', title) end
        end
        local function talk(title)
            local app = getApp()
            app.createWebsocket(title, '{url}')
            while opened ~= title do wait(0.05) end
            for i = 1, 100 do app.sendWebsocketMessage(title, title .. i) end
        end
        return function()
            addEvent('websocket', 'heard')
            talk('removed')
            getApp().removeWebSocket('removed')
            talk('over')
        end"
    );
    let _daemon = service(&script, &format!("allow_urls = [{url:?}]"))
        .start()
        .await;
    crate::eventually!(echo.closed().len() == 2);
    let mut closed = echo.closed();
    closed.sort_unstable();
    assert_eq!(closed, [1000, 1001]);
    for title in ["removed", "over"] {
        let heard = echo.heard();
        let heard = heard.iter().filter(|text| text.starts_with(title));
        let sent: Vec<_> = (1..=100).map(|i| format!("{title}{i}")).collect();
        assert!(heard.eq(&sent), "{title}");
    }
}

#[tokio::test]
async fn a_script_cannot_open_sockets_as_fast_as_it_likes() {
    let echo = Echo::start().await;
    let url = echo.url();
    let body = format!(
        "for i = 1, 5000 do app.createWebsocket('a', '{url}') end
         log(pcall(app.createWebsocket, string.rep('t', 257), '{url}'))
         wait(1.2)
         app.createWebsocket('b', '{url}')"
    );
    let daemon = service(&script(&body), &format!("allow_urls = [{url:?}]"))
        .start()
        .await;
    let opened = || said(&daemon).contains(&"b OnOpen [] []".to_owned());
    crate::eventually!(opened());
    let asked = echo.asked().len();
    assert!(asked <= 64, "{asked} handshakes");
    let metric = r#"callway_limit_reached_total{limit="service_sockets"}"#;
    assert!(daemon.metric(metric).await > 4000.0);
    let lines = said(&daemon);
    assert!(
        lines[0].contains("the title of a socket has at most 256 bytes"),
        "{lines:?}"
    );
}

#[tokio::test]
async fn a_web_answer_that_does_not_come_is_an_error() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", silent.local_addr().unwrap());
    let body = format!(
        "log(pcall(getWebRequest, '{url}')) log(http.request({{ url = '{url}' }}).timeout)"
    );
    let options = format!("allow_urls = [{url:?}]\n[limits]\ntimeout = \"500ms\"");
    let daemon = service(&script(&body), &options).start().await;
    crate::eventually!(said(&daemon).len() >= 2);
    let wanted = ["false timeout: getWebRequest: no answer in time", "true"];
    assert_eq!(said(&daemon), wanted);
}

//! Pages in a real browser, which call over WebSocket.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::flow;
use crate::support::{PATIENCE, Process, Setup, TOKEN};

/// Headless, and silent towards the rest of the world.
const FLAGS: [&str; 10] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--remote-debugging-port=0",
];

#[tokio::test]
async fn a_page_calls() {
    let greet = r#"return "hello " + request.body.name;"#;
    let route = "[[route]]\nmethod = \"greet\"\nscript = \"greet.js\"\n";
    let setup = Setup::new().config(route).script("greet.js", greet);
    let daemon = setup.start().await;

    let task = json!({
        "url": daemon.ws_url("/rpc"), "token": TOKEN, "method": "greet", "params": {"name": "page"},
    });
    let result = show(include_str!("../../clients/page.html"), &task).await;
    assert_eq!(result["protocol"], "callway.jsonrpc");
    assert_eq!(result["response"]["result"], "hello page");
}

#[tokio::test]
async fn a_page_speaks_flow() {
    let daemon = flow::setup("").start().await;
    let originator = json!({
        "name": "Jane Doe", "role": "external",
        "profile": {"fullName": "Jane Doe", "timezone": -5, "picture": "https://example.com/jane.jpg"},
        "metadata": {"clientNumber": "12345", "preference": "A,B,G"},
    });
    let payload = json!({
        "threadId": "jane.doe", "speech": "event attachment", "originator": originator,
        "attachment": {"type": "event", "payload": {"name": "MY EVENT"}},
    });
    let task = json!({
        "base": format!("http://{}/flow", daemon.address), "clientId": "first",
        "message": {"type": "message.send", "payload": payload},
    });
    let heard = show(include_str!("../../clients/flow.html"), &task).await;
    assert_eq!(heard[0], json!({"type": "pong"}), "{heard}");
    assert_eq!(heard[1]["type"], "message.delivered");
    assert_eq!(heard[1]["payload"]["originator"], originator);
    assert_eq!(flow::text(&heard[2]), "you said event attachment");
}

/// Shows a page, whose task stands in its fragment; comes back with what it posts.
pub async fn show(page: &'static str, task: &Value) -> Value {
    browse(vec![("/", page.to_owned())], task).await
}

/// Opens the page `/` of these files in a browser, with a task in its fragment; what it posts.
pub async fn browse(files: Vec<(&'static str, String)>, task: &Value) -> Value {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let site = listener.local_addr().unwrap();
    let (told, mut results) = mpsc::channel(1);
    let serving = tokio::spawn(serve(listener, files.into(), told));
    let task = percent_encoding::utf8_percent_encode(
        &task.to_string(),
        percent_encoding::NON_ALPHANUMERIC,
    )
    .to_string();
    let profile = tempfile::tempdir().unwrap();
    let data = format!("--user-data-dir={}", profile.path().join("data").display());
    let url = format!("http://{site}/#{task}");
    let args = [&FLAGS[..], &[&data, &url]].concat();
    // Its helpers belong to its process group and end with it.
    let _browser = Process::start("chromium", &args, &[], &profile.path().join("log"));
    let result = tokio::time::timeout(PATIENCE * 2, results.recv()).await;
    serving.abort();
    result.expect("the page says nothing").unwrap()
}

/// What a page is made of, by path.
type Files = Arc<[(&'static str, String)]>;

/// Serves the page, and takes what it posts.
async fn serve(listener: TcpListener, files: Files, told: mpsc::Sender<Value>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (files, told) = (files.clone(), told.clone());
        let served = http1::Builder::new().serve_connection(
            TokioIo::new(stream),
            service_fn(move |request| answer(request, files.clone(), told.clone())),
        );
        tokio::spawn(async move {
            // The browser may go away at any time.
            served.await.ok();
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    files: Files,
    told: mpsc::Sender<Value>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut file = None;
    if request.method() == Method::POST {
        let posted = request.into_body().collect().await.unwrap().to_bytes();
        // Only the first word counts.
        told.try_send(serde_json::from_slice(&posted).unwrap()).ok();
    } else {
        let path = request.uri().path();
        file = files.iter().find(|(name, _)| *name == path);
    }
    let text = file.map(|(_, text)| text.clone()).unwrap_or_default();
    let kind = match file {
        Some((name, _)) if name.ends_with(".js") => "text/javascript; charset=utf-8",
        _ => "text/html; charset=utf-8",
    };
    let mut response = Response::new(Full::from(text));
    let kind = hyper::header::HeaderValue::from_static(kind);
    response.headers_mut().insert("content-type", kind);
    Ok(response)
}

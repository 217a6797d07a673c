//! The admin address: `/healthz`, `/readyz`, `/metrics`, answered by a thread of its own so that
//! they answer under any load.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Map, Value};
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::sync::{Semaphore, oneshot};
use tokio_util::task::TaskTracker;

use super::http;
use crate::context::Context;
use crate::dialect::http::Answer;
use crate::observe;

/// Connections that are served at once; more wait in the system's queue.
const CONNECTIONS: usize = 64;
/// A client that sends no request for this long is let go.
const IDLE: Duration = Duration::from_secs(10);
/// Between two tries when the system has no socket to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The bound address, not served yet.
pub struct Admin {
    listener: TcpListener,
    address: SocketAddr,
}

impl Admin {
    /// Binds the address; port 0 lets the system choose.
    pub fn bind(address: SocketAddr) -> io::Result<Admin> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok(Admin { listener, address })
    }

    /// Where it is bound.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves on a thread of its own until [`Context::stop`] is cancelled.
    pub fn serve(self, context: &Context) {
        let page = Arc::new(Page {
            context: context.clone(),
            bound: self.address.ip(),
        });
        // A thread that the main runtime does not wait for: were it told to end at once, it could.
        let (end, ended) = oneshot::channel::<()>();
        let listener = self.listener;
        let thread = std::thread::Builder::new().name("admin".into());
        let started = thread.spawn(move || {
            // Dropping its runtime at the end lets go of whoever is still connected.
            let served = Builder::new_current_thread()
                .enable_all()
                .build()
                .and_then(|runtime| runtime.block_on(until_stopped(listener, page)));
            if let Err(error) = served {
                tracing::error!(%error, "the admin address is not served");
            }
            drop(end);
        });
        match started {
            // Nothing is ever sent: the wait is over when the thread is.
            Ok(_detached) => {
                context.background.spawn(async { ended.await.ok() });
            }
            Err(error) => tracing::error!(%error, "the admin address is not served"),
        }
    }
}

async fn until_stopped(listener: TcpListener, page: Arc<Page>) -> io::Result<()> {
    let stop = page.context.stop.clone();
    tokio::select! {
        () = stop.cancelled() => Ok(()),
        Err(error) = accept(listener, page) => Err(error),
    }
}

async fn accept(listener: TcpListener, page: Arc<Page>) -> io::Result<Infallible> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    // Not the context's tasks: the drain, which waits for those, is to be seen here.
    let tasks = TaskTracker::new();
    loop {
        let Ok(place) = places.clone().acquire_owned().await else {
            return Err(io::ErrorKind::Other.into()); // the semaphore is never closed
        };
        match listener.accept().await {
            Ok((stream, _peer)) => {
                let page = page.clone();
                tasks.spawn(async move {
                    talk(stream, page).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::debug!(%error, "the admin address cannot accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn talk(stream: TcpStream, page: Arc<Page>) {
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let answer = page.answer(
            request.method().as_str(),
            request.uri().path(),
            host_of(&request).as_deref(),
        );
        async { Ok::<hyper::Response<Full<Bytes>>, Infallible>(http::write(answer)) }
    });
    let talking = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = talking {
        tracing::debug!(%error, "an admin connection broke");
    }
}

/// The host that the client believes to talk to: of an absolute target, else of `Host`.
fn host_of(request: &hyper::Request<hyper::body::Incoming>) -> Option<String> {
    if let Some(host) = request.uri().host() {
        return Some(host.to_owned());
    }
    let host = request.headers().get(hyper::header::HOST)?.to_str().ok()?;
    Some(host.to_owned())
}

/// What is answered, without I/O.
struct Page {
    context: Context,
    bound: IpAddr,
}

impl Page {
    fn answer(&self, verb: &str, path: &str, host: Option<&str>) -> Answer {
        if !host.is_some_and(|host| is_ours(host, self.bound)) {
            // A page on the web that pointed its own name at this address gets nothing.
            return text(
                403,
                "this Host is not served here; use the address itself\n",
            );
        }
        if !matches!(verb, "GET" | "HEAD") {
            return text(405, "only GET\n").with("allow", "GET, HEAD");
        }
        match path {
            "/healthz" => json(200, &serde_json::json!({ "status": "ok" })),
            "/readyz" => self.readiness(),
            "/metrics" => {
                let context = &self.context;
                context
                    .metrics
                    .set_in_flight(context.dispatcher.in_flight());
                for queue in context.spool.stats() {
                    let (messages, bytes) = (queue.messages, queue.bytes);
                    context.metrics.set_spool(&queue.queue, messages, bytes);
                }
                Answer::new(200, observe::CONTENT_TYPE, context.metrics.render())
            }
            _ => text(404, "try /healthz, /readyz or /metrics\n"),
        }
    }

    /// 200 once the listeners are bound, which they are before this is served, until the drain.
    fn readiness(&self) -> Answer {
        let links: Map<String, Value> = self
            .context
            .links
            .all()
            .iter()
            .map(|(bus, state)| (bus.to_string(), state.as_str().into()))
            .collect();
        let (status, word) = if self.context.drain.is_cancelled() {
            (503, "draining")
        } else {
            (200, "ready")
        };
        json(
            status,
            &serde_json::json!({ "status": word, "links": links }),
        )
    }
}

fn text(status: u16, text: &'static str) -> Answer {
    Answer::new(status, "text/plain; charset=utf-8", text)
}

fn json(status: u16, value: &Value) -> Answer {
    Answer::new(status, "application/json", value.to_string()).with("cache-control", "no-store")
}

/// Whether a `Host` can only mean this process: a loopback name, a loopback address or the bound
/// one. Where every address is bound, any address will do; a name will not.
fn is_ours(host: &str, bound: IpAddr) -> bool {
    let name = without_port(host);
    if let Ok(address) = name.parse::<IpAddr>() {
        return address.is_loopback() || address == bound || bound.is_unspecified();
    }
    let name = name.to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

fn without_port(host: &str) -> &str {
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split(']').next().unwrap_or_default();
    }
    match host.rsplit_once(':') {
        Some((name, _port)) if !name.contains(':') => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_on_the_web_is_not_ours() {
        let bound: IpAddr = "10.0.0.5".parse().unwrap();
        for host in [
            "",
            "evil.example",
            "evil.example:9464",
            "localhost.evil.example",
            "127.0.0.1.nip.io",
            "10.0.0.6",
            "10.0.0.5.evil",
            "localhost:80:80",
            "[::2]:9464",
        ] {
            assert!(!is_ours(host, bound), "{host}");
        }
        for host in [
            "localhost",
            "LocalHost:9464",
            "callway.localhost:1",
            "127.0.0.1:9464",
            "[::1]:9464",
            "10.0.0.5:9464",
        ] {
            assert!(is_ours(host, bound), "{host}");
        }
        assert!(is_ours("192.168.1.7:9464", "0.0.0.0".parse().unwrap()));
        assert!(!is_ours("evil.example", "0.0.0.0".parse().unwrap()));
    }
}

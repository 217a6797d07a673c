//! The WebSockets of one service.
//!
//! Each is a future of the service's life, which ends with it. What a server sends waits in its
//! connection until the service takes it; what is sent to it waits here, within a bound.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::Ground;
use super::tempo::Tempo;
use crate::call::{Fault, Kind};
use crate::client::{Heard, Outbound};
use crate::script::reach;

/// Sockets of one service.
const MAX_SOCKETS: usize = 16;
/// Sockets that are opened in a second: each may be a look-up of a name that cannot be taken back.
const MAX_OPENED: u32 = 32;
/// Sockets, those that say goodbye, and news that wait for room.
const MAX_RUNNING: usize = 256;
/// Messages for one socket that wait, whatever their size.
const WAITING: usize = 1024;
/// News of all sockets that wait for the service.
const NEWS: usize = 16;
/// How long what was sent to a socket may take to get away after it was removed.
const FAREWELL: Duration = Duration::from_secs(1);

const NORMAL: u16 = 1000;
const GOING_AWAY: u16 = 1001;

/// What happened to a socket, in the words of its event.
pub(super) struct News {
    number: u64,
    pub(super) title: Arc<str>,
    pub(super) kind: &'static str,
    pub(super) message: String,
    pub(super) code: String,
}

impl News {
    fn is_last(&self) -> bool {
        matches!(self.kind, "OnClose" | "OnError")
    }
}

/// All of them.
pub(super) struct Sockets {
    ground: Arc<Ground>,
    running: FuturesUnordered<BoxFuture<'static, ()>>,
    open: HashMap<Arc<str>, Handle>,
    tell: mpsc::Sender<News>,
    news: mpsc::Receiver<News>,
    last: u64,
    opened: Tempo,
    /// The service ends: say so to the servers.
    leaving: Arc<AtomicBool>,
}

struct Handle {
    number: u64,
    texts: mpsc::Sender<String>,
    waiting: Arc<AtomicUsize>,
    gone: CancellationToken,
}

impl Sockets {
    pub(super) fn new(ground: &Arc<Ground>) -> Sockets {
        let (tell, news) = mpsc::channel(NEWS);
        Sockets {
            ground: ground.clone(),
            running: FuturesUnordered::new(),
            open: HashMap::new(),
            tell,
            news,
            last: 0,
            opened: Tempo::new(MAX_OPENED),
            leaving: Arc::default(),
        }
    }

    /// Opens a socket, in place of the one with this title.
    pub(super) fn open(&mut self, title: String, url: String, headers: Vec<(String, String)>) {
        self.remove(&title);
        if self.running.len() >= MAX_RUNNING {
            self.ground.context.metrics.limit_reached("service_sockets");
            return;
        }
        self.last += 1;
        let (number, title) = (self.last, Arc::<str>::from(title));
        let (texts, waits) = mpsc::channel(WAITING);
        let handle = Handle {
            number,
            texts,
            waiting: Arc::default(),
            gone: CancellationToken::new(),
        };
        let one = One {
            ground: self.ground.clone(),
            number,
            title: title.clone(),
            tell: self.tell.clone(),
            waiting: handle.waiting.clone(),
        };
        let (gone, leaving) = (handle.gone.clone(), self.leaving.clone());
        let full = self.open.len() >= MAX_SOCKETS || !self.opened.take();
        self.open.insert(title, handle);
        if full {
            self.ground.context.metrics.limit_reached("service_sockets");
            let message = format!(
                "a service has at most {MAX_SOCKETS} sockets, and opens {MAX_OPENED} in a second"
            );
            let refusal = async move { one.tell("OnError", message, String::new()).await };
            return self.running.push(refusal.boxed());
        }
        let run = async move { one.run(&url, &headers, waits, gone, &leaving).await };
        self.running.push(run.boxed());
    }

    /// Sends a text. Says whether there is such a socket.
    pub(super) fn send(&mut self, title: &str, text: String) -> bool {
        let Some(handle) = self.open.get(title) else {
            return false;
        };
        if handle.gone.is_cancelled() {
            return true; // it is told that too much waited
        }
        let waiting = handle.waiting.fetch_add(text.len(), Ordering::Relaxed) + text.len();
        let limit = self.ground.context.config.limits.send_queue.max(text.len());
        if waiting <= limit && handle.texts.try_send(text).is_ok() {
            return true;
        }
        self.ground
            .context
            .metrics
            .limit_reached("service_socket_queue");
        handle.gone.cancel();
        let news = News {
            number: handle.number,
            title: title.into(),
            kind: "OnError",
            message: "too much waits to be sent to this server; see limits.send_queue".into(),
            code: String::new(),
        };
        let tell = self.tell.clone();
        // The service is over if nobody hears.
        let tell = async move { tell.send(news).await.unwrap_or_default() };
        self.running.push(tell.boxed());
        true
    }

    /// Closes a socket and forgets it, if there is one. Nothing more is told of it.
    pub(super) fn remove(&mut self, title: &str) {
        if let Some(handle) = self.open.remove(title) {
            handle.gone.cancel();
        }
    }

    /// Lets them go on, and takes the next news of those that were not removed meanwhile, if there
    /// is room for it. Safe to drop and ask again.
    pub(super) async fn next(&mut self, room: bool) -> News {
        loop {
            let news = tokio::select! {
                Some(()) = self.running.next(), if !self.running.is_empty() => continue,
                Some(news) = self.news.recv(), if room => news,
                () = std::future::pending() => continue,
            };
            let current = self.open.get(&news.title).map(|handle| handle.number);
            if current != Some(news.number) {
                continue;
            }
            if news.is_last() {
                self.open.remove(&news.title);
            }
            return news;
        }
    }

    /// Says goodbye to all servers.
    pub(super) async fn leave(&mut self) {
        self.leaving.store(true, Ordering::Relaxed);
        self.open
            .drain()
            .for_each(|(_, handle)| handle.gone.cancel());
        self.news.close();
        while self.running.next().await.is_some() {}
    }
}

/// One socket as it lives.
struct One {
    ground: Arc<Ground>,
    number: u64,
    title: Arc<str>,
    tell: mpsc::Sender<News>,
    waiting: Arc<AtomicUsize>,
}

impl One {
    async fn tell(&self, kind: &'static str, message: String, code: String) {
        let news = News {
            number: self.number,
            title: self.title.clone(),
            kind,
            message,
            code,
        };
        // The service is over if nobody hears.
        self.tell.send(news).await.unwrap_or_default();
    }

    async fn run(
        self,
        url: &str,
        headers: &[(String, String)],
        mut texts: mpsc::Receiver<String>,
        gone: CancellationToken,
        leaving: &AtomicBool,
    ) {
        let connected = tokio::select! {
            connected = self.connect(url, headers) => connected,
            () = gone.cancelled() => return,
        };
        let mut socket = match connected {
            Ok(socket) => socket,
            Err(fault) => {
                tracing::warn!(
                    service = self.ground.name(),
                    title = &*self.title,
                    why = &*fault.message,
                    "a socket of a service could not be opened"
                );
                return self
                    .tell("OnError", fault.message.into_owned(), String::new())
                    .await;
            }
        };
        let ended = tokio::select! {
            ended = self.talk(&mut socket, &mut texts) => ended,
            () = gone.cancelled() => {
                let leaving = leaving.load(Ordering::Relaxed);
                // What the script sent before it removed the socket goes out first.
                let rest = async {
                    while let Ok(text) = texts.try_recv() {
                        socket.send(text).await?;
                    }
                    Ok::<(), Fault>(())
                };
                // A server that takes no more is left with what it has.
                timeout(FAREWELL, rest).await.ok();
                return socket.close(if leaving { GOING_AWAY } else { NORMAL }).await;
            }
        };
        match ended {
            Ok((code, reason)) => self.tell("OnClose", reason, code.to_string()).await,
            Err(fault) => {
                self.tell("OnError", fault.message.into_owned(), String::new())
                    .await
            }
        }
    }

    async fn connect(&self, url: &str, headers: &[(String, String)]) -> Result<Outbound, Fault> {
        let what = "app.createWebsocket";
        let invalid = |why: String| Fault::new(Kind::InvalidParams, format!("{what}: {why}"));
        let url = Url::parse(url).map_err(|error| invalid(error.to_string()))?;
        if !matches!(url.scheme(), "ws" | "wss") {
            return Err(invalid("a WebSocket has a ws:// or wss:// URL".into()));
        }
        self.ground.reach.check(what, &url)?;
        let limits = &self.ground.context.config.limits;
        let connect = async {
            let addresses = reach::addresses(&url).await.map_err(|error| {
                Fault::new(Kind::Unavailable, format!("cannot connect: {error}"))
            })?;
            let trust = &self.ground.trust;
            Outbound::connect(&url, &addresses, headers, trust, limits.message).await
        };
        timeout(limits.handshake, connect)
            .await
            .unwrap_or_else(|_| {
                let message = format!("no answer within {:?}", limits.handshake);
                Err(Fault::new(Kind::Timeout, message))
            })
    }

    /// Until the server closes: code and reason.
    async fn talk(
        &self,
        socket: &mut Outbound,
        texts: &mut mpsc::Receiver<String>,
    ) -> Result<(u16, String), Fault> {
        self.tell("OnOpen", String::new(), String::new()).await;
        let limits = &self.ground.context.config.limits;
        let unanswered = || Fault::new(Kind::Timeout, "the server does not answer any more");
        let mut look = Instant::now() + limits.ping;
        let mut asked = false;
        loop {
            tokio::select! {
                Some(text) = texts.recv() => {
                    self.waiting.fetch_sub(text.len(), Ordering::Relaxed);
                    let sent = timeout(limits.pong, socket.send(text)).await;
                    sent.map_err(|_| unanswered())??;
                }
                heard = socket.next() => {
                    (look, asked) = (Instant::now() + limits.ping, false);
                    match heard? {
                        Heard::Text(text) => self.tell("OnMessage", text, String::new()).await,
                        Heard::Alive => {}
                        Heard::Closed(code, reason) => return Ok((code, reason)),
                    }
                }
                () = sleep_until(look) => {
                    if std::mem::replace(&mut asked, true) {
                        return Err(unanswered());
                    }
                    let sent = timeout(limits.pong, socket.ping()).await;
                    sent.map_err(|_| unanswered())??;
                    look = Instant::now() + limits.pong;
                }
            }
        }
    }
}

//! A TCP proxy whose connections a test can cut and hold, in front of a broker or of callway.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::observer::{Observer, Watch};

/// A port that leads to another one. It ends on drop, with all its connections.
pub struct Proxy {
    /// Where it listens, on 127.0.0.1.
    pub port: u16,
    control: Arc<Control>,
    accepting: JoinHandle<()>,
}

struct Control {
    target: u16,
    observer: Option<Arc<Observer>>,
    /// Changes with each cut.
    cuts: watch::Sender<()>,
    held: watch::Sender<bool>,
    open: AtomicUsize,
}

impl Proxy {
    /// In front of a local port.
    pub async fn start(target: u16) -> Proxy {
        Proxy::launch(target, None).await
    }

    /// In front of an MQTT broker, with somebody who reads along.
    pub async fn observed(target: u16, observer: Observer) -> Proxy {
        Proxy::launch(target, Some(Arc::new(observer))).await
    }

    async fn launch(target: u16, observer: Option<Arc<Observer>>) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let control = Arc::new(Control {
            target,
            observer,
            cuts: watch::Sender::default(),
            held: watch::Sender::default(),
            open: AtomicUsize::default(),
        });
        let accepting = tokio::spawn(accept(listener, control.clone()));
        Proxy {
            port,
            control,
            accepting,
        }
    }

    /// Ends all connections with a reset; says how many there were.
    pub fn cut(&self) -> usize {
        self.control.cuts.send_replace(());
        self.control.open.load(Ordering::Relaxed)
    }

    /// Forwards nothing any more, in both directions; new connections are accepted.
    pub fn hold(&self) {
        self.control.held.send_replace(true);
    }

    /// Forwards what was held, and what comes.
    pub fn release(&self) {
        self.control.held.send_replace(false);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

async fn accept(listener: TcpListener, control: Arc<Control>) {
    while let Ok((client, _)) = listener.accept().await {
        let control = control.clone();
        tokio::spawn(async move {
            control.open.fetch_add(1, Ordering::Relaxed);
            // Either end may go away at any time; then the other one learns of it.
            carry(client, &control).await.ok();
            control.open.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

/// Carries bytes between the two until one closes, or the connection is cut.
async fn carry(mut client: TcpStream, control: &Control) -> io::Result<()> {
    let mut cuts = control.cuts.subscribe();
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", control.target)).await else {
        return client.set_zero_linger();
    };
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let watch = control.observer.as_ref().map(|observer| {
        let watch = Watch::new(observer.clone());
        Mutex::new(watch)
    });
    let client_said = |bytes: &[u8]| {
        if let Some(watch) = &watch {
            watch.lock().client_said(bytes);
        }
    };
    let server_said = |bytes: &[u8]| {
        if let Some(watch) = &watch {
            watch.lock().broker_said(bytes);
        }
    };
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    tokio::select! {
        over = pump(from_client, to_server, &control.held, client_said) => over,
        over = pump(from_server, to_client, &control.held, server_said) => over,
        _ = cuts.changed() => {
            // Closing without lingering is a reset.
            client.set_zero_linger()?;
            server.set_zero_linger()
        }
    }
}

async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    held: &watch::Sender<bool>,
    said: impl Fn(&[u8]),
) -> io::Result<()> {
    let mut held = held.subscribe();
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            return Ok(());
        }
        said(&buffer[..length]);
        held.wait_for(|held| !held)
            .await
            .map_err(io::Error::other)?;
        to.write_all(&buffer[..length]).await?;
    }
}

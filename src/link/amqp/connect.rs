//! Opens one connection: TCP, TLS and login, each under the same deadline, and nothing left behind
//! where a broker accepts the connection and then says no more.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::pin::Pin;
use std::time::Duration;

use futures_util::Stream;
use lapin::tcp::RustlsConnector;
use lapin::uri::{AMQPAuthority, AMQPScheme, AMQPUri, AMQPUserInfo};
use lapin::{AsyncTcpStream, Channel, Connection, ConnectionProperties, Event};
use parking_lot::Mutex;
use percent_encoding::percent_decode_str;
use tokio::time::timeout;

use crate::auth::Secret;
use crate::call::Fault;
use crate::client::Trust;
use crate::config::AmqpBus;

/// For everything between the first packet and a usable channel.
const CONNECT: Duration = Duration::from_secs(5);
/// For one answer of the broker on a connection that stands.
pub(super) const ANSWER: Duration = Duration::from_secs(5);
/// Seconds between heartbeats; the library ends a connection after twice that without a frame.
const HEARTBEAT: u16 = 5;
/// Bytes of a frame. The library keeps buffers of 32 frames per connection and direction.
const FRAME: u32 = 32 * 1024;

/// Where a broker is and who logs in.
#[derive(Clone)]
pub struct Server {
    /// Host name or address.
    pub host: String,
    /// 5672, or 5671 with TLS, unless the URL says otherwise.
    pub port: u16,
    /// `amqps://`: whose certificates are believed.
    pub tls: Option<Trust>,
    /// The virtual host.
    pub vhost: String,
    /// User name and password.
    pub login: (String, Secret),
}

impl Server {
    /// The server of a `[bus.NAME]` table. Reads its `ca`, so asked anew for each connection.
    pub fn of(bus: &AmqpBus) -> Result<Server, String> {
        let trust = || Trust::load(bus.ca.as_deref());
        let server = Server::at(&bus.url, bus.login.clone(), trust);
        server.map_err(|fault| fault.message.into_owned())
    }

    /// The server of an `amqp://` or `amqps://` URL. Its path names the virtual host,
    /// percent-encoded; none, or a bare `/`, is the virtual host `/`.
    pub fn at(
        url: &url::Url,
        login: (String, Secret),
        trust: impl FnOnce() -> Result<Trust, Fault>,
    ) -> Result<Server, Fault> {
        let tls = (url.scheme() == "amqps").then(trust).transpose()?;
        let path = url.path().strip_prefix('/').unwrap_or_default();
        let vhost = percent_decode_str(path).decode_utf8_lossy().into_owned();
        let host = url.host_str().unwrap_or("localhost");
        Ok(Server {
            // An IPv6 address stands in brackets only within a URL.
            host: host.trim_matches(['[', ']']).into(),
            port: url
                .port()
                .unwrap_or(if tls.is_some() { 5671 } else { 5672 }),
            tls,
            vhost: if vhost.is_empty() { "/".into() } else { vhost },
            login,
        })
    }

    fn uri(&self) -> AMQPUri {
        let mut uri = AMQPUri {
            scheme: AMQPScheme::AMQP,
            authority: AMQPAuthority {
                userinfo: AMQPUserInfo {
                    username: self.login.0.clone(),
                    password: self.login.1.expose().to_owned(),
                },
                host: self.host.clone(),
                port: self.port,
            },
            vhost: self.vhost.clone(),
            query: Default::default(),
        };
        uri.query.heartbeat = Some(HEARTBEAT);
        uri.query.frame_max = Some(FRAME);
        uri
    }
}

/// An open connection. Dropping it cuts the socket: the library's thread ends even if the broker
/// never speaks again.
pub(super) struct Open {
    pub connection: Connection,
    _cutoff: Cutoff,
}

/// What the library tells about a connection. Must be read: its queue has no bound.
pub(super) type Events = Pin<Box<dyn Stream<Item = Event> + Send>>;

impl Open {
    /// A new channel on this connection.
    pub async fn channel(&self) -> Result<Channel, String> {
        answer("channel", self.connection.create_channel()).await
    }

    /// Takes leave; a broker that does not answer is left without.
    pub async fn close(self) {
        let goodbye = self.connection.close(200, "bye".into());
        if timeout(Duration::from_secs(1), goodbye).await.is_err() {
            tracing::debug!("the broker did not take leave in time");
        }
    }
}

/// Waits for one answer of the broker; an error says what was asked for.
pub(super) async fn answer<T>(
    what: &str,
    asked: impl Future<Output = lapin::Result<T>>,
) -> Result<T, String> {
    match timeout(ANSWER, asked).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(format!("{what}: {error}")),
        Err(_) => Err(format!("{what}: no answer within {ANSWER:?}")),
    }
}

/// Ends a socket that belongs to the library.
struct Cutoff(OwnedFd);

impl Drop for Cutoff {
    fn drop(&mut self) {
        // Fails only if the connection is gone already.
        rustix::net::shutdown(&self.0, rustix::net::Shutdown::Both).unwrap_or_default();
    }
}

/// Connects and logs in, as `name` in the broker's list of connections.
pub(super) async fn open(server: &Server, name: &str) -> Result<(Open, Events), String> {
    let tried = timeout(CONNECT, connect(server, name));
    tried
        .await
        .unwrap_or_else(|_| Err(format!("no connection within {CONNECT:?}")))
}

async fn connect(server: &Server, name: &str) -> Result<(Open, Events), String> {
    let runtime = lapin::runtime::default_runtime().map_err(|e| e.to_string())?;
    let addresses = tokio::net::lookup_host((server.host.as_str(), server.port));
    let addresses: Vec<_> = addresses
        .await
        .map_err(|e| format!("{}: {e}", server.host))?
        .collect();
    let mut last = format!("{}: no address", server.host);
    for address in addresses {
        let stream = match AsyncTcpStream::connect(&runtime, address).await {
            Ok(stream) => stream,
            Err(error) => {
                last = format!("{address}: {error}");
                continue;
            }
        };
        let AsyncTcpStream::Plain(plain) = &stream else {
            return Err("no plain stream".into());
        };
        let fd = plain.get_ref().as_fd().try_clone_to_owned();
        let cutoff = Cutoff(fd.map_err(|e| e.to_string())?);
        let stream = match &server.tls {
            Some(trust) => {
                let connector = RustlsConnector::from(trust.config());
                let upgraded = stream.into_rustls(&connector, &server.host).await;
                upgraded.map_err(|e| format!("TLS: {e}"))?
            }
            None => stream,
        };
        // The library would open the socket itself, in a thread that no deadline ends.
        let stream = Mutex::new(Some(stream));
        let connection = Connection::connector(
            server.uri(),
            runtime,
            async move |_, _| {
                let stream = stream.lock().take();
                stream.ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected).into())
            },
            ConnectionProperties::default().with_connection_name(name.into()),
        );
        let connection = connection.await.map_err(|e| e.to_string())?;
        let events = Box::pin(connection.events_listener());
        let open = Open {
            connection,
            _cutoff: cutoff,
        };
        return Ok((open, events));
    }
    Err(last)
}

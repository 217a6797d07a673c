//! Opens one connection: TCP, TLS and login, each under the same deadline, and nothing left behind
//! where a broker accepts the connection and then says no more.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::Stream;
use lapin::tcp::RustlsConnector;
use lapin::uri::{AMQPAuthority, AMQPScheme, AMQPUri, AMQPUserInfo};
use lapin::{AsyncTcpStream, Channel, Connection, ConnectionProperties, Event};
use parking_lot::Mutex;
use percent_encoding::percent_decode_str;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use tokio::time::timeout;

use crate::auth::Secret;
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
#[derive(Clone, Debug)]
pub struct Server {
    /// Host name or address.
    pub host: String,
    /// 5672, or 5671 with TLS, unless the URL says otherwise.
    pub port: u16,
    /// `amqps://`.
    pub tls: bool,
    /// PEM file with the authorities of the broker's certificate; the system's otherwise.
    pub ca: Option<PathBuf>,
    /// The virtual host.
    pub vhost: String,
    /// User name and password.
    pub login: (String, Secret),
}

impl Server {
    /// The server of a `[bus.NAME]` table.
    pub fn of(bus: &AmqpBus) -> Server {
        Server::at(&bus.url, bus.ca.clone(), bus.login.clone())
    }

    /// The server of an `amqp://` or `amqps://` URL. Its path names the virtual host,
    /// percent-encoded; none, or a bare `/`, is the virtual host `/`.
    pub fn at(url: &url::Url, ca: Option<PathBuf>, login: (String, Secret)) -> Server {
        let tls = url.scheme() == "amqps";
        let path = url.path().trim_start_matches('/');
        let vhost = percent_decode_str(path).decode_utf8_lossy().into_owned();
        Server {
            host: url.host_str().unwrap_or("localhost").into(),
            port: url.port().unwrap_or(if tls { 5671 } else { 5672 }),
            tls,
            ca,
            vhost: if vhost.is_empty() { "/".into() } else { vhost },
            login,
        }
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

    fn tls_connector(&self) -> io::Result<RustlsConnector> {
        let mut roots = rustls::RootCertStore::empty();
        match &self.ca {
            Some(file) => {
                let certificates = CertificateDer::pem_file_iter(file)
                    .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                    .map_err(|e| io::Error::other(format!("{}: {e}", file.display())))?;
                roots.add_parsable_certificates(certificates);
            }
            None => {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(RustlsConnector::from(config))
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
        let stream = if server.tls {
            let connector = server.tls_connector().map_err(|e| e.to_string())?;
            let upgraded = stream.into_rustls(&connector, &server.host).await;
            upgraded.map_err(|e| format!("TLS: {e}"))?
        } else {
            stream
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

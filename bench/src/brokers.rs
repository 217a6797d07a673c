//! mosquitto, RabbitMQ, the responders and the bare echo, each on a port of its own.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};

use crate::Failure;
use crate::process::Process;

/// What callway is compared with, and asks.
pub struct Peer {
    /// Where it listens, on 127.0.0.1.
    pub port: u16,
    /// The responder behind a broker. It ends first, so that it does not complain of its end.
    _responder: Option<Process>,
    /// The process.
    pub process: Process,
}

/// A port that was free just now.
pub async fn free_port() -> Result<u16, Failure> {
    Ok(TcpListener::bind("127.0.0.1:0").await?.local_addr()?.port())
}

/// Waits until something listens.
pub async fn listening(port: u16, patience: Duration) -> Result<(), Failure> {
    let end = Instant::now() + patience;
    while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
        if Instant::now() > end {
            return Err(format!("nothing listens on port {port} after {patience:?}").into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// The bare WebSocket echo.
pub async fn echo() -> Result<Peer, Failure> {
    let port = free_port().await?;
    let process = Process::role(&["echo".into(), port.to_string()])?;
    listening(port, Duration::from_secs(5)).await?;
    Ok(Peer {
        port,
        process,
        _responder: None,
    })
}

/// What `docs/brokers.md` says that mosquitto should be set to.
pub const RECOMMENDED: &str =
    "set_tcp_nodelay true\nmax_queued_messages 0\nmax_inflight_messages 1000\n";

/// mosquitto with these settings beside its own, and a responder.
pub async fn mosquitto(directory: &Path, name: &str, settings: &str) -> Result<Peer, Failure> {
    let port = free_port().await?;
    let config = directory.join(format!("{name}.conf"));
    let text =
        format!("listener {port} 127.0.0.1\nallow_anonymous true\nlog_type error\n{settings}");
    fs::write(&config, text)?;
    let program = if Path::new("/usr/sbin/mosquitto").exists() {
        "/usr/sbin/mosquitto"
    } else {
        "mosquitto"
    };
    let process = Process::start(
        Command::new(program).arg("-c").arg(&config),
        &directory.join(format!("{name}.log")),
    )?;
    listening(port, Duration::from_secs(10)).await?;
    let responder = Process::role(&["respond-mqtt".into(), port.to_string()])?;
    Ok(Peer {
        port,
        process,
        _responder: Some(responder),
    })
}

/// A RabbitMQ node with its own name, directory and port mapper, and a responder.
pub async fn rabbitmq(directory: &Path) -> Result<Peer, Failure> {
    let (port, distribution, mapper) = (free_port().await?, free_port().await?, free_port().await?);
    let home = directory.join("rabbitmq");
    fs::create_dir_all(&home)?;
    fs::write(
        home.join("rabbitmq.conf"),
        format!("listeners.tcp.1 = 127.0.0.1:{port}\ndisk_free_limit.absolute = 10MB\n"),
    )?;
    fs::write(home.join("plugins"), "[].\n")?;
    let inner = "/usr/lib/rabbitmq/bin/rabbitmq-server";
    let program = if Path::new(inner).exists() {
        inner // the one in the path changes to the system broker's user and home
    } else {
        "rabbitmq-server"
    };
    let mut command = Command::new("sh");
    // The port mapper runs in the node's process group, so that it ends with it.
    command
        .args(["-c", "epmd -port \"$ERL_EPMD_PORT\" & exec \"$0\"", program])
        .env("HOME", &home)
        .env("ERL_EPMD_PORT", mapper.to_string())
        .env("ERL_EPMD_ADDRESS", "127.0.0.1")
        .env("RABBITMQ_NODENAME", format!("bench{port}@localhost"))
        .env("RABBITMQ_DIST_PORT", distribution.to_string())
        .env("RABBITMQ_MNESIA_BASE", home.join("mnesia"))
        .env("RABBITMQ_LOG_BASE", home.join("log"))
        .env("RABBITMQ_CONFIG_FILE", home.join("rabbitmq.conf"))
        .env("RABBITMQ_ENABLED_PLUGINS_FILE", home.join("plugins"))
        .env("RABBITMQ_CONF_ENV_FILE", "/dev/null");
    let process = Process::start(&mut command, &directory.join("rabbitmq.log"))?;
    listening(port, Duration::from_secs(90)).await?;
    let responder = Process::role(&["respond-amqp".into(), port.to_string()])?;
    Ok(Peer {
        port,
        process,
        _responder: Some(responder),
    })
}

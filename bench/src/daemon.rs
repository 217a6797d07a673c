//! callway as it is shipped: authentication, grants, limits, deadlines, metrics, log at info.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::Failure;
use crate::brokers::free_port;
use crate::calls::DEFAULT_MQTT;
use crate::load::{self, Load};
use crate::mqtt::TOPICS;
use crate::process::Process;
use crate::ws::{self, Jsonrpc};

/// A running callway.
pub struct Daemon {
    /// Its WebSocket and HTTP port.
    pub port: u16,
    /// The process; its script hosts are below it.
    pub process: Process,
    /// Where it keeps what must survive.
    pub state: PathBuf,
    /// Start to first call answered.
    pub started_in: Duration,
    token: String,
    admin: u16,
}

/// What its configuration holds beside the listener and the token.
#[derive(Default)]
pub struct Setup {
    /// Port of the MQTT broker.
    pub mqtt: Option<u16>,
    /// Port of the MQTT broker with default settings.
    pub default_mqtt: Option<u16>,
    /// Port of the AMQP broker.
    pub amqp: Option<u16>,
    /// Rows of the routing table that are never called.
    pub more_routes: usize,
    /// Rows as they are written.
    pub more_rows: String,
}

impl Daemon {
    /// Starts it in a directory of its own, and waits until it answered a call.
    pub async fn start(directory: PathBuf, setup: &Setup) -> Result<Daemon, Failure> {
        fs::create_dir_all(directory.join("scripts"))?;
        fs::write(directory.join("scripts/echo.js"), "return request.body;\n")?;
        fs::write(directory.join("scripts/echo.lua"), "return request.body\n")?;
        let (port, admin) = (free_port().await?, free_port().await?);
        let secret = callway::auth::new_secret()?;
        let token = secret.expose().to_owned();
        let config = directory.join("callway.toml");
        fs::write(&config, configuration((port, admin), &token, setup))?;
        let begin = Instant::now();
        let process = Process::start(
            Command::new(program()?)
                .arg("run")
                .arg("--config")
                .arg(&config)
                .env_remove("CALLWAY_CONFIG")
                .env_remove("STATE_DIRECTORY"),
            &directory.join("log"),
        )?;
        let mut daemon = Daemon {
            port,
            process,
            state: directory.join("callway.state"),
            started_in: Duration::ZERO,
            token,
            admin,
        };
        daemon
            .answered("bench/js")
            .await
            .map_err(|error| log_of(&directory, error))?;
        daemon.started_in = begin.elapsed();
        for (there, method) in [
            (setup.mqtt.is_some(), "bench/q1"),
            (setup.default_mqtt.is_some(), DEFAULT_MQTT),
            (setup.amqp.is_some(), "bench/amqp"),
        ] {
            if there {
                daemon
                    .answered(method)
                    .await
                    .map_err(|error| log_of(&directory, error))?;
            }
        }
        Ok(daemon)
    }

    /// An authenticated connection.
    pub async fn connect(&self) -> Result<TcpStream, Failure> {
        let authorization = format!("Authorization: Bearer {}\r\n", self.token);
        ws::connect(self.port, "/rpc", &authorization).await
    }

    /// The credential of all that the bench does.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// A figure from its `/metrics`, of all labels together.
    pub async fn metric(&self, name: &str) -> Result<f64, Failure> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.admin)).await?;
        let request = format!(
            "GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: close\r\n\r\n",
            self.admin
        );
        stream.write_all(request.as_bytes()).await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        if !text.contains(&format!("# TYPE {name} ")) {
            return Err(format!("callway has no metric {name}").into());
        }
        let lines = text.lines().filter_map(|line| line.strip_prefix(name));
        let figures = lines.filter(|rest| rest.starts_with(['{', ' ']));
        Ok(figures
            .filter_map(|rest| rest.rsplit(' ').next()?.parse::<f64>().ok())
            .sum())
    }

    /// Connections ready for a load on one method.
    pub async fn lanes(
        &self,
        method: &str,
        load: Load,
    ) -> Result<Vec<(TcpStream, Jsonrpc)>, Failure> {
        let mut lanes = Vec::new();
        for _ in 0..load.connections {
            lanes.push((self.connect().await?, Jsonrpc::new(method, load.in_flight)));
        }
        Ok(lanes)
    }

    /// Waits until a method answers once.
    async fn answered(&self, method: &str) -> Result<(), Failure> {
        let once = Load {
            connections: 1,
            in_flight: 1,
            time: Duration::from_millis(1),
            warm_up: Duration::ZERO,
        };
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            let tried = match self.lanes(method, once).await {
                Ok(lanes) => first_reply(lanes, once).await,
                Err(failure) => Err(failure),
            };
            match tried {
                Ok(()) => return Ok(()),
                Err(failure) if Instant::now() > end => return Err(failure),
                Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        }
    }
}

async fn first_reply(lanes: Vec<(TcpStream, Jsonrpc)>, load: Load) -> Result<(), Failure> {
    match load::run(lanes, load).await {
        Ok(_) => Ok(()),
        // One reply that came after the counted millisecond is a reply as well.
        Err(failure) if failure.to_string().starts_with("not one reply") => Ok(()),
        Err(failure) => Err(failure),
    }
}

fn log_of(directory: &Path, error: Failure) -> Failure {
    let log = fs::read_to_string(directory.join("log")).unwrap_or_default();
    format!("callway does not answer: {error}\n{log}").into()
}

fn program() -> Result<PathBuf, Failure> {
    let path = std::env::current_exe()?.with_file_name("callway");
    if !path.exists() {
        return Err(format!("{} is missing; use bench/run", path.display()).into());
    }
    Ok(path)
}

fn configuration((port, admin): (u16, u16), token: &str, setup: &Setup) -> String {
    let digest = callway::auth::digest(token);
    let mut text = format!(
        "[[listen]]\naddress = \"127.0.0.1:{port}\"\n\
         [[listen.endpoint]]\npath = \"/rpc\"\ndialect = \"jsonrpc\"\n\
         [admin]\naddress = \"127.0.0.1:{admin}\"\n\
         [cluster]\ninstance = \"bench\"\n\
         [scripts]\ndirectory = \"scripts\"\n\
         [[token]]\nname = \"bench\"\nsha256 = \"{digest}\"\ncall = [\"{{path...}}\"]\n\
         publish = [\"{{path...}}\"]\nsubscribe = [\"{{path...}}\"]\n\
         [[route]]\nmethod = \"bench/js\"\nscript = \"echo.js\"\n\
         [[route]]\nmethod = \"bench/lua\"\nscript = \"echo.lua\"\n"
    );
    if let Some(port) = setup.mqtt {
        text += &format!("[bus.field]\nurl = \"mqtt://127.0.0.1:{port}\"\n");
        for (qos, topic) in TOPICS.iter().enumerate() {
            text += &format!(
                "[[route]]\nmethod = \"{topic}\"\n\
                 mqtt = {{ bus = \"field\", topic = \"{topic}\", qos = {qos} }}\n"
            );
        }
    }
    if let Some(port) = setup.default_mqtt {
        text += &format!(
            "[bus.default]\nurl = \"mqtt://127.0.0.1:{port}\"\n\
             [[route]]\nmethod = \"{DEFAULT_MQTT}\"\n\
             mqtt = {{ bus = \"default\", topic = \"{}\" }}\n",
            TOPICS[1]
        );
    }
    if let Some(port) = setup.amqp {
        text += &format!(
            "[bus.office]\nurl = \"amqp://guest:guest@127.0.0.1:{port}/%2f\"\n\
             [[route]]\nmethod = \"bench/amqp\"\n\
             amqp = {{ bus = \"office\", exchange = \"\", routing_key = \"{}\" }}\n",
            crate::amqp::QUEUE
        );
    }
    text += &setup.more_rows;
    for row in 0..setup.more_routes {
        let (group, name) = (row % 100, row / 100);
        write!(
            text,
            "[[route]]\nmethod = \"more/g{group}/m{name}/{{x}}\"\nscript = \"echo.js\"\n"
        )
        .ok();
    }
    text
}

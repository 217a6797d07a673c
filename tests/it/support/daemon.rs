//! callway itself, as the child process that users run.

use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::{Http, PATIENCE, Ws, free_port};

/// May call and answer everything.
pub const TOKEN: &str = "cw_token-of-the-tester";
/// May do nothing.
pub const POWERLESS: &str = "cw_token-without-grants";

/// What a daemon starts with: a listener with each dialect, two tokens, and what a test adds.
pub struct Setup {
    directory: TempDir,
    address: SocketAddr,
    admin: SocketAddr,
    mqtt: SocketAddr,
    config: String,
    environment: Vec<(String, String)>,
}

/// A running callway.
pub struct Daemon {
    /// Its listener: `/` speaks scriptr, `/rpc` jsonrpc, `/api` http.
    pub address: SocketAddr,
    /// Its admin address.
    pub admin: SocketAddr,
    /// Where devices connect straight to it.
    pub mqtt: SocketAddr,
    /// Its configuration, scripts and log.
    pub directory: TempDir,
    environment: Vec<(String, String)>,
    child: Child,
}

impl Setup {
    /// Without routes and buses.
    pub fn new() -> Setup {
        let local = || SocketAddr::from(([127, 0, 0, 1], free_port()));
        let (address, admin, mqtt) = (local(), local(), local());
        let config = format!(
            r#"
            [admin]
            address = "{admin}"
            socket = "admin.sock"
            [store]
            url = "sqlite:state/callway.db"
            [scripts]
            directory = "scripts"
            [[listen]]
            address = "{mqtt}"
            [[listen.endpoint]]
            dialect = "mqtt"
            [[listen]]
            address = "{address}"
            [[listen.endpoint]]
            path = "/"
            dialect = "scriptr"
            [[listen.endpoint]]
            path = "/rpc"
            dialect = "jsonrpc"
            [[listen.endpoint]]
            path = "/api"
            dialect = "http"
            [[token]]
            name = "tester"
            sha256 = "{}"
            call = ["{{path...}}"]
            serve = ["{{path...}}"]
            publish = ["{{path...}}"]
            subscribe = ["{{path...}}"]
            [[token]]
            name = "powerless"
            sha256 = "{}"
            "#,
            callway::auth::digest(TOKEN),
            callway::auth::digest(POWERLESS),
        );
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("scripts")).unwrap();
        Setup {
            directory,
            address,
            admin,
            mqtt,
            config,
            environment: Vec::new(),
        }
    }

    /// One of config/examples as it is, except for its addresses.
    pub fn example(name: &str) -> Setup {
        let mut setup = Setup::new();
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/examples");
        let copied = Command::new("cp")
            .arg("-r")
            .arg(root.join(name).join("."))
            .arg(setup.directory.path())
            .status();
        assert!(copied.unwrap().success());
        let config = setup.directory.path().join("callway.toml");
        let config: toml::Table = std::fs::read_to_string(config).unwrap().parse().unwrap();
        setup.config = with_addresses(config, setup.address, setup.admin).to_string();
        setup
    }

    /// Where its listener will be.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Adds tables to the configuration.
    pub fn config(mut self, toml: &str) -> Setup {
        self.config.push_str(toml);
        self.config.push('\n');
        self
    }

    /// Puts a file into `scripts/`.
    pub fn script(self, name: &str, source: &str) -> Setup {
        let path = self.directory.path().join("scripts").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, source).unwrap();
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: &str, value: &str) -> Setup {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Starts callway and waits until it is ready.
    pub async fn start(self) -> Daemon {
        let mut daemon = self.spawn();
        daemon.get_ready().await;
        daemon
    }

    /// Starts callway and waits for nothing.
    pub fn spawn(self) -> Daemon {
        std::fs::write(self.directory.path().join("callway.toml"), &self.config).unwrap();
        let child = launch(&self.directory, &self.environment);
        Daemon {
            address: self.address,
            admin: self.admin,
            mqtt: self.mqtt,
            directory: self.directory,
            environment: self.environment,
            child,
        }
    }
}

fn with_addresses(mut config: toml::Table, listen: SocketAddr, admin: SocketAddr) -> toml::Table {
    config["listen"][0]["address"] = listen.to_string().into();
    config["admin"]["address"] = admin.to_string().into();
    config
}

/// Runs what lies in the directory. Dies with the thread that starts it, which is the test's.
fn launch(directory: &TempDir, environment: &[(String, String)]) -> Child {
    let log = File::create(directory.path().join("log")).unwrap();
    Command::new("setpriv")
        .args(["--pdeathsig", "KILL", env!("CARGO_BIN_EXE_callway"), "run"])
        .arg("--config")
        .arg(directory.path().join("callway.toml"))
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}

impl Daemon {
    /// The address of an endpoint for WebSocket clients.
    pub fn ws_url(&self, path: &str) -> String {
        format!("ws://{}{path}", self.address)
    }

    /// A JSON-RPC connection of the tester.
    pub async fn ws(&self) -> Ws {
        Ws::connect(&self.ws_url("/rpc"), TOKEN).await
    }

    /// An HTTP client of the tester.
    pub fn http(&self) -> Http {
        Http::new(self.address).bearer(TOKEN)
    }

    /// A client of the admin address.
    pub fn admin(&self) -> Http {
        Http::new(self.admin)
    }

    /// Runs a command of callway against it.
    pub async fn command(&self, arguments: &[&str]) -> Output {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_callway"));
        command.args(arguments).arg("--config");
        command.arg(self.directory.path().join("callway.toml"));
        let output = tokio::time::timeout(PATIENCE, command.output()).await;
        output.expect("the command does not end").unwrap()
    }

    /// Makes a token with `callway token create`.
    pub async fn token(&self, name: &str, arguments: &[&str]) -> String {
        let create = ["token", "create", name];
        let output = self.command(&[&create[..], arguments].concat()).await;
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Kills it, starts it again, and waits until it is ready.
    pub async fn restart(&mut self) {
        self.kill();
        self.again().await;
    }

    /// Ends it with SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again after its end, and waits until it is ready.
    pub async fn again(&mut self) {
        self.child = launch(&self.directory, &self.environment);
        self.get_ready().await;
    }

    async fn get_ready(&mut self) {
        let end = tokio::time::Instant::now() + PATIENCE;
        while !self.is_ready().await {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("callway ended with {status}:\n{}", self.log());
            }
            assert!(
                tokio::time::Instant::now() < end,
                "callway is not ready:\n{}",
                self.log()
            );
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }

    async fn is_ready(&self) -> bool {
        // Nobody listens before it is.
        tokio::net::TcpStream::connect(self.admin).await.is_ok()
            && self.admin().get("/readyz").await.status == 200
    }

    /// Waits until the link to a bus is in this state: `up`, `connecting` or `down`.
    pub async fn link_is(&self, bus: &str, state: &str) {
        crate::eventually!(self.admin().get("/readyz").await.json()["links"][bus] == state);
    }

    /// The value of one line of `/metrics`, 0 without it.
    pub async fn metric(&self, name: &str) -> f64 {
        let page = self.admin().get("/metrics").await;
        let text = String::from_utf8(page.body).unwrap();
        let mut lines = text.lines().filter_map(|line| line.rsplit_once(' '));
        let line = lines.find(|(key, _)| *key == name);
        line.map_or(0.0, |(_, value)| value.parse().unwrap())
    }

    /// The process id.
    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.pid()).unwrap(), signal).unwrap();
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> ExitStatus {
        crate::eventually!(self.child.try_wait().unwrap().is_some());
        self.child.wait().unwrap()
    }

    /// Ends it with SIGTERM; its exit code, or 128 and the signal that killed it.
    pub async fn stop(&mut self) -> i32 {
        self.signal(Signal::TERM);
        let status = self.ended().await;
        let killed = status.signal().unwrap_or_default();
        status.code().unwrap_or(128 + killed)
    }

    /// All that it wrote so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

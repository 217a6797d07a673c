//! RabbitMQ nodes: one for the whole test binary, and one of its own for a test that kills it.
//!
//! A node takes seconds to start. So it is shared, and each test gets a virtual host of its own
//! out of a stock that is made at start.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;
use tokio::sync::OnceCell;

use super::process::Process;
use super::{free_port, wait_for_port};

/// Virtual hosts on the shared node. One per test that uses it.
const STOCK: usize = 60;
/// A cold start on a busy machine.
const BOOT: Duration = Duration::from_secs(90);

/// A virtual host on a running (or killed) node.
pub struct Rabbit {
    /// Where the node listens, on 127.0.0.1.
    pub port: u16,
    /// The virtual host.
    pub vhost: String,
    /// Only for a node that belongs to this test.
    node: Option<Node>,
}

impl Rabbit {
    /// A fresh virtual host on the node that all tests share. Nobody may kill that one.
    pub async fn shared() -> Rabbit {
        static NODE: OnceCell<Node> = OnceCell::const_new();
        static TAKEN: AtomicUsize = AtomicUsize::new(0);
        let node = NODE
            .get_or_init(|| async { Node::create(STOCK).await })
            .await;
        let number = TAKEN.fetch_add(1, Ordering::Relaxed);
        assert!(number < STOCK, "raise STOCK: all virtual hosts are taken");
        Rabbit {
            port: node.port,
            vhost: format!("t{number}"),
            node: None,
        }
    }

    /// A node of its own, to kill and pause.
    pub async fn own() -> Rabbit {
        let node = Node::create(1).await;
        Rabbit {
            port: node.port,
            vhost: "t0".into(),
            node: Some(node),
        }
    }

    /// The URL for a `[bus.NAME]` table.
    pub fn url(&self) -> String {
        self.url_through(self.port)
    }

    /// The same by another port, which leads there.
    pub fn url_through(&self, port: u16) -> String {
        format!("amqp://guest:guest@127.0.0.1:{port}/{}", self.vhost)
    }

    fn node(&mut self) -> &mut Node {
        let node = self.node.as_mut();
        node.expect("the shared node is left alone; take Rabbit::own()")
    }

    /// Ends the node with SIGKILL.
    pub fn kill(&mut self) {
        self.node().process = None;
    }

    /// Kills the node if it runs, starts it, and waits until it accepts connections. Durable
    /// queues and persistent messages are still there.
    pub async fn restart(&mut self) {
        self.node().start().await;
    }

    /// Keeps its connections open and answers nothing.
    pub fn pause(&mut self) {
        self.node().process.as_ref().unwrap().pause();
    }

    /// Ends a pause.
    pub fn resume(&mut self) {
        self.node().process.as_ref().unwrap().resume();
    }

    /// Runs `rabbitmqctl` on the test's own node; takes a second or two.
    pub async fn control(&mut self, args: &[&str]) -> String {
        let node = self.node();
        let output = tokio::process::Command::new(program("rabbitmqctl"))
            .args(args)
            .envs(node.environment())
            .output()
            .await
            .unwrap();
        assert!(output.status.success(), "rabbitmqctl {args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}

/// A node with its own directory, ports and port mapper, which meets no other broker.
struct Node {
    port: u16,
    distribution: u16,
    mapper: u16,
    directory: TempDir,
    process: Option<Process>,
}

impl Node {
    async fn create(vhosts: usize) -> Node {
        let mut node = Node {
            port: free_port(),
            distribution: free_port(),
            mapper: free_port(),
            directory: tempfile::tempdir().unwrap(),
            process: None,
        };
        node.write_files(vhosts);
        node.start().await;
        node
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write_files(&self, vhosts: usize) {
        let names: Vec<_> = (0..vhosts).map(|number| format!("t{number}")).collect();
        let all = ".*";
        let permission = |vhost: &String| json!({"user": "guest", "vhost": vhost, "configure": all, "write": all, "read": all});
        let definitions = json!({
            "users": [{"name": "guest", "password": "guest", "tags": "administrator"}],
            "vhosts": names.iter().map(|name| json!({"name": name})).collect::<Vec<_>>(),
            "permissions": names.iter().map(permission).collect::<Vec<_>>(),
        });
        let config = format!(
            "listeners.tcp.1 = 127.0.0.1:{}\n\
             load_definitions = {}\n\
             log.console.level = warning\n\
             log.file.level = warning\n\
             vm_memory_high_watermark.absolute = 2GiB\n\
             disk_free_limit.absolute = 10MB\n",
            self.port,
            self.path("definitions.json").display(),
        );
        std::fs::create_dir(self.path("home")).unwrap();
        std::fs::write(self.path("definitions.json"), definitions.to_string()).unwrap();
        std::fs::write(self.path("rabbitmq.conf"), config).unwrap();
        std::fs::write(self.path("enabled_plugins"), "[].\n").unwrap();
    }

    fn environment(&self) -> Vec<(&'static str, String)> {
        let path = |name| self.path(name).display().to_string();
        vec![
            ("HOME", path("home")),
            ("ERL_EPMD_PORT", self.mapper.to_string()),
            ("ERL_EPMD_ADDRESS", "127.0.0.1".into()),
            (
                "RABBITMQ_NODENAME",
                format!("callway{}@localhost", self.port),
            ),
            ("RABBITMQ_DIST_PORT", self.distribution.to_string()),
            ("RABBITMQ_MNESIA_BASE", path("mnesia")),
            ("RABBITMQ_LOG_BASE", path("log")),
            ("RABBITMQ_CONFIG_FILE", path("rabbitmq.conf")),
            ("RABBITMQ_ENABLED_PLUGINS_FILE", path("enabled_plugins")),
            ("RABBITMQ_CONF_ENV_FILE", "/dev/null".into()),
            // Idle schedulers sleep instead of spinning: the tests need the processor.
            (
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none \
                 -kernel inet_dist_use_interface {127,0,0,1}"
                    .into(),
            ),
        ]
    }

    async fn start(&mut self) {
        self.process = None;
        let environment = self.environment();
        let environment: Vec<_> = environment
            .iter()
            .map(|(key, value)| (*key, value.as_str()))
            .collect();
        // The port mapper runs in the node's process group, so that it ends with it.
        let script = r#"epmd -port "$ERL_EPMD_PORT" -address 127.0.0.1 & exec "$0""#;
        let server = program("rabbitmq-server");
        let args = ["-c", script, &server];
        let log = self.path("output");
        self.process = Some(Process::start("sh", &args, &environment, &log));
        wait_for_port(self.port, BOOT, &log).await;
    }
}

/// Debian's scripts in the path switch to the system broker's user and home; the ones behind them
/// leave that to their environment.
fn program(name: &str) -> String {
    let inner = format!("/usr/lib/rabbitmq/bin/{name}");
    if Path::new(&inner).exists() {
        inner
    } else {
        name.into()
    }
}

//! `callway demo`: a working callway on the loopback address, in a directory that vanishes with it.

use std::fs;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::SOFTWARE;
use crate::auth::{Secret, digest, new_secret};
use crate::config::{self, Environment};

const CONFIG: &str = include_str!("../../config/examples/demo/callway.toml");
const SCRIPTS: [(&str, &str); 3] = [
    (
        "demo/greet.js",
        include_str!("../../config/examples/demo/scripts/demo/greet.js"),
    ),
    (
        "demo/convert.lua",
        include_str!("../../config/examples/demo/scripts/demo/convert.lua"),
    ),
    (
        "demo/report.js",
        include_str!("../../config/examples/demo/scripts/demo/report.js"),
    ),
];
/// What stands in the example for the hash of the token that each demonstration has of its own.
const DIGEST: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Runs a demonstration until Ctrl-C ends it.
pub fn run() -> ExitCode {
    let prepared = std::env::current_exe().and_then(|program| Ok((program, Demo::prepare()?)));
    let (program, demo) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => {
            eprintln!("callway: the demonstration cannot be prepared: {error}");
            return ExitCode::from(SOFTWARE);
        }
    };
    // Nothing but its own files: no variable of another callway may change it.
    match config::load(&[demo.config()], &Environment::new()) {
        Ok(config) => super::run::run_somewhere(config, |listen| {
            if let [web, mqtt] = listen {
                let instructions = demo.instructions(&program, *web, *mqtt);
                // Nobody may be reading.
                writeln!(io::stdout(), "{instructions}").unwrap_or_default();
            }
        }),
        Err(error) => {
            super::files::tell(&error);
            ExitCode::from(SOFTWARE)
        }
    }
}

/// The files of a demonstration; removed on drop.
struct Demo {
    directory: PathBuf,
    token: Secret,
}

impl Demo {
    /// Writes them, with a fresh token.
    pub fn prepare() -> io::Result<Demo> {
        let token = new_secret().map_err(io::Error::other)?;
        let directory =
            std::env::temp_dir().join(format!("callway-demo-{}", uuid::Uuid::new_v4().simple()));
        fs::DirBuilder::new().mode(0o700).create(&directory)?;
        let demo = Demo { directory, token };
        let config = CONFIG.replace(DIGEST, &digest(demo.token.expose()).to_string());
        fs::write(demo.config(), config)?;
        for (name, source) in SCRIPTS {
            let path = demo.directory.join("scripts").join(name);
            fs::create_dir_all(path.parent().unwrap_or(&demo.directory))?;
            fs::write(path, source)?;
        }
        Ok(demo)
    }

    /// The configuration to run.
    pub fn config(&self) -> PathBuf {
        self.directory.join("callway.toml")
    }

    /// What to type in another terminal, when callway listens there. Each command stands for
    /// itself.
    pub fn instructions(&self, program: &Path, at: SocketAddr, mqtt: SocketAddr) -> String {
        let (host, port) = (mqtt.ip(), mqtt.port());
        let program = quoted(program);
        let token = self.token.expose();
        format!(
            r#"
callway is running on {at}. Everything it uses is in {directory}.
Paste any of these into another terminal; Ctrl-C here ends it and removes the directory.

A JavaScript script, called over WebSocket, then over HTTP:

  CALLWAY_TOKEN={token} {program} call demo/greet '{{"name":"Ada"}}' --via ws://{at}/rpc

  curl -sS -H 'Authorization: Bearer {token}' -H 'Content-Type: application/json' -d '{{"name":"Ada"}}' http://{at}/api/demo/greet

A Lua script, and a script that calls it:

  CALLWAY_TOKEN={token} {program} call demo/convert '{{"celsius":21.5}}' --via http://{at}/api

  CALLWAY_TOKEN={token} {program} call demo/report '{{"celsius":[-40,0,36.6]}}' --via ws://{at}/rpc

The same as scriptr.io's clients do it (their WebSocket URL is ws://{at}/{token}):

  curl -sS 'http://{at}/demo/greet?name=Ada&auth_token={token}'

A device with MQTT, without a broker: it publishes a reading, and calls (mosquitto-clients):

  mosquitto_sub -h {host} -p {port} -u device -P {token} -t 'demo/#' -v

  mosquitto_pub -h {host} -p {port} -u device -P {token} -t demo/temperature -m '{{"celsius":21.5}}'

  mosquitto_rr -h {host} -p {port} -u device -P {token} -V 5 -t callway/call/demo/greet -e callway/reply/d1 -m '{{"name":"Ada"}}'

In a browser: open http://{at}/api/demo/greet?name=Ada&token={token}
or paste into its console:

  ws = new WebSocket("ws://{at}/rpc?token={token}"); ws.onmessage = (e) => console.log(e.data); ws.onopen = () => ws.send('{{"jsonrpc":"2.0","id":1,"method":"demo/greet","params":{{"name":"browser"}}}}')

A program of yours as a worker (leave it running), and a call to it:

  CALLWAY_TOKEN={token} {program} serve demo/worker/clock --exec 'date -u' --via ws://{at}/rpc

  CALLWAY_TOKEN={token} {program} call demo/worker/clock --via ws://{at}/rpc

A token of your own, and all that there are:

  {program} token create ada --call demo/greet --expires 1h --config {config}

  {program} token list --config {config}
"#,
            directory = self.directory.display(),
            config = quoted(&self.config()),
        )
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.directory) {
            eprintln!("callway: {}: {error}", self.directory.display());
        }
    }
}

/// For a shell.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    if text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_has_one_token() {
        assert_eq!(CONFIG.matches(DIGEST).count(), 1);
    }

    #[test]
    fn nothing_stays_behind() {
        let demo = Demo::prepare().unwrap();
        let config = fs::read_to_string(demo.config()).unwrap();
        assert!(
            !config.contains(demo.token.expose()),
            "only the hash is written"
        );
        assert!(!config.contains(DIGEST));
        let directory = demo.directory.clone();
        drop(demo);
        assert!(!directory.exists());
    }

    #[test]
    fn a_path_stands_whole_on_a_command_line() {
        assert_eq!(quoted(Path::new("/opt/callway")), "/opt/callway");
        assert_eq!(quoted(Path::new("/o p/it's")), r"'/o p/it'\''s'");
    }
}

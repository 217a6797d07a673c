//! A mosquitto of its own for each test.

use std::fmt::Write as _;
use std::path::PathBuf;

use tempfile::TempDir;

use super::process::Process;
use super::{PATIENCE, free_port, wait_for_port};

/// A running (or killed) mosquitto on a port that stays the same over restarts.
pub struct Mosquitto {
    /// Where it listens, on 127.0.0.1.
    pub port: u16,
    /// Its configuration, data and log.
    pub directory: TempDir,
    process: Option<Process>,
}

impl Mosquitto {
    /// One that lets everybody in and keeps nothing over a restart.
    pub async fn start() -> Mosquitto {
        Mosquitto::start_with(&[]).await
    }

    /// One with further lines in its configuration, such as `persistence true` or
    /// `acl_file {dir}/acl`, where `{dir}` is its own directory.
    pub async fn start_with(lines: &[&str]) -> Mosquitto {
        Mosquitto::start_in(tempfile::tempdir().unwrap(), lines).await
    }

    /// One that keeps sessions and what they missed over its end. Use [`Mosquitto::stop`]: what
    /// it has not written yet does not survive [`Mosquitto::kill`].
    pub async fn start_keeping() -> Mosquitto {
        Mosquitto::start_with(&["persistence true"]).await
    }

    /// One that only lets this user in.
    pub async fn start_with_login(user: &str, password: &str) -> Mosquitto {
        let directory = tempfile::tempdir().unwrap();
        let made = std::process::Command::new("mosquitto_passwd")
            .args(["-c", "-b", "users", user, password])
            .current_dir(directory.path())
            .status();
        assert!(made.unwrap().success());
        let lines = ["allow_anonymous false", "password_file {dir}/users"];
        Mosquitto::start_in(directory, &lines).await
    }

    async fn start_in(directory: TempDir, lines: &[&str]) -> Mosquitto {
        let port = free_port();
        let dir = directory.path().display();
        let mut config = format!(
            "listener {port} 127.0.0.1\n\
             user root\n\
             log_dest stderr\n\
             log_type all\n\
             set_tcp_nodelay true\n\
             max_queued_messages 0\n\
             max_inflight_messages 1000\n\
             persistence_location {dir}/\n"
        );
        if !lines.iter().any(|line| line.contains("allow_anonymous")) {
            config.push_str("allow_anonymous true\n");
        }
        for line in lines {
            writeln!(config, "{}", line.replace("{dir}", &dir.to_string())).unwrap();
        }
        std::fs::write(directory.path().join("mosquitto.conf"), config).unwrap();
        let mut broker = Mosquitto {
            port,
            directory,
            process: None,
        };
        broker.restart().await;
        broker
    }

    /// Its log.
    pub fn log(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    /// Ends it with SIGKILL.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Ends it in good order and waits until it has ended, so that it has written what it keeps.
    pub async fn stop(&mut self) {
        if let Some(process) = self.process.take() {
            process.terminate();
            crate::eventually!(process.has_ended());
        }
    }

    /// Kills it if it runs, starts it, and waits until it accepts connections.
    pub async fn restart(&mut self) {
        self.kill();
        let config = self.directory.path().join("mosquitto.conf");
        let args = ["-c", config.to_str().unwrap()];
        self.process = Some(Process::start("mosquitto", &args, &[], &self.log()));
        wait_for_port(self.port, PATIENCE, &self.log()).await;
    }

    /// Keeps its connections open and answers nothing.
    pub fn pause(&self) {
        self.process.as_ref().unwrap().pause();
    }

    /// Ends a pause.
    pub fn resume(&self) {
        self.process.as_ref().unwrap().resume();
    }

    /// The URL for a `[bus.NAME]` table.
    pub fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }
}

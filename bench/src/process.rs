//! Child processes, and what the kernel tells about them in `/proc`.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Resource, Signal, getrlimit, kill_process_group, setrlimit};

use crate::Failure;

/// Linux counts CPU time for user space in hundredths of a second on every architecture.
const TICKS_PER_SECOND: f64 = 100.0;

/// A child in a process group of its own, which ends with this value.
pub struct Process {
    child: Child,
}

impl Process {
    /// Starts it; what it prints goes to `log`.
    pub fn start(command: &mut Command, log: &Path) -> Result<Process, Failure> {
        let log = File::create(log)?;
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0);
        let child = command
            .spawn()
            .map_err(|error| format!("{}: {error}", command.get_program().display()))?;
        Ok(Process { child })
    }

    /// Starts this program in another role, and waits until it says that it is ready.
    pub fn role(arguments: &[String]) -> Result<Process, Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .process_group(0);
        let mut child = command.spawn()?;
        let stdout = child.stdout.take().ok_or("no pipe")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let process = Process { child };
        if line.trim() != "ready" {
            return Err(format!("{arguments:?} did not get ready").into());
        }
        Ok(process)
    }

    /// CPU seconds of the process and everything below it.
    pub fn cpu(&self) -> f64 {
        self.tree().into_iter().filter_map(cpu).sum()
    }

    /// Resident bytes of the process alone.
    pub fn resident(&self) -> f64 {
        memory(self.child.id(), "smaps_rollup", "Rss:")
    }

    /// Bytes of the process and everything below it; shared pages count once.
    pub fn proportional(&self) -> f64 {
        let pids = self.tree().into_iter();
        pids.map(|pid| memory(pid, "smaps_rollup", "Pss:")).sum()
    }

    fn tree(&self) -> Vec<u32> {
        let mut pids = vec![self.child.id()];
        let mut at = 0;
        while let Some(pid) = pids.get(at) {
            let tasks = fs::read_dir(format!("/proc/{pid}/task"));
            for task in tasks.into_iter().flatten().flatten() {
                let children = fs::read_to_string(task.path().join("children"));
                let children = children.unwrap_or_default();
                pids.extend(
                    children
                        .split_whitespace()
                        .filter_map(|pid| pid.parse::<u32>().ok()),
                );
            }
            at += 1;
        }
        pids
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            kill_process_group(pid, Signal::KILL).ok();
        }
        self.child.wait().ok();
    }
}

/// User and system time of a process, with that of its children that have ended.
fn cpu(pid: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let after_name = stat.rsplit_once(')')?.1;
    let ticks = after_name.split_whitespace().skip(11).take(4);
    let ticks: f64 = ticks.filter_map(|field| field.parse::<f64>().ok()).sum();
    Some(ticks / TICKS_PER_SECOND)
}

fn memory(pid: u32, file: &str, field: &str) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kib.unwrap_or(0.0) * 1024.0
}

/// The share of the machine's processors that was busy since the last reading.
pub struct Machine {
    busy: f64,
    all: f64,
}

impl Machine {
    /// Reads `/proc/stat`.
    pub fn now() -> Machine {
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        let line = stat.lines().next().unwrap_or_default();
        let fields = line.split_whitespace().skip(1).take(8);
        let ticks: Vec<f64> = fields.filter_map(|field| field.parse().ok()).collect();
        let all: f64 = ticks.iter().sum();
        let idle: f64 = ticks.iter().skip(3).take(2).sum();
        Machine {
            busy: all - idle,
            all,
        }
    }

    /// The busy share between two readings.
    pub fn busy_until(&self, later: &Machine) -> f64 {
        (later.busy - self.busy) / (later.all - self.all).max(1.0)
    }
}

/// Thousands of connections need as many files, here and in the children.
pub fn raise_file_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).ok();
}

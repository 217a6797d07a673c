//! A child process with all its own children, which cannot outlive the test.

use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};

/// A process group: a small shell that waits for the end of the tests, and the program beside it.
///
/// The shell reads a pipe that this process holds. However the tests end, the pipe closes and the
/// shell kills the group.
pub struct Process {
    shell: Child,
}

impl Process {
    /// Starts a program; its output goes to `log`.
    pub fn start(program: &str, args: &[&str], env: &[(&str, &str)], log: &Path) -> Process {
        let output = File::options().create(true).append(true).open(log).unwrap();
        let shell = Command::new("sh")
            .args(["-c", r#""$@" </dev/null & read -r _; kill -9 0"#, "sh"])
            .arg(program)
            .args(args)
            .envs(env.iter().copied())
            .stdin(Stdio::piped())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .process_group(0)
            .spawn()
            .unwrap();
        Process { shell }
    }

    fn signal(&self, signal: Signal) {
        let group = Pid::from_raw(self.shell.id() as i32).unwrap();
        kill_process_group(group, signal).unwrap();
    }

    /// Stops the program where it stands: its connections stay open and nothing answers.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Ends a pause.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        self.shell.wait().unwrap();
    }
}

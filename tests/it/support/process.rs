//! A child process with all its own children, which cannot outlive the test.

use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::PATIENCE;

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
        // The signal reaches one thread after the other; until the last one stands, it may answer.
        let end = Instant::now() + PATIENCE;
        while !self
            .threads()
            .iter()
            .all(|state| matches!(state, 'T' | 'Z'))
        {
            assert!(Instant::now() < end, "the program does not stop");
            std::thread::yield_now();
        }
    }

    /// The state of each thread in the group, as proc(5) has it.
    fn threads(&self) -> Vec<char> {
        let group = self.shell.id().to_string();
        let stats = paths("/proc")
            .into_iter()
            .filter(|process| stat(process).is_some_and(|fields| fields.get(2) == Some(&group)));
        stats
            .flat_map(|process| paths(process.join("task")))
            .filter_map(|thread| stat(&thread)?.first()?.chars().next())
            .collect()
    }

    /// Asks the program to end.
    pub fn terminate(&self) {
        for process in self.programs() {
            // It may have ended already.
            kill_process(process, Signal::TERM).ok();
        }
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        self.programs().is_empty()
    }

    /// What runs in the group beside the shell.
    fn programs(&self) -> Vec<Pid> {
        let shell = self.shell.id() as i32;
        let group = shell.to_string();
        let of_group = paths("/proc").into_iter().filter_map(|process| {
            let fields = stat(&process)?;
            let id: i32 = process.file_name()?.to_str()?.parse().ok()?;
            let runs = fields.get(2) == Some(&group) && fields[0] != "Z" && id != shell;
            runs.then(|| Pid::from_raw(id)).flatten()
        });
        of_group.collect()
    }

    /// Ends a pause.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }
}

fn paths(directory: impl AsRef<Path>) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten();
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect()
}

/// What follows the name in a `stat` file: state, parent, group, …. `None` once it has ended.
fn stat(process: &Path) -> Option<Vec<String>> {
    let text = std::fs::read_to_string(process.join("stat")).ok()?;
    let (_, fields) = text.rsplit_once(')')?;
    Some(fields.split_whitespace().map(str::to_owned).collect())
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        self.shell.wait().unwrap();
    }
}

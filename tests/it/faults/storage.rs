//! Faults below the file system: a disk that is full, and one that cannot be relied on.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::eventually;

/// A small file system in memory. It is unmounted on drop.
pub struct Disk(TempDir);

impl Disk {
    /// Mounts it; the error says why this user may not.
    pub fn mount(size: &str) -> Result<Disk, String> {
        let directory = tempfile::tempdir().unwrap();
        let options = format!("size={size}");
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(directory.path())
            .output()
            .unwrap();
        match mount.status.success() {
            true => Ok(Disk(directory)),
            false => Err(String::from_utf8_lossy(&mount.stderr).into_owned()),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Leaves no byte free.
    pub fn fill(&self) {
        let mut ballast = File::create(self.ballast()).unwrap();
        let mut size = 1024 * 1024;
        while size > 0 {
            match ballast.write(&vec![0; size]) {
                Ok(1..) => {}
                Ok(0) | Err(_) => size /= 2,
            }
        }
    }

    /// Makes the room again.
    pub fn clear(&self) {
        std::fs::remove_file(self.ballast()).unwrap();
    }

    fn ballast(&self) -> std::path::PathBuf {
        self.path().join("ballast")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: the daemon that wrote there may still be ending.
        let unmount = Command::new("umount").arg("-l").arg(self.path()).status();
        unmount.ok();
    }
}

/// While it lives, the disk fails whenever a process asks for what it wrote to be kept.
pub struct FailingSync(Child);

impl FailingSync {
    /// Attaches to a process; the error says why this user may not.
    pub async fn attach(pid: i32, log: &Path) -> Result<FailingSync, String> {
        let said = File::create(log).unwrap();
        let strace = Command::new("strace")
            .args(["-f", "-o", "/dev/null", "-e", "trace=fsync,fdatasync"])
            .args([
                "-e",
                "inject=fsync,fdatasync:error=EIO",
                "-p",
                &pid.to_string(),
            ])
            .stdin(Stdio::null())
            .stderr(said)
            .spawn()
            .map_err(|error| error.to_string())?;
        let mut attached = FailingSync(strace);
        let text = || std::fs::read_to_string(log).unwrap();
        eventually!(attached.0.try_wait().unwrap().is_some() || text().contains("attached"));
        match attached.0.try_wait().unwrap() {
            None => Ok(attached),
            Some(_) => Err(text()),
        }
    }
}

impl Drop for FailingSync {
    fn drop(&mut self) {
        // Asked like this it lets go of the process before it ends.
        if let Ok(None) = self.0.try_wait() {
            let pid = Pid::from_raw(self.0.id() as i32).unwrap();
            kill_process(pid, Signal::INT).unwrap();
            self.0.wait().unwrap();
        }
    }
}

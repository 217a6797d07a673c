//! One run of a local program: params on its standard input, the result on its standard output.
//! Dropping the future kills the program and everything that it started.

use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

use super::credential;
use crate::call::Payload;

/// How much of standard error is kept: its end, where programs say what went wrong.
const STDERR: usize = 4 * 1024;
/// A result is not nested more deeply.
const DEPTH: usize = 1000;

/// What to run.
#[derive(Clone, Debug)]
pub struct Program {
    /// A command line for `/bin/sh`.
    pub command: String,
    /// The most bytes of a result.
    pub max_output: usize,
}

/// The call that it is run for.
#[derive(Clone, Debug)]
pub struct Job {
    /// Told as `CALLWAY_METHOD`.
    pub method: String,
    /// Told as `CALLWAY_CALL_ID`.
    pub call_id: String,
    /// JSON text.
    pub params: String,
    /// When it is killed.
    pub timeout: Option<Duration>,
}

/// Why there is no result.
#[derive(Debug, PartialEq, Eq)]
pub struct Failed {
    /// What the program wrote to standard error, or what happened to it.
    pub message: String,
    /// Its exit status, if it had one.
    pub status: Option<i32>,
}

impl Failed {
    fn because(message: impl Into<String>) -> Failed {
        Failed {
            message: message.into(),
            status: None,
        }
    }
}

impl Program {
    /// Runs it once. `None` if the deadline passed first: the program is killed, and there is
    /// nobody left to tell.
    pub async fn run(&self, job: Job) -> Option<Result<Payload, Failed>> {
        match job.timeout {
            None => Some(self.run_to_the_end(job).await),
            Some(timeout) => tokio::time::timeout(timeout, self.run_to_the_end(job))
                .await
                .ok(),
        }
    }

    async fn run_to_the_end(&self, job: Job) -> Result<Payload, Failed> {
        let mut child = Command::new("/bin/sh")
            .arg("-c")
            .arg(&self.command)
            .env("CALLWAY_METHOD", &job.method)
            .env("CALLWAY_CALL_ID", &job.call_id)
            .env_remove(credential::VARIABLE)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| Failed::because(format!("cannot start the program: {error}")))?;
        let mut group = Group::of(child.id());
        let (stdin, stdout, stderr) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let feed = async {
            if let Some(mut stdin) = stdin {
                // A program that does not read its params may still know the answer.
                stdin.write_all(job.params.as_bytes()).await.ok();
            }
            Ok(())
        };
        let (_, output, complaint) =
            tokio::try_join!(feed, read_all(stdout, self.max_output), async {
                Ok(read_end(stderr).await)
            },)?;
        let status = child
            .wait()
            .await
            .map_err(|error| Failed::because(format!("the program was lost: {error}")))?;
        group.ended();
        if !status.success() {
            let message = match complaint.trim() {
                "" => format!("the program ended with {status}"),
                text => text.to_owned(),
            };
            return Err(Failed {
                message,
                status: status.code(),
            });
        }
        result_of(output)
    }
}

/// JSON if it is JSON, a string without its last line break otherwise.
fn result_of(mut output: Vec<u8>) -> Result<Payload, Failed> {
    while output.last().is_some_and(u8::is_ascii_whitespace) {
        output.pop();
    }
    let mut payload = Payload::from_body(output, None);
    match payload.check(DEPTH) {
        Ok(()) => Ok(payload),
        Err(fault) => Err(Failed::because(format!(
            "the program's output begins like JSON and is not: {}",
            fault.message
        ))),
    }
}

async fn read_all(stdout: Option<impl AsyncRead + Unpin>, most: usize) -> Result<Vec<u8>, Failed> {
    let mut output = Vec::new();
    if let Some(stdout) = stdout {
        let read = stdout.take(most as u64 + 1).read_to_end(&mut output).await;
        read.map_err(|error| Failed::because(format!("the program's output: {error}")))?;
    }
    if output.len() > most {
        return Err(Failed::because(format!(
            "the program's output has more than {most} bytes; see --max-output"
        )));
    }
    Ok(output)
}

/// The last bytes of a stream, read to its end.
async fn read_end(stderr: Option<impl AsyncRead + Unpin>) -> String {
    let mut end = Vec::new();
    if let Some(mut stderr) = stderr {
        while stderr.read_buf(&mut end).await.is_ok_and(|read| read > 0) {
            if end.len() > 2 * STDERR {
                end.drain(..end.len() - STDERR);
            }
        }
    }
    let begin = end.len().saturating_sub(STDERR);
    String::from_utf8_lossy(&end[begin..]).into_owned()
}

/// The processes of one run; killed on drop unless they ended by themselves.
struct Group(Option<Pid>);

impl Group {
    fn of(id: Option<u32>) -> Group {
        let id = id.and_then(|id| i32::try_from(id).ok());
        Group(id.and_then(Pid::from_raw))
    }

    /// The leader was waited for, so its id may soon be somebody else's.
    fn ended(&mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // They may have ended already.
            kill_process_group(group, Signal::KILL).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn run_within(
        command: &str,
        timeout: Option<Duration>,
    ) -> Option<Result<String, Failed>> {
        let program = Program {
            command: command.into(),
            max_output: 1000,
        };
        let job = Job {
            method: "a/b".into(),
            call_id: "7".into(),
            params: r#"{"n":1}"#.into(),
            timeout,
        };
        let ended = program.run(job).await?;
        Some(ended.map(|result| result.as_json().into_owned()))
    }

    async fn run(command: &str) -> Result<String, Failed> {
        run_within(command, None).await.expect("it has no deadline")
    }

    #[tokio::test]
    async fn what_goes_wrong_is_told() {
        assert_eq!(
            run("echo no pump >&2; exit 3").await,
            Err(Failed {
                message: "no pump".into(),
                status: Some(3)
            })
        );
        assert!(
            run("kill -9 $$")
                .await
                .unwrap_err()
                .message
                .contains("signal")
        );
        assert!(run("echo '{broken'").await.is_err());
        let endless = run("yes").await.unwrap_err();
        assert!(endless.message.contains("--max-output"));
    }

    #[tokio::test]
    async fn the_deadline_kills_the_whole_group() {
        let directory = tempfile::tempdir().unwrap();
        let trace = directory.path().join("trace");
        let command = format!("(sleep 1; touch {}) & sleep 20", trace.display());
        let timeout = Some(Duration::from_millis(100));
        assert_eq!(run_within(&command, timeout).await, None);
        tokio::time::sleep(Duration::from_millis(1300)).await;
        assert!(!trace.exists(), "a process of the group lived on");
    }

    #[tokio::test]
    async fn params_go_in_and_the_result_comes_out() {
        assert_eq!(run("cat").await.as_deref(), Ok(r#"{"n":1}"#));
        assert_eq!(run("echo hello").await.as_deref(), Ok(r#""hello""#));
        assert_eq!(run("true").await.as_deref(), Ok("null"));
        assert_eq!(
            run("echo $CALLWAY_METHOD $CALLWAY_CALL_ID")
                .await
                .as_deref(),
            Ok(r#""a/b 7""#)
        );
    }
}

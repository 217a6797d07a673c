//! `callway spool`: shows what waits on disk for a bus or to be carried out, hurries it, removes it.

use std::process::ExitCode;

use serde_json::Value;

use super::daemon::{DaemonArgs, segment};
use super::output::print;
use super::table::{table, text, time};

/// What `callway spool` is given.
#[derive(Clone, Debug, clap::Args)]
pub struct SpoolArgs {
    #[command(subcommand)]
    command: SpoolCommand,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum SpoolCommand {
    /// List the queues, and the messages that wait in them, the oldest first
    List {
        /// Only this queue, such as calls or bus/field
        queue: Option<String>,
        /// How many messages at most
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=1000))]
        count: u64,
        #[command(flatten)]
        daemon: DaemonArgs,
    },
    /// Try again at once what waits for its next try
    Retry {
        /// Only this queue
        queue: Option<String>,
        #[command(flatten)]
        daemon: DaemonArgs,
    },
    /// Remove what waits: it was acknowledged, and will not arrive
    Purge {
        /// Only this queue
        queue: Option<String>,
        #[command(flatten)]
        daemon: DaemonArgs,
    },
}

impl SpoolArgs {
    /// Does it.
    pub async fn run(self) -> ExitCode {
        let done = match self.command {
            SpoolCommand::List {
                queue,
                count,
                daemon,
            } => list(queue.as_deref(), count, &daemon).await,
            SpoolCommand::Retry { queue, daemon } => retry(queue.as_deref(), &daemon).await,
            SpoolCommand::Purge { queue, daemon } => purge(queue.as_deref(), &daemon).await,
        };
        done.unwrap_or_else(|code| code)
    }
}

async fn list(queue: Option<&str>, count: u64, daemon: &DaemonArgs) -> Result<ExitCode, ExitCode> {
    let path = format!("spool?count={count}{}", also(queue));
    let answer = daemon.ask("GET", &path, None).await?;
    if daemon.json {
        return Ok(print(format_args!("{answer}\n"), ExitCode::SUCCESS));
    }
    let rows = |key: &str| answer[key].as_array().map_or(&[][..], Vec::as_slice);
    let queues = rows("queues").iter().map(|queue| {
        [
            text(queue, "queue"),
            text(queue, "messages"),
            text(queue, "bytes"),
            time(queue, "oldest"),
        ]
    });
    let mut shown = table(["QUEUE", "MESSAGES", "BYTES", "OLDEST"], queues);
    if !rows("messages").is_empty() {
        let messages = rows("messages").iter().map(|message| {
            [
                text(message, "id"),
                text(message, "queue"),
                time(message, "accepted"),
                text(message, "attempts"),
                text(message, "bytes"),
                beginning(&message["body"]),
            ]
        });
        let head = ["ID", "QUEUE", "ACCEPTED", "TRIES", "BYTES", "CONTENT"];
        shown.push('\n');
        shown.push_str(&table(head, messages));
    }
    Ok(print(shown, ExitCode::SUCCESS))
}

async fn retry(queue: Option<&str>, daemon: &DaemonArgs) -> Result<ExitCode, ExitCode> {
    let path = format!("spool/retry?{}", also(queue));
    daemon.ask("POST", &path, None).await?;
    let said = match daemon.json {
        true => "{}\n",
        false => "what waits is tried again\n",
    };
    Ok(print(said, ExitCode::SUCCESS))
}

async fn purge(queue: Option<&str>, daemon: &DaemonArgs) -> Result<ExitCode, ExitCode> {
    let path = format!("spool?{}", also(queue));
    let answer = daemon.ask("DELETE", &path, None).await?;
    let said = match daemon.json {
        true => format!("{answer}\n"),
        false => format!("{} messages removed\n", text(&answer, "purged")),
    };
    Ok(print(said, ExitCode::SUCCESS))
}

/// The part of a query that names the queue.
fn also(queue: Option<&str>) -> String {
    queue.map_or_else(String::new, |queue| format!("&queue={}", segment(queue)))
}

/// As much of a body as stands on one line.
fn beginning(body: &Value) -> String {
    let text = match body {
        Value::String(text) => text.clone(),
        bytes => text(bytes, "base64"),
    };
    let mut characters = text.chars();
    let beginning: String = characters.by_ref().take(60).collect();
    match characters.next() {
        Some(_) => beginning + "…",
        None => beginning,
    }
}

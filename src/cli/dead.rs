//! `callway dead`: shows dead letters, tries them again, removes them.

use std::fmt::Write as _;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::daemon::DaemonArgs;
use super::output::print;
use super::table::{plain, table, text, time};

/// What `callway dead` is given.
#[derive(Clone, Debug, clap::Args)]
pub struct DeadArgs {
    #[command(subcommand)]
    command: DeadCommand,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum DeadCommand {
    /// List dead letters, the newest first
    List {
        /// How many at most
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=1000))]
        count: u64,
        /// Only letters older than this one, to see more of them
        #[arg(long, value_name = "ID")]
        before: Option<u64>,
        #[command(flatten)]
        daemon: DaemonArgs,
    },
    /// Show one, with its body
    Show {
        /// Its number in the list
        id: u64,
        #[command(flatten)]
        daemon: DaemonArgs,
    },
    /// Hand them back to where they were going
    Retry {
        /// Their numbers in the list
        #[arg(required = true, value_name = "ID")]
        ids: Vec<u64>,
        #[command(flatten)]
        daemon: DaemonArgs,
    },
    /// Remove all of them
    Purge {
        #[command(flatten)]
        daemon: DaemonArgs,
    },
}

impl DeadArgs {
    /// Does it.
    pub async fn run(self) -> ExitCode {
        let done = match self.command {
            DeadCommand::List {
                count,
                before,
                daemon,
            } => list(count, before, &daemon).await,
            DeadCommand::Show { id, daemon } => show(id, &daemon).await,
            DeadCommand::Retry { ids, daemon } => return retry(&ids, &daemon).await,
            DeadCommand::Purge { daemon } => purge(&daemon).await,
        };
        done.unwrap_or_else(|code| code)
    }
}

async fn list(count: u64, before: Option<u64>, daemon: &DaemonArgs) -> Result<ExitCode, ExitCode> {
    let mut path = format!("dead?count={count}");
    if let Some(before) = before {
        path.push_str(&format!("&before={before}"));
    }
    let answer = daemon.ask("GET", &path, None).await?;
    if daemon.json {
        return Ok(print(format_args!("{answer}\n"), ExitCode::SUCCESS));
    }
    let letters = answer["letters"].as_array().map_or(&[][..], Vec::as_slice);
    if letters.is_empty() {
        return Ok(print("there are no dead letters\n", ExitCode::SUCCESS));
    }
    let rows = letters.iter().map(|letter| {
        [
            text(letter, "id"),
            time(letter, "time"),
            text(letter, "kind"),
            text(letter, "name"),
            text(letter, "source"),
            text(letter, "bytes"),
            text(letter, "reason"),
        ]
    });
    let head = ["ID", "TIME", "KIND", "NAME", "FROM", "BYTES", "REASON"];
    Ok(print(table(head, rows), ExitCode::SUCCESS))
}

async fn show(id: u64, daemon: &DaemonArgs) -> Result<ExitCode, ExitCode> {
    let letter = daemon.ask("GET", &format!("dead/{id}"), None).await?;
    if daemon.json {
        return Ok(print(format_args!("{letter}\n"), ExitCode::SUCCESS));
    }
    let mut shown = String::new();
    for (label, value) in [
        ("id", text(&letter, "id")),
        ("time", text(&letter, "time")),
        ("kind", text(&letter, "kind")),
        ("name", text(&letter, "name")),
        ("from", text(&letter, "source")),
        ("call", text(&letter, "call_id")),
        ("reason", text(&letter, "reason")),
    ] {
        if !value.is_empty() {
            // Writing to a String cannot fail.
            writeln!(shown, "{label:8} {}", plain(value)).unwrap_or_default();
        }
    }
    for (name, value) in letter["headers"].as_object().into_iter().flatten() {
        let header = plain(format!("{name}: {value}"));
        writeln!(shown, "{:8} {header}", "header").unwrap_or_default();
    }
    let body = match &letter["body"] {
        Value::String(body) => body.clone(),
        bytes => format!("{} (base64)", text(bytes, "base64")),
    };
    shown.push('\n');
    for line in body.lines() {
        shown.push_str(&plain(line.to_owned()));
        shown.push('\n');
    }
    Ok(print(shown, ExitCode::SUCCESS))
}

/// Each by itself: one that cannot be taken back keeps no other from it.
async fn retry(ids: &[u64], daemon: &DaemonArgs) -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    let mut revived = Vec::new();
    for id in ids {
        match daemon.ask("POST", &format!("dead/{id}/retry"), None).await {
            Ok(_) => revived.push(id),
            Err(failed) => code = failed,
        }
    }
    let said = match daemon.json {
        true => format!("{}\n", json!({ "revived": revived })),
        false => revived
            .iter()
            .map(|id| format!("{id} is taken back\n"))
            .collect(),
    };
    print(said, code)
}

async fn purge(daemon: &DaemonArgs) -> Result<ExitCode, ExitCode> {
    let answer = daemon.ask("DELETE", "dead", None).await?;
    let said = match daemon.json {
        true => format!("{answer}\n"),
        false => format!("{} dead letters removed\n", text(&answer, "purged")),
    };
    Ok(print(said, ExitCode::SUCCESS))
}

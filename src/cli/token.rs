//! `callway token`: makes, shows and revokes tokens.

mod create;

use std::fmt::Write as _;
use std::process::ExitCode;

use serde_json::Value;

use self::create::CreateArgs;
use super::daemon::{DaemonArgs, segment};
use super::output::print;
use super::table::{plain, table, text, time};

/// What `callway token` is given.
#[derive(Clone, Debug, clap::Args)]
pub struct TokenArgs {
    #[command(subcommand)]
    command: TokenCommand,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum TokenCommand {
    /// Make a token, which the running daemon knows at once, and print it: this once, it is kept
    /// nowhere. With --row: print the token to standard error and its row, which holds only the
    /// hash, to standard output
    Create(CreateArgs),
    /// Show every token and what it may do, but not itself
    List {
        #[command(flatten)]
        daemon: DaemonArgs,
    },
    /// Show one token and what it may do, but not itself
    Show {
        /// Its name
        name: String,
        #[command(flatten)]
        daemon: DaemonArgs,
    },
    /// Revoke a token that was made: whoever uses it is cut off at once
    Revoke {
        /// Its name
        name: String,
        #[command(flatten)]
        daemon: DaemonArgs,
    },
}

impl TokenArgs {
    /// Does it.
    pub async fn run(self) -> ExitCode {
        let done = match self.command {
            TokenCommand::Create(args) => return args.run().await,
            TokenCommand::List { daemon } => list(&daemon).await,
            TokenCommand::Show { name, daemon } => show(&name, &daemon).await,
            TokenCommand::Revoke { name, daemon } => revoke(&name, &daemon).await,
        };
        done.unwrap_or_else(|code| code)
    }
}

async fn list(daemon: &DaemonArgs) -> Result<ExitCode, ExitCode> {
    let answer = daemon.ask("GET", "tokens", None).await?;
    if daemon.json {
        return Ok(print(format_args!("{answer}\n"), ExitCode::SUCCESS));
    }
    let tokens = answer["tokens"].as_array().map_or(&[][..], Vec::as_slice);
    let rows = tokens.iter().map(|token| {
        [
            text(token, "name"),
            text(token, "source"),
            end(token),
            grants(token).collect::<Vec<_>>().join(", "),
        ]
    });
    let shown = table(["NAME", "FROM", "EXPIRES", "MAY"], rows);
    Ok(print(shown, ExitCode::SUCCESS))
}

async fn show(name: &str, daemon: &DaemonArgs) -> Result<ExitCode, ExitCode> {
    let path = format!("tokens/{}", segment(name));
    let token = daemon.ask("GET", &path, None).await?;
    if daemon.json {
        return Ok(print(format_args!("{token}\n"), ExitCode::SUCCESS));
    }
    let mut shown = String::new();
    let created = time(&token, "created");
    for (label, value) in [
        ("name", text(&token, "name")),
        ("from", text(&token, "source")),
        ("created", created),
        ("expires", end(&token)),
    ] {
        if !value.is_empty() {
            // Writing to a String cannot fail.
            writeln!(shown, "{label:8} {}", plain(value)).unwrap_or_default();
        }
    }
    for grant in grants(&token) {
        writeln!(shown, "{:8} {grant}", "may").unwrap_or_default();
    }
    Ok(print(shown, ExitCode::SUCCESS))
}

async fn revoke(name: &str, daemon: &DaemonArgs) -> Result<ExitCode, ExitCode> {
    let path = format!("tokens/{}", segment(name));
    daemon.ask("DELETE", &path, None).await?;
    let said = match daemon.json {
        true => format!("{}\n", serde_json::json!({ "revoked": name })),
        false => format!(
            "{} is revoked; its sessions have ended\n",
            plain(name.to_owned())
        ),
    };
    Ok(print(said, ExitCode::SUCCESS))
}

/// When a token ends.
fn end(token: &Value) -> String {
    let expires = time(token, "expires");
    match (expires.is_empty(), token["expired"] == true) {
        (true, _) => "never".to_owned(),
        (false, false) => expires,
        (false, true) => format!("{expires} (expired)"),
    }
}

/// What a token may do, one by one.
fn grants(token: &Value) -> impl Iterator<Item = String> + '_ {
    let verbs = ["call", "serve", "publish", "subscribe"].into_iter();
    let grants = verbs.flat_map(move |verb| {
        let patterns = token[verb].as_array().into_iter().flatten();
        patterns.map(move |pattern| format!("{verb} {}", pattern.as_str().unwrap_or_default()))
    });
    let admin = token["admin"] == true;
    grants.chain(admin.then(|| "use the administration".to_owned()))
}

//! `callway token create`: a new token, kept by the running daemon or as a row to paste.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::json;

use crate::auth::{check_token_name, digest, new_secret};
use crate::call::parse_duration;
use crate::cli::SOFTWARE;
use crate::cli::daemon::DaemonArgs;
use crate::cli::output::print;
use crate::cli::table::{text, time};
use crate::router::Pattern;

#[derive(Clone, Debug, clap::Args)]
pub(super) struct CreateArgs {
    /// Who it proves; shown in logs and to responders
    #[arg(value_parser = name)]
    name: String,
    /// A pattern of methods that it may call, such as pumps/{pump}/status; repeatable. {caller}
    /// stands for the token's name
    #[arg(long, value_name = "PATTERN", value_parser = pattern)]
    call: Vec<String>,
    /// A pattern of methods that it may answer as a worker; repeatable
    #[arg(long, value_name = "PATTERN", value_parser = pattern)]
    serve: Vec<String>,
    /// A pattern of channels that it may publish to; repeatable
    #[arg(long, value_name = "PATTERN", value_parser = pattern)]
    publish: Vec<String>,
    /// A pattern of channels that it may subscribe to; repeatable
    #[arg(long, value_name = "PATTERN", value_parser = pattern)]
    subscribe: Vec<String>,
    /// Let it use the administration interface
    #[arg(long)]
    admin: bool,
    /// How long it lives, such as 90d; without it, until it is revoked
    #[arg(long, value_name = "DURATION", value_parser = lifetime, conflicts_with = "row")]
    expires: Option<Duration>,
    /// Print the [[token]] row to paste into the configuration; nothing is stored, no daemon is
    /// needed. A row does not expire
    #[arg(long)]
    row: bool,
    #[command(flatten)]
    daemon: DaemonArgs,
}

impl CreateArgs {
    /// Makes the token.
    pub(super) async fn run(self) -> ExitCode {
        match self.row {
            true => self.print_row(),
            false => self.ask_for_it().await.unwrap_or_else(|code| code),
        }
    }

    async fn ask_for_it(&self) -> Result<ExitCode, ExitCode> {
        let wanted = json!({
            "name": self.name,
            "call": self.call,
            "serve": self.serve,
            "publish": self.publish,
            "subscribe": self.subscribe,
            "admin": self.admin,
            "expires": self.expires.map(|life| format!("{}ms", life.as_millis())),
        });
        let made = self.daemon.ask("POST", "tokens", Some(&wanted)).await?;
        if self.daemon.json {
            return Ok(print(format_args!("{made}\n"), ExitCode::SUCCESS));
        }
        let until = match time(&made, "expires") {
            end if end.is_empty() => "it is revoked".to_owned(),
            end => end,
        };
        // Standard output holds the token alone, for scripts.
        eprintln!(
            "token of {}, valid until {until}, shown this once:",
            self.name
        );
        let token = text(&made, "token");
        Ok(print(format_args!("{token}\n"), ExitCode::SUCCESS))
    }

    fn print_row(&self) -> ExitCode {
        let token = match new_secret() {
            Ok(token) => token,
            Err(fault) => {
                eprintln!("callway: {fault}");
                return ExitCode::from(SOFTWARE);
            }
        };
        let row = self.row_with(&digest(token.expose()).to_string());
        if self.daemon.json {
            let shown = json!({ "name": self.name, "token": token.expose(), "row": row });
            print(format_args!("{shown}\n"), ExitCode::SUCCESS)
        } else {
            eprintln!("token, shown this once: {}", token.expose());
            print(row, ExitCode::SUCCESS)
        }
    }

    /// TOML; its strings are written as JSON's are, which TOML reads alike.
    fn row_with(&self, sha256: &str) -> String {
        let name = json!(self.name);
        let mut row = format!("[[token]]\nname = {name}\nsha256 = \"{sha256}\"\n");
        for (verb, patterns) in [
            ("call", &self.call),
            ("serve", &self.serve),
            ("publish", &self.publish),
            ("subscribe", &self.subscribe),
        ] {
            if !patterns.is_empty() {
                // Writing to a String cannot fail.
                writeln!(row, "{verb} = {}", json!(patterns)).unwrap_or_default();
            }
        }
        if self.admin {
            row.push_str("admin = true\n");
        }
        row
    }
}

fn name(text: &str) -> Result<String, String> {
    check_token_name(text)?;
    Ok(text.to_owned())
}

/// `{caller}` is a capture here like any other.
fn pattern(text: &str) -> Result<String, String> {
    Pattern::parse(text)?;
    Ok(text.to_owned())
}

fn lifetime(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        Duration::ZERO => Err("a token lives for some time".to_owned()),
        life => Ok(life),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        args: CreateArgs,
    }

    #[test]
    fn a_row_is_toml_that_reads_back() {
        let line = [
            "create",
            "quo\"te",
            "--call",
            "a/{x}",
            "--call",
            "log/{caller}",
            "--publish",
            "telemetry/{caller}",
            "--admin",
            "--row",
        ];
        let Cli { args } = Cli::parse_from(line);
        let table: toml::Table = toml::from_str(&args.row_with("00ff")).unwrap();
        let row = &table["token"][0];
        assert_eq!(row["name"].as_str(), Some("quo\"te"));
        assert_eq!(row["call"].as_array().unwrap().len(), 2);
        assert_eq!(row["admin"].as_bool(), Some(true));
        assert!(row.get("serve").is_none());
    }

    #[test]
    fn what_cannot_be_is_refused_before_anybody_is_asked() {
        for wrong in [
            &["a/b"][..],
            &["ada", "--call", "a//b"],
            &["ada", "--expires", "0s"],
            &["ada", "--expires", "soon"],
            &["ada", "--expires", "90d", "--row"],
        ] {
            let line = [&["create"], wrong].concat();
            assert!(Cli::try_parse_from(&line).is_err(), "{line:?}");
        }
    }
}

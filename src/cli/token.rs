//! `callway token create`: a new token and its row for the configuration.

use std::fmt::Write as _;
use std::process::ExitCode;

use crate::auth::{digest, new_secret};
use crate::router::{Pattern, check_segment};

use super::output::print;
use super::{SOFTWARE, USAGE};

/// What `callway token` is given.
#[derive(Clone, Debug, clap::Args)]
pub struct TokenArgs {
    #[command(subcommand)]
    command: TokenCommand,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum TokenCommand {
    /// Make a token: the token goes to standard error, once; its row, which holds only the hash, to
    /// standard output
    Create(CreateArgs),
}

#[derive(Clone, Debug, clap::Args)]
struct CreateArgs {
    /// Who it proves; shown in logs and to responders
    name: String,
    /// A pattern of methods that it may call, such as pumps/{pump}/status; repeatable
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
    /// Print the [[token]] row to paste into the configuration; nothing is stored
    #[arg(long)]
    row: bool,
    /// Print token and row as one JSON object
    #[arg(long)]
    json: bool,
}

impl TokenArgs {
    /// Makes the token.
    pub fn run(self) -> ExitCode {
        let TokenCommand::Create(args) = self.command;
        if let Err(why) = check_segment(&args.name) {
            eprintln!("callway: the token's name: {why}");
            return ExitCode::from(USAGE);
        }
        if !args.row {
            eprintln!(
                "callway: this version stores no tokens; --row prints the row to paste into the \
                 configuration"
            );
            return ExitCode::from(USAGE);
        }
        let token = match new_secret() {
            Ok(token) => token,
            Err(fault) => {
                eprintln!("callway: {fault}");
                return ExitCode::from(SOFTWARE);
            }
        };
        let row = args.row(&digest(token.expose()).to_string());
        if args.json {
            let shown =
                serde_json::json!({ "name": args.name, "token": token.expose(), "row": row });
            print(format_args!("{shown}\n"), ExitCode::SUCCESS)
        } else {
            eprintln!("token, shown this once: {}", token.expose());
            print(row, ExitCode::SUCCESS)
        }
    }
}

impl CreateArgs {
    /// TOML; its strings are written as JSON's are, which TOML reads alike.
    fn row(&self, sha256: &str) -> String {
        let mut row = format!(
            "[[token]]\nname = {}\nsha256 = \"{sha256}\"\n",
            serde_json::json!(self.name)
        );
        for (verb, patterns) in [
            ("call", &self.call),
            ("serve", &self.serve),
            ("publish", &self.publish),
            ("subscribe", &self.subscribe),
        ] {
            if !patterns.is_empty() {
                // Writing to a String cannot fail.
                writeln!(row, "{verb} = {}", serde_json::json!(patterns)).unwrap_or_default();
            }
        }
        if self.admin {
            row.push_str("admin = true\n");
        }
        row
    }
}

/// `{caller}` is a capture here like any other.
fn pattern(text: &str) -> Result<String, String> {
    Pattern::parse(text)
        .map(|_| text.to_owned())
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_toml_that_reads_back() {
        let args = CreateArgs {
            name: "quo\"te".into(),
            call: vec!["a/{x}".into(), "log/{caller}".into()],
            serve: Vec::new(),
            publish: vec!["telemetry/{caller}".into()],
            subscribe: Vec::new(),
            admin: true,
            row: true,
            json: false,
        };
        let table: toml::Table = toml::from_str(&args.row("00ff")).unwrap();
        let row = &table["token"][0];
        assert_eq!(row["name"].as_str(), Some("quo\"te"));
        assert_eq!(row["call"].as_array().unwrap().len(), 2);
        assert_eq!(row["admin"].as_bool(), Some(true));
        assert!(row.get("serve").is_none());
    }
}

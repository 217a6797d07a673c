//! The command line: one file for each command.

mod call;
mod check;
mod completions;
mod config;
mod credential;
mod daemon;
mod dead;
mod demo;
mod exec;
mod files;
mod input;
mod outcome;
mod output;
mod pretty;
mod publish;
mod routes;
mod run;
mod serve;
mod spool;
mod subscribe;
mod table;
mod token;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use tokio::runtime::Builder;

/// Wrong use of the command line, as `sysexits.h` has it.
const USAGE: u8 = 64;
/// A broker, a service, an address or a daemon cannot be had.
const UNAVAILABLE: u8 = 69;
/// A defect, or a system that gives nothing any more.
const SOFTWARE: u8 = 70;
/// The configuration is wrong, or there is none.
const CONFIG: u8 = 78;

/// Makes scripts callable: one daemon between WebSocket, HTTP, MQTT and AMQP
#[derive(Debug, Parser)]
#[command(name = "callway", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon
    Run(run::RunArgs),
    /// Show callway at work: on this machine alone, in a directory that vanishes with it
    Demo,
    /// Read the configuration as run does, and say what is wrong with it
    Check(check::CheckArgs),
    /// Show the routing table; or which row takes a name, why, and where the call goes
    Routes(routes::RoutesArgs),
    /// Print the commented default configuration or its JSON Schema
    Config(config::ShowArgs),
    /// Call a method and print its result
    Call(call::CallArgs),
    /// Publish one event to a channel
    Publish(publish::PublishArgs),
    /// Print the events of a channel, one JSON object a line
    Subscribe(subscribe::SubscribeArgs),
    /// Answer a method with a local program
    Serve(serve::ServeArgs),
    /// Make, show and revoke tokens
    Token(token::TokenArgs),
    /// Show what waits on disk for a bus or to be carried out, hurry it, remove it
    Spool(spool::SpoolArgs),
    /// Show dead letters, try them again, remove them
    Dead(dead::DeadArgs),
    /// Print a completion script for a shell
    Completions(completions::CompletionsArgs),
    /// Run scripts for the daemon that started this process
    #[command(hide = true)]
    ScriptHost,
    /// Run a service for the daemon that started this process
    #[command(hide = true)]
    ServiceHost,
}

/// Reads the command line and runs what it asks for.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(message) => {
            // Help and version are no errors; nobody may read either.
            message.print().ok();
            return ExitCode::from(if message.use_stderr() { USAGE } else { 0 });
        }
    };
    // reqwest and rustls look for the process's one provider. Nobody set one before.
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .ok();
    match cli.command {
        Command::Run(args) => args.run(),
        Command::Demo => demo::run(),
        Command::Check(args) => args.run(),
        Command::Routes(args) => args.run(),
        Command::Config(args) => args.run(),
        Command::Call(args) => client(args.run()),
        Command::Publish(args) => client(args.run()),
        Command::Subscribe(args) => client(args.run()),
        Command::Serve(args) => client(args.run()),
        Command::Token(args) => client(args.run()),
        Command::Spool(args) => client(args.run()),
        Command::Dead(args) => client(args.run()),
        Command::Completions(args) => args.run(&mut Cli::command()),
        Command::ScriptHost => crate::script::host_main(),
        Command::ServiceHost => crate::script::service_main(),
    }
}

/// Runs a client's command: one thread is enough.
fn client(command: impl Future<Output = ExitCode>) -> ExitCode {
    match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(command),
        Err(error) => {
            eprintln!("callway: cannot start: {error}");
            ExitCode::from(SOFTWARE)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}

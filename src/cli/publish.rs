//! `callway publish`: publishes one event and prints its id and position.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use crate::auth::Secret;
use crate::call::Payload;
use crate::client::{self, Address, Trust};

use super::credential::{TokenArgs, load_trust};
use super::input;
use super::outcome::{exit_code, print_fault, print_result};

/// Payloads may be nested as deeply as any daemon could be told to take.
const DEPTH: usize = 1000;

/// What `callway publish` is given.
#[derive(Clone, Debug, clap::Args)]
pub struct PublishArgs {
    /// The channel, such as telemetry/7
    channel: String,
    /// JSON, or else a text; `-` reads it from standard input, `@FILE` from a file
    payload: String,
    /// Where: ws:// wss:// (a jsonrpc endpoint), http:// https:// (an http endpoint), mqtt:// mqtts://
    /// (an mqtt endpoint). Over a broker, publish to the topic or exchange of the channel's row with
    /// the broker's own tools
    #[arg(long, value_name = "URL")]
    via: Address,
    /// How long it may take
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = crate::call::parse_duration)]
    timeout: Duration,
    /// Print the outcome as JSON on one line, also on a terminal
    #[arg(long)]
    json: bool,
    /// Believe the certificate authorities in this PEM file instead of the system's
    #[arg(long, value_name = "PATH")]
    ca: Option<PathBuf>,
    #[command(flatten)]
    token: TokenArgs,
}

impl PublishArgs {
    /// Publishes.
    pub async fn run(self) -> ExitCode {
        let (token, trust, payload) = match self.read_inputs() {
            Ok(inputs) => inputs,
            Err(message) => {
                eprintln!("callway: {message}");
                return ExitCode::from(super::USAGE);
            }
        };
        let event = (self.channel.as_str(), &payload);
        let token = token.as_ref();
        match client::publish(&self.via, token, &trust, event, self.timeout).await {
            Ok(kept) => match print_result(&kept, self.json) {
                Ok(()) => ExitCode::SUCCESS,
                Err(_) => ExitCode::FAILURE, // nobody reads any more
            },
            Err(fault) => {
                print_fault(&fault, self.json);
                ExitCode::from(exit_code(fault.kind))
            }
        }
    }

    fn read_inputs(&self) -> Result<(Option<Secret>, Trust, Payload), String> {
        refuse_brokers(&self.via)?;
        if self.payload == "-" && self.token.reads_stdin() {
            return Err("payload and token cannot both come from standard input".into());
        }
        let token = self.token.read()?;
        let trust = load_trust(self.ca.as_deref())?;
        let mut payload = Payload::from_body(input::read(&self.payload)?, None);
        payload.settle_leniently(DEPTH);
        Ok((token, trust, payload))
    }
}

/// Says what to use instead: only the row of a channel tells its topic, and that is the daemon's.
pub(super) fn refuse_brokers(via: &Address) -> Result<(), String> {
    let instead = match via {
        // Whether that is a callway, it says itself.
        Address::Ws(_) | Address::Http(_) | Address::Mqtt(_) => return Ok(()),
        Address::Amqp(_) => {
            "the exchange and routing key of its row (rabbitmqadmin publish, or a queue bound there)"
        }
    };
    Err(format!(
        "over a broker a channel has no name of its own: use {instead}, which `callway routes \
         CHANNEL` shows; or --via ws:// or http://"
    ))
}

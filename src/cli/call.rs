//! `callway call`: makes one call and prints its outcome.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use crate::call::Payload;
use crate::client::{self, Address, Request, Trust};

use super::credential::{TokenArgs, load_trust};
use super::input;
use super::outcome::{exit_code, print_fault, print_result};

/// Params may be nested as deeply as any daemon could be told to take.
const DEPTH: usize = 1000;

/// What `callway call` is given.
#[derive(Clone, Debug, clap::Args)]
pub struct CallArgs {
    /// The method, such as pumps/7/start
    method: String,
    /// JSON; `-` reads it from standard input, `@FILE` from a file
    params: Option<String>,
    /// Where: ws:// wss:// http:// https:// mqtt://HOST/PREFIX mqtts:// amqp://HOST/VHOST?queue=Q
    /// amqps://. A broker's own login stands in the URL as user:password@
    #[arg(long, value_name = "URL")]
    via: Address,
    /// How long the call may take
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = crate::call::parse_duration)]
    timeout: Duration,
    /// Idempotency key: a repeat with the same one gets the first outcome, and nothing runs twice
    #[arg(long)]
    key: Option<String>,
    /// Print results and faults as JSON on one line, also on a terminal
    #[arg(long)]
    json: bool,
    /// Believe the certificate authorities in this PEM file instead of the system's
    #[arg(long, value_name = "PATH")]
    ca: Option<PathBuf>,
    #[command(flatten)]
    token: TokenArgs,
}

impl CallArgs {
    /// Makes the call.
    pub async fn run(self) -> ExitCode {
        let (token, trust, text) = match self.read_inputs() {
            Ok(inputs) => inputs,
            Err(message) => {
                eprintln!("callway: {message}");
                return ExitCode::from(super::USAGE);
            }
        };
        let mut params = Payload::unchecked_json(text);
        if let Err(fault) = params.check(DEPTH) {
            print_fault(&fault, self.json);
            if !self.json {
                eprintln!("  a string needs quotes of its own: '\"text\"'");
            }
            return ExitCode::from(exit_code(fault.kind));
        }
        let request = Request {
            method: self.method,
            params,
            timeout: self.timeout,
            key: self.key,
        };
        match client::call(&self.via, token.as_ref(), &trust, &request).await {
            Ok(result) => match print_result(&result, self.json) {
                Ok(()) => ExitCode::SUCCESS,
                Err(_) => ExitCode::FAILURE, // nobody reads any more
            },
            Err(fault) => {
                print_fault(&fault, self.json);
                ExitCode::from(exit_code(fault.kind))
            }
        }
    }

    fn read_inputs(&self) -> Result<(Option<crate::auth::Secret>, Trust, Vec<u8>), String> {
        if self.params.as_deref() == Some("-") && self.token.reads_stdin() {
            return Err("params and token cannot both come from standard input".into());
        }
        let token = self.token.read()?;
        let trust = load_trust(self.ca.as_deref())?;
        let params = match &self.params {
            None => Vec::new(),
            Some(text) => input::read(text)?,
        };
        Ok((token, trust, params))
    }
}

//! `callway subscribe`: prints the events of a channel until it is told to stop.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use crate::auth::Secret;
use crate::call::Fault;
use crate::client::{Address, Following, Told, Trust};
use crate::link::Backoff;

use super::credential::{TokenArgs, load_trust};
use super::outcome::{exit_code, print_fault, worth_another_try};
use super::publish::refuse_brokers;

/// What `callway subscribe` is given.
#[derive(Clone, Debug, clap::Args)]
pub struct SubscribeArgs {
    /// The channel, such as telemetry/7
    channel: String,
    /// Begin behind this event, as far as the channel's history has what came since
    #[arg(long, value_name = "POSITION")]
    since: Option<String>,
    /// Where: ws:// wss:// (a jsonrpc endpoint), http:// https:// (an http endpoint), mqtt:// mqtts://
    /// (an mqtt endpoint, which knows no positions)
    #[arg(long, value_name = "URL")]
    via: Address,
    /// End after so many events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Print faults as JSON on one line; events always are
    #[arg(long)]
    json: bool,
    /// Believe the certificate authorities in this PEM file instead of the system's
    #[arg(long, value_name = "PATH")]
    ca: Option<PathBuf>,
    #[command(flatten)]
    token: TokenArgs,
}

impl SubscribeArgs {
    /// Prints events; connects again where it left off whenever the connection is lost.
    pub async fn run(self) -> ExitCode {
        let (token, trust) = match self.read_inputs() {
            Ok(inputs) => inputs,
            Err(message) => {
                eprintln!("callway: {message}");
                return ExitCode::from(super::USAGE);
            }
        };
        let mut reader = Reader {
            since: self.since.clone(),
            left: self.count,
            begun: false,
            args: &self,
            token,
            trust,
        };
        reader.run().await
    }

    fn read_inputs(&self) -> Result<(Option<Secret>, Trust), String> {
        refuse_brokers(&self.via)?;
        Ok((self.token.read()?, load_trust(self.ca.as_deref())?))
    }
}

struct Reader<'a> {
    args: &'a SubscribeArgs,
    token: Option<Secret>,
    trust: Trust,
    /// Where to go on.
    since: Option<String>,
    /// How many events are still wanted.
    left: Option<u64>,
    /// It worked once.
    begun: bool,
}

/// Why printing is over.
enum Over {
    /// All that was wanted is printed.
    Done,
    /// Nobody reads any more.
    Unread,
}

impl Reader<'_> {
    async fn run(&mut self) -> ExitCode {
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));
        loop {
            let fault = match self.follow(&mut backoff).await {
                Ok(Over::Done) => return ExitCode::SUCCESS,
                Ok(Over::Unread) => return ExitCode::FAILURE,
                Err(fault) => fault,
            };
            // Who was never let in learns why at once.
            if !self.begun || !worth_another_try(fault.kind) {
                print_fault(&fault, self.args.json);
                return ExitCode::from(exit_code(fault.kind));
            }
            eprintln!("callway: {fault}; connecting again");
            tokio::time::sleep(backoff.next()).await;
        }
    }

    /// Follows for as long as one connection lasts.
    async fn follow(&mut self, backoff: &mut Backoff) -> Result<Over, Fault> {
        let SubscribeArgs { via, channel, .. } = self.args;
        let (token, since) = (self.token.as_ref(), self.since.as_deref());
        let mut following = Following::begin(via, token, &self.trust, channel, since).await?;
        backoff.reset();
        self.begun = true;
        let begun = &following.begun;
        match (since, begun.recovered) {
            (None, _) => match &begun.position {
                Some(position) => eprintln!("callway: subscribed to {channel} at {position}"),
                None => eprintln!("callway: subscribed to {channel}"),
            },
            (Some(since), true) => eprintln!("callway: subscribed to {channel} from {since} on"),
            (Some(since), false) => {
                eprintln!("callway: subscribed to {channel}; events since {since} may be missing");
            }
        }
        if since.is_none() {
            self.since.clone_from(&begun.position);
        }
        loop {
            let Told { json, position } = following.next().await?;
            let mut out = io::stdout().lock();
            if writeln!(out, "{json}").and_then(|()| out.flush()).is_err() {
                return Ok(Over::Unread);
            }
            self.since = position;
            if let Some(left) = &mut self.left {
                *left -= 1;
                if *left == 0 {
                    return Ok(Over::Done);
                }
            }
        }
    }
}

//! What a connection that receives does beside reading: subscribes and stays subscribed, sends
//! acknowledgements, watches, and takes leave.

use std::sync::OnceLock;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use super::Line;
use crate::link::mqtt::connection::Client;
use crate::link::mqtt::receipt::Due;
use crate::link::mqtt::sending::{FAREWELL, RESUBSCRIBE, refused};
use crate::link::mqtt::setup::Session;
use crate::link::mqtt::subscription::Subscription;
use crate::link::mqtt::watch::{Vital, Watched, watch};
use crate::observe::LinkState;

/// How long the broker may take to answer a SUBSCRIBE: before that it sends what it kept.
const SUBSCRIBE: Duration = Duration::from_secs(60);
/// Filters in one packet; some brokers take no more.
const FILTERS: usize = 8;
/// How long a stop waits for the last receipts.
const LAST: Duration = Duration::from_millis(300);

/// Takes a connection through its life, beside the pump.
pub(super) struct Guide<'a> {
    line: &'a Line<'a>,
    client: &'a Client,
    vital: &'a Vital,
    /// Why it takes leave.
    parting: &'a OnceLock<Result<(), String>>,
    /// What is shown while the broker answers.
    standing: Mutex<(LinkState, String)>,
}

impl<'a> Guide<'a> {
    /// For one connection.
    pub fn new(
        line: &'a Line<'a>,
        client: &'a Client,
        vital: &'a Vital,
        parting: &'a OnceLock<Result<(), String>>,
    ) -> Guide<'a> {
        Guide {
            line,
            client,
            vital,
            parting,
            standing: Mutex::new((LinkState::Connecting, String::new())),
        }
    }

    /// Until the connection is given up, and why; or `Ok` if it was told to stop.
    pub async fn run(&self, acceptance: oneshot::Receiver<bool>) -> Result<(), String> {
        let stop = &self.line.setup.stop;
        // The pump ends by itself if the broker takes too long to accept.
        let resumed = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            accepted = acceptance => accepted.map_err(|_| "the connection ended")?,
        };
        let subscribed = self.stay_subscribed(resumed);
        let dead = watch(self.vital, self);
        tokio::pin!(subscribed, dead);
        loop {
            tokio::select! {
                biased;
                due = self.due() => match due {
                    Due::Acks(acks) => {
                        for tag in acks {
                            self.client.acknowledge(tag).map_err(|_| "the connection ended")?;
                        }
                    }
                    Due::Refused => {
                        let why = "a message could not be kept, so the broker has to send it again";
                        return self.leave(Err(why.into())).await;
                    }
                    Due::Nothing => return self.leave(Ok(())).await,
                },
                ended = &mut subscribed => return ended,
                why = &mut dead => return Err(why),
            }
        }
    }

    /// What is to be acknowledged, or, once it is told to stop, that nothing is any more.
    async fn due(&self) -> Due {
        let ledger = &self.line.ledger;
        tokio::select! {
            biased;
            due = ledger.due() => due,
            () = self.line.setup.stop.cancelled() => {
                timeout(LAST, ledger.last()).await.unwrap_or(Due::Nothing)
            }
        }
    }

    /// Ends the connection once what is queued was sent.
    async fn leave(&self, outcome: Result<(), String>) -> Result<(), String> {
        self.parting.set(outcome.clone()).ok();
        self.client.disconnect(FAREWELL);
        // The pump ends when all is sent, and with it this.
        sleep(FAREWELL * 2).await;
        outcome
    }

    /// Subscribes everything, gives up what an earlier configuration had subscribed, and goes on
    /// with what the broker refused. Ends only with the reason why it cannot.
    async fn stay_subscribed(&self, resumed: bool) -> Result<(), String> {
        let inlets = self.line.setup.inward.inlets.iter();
        let wanted: Vec<_> = inlets
            .flat_map(|inlet| inlet.subscriptions.clone())
            .collect();
        let filters: Vec<_> = wanted.iter().map(|wanted| wanted.filter.clone()).collect();
        let memory = match &self.line.setup.inward.session {
            Session::Kept(memory) => Some(memory),
            Session::Clean => None,
        };
        let mut gone = Vec::new();
        if let Some(memory) = memory {
            gone = memory.add(&filters).await;
        }
        let mut open = self.subscribe(wanted).await?;
        if let Some(memory) = memory.filter(|_| !gone.is_empty()) {
            if resumed {
                self.unsubscribe(&gone).await?;
            }
            memory.keep(&filters).await;
        }
        while !open.is_empty() {
            sleep(RESUBSCRIBE).await;
            open = self.subscribe(open).await?;
        }
        std::future::pending().await
    }

    /// Asks for subscriptions, shows the outcome, and returns what the broker refused.
    async fn subscribe(&self, wanted: Vec<Subscription>) -> Result<Vec<Subscription>, String> {
        let ended = "the connection ended";
        let mut asked = Vec::new();
        for some in wanted.chunks(FILTERS) {
            asked.push(self.client.subscribe(some).map_err(|_| ended)?);
        }
        let mut answers = Vec::with_capacity(wanted.len());
        for asked in asked {
            match timeout(SUBSCRIBE, asked.wait()).await {
                Ok(some) => answers.extend(some.ok_or(ended)?),
                Err(_) => return Err("the broker does not answer a SUBSCRIBE".into()),
            }
        }
        let mut open = Vec::new();
        let mut standing = (LinkState::Up, String::new());
        for (wanted, answer) in wanted.into_iter().zip(answers) {
            if let Some(reason) = answer {
                standing = (LinkState::Down, refused(&wanted.filter, &reason));
                open.push(wanted);
            }
        }
        self.line.tell(standing.0, &standing.1);
        *self.standing.lock() = standing;
        Ok(open)
    }

    async fn unsubscribe(&self, gone: &[String]) -> Result<(), String> {
        for some in gone.chunks(FILTERS) {
            let asked = self.client.unsubscribe(some);
            let asked = asked.map_err(|_| "the connection ended")?;
            if !timeout(SUBSCRIBE, asked.wait()).await.unwrap_or(false) {
                return Err("the broker does not answer an UNSUBSCRIBE".into());
            }
        }
        tracing::info!(bus = %self.line.setup.bus.common.name, ?gone, "unsubscribed");
        Ok(())
    }
}

impl Watched for Guide<'_> {
    fn tracked(&self) -> u64 {
        0
    }

    fn is_waiting(&self) -> bool {
        false
    }

    fn ask(&self) {
        // Nothing is subscribed by this name, and that must be said.
        let nothing = self.line.setup.inward.client_id.clone();
        self.client.unsubscribe(&[nothing]).ok();
    }

    fn show_stalled(&self, stalled: bool) {
        let (state, why) = self.standing.lock().clone();
        if stalled {
            self.line
                .tell(LinkState::Down, "the broker does not answer");
        } else {
            self.line.tell(state, &why);
        }
    }
}

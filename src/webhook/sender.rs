//! The task of one webhook: posts what waits, in the order of its thread, until somebody has taken
//! it or four hours are over.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use reqwest::Client;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use tokio::time::timeout;

use super::record::Header;
use crate::call::{Fault, Kind, unix_ms};
use crate::client::cause;
use crate::config::Webhook;
use crate::context::Context;
use crate::spool::{Consumer, Item};
use crate::store::{Letter, LetterKind};

/// Requests of one hook that are under way at once, each of another thread.
const AT_ONCE: usize = 16;
/// Records that are taken up, most of which may wait for an earlier one of their thread.
const WINDOW: usize = 256;
/// How long one may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// The wait before the second try; it doubles.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(10 * 60);
/// What was not taken by then is dead.
const LIFE: Duration = Duration::from_secs(4 * 60 * 60);

/// Posts what one webhook is owed.
pub(super) struct Sender {
    context: Context,
    client: Client,
    hook: Webhook,
}

/// A record that was taken up.
struct Parcel {
    item: Item,
    header: Header,
    body: Bytes,
}

/// The thread of a parcel; one without waits for no other.
type Lane = Option<String>;
type UnderWay<'a> = FuturesUnordered<BoxFuture<'a, (Parcel, Result<(), Fault>)>>;

impl Sender {
    pub(super) fn new(context: &Context, client: Client, hook: Webhook) -> Sender {
        Sender {
            context: context.clone(),
            client,
            hook,
        }
    }

    /// Until the process stops. What was not taken then is posted by the next one.
    pub(super) async fn run(self, mut consumer: Consumer) {
        let stop = self.context.stop.clone();
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = self.send_all(&mut consumer) => {}
        }
    }

    async fn send_all(&self, consumer: &mut Consumer) {
        let mut under_way = UnderWay::new();
        // Of each thread that is being posted to, what comes behind.
        let mut behind: HashMap<Lane, VecDeque<Parcel>> = HashMap::new();
        let mut waiting = 0;
        loop {
            let room = under_way.len() < AT_ONCE && under_way.len() + waiting < WINDOW;
            tokio::select! {
                biased;
                Some((parcel, posted)) = under_way.next() => {
                    let lane = parcel.header.thread.clone();
                    let went = self.settle(parcel, posted).await;
                    let Some(queue) = behind.get_mut(&lane) else { continue };
                    match went.then(|| queue.pop_front()).flatten() {
                        Some(next) => {
                            waiting -= 1;
                            under_way.push(self.send(next).boxed());
                        }
                        // Dropped, they come again in their order, behind the one that failed.
                        None => waiting -= behind.remove(&lane).map_or(0, |queue| queue.len()),
                    }
                }
                item = consumer.next(), if room => {
                    let Some((header, body)) = Header::unpack(&item.body) else {
                        // Its checksum was right, so another callway wrote it.
                        self.context.metrics.dropped("spool", "unreadable");
                        item.done();
                        continue;
                    };
                    let parcel = Parcel { item, header, body };
                    let lane = parcel.header.thread.clone();
                    match behind.get_mut(&lane).filter(|_| lane.is_some()) {
                        Some(queue) => {
                            waiting += 1;
                            queue.push_back(parcel);
                        }
                        None => {
                            behind.insert(lane, VecDeque::new());
                            under_way.push(self.send(parcel).boxed());
                        }
                    }
                }
            }
        }
    }

    async fn send(&self, parcel: Parcel) -> (Parcel, Result<(), Fault>) {
        let posting = self.post(&parcel.header, parcel.body.clone());
        let posted = timeout(PATIENCE, posting).await.unwrap_or_else(|_| {
            let message = "the webhook did not answer in time";
            Err(Fault::new(Kind::Timeout, message))
        });
        (parcel, posted)
    }

    /// Says whether what comes behind it may go on.
    async fn settle(&self, parcel: Parcel, posted: Result<(), Fault>) -> bool {
        let Parcel { item, header, body } = parcel;
        let Err(fault) = posted else {
            item.done();
            return true;
        };
        let age = Duration::from_millis(unix_ms().saturating_sub(item.accepted));
        if age < LIFE.min(self.context.config.limits.spool_age) {
            tracing::debug!(queue = %self.hook.queue, %fault, "a webhook is tried again");
            let wait = wait_before(item.attempts).min(LIFE - age);
            item.later(wait);
            return false;
        }
        tracing::warn!(queue = %self.hook.queue, %fault, "a webhook was not taken in four hours");
        let name = header.thread.as_deref().unwrap_or(&header.id);
        let (kind, source) = (LetterKind::Webhook, &self.hook.queue);
        let letter = Letter::new(kind, name, source, &fault, &header, body);
        match self.context.bury(letter).await {
            Ok(()) => item.done(),
            Err(_not_kept) => {
                // It stays where it is until it can be buried.
                item.later(LONGEST_WAIT);
                return false;
            }
        }
        true
    }

    /// Any 2xx is an acknowledgement; redirects are none, and are not followed.
    async fn post(&self, header: &Header, body: Bytes) -> Result<(), Fault> {
        let mut request = self
            .client
            .post(self.hook.url.clone())
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .header("callway-webhook-id", header.id.as_str());
        if let Some(token) = &self.hook.token {
            let value = HeaderValue::from_str(&format!("Bearer {}", token.expose()));
            let mut value = value.map_err(|_| {
                Fault::new(
                    Kind::Internal,
                    "the webhook's token cannot stand in a header",
                )
            })?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        let answered = request.body(body).send().await;
        // The URL of a hook may be a secret.
        let response = answered.map_err(|error| {
            let error = error.without_url();
            tracing::debug!(queue = %self.hook.queue, error = cause(&error), "a webhook failed");
            Fault::unavailable("connect", "the webhook cannot be reached")
        })?;
        match response.status() {
            status if status.is_success() => Ok(()),
            status => {
                let message = format!("the webhook answered {status}");
                Err(Fault::new(Kind::TargetError, message))
            }
        }
    }
}

/// Doubles with every try.
fn wait_before(attempts: u32) -> Duration {
    (FIRST_WAIT * 2u32.pow(attempts.min(10))).min(LONGEST_WAIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_bound() {
        let seconds: Vec<_> = (0..4).map(|tries| wait_before(tries).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8]);
        assert_eq!(wait_before(u32::MAX), LONGEST_WAIT);
    }
}

//! A worker's side of the registry: its offer, and the calls that were put to it.

use std::collections::HashMap;
use std::sync::Arc;
use std::task::{Context, Poll};

use serde_json::value::RawValue;
use tokio::sync::{mpsc, oneshot};

use super::registry::Workers;
use super::{Ask, WorkerAnswer};
use crate::call::Progress;
use crate::router::Pattern;

/// What comes in for a worker.
#[derive(Debug)]
pub enum Mail {
    /// A call; its number comes back with the answer.
    Ask(u64, Box<Ask>),
    /// Nobody waits for this one any more.
    Cancelled(u64),
}

/// Held by a connection for as long as its client is a worker. Dropping it withdraws the offer
/// and fails, at once, the calls that the worker has.
pub struct Seat {
    workers: Arc<Workers>,
    id: u64,
    mail: mpsc::Receiver<Mail>,
    /// The calls that the worker has, by number.
    asked: HashMap<u64, Asked>,
}

struct Asked {
    reply: oneshot::Sender<WorkerAnswer>,
    progress: Option<Progress>,
}

impl Seat {
    /// A seat without an offer.
    pub fn take(workers: &Arc<Workers>) -> Seat {
        let (id, mail) = workers.join();
        Seat {
            workers: workers.clone(),
            id,
            mail,
            asked: HashMap::new(),
        }
    }

    /// Offers to answer these methods, in place of those offered before.
    pub fn offer(&self, methods: Vec<Pattern>, concurrency: usize) {
        self.workers.offer(self.id, methods, concurrency);
    }

    /// The next piece of mail. Whoever polls must put an [`Ask`] in the worker's hands with
    /// [`Seat::hand_over`].
    pub fn poll_mail(&mut self, cx: &mut Context<'_>) -> Poll<Option<Mail>> {
        self.mail.poll_recv(cx)
    }

    /// Notes that the worker has this call.
    pub fn hand_over(&mut self, number: u64, ask: Ask) {
        let Ask {
            reply, progress, ..
        } = ask;
        self.asked.insert(number, Asked { reply, progress });
    }

    /// Forgets a call that nobody waits for. Says whether the worker had it.
    pub fn forget(&mut self, number: u64) -> bool {
        self.asked.remove(&number).is_some()
    }

    /// Hands the worker's answer to whoever waits. Says whether somebody does: an answer may be
    /// late, the second one, or made up.
    pub fn answer(&mut self, number: u64, answer: WorkerAnswer) -> bool {
        match self.asked.remove(&number) {
            Some(asked) => asked.reply.send(answer).is_ok(),
            None => false,
        }
    }

    /// Passes interim news on.
    pub fn progress(&self, number: u64, data: Box<RawValue>) {
        let asked = self.asked.get(&number);
        if let Some(progress) = asked.and_then(|asked| asked.progress.as_ref()) {
            progress.send(data);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.workers.leave(self.id);
    }
}

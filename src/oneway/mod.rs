//! One-way calls: accepted once they are on disk, carried out later, at least once.
//!
//! A call is one-way if its route says so, or if it came over a bus without an address for the
//! reply. Its caller gets a receipt with the call's id, by which its state can be asked for.

mod record;
mod runner;
mod shares;
mod states;

use std::sync::Arc;

use bytes::Bytes;

pub use self::record::Header;
pub use self::runner::start;
pub use self::states::State;
use self::states::States;
use crate::call::{Call, CallId, Fault, Kind, Outcome, Reply, parcel};
use crate::spool::{Lane, Spool};
use crate::store::{Letter, LetterKind, Store};

/// Their queue in the spool.
pub const QUEUE: &str = "calls";

/// The one-way calls of this process.
pub struct OneWay {
    spool: Spool,
    store: Store,
    states: Arc<States>,
}

impl OneWay {
    /// Over the spool that keeps them, and the store that keeps the dead.
    pub fn new(spool: Spool, store: Store) -> OneWay {
        let states = Arc::new(States::default());
        let known = states.clone();
        spool.when_purged(QUEUE, move || known.purged());
        OneWay {
            spool,
            store,
            states,
        }
    }

    /// Keeps a call; the receipt says that it is on disk.
    ///
    /// Returns `unavailable` if it cannot be kept, `overloaded` if too much waits for the disk.
    pub async fn accept(&self, call: &Call) -> Outcome {
        let record = record::write(call).ok_or_else(unfit)?;
        let caller = &call.caller.token().name;
        // Before it can be carried out, so that no later state is overwritten.
        self.states.begin(call.id, caller);
        self.keep(call.id, record).await?;
        Ok(Reply::receipt(call.id))
    }

    /// How far a call of this caller has come.
    ///
    /// Returns `method_not_found` if nothing is known of it, or no more.
    pub async fn state(&self, id: CallId, caller: &str) -> Result<State, Fault> {
        if let Some(state) = self.states.of(id, caller) {
            return Ok(state);
        }
        // The dead are remembered for longer than this process.
        match self.store.dead_caller(id).await? {
            Some(name) if name == caller => Ok(State::Dead),
            _ => Err(Fault::new(
                Kind::MethodNotFound,
                "no one-way call of yours has this id, or it was done long ago",
            )),
        }
    }

    /// Puts a dead call back among those that wait.
    pub async fn revive(&self, letter: Letter) -> Result<(), Fault> {
        let header = serde_json::Value::Object(letter.headers);
        let header: Header = serde_json::from_value(header).map_err(|_| unfit())?;
        let record = parcel::pack(&header, &letter.body).ok_or_else(unfit)?;
        let id = header.id().ok_or_else(unfit)?;
        // Where it is not kept, it stays among the dead, whose store knows it.
        self.states.begin(id, &header.caller);
        self.keep(id, record).await
    }

    /// Keeps a call of which the state is known; it is forgotten if it cannot be kept.
    async fn keep(&self, id: CallId, record: Bytes) -> Result<(), Fault> {
        let kept = match self.spool.append(QUEUE, Lane::Own, record) {
            Ok(appended) => appended.await.map_err(Fault::from),
            Err(fault) => Err(fault),
        };
        match &kept {
            Ok(()) => self.states.kept(id),
            Err(_fault) => self.states.forget(id),
        }
        kept
    }

    /// Calls that an earlier process accepted are known again.
    fn remember(&self, record: &Bytes) {
        if let Some((header, _)) = record::read(record)
            && let Some(id) = header.id()
        {
            self.states.set(id, &header.caller, State::Queued);
        }
    }
}

/// A call that can never be carried out, as a dead letter.
pub fn letter(call: &Call, fault: &Fault) -> Letter {
    letter_of(&Header::of(call), call.params.bytes().clone(), fault)
}

fn letter_of(header: &Header, params: Bytes, fault: &Fault) -> Letter {
    let (method, via) = (&header.method, header.via.as_str());
    Letter {
        call_id: header.id(),
        ..Letter::new(LetterKind::Call, method, via, fault, header, params)
    }
}

fn unfit() -> Fault {
    Fault::new(Kind::Internal, "the call cannot be written down")
}

#[cfg(test)]
mod tests;

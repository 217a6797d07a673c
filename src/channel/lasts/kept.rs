//! Last events as the store keeps them, and back.

use std::sync::Arc;

use super::{Last, Lasts};
use crate::auth::{Caller, Verb};
use crate::call::unix_ms;
use crate::channel::{Event, Hub, Keeping, Manner, unkept};
use crate::store::KeptLast;

impl Lasts {
    /// Keeps it on disk, in the order of the calls.
    pub(super) fn keep(&self, last: &Last) -> Keeping {
        let (event, manner) = (&last.event, last.manner.as_ref());
        let beside = manner.and_then(|manner| manner.beside.as_deref());
        let kept = self.store.keep_last(KeptLast {
            channel: event.channel.clone(),
            id: event.id,
            time: event.time,
            payload: event.payload.clone(),
            caller: last.by.as_ref().map(|by| by.token().name.clone()),
            qos: manner.map(|manner| manner.qos),
            expires: manner.and_then(|manner| manner.expires),
            // Nothing in it fails to be JSON.
            beside: beside.and_then(|beside| serde_json::to_string(beside).ok()),
        });
        kept.unwrap_or_else(unkept)
    }

    /// Forgets it on disk, in the order of the calls.
    pub(super) fn forget(&self, channel: &Arc<str>) -> Keeping {
        let forgotten = self.store.forget_last(channel.clone());
        forgotten.unwrap_or_else(unkept)
    }
}

impl Hub {
    /// Takes up the last events of earlier runs: those of channels that there are, left by callers
    /// who still may. `by_name` knows the callers. If they cannot be read, that costs them, not the
    /// start.
    pub async fn restore_lasts(&self, by_name: impl Fn(&str) -> Option<Caller>) {
        let kept = match self.store.lasts().await {
            Ok(kept) => kept,
            Err(fault) => {
                return tracing::error!(%fault, "retained messages cannot be read");
            }
        };
        for forgotten in self.take_up(kept, by_name) {
            if let Ok(Err(fault)) = forgotten.await {
                tracing::warn!(%fault, "a retained message that has ended stays on disk");
            }
        }
    }

    /// Returns those that may not be told any more, which are being forgotten.
    fn take_up(
        &self,
        kept: Vec<KeptLast>,
        by_name: impl Fn(&str) -> Option<Caller>,
    ) -> Vec<Keeping> {
        let mut forgotten = Vec::new();
        let (mut inside, now) = (self.lasts.inside.lock(), unix_ms());
        for kept in kept {
            let channel = kept.channel.clone();
            let by = kept.caller.as_deref().map(&by_name);
            let may = match &by {
                Some(by) => by
                    .as_ref()
                    .is_some_and(|by| by.may(Verb::Publish, &channel)),
                None => true,
            };
            let last = restored(kept, by.flatten());
            match may && last.stands(now) && self.row(&channel).is_some() {
                true => self.lasts.put(&mut inside, last),
                false => forgotten.push(self.lasts.forget(&channel)),
            }
        }
        forgotten
    }
}

fn restored(kept: KeptLast, by: Option<Caller>) -> Last {
    let beside = kept.beside.as_deref();
    let beside = beside.and_then(|text| serde_json::from_str(text).ok());
    Last {
        manner: kept.qos.map(|qos| Manner {
            from: 0,
            qos,
            empty: false,
            retain: true,
            expires: kept.expires,
            beside: beside.map(Arc::new),
        }),
        event: Event {
            id: kept.id,
            channel: kept.channel,
            time: kept.time,
            payload: kept.payload,
            hops: 0,
            traceparent: None,
        },
        by,
        kept: true,
    }
}

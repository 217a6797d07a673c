//! Scripts that subscribed to channels themselves. They are kept in the store, and beside it in
//! memory, because every event asks for them.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::call::{Fault, Kind};
use crate::store::{Store, Subscription};

/// All subscriptions of scripts; cheap to clone.
#[derive(Clone)]
pub struct Scripts {
    store: Store,
    known: Known,
}

/// By channel.
type Known = Arc<RwLock<HashMap<Arc<str>, Vec<Subscription>>>>;

impl Scripts {
    /// Over the store that keeps them; none is known yet.
    pub fn new(store: Store) -> Scripts {
        Scripts {
            store,
            known: Known::default(),
        }
    }

    /// Takes up those of earlier runs. If they cannot be read, that costs them, not the start.
    pub async fn load(&self) {
        match self.store.subscriptions().await {
            Ok(subscriptions) => {
                let mut known = self.known.write();
                for subscription in subscriptions {
                    put(&mut known, subscription);
                }
            }
            Err(fault) => tracing::error!(%fault, "subscriptions of scripts cannot be read"),
        }
    }

    /// The methods that are called with each event of a channel.
    pub fn of(&self, channel: &str) -> Vec<Subscription> {
        self.known.read().get(channel).cloned().unwrap_or_default()
    }

    /// Lets a method be called with each event of a channel from now on.
    ///
    /// Returns `overloaded` if there are too many.
    pub async fn add(&self, subscription: Subscription) -> Result<(), Fault> {
        let (known, kept) = (self.known.clone(), subscription.clone());
        let then = move || put(&mut known.write(), kept);
        if !self.store.add_subscription(subscription, then).await? {
            let message = "too many scripts have subscribed already";
            return Err(Fault::new(Kind::Overloaded, message));
        }
        Ok(())
    }

    /// Lets it be called no more.
    pub async fn remove(&self, channel: &str, method: &str) -> Result<(), Fault> {
        let (channel, method): (Arc<str>, Arc<str>) = (channel.into(), method.into());
        let (known, of, gone) = (self.known.clone(), channel.clone(), method.clone());
        let then = move || {
            let mut known = known.write();
            if let Some(some) = known.get_mut(&of) {
                some.retain(|subscription| subscription.method != gone);
                if some.is_empty() {
                    known.remove(&of);
                }
            }
        };
        self.store.remove_subscription(channel, method, then).await
    }
}

/// Once for each method; the last caller counts.
fn put(known: &mut HashMap<Arc<str>, Vec<Subscription>>, subscription: Subscription) {
    let some = known.entry(subscription.channel.clone()).or_default();
    match some
        .iter_mut()
        .find(|one| one.method == subscription.method)
    {
        Some(same) => *same = subscription,
        None => some.push(subscription),
    }
}

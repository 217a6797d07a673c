//! Requests that wait for a reply from elsewhere, found again by a correlation key.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

const SHARDS: usize = 16;

/// A bounded map from correlation key to whoever waits for the reply.
///
/// An entry lives exactly as long as its [`PendingReply`]: when the caller gives up, times out or
/// is cancelled, the entry is gone, and a late reply finds nobody.
pub struct Pending<K, T> {
    inner: Arc<Inner<K, T>>,
}

struct Inner<K, T> {
    shards: [Mutex<HashMap<K, oneshot::Sender<T>>>; SHARDS],
    hasher: RandomState,
    shard_capacity: usize,
}

impl<K, T> Clone for Pending<K, T> {
    fn clone(&self) -> Self {
        Pending {
            inner: self.inner.clone(),
        }
    }
}

impl<K: Hash + Eq + Clone, T> Pending<K, T> {
    /// A map for about `capacity` requests; beyond it [`Pending::insert`] refuses.
    pub fn new(capacity: usize) -> Pending<K, T> {
        Pending {
            inner: Arc::new(Inner {
                shards: std::array::from_fn(|_| Mutex::new(HashMap::new())),
                hasher: RandomState::new(),
                // Keys are random, so shards fill evenly; the slack keeps one from refusing early.
                shard_capacity: capacity.div_ceil(SHARDS) * 5 / 4 + 8,
            }),
        }
    }

    /// Starts to wait for the reply with this key. `None` if the map is full or the key is taken.
    pub fn insert(&self, key: K) -> Option<PendingReply<K, T>> {
        let (sender, receiver) = oneshot::channel();
        let mut shard = self.inner.shard(&key).lock();
        if shard.len() >= self.inner.shard_capacity || shard.contains_key(&key) {
            return None;
        }
        shard.insert(key.clone(), sender);
        drop(shard);
        Some(PendingReply {
            key,
            receiver,
            pending: self.clone(),
        })
    }

    /// Hands a reply to whoever waits for it. Returns it if nobody does: it is late, foreign, or
    /// the second one.
    pub fn complete(&self, key: &K, reply: T) -> Result<(), T> {
        let sender = self.inner.shard(key).lock().remove(key);
        match sender {
            Some(sender) => sender.send(reply),
            None => Err(reply),
        }
    }

    /// Ends every wait at once: each [`PendingReply`] yields `None`. For a link that was lost.
    pub fn clear(&self) {
        for shard in &self.inner.shards {
            shard.lock().clear();
        }
    }

    /// How many requests wait.
    pub fn len(&self) -> usize {
        self.inner
            .shards
            .iter()
            .map(|shard| shard.lock().len())
            .sum()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<K: Hash, T> Inner<K, T> {
    fn shard(&self, key: &K) -> &Mutex<HashMap<K, oneshot::Sender<T>>> {
        &self.shards[self.hasher.hash_one(key) as usize % SHARDS]
    }
}

/// The right to one reply. Dropping it forgets the request.
#[must_use = "dropping it forgets the request"]
pub struct PendingReply<K: Hash + Eq + Clone, T> {
    key: K,
    receiver: oneshot::Receiver<T>,
    pending: Pending<K, T>,
}

impl<K: Hash + Eq + Clone, T> PendingReply<K, T> {
    /// Waits for the reply; `None` if the map was cleared. Bounded by the caller's deadline.
    pub async fn wait(&mut self) -> Option<T> {
        (&mut self.receiver).await.ok()
    }
}

impl<K: Hash + Eq + Clone, T> Drop for PendingReply<K, T> {
    fn drop(&mut self) {
        self.pending.inner.shard(&self.key).lock().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_reply_reaches_its_call_once() {
        let pending = Pending::new(10);
        let mut reply = pending.insert(7).unwrap();
        assert!(pending.insert(7).is_none(), "the key is taken");
        assert_eq!(pending.complete(&8, "foreign"), Err("foreign"));
        assert_eq!(pending.complete(&7, "first"), Ok(()));
        assert_eq!(pending.complete(&7, "double"), Err("double"));
        assert_eq!(reply.wait().await, Some("first"));
    }

    #[tokio::test]
    async fn nothing_stays_behind() {
        let pending: Pending<u32, ()> = Pending::new(1000);
        let replies: Vec<_> = (0..1000).filter_map(|key| pending.insert(key)).collect();
        assert!(replies.len() > 900);
        drop(replies);
        assert!(pending.is_empty());
        let mut lost = pending.insert(1).unwrap();
        pending.clear();
        assert_eq!(lost.wait().await, None);
    }

    #[test]
    fn it_is_bounded() {
        let pending: Pending<u32, ()> = Pending::new(100);
        let replies: Vec<_> = (0..10_000).filter_map(|key| pending.insert(key)).collect();
        assert!(replies.len() < 300);
    }
}

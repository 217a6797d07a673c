//! What was asked of a broker that outlasts a connection: remembered in the store, so that what a
//! newer configuration does not want any more can be taken back.

use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::store::Store;

/// A list that is remembered under a name.
pub(super) struct Memory<T> {
    store: Store,
    name: String,
    _items: PhantomData<fn() -> T>,
}

impl<T: Serialize + DeserializeOwned + Clone + PartialEq> Memory<T> {
    /// Nothing is looked up yet.
    pub fn new(store: &Store, name: String) -> Memory<T> {
        Memory {
            store: store.clone(),
            name,
            _items: PhantomData,
        }
    }

    /// What is remembered. Where that cannot be read it is nothing: to go on matters more.
    pub async fn recall(&self) -> Vec<T> {
        let found = match self.store.recall(self.name.clone()).await {
            Ok(found) => found.unwrap_or_default(),
            Err(fault) => {
                tracing::warn!(name = self.name, %fault, "what was asked of a broker is not known");
                return Vec::new();
            }
        };
        serde_json::from_slice(&found).unwrap_or_default()
    }

    /// Remembers these and no others.
    pub async fn keep(&self, items: &[T]) {
        let value = serde_json::to_vec(items).unwrap_or_default();
        if let Err(fault) = self.store.remember(self.name.clone(), value).await {
            tracing::warn!(name = self.name, %fault, "what is asked of a broker is not remembered");
        }
    }

    /// Remembers these too, before they are asked for; returns what was asked for earlier and is
    /// not among them.
    pub async fn add(&self, wanted: &[T]) -> Vec<T> {
        let known = self.recall().await;
        let mut gone = known.clone();
        gone.retain(|item| !wanted.contains(item));
        if wanted.iter().any(|item| !known.contains(item)) {
            self.keep(&[wanted, &gone].concat()).await;
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::observe::Metrics;

    #[tokio::test]
    async fn what_is_not_wanted_any_more_is_known_until_it_was_taken_back() {
        let directory = tempfile::tempdir().unwrap();
        let metrics = Arc::new(Metrics::new());
        let store = Store::open(&directory.path().join("callway.db"), &metrics).unwrap();
        let memory = || Memory::<String>::new(&store, "mqtt/field".into());
        let texts = |texts: &[&str]| texts.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>();

        assert!(memory().add(&texts(&["a", "b"])).await.is_empty());
        assert_eq!(memory().add(&texts(&["b", "c"])).await, ["a"]);
        assert_eq!(memory().add(&texts(&["b", "c"])).await, ["a"]);
        memory().keep(&texts(&["b", "c"])).await;
        assert!(memory().add(&texts(&["b", "c"])).await.is_empty());
        assert_eq!(memory().add(&[]).await, ["b", "c"]);
    }
}

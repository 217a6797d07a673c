//! `storage`: values that outlive a call.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::Asking;
use crate::call::{Fault, Kind};

/// Bytes of a name, and of a value as JSON text.
const LONGEST_NAME: usize = 255;
const LARGEST_VALUE: usize = 64 * 1024;

#[derive(Deserialize)]
pub(super) struct Scope {
    /// Shared by all scripts; else of this one alone.
    global: bool,
}

#[derive(Deserialize)]
pub(super) struct Entry {
    global: bool,
    name: String,
}

#[derive(Deserialize)]
pub(super) struct Change {
    global: bool,
    name: String,
    /// Forgotten without.
    value: Option<Box<RawValue>>,
}

impl Asking<'_> {
    fn scope(&self, global: bool) -> String {
        match global {
            true => String::new(),
            // Begins with a slash.
            false => self.script.to_owned(),
        }
    }

    /// `[value]`, or `[]`: a value may be null.
    pub(super) async fn stored(&self, entry: Entry) -> Result<Value, Fault> {
        let scope = self.scope(entry.global);
        let value = self.context.store.stored(scope, entry.name).await?;
        let value = value.and_then(|text| serde_json::from_str::<Value>(&text).ok());
        Ok(json!(Vec::from_iter(value)))
    }

    pub(super) async fn stored_names(&self, scope: Scope) -> Result<Value, Fault> {
        let scope = self.scope(scope.global);
        Ok(json!(self.context.store.stored_names(scope).await?))
    }

    pub(super) async fn put_stored(&self, change: Change) -> Result<Value, Fault> {
        let too_large = |why: &str| Err(Fault::new(Kind::TooLarge, format!("storage: {why}")));
        if change.name.len() > LONGEST_NAME {
            return too_large("a name has at most 255 bytes");
        }
        let value = change.value.map(|value| value.get().to_owned());
        if value
            .as_ref()
            .is_some_and(|text| text.len() > LARGEST_VALUE)
        {
            return too_large("a value has at most 64 KiB as JSON");
        }
        let scope = self.scope(change.global);
        match self
            .context
            .store
            .put_stored(scope, change.name, value)
            .await?
        {
            true => Ok(Value::Null),
            false => too_large("1000 values, or 4 MiB together, are kept already"),
        }
    }
}

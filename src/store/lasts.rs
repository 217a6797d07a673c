//! The last events that clients left on channels (MQTT's retained messages).

use std::sync::Arc;

use rusqlite::{Connection, Row, params};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::Store;
use super::history::{form, payload};
use crate::call::{Fault, Payload};

/// A last event as it is kept. What its texts mean is not this folder's concern.
#[derive(Clone, Debug)]
pub struct KeptLast {
    /// The channel.
    pub channel: Arc<str>,
    /// Names the event.
    pub id: Uuid,
    /// When it was published, in milliseconds since 1970.
    pub time: u64,
    /// Its payload, in the form that was settled.
    pub payload: Payload,
    /// The name of the caller who left it; `None` for a bus.
    pub caller: Option<Arc<str>>,
    /// 0, 1 or 2; `None` where no MQTT client published it.
    pub qos: Option<u8>,
    /// When it is of no use any more, in Unix milliseconds.
    pub expires: Option<u64>,
    /// JSON.
    pub beside: Option<String>,
}

impl Store {
    /// Keeps the last event of a channel, instead of the one before; done once it is on disk.
    pub fn keep_last(&self, last: KeptLast) -> Result<oneshot::Receiver<Result<(), Fault>>, Fault> {
        self.promise(move |db| {
            let mut keep = db.prepare_cached(
                "INSERT OR REPLACE INTO last
                 (channel, id, time, form, payload, caller, qos, expires, beside)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            )?;
            keep.execute(params![
                last.channel,
                last.id.as_bytes(),
                last.time as i64,
                form(&last.payload),
                &last.payload.bytes()[..],
                last.caller,
                last.qos,
                last.expires.map(|expires| expires as i64),
                last.beside,
            ])
            .map(drop)
        })
    }

    /// Forgets the last event of a channel; done once that is on disk.
    pub fn forget_last(
        &self,
        channel: Arc<str>,
    ) -> Result<oneshot::Receiver<Result<(), Fault>>, Fault> {
        self.promise(move |db| {
            db.prepare_cached("DELETE FROM last WHERE channel = ?")?
                .execute([channel])
                .map(drop)
        })
    }

    /// All of them, the oldest first.
    pub async fn lasts(&self) -> Result<Vec<KeptLast>, Fault> {
        self.read(|db| {
            let mut find = db.prepare(
                "SELECT channel, id, time, form, payload, caller, qos, expires, beside
                 FROM last ORDER BY place",
            )?;
            find.query_map([], read)?.collect()
        })
        .await
    }
}

/// Forgets what a caller left, within the same transaction.
pub(super) fn forget_of(db: &Connection, caller: &str) -> rusqlite::Result<()> {
    db.prepare_cached("DELETE FROM last WHERE caller = ?")?
        .execute([caller])
        .map(drop)
}

fn read(row: &Row<'_>) -> rusqlite::Result<KeptLast> {
    Ok(KeptLast {
        channel: row.get(0)?,
        id: Uuid::from_bytes(row.get(1)?),
        time: row.get::<_, i64>(2)?.unsigned_abs(),
        payload: payload(row.get(3)?, row.get(4)?),
        caller: row.get(5)?,
        qos: row.get(6)?,
        expires: row.get::<_, Option<i64>>(7)?.map(i64::unsigned_abs),
        beside: row.get(8)?,
    })
}

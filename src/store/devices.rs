//! Sessions of MQTT clients that outlive their connection, and the messages that wait for them.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension as _, params};
use tokio::sync::oneshot;

use super::Store;
use crate::call::{Fault, unix_ms};

/// A session as it is kept. What its texts mean is not this folder's concern.
#[derive(Clone, Debug)]
pub struct KeptDevice {
    /// Names it.
    pub number: u64,
    /// The name of the caller.
    pub caller: String,
    /// The client identifier.
    pub client: String,
    /// Seconds that it outlives its connection.
    pub expiry: u32,
    /// When its connection ended, in Unix milliseconds; `None` while it goes on.
    pub gone: Option<u64>,
    /// JSON.
    pub subscriptions: String,
}

/// A message for a client that is not acknowledged yet.
#[derive(Clone, Debug)]
pub struct KeptMessage {
    /// Its place among them.
    pub seq: u64,
    /// Where it goes.
    pub topic: String,
    /// 1 or 2.
    pub qos: u8,
    /// The retain flag.
    pub retain: bool,
    /// QoS 2: the client has received it, but it is not released.
    pub released: bool,
    /// When it is of no use any more, in Unix milliseconds.
    pub expires: Option<u64>,
    /// JSON.
    pub beside: String,
    /// The body.
    pub payload: Bytes,
}

/// Messages whose acknowledgement waits for the writer, by session and place. One that is among
/// them when its turn comes to be kept need not be written at all: a client that is there mostly
/// acknowledges before the disk has done with what came before. One of QoS 2 never is, unless it
/// has expired: it is sent once it is on disk.
#[derive(Clone, Default)]
pub(super) struct Acknowledged(Arc<Mutex<HashSet<(u64, u64)>>>);

impl Acknowledged {
    fn add(&self, message: (u64, u64)) {
        self.0.lock().insert(message);
    }

    fn take(&self, message: (u64, u64)) -> bool {
        self.0.lock().remove(&message)
    }
}

/// A session with all that is kept of it.
#[derive(Clone, Debug)]
pub struct RestoredDevice {
    /// The session.
    pub device: KeptDevice,
    /// Packet identifiers of messages of QoS 2 that the client has not released.
    pub received: Vec<u16>,
    /// What waits for it, in its order.
    pub messages: Vec<KeptMessage>,
}

impl Store {
    /// Keeps a session, or what became of it.
    pub fn keep_device(
        &self,
        device: KeptDevice,
        told: impl FnOnce(Result<(), Fault>) + Send + 'static,
    ) -> Result<(), Fault> {
        self.submit(
            move |db| {
                let mut keep = db.prepare_cached(
                    "INSERT INTO device (number, caller, client, expiry, gone, subscriptions)
                     VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (number) DO UPDATE SET
                     expiry = excluded.expiry, gone = excluded.gone,
                     subscriptions = excluded.subscriptions",
                )?;
                let gone = device.gone.map(|gone| gone as i64);
                keep.execute(params![
                    device.number as i64,
                    device.caller,
                    device.client,
                    device.expiry,
                    gone,
                    device.subscriptions,
                ])?;
                Ok(())
            },
            told,
        )
    }

    /// Forgets a session and all that waits for it.
    pub fn forget_device(&self, number: u64) -> Result<(), Fault> {
        self.submit(
            move |db| {
                for forget in [
                    "DELETE FROM device WHERE number = ?",
                    "DELETE FROM device_received WHERE device = ?",
                    "DELETE FROM device_message WHERE device = ?",
                ] {
                    db.prepare_cached(forget)?.execute([number as i64])?;
                }
                Ok(())
            },
            drop,
        )
    }

    /// Keeps that a message of QoS 2 of a client was taken; done once that is on disk.
    pub fn keep_received(
        &self,
        number: u64,
        id: u16,
    ) -> Result<oneshot::Receiver<Result<(), Fault>>, Fault> {
        self.promise(move |db| {
            let keep = "INSERT OR IGNORE INTO device_received (device, id) VALUES (?, ?)";
            db.prepare_cached(keep)?
                .execute(params![number as i64, id])?;
            Ok(())
        })
    }

    /// Forgets such a message, which the client has released; done once that is on disk.
    pub fn forget_received(
        &self,
        number: u64,
        id: u16,
    ) -> Result<oneshot::Receiver<Result<(), Fault>>, Fault> {
        self.promise(move |db| {
            db.prepare_cached("DELETE FROM device_received WHERE device = ? AND id = ?")?
                .execute(params![number as i64, id])?;
            Ok(())
        })
    }

    /// Keeps a message for a client; `told` once it is on disk, or has been forgotten meanwhile.
    pub fn keep_message(
        &self,
        number: u64,
        message: KeptMessage,
        told: impl FnOnce(Result<(), Fault>) + Send + 'static,
    ) -> Result<(), Fault> {
        let acknowledged = self.0.acknowledged.clone();
        let keep = move |db: &Connection| {
            if acknowledged.take((number, message.seq)) {
                return Ok(());
            }
            let mut keep = db.prepare_cached(
                "INSERT OR REPLACE INTO device_message
                 (device, seq, topic, qos, retain, expires, beside, payload)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            )?;
            let expires = message.expires.map(|expires| expires as i64);
            keep.execute(params![
                number as i64,
                message.seq as i64,
                message.topic,
                message.qos,
                message.retain,
                expires,
                message.beside,
                &*message.payload,
            ])?;
            Ok(())
        };
        self.submit(keep, told)
    }

    /// Forgets a message that was acknowledged.
    pub fn forget_message(&self, number: u64, seq: u64) -> Result<(), Fault> {
        let acknowledged = self.0.acknowledged.clone();
        acknowledged.add((number, seq));
        let forget = move |db: &Connection| match acknowledged.take((number, seq)) {
            true => db
                .prepare_cached("DELETE FROM device_message WHERE device = ? AND seq = ?")?
                .execute([number as i64, seq as i64]),
            // It was not written.
            false => Ok(0),
        };
        let submitted = self.submit(forget, drop);
        submitted.inspect_err(|_| {
            self.0.acknowledged.take((number, seq));
        })
    }

    /// Notes that a client has received a message of QoS 2; done once that is on disk.
    pub fn release_message(
        &self,
        number: u64,
        seq: u64,
    ) -> Result<oneshot::Receiver<Result<(), Fault>>, Fault> {
        self.promise(move |db| {
            let mut release = db.prepare_cached(
                "UPDATE device_message SET released = 1 WHERE device = ? AND seq = ?",
            )?;
            release.execute([number as i64, seq as i64])?;
            Ok(())
        })
    }

    /// All sessions that are kept; those that have ended meanwhile are forgotten.
    pub async fn devices(&self) -> Result<Vec<RestoredDevice>, Fault> {
        self.write(move |db| {
            let now = unix_ms() as i64;
            db.execute(
                "DELETE FROM device WHERE gone IS NOT NULL AND gone + expiry * 1000 <= ?",
                [now],
            )?;
            for table in ["device_received", "device_message"] {
                let strays =
                    format!("DELETE FROM {table} WHERE device NOT IN (SELECT number FROM device)");
                db.execute(&strays, [])?;
            }
            let mut devices = Vec::new();
            let mut find = db.prepare(
                "SELECT number, caller, client, expiry, gone, subscriptions
                 FROM device ORDER BY number",
            )?;
            let mut rows = find.query([])?;
            while let Some(row) = rows.next()? {
                let device = KeptDevice {
                    number: row.get::<_, i64>(0)? as u64,
                    caller: row.get(1)?,
                    client: row.get(2)?,
                    expiry: row.get(3)?,
                    gone: row.get::<_, Option<i64>>(4)?.map(|gone| gone as u64),
                    subscriptions: row.get(5)?,
                };
                devices.push(RestoredDevice {
                    received: received(db, device.number)?,
                    messages: messages(db, device.number)?,
                    device,
                });
            }
            Ok(devices)
        })
        .await
    }

    /// The highest number of a session, or of a will, that there is.
    pub async fn last_device(&self) -> Result<u64, Fault> {
        self.read(|db| {
            let last: Option<i64> = db
                .query_row(
                    "SELECT max(number) FROM (SELECT number FROM device
                     UNION ALL SELECT max(number, device) FROM device_will)",
                    [],
                    |row| row.get(0),
                )
                .optional()?
                .flatten();
            Ok(last.unwrap_or(0) as u64)
        })
        .await
    }
}

fn received(db: &Connection, number: u64) -> rusqlite::Result<Vec<u16>> {
    let mut find = db.prepare_cached("SELECT id FROM device_received WHERE device = ?")?;
    let rows = find.query_map([number as i64], |row| row.get(0))?;
    rows.collect()
}

fn messages(db: &Connection, number: u64) -> rusqlite::Result<Vec<KeptMessage>> {
    let mut find = db.prepare_cached(
        "SELECT seq, topic, qos, retain, released, expires, beside, payload
         FROM device_message WHERE device = ? ORDER BY seq",
    )?;
    let rows = find.query_map([number as i64], |row| {
        Ok(KeptMessage {
            seq: row.get::<_, i64>(0)? as u64,
            topic: row.get(1)?,
            qos: row.get(2)?,
            retain: row.get(3)?,
            released: row.get(4)?,
            expires: row.get::<_, Option<i64>>(5)?.map(|expires| expires as u64),
            beside: row.get(6)?,
            payload: row.get::<_, Vec<u8>>(7)?.into(),
        })
    })?;
    rows.collect()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::observe::Metrics;

    fn message(seq: u64) -> KeptMessage {
        KeptMessage {
            seq,
            topic: "a".to_owned(),
            qos: 1,
            retain: false,
            released: false,
            expires: None,
            beside: "{}".to_owned(),
            payload: Bytes::new(),
        }
    }

    async fn kept(store: &Store) -> Vec<u64> {
        let device = store.devices().await.unwrap().remove(0);
        device
            .messages
            .into_iter()
            .map(|message| message.seq)
            .collect()
    }

    #[tokio::test]
    async fn what_is_acknowledged_before_its_turn_is_not_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("callway.db");
        let store = Store::open(&path, &Arc::new(Metrics::new())).unwrap();
        let device = KeptDevice {
            number: 1,
            caller: "d7".to_owned(),
            client: "c".to_owned(),
            expiry: 60,
            gone: None,
            subscriptions: "[]".to_owned(),
        };
        store.keep_device(device, drop).unwrap();
        let keep = |seq| {
            let (tell, told) = oneshot::channel();
            let told_by = move |outcome: Result<(), Fault>| tell.send(outcome.is_ok()).unwrap();
            store.keep_message(1, message(seq), told_by).unwrap();
            told
        };
        assert!(keep(1).await.unwrap());
        let changes = |db: &Connection| Ok(db.total_changes());
        let before = store.write(changes).await.unwrap();
        // The writer is busy while all of this is asked for.
        let (free, busy) = mpsc::channel::<bool>();
        let wait = move |_: &Connection| Ok(busy.recv().unwrap_or_default());
        store.submit(wait, drop).unwrap();
        let (second, third) = (keep(2), keep(3));
        store.forget_message(1, 1).unwrap();
        store.forget_message(1, 2).unwrap();
        drop(free);
        assert!(second.await.unwrap() && third.await.unwrap());
        assert_eq!(kept(&store).await, [3]);
        let after = store.write(changes).await.unwrap();
        assert_eq!(after - before, 2, "the third came, and the first went");
        assert!(store.0.acknowledged.0.lock().is_empty());
    }
}

//! Wills of MQTT clients, for as long as they may have to be published.

use std::sync::Arc;

use bytes::Bytes;
use rusqlite::{Row, params};

use super::Store;
use crate::call::Fault;

/// A will as it is kept. What its texts mean is not this folder's concern.
#[derive(Clone, Debug)]
pub struct KeptWill {
    /// Names it; later ones have higher numbers.
    pub number: u64,
    /// The session that it belongs to.
    pub device: u64,
    /// The name of the caller.
    pub caller: Arc<str>,
    /// The client identifier.
    pub client: Arc<str>,
    /// Seconds between the loss of the connection and its publication.
    pub delay: u32,
    /// Where it goes.
    pub topic: String,
    /// The body.
    pub payload: Bytes,
    /// 0, 1 or 2.
    pub qos: u8,
    /// The retain flag.
    pub retain: bool,
    /// Seconds that it is of use once it is published.
    pub expiry: Option<u32>,
    /// JSON.
    pub beside: Option<String>,
}

impl Store {
    /// Keeps a will; `told` learns what came of it.
    pub fn keep_will(
        &self,
        will: KeptWill,
        told: impl FnOnce(Result<(), Fault>) + Send + 'static,
    ) -> Result<(), Fault> {
        self.submit(
            move |db| {
                let mut keep = db.prepare_cached(
                    "INSERT INTO device_will (number, device, caller, client, delay, topic,
                     payload, qos, retain, expiry, beside)
                     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                )?;
                keep.execute(params![
                    will.number as i64,
                    will.device as i64,
                    will.caller,
                    will.client,
                    will.delay,
                    will.topic,
                    &will.payload[..],
                    will.qos,
                    will.retain,
                    will.expiry,
                    will.beside,
                ])
                .map(drop)
            },
            told,
        )
    }

    /// Forgets a will: it was published, or need not be.
    pub fn forget_will(&self, number: u64) -> Result<(), Fault> {
        self.submit(
            move |db| {
                db.prepare_cached("DELETE FROM device_will WHERE number = ?")?
                    .execute([number as i64])
            },
            drop,
        )
    }

    /// All wills that are kept, the oldest first.
    pub async fn wills(&self) -> Result<Vec<KeptWill>, Fault> {
        self.read(|db| {
            let mut find = db.prepare(
                "SELECT number, device, caller, client, delay, topic, payload, qos, retain,
                 expiry, beside FROM device_will ORDER BY number",
            )?;
            find.query_map([], read)?.collect()
        })
        .await
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<KeptWill> {
    Ok(KeptWill {
        number: row.get::<_, i64>(0)?.unsigned_abs(),
        device: row.get::<_, i64>(1)?.unsigned_abs(),
        caller: row.get(2)?,
        client: row.get(3)?,
        delay: row.get(4)?,
        topic: row.get(5)?,
        payload: row.get::<_, Vec<u8>>(6)?.into(),
        qos: row.get(7)?,
        retain: row.get(8)?,
        expiry: row.get(9)?,
        beside: row.get(10)?,
    })
}

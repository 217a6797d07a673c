//! The tables, and how a database of an older callway gets to them.

use std::path::Path;

use rusqlite::Connection;

/// What each version added. A version that was released is never changed; the next one is added.
const VERSIONS: &[&str] = &[
    "
    -- Small things by name: epochs, what was subscribed.
    CREATE TABLE memo (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;

    -- Tokens made by `callway token create`; grants as JSON.
    CREATE TABLE token (
        name TEXT PRIMARY KEY, sha256 TEXT NOT NULL UNIQUE, grants TEXT NOT NULL,
        admin INTEGER NOT NULL, created INTEGER NOT NULL, expires INTEGER
    ) WITHOUT ROWID;

    -- Events that channels with a history keep. `seq` is the second half of a position.
    CREATE TABLE event (
        channel TEXT NOT NULL, seq INTEGER NOT NULL, id BLOB NOT NULL, time INTEGER NOT NULL,
        form INTEGER NOT NULL, payload BLOB NOT NULL, PRIMARY KEY (channel, seq)
    ) WITHOUT ROWID;
    CREATE INDEX event_time ON event (time);
    -- The last `seq` of each channel, the oldest that is still there, and what they take together.
    CREATE TABLE channel (
        name TEXT PRIMARY KEY, seq INTEGER NOT NULL, first INTEGER NOT NULL,
        count INTEGER NOT NULL, bytes INTEGER NOT NULL
    ) WITHOUT ROWID;

    -- Idempotency keys: `outcome` is NULL from the start of a call to its end.
    CREATE TABLE idempotency (
        caller TEXT NOT NULL, method TEXT NOT NULL, key TEXT NOT NULL, params BLOB NOT NULL,
        outcome BLOB, time INTEGER NOT NULL, PRIMARY KEY (caller, method, key)
    ) WITHOUT ROWID;
    CREATE INDEX idempotency_time ON idempotency (time);

    -- Dead letters. `headers` is a JSON object and never holds a token.
    CREATE TABLE dead (
        id INTEGER PRIMARY KEY AUTOINCREMENT, time INTEGER NOT NULL, kind TEXT NOT NULL,
        name TEXT NOT NULL, source TEXT NOT NULL, reason TEXT NOT NULL, headers TEXT NOT NULL,
        body BLOB NOT NULL, call_id TEXT
    );
    CREATE INDEX dead_call ON dead (call_id) WHERE call_id IS NOT NULL;
",
    "
    -- Accounts that clients of `action` endpoints made. `checksum` and `token` are SHA-256 hashes;
    -- `token` is NULL for who is not logged in.
    CREATE TABLE account (
        realm TEXT NOT NULL, checksum TEXT NOT NULL, caller TEXT NOT NULL UNIQUE,
        name TEXT NOT NULL, prompt TEXT NOT NULL, created INTEGER NOT NULL, token TEXT UNIQUE,
        issued INTEGER NOT NULL, used INTEGER NOT NULL, PRIMARY KEY (realm, checksum)
    );
",
    "
    -- What services keep, by scope: a service, or a token for what its services share.
    CREATE TABLE service (
        scope TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (scope, name)
    ) WITHOUT ROWID;
    CREATE TABLE service_size (
        scope TEXT PRIMARY KEY, count INTEGER NOT NULL, bytes INTEGER NOT NULL
    ) WITHOUT ROWID;
",
    "
    -- Threads of Flow clients, by the channels that they are. `secret` is a hash.
    CREATE TABLE thread (
        channel TEXT PRIMARY KEY, thread TEXT NOT NULL, client TEXT NOT NULL, secret TEXT,
        noticed INTEGER NOT NULL, used INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX thread_used ON thread (used);
",
    "
    -- What scripts keep as `storage`: JSON text, in the scope of one script or of all.
    CREATE TABLE storage (
        scope TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (scope, name)
    ) WITHOUT ROWID;

    -- Scripts that subscribed to channels.
    CREATE TABLE subscription (
        channel TEXT NOT NULL, method TEXT NOT NULL, caller TEXT NOT NULL,
        PRIMARY KEY (channel, method)
    );

    -- When scripts are to be called: a date or a cron expression, and the next time.
    CREATE TABLE schedule (
        handle TEXT PRIMARY KEY, method TEXT NOT NULL, caller TEXT NOT NULL,
        timing TEXT NOT NULL, due INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX schedule_due ON schedule (due);
",
    "
    -- Sessions of MQTT clients that outlive their connection. `gone` is when that ended, NULL while
    -- it goes on; subscriptions and the packet identifiers of what was received are JSON.
    CREATE TABLE device (
        number INTEGER PRIMARY KEY, caller TEXT NOT NULL, client TEXT NOT NULL,
        expiry INTEGER NOT NULL, gone INTEGER, subscriptions TEXT NOT NULL,
        received TEXT NOT NULL DEFAULT '[]'
    );
    -- Messages for them that were not acknowledged yet. `beside` is JSON.
    CREATE TABLE device_message (
        device INTEGER NOT NULL, seq INTEGER NOT NULL, topic TEXT NOT NULL, qos INTEGER NOT NULL,
        retain INTEGER NOT NULL, released INTEGER NOT NULL DEFAULT 0, expires INTEGER,
        beside TEXT NOT NULL, payload BLOB NOT NULL, PRIMARY KEY (device, seq)
    ) WITHOUT ROWID;
",
    "
    -- A row for each packet identifier of what was received, acknowledged and not released yet.
    CREATE TABLE device_received (
        device INTEGER NOT NULL, id INTEGER NOT NULL, PRIMARY KEY (device, id)
    ) WITHOUT ROWID;
    INSERT INTO device_received SELECT number, value FROM device, json_each(device.received);
    ALTER TABLE device DROP COLUMN received;
",
    "
    -- The last event of each channel for which a client left one (MQTT's retained messages). `caller`
    -- is who left it, NULL for a bus; `qos` is NULL where it was no MQTT client; `beside` is JSON.
    -- `place` is their order, which no clock disturbs.
    CREATE TABLE last (
        place INTEGER PRIMARY KEY, channel TEXT NOT NULL UNIQUE, id BLOB NOT NULL,
        time INTEGER NOT NULL, form INTEGER NOT NULL, payload BLOB NOT NULL, caller TEXT,
        qos INTEGER, expires INTEGER, beside TEXT
    );
",
    "
    -- Wills of MQTT clients that are connected, or lost for less than they may be. `device` is the
    -- session, which is not in `device` where it ends with its connection; `beside` is JSON.
    CREATE TABLE device_will (
        number INTEGER PRIMARY KEY, device INTEGER NOT NULL, caller TEXT NOT NULL,
        client TEXT NOT NULL, delay INTEGER NOT NULL, topic TEXT NOT NULL, payload BLOB NOT NULL,
        qos INTEGER NOT NULL, retain INTEGER NOT NULL, expiry INTEGER, beside TEXT
    );
",
];

/// Tables in the order in which they are taken over: the dearest first.
const TABLES: &[&str] = &[
    "token",
    "account",
    "service",
    "service_size",
    "thread",
    "dead",
    "device",
    "device_received",
    "device_message",
    "device_will",
    "last",
    "idempotency",
    "storage",
    "subscription",
    "schedule",
    "channel",
    "event",
    "memo",
];

/// Brings the database to the newest version.
pub(super) fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    upgrade(connection, VERSIONS)?;
    // Reads the whole schema, so that a damaged one shows now.
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))
}

fn upgrade(connection: &mut Connection, versions: &[&str]) -> rusqlite::Result<()> {
    let version: u32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    for (statements, number) in versions.iter().zip(1_u32..).skip(version as usize) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(statements)?;
        transaction.pragma_update(None, "user_version", number)?;
        transaction.commit()?;
    }
    Ok(())
}

/// Takes over what can be read of a damaged database, each table by itself.
pub(super) fn take_over(connection: &Connection, damaged: &Path) {
    let attached = connection.execute("ATTACH ? AS damaged", [damaged.display().to_string()]);
    if let Err(error) = attached {
        tracing::warn!(%error, "nothing could be read of the damaged database");
        return;
    }
    for table in TABLES {
        let copy = format!("INSERT OR IGNORE INTO main.{table} SELECT * FROM damaged.{table}");
        match connection.execute(&copy, []) {
            Ok(rows) => tracing::warn!(table, rows, "taken over from the damaged database"),
            Err(error) => tracing::error!(table, %error, "lost with the damaged database"),
        }
    }
    // What was lost of the events is not known, so their positions begin anew.
    if let Err(error) = connection.execute("DELETE FROM memo WHERE name = 'epoch'", []) {
        tracing::warn!(%error, "positions of lost events may seem to mean something");
    }
    if let Err(error) = connection.execute("DETACH damaged", []) {
        tracing::warn!(%error, "the damaged database is still attached");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_session_had_received_is_a_row_for_each() {
        let mut connection = Connection::open_in_memory().unwrap();
        let later = VERSIONS
            .iter()
            .position(|one| one.contains("device_received"));
        upgrade(&mut connection, &VERSIONS[..later.unwrap()]).unwrap();
        let session = "INSERT INTO device (number, caller, client, expiry, subscriptions, received)
                       VALUES (3, 'd7', 'c', 60, '[]', ?)";
        connection.execute(session, ["[7,65535]"]).unwrap();
        migrate(&mut connection).unwrap();
        let mut rows = connection
            .prepare("SELECT device, id FROM device_received")
            .unwrap();
        let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
        let rows: Vec<(i64, i64)> = rows.unwrap().map(Result::unwrap).collect();
        assert_eq!(rows, [(3, 7), (3, 65535)]);
    }
}

//! What must survive and be looked up again: one SQLite database, one writer that commits in
//! groups, one reader. Only this folder knows SQL; each file in it is one kind of thing that is
//! kept.

mod accounts;
mod dead;
mod devices;
mod history;
mod keys;
mod lasts;
mod leaf;
mod memo;
mod schema;
mod scripts;
mod service;
mod threads;
mod tokens;
mod triggers;
mod wills;
mod worker;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};
use tokio::sync::oneshot;

pub use self::accounts::{NewAccount, Registered};
pub use self::dead::{Buried, Letter, LetterKind};
pub use self::devices::{KeptDevice, KeptMessage, RestoredDevice};
pub use self::history::{Page, Record, Which};
pub use self::keys::{Begun, KeyName};
pub use self::lasts::KeptLast;
pub use self::scripts::Subscription;
pub use self::threads::{Admission, Claim, Known, Nonce};
pub use self::triggers::Trigger;
pub use self::wills::KeptWill;
use self::worker::Worker;
use crate::call::{Fault, Kind, unix_ms};
use crate::observe::Metrics;

/// How long the disk may take when the daemon starts.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long another process may hold the database before this one gives up.
const BUSY: Duration = Duration::from_secs(2);

/// The handle; cheap to clone. The worker threads end with the last one, after their last commit.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    writer: Worker,
    reader: Worker,
    acknowledged: devices::Acknowledged,
    metrics: Arc<Metrics>,
    path: PathBuf,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Store")
    }
}

/// Why there is no store.
#[derive(Debug, thiserror::Error)]
#[error("cannot keep anything in {path}: {why}; see [store] in the configuration")]
pub struct StoreError {
    /// The database.
    pub path: PathBuf,
    /// What the system or SQLite said.
    pub why: String,
}

impl Store {
    /// Opens the database, or makes it. One that is damaged beyond reading is set aside, with as
    /// much of it as can be read taken over, so that the daemon always starts.
    pub fn open(path: &Path, metrics: &Arc<Metrics>) -> Result<Store, StoreError> {
        let failed = |why: String| StoreError {
            path: path.to_owned(),
            why,
        };
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory).map_err(|error| failed(error.to_string()))?;
        }
        let writing = match connect(path) {
            Ok(connection) => connection,
            Err(error) if is_damage(&error) => {
                let aside = set_aside(path).map_err(|error| failed(error.to_string()))?;
                metrics.store_damaged();
                tracing::error!(
                    database = %path.display(), kept = %aside.display(), %error,
                    "the database is damaged; it was set aside and a new one begun"
                );
                let connection = connect(path).map_err(|error| failed(error.to_string()))?;
                schema::take_over(&connection, &aside);
                connection
            }
            Err(error) => return Err(failed(error.to_string())),
        };
        dead::count(&writing, metrics).map_err(|error| failed(error.to_string()))?;
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let reading = Connection::open_with_flags(path, flags);
        let reading = reading.map_err(|error| failed(error.to_string()))?;
        let writer = Worker::start("store-writes", writing, true);
        let reader = Worker::start("store-reads", reading, false);
        Ok(Store(Arc::new(Inner {
            writer: writer.map_err(|error| failed(error.to_string()))?,
            reader: reader.map_err(|error| failed(error.to_string()))?,
            acknowledged: devices::Acknowledged::default(),
            metrics: metrics.clone(),
            path: path.to_owned(),
        })))
    }

    /// Queues a change, in the order of the calls; `told` learns from the writer's thread whether
    /// it is on disk, in the same order, and must not block. Changes that wait are committed
    /// together; one that fails is taken back alone.
    ///
    /// Returns `overloaded` if too many wait; then `told` is dropped.
    pub fn submit<T: 'static>(
        &self,
        change: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
        told: impl FnOnce(Result<T, Fault>) + Send + 'static,
    ) -> Result<(), Fault> {
        self.0.submit(&self.0.writer, change, told)
    }

    /// The same, and what tells when it is on disk.
    fn promise(
        &self,
        change: impl FnOnce(&Connection) -> rusqlite::Result<()> + Send + 'static,
    ) -> Result<oneshot::Receiver<Result<(), Fault>>, Fault> {
        let (tell, told) = oneshot::channel();
        // Whoever asked may have gone away.
        self.submit(change, move |outcome| {
            tell.send(outcome).unwrap_or_default()
        })?;
        Ok(told)
    }

    /// Changes something and waits until that is on disk.
    ///
    /// Returns `overloaded` if too much waits, `unavailable` if it cannot be kept.
    pub async fn write<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Fault> {
        self.write_then(change, |_| {}).await
    }

    /// The same, and `then` learns of it too: in the order of all changes, once it is on disk, and
    /// also if whoever asked has gone away meanwhile. So what is kept in memory beside the
    /// database stays the same as it. It runs on the writer's thread and must not block.
    pub async fn write_then<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
        then: impl FnOnce(&T) + Send + 'static,
    ) -> Result<T, Fault> {
        let (told, hears) = oneshot::channel();
        let tell = move |outcome: Result<T, Fault>| {
            if let Ok(value) = &outcome {
                then(value);
            }
            // Nobody there: whoever asked has gone away meanwhile.
            told.send(outcome).unwrap_or_default();
        };
        self.submit(change, tell)?;
        hears.await.unwrap_or_else(|_| Err(Fault::shutting_down()))
    }

    /// Looks something up: what was committed when it is looked at.
    ///
    /// Returns `overloaded` if too much waits, `unavailable` if it cannot be read.
    pub async fn read<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Fault> {
        let (told, hears) = oneshot::channel();
        let answer = |outcome| told.send(outcome).unwrap_or_default();
        self.0.submit(&self.0.reader, look, answer)?;
        hears.await.unwrap_or_else(|_| Err(Fault::shutting_down()))
    }

    /// Changes something before anything runs, so on a thread that may wait.
    fn at_start<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (told, hears) = mpsc::sync_channel(1);
        // Nobody there: it took too long.
        let tell = move |outcome| told.send(outcome).unwrap_or_default();
        let outcome = self.submit(change, tell).and_then(|()| {
            let late = |_| Fault::unavailable("storage_failed", "the disk does not answer");
            hears.recv_timeout(PATIENCE).map_err(late)?
        });
        outcome.map_err(|fault| StoreError {
            path: self.0.path.clone(),
            why: fault.message.into_owned(),
        })
    }

    fn metrics(&self) -> &Arc<Metrics> {
        &self.0.metrics
    }
}

impl Inner {
    fn submit<T: 'static>(
        &self,
        worker: &Worker,
        job: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
        told: impl FnOnce(Result<T, Fault>) + Send + 'static,
    ) -> Result<(), Fault> {
        worker
            .submit(job, told)
            .inspect_err(|_| self.metrics.limit_reached("store_queue"))
    }
}

/// Opens for writing: write-ahead log, synchronised with every commit.
fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let mut connection = Connection::open(path)?;
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.set_prepared_statement_cache_capacity(64);
    schema::migrate(&mut connection)?;
    Ok(connection)
}

fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
    )
}

/// Renames a database and what belongs to it.
fn set_aside(path: &Path) -> std::io::Result<PathBuf> {
    let name = |suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let aside = format!(".damaged-{}", unix_ms());
    std::fs::rename(path, name(&aside))?;
    for beside in ["-wal", "-shm"] {
        // Not there after a clean end.
        std::fs::rename(name(beside), name(&format!("{aside}{beside}"))).unwrap_or_default();
    }
    Ok(name(&aside))
}

/// What becomes of a job whose statement, or whose commit, failed.
fn fault_of(error: &rusqlite::Error) -> Fault {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => Fault::unavailable(
            "storage_full",
            "the disk is full, so nothing can be kept; make room",
        ),
        _ => {
            tracing::error!(%error, "the database refuses");
            Fault::unavailable("storage_failed", "the database refuses; see callway's log")
        }
    }
}

fn crowded() -> Fault {
    Fault::new(
        Kind::Overloaded,
        "too much waits to be kept, try again soon",
    )
    .with_retry_after(Duration::from_secs(1))
}

#[cfg(test)]
mod tests;

//! A thread that owns one connection and does the jobs of others on it, in their order.

use std::any::Any;
use std::io;
use std::thread;

use rusqlite::Connection;
use tokio::sync::mpsc;

use super::{crowded, fault_of};
use crate::call::Fault;

/// Jobs that may wait.
const QUEUE: usize = 16_384;
/// Jobs that are committed together at most.
const GROUP: usize = 1024;

/// What a job came to: a value for whoever asked, or why there is none.
type Value = rusqlite::Result<Box<dyn Any>>;
type Work = Box<dyn FnOnce(&Connection) -> Value + Send>;
type Told = Box<dyn FnOnce(Result<Box<dyn Any>, Fault>) + Send>;

struct Job {
    work: Work,
    told: Told,
}

/// The way to such a thread. It ends when this is dropped, after its last job.
pub(super) struct Worker {
    jobs: mpsc::Sender<Job>,
}

impl Worker {
    /// Starts the thread. With `commits`, jobs that wait make one transaction together.
    pub(super) fn start(name: &str, connection: Connection, commits: bool) -> io::Result<Worker> {
        let (jobs, queue) = mpsc::channel(QUEUE);
        let thread = thread::Builder::new().name(name.into());
        thread.spawn(move || run(&connection, queue, commits))?;
        Ok(Worker { jobs })
    }

    /// Queues a job.
    pub(super) fn submit<T: 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
        told: impl FnOnce(Result<T, Fault>) + Send + 'static,
    ) -> Result<(), Fault> {
        let job = Job {
            work: Box::new(|connection| Ok(Box::new(work(connection)?))),
            told: Box::new(|outcome| {
                told(outcome.and_then(|value| match value.downcast() {
                    Ok(value) => Ok(*value),
                    Err(_other_type) => Err(Fault::shutting_down()), // what `work` made is what `told` takes
                }));
            }),
        };
        self.jobs.try_send(job).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => crowded(),
            mpsc::error::TrySendError::Closed(_) => Fault::shutting_down(),
        })
    }
}

fn run(connection: &Connection, mut queue: mpsc::Receiver<Job>, commits: bool) {
    let mut group = Vec::with_capacity(GROUP);
    while queue.blocking_recv_many(&mut group, GROUP) > 0 {
        if commits {
            commit(connection, &mut group);
        } else {
            for Job { work, told } in group.drain(..) {
                told(work(connection).map_err(|error| fault_of(&error)));
            }
        }
    }
}

/// Does all of them in one transaction, and tells each what became of it.
fn commit(connection: &Connection, group: &mut Vec<Job>) {
    let begun = connection.execute_batch("BEGIN IMMEDIATE");
    let mut failed = begun.err().map(|error| fault_of(&error));
    let mut done = Vec::with_capacity(group.len());
    for Job { work, told } in group.drain(..) {
        if failed.is_some() {
            done.push((Err(Fault::shutting_down()), told)); // told what failed below
            continue;
        }
        let value = alone(connection, work).map_err(|error| fault_of(&error));
        // Of some errors, a full disk among them, SQLite takes everything back by itself.
        if let Err(fault) = &value
            && connection.is_autocommit()
        {
            failed = Some(fault.clone());
        }
        done.push((value, told));
    }
    if failed.is_none()
        && let Err(error) = connection.execute_batch("COMMIT")
    {
        // Fails where SQLite has rolled back by itself.
        connection.execute_batch("ROLLBACK").unwrap_or_default();
        failed = Some(fault_of(&error));
    }
    for (value, told) in done {
        told(match &failed {
            Some(fault) => Err(fault.clone()),
            None => value,
        });
    }
}

/// Does one so that, if it fails, nothing of it stays.
fn alone(connection: &Connection, work: Work) -> Value {
    connection.execute_batch("SAVEPOINT job")?;
    let value = work(connection);
    let end = match value {
        Ok(_) => "RELEASE job",
        Err(_) => "ROLLBACK TO job; RELEASE job",
    };
    let ended = connection.execute_batch(end);
    // Why it failed says more than that there was nothing left to take back.
    value.and_then(|value| ended.map(|()| value))
}

//! The way into the audit log: a bounded queue and one task that writes in batches.
//!
//! When the queue is full, a call that changed something waits for room (it is told only after it is on record's way); a refused call
//! is not waited for: its entry is dropped and counted, so that a flood of refusals costs nothing but itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio_util::sync::CancellationToken;

use crate::domain::audit::{Actor, AuditEntry};
use crate::domain::clock::Ambient;
use crate::store::Db;

/// How many entries wait for the writer at most.
const QUEUE: usize = 1024;

/// How many are written at once.
const BATCH: usize = 64;

/// How long the writer waits when the database does not take a batch.
const AGAIN: Duration = Duration::from_secs(1);

/// What is known of a call when it ends.
#[derive(Clone, Debug)]
pub struct Deed {
    /// Who did it.
    pub actor: Actor,
    /// The method, `package.Service/Method`.
    pub method: String,
    /// The id of what it was done to.
    pub object: Option<String>,
    /// `ok`, or the word of the error's code.
    pub outcome: String,
    /// The request's id.
    pub request_id: String,
    /// The caller's network address.
    pub address: Option<String>,
}

/// The way into the log. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Audit {
    queue: Sender<AuditEntry>,
    dropped: Arc<AtomicU64>,
    db: Db,
    ambient: Ambient,
}

/// The task behind it.
#[derive(Debug)]
pub struct AuditWriter {
    queue: Receiver<AuditEntry>,
    dropped: Arc<AtomicU64>,
    db: Db,
}

impl Audit {
    /// A queue, and the writer that somebody must own and run.
    pub fn new(db: Db, ambient: Ambient) -> (Self, AuditWriter) {
        let (sender, receiver) = channel(QUEUE);
        let dropped = Arc::new(AtomicU64::new(0));
        let writer = AuditWriter { queue: receiver, dropped: dropped.clone(), db: db.clone() };
        (Self { queue: sender, dropped, db, ambient }, writer)
    }

    /// Records what was done; waits for room. Once the writer has gone, in the last moments of the program, it writes by itself.
    pub async fn done(&self, deed: Deed) {
        let entry = self.entry(deed);
        if let Err(back) = self.queue.send(entry).await
            && let Err(error) = self.db.insert_audit(&[back.0]).await
        {
            tracing::error!(%error, "an entry of the audit log is lost");
        }
    }

    /// Records what was refused, if there is room.
    pub fn refused(&self, deed: Deed) {
        if self.queue.try_send(self.entry(deed)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn entry(&self, deed: Deed) -> AuditEntry {
        let Deed { actor, method, object, outcome, request_id, address } = deed;
        AuditEntry { id: self.ambient.ulid(), at: self.ambient.now(), actor, method, object, outcome, request_id, address }
    }
}

impl AuditWriter {
    /// Writes what comes until `draining`, then what is left. A batch that the database does not take is tried again, while the queue
    /// fills; only at the end of the program it is lost, and said to be.
    pub async fn run(mut self, draining: CancellationToken) -> anyhow::Result<()> {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let came = tokio::select! {
                biased;
                () = draining.cancelled(), if !self.queue.is_closed() => {
                    self.queue.close();
                    continue;
                }
                came = self.queue.recv_many(&mut batch, BATCH) => came,
            };
            if came == 0 {
                return Ok(());
            }
            while let Err(error) = self.db.insert_audit(&batch).await {
                tracing::error!(%error, cause = ?error.cause(), entries = batch.len(), "the audit log could not be written");
                if draining.is_cancelled() {
                    break;
                }
                let _ = draining.run_until_cancelled(tokio::time::sleep(AGAIN)).await;
            }
            batch.clear();
            let dropped = self.dropped.swap(0, Ordering::Relaxed);
            if dropped > 0 {
                tracing::warn!(dropped, "refused calls are missing in the audit log: more came than could be written");
            }
        }
    }
}

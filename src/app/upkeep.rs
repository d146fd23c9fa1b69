//! What a gateway does by the clock, and whether it is ready.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::domain::clock::Ambient;
use crate::domain::gateway::Gateway;
use crate::rest::serve::Ready;
use crate::store::Db;

/// How often a gateway says that it lives.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// How often old rows are pruned, and how many of one organization at a time.
const PRUNE: (Duration, i64) = (Duration::from_secs(60), 1000);

/// How long entries of the audit log are kept.
const AUDIT_RETENTION: Duration = Duration::from_secs(365 * 24 * 3600);

/// How long the database may take to answer before the gateway is not ready.
const ANSWER: Duration = Duration::from_secs(2);

/// Says that the gateway lives, until `draining` is cancelled.
pub(super) async fn heartbeat(db: Db, ambient: Ambient, mut row: Gateway, draining: CancellationToken) -> anyhow::Result<()> {
    let mut beat = interval(HEARTBEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while draining.run_until_cancelled(beat.tick()).await.is_some() {
        row.heartbeat_at = ambient.now();
        if let Err(e) = db.heartbeat(&row).await {
            tracing::error!(error = %e, cause = ?e.cause(), "the heartbeat could not be written");
        }
    }
    Ok(())
}

/// Forgets what is old.
pub(super) struct Pruner {
    pub(super) db: Db,
    pub(super) ambient: Ambient,
    /// How long events are kept.
    pub(super) age: Duration,
    /// How many events of one organization are kept.
    pub(super) rows: u32,
}

impl Pruner {
    /// Prunes now and then, in small pieces so that others get their turn, until `draining` is cancelled.
    pub(super) async fn run(self, draining: CancellationToken) -> anyhow::Result<()> {
        let (every, batch) = PRUNE;
        let mut turn = interval(every);
        turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while draining.run_until_cancelled(turn.tick()).await.is_some() {
            let pruned = async {
                for old in [Old::Audit, Old::Events, Old::Beyond] {
                    self.to_the_end(old, batch).await;
                }
            };
            draining.run_until_cancelled(pruned).await;
        }
        Ok(())
    }

    async fn to_the_end(&self, old: Old, batch: i64) {
        let (mut count, now) = (0, self.ambient.now());
        loop {
            let pruned = match old {
                Old::Audit => self.db.prune_audit(now.minus(AUDIT_RETENTION), batch).await,
                Old::Events => self.db.prune_events(now.minus(self.age), batch).await,
                Old::Beyond => self.db.prune_events_beyond(i64::from(self.rows), batch).await,
            };
            match pruned {
                Ok(0) => break,
                Ok(more) => count += more,
                Err(e) => {
                    tracing::error!(error = %e, cause = ?e.cause(), ?old, "could not be pruned");
                    break;
                }
            }
            tokio::task::yield_now().await;
        }
        if count > 0 {
            tracing::debug!(count, ?old, "pruned");
        }
    }
}

/// What is pruned.
#[derive(Clone, Copy, Debug)]
enum Old {
    /// Old entries of the audit log.
    Audit,
    /// Old events.
    Events,
    /// Events beyond the number that is kept.
    Beyond,
}

/// Answers whether calls can be served: the program is not ending, and the database answers and has the tables that the program knows.
pub(super) fn ready(db: Db, draining: CancellationToken) -> Ready {
    Arc::new(move || {
        let (db, stopping) = (db.clone(), draining.is_cancelled());
        Box::pin(async move {
            let mut reasons = Vec::new();
            if stopping {
                reasons.push("shutting down".to_owned());
            }
            match timeout(ANSWER, db.is_migrated()).await {
                Ok(Ok(true)) => {}
                Ok(Ok(false)) => reasons.push("the database has other tables than this program expects".to_owned()),
                Ok(Err(_)) | Err(_) => reasons.push("the database does not answer".to_owned()),
            }
            reasons
        })
    })
}

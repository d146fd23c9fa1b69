//! What a gateway does beside its work: it says that it lives, and forgets what is old.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::domain::clock::Ambient;
use crate::domain::gateway::Gateway;
use crate::store::Db;

/// How often a gateway says that it lives.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// How often old events are pruned, and how many of one organization at a time.
const PRUNE: (Duration, i64) = (Duration::from_secs(60), 1000);

/// How long entries of the audit log are kept.
const AUDIT_RETENTION: Duration = Duration::from_secs(365 * 24 * 3600);

/// Says that the gateway lives, until `draining`.
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

/// Prunes old events and old entries of the audit log, until `draining`.
pub(super) async fn prune(db: Db, ambient: Ambient, retention: Duration, draining: CancellationToken) -> anyhow::Result<()> {
    let (every, batch) = PRUNE;
    let mut turn = interval(every);
    turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while draining.run_until_cancelled(turn.tick()).await.is_some() {
        match db.prune_audit(ambient.now().minus(AUDIT_RETENTION), batch).await {
            Ok(0) => {}
            Ok(count) => tracing::debug!(count, "old entries of the audit log were pruned"),
            Err(e) => tracing::error!(error = %e, cause = ?e.cause(), "the audit log could not be pruned"),
        }
        match db.prune_events(ambient.now().minus(retention), batch).await {
            Ok(0) => {}
            Ok(count) => tracing::debug!(count, "old events were pruned"),
            Err(e) => tracing::error!(error = %e, cause = ?e.cause(), "old events could not be pruned"),
        }
    }
    Ok(())
}

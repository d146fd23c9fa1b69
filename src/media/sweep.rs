//! Deleting files whose time is over: their own, their session's, or that of an upload that broke off. A few at a time, bytes first, so
//! that what was begun before a crash is found again.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::Files;
use crate::error::Result;

/// How often is looked.
const EVERY: Duration = Duration::from_secs(60);

/// How many files are deleted by one look into the table.
const BATCH: i64 = 50;

/// After how long an upload that was not finished has broken off.
const BROKEN: Duration = Duration::from_secs(3600);

impl Files {
    /// Sweeps every minute, and when it is asked to, until `cancel`.
    pub async fn sweep_until(&self, cancel: CancellationToken) {
        let mut turn = interval(EVERY);
        turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                () = self.0.sweep.notified() => {}
                _ = turn.tick() => {}
            }
            let sweeping = async {
                loop {
                    match self.sweep().await {
                        Ok(0) => break,
                        Ok(count) => tracing::debug!(count, "files whose time was over were deleted"),
                        Err(e) => {
                            tracing::error!(error = %e, cause = ?e.cause(), "old files could not be deleted");
                            break;
                        }
                    }
                }
            };
            if cancel.run_until_cancelled(sweeping).await.is_none() {
                return;
            }
        }
    }

    /// Looks soon: a session was deleted.
    pub fn sweep_soon(&self) {
        self.0.sweep.notify_one();
    }

    /// Deletes one batch and tells how many files it had. Files that cannot be deleted end it, so that they are told and tried again.
    pub async fn sweep(&self) -> Result<usize> {
        let now = self.0.ambient.now();
        let due = self.0.db.media_to_sweep(now, now.minus(BROKEN), BATCH).await?;
        for media in &due {
            self.0.shelf.delete(media).await?;
            self.0.db.delete_media(&media.id).await?;
        }
        Ok(due.len())
    }
}

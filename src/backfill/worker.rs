//! The loop that claims backfills of this gateway's sessions.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::job::Job;
use crate::domain::clock::Ambient;
use crate::domain::ids::GatewayId;
use crate::error::Result;
use crate::event::EventLog;
use crate::session::Supervisor;
use crate::store::Db;

/// How long a claim holds without a sign of life: well above the longest question.
pub const LEASE: Duration = Duration::from_secs(60);

/// How often the table is looked into.
const TICK: Duration = Duration::from_millis(500);

/// Backfills under way at a time on this gateway; more wait.
const MOST: usize = 16;

/// The workers of one gateway.
#[derive(Clone)]
pub struct Workers {
    /// The store.
    pub db: Db,
    /// The log's writer.
    pub log: EventLog,
    /// The running sessions.
    pub supervisor: Supervisor,
    /// This gateway.
    pub gateway: GatewayId,
    /// Clock and randomness.
    pub ambient: Ambient,
}

impl Workers {
    /// Works until `draining` is cancelled; what is under way then is given back, to be gone on with after the next start.
    pub async fn run(self, draining: CancellationToken) {
        // What a former life was at goes on at once, and not when its claim has run out.
        if let Err(error) = self.db.adopt_backfills(&self.gateway).await {
            tracing::warn!(%error, cause = error.cause().map(tracing::field::display), "cannot take up former backfills");
        }
        let mut under_way = JoinSet::new();
        loop {
            while let Some(ended) = under_way.try_join_next() {
                if let Err(error) = ended {
                    tracing::error!(%error, "a backfill's task died; it is taken up again when its claim has run out");
                }
            }
            if under_way.len() < MOST {
                match self.claim(&draining).await {
                    Ok(Some(job)) => {
                        under_way.spawn(job.run());
                        continue;
                    }
                    Ok(None) => {}
                    Err(error) => {
                        tracing::warn!(%error, cause = error.cause().map(tracing::field::display), "cannot look for backfills");
                    }
                }
            }
            tokio::select! {
                biased;
                () = draining.cancelled() => break,
                () = sleep(TICK) => {}
            }
        }
        // Each notices by itself that the gateway stops.
        while under_way.join_next().await.is_some() {}
    }

    async fn claim(&self, draining: &CancellationToken) -> Result<Option<Job>> {
        let token = self.ambient.ulid();
        let claimed = self.db.claim_backfill(&self.gateway, &token, self.ambient.now(), LEASE).await?;
        Ok(claimed.map(|row| Job::new(self.clone(), row, token, draining.clone())))
    }
}

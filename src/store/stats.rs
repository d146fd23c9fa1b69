//! What the metrics count by the rows.

use crate::domain::clock::Time;
use crate::domain::ids::GatewayId;
use crate::error::Result;
use crate::store::{Db, Row, args};

/// Numbers of one moment. None of them belongs to an organization, a session or a number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// The sessions of one gateway by status.
    pub sessions: Vec<(String, i64)>,
    /// Events that are kept, of all organizations.
    pub events: i64,
    /// Webhooks: `on`, `paused` for failures, `off`.
    pub webhooks: Vec<(String, i64)>,
    /// Deliveries that wait or are under way.
    pub deliveries_pending: i64,
    /// When the oldest of them was planned.
    pub oldest_pending: Option<Time>,
    /// Deliveries that were given up.
    pub deliveries_dead: i64,
    /// Messages that are due and whose way has not ended.
    pub outbox_due: i64,
    /// Since when the oldest of them is due.
    pub oldest_due: Option<Time>,
}

/// Connections of the pool that serves most calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolUse {
    /// Open connections.
    pub open: u32,
    /// How many of them are idle.
    pub idle: usize,
}

fn pair(row: &Row) -> Result<(String, i64)> {
    Ok((row.get(0)?, row.get(1)?))
}

impl Db {
    /// Counts what the metrics tell. Every count goes by an index or over few rows.
    pub async fn stats(&self, gateway: &GatewayId, now: Time) -> Result<Stats> {
        let by_status = "SELECT status, COUNT(*) FROM sessions WHERE gateway_id = $1 GROUP BY status ORDER BY status";
        let sessions = self.rows(by_status, args![gateway]).await?.iter().map(pair).collect::<Result<_>>()?;
        // A log has no holes, so its ends tell its size.
        let kept = "SELECT CAST(COALESCE(SUM(last_sequence + 1 - COALESCE(
                        (SELECT MIN(sequence) FROM events WHERE organization_id = organizations.id), last_sequence + 1)), 0) AS BIGINT)
                    FROM organizations";
        let events = self.row(kept, &[]).await?.map_or(Ok(0), |row| row.get(0))?;
        let by_state =
            "SELECT CASE WHEN disabled IS NOT NULL THEN 'off' WHEN paused_until > $1 THEN 'paused' ELSE 'on' END, COUNT(*)
                        FROM webhooks GROUP BY 1 ORDER BY 1";
        let webhooks = self.rows(by_state, args![now]).await?.iter().map(pair).collect::<Result<_>>()?;
        let waiting = "SELECT COUNT(*), MIN(created_at) FROM webhook_deliveries WHERE status = 'pending'";
        let (deliveries_pending, oldest_pending) = self
            .row(waiting, &[])
            .await?
            .map_or(Ok((0, None)), |row| Ok::<_, crate::error::Error>((row.get(0)?, row.get(1)?)))?;
        let dead = "SELECT COUNT(*) FROM webhook_deliveries WHERE status = 'dead'";
        let deliveries_dead = self.row(dead, &[]).await?.map_or(Ok(0), |row| row.get(0))?;
        let due = "SELECT COUNT(*), MIN(due_at) FROM outbox WHERE settled_at IS NULL AND due_at <= $1";
        let (outbox_due, oldest_due) = self
            .row(due, args![now])
            .await?
            .map_or(Ok((0, None)), |row| Ok::<_, crate::error::Error>((row.get(0)?, row.get(1)?)))?;
        Ok(Stats { sessions, events, webhooks, deliveries_pending, oldest_pending, deliveries_dead, outbox_due, oldest_due })
    }

    /// How the connections are used.
    pub fn pool_use(&self) -> PoolUse {
        match self {
            Self::Sqlite { read, .. } => PoolUse { open: read.size(), idle: read.num_idle() },
            Self::Postgres(pool) => PoolUse { open: pool.size(), idle: pool.num_idle() },
        }
    }
}

//! Leases: a gateway's right to run a session. They are columns of the session's row, so that taking one is one atomic update.

use std::collections::HashSet;
use std::time::Duration;

use crate::domain::clock::Time;
use crate::domain::ids::{GatewayId, SessionId};
use crate::domain::session::Lease;
use crate::error::Result;
use crate::store::{Arg, Db, args, list};

/// How many leases one statement renews.
const BATCH: usize = 256;

impl Db {
    /// Takes the lease of a session that is free, whose lease has run out, or that this gateway holds already, and places the session on
    /// this gateway. The epoch grows by one each time, so that an earlier holding's writes can be refused. None when another gateway
    /// holds it, or the session does not exist.
    pub async fn acquire_lease(
        &self,
        session: &SessionId,
        gateway: &GatewayId,
        now: Time,
        ttl: Duration,
    ) -> Result<Option<Lease>> {
        let sql = "UPDATE sessions SET lease_holder = $2, lease_epoch = lease_epoch + 1, lease_expires_at = $4, gateway_id = $2
                   WHERE id = $1 AND (lease_holder IS NULL OR lease_holder = $2 OR lease_expires_at <= $3)
                   RETURNING lease_epoch";
        let expires_at = now.plus(ttl);
        let row = self.change(sql, args![session, gateway, now, expires_at]).await?;
        row.map(|row| Ok(Lease { session: session.clone(), holder: gateway.clone(), epoch: row.get(0)?, expires_at })).transpose()
    }

    /// Renews this gateway's leases, given with their epochs, and gives back those that are no longer its own. A lease that has run out
    /// but was not taken by another is renewed too.
    pub async fn renew_leases(
        &self,
        gateway: &GatewayId,
        leases: &[(SessionId, i64)],
        now: Time,
        ttl: Duration,
    ) -> Result<Vec<SessionId>> {
        if leases.is_empty() {
            return Ok(Vec::new());
        }
        let mut renewed = HashSet::new();
        let mut tx = self.begin().await?;
        for batch in leases.chunks(BATCH) {
            let mut args = args![now.plus(ttl), gateway].to_vec();
            // Padded with the last pair to a power of two, so that few different texts are prepared.
            let count = batch.len().next_power_of_two();
            let padded = batch.iter().chain(std::iter::repeat(&batch[batch.len() - 1])).take(count);
            args.extend(padded.flat_map(|(session, epoch)| [Arg::from(session), Arg::from(*epoch)]));
            let pairs: Vec<String> = (0..count).map(|at| format!("({})", list(at * 2 + 3, 2))).collect();
            let sql = format!(
                "UPDATE sessions SET lease_expires_at = $1
                 WHERE lease_holder = $2 AND (id, lease_epoch) IN (VALUES {}) RETURNING id, lease_epoch",
                pairs.join(", ")
            );
            for row in tx.rows_built(sql, &args).await? {
                renewed.insert((row.get::<SessionId>(0)?, row.get::<i64>(1)?));
            }
        }
        tx.commit().await?;
        Ok(leases.iter().filter(|lease| !renewed.contains(*lease)).map(|(session, _)| session.clone()).collect())
    }

    /// Gives a lease back, if it is still the one of `epoch`.
    pub async fn release_lease(&self, session: &SessionId, epoch: i64) -> Result<()> {
        let sql = "UPDATE sessions SET lease_holder = NULL, lease_expires_at = NULL WHERE id = $1 AND lease_epoch = $2";
        self.execute(sql, args![session, epoch]).await.map(drop)
    }
}

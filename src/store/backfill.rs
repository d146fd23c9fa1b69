//! Backfills. What a worker writes is bound to its claim: one whose claim has passed on changes nothing.

use std::time::Duration;

use crate::domain::backfill::{BackfillJob, BackfillStatus, Phase};
use crate::domain::clock::Time;
use crate::domain::ids::{GatewayId, SessionId};
use crate::error::{Error, Result};
use crate::store::{Db, Row, Tx, args};

macro_rules! columns {
    () => {
        "id, session_id, organization_id, status, phase, contacts, groups, group_members, total_contacts, total_groups, queries, \
         position, failures, error, cancel_requested, started_at, updated_at, finished_at"
    };
}

fn read(row: &Row) -> Result<BackfillJob> {
    Ok(BackfillJob {
        id: row.get(0)?,
        session: row.get(1)?,
        organization: row.get(2)?,
        status: row.word(3, BackfillStatus::from_word)?,
        phase: row.word(4, Phase::from_word)?,
        contacts: row.get(5)?,
        groups: row.get(6)?,
        group_members: row.get(7)?,
        total_contacts: row.get(8)?,
        total_groups: row.get(9)?,
        queries: row.get(10)?,
        position: row.get(11)?,
        failures: serde_json::from_str(&row.get::<String>(12)?).map_err(Error::internal)?,
        error: row.get(13)?,
        cancel_requested: row.get(14)?,
        started_at: row.get(15)?,
        updated_at: row.get(16)?,
        finished_at: row.get(17)?,
    })
}

impl Tx {
    /// Stores a new backfill.
    ///
    /// # Errors
    /// `Conflict` when the session has one that runs.
    pub async fn insert_backfill(&mut self, job: &BackfillJob) -> Result<()> {
        let sql = "INSERT INTO backfill_jobs (id, session_id, organization_id, status, phase, started_at, updated_at)
                   VALUES ($1, $2, $3, $4, $5, $6, $6)";
        let (status, phase) = (job.status.word(), job.phase.word());
        self.execute(sql, args![&job.id, &job.session, &job.organization, status, phase, job.started_at]).await.map(drop)
    }

    /// Stores how far a backfill has come, and holds its claim for `lease` more. None when the claim is no longer `token`; then
    /// whoever calls must not commit. Else whether somebody wants it to end.
    pub async fn advance_backfill(&mut self, job: &BackfillJob, token: &str, now: Time, lease: Duration) -> Result<Option<bool>> {
        let sql = "UPDATE backfill_jobs SET status = $3, phase = $4, contacts = $5, groups = $6, group_members = $7,
                   total_contacts = $8, total_groups = $9, queries = $10, position = $11, failures = $12, error = $13,
                   updated_at = $14, finished_at = $15, claimed_until = $16 WHERE id = $1 AND claim = $2 AND status = 'running'
                   RETURNING cancel_requested";
        let failures = serde_json::to_string(&job.failures).map_err(Error::internal)?;
        let args = args![
            &job.id,
            token,
            job.status.word(),
            job.phase.word(),
            job.contacts,
            job.groups,
            job.group_members,
            job.total_contacts,
            job.total_groups,
            job.queries,
            &job.position,
            &failures,
            &job.error,
            now,
            job.finished_at,
            now.plus(lease)
        ];
        self.row(sql, args).await?.map(|row| row.get(0)).transpose()
    }

    /// Adds groups to a backfill's work; those that are there already stay as they are.
    pub async fn add_backfill_groups(&mut self, job: &str, groups: &[&str]) -> Result<()> {
        let mut values = Vec::with_capacity(groups.len() * 3);
        for group in groups {
            values.extend(args![job, *group, "pending"]);
        }
        let head = "INSERT INTO backfill_groups (job_id, group_jid, state) VALUES";
        self.insert(head, 3, "ON CONFLICT (job_id, group_jid) DO NOTHING", &values).await
    }

    /// Notes what came of one group.
    pub async fn finish_backfill_group(&mut self, job: &str, group: &str, members: Option<i64>) -> Result<()> {
        let sql = "UPDATE backfill_groups SET state = $3, members = $4 WHERE job_id = $1 AND group_jid = $2";
        let state = if members.is_some() { "done" } else { "failed" };
        self.execute(sql, args![job, group, state, members.unwrap_or(0)]).await.map(drop)
    }
}

impl Db {
    /// The session's backfill that runs, or else its latest.
    pub async fn latest_backfill(&self, session: &SessionId) -> Result<Option<BackfillJob>> {
        let sql = concat!(
            "SELECT ",
            columns!(),
            " FROM backfill_jobs WHERE session_id = $1
             ORDER BY CASE WHEN status = 'running' THEN 0 ELSE 1 END, started_at DESC, id DESC LIMIT 1"
        );
        self.row(sql, args![session]).await?.as_ref().map(read).transpose()
    }

    /// A backfill by its id.
    pub async fn backfill(&self, id: &str) -> Result<Option<BackfillJob>> {
        let sql = concat!("SELECT ", columns!(), " FROM backfill_jobs WHERE id = $1");
        self.row(sql, args![id]).await?.as_ref().map(read).transpose()
    }

    /// Claims a backfill that nobody works on, of a session that this gateway holds.
    pub async fn claim_backfill(
        &self,
        gateway: &GatewayId,
        token: &str,
        now: Time,
        lease: Duration,
    ) -> Result<Option<BackfillJob>> {
        let sql = concat!(
            "UPDATE backfill_jobs SET claim = $2, claimed_until = $4 WHERE status = 'running' AND claimed_until <= $3 AND id = (
               SELECT j.id FROM backfill_jobs j JOIN sessions s ON s.id = j.session_id
               WHERE j.status = 'running' AND j.claimed_until <= $3 AND s.gateway_id = $1 ORDER BY j.started_at, j.id LIMIT 1)
             RETURNING ",
            columns!()
        );
        self.change(sql, args![gateway, token, now, now.plus(lease)]).await?.as_ref().map(read).transpose()
    }

    /// Voids the claims on backfills of this gateway's sessions. At its start, whoever made them is dead; should another gateway still be
    /// at one of them, its next write is refused.
    pub async fn adopt_backfills(&self, gateway: &GatewayId) -> Result<()> {
        let sql = "UPDATE backfill_jobs SET claim = NULL, claimed_until = 0
                   WHERE status = 'running' AND session_id IN (SELECT id FROM sessions WHERE gateway_id = $1)";
        self.execute(sql, args![gateway]).await.map(drop)
    }

    /// Gives a claim back, so that somebody can go on at once.
    pub async fn release_backfill(&self, id: &str, token: &str) -> Result<()> {
        let sql = "UPDATE backfill_jobs SET claim = NULL, claimed_until = 0 WHERE id = $1 AND claim = $2";
        self.execute(sql, args![id, token]).await.map(drop)
    }

    /// Notes that a running backfill shall end. False when none runs.
    pub async fn cancel_backfill(&self, session: &SessionId) -> Result<bool> {
        let sql = "UPDATE backfill_jobs SET cancel_requested = $2 WHERE session_id = $1 AND status = 'running'";
        Ok(self.execute(sql, args![session, true]).await? > 0)
    }

    /// The next group of a backfill that is not done.
    pub async fn next_backfill_group(&self, job: &str) -> Result<Option<String>> {
        let sql = "SELECT group_jid FROM backfill_groups WHERE job_id = $1 AND state = 'pending' ORDER BY group_jid LIMIT 1";
        self.row(sql, args![job]).await?.map(|row| row.get(0)).transpose()
    }

    /// Of a backfill's groups: how many there are, how many are done, and their members together.
    pub async fn backfill_groups(&self, job: &str) -> Result<(i64, i64, i64)> {
        let sql = "SELECT COUNT(*), COALESCE(SUM(CASE WHEN state = 'done' THEN 1 ELSE 0 END), 0),
                   CAST(COALESCE(SUM(members), 0) AS BIGINT) FROM backfill_groups WHERE job_id = $1";
        self.row(sql, args![job]).await?.map_or(Ok((0, 0, 0)), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
    }

    /// Which LID belongs to which number, as the session's device knows it, behind the LID `after` (without its server).
    pub async fn cached_contacts(&self, session: &SessionId, after: &str, limit: i64) -> Result<Vec<(String, String)>> {
        let sql = "SELECT lid, phone_number FROM wa_lid_mappings WHERE session_id = $1 AND lid > $2 ORDER BY lid LIMIT $3";
        self.rows(sql, args![session, after, limit]).await?.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect()
    }

    /// How many of them there are.
    pub async fn cached_contact_count(&self, session: &SessionId) -> Result<i64> {
        let sql = "SELECT COUNT(*) FROM wa_lid_mappings WHERE session_id = $1";
        self.row(sql, args![session]).await?.map_or(Ok(0), |row| row.get(0))
    }

    /// People whose LID is not known: their numbers, behind the person `after`.
    pub async fn phones_without_lid(&self, session: &SessionId, after: i64, limit: i64) -> Result<Vec<(i64, String)>> {
        let sql = "SELECT id, phone FROM identities WHERE session_id = $1 AND id > $2 AND lid IS NULL AND phone IS NOT NULL
                   ORDER BY id LIMIT $3";
        self.rows(sql, args![session, after, limit]).await?.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect()
    }
}

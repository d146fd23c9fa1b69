//! Imports of backups. What a worker writes is bound to its claim: one whose claim has passed on changes nothing.

use std::collections::HashSet;
use std::time::Duration;

use crate::domain::backfill::BackfillStatus;
use crate::domain::backup::{BackupImport, ImportPhase};
use crate::domain::clock::Time;
use crate::domain::group::{GroupFacts, MemberFacts};
use crate::domain::identity::Seen;
use crate::domain::ids::{GatewayId, SessionId};
use crate::error::Result;
use crate::store::{Arg, Db, Row, Tx, args, one_of};

macro_rules! columns {
    () => {
        "id, session_id, organization_id, gateway_id, status, phase, chats, messages, new_messages, total_messages, identities, groups, \
         group_members, fingerprint, position, error, created_at, updated_at, finished_at"
    };
}

fn read(row: &Row) -> Result<BackupImport> {
    Ok(BackupImport {
        id: row.get(0)?,
        session: row.get(1)?,
        organization: row.get(2)?,
        gateway: row.get(3)?,
        status: row.word(4, BackfillStatus::from_word)?,
        phase: row.word(5, ImportPhase::from_word)?,
        chats: row.get(6)?,
        messages: row.get(7)?,
        new_messages: row.get(8)?,
        total_messages: row.get(9)?,
        identities: row.get(10)?,
        groups: row.get(11)?,
        group_members: row.get(12)?,
        fingerprint: row.get(13)?,
        position: row.get(14)?,
        error: row.get(15)?,
        created_at: row.get(16)?,
        updated_at: row.get(17)?,
        finished_at: row.get(18)?,
    })
}

impl Tx {
    /// Stores a new import.
    ///
    /// # Errors
    /// `Conflict` when the session has one that runs.
    pub async fn insert_import(&mut self, job: &BackupImport) -> Result<()> {
        let sql = "INSERT INTO backup_imports (id, session_id, organization_id, gateway_id, status, phase, chats, total_messages,
                   fingerprint, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10)";
        let args = args![
            &job.id,
            &job.session,
            &job.organization,
            &job.gateway,
            job.status.word(),
            job.phase.word(),
            job.chats,
            job.total_messages,
            &job.fingerprint,
            job.created_at
        ];
        self.execute(sql, args).await.map(drop)
    }

    /// Stores how far an import has come, and holds its claim for `lease` more. False when the claim is no longer `token`; then whoever
    /// calls must not commit.
    pub async fn advance_import(&mut self, job: &BackupImport, token: &str, now: Time, lease: Duration) -> Result<bool> {
        let sql =
            "UPDATE backup_imports SET status = $3, phase = $4, messages = $5, new_messages = $6, identities = $7, groups = $8,
                   group_members = $9, position = $10, error = $11, updated_at = $12, finished_at = $13, claimed_until = $14
                   WHERE id = $1 AND claim = $2 AND status = 'running'";
        let args = args![
            &job.id,
            token,
            job.status.word(),
            job.phase.word(),
            job.messages,
            job.new_messages,
            job.identities,
            job.groups,
            job.group_members,
            job.position,
            &job.error,
            now,
            job.finished_at,
            now.plus(lease)
        ];
        Ok(self.execute(sql, args).await? == 1)
    }

    /// Which of these ids the session has a message of, each with whether its own account sent it.
    pub async fn known_messages(&mut self, session: &SessionId, wa_ids: &[&str]) -> Result<HashSet<(String, bool)>> {
        if wa_ids.is_empty() {
            return Ok(HashSet::new());
        }
        let mut args = args![session].to_vec();
        let ids = one_of(&mut args, wa_ids.iter().map(|id| Arg::from(*id)));
        let sql = format!("SELECT wa_message_id, from_me FROM messages WHERE session_id = $1 AND wa_message_id IN ({ids})");
        self.rows_built(sql, &args).await?.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect()
    }

    /// Stores a group and its members as somebody remembers them. What WhatsApp itself has told of the group is left alone. Gives
    /// whether the group was not known.
    pub async fn remember_group(
        &mut self,
        session: &SessionId,
        facts: &GroupFacts,
        left_at: Option<Time>,
        now: Time,
    ) -> Result<bool> {
        let sql = "INSERT INTO groups (session_id, group_jid, subject, created_at_wa, left_at, first_seen_at, updated_at)
                   VALUES ($1, $2, $3, $4, $5, $6, $6) ON CONFLICT (session_id, group_jid) DO NOTHING";
        let fresh = self.execute(sql, args![session, &facts.jid, &facts.subject, facts.created_at_wa, left_at, now]).await? == 1;
        let sql = "SELECT id, members_known FROM groups WHERE session_id = $1 AND group_jid = $2";
        let Some(row) = self.row(sql, args![session, &facts.jid]).await? else { return Ok(fresh) };
        let (group, told): (i64, bool) = (row.get(0)?, row.get(1)?);
        let members: &[MemberFacts] = facts.members.as_deref().unwrap_or_default();
        if told || members.is_empty() {
            return Ok(fresh);
        }
        let seen: Vec<Seen> = members.iter().map(|member| member.seen.clone()).collect();
        let learned = self.learn(session, &seen, now).await?;
        let mut known = HashSet::new();
        let mut values = Vec::with_capacity(members.len() * 6);
        for (one, facts) in learned.iter().zip(members).filter(|(one, _)| known.insert(one.id)) {
            values.extend(args![group, one.id, facts.role.word(), &facts.tag, now, now]);
        }
        let head = "INSERT INTO group_members (group_id, identity_id, role, tag, first_seen_at, last_seen_at) VALUES";
        self.insert(head, 6, "ON CONFLICT (group_id, identity_id) DO NOTHING", &values).await?;
        let sql = "UPDATE groups SET participant_count =
                   (SELECT COUNT(*) FROM group_members WHERE group_id = $1 AND left_at IS NULL) WHERE id = $1";
        self.execute(sql, args![group]).await?;
        Ok(fresh)
    }
}

impl Db {
    /// The session's import that runs, or else its latest.
    pub async fn latest_import(&self, session: &SessionId) -> Result<Option<BackupImport>> {
        let sql = concat!(
            "SELECT ",
            columns!(),
            " FROM backup_imports WHERE session_id = $1
             ORDER BY CASE WHEN status = 'running' THEN 0 ELSE 1 END, created_at DESC, id DESC LIMIT 1"
        );
        self.row(sql, args![session]).await?.as_ref().map(read).transpose()
    }

    /// When an import into the session last succeeded.
    pub async fn last_import(&self, session: &SessionId) -> Result<Option<Time>> {
        let sql = "SELECT MAX(finished_at) FROM backup_imports WHERE session_id = $1 AND status = 'succeeded'";
        self.row(sql, args![session]).await?.map_or(Ok(None), |row| row.get(0))
    }

    /// Claims an import that nobody works on, whose database lies on this gateway's disk.
    pub async fn claim_import(
        &self,
        gateway: &GatewayId,
        token: &str,
        now: Time,
        lease: Duration,
    ) -> Result<Option<BackupImport>> {
        let sql = concat!(
            "UPDATE backup_imports SET claim = $2, claimed_until = $4 WHERE status = 'running' AND claimed_until <= $3 AND id = (
               SELECT id FROM backup_imports WHERE status = 'running' AND claimed_until <= $3 AND gateway_id = $1
               ORDER BY created_at, id LIMIT 1) RETURNING ",
            columns!()
        );
        self.change(sql, args![gateway, token, now, now.plus(lease)]).await?.as_ref().map(read).transpose()
    }

    /// Voids the claims on this gateway's imports: at its start, whoever made them is dead.
    pub async fn adopt_imports(&self, gateway: &GatewayId) -> Result<()> {
        let sql = "UPDATE backup_imports SET claim = NULL, claimed_until = 0 WHERE status = 'running' AND gateway_id = $1";
        self.execute(sql, args![gateway]).await.map(drop)
    }

    /// Gives a claim back, for whoever goes on.
    pub async fn release_import(&self, id: &str, token: &str) -> Result<()> {
        let sql = "UPDATE backup_imports SET claim = NULL, claimed_until = 0 WHERE id = $1 AND claim = $2";
        self.execute(sql, args![id, token]).await.map(drop)
    }

    /// The imports of this gateway that are not over: whose files are needed still.
    pub async fn running_imports(&self, gateway: &GatewayId) -> Result<HashSet<String>> {
        let sql = "SELECT id FROM backup_imports WHERE status = 'running' AND gateway_id = $1";
        self.rows(sql, args![gateway]).await?.iter().map(|row| row.get(0)).collect()
    }
}

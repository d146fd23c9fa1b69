//! Sessions. Callers' functions are bound to an organization; those of supervision are not, and say so.

use crate::domain::clock::Time;
use crate::domain::ids::{GatewayId, OrganizationId, SessionId};
use crate::domain::session::{Account, Desired, Fence, Ignore, Metadata, Reason, Session, Settings, State, Status};
use crate::error::{Error, Result};
use crate::store::{Db, Row, Tx, args};

macro_rules! columns {
    () => {
        "id, organization_id, gateway_id, created_by_user, label, auto_read, presence_typing, rate_per_min, rate_per_hour, desired, \
         generation, status, status_reason, status_since, status_until, phone_number, wa_jid, wa_lid, is_admin, last_connected_at, \
         created_at, updated_at, ignore_status, ignore_groups, ignore_channels, ignore_broadcast, metadata, status_data, \
         auto_reject_calls, auto_download, new_contacts_per_day, warm_up_days, restricted_until, attached_at"
    };
}

fn read(row: &Row) -> Result<Session> {
    let rate = |index| {
        let value: i64 = row.get(index)?;
        i32::try_from(value).map_err(Error::internal)
    };
    let account = match (row.get(15)?, row.get(16)?) {
        (Some(phone_number), Some(wa_jid)) => Some(Account { phone_number, wa_jid, wa_lid: row.get(17)? }),
        _ => None,
    };
    Ok(Session {
        id: row.get(0)?,
        organization: row.get(1)?,
        gateway: row.get(2)?,
        created_by_user: row.get(3)?,
        settings: Settings {
            label: row.get(4)?,
            auto_read: row.get(5)?,
            presence_typing: row.get(6)?,
            auto_reject_calls: row.get(28)?,
            auto_download: row.get(29)?,
            rate_per_min: rate(7)?,
            rate_per_hour: rate(8)?,
            ignore: Ignore { status: row.get(22)?, groups: row.get(23)?, channels: row.get(24)?, broadcast: row.get(25)? },
            metadata: read_metadata(row, 26)?,
            new_contacts_per_day: rate(30)?,
            warm_up_days: rate(31)?,
        },
        desired: row.word(9, Desired::from_word)?,
        generation: row.get(10)?,
        state: State {
            status: row.word(11, Status::from_word)?,
            reason: row.word(12, Reason::from_word)?,
            since: row.get(13)?,
            until: row.get(14)?,
            data: row.get(27)?,
        },
        account,
        is_admin: row.get(18)?,
        last_connected_at: row.get(19)?,
        created_at: row.get(20)?,
        updated_at: row.get(21)?,
        restricted_until: row.get(32)?,
        attached_at: row.get(33)?,
    })
}

/// A column of metadata; NULL stands for none.
pub(super) fn read_metadata(row: &Row, index: usize) -> Result<Metadata> {
    let text: Option<String> = row.get(index)?;
    text.map_or_else(|| Ok(Metadata::new()), |text| serde_json::from_str(&text).map_err(Error::internal))
}

fn metadata_text(metadata: &Metadata) -> Result<Option<String>> {
    (!metadata.is_empty()).then(|| serde_json::to_string(metadata).map_err(Error::internal)).transpose()
}

impl Db {
    /// A session of the organization.
    pub async fn session(&self, organization: &OrganizationId, id: &SessionId) -> Result<Option<Session>> {
        let sql = concat!("SELECT ", columns!(), " FROM sessions WHERE organization_id = $1 AND id = $2");
        self.row(sql, args![organization, id]).await?.as_ref().map(read).transpose()
    }

    /// A session of whichever organization: for supervision only.
    pub async fn session_by_id(&self, id: &SessionId) -> Result<Option<Session>> {
        let sql = concat!("SELECT ", columns!(), " FROM sessions WHERE id = $1");
        self.row(sql, args![id]).await?.as_ref().map(read).transpose()
    }

    /// The session that a call with this key has created after `since`, and the hash of what was asked for.
    pub async fn created_by_key(
        &self,
        organization: &OrganizationId,
        key: &str,
        since: Time,
    ) -> Result<Option<(Session, String)>> {
        let sql = concat!(
            "SELECT ",
            columns!(),
            ", idempotency_hash FROM sessions WHERE organization_id = $1 AND idempotency_key = $2 AND created_at > $3"
        );
        let Some(row) = self.row(sql, args![organization, key, since]).await? else { return Ok(None) };
        Ok(Some((read(&row)?, row.get(34)?)))
    }

    /// Every session of the organization, oldest first.
    pub async fn list_sessions(&self, organization: &OrganizationId) -> Result<Vec<Session>> {
        let sql = concat!("SELECT ", columns!(), " FROM sessions WHERE organization_id = $1 ORDER BY created_at, id");
        self.rows(sql, args![organization]).await?.iter().map(read).collect()
    }

    /// At most `limit` sessions of all organizations behind the session `after`, oldest first: for the platform's own role only.
    pub async fn list_all_sessions(&self, after: &str, limit: i64) -> Result<Vec<Session>> {
        let sql = concat!("SELECT ", columns!(), " FROM sessions WHERE id > $1 ORDER BY id LIMIT $2");
        self.rows(sql, args![after, limit]).await?.iter().map(read).collect()
    }

    /// The sessions that this gateway shall run, of all organizations: for supervision only.
    pub async fn sessions_to_run(&self, gateway: &GatewayId) -> Result<Vec<Session>> {
        let sql = concat!("SELECT ", columns!(), " FROM sessions WHERE gateway_id = $1 AND desired = 'running' ORDER BY id");
        self.rows(sql, args![gateway]).await?.iter().map(read).collect()
    }

    /// The sessions that are placed on this gateway, of all organizations: for supervision only.
    pub async fn sessions_of_gateway(&self, gateway: &GatewayId) -> Result<Vec<Session>> {
        let sql = concat!("SELECT ", columns!(), " FROM sessions WHERE gateway_id = $1 ORDER BY id");
        self.rows(sql, args![gateway]).await?.iter().map(read).collect()
    }
}

impl Tx {
    /// Stores a new session. Its organization must have a row.
    pub async fn insert_session(&mut self, session: &Session) -> Result<()> {
        let sql = concat!(
            "INSERT INTO sessions (",
            columns!(),
            ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22,
                     $23, $24, $25, $26, $27, $28, $29, $30, $31, $32, $33, $34)"
        );
        let metadata = metadata_text(&session.settings.metadata)?;
        let (settings, state, account) = (&session.settings, &session.state, session.account.as_ref());
        let args = args![
            &session.id,
            &session.organization,
            &session.gateway,
            &session.created_by_user,
            &settings.label,
            settings.auto_read,
            settings.presence_typing,
            settings.rate_per_min,
            settings.rate_per_hour,
            session.desired.word(),
            session.generation,
            state.status.word(),
            state.reason.word(),
            state.since,
            state.until,
            account.map(|account| account.phone_number.as_str()),
            account.map(|account| account.wa_jid.as_str()),
            account.and_then(|account| account.wa_lid.as_deref()),
            session.is_admin,
            session.last_connected_at,
            session.created_at,
            session.updated_at,
            settings.ignore.status,
            settings.ignore.groups,
            settings.ignore.channels,
            settings.ignore.broadcast,
            &metadata,
            &state.data,
            settings.auto_reject_calls,
            settings.auto_download,
            settings.new_contacts_per_day,
            settings.warm_up_days,
            session.restricted_until,
            session.attached_at,
        ];
        self.execute(sql, args).await.map(drop)
    }

    /// Locks a session of the organization until the end of the transaction and reads it: what is decided from it stays true.
    pub async fn lock_session(&mut self, organization: &OrganizationId, id: &SessionId) -> Result<Option<Session>> {
        // An update that changes nothing takes the row lock on both engines.
        let sql =
            concat!("UPDATE sessions SET generation = generation WHERE organization_id = $1 AND id = $2 RETURNING ", columns!());
        self.row(sql, args![organization, id]).await?.as_ref().map(read).transpose()
    }

    /// The same for supervision: any organization's.
    pub async fn lock_session_by_id(&mut self, id: &SessionId) -> Result<Option<Session>> {
        let sql = concat!("UPDATE sessions SET generation = generation WHERE id = $1 RETURNING ", columns!());
        self.row(sql, args![id]).await?.as_ref().map(read).transpose()
    }

    /// Replaces what callers can set, and gives the session as it is then. None when the organization has no such session.
    pub async fn update_settings(
        &mut self,
        organization: &OrganizationId,
        id: &SessionId,
        settings: &Settings,
        now: Time,
    ) -> Result<Option<Session>> {
        let sql = concat!(
            "UPDATE sessions SET label = $3, auto_read = $4, presence_typing = $5, rate_per_min = $6, rate_per_hour = $7,
                    updated_at = $8, ignore_status = $9, ignore_groups = $10, ignore_channels = $11, ignore_broadcast = $12,
                    metadata = $13, auto_reject_calls = $14, auto_download = $15, new_contacts_per_day = $16, warm_up_days = $17
             WHERE organization_id = $1 AND id = $2 RETURNING ",
            columns!()
        );
        let metadata = metadata_text(&settings.metadata)?;
        let args = args![
            organization,
            id,
            &settings.label,
            settings.auto_read,
            settings.presence_typing,
            settings.rate_per_min,
            settings.rate_per_hour,
            now,
            settings.ignore.status,
            settings.ignore.groups,
            settings.ignore.channels,
            settings.ignore.broadcast,
            &metadata,
            settings.auto_reject_calls,
            settings.auto_download,
            settings.new_contacts_per_day,
            settings.warm_up_days,
        ];
        self.row(sql, args).await?.as_ref().map(read).transpose()
    }

    /// Says whether the session shall run, with `bump_generation` also that a running one shall reconnect, and gives it as it is then.
    /// None when the organization has no such session.
    pub async fn set_desired(
        &mut self,
        organization: &OrganizationId,
        id: &SessionId,
        desired: Desired,
        bump_generation: bool,
        now: Time,
    ) -> Result<Option<Session>> {
        let sql = concat!(
            "UPDATE sessions SET desired = $3, generation = generation + $4, updated_at = $5
             WHERE organization_id = $1 AND id = $2 RETURNING ",
            columns!()
        );
        let args = args![organization, id, desired.word(), i64::from(bump_generation), now];
        self.row(sql, args).await?.as_ref().map(read).transpose()
    }

    /// Records where a session stands. With a fence, only while the row's lease and generation are still the fence's: a former holder's
    /// word, and one about wishes of yesterday, is refused. False when nothing was recorded.
    pub async fn set_state(&mut self, id: &SessionId, fence: Option<Fence>, state: &State, now: Time) -> Result<bool> {
        let sql = "UPDATE sessions SET status = $3, status_reason = $4, status_since = $5, status_until = $6, updated_at = $7,
                   status_data = $9
                   WHERE id = $1 AND ($2 IS NULL OR (lease_epoch = $2 AND generation = $8))";
        let (epoch, generation) = (fence.map(|f| f.epoch), fence.map(|f| f.generation));
        let (status, reason) = (state.status.word(), state.reason.word());
        let args = args![id, epoch, status, reason, state.since, state.until, now, generation, &state.data];
        Ok(self.execute(sql, args).await? > 0)
    }

    /// Attaches or detaches a WhatsApp account. An actor calls it behind a fenced [`Tx::set_state`] in the same transaction.
    pub async fn set_account(&mut self, id: &SessionId, account: Option<&Account>, now: Time) -> Result<bool> {
        let sql = "UPDATE sessions SET phone_number = $2, wa_jid = $3, wa_lid = $4, updated_at = $5,
                          attached_at = CASE WHEN CAST($2 AS TEXT) IS NULL THEN NULL
                                             WHEN phone_number = $2 AND attached_at IS NOT NULL THEN attached_at ELSE $5 END,
                          restricted_until = CASE WHEN phone_number = $2 THEN restricted_until END,
                          banned_until = CASE WHEN phone_number = $2 THEN banned_until END
                   WHERE id = $1";
        let args = args![
            id,
            account.map(|account| account.phone_number.as_str()),
            account.map(|account| account.wa_jid.as_str()),
            account.and_then(|account| account.wa_lid.as_deref()),
            now,
        ];
        Ok(self.execute(sql, args).await? > 0)
    }

    /// Notes when the session last became `working`. An actor calls it behind a fenced [`Tx::set_state`] in the same transaction.
    pub async fn set_last_connected(&mut self, id: &SessionId, at: Time) -> Result<bool> {
        let sql = "UPDATE sessions SET last_connected_at = $2 WHERE id = $1";
        Ok(self.execute(sql, args![id, at]).await? > 0)
    }

    /// Remembers which call created a session, to answer the same when it is repeated. Older uses of the key, from `until` and before,
    /// are forgotten.
    ///
    /// # Errors
    /// `Conflict` when the organization has used the key since.
    pub async fn remember_creation(&mut self, session: &Session, key: &str, hash: &str, until: Time) -> Result<()> {
        let sql = "UPDATE sessions SET idempotency_key = NULL, idempotency_hash = NULL
                   WHERE organization_id = $1 AND idempotency_key = $2 AND created_at <= $3";
        self.execute(sql, args![&session.organization, key, until]).await?;
        let sql = "UPDATE sessions SET idempotency_key = $3, idempotency_hash = $4 WHERE organization_id = $1 AND id = $2";
        self.execute(sql, args![&session.organization, &session.id, key, hash]).await.map(drop)
    }

    /// Deletes a session with its messages and its device state; its events stay in the log. False when the organization has no such
    /// session.
    pub async fn delete_session(&mut self, organization: &OrganizationId, id: &SessionId) -> Result<bool> {
        let sql = "DELETE FROM sessions WHERE organization_id = $1 AND id = $2";
        Ok(self.execute(sql, args![organization, id]).await? > 0)
    }
}

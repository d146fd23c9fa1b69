//! The outbox.

use crate::domain::clock::Time;
use crate::domain::content::Content;
use crate::domain::ids::{GatewayId, OrganizationId, SessionId};
use crate::domain::outbox::{Item, Lane, OutboxState};
use crate::error::{Error, Result};
use crate::store::{Arg, Db, Row, Tx, args, one_of};

macro_rules! columns {
    () => {
        "id, session_id, organization_id, wa_message_id, chat_jid, state, lane, content, due_at, expires_at, released_at, attempts, \
         reason, created_at, sending_at, settled_at, patient"
    };
}

/// How many chats of one session are looked at for a turn.
const HEADS: i64 = 64;

fn read(row: &Row) -> Result<Item> {
    let lane: i64 = row.get(6)?;
    let content: String = row.get(7)?;
    let draft = if content.is_empty() { Ok(Default::default()) } else { serde_json::from_str(&content) };
    Ok(Item {
        id: row.get(0)?,
        session: row.get(1)?,
        organization: row.get(2)?,
        wa_message_id: row.get(3)?,
        chat_jid: row.get(4)?,
        state: row.word(5, OutboxState::from_word)?,
        lane: Lane::from_number(lane)
            .ok_or_else(|| Error::internal(anyhow::anyhow!("the outbox has the unknown lane {lane}")))?,
        draft: draft.map_err(Error::internal)?,
        due_at: row.get(8)?,
        expires_at: row.get(9)?,
        released_at: row.get(10)?,
        attempts: row.get(11)?,
        reason: row.get(12)?,
        created_at: row.get(13)?,
        sending_at: row.get(14)?,
        settled_at: row.get(15)?,
        patient: row.get(16)?,
    })
}

impl Tx {
    /// Puts a message into the outbox.
    pub async fn insert_outbox(&mut self, item: &Item) -> Result<()> {
        let sql = concat!(
            "INSERT INTO outbox (",
            columns!(),
            ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)"
        );
        let content = serde_json::to_string(&item.draft).map_err(Error::internal)?;
        let args = args![
            &item.id,
            &item.session,
            &item.organization,
            &item.wa_message_id,
            &item.chat_jid,
            item.state.word(),
            item.lane.number(),
            &content,
            item.due_at,
            item.expires_at,
            item.released_at,
            item.attempts,
            &item.reason,
            item.created_at,
            item.sending_at,
            item.settled_at,
            item.patient,
        ];
        self.execute(sql, args).await.map(drop)
    }

    /// Of each chat of the session the first message that is not settled, if it can go out now: it is due, nobody is at it or at another
    /// one of the chat. What has its place in the budget already is not held up by what has none, so
    /// a chat may have two. The caller holds the session's row.
    pub async fn outbox_heads(&mut self, session: &SessionId, epoch: i64, now: Time) -> Result<Vec<Item>> {
        let sql = concat!(
            "SELECT ",
            columns!(),
            " FROM outbox o
             WHERE session_id = $1 AND settled_at IS NULL AND due_at <= $3
               AND (state <> 'sending' OR claimed_until <= $3 OR claim_epoch IS NULL OR claim_epoch <> $2)
               AND NOT EXISTS (
                 SELECT 1 FROM outbox b
                 WHERE b.session_id = o.session_id AND b.chat_jid = o.chat_jid AND b.id <> o.id AND b.settled_at IS NULL
                   AND ((b.id < o.id AND b.due_at <= $3 AND (b.released_at IS NOT NULL OR o.released_at IS NULL))
                        OR (b.state = 'sending' AND b.claimed_until > $3 AND b.claim_epoch = $2)))
             ORDER BY lane, id LIMIT $4"
        );
        let rows = self.rows_built(sql.to_owned(), args![session, epoch, now, HEADS]).await?;
        rows.iter().map(read).collect()
    }

    /// Marks a message as being sent by the session's holding of `epoch`.
    pub async fn claim_outbox(&mut self, item: &mut Item, epoch: i64, now: Time, until: Time) -> Result<()> {
        let sql = "UPDATE outbox SET state = 'sending', claim_epoch = $2, claimed_until = $3, attempts = attempts + 1,
                          released_at = COALESCE(released_at, $4), sending_at = COALESCE(sending_at, $4), lane = $5
                   WHERE id = $1 AND settled_at IS NULL";
        self.execute(sql, args![&item.id, epoch, until, now, item.lane.number()]).await?;
        item.state = OutboxState::Sending;
        item.attempts += 1;
        item.released_at.get_or_insert(now);
        item.sending_at.get_or_insert(now);
        Ok(())
    }

    /// Puts a message back: it is to be sent again from `due_at` on. Nothing changes when it was settled meanwhile.
    pub async fn requeue_outbox(&mut self, id: &str, state: OutboxState, reason: Option<&str>, due_at: Time) -> Result<bool> {
        let sql =
            "UPDATE outbox SET state = $2, reason = $3, due_at = $4, claimed_until = 0 WHERE id = $1 AND settled_at IS NULL";
        Ok(self.execute(sql, args![id, state.word(), reason, due_at]).await? > 0)
    }

    /// Ends a message's way; false when it had ended already.
    pub async fn settle_outbox(&mut self, id: &str, state: OutboxState, reason: Option<&str>, now: Time) -> Result<bool> {
        let sql = "UPDATE outbox SET state = $2, reason = $3, settled_at = $4, content = '' WHERE id = $1 AND settled_at IS NULL";
        Ok(self.execute(sql, args![id, state.word(), reason, now]).await? > 0)
    }

    /// Takes back a message that was not given to WhatsApp yet; false when it was, or is no more.
    pub async fn cancel_outbox(&mut self, organization: &OrganizationId, id: &str, now: Time) -> Result<bool> {
        let sql = "UPDATE outbox SET state = 'cancelled', reason = 'cancelled', settled_at = $3, content = ''
                   WHERE id = $1 AND organization_id = $2 AND state = 'queued' AND settled_at IS NULL";
        Ok(self.execute(sql, args![id, organization, now]).await? > 0)
    }

    /// News from WhatsApp about messages whose way has not ended here: it has them.
    pub async fn reconcile_outbox(&mut self, session: &SessionId, wa_ids: &[String], now: Time) -> Result<u64> {
        let mut args = args![session, now].to_vec();
        let ids = one_of(&mut args, wa_ids.iter().map(Arg::from));
        let sql = format!(
            "UPDATE outbox SET state = 'sent', settled_at = CASE WHEN sending_at > $2 THEN sending_at ELSE $2 END, content = ''
             WHERE session_id = $1 AND wa_message_id IN ({ids}) AND settled_at IS NULL"
        );
        self.execute_built(sql, &args).await
    }

    /// Stores what a message holds, once its file lies at WhatsApp.
    pub async fn set_message_content(&mut self, id: &str, content: &Content) -> Result<()> {
        let content = content.to_json();
        let sql = "UPDATE messages SET content = $2 WHERE id = $1";
        self.execute(sql, args![id, &content]).await.map(drop)
    }

    /// Stores what a message has become before it goes out, such as where its file lies at WhatsApp.
    pub async fn update_outbox_draft(&mut self, item: &Item) -> Result<()> {
        let content = serde_json::to_string(&item.draft).map_err(Error::internal)?;
        let sql = "UPDATE outbox SET content = $2 WHERE id = $1 AND settled_at IS NULL";
        self.execute(sql, args![&item.id, &content]).await.map(drop)
    }

    /// See [`Db::lane_of`].
    pub async fn lane_of(&mut self, session: &SessionId, addresses: &[String]) -> Result<Lane> {
        let mut args = args![session].to_vec();
        let sql = directions(&mut args, addresses);
        lane(&self.rows_built(sql, &args).await?)
    }

    /// Every address under which the person at `address` was ever seen, this one included.
    pub async fn addresses_of(&mut self, session: &SessionId, address: &str) -> Result<Vec<String>> {
        let rows = self.rows_built(ADDRESSES.to_owned(), args![session, address]).await?;
        with(address, &rows)
    }

    /// How many places of the session's budget were taken after `since`.
    pub async fn released_since(&mut self, session: &SessionId, since: Time) -> Result<i64> {
        let sql = "SELECT COUNT(*) FROM outbox WHERE session_id = $1 AND released_at > $2";
        self.row(sql, args![session, since]).await?.map_or(Ok(0), |row| row.get(0))
    }

    /// When, of the places taken after `since`, the one with `skip` older ones was taken.
    pub async fn nth_released_since(&mut self, session: &SessionId, since: Time, skip: i64) -> Result<Option<Time>> {
        let sql =
            "SELECT released_at FROM outbox WHERE session_id = $1 AND released_at > $2 ORDER BY released_at LIMIT 1 OFFSET $3";
        self.row(sql, args![session, since, skip]).await?.map(|row| row.get(0)).transpose()
    }

    /// To how many people other than `chat` the session began conversations after `since`, and when the first of them was.
    pub async fn cold_since(&mut self, session: &SessionId, chat: &str, since: Time) -> Result<(i64, Option<Time>)> {
        let sql = "SELECT COUNT(DISTINCT chat_jid), MIN(released_at) FROM outbox
                   WHERE session_id = $1 AND released_at > $2 AND lane = 2 AND chat_jid <> $3";
        self.row(sql, args![session, since, chat]).await?.map_or(Ok((0, None)), |row| Ok((row.get(0)?, row.get(1)?)))
    }

    /// The epoch of this gateway's holding of a session; `None` when another holds it.
    pub async fn lease_epoch(&mut self, session: &SessionId, gateway: &GatewayId, now: Time) -> Result<Option<i64>> {
        let sql = "SELECT lease_epoch FROM sessions WHERE id = $1 AND lease_holder = $2 AND lease_expires_at > $3";
        self.row(sql, args![session, gateway, now]).await?.map(|row| row.get(0)).transpose()
    }

    /// Messages whose time is over, any session's, at most `limit`.
    pub async fn expired_outbox(&mut self, now: Time, limit: i64) -> Result<Vec<Item>> {
        let sql = concat!(
            "SELECT ",
            columns!(),
            " FROM outbox WHERE settled_at IS NULL AND expires_at <= $1 AND (state <> 'sending' OR claimed_until <= $1)
             ORDER BY expires_at LIMIT $2"
        );
        self.rows_built(sql.to_owned(), args![now, limit]).await?.iter().map(read).collect()
    }

    /// Attempts that nobody ends any more: what became of them is not known.
    pub async fn abandoned_outbox(&mut self, now: Time) -> Result<u64> {
        let sql = "UPDATE outbox SET state = 'unknown' WHERE settled_at IS NULL AND state = 'sending' AND claimed_until <= $1";
        self.execute(sql, args![now]).await
    }

    /// Forgets what was settled by `before`, at most `limit`.
    pub async fn prune_outbox(&mut self, before: Time, limit: i64) -> Result<u64> {
        let sql = "DELETE FROM outbox WHERE id IN (SELECT id FROM outbox WHERE settled_at <= $1 ORDER BY settled_at LIMIT $2)";
        self.execute(sql, args![before, limit]).await
    }
}

const ADDRESSES: &str = "SELECT b.address FROM identity_aliases a JOIN identities i ON i.id = a.identity_id
     JOIN identity_aliases b ON b.identity_id = a.identity_id WHERE i.session_id = $1 AND a.address = $2 AND b.address <> $2";

fn with(address: &str, rows: &[Row]) -> Result<Vec<String>> {
    let mut all = vec![address.to_owned()];
    for row in rows {
        all.push(row.get(0)?);
    }
    Ok(all)
}

/// Asks which ways messages went between the session and a person at these addresses.
fn directions<'a>(args: &mut Vec<Arg<'a>>, addresses: &'a [String]) -> String {
    let chats = one_of(args, addresses.iter().map(Arg::from));
    format!(
        "SELECT DISTINCT direction FROM messages WHERE session_id = $1 AND chat_jid IN ({chats})
           AND (status IS NULL OR status NOT IN ('failed', 'pending')) ORDER BY direction"
    )
}

fn lane(directions: &[Row]) -> Result<Lane> {
    let first: Option<String> = directions.first().map(|row| row.get(0)).transpose()?;
    Ok(match first.as_deref() {
        Some("in") => Lane::Reply,
        Some(_) => Lane::Known,
        None => Lane::Cold,
    })
}

impl Db {
    /// Whom a message to a person at these addresses goes to. Messages that did not arrive make no conversation.
    pub async fn lane_of(&self, session: &SessionId, addresses: &[String]) -> Result<Lane> {
        let mut args = args![session].to_vec();
        let sql = directions(&mut args, addresses);
        lane(&self.rows_built(sql, &args).await?)
    }

    /// Every address under which the person at `address` was ever seen, this one included.
    pub async fn addresses_of(&self, session: &SessionId, address: &str) -> Result<Vec<String>> {
        with(address, &self.rows(ADDRESSES, args![session, address]).await?)
    }

    /// The sessions that this gateway holds and that have something to send now.
    pub async fn sessions_with_outbox(&self, gateway: &GatewayId, now: Time) -> Result<Vec<SessionId>> {
        let sql = "SELECT DISTINCT o.session_id FROM outbox o JOIN sessions s ON s.id = o.session_id
                   WHERE o.settled_at IS NULL AND o.due_at <= $2 AND s.lease_holder = $1
                     AND (o.state <> 'sending' OR o.claimed_until <= $2 OR o.claim_epoch <> s.lease_epoch)";
        self.rows(sql, args![gateway, now]).await?.iter().map(|row| row.get(0)).collect()
    }

    /// Seconds after which messages of a chat disappear; 0 for never, `None` when nothing is known.
    pub async fn chat_timer(&self, session: &SessionId, chat: &str) -> Result<Option<i64>> {
        let sql = "SELECT MAX(timer) FROM (SELECT ephemeral AS timer FROM groups WHERE session_id = $1 AND group_jid = $2
                     UNION ALL SELECT ephemeral AS timer FROM chats WHERE session_id = $1 AND jid = $2) AS timers";
        Ok(self.row(sql, args![session, chat]).await?.map(|row| row.get(0)).transpose()?.flatten())
    }

    /// One message of the outbox by its id here or by WhatsApp's.
    pub async fn outbox_item(&self, organization: &OrganizationId, session: &SessionId, id: &str) -> Result<Option<Item>> {
        let sql = concat!(
            "SELECT ",
            columns!(),
            " FROM outbox WHERE organization_id = $1 AND session_id = $2 AND (id = $3 OR wa_message_id = $3) LIMIT 1"
        );
        self.row(sql, args![organization, session, id]).await?.as_ref().map(read).transpose()
    }

    /// A session's messages that have not ended their way, oldest first, after the id `after`.
    pub async fn open_outbox(&self, session: &SessionId, after: &str, limit: i64) -> Result<Vec<Item>> {
        let sql = concat!(
            "SELECT ",
            columns!(),
            " FROM outbox WHERE session_id = $1 AND settled_at IS NULL AND id > $2 ORDER BY id LIMIT $3"
        );
        self.rows(sql, args![session, after, limit]).await?.iter().map(read).collect()
    }
}

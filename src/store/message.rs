//! Messages.

use crate::domain::clock::Time;
use crate::domain::ids::{OrganizationId, SessionId};
use crate::domain::message::{Direction, Marks, Message, MessageStatus};
use crate::error::{Error, Result};
use crate::store::{Arg, Db, Row, Tx, args, list, one_of};

macro_rules! columns {
    () => {
        "id, session_id, organization_id, wa_message_id, chat_jid, sender_jid, sender_lid, sender_name, direction, from_me, kind, body, \
         status, error, idempotency_key, idempotency_hash, timestamp, created_at, content, edited_at, deleted_at, starred, sent_at, \
         delivered_at, read_at, played_at, failed_at"
    };
}
pub(super) use columns as message_columns;

/// What [`Tx::insert_message`] writes.
macro_rules! written {
    () => {
        "id, session_id, organization_id, wa_message_id, chat_jid, sender_jid, sender_lid, sender_name, direction, from_me, kind, body, \
         status, error, idempotency_key, idempotency_hash, timestamp, created_at, content, starred, status_at, told"
    };
}

const STATUSES: [MessageStatus; 6] = [
    MessageStatus::Pending,
    MessageStatus::Sent,
    MessageStatus::Delivered,
    MessageStatus::Read,
    MessageStatus::Played,
    MessageStatus::Failed,
];

pub(super) fn read(row: &Row) -> Result<Message> {
    let content: Option<String> = row.get(18)?;
    let content = content.map(|json| serde_json::from_str(&json)).transpose().map_err(Error::internal)?.unwrap_or_default();
    let status: Option<String> = row.get(12)?;
    let status = match status {
        None => None,
        Some(word) => Some(
            MessageStatus::from_word(&word)
                .ok_or_else(|| Error::internal(anyhow::anyhow!("a message has the unknown status `{word}`")))?,
        ),
    };
    Ok(Message {
        id: row.get(0)?,
        session: row.get(1)?,
        organization: row.get(2)?,
        wa_message_id: row.get(3)?,
        chat_jid: row.get(4)?,
        sender_jid: row.get(5)?,
        sender_lid: row.get(6)?,
        sender_name: row.get(7)?,
        direction: row.word(8, Direction::from_word)?,
        from_me: row.get(9)?,
        kind: row.get(10)?,
        body: row.get(11)?,
        status,
        error: row.get(13)?,
        idempotency_key: row.get(14)?,
        idempotency_hash: row.get(15)?,
        timestamp: row.get(16)?,
        created_at: row.get(17)?,
        content,
        marks: Marks {
            edited_at: row.get(19)?,
            deleted_at: row.get(20)?,
            starred: row.get(21)?,
            sent_at: row.get(22)?,
            delivered_at: row.get(23)?,
            read_at: row.get(24)?,
            played_at: row.get(25)?,
            failed_at: row.get(26)?,
        },
    })
}

const SENT_SINCE: &str = "SELECT COUNT(*) FROM messages WHERE session_id = $1 AND status IS NOT NULL AND created_at > $2";
const NTH_SENT_SINCE: &str = "SELECT created_at FROM messages WHERE session_id = $1 AND status IS NOT NULL AND created_at > $2
                              ORDER BY created_at LIMIT 1 OFFSET $3";
const BY_IDEMPOTENCY_KEY: &str =
    concat!("SELECT ", columns!(), " FROM messages WHERE organization_id = $1 AND idempotency_key = $2");

impl Tx {
    /// Stores a message and brings its chat up to date. False when the session has it already: the same WhatsApp id from the same sender
    /// in the same chat.
    ///
    /// # Errors
    /// `Conflict` when the organization has used its idempotency key before.
    pub async fn insert_message(&mut self, message: &Message) -> Result<bool> {
        let stored = self.insert_messages(std::slice::from_ref(message), true).await?;
        if stored.is_empty() {
            return Ok(false);
        }
        let received = message.direction == Direction::In;
        self.touch_chat(&message.session, &message.chat_jid, message.timestamp, i64::from(received), message.created_at).await?;
        if let Some(end) = message.content.poll.as_ref().and_then(|poll| poll.end_at) {
            self.await_poll_end(&message.id, end).await?;
        }
        Ok(true)
    }

    /// Stores messages of the past, of which no event tells, without their chats. Gives the ids here of those that were new.
    pub async fn insert_past(&mut self, messages: &[Message]) -> Result<Vec<String>> {
        self.insert_messages(messages, false).await
    }

    /// A message has come live that may be known from the past alone: then it is news now, once. Gives its id here.
    pub async fn tell_past(&mut self, message: &Message) -> Result<Option<String>> {
        let sql = "UPDATE messages SET told = $5
                   WHERE session_id = $1 AND chat_jid = $2 AND sender_jid = $3 AND wa_message_id = $4 AND told <> $5 RETURNING id";
        let args = args![&message.session, &message.chat_jid, &message.sender_jid, &message.wa_message_id, true];
        self.rows_built(sql.to_owned(), args).await?.first().map(|row| row.get(0)).transpose()
    }

    async fn insert_messages(&mut self, messages: &[Message], told: bool) -> Result<Vec<String>> {
        const WIDTH: usize = 22;
        let mut new = Vec::new();
        for messages in messages.chunks(40) {
            let contents: Vec<Option<String>> = messages.iter().map(|message| message.content.to_json()).collect();
            let mut args = Vec::with_capacity(messages.len() * WIDTH);
            for (message, content) in messages.iter().zip(&contents) {
                args.extend(args![
                    &message.id,
                    &message.session,
                    &message.organization,
                    &message.wa_message_id,
                    &message.chat_jid,
                    &message.sender_jid,
                    &message.sender_lid,
                    &message.sender_name,
                    message.direction.word(),
                    message.from_me,
                    &message.kind,
                    &message.body,
                    message.status.map(MessageStatus::word),
                    &message.error,
                    &message.idempotency_key,
                    &message.idempotency_hash,
                    message.timestamp,
                    message.created_at,
                    content,
                    message.marks.starred,
                    message.status.map(|_| message.created_at),
                    told,
                ]);
            }
            let rows: Vec<String> = (0..messages.len()).map(|row| format!("({})", list(row * WIDTH + 1, WIDTH))).collect();
            let sql = format!(
                "INSERT INTO messages ({}) VALUES {}
                 ON CONFLICT (session_id, chat_jid, sender_jid, wa_message_id) DO NOTHING RETURNING id",
                written!(),
                rows.join(", ")
            );
            for row in self.rows_built(sql, &args).await? {
                new.push(row.get(0)?);
            }
        }
        Ok(new)
    }

    /// Records news of messages that were sent from here, and gives those that it changed, as they are then. News that is older than
    /// what is known changes nothing; see [`MessageStatus::advances_to`].
    pub async fn advance_message_status(
        &mut self,
        session: &SessionId,
        wa_ids: &[String],
        status: MessageStatus,
        error: Option<&str>,
        now: Time,
    ) -> Result<Vec<Message>> {
        let from = STATUSES.into_iter().filter(|old| old.advances_to(status)).collect::<Vec<_>>();
        let mut changed = Vec::new();
        if from.is_empty() {
            return Ok(changed);
        }
        for wa_ids in wa_ids.chunks(256) {
            // Before the messages themselves: whoever touches both takes them in this order, so that none waits for the other.
            if status != MessageStatus::Failed && status != MessageStatus::Pending {
                self.reconcile_outbox(session, wa_ids, now).await?;
            }
            let mut args = args![session, status.word(), error, now].to_vec();
            let ids = one_of(&mut args, wa_ids.iter().map(Arg::from));
            let from = one_of(&mut args, from.iter().map(|old| Arg::from(old.word())));
            let step = match status {
                MessageStatus::Pending => "status_at",
                MessageStatus::Sent => "sent_at",
                MessageStatus::Delivered => "delivered_at",
                MessageStatus::Read => "read_at",
                MessageStatus::Played => "played_at",
                MessageStatus::Failed => "failed_at",
            };
            let step = if step == "status_at" { String::new() } else { format!(", {step} = $4") };
            let sql = format!(
                "UPDATE messages SET status = $2, error = $3, status_at = $4{step}
                 WHERE session_id = $1 AND wa_message_id IN ({ids}) AND status IN ({from}) RETURNING {}",
                columns!()
            );
            for row in self.rows_built(sql, &args).await? {
                changed.push(read(&row)?);
            }
        }
        Ok(changed)
    }

    /// The message that the organization sent with this idempotency key.
    pub async fn message_by_idempotency_key(&mut self, organization: &OrganizationId, key: &str) -> Result<Option<Message>> {
        self.row(BY_IDEMPOTENCY_KEY, args![organization, key]).await?.as_ref().map(read).transpose()
    }

    /// See [`Db::sent_since`]. Behind [`Tx::lock_session`] the answer stays true until the commit.
    pub async fn sent_since(&mut self, session: &SessionId, since: Time) -> Result<i64> {
        self.row(SENT_SINCE, args![session, since]).await?.map_or(Ok(0), |row| row.get(0))
    }

    /// See [`Db::nth_sent_since`].
    pub async fn nth_sent_since(&mut self, session: &SessionId, since: Time, skip: i64) -> Result<Option<Time>> {
        self.row(NTH_SENT_SINCE, args![session, since, skip]).await?.map(|row| row.get(0)).transpose()
    }
}

impl Db {
    /// A message of the session, by its id here or by WhatsApp's id.
    pub async fn message(&self, organization: &OrganizationId, session: &SessionId, id: &str) -> Result<Option<Message>> {
        let sql = concat!(
            "SELECT ",
            columns!(),
            " FROM messages WHERE organization_id = $1 AND session_id = $2 AND (id = $3 OR wa_message_id = $3)
             ORDER BY CASE WHEN id = $3 THEN 0 ELSE 1 END, created_at, id LIMIT 1"
        );
        self.row(sql, args![organization, session, id]).await?.as_ref().map(read).transpose()
    }

    /// The message that the organization sent with this idempotency key.
    pub async fn message_by_idempotency_key(&self, organization: &OrganizationId, key: &str) -> Result<Option<Message>> {
        self.row(BY_IDEMPOTENCY_KEY, args![organization, key]).await?.as_ref().map(read).transpose()
    }

    /// How many messages were sent from here after `since`, failed ones included.
    pub async fn sent_since(&self, session: &SessionId, since: Time) -> Result<i64> {
        self.row(SENT_SINCE, args![session, since]).await?.map_or(Ok(0), |row| row.get(0))
    }

    /// When the oldest message sent from here after `since` was stored.
    pub async fn oldest_sent_since(&self, session: &SessionId, since: Time) -> Result<Option<Time>> {
        self.nth_sent_since(session, since, 0).await
    }

    /// When, of the messages sent from here after `since`, the one with `skip` older ones was stored. With a budget of `limit` per window
    /// and `count` messages in it, the next one fits when the message at `skip = count - limit` has left the window.
    pub async fn nth_sent_since(&self, session: &SessionId, since: Time, skip: i64) -> Result<Option<Time>> {
        self.row(NTH_SENT_SINCE, args![session, since, skip]).await?.map(|row| row.get(0)).transpose()
    }

    /// The messages that are stored and not known to be with WhatsApp, oldest first.
    pub async fn pending_messages(&self, session: &SessionId) -> Result<Vec<Message>> {
        let sql =
            concat!("SELECT ", columns!(), " FROM messages WHERE session_id = $1 AND status = 'pending' ORDER BY created_at, id");
        self.rows(sql, args![session]).await?.iter().map(read).collect()
    }
}

//! Conversations.

use std::collections::BTreeMap;

use crate::domain::chat::{Chat, ChatKind, ChatPatch};
use crate::domain::clock::Time;
use crate::domain::ids::SessionId;
use crate::error::Result;
use crate::store::{Arg, Db, Row, Tx, args, one_of};

/// A chat with the name that the directory has for it: the person's, or the group's.
const SELECT: &str = "SELECT c.id, c.session_id, c.jid, c.kind,
    COALESCE(g.subject, i.full_name, i.first_name, i.push_name, i.business_name, c.name),
    c.unread, c.marked_unread, c.archived, c.pinned, c.muted_until, c.ephemeral, c.last_message_at, a.identity_id
    FROM chats c
    LEFT JOIN groups g ON g.session_id = c.session_id AND g.group_jid = c.jid
    LEFT JOIN identity_aliases a ON a.session_id = c.session_id AND a.address = c.jid
    LEFT JOIN identities i ON i.id = a.identity_id";

fn read(row: &Row) -> Result<(Chat, Option<i64>)> {
    let chat = Chat {
        id: row.get(0)?,
        session: row.get(1)?,
        jid: row.get(2)?,
        kind: row.word(3, ChatKind::from_word)?,
        name: row.get(4)?,
        unread: row.get(5)?,
        marked_unread: row.get(6)?,
        archived: row.get(7)?,
        pinned: row.get(8)?,
        muted_until: row.get(9)?,
        ephemeral: row.get(10)?,
        last_message_at: row.get(11)?,
        aliases: Vec::new(),
    };
    Ok((chat, row.get(12)?))
}

impl Tx {
    /// Notes a message of a chat, which is made if it is not there yet.
    pub async fn touch_chat(&mut self, session: &SessionId, jid: &str, at: Time, unread: i64, now: Time) -> Result<()> {
        let sql = "INSERT INTO chats (session_id, jid, kind, unread, last_message_at, created_at) VALUES ($1, $2, $3, $4, $5, $6)
                   ON CONFLICT (session_id, jid) DO UPDATE SET unread = chats.unread + excluded.unread,
                   last_message_at = CASE WHEN excluded.last_message_at > chats.last_message_at THEN excluded.last_message_at
                                          ELSE chats.last_message_at END";
        self.execute(sql, args![session, jid, ChatKind::of(jid).word(), unread, at, now]).await.map(drop)
    }

    /// The same for many chats in which there was something long ago, nothing of which waits to be read.
    pub async fn touch_past_chats(&mut self, session: &SessionId, chats: &BTreeMap<&str, Time>, now: Time) -> Result<()> {
        let mut values = Vec::with_capacity(chats.len() * 5);
        for (jid, at) in chats {
            values.extend(args![session, *jid, ChatKind::of(jid).word(), *at, now]);
        }
        let head = "INSERT INTO chats (session_id, jid, kind, last_message_at, created_at) VALUES";
        let tail = "ON CONFLICT (session_id, jid) DO UPDATE SET last_message_at =
                    CASE WHEN excluded.last_message_at > chats.last_message_at THEN excluded.last_message_at
                         ELSE chats.last_message_at END";
        self.insert(head, 5, tail, &values).await
    }

    /// Takes over what the phone's history says of a chat. What is known from here since is not set back.
    pub async fn remember_chat(&mut self, chat: &Chat, now: Time) -> Result<()> {
        let sql = "INSERT INTO chats (session_id, jid, kind, name, unread, marked_unread, archived, pinned, muted_until, ephemeral,
                   last_message_at, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
                   ON CONFLICT (session_id, jid) DO UPDATE SET name = COALESCE(excluded.name, chats.name),
                   unread = CASE WHEN excluded.last_message_at >= chats.last_message_at THEN excluded.unread ELSE chats.unread END,
                   archived = excluded.archived, pinned = excluded.pinned, muted_until = excluded.muted_until,
                   ephemeral = excluded.ephemeral,
                   last_message_at = CASE WHEN excluded.last_message_at > chats.last_message_at THEN excluded.last_message_at
                                          ELSE chats.last_message_at END";
        let Chat { session, jid, kind, name, unread, marked_unread, archived, pinned, muted_until, ephemeral, .. } = chat;
        let args = args![
            session,
            jid,
            kind.word(),
            name,
            *unread,
            *marked_unread,
            *archived,
            *pinned,
            *muted_until,
            *ephemeral,
            chat.last_message_at,
            now
        ];
        self.execute(sql, args).await.map(drop)
    }

    /// Changes what holds of a chat, which is made if it is not there yet.
    pub async fn set_chat(&mut self, session: &SessionId, jid: &str, patch: &ChatPatch, now: Time) -> Result<()> {
        self.touch_chat(session, jid, Time(0), 0, now).await?;
        let changes = [
            ("archived", patch.archived.map(Arg::from)),
            ("pinned", patch.pinned.map(Arg::from)),
            ("muted_until", patch.muted_until.map(Arg::from)),
            ("ephemeral", patch.ephemeral.map(Arg::from)),
            ("marked_unread", patch.marked_unread.map(Arg::from)),
        ];
        for (column, value) in changes {
            if let Some(value) = value {
                let sql = format!("UPDATE chats SET {column} = $3 WHERE session_id = $1 AND jid = $2");
                self.execute_built(sql, &[Arg::from(session), Arg::from(jid), value]).await?;
            }
        }
        Ok(())
    }

    /// Notes that what was received in a chat up to `until` was read; `None` for everything.
    pub async fn chat_read(&mut self, session: &SessionId, jid: &str, until: Option<Time>) -> Result<()> {
        let sql = "UPDATE chats SET marked_unread = $4, unread = (SELECT COUNT(*) FROM messages m WHERE m.session_id = $1
                   AND m.chat_jid = $2 AND m.direction = 'in' AND m.timestamp > $3) WHERE session_id = $1 AND jid = $2";
        self.execute(sql, args![session, jid, until.unwrap_or(Time(i64::MAX)), false]).await.map(drop)
    }

    /// Deletes a chat's messages and, with `whole`, the chat. True when there was one.
    pub async fn delete_chat(&mut self, session: &SessionId, jid: &str, whole: bool) -> Result<bool> {
        // What was sent and is not known to be with WhatsApp stays: somebody waits for what becomes of it.
        let sql = "DELETE FROM messages WHERE session_id = $1 AND chat_jid = $2 AND (status IS NULL OR status <> 'pending')";
        self.execute(sql, args![session, jid]).await?;
        if whole {
            return Ok(self.execute("DELETE FROM chats WHERE session_id = $1 AND jid = $2", args![session, jid]).await? > 0);
        }
        let sql = "UPDATE chats SET unread = 0 WHERE session_id = $1 AND jid = $2";
        Ok(self.execute(sql, args![session, jid]).await? > 0)
    }

    /// Lets everything that is told under one address be told under another: what was found to be one conversation becomes one.
    pub(super) async fn move_address(&mut self, session: &SessionId, from: &str, to: &str) -> Result<()> {
        // The same message may have come under both.
        const STATEMENTS: [&str; 6] = [
            "DELETE FROM messages WHERE session_id = $1 AND chat_jid = $2 AND EXISTS (SELECT 1 FROM messages o
             WHERE o.session_id = $1 AND o.chat_jid = $3 AND o.wa_message_id = messages.wa_message_id AND o.from_me = messages.from_me)",
            "UPDATE messages SET chat_jid = $3, sender_jid = CASE WHEN sender_jid = $2 THEN $3 ELSE sender_jid END
             WHERE session_id = $1 AND chat_jid = $2",
            "DELETE FROM messages WHERE session_id = $1 AND sender_jid = $2 AND sender_jid <> chat_jid AND direction = 'in'
             AND EXISTS (SELECT 1 FROM messages o WHERE o.session_id = $1 AND o.chat_jid = messages.chat_jid AND o.sender_jid = $3
             AND o.wa_message_id = messages.wa_message_id)",
            "UPDATE messages SET sender_jid = $3 WHERE session_id = $1 AND sender_jid = $2 AND sender_jid <> chat_jid
             AND direction = 'in'",
            "UPDATE chats SET unread = chats.unread + o.unread, archived = chats.archived AND o.archived,
             pinned = chats.pinned OR o.pinned, muted_until = COALESCE(chats.muted_until, o.muted_until),
             name = COALESCE(chats.name, o.name), ephemeral = CASE WHEN chats.ephemeral = 0 THEN o.ephemeral ELSE chats.ephemeral END,
             last_message_at = CASE WHEN o.last_message_at > chats.last_message_at THEN o.last_message_at ELSE chats.last_message_at END
             FROM chats AS o WHERE chats.session_id = $1 AND chats.jid = $3 AND o.session_id = $1 AND o.jid = $2",
            "DELETE FROM chats WHERE session_id = $1 AND jid = $2
             AND EXISTS (SELECT 1 FROM chats o WHERE o.session_id = $1 AND o.jid = $3)",
        ];
        for sql in STATEMENTS {
            self.execute(sql, args![session, from, to]).await?;
        }
        let sql = "UPDATE chats SET jid = $3 WHERE session_id = $1 AND jid = $2";
        self.execute(sql, args![session, from, to]).await.map(drop)
    }

    /// A chat by its address.
    pub async fn chat(&mut self, session: &SessionId, jid: &str) -> Result<Option<Chat>> {
        let sql = format!("{SELECT} WHERE c.session_id = $1 AND c.jid = $2");
        let rows = self.rows_built(sql, args![session, jid]).await?;
        Ok(rows.first().map(read).transpose()?.map(|(chat, _)| chat))
    }
}

impl Db {
    /// At most `limit` chats of a session, the latest first, behind the one that `after` names by its last message and its id.
    pub async fn chats(&self, session: &SessionId, after: Option<(Time, i64)>, limit: i64) -> Result<Vec<Chat>> {
        let (at, id) = after.unwrap_or((Time(i64::MAX), i64::MAX));
        let sql = format!(
            "{SELECT} WHERE c.session_id = $1 AND (c.last_message_at < $2 OR (c.last_message_at = $2 AND c.id < $3))
             ORDER BY c.last_message_at DESC, c.id DESC LIMIT $4"
        );
        let rows = self.rows_built(sql, args![session, at, id, limit]).await?;
        self.with_aliases(rows.iter().map(read).collect::<Result<Vec<_>>>()?).await
    }

    /// A chat by its number.
    pub async fn chat_by_id(&self, session: &SessionId, id: i64) -> Result<Option<Chat>> {
        let sql = format!("{SELECT} WHERE c.session_id = $1 AND c.id = $2");
        let rows = self.rows_built(sql, args![session, id]).await?;
        Ok(self.with_aliases(rows.iter().map(read).collect::<Result<Vec<_>>>()?).await?.pop())
    }

    /// A chat by the address under which it is told.
    pub async fn chat_by_jid(&self, session: &SessionId, jid: &str) -> Result<Option<Chat>> {
        let sql = format!("{SELECT} WHERE c.session_id = $1 AND c.jid = $2");
        let rows = self.rows_built(sql, args![session, jid]).await?;
        Ok(self.with_aliases(rows.iter().map(read).collect::<Result<Vec<_>>>()?).await?.pop())
    }

    async fn with_aliases(&self, found: Vec<(Chat, Option<i64>)>) -> Result<Vec<Chat>> {
        let people: Vec<i64> = found.iter().filter_map(|(_, person)| *person).collect();
        let mut aliases: Vec<(i64, String)> = Vec::new();
        if !people.is_empty() {
            let mut args = Vec::new();
            let list = one_of(&mut args, people.iter().map(|id| Arg::from(*id)));
            let sql = format!("SELECT identity_id, address FROM identity_aliases WHERE identity_id IN ({list}) ORDER BY address");
            for row in self.rows_built(sql, &args).await? {
                aliases.push((row.get(0)?, row.get(1)?));
            }
        }
        let of = |person: Option<i64>, jid: &str| {
            let all = aliases.iter().filter(|(id, address)| Some(*id) == person && address != jid);
            all.map(|(_, address)| address.clone()).collect()
        };
        Ok(found.into_iter().map(|(chat, person)| Chat { aliases: of(person, &chat.jid), ..chat }).collect())
    }
}

//! Messages of conversations: read, searched, changed.

use crate::domain::clock::Time;
use crate::domain::content::Content;
use crate::domain::ids::SessionId;
use crate::domain::message::Message;
use crate::error::Result;
use crate::store::message::{message_columns, read};
use crate::store::{Arg, Db, Tx, args};

impl Tx {
    /// The messages with one of WhatsApp's ids: mostly one, and several only when people choose ids that others have used.
    pub async fn messages_by_wa_id(&mut self, session: &SessionId, wa_message_id: &str) -> Result<Vec<Message>> {
        let sql = concat!(
            "SELECT ",
            message_columns!(),
            " FROM messages WHERE session_id = $1 AND wa_message_id = $2 ORDER BY created_at, id"
        );
        self.rows_built(sql.to_owned(), args![session, wa_message_id]).await?.iter().map(read).collect()
    }

    /// Changes a message's text and what else it holds.
    pub async fn edit_message(&mut self, id: &str, body: Option<&str>, content: &Content, at: Time) -> Result<()> {
        let content = content.to_json();
        let sql = "UPDATE messages SET body = $2, content = $3, edited_at = $4 WHERE id = $1 AND deleted_at IS NULL";
        self.execute(sql, args![id, body, &content, at]).await.map(drop)
    }

    /// Takes a message back: what it held is forgotten.
    pub async fn revoke_message(&mut self, id: &str, at: Time) -> Result<()> {
        let sql = "UPDATE messages SET body = NULL, content = NULL, deleted_at = $2 WHERE id = $1 AND deleted_at IS NULL";
        self.execute(sql, args![id, at]).await.map(drop)
    }

    /// Marks a message with a star, or no longer. True when that changed it.
    pub async fn star_message(&mut self, session: &SessionId, wa_message_id: &str, starred: bool) -> Result<bool> {
        let sql = "UPDATE messages SET starred = $3 WHERE session_id = $1 AND wa_message_id = $2 AND starred <> $3";
        Ok(self.execute(sql, args![session, wa_message_id, starred]).await? > 0)
    }

    /// When the newest of these messages was sent.
    pub async fn newest_of(&mut self, session: &SessionId, wa_message_ids: &[String]) -> Result<Option<Time>> {
        let mut newest = None;
        for ids in wa_message_ids.chunks(256) {
            let mut args = args![session].to_vec();
            let list = crate::store::one_of(&mut args, ids.iter().map(Arg::from));
            let sql = format!("SELECT MAX(timestamp) FROM messages WHERE session_id = $1 AND wa_message_id IN ({list})");
            let row = self.rows_built(sql, &args).await?.into_iter().next();
            newest = newest.max(row.map(|row| row.get::<Option<Time>>(0)).transpose()?.flatten());
        }
        Ok(newest)
    }
}

impl Db {
    /// At most `limit` messages of a chat, the latest first, behind the one that `after` names by its moment and its id.
    pub async fn chat_messages(
        &self,
        session: &SessionId,
        chat_jid: &str,
        after: Option<(Time, &str)>,
        limit: i64,
    ) -> Result<Vec<Message>> {
        let (at, id) = after.unwrap_or((Time(i64::MAX), ""));
        let sql = concat!(
            "SELECT ",
            message_columns!(),
            " FROM messages WHERE session_id = $1 AND chat_jid = $2 AND (timestamp < $3 OR (timestamp = $3 AND id < $4))
             ORDER BY timestamp DESC, id DESC LIMIT $5"
        );
        self.rows(sql, args![session, chat_jid, at, id, limit]).await?.iter().map(read).collect()
    }

    /// The received messages of a chat that were not read yet: at most `limit`, the latest first.
    pub async fn unread_messages(&self, session: &SessionId, chat_jid: &str, limit: i64) -> Result<Vec<Message>> {
        let sql = concat!(
            "SELECT ",
            message_columns!(),
            " FROM messages WHERE session_id = $1 AND chat_jid = $2 AND direction = 'in' ORDER BY timestamp DESC, id DESC LIMIT $3"
        );
        self.rows(sql, args![session, chat_jid, limit]).await?.iter().map(read).collect()
    }

    /// At most `limit` messages of a session whose text has all `words`, each at least as the beginning of a word, the latest first,
    /// behind the one that `after` names.
    pub async fn search_messages(
        &self,
        session: &SessionId,
        words: &[String],
        chat_jid: Option<&str>,
        after: Option<(Time, &str)>,
        limit: i64,
    ) -> Result<Vec<Message>> {
        let (at, id) = after.unwrap_or((Time(i64::MAX), ""));
        let mut args = args![session, limit].to_vec();
        let query;
        let mut sql = match self {
            // Words are put in quotes, in which FTS5 reads nothing but words; a quote itself is doubled. Rows come in the order of their
            // numbers, so that a page costs as much as what is on it.
            Self::Sqlite { .. } => {
                let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
                let words: Vec<String> = words.iter().map(|word| format!("{}*", quoted(word))).collect();
                query = format!("session_id : {} AND body : ({})", quoted(session.as_str()), words.join(" AND "));
                args.extend(args![&query, after.map_or(i64::MAX, |(at, id)| position(at, id))]);
                format!(
                    "SELECT {} FROM (SELECT rowid AS place, message_id FROM message_texts WHERE message_texts MATCH $3 AND rowid < $4
                     ORDER BY rowid DESC) AS t CROSS JOIN messages m ON m.id = t.message_id WHERE m.session_id = $1",
                    message_columns!()
                )
            }
            // The same for `to_tsquery`, which reads what is in single quotes as words.
            Self::Postgres(_) => {
                let quoted = |word: &String| format!("'{}':*", word.replace('\\', " ").replace('\'', "''"));
                query = words.iter().map(quoted).collect::<Vec<_>>().join(" & ");
                args.extend(args![&query, at, id]);
                format!(
                    "SELECT {} FROM messages m WHERE session_id = $1 AND body IS NOT NULL
                     AND to_tsvector('simple', body) @@ to_tsquery('simple', $3)
                     AND (timestamp < $4 OR (timestamp = $4 AND id < $5))",
                    message_columns!()
                )
            }
        };
        if let Some(chat) = chat_jid {
            args.push(Arg::from(chat));
            sql.push_str(&format!(" AND m.chat_jid = ${}", args.len()));
        }
        sql.push_str(match self {
            Self::Sqlite { .. } => " ORDER BY t.place DESC LIMIT $2",
            Self::Postgres(_) => " ORDER BY timestamp DESC, id DESC LIMIT $2",
        });
        self.rows_built(sql, &args).await?.iter().map(read).collect()
    }
}

/// Where SQLite's search has a message: its column `position`.
fn position(at: Time, id: &str) -> i64 {
    const ALPHABET: &str = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let end: Vec<char> = id.chars().rev().take(4).collect();
    let digit = |index: usize| end.get(index).and_then(|c| ALPHABET.find(*c)).map_or(31, |at| i64::try_from(at).unwrap_or(31));
    (at.0 << 20) | (digit(3) << 15) | (digit(2) << 10) | (digit(1) << 5) | digit(0)
}

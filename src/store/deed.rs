//! What people did to messages: reactions, votes; and when polls end.

use std::collections::BTreeMap;

use crate::domain::chat::{Reaction, Vote};
use crate::domain::clock::Time;
use crate::domain::ids::SessionId;
use crate::domain::message::Message;
use crate::error::{Error, Result};
use crate::store::message::{message_columns, read};
use crate::store::{Arg, Db, Row, Tx, args, one_of};

/// Rows name people by the address that was known then; this tells who it is now.
macro_rules! people {
    ($table:literal) => {
        concat!(
            " FROM ",
            $table,
            " d LEFT JOIN identity_aliases a ON a.session_id = d.session_id AND a.address = d.sender_jid
              LEFT JOIN identities i ON i.id = a.identity_id WHERE d.session_id = $1"
        )
    };
}

/// Somebody's present address: by number when that is known.
fn address(row: &Row, from: usize) -> Result<String> {
    let (then, phone, lid): (String, Option<String>, Option<String>) = (row.get(from)?, row.get(from + 1)?, row.get(from + 2)?);
    Ok(phone.map(|digits| format!("{digits}@s.whatsapp.net")).or(lid).unwrap_or(then))
}

impl Tx {
    /// Whether something that somebody did, by WhatsApp's id of it, comes for the first time.
    pub async fn is_new_deed(&mut self, session: &SessionId, wa_message_id: &str, sender_jid: &str, now: Time) -> Result<bool> {
        let sql = "INSERT INTO deeds (session_id, wa_message_id, sender_jid, at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";
        Ok(self.execute(sql, args![session, wa_message_id, sender_jid, now]).await? > 0)
    }

    /// Records a reaction; an empty one takes it back. False when a later one is known.
    pub async fn react(&mut self, session: &SessionId, wa_message_id: &str, reaction: &Reaction) -> Result<bool> {
        let Reaction { sender_jid, from_me, emoji, timestamp } = reaction;
        let sql = "INSERT INTO reactions (session_id, wa_message_id, sender_jid, from_me, emoji, timestamp)
                   VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (session_id, wa_message_id, sender_jid) DO UPDATE
                   SET emoji = excluded.emoji, timestamp = excluded.timestamp WHERE excluded.timestamp >= reactions.timestamp";
        Ok(self.execute(sql, args![session, wa_message_id, sender_jid, *from_me, emoji, *timestamp]).await? > 0)
    }

    /// Records a vote; an empty one takes it back. False when a later one is known.
    pub async fn vote(&mut self, session: &SessionId, wa_message_id: &str, vote: &Vote) -> Result<bool> {
        let selected = serde_json::to_string(&vote.selected).map_err(Error::internal)?;
        let sql = "INSERT INTO poll_votes (session_id, wa_message_id, sender_jid, from_me, selected, timestamp)
                   VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (session_id, wa_message_id, sender_jid) DO UPDATE
                   SET selected = excluded.selected, timestamp = excluded.timestamp WHERE excluded.timestamp >= poll_votes.timestamp";
        let args = args![session, wa_message_id, &vote.sender_jid, vote.from_me, &selected, vote.timestamp];
        Ok(self.execute(sql, args).await? > 0)
    }

    /// Every person's last vote in a poll, those who took it back left out, oldest first.
    pub async fn votes(&mut self, session: &SessionId, wa_message_id: &str) -> Result<Vec<Vote>> {
        let rows = self.rows_built(VOTES.to_owned(), args![session, wa_message_id]).await?;
        rows.iter().map(read_vote).collect::<Result<Vec<_>>>().map(last_votes)
    }

    /// Notes that a poll ends.
    pub async fn await_poll_end(&mut self, message_id: &str, end_at: Time) -> Result<()> {
        let sql = "INSERT INTO poll_ends (message_id, end_at) VALUES ($1, $2) ON CONFLICT (message_id) DO NOTHING";
        self.execute(sql, args![message_id, end_at]).await.map(drop)
    }

    /// Takes at most `limit` polls whose end has come, for telling it: nobody else gets them once this is committed.
    pub async fn ended_polls(&mut self, now: Time, limit: i64) -> Result<Vec<Message>> {
        let sql = "DELETE FROM poll_ends WHERE message_id IN
                   (SELECT message_id FROM poll_ends WHERE end_at <= $1 ORDER BY end_at LIMIT $2) RETURNING message_id";
        let ids: Vec<String> =
            self.rows_built(sql.to_owned(), args![now, limit]).await?.iter().map(|row| row.get(0)).collect::<Result<_>>()?;
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut args = Vec::new();
        let list = one_of(&mut args, ids.iter().map(Arg::from));
        let sql = format!("SELECT {} FROM messages WHERE id IN ({list}) AND deleted_at IS NULL", message_columns!());
        self.rows_built(sql, &args).await?.iter().map(read).collect()
    }
}

const VOTES: &str = concat!(
    "SELECT d.sender_jid, i.phone, i.lid, d.from_me, d.selected, d.timestamp,
     COALESCE(i.full_name, i.first_name, i.push_name, i.business_name)",
    people!("poll_votes"),
    " AND d.wa_message_id = $2 ORDER BY d.timestamp"
);

fn read_vote(row: &Row) -> Result<Vote> {
    let selected: String = row.get(4)?;
    Ok(Vote {
        sender_jid: address(row, 0)?,
        name: row.get(6)?,
        from_me: row.get(3)?,
        selected: serde_json::from_str(&selected).map_err(Error::internal)?,
        timestamp: row.get(5)?,
    })
}

/// Of votes in their order the last of each person, without those that took theirs back.
fn last_votes(votes: Vec<Vote>) -> Vec<Vote> {
    let mut last: Vec<Vote> = Vec::new();
    for vote in votes {
        last.retain(|earlier| earlier.sender_jid != vote.sender_jid);
        last.push(vote);
    }
    last.retain(|vote| !vote.selected.is_empty());
    last
}

impl Db {
    /// Whether there is a poll whose end has come and was not told.
    pub async fn has_ended_poll(&self, now: Time) -> Result<bool> {
        Ok(self.row("SELECT 1 FROM poll_ends WHERE end_at <= $1 LIMIT 1", args![now]).await?.is_some())
    }

    /// Forgets what was dealt with before `before`, at most `limit` entries; gives their number.
    pub async fn forget_deeds(&self, before: Time, limit: i64) -> Result<u64> {
        let sql = "DELETE FROM deeds WHERE (session_id, wa_message_id, sender_jid) IN
                   (SELECT session_id, wa_message_id, sender_jid FROM deeds WHERE at < $1 ORDER BY at LIMIT $2)";
        self.execute(sql, args![before, limit]).await
    }

    /// Every person's last vote in a poll, those who took it back left out, oldest first.
    pub async fn votes(&self, session: &SessionId, wa_message_id: &str) -> Result<Vec<Vote>> {
        let rows = self.rows(VOTES, args![session, wa_message_id]).await?;
        rows.iter().map(read_vote).collect::<Result<Vec<_>>>().map(last_votes)
    }

    /// The reactions to messages, by WhatsApp's id of each: every person's last one, oldest first.
    pub async fn reactions(&self, session: &SessionId, wa_message_ids: &[String]) -> Result<BTreeMap<String, Vec<Reaction>>> {
        let mut found: BTreeMap<String, Vec<Reaction>> = BTreeMap::new();
        for ids in wa_message_ids.chunks(256) {
            let mut args = args![session].to_vec();
            let list = one_of(&mut args, ids.iter().map(Arg::from));
            let sql = format!(
                "SELECT d.sender_jid, i.phone, i.lid, d.from_me, d.emoji, d.timestamp, d.wa_message_id{} AND d.wa_message_id IN ({list})
                 ORDER BY d.timestamp",
                people!("reactions")
            );
            for row in self.rows_built(sql, &args).await? {
                let reaction =
                    Reaction { sender_jid: address(&row, 0)?, from_me: row.get(3)?, emoji: row.get(4)?, timestamp: row.get(5)? };
                let all = found.entry(row.get(6)?).or_default();
                all.retain(|earlier| earlier.sender_jid != reaction.sender_jid);
                all.push(reaction);
            }
        }
        for all in found.values_mut() {
            all.retain(|reaction| !reaction.emoji.is_empty());
        }
        Ok(found)
    }
}

//! Message secrets: what decrypts later additions (reactions, poll votes, edits) to a message.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use wacore::store::traits::{
    MsgSecretEntry, MsgSecretStore, merge_msg_secret_expiry as merge_expiry, merge_msg_secret_message_ts as merge_time,
};

use super::{Answer, DeviceStore, count, told};
use crate::store::{Arg, args};

const TABLE: &str = "wa_msg_secrets";

fn key<'a>(chat: &'a str, sender: &'a str, id: &'a str) -> [&'a [u8]; 3] {
    [chat.as_bytes(), sender.as_bytes(), id.as_bytes()]
}

/// One entry per key, with the deadlines of doubles merged as the rows' are.
fn merged(entries: Vec<MsgSecretEntry>) -> Vec<MsgSecretEntry> {
    let mut places: HashMap<[Arc<str>; 3], usize> = HashMap::with_capacity(entries.len());
    let mut kept: Vec<MsgSecretEntry> = Vec::with_capacity(entries.len());
    for mut entry in entries {
        let place = [entry.chat.clone(), entry.sender.clone(), entry.msg_id.clone()];
        match places.get(&place).and_then(|at| kept.get_mut(*at)) {
            Some(earlier) => {
                entry.expires_at = merge_expiry(earlier.expires_at, entry.expires_at);
                entry.message_ts = merge_time(earlier.message_ts, entry.message_ts);
                *earlier = entry;
            }
            None => {
                places.insert(place, kept.len());
                kept.push(entry);
            }
        }
    }
    kept
}

#[async_trait]
impl MsgSecretStore for DeviceStore {
    async fn put_msg_secrets(&self, entries: Vec<MsgSecretEntry>) -> Answer<usize> {
        let given = entries.len();
        let entries = merged(entries);
        let mut sealed = Vec::with_capacity(entries.len());
        for one in &entries {
            sealed.push(self.seal(TABLE, &key(&one.chat, &one.sender, &one.msg_id), &one.secret)?);
        }
        let mut values: Vec<Arg<'_>> = Vec::with_capacity(entries.len() * 7);
        for (one, secret) in entries.iter().zip(&sealed) {
            let (chat, sender, id) = (&*one.chat, &*one.sender, &*one.msg_id);
            values.extend_from_slice(args![&self.session, chat, sender, id, secret, one.expires_at, one.message_ts]);
        }
        let head =
            "INSERT INTO wa_msg_secrets (session_id, chat_jid, sender_jid, message_id, secret, expires_at, message_ts) VALUES";
        // A window never shrinks (0 means for ever), and an unknown time never replaces a known one.
        let tail = "ON CONFLICT (session_id, chat_jid, sender_jid, message_id) DO UPDATE SET secret = excluded.secret,
                    expires_at = CASE WHEN wa_msg_secrets.expires_at = 0 OR excluded.expires_at = 0 THEN 0
                                      WHEN excluded.expires_at > wa_msg_secrets.expires_at THEN excluded.expires_at
                                      ELSE wa_msg_secrets.expires_at END,
                    message_ts = CASE WHEN excluded.message_ts > wa_msg_secrets.message_ts THEN excluded.message_ts
                                      ELSE wa_msg_secrets.message_ts END";
        self.insert(head, 7, tail, &values).await?;
        Ok(given)
    }

    async fn get_msg_secret(&self, chat: &str, sender: &str, msg_id: &str) -> Answer<Option<Vec<u8>>> {
        Ok(self.get_msg_secret_with_ts(chat, sender, msg_id).await?.map(|(secret, _)| secret))
    }

    async fn get_msg_secret_with_ts(&self, chat: &str, sender: &str, msg_id: &str) -> Answer<Option<(Vec<u8>, i64)>> {
        let sql = "SELECT secret, message_ts FROM wa_msg_secrets
                   WHERE session_id = $1 AND chat_jid = $2 AND sender_jid = $3 AND message_id = $4";
        let Some(row) = self.row(sql, args![&self.session, chat, sender, msg_id]).await? else { return Ok(None) };
        Ok(Some((self.open(TABLE, &key(chat, sender, msg_id), &row, 0)?, row.get(1).map_err(told)?)))
    }

    async fn delete_expired_msg_secrets(&self, cutoff_timestamp: i64) -> Answer<u32> {
        let sql = "DELETE FROM wa_msg_secrets WHERE session_id = $1 AND expires_at <> 0 AND expires_at <= $2";
        self.execute(sql, args![&self.session, cutoff_timestamp]).await.map(count)
    }
}

//! What the protocol remembers: who has which sender key, LIDs and numbers, device lists, privacy tokens, and messages under way.

use async_trait::async_trait;
use wacore::store::error::StoreError;
use wacore::store::traits::{
    DeviceListRecord, LidPnMappingEntry, PendingInboundKey, PendingInboundRow, ProtocolStore, TcTokenEntry,
};

use super::{Answer, DeviceStore, count, latest, told};
use crate::error::Result;
use crate::store::{Arg, Row, args, patiently};

const SENT: &str = "wa_sent_messages";
const PENDING: &str = "wa_pending_inbound";

macro_rules! mapping_columns {
    () => {
        "lid, phone_number, created_at, updated_at, learning_source"
    };
}

fn mapping(row: &Row) -> Result<LidPnMappingEntry> {
    Ok(LidPnMappingEntry {
        lid: row.get(0)?,
        phone_number: row.get(1)?,
        created_at: row.get(2)?,
        updated_at: row.get(3)?,
        learning_source: row.get(4)?,
    })
}

fn token(row: &Row) -> Result<TcTokenEntry> {
    Ok(TcTokenEntry { token: row.get(0)?, token_timestamp: row.get(1)?, sender_timestamp: row.get(2)? })
}

fn pending_key<'a>(chat: &'a str, sender: &'a str, id: &'a str) -> [&'a [u8]; 3] {
    [chat.as_bytes(), sender.as_bytes(), id.as_bytes()]
}

/// Seconds since 1970 by the library's clock, which also makes the cut-offs that these times are compared with.
fn now() -> i64 {
    wacore::time::now_secs()
}

#[async_trait]
impl ProtocolStore for DeviceStore {
    async fn get_sender_key_devices(&self, group_jid: &str) -> Answer<Vec<(String, bool)>> {
        let sql = "SELECT device_jid, has_key FROM wa_sender_key_devices WHERE session_id = $1 AND group_jid = $2";
        let rows = self.rows(sql, args![&self.session, group_jid]).await?;
        rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect::<Result<_>>().map_err(told)
    }

    async fn set_sender_key_status(&self, group_jid: &str, entries: &[(&str, bool)]) -> Answer<()> {
        let mut values: Vec<Arg<'_>> = Vec::with_capacity(entries.len() * 4);
        for (device, has_key) in latest(entries, |(device, _)| *device) {
            values.extend_from_slice(args![&self.session, group_jid, *device, *has_key]);
        }
        let head = "INSERT INTO wa_sender_key_devices (session_id, group_jid, device_jid, has_key) VALUES";
        let tail = "ON CONFLICT (session_id, group_jid, device_jid) DO UPDATE SET has_key = excluded.has_key";
        self.insert(head, 4, tail, &values).await
    }

    async fn clear_sender_key_devices(&self, group_jid: &str) -> Answer<()> {
        let sql = "DELETE FROM wa_sender_key_devices WHERE session_id = $1 AND group_jid = $2";
        self.execute(sql, args![&self.session, group_jid]).await.map(drop)
    }

    async fn delete_sender_key_device_rows(&self, device_jids: &[&str]) -> Answer<()> {
        // In every group. The session stands twice, for the list follows a second argument.
        let head = "DELETE FROM wa_sender_key_devices WHERE session_id = $1 AND session_id = $2 AND device_jid IN";
        let devices: Vec<Arg<'_>> = device_jids.iter().map(|device| Arg::from(*device)).collect();
        self.for_each_of(head, Arg::from(&self.session), &devices).await
    }

    async fn clear_all_sender_key_devices(&self) -> Answer<()> {
        let sql = "DELETE FROM wa_sender_key_devices WHERE session_id = $1";
        self.execute(sql, args![&self.session]).await.map(drop)
    }

    async fn get_lid_mapping(&self, lid: &str) -> Answer<Option<LidPnMappingEntry>> {
        let sql = concat!("SELECT ", mapping_columns!(), " FROM wa_lid_mappings WHERE session_id = $1 AND lid = $2");
        self.row(sql, args![&self.session, lid]).await?.as_ref().map(mapping).transpose().map_err(told)
    }

    async fn get_pn_mapping(&self, phone: &str) -> Answer<Option<LidPnMappingEntry>> {
        let sql = concat!(
            "SELECT ",
            mapping_columns!(),
            " FROM wa_lid_mappings WHERE session_id = $1 AND phone_number = $2 ORDER BY updated_at DESC, created_at DESC LIMIT 1"
        );
        self.row(sql, args![&self.session, phone]).await?.as_ref().map(mapping).transpose().map_err(told)
    }

    async fn put_lid_mapping(&self, entry: &LidPnMappingEntry) -> Answer<()> {
        self.put_lid_mappings(std::slice::from_ref(entry)).await
    }

    async fn put_lid_mappings(&self, entries: &[LidPnMappingEntry]) -> Answer<()> {
        let mut values: Vec<Arg<'_>> = Vec::with_capacity(entries.len() * 6);
        for one in latest(entries, |one| &one.lid) {
            let source = &one.learning_source;
            values.extend_from_slice(args![&self.session, &one.lid, &one.phone_number, one.created_at, one.updated_at, source]);
        }
        let head = concat!("INSERT INTO wa_lid_mappings (session_id, ", mapping_columns!(), ") VALUES");
        let tail = "ON CONFLICT (session_id, lid) DO UPDATE SET phone_number = excluded.phone_number,
                    created_at = excluded.created_at, updated_at = excluded.updated_at, learning_source = excluded.learning_source";
        self.insert(head, 6, tail, &values).await
    }

    async fn get_all_lid_mappings(&self) -> Answer<Vec<LidPnMappingEntry>> {
        let sql = concat!("SELECT ", mapping_columns!(), " FROM wa_lid_mappings WHERE session_id = $1");
        self.rows(sql, args![&self.session]).await?.iter().map(mapping).collect::<Result<_>>().map_err(told)
    }

    async fn save_base_key(&self, address: &str, message_id: &str, base_key: &[u8]) -> Answer<()> {
        let sql = "INSERT INTO wa_base_keys (session_id, address, message_id, base_key) VALUES ($1, $2, $3, $4)
                   ON CONFLICT (session_id, address, message_id) DO UPDATE SET base_key = excluded.base_key";
        self.execute(sql, args![&self.session, address, message_id, base_key]).await.map(drop)
    }

    async fn has_same_base_key(&self, address: &str, message_id: &str, current_base_key: &[u8]) -> Answer<bool> {
        let sql = "SELECT CAST(1 AS BIGINT) FROM wa_base_keys
                   WHERE session_id = $1 AND address = $2 AND message_id = $3 AND base_key = $4";
        Ok(self.row(sql, args![&self.session, address, message_id, current_base_key]).await?.is_some())
    }

    async fn delete_base_key(&self, address: &str, message_id: &str) -> Answer<()> {
        let sql = "DELETE FROM wa_base_keys WHERE session_id = $1 AND address = $2 AND message_id = $3";
        self.execute(sql, args![&self.session, address, message_id]).await.map(drop)
    }

    async fn update_device_list(&self, record: DeviceListRecord) -> Answer<()> {
        self.update_device_lists(vec![record]).await
    }

    async fn update_device_lists(&self, records: Vec<DeviceListRecord>) -> Answer<()> {
        let records = latest(&records, |record| &record.user);
        let mut texts = Vec::with_capacity(records.len());
        for record in &records {
            texts.push(serde_json::to_string(record).map_err(|error| StoreError::Serialization(Box::new(error)))?);
        }
        let mut values: Vec<Arg<'_>> = Vec::with_capacity(records.len() * 3);
        for (record, text) in records.iter().zip(&texts) {
            values.extend_from_slice(args![&self.session, &record.user, text]);
        }
        let head = "INSERT INTO wa_device_lists (session_id, user_part, record) VALUES";
        let tail = "ON CONFLICT (session_id, user_part) DO UPDATE SET record = excluded.record";
        self.insert(head, 3, tail, &values).await
    }

    async fn get_devices(&self, user: &str) -> Answer<Option<DeviceListRecord>> {
        let sql = "SELECT record FROM wa_device_lists WHERE session_id = $1 AND user_part = $2";
        let Some(row) = self.row(sql, args![&self.session, user]).await? else { return Ok(None) };
        let text: String = row.get(0).map_err(told)?;
        serde_json::from_str(&text).map(Some).map_err(|error| StoreError::Serialization(Box::new(error)))
    }

    async fn delete_devices(&self, user: &str) -> Answer<()> {
        let sql = "DELETE FROM wa_device_lists WHERE session_id = $1 AND user_part = $2";
        self.execute(sql, args![&self.session, user]).await.map(drop)
    }

    async fn get_group_metadata(&self, group_jid: &str) -> Answer<Option<Vec<u8>>> {
        let sql = "SELECT data FROM wa_group_metadata WHERE session_id = $1 AND group_jid = $2";
        let row = self.row(sql, args![&self.session, group_jid]).await?;
        row.map(|row| row.get(0).map_err(told)).transpose()
    }

    async fn put_group_metadata(&self, group_jid: &str, blob: &[u8]) -> Answer<()> {
        let sql = "INSERT INTO wa_group_metadata (session_id, group_jid, data) VALUES ($1, $2, $3)
                   ON CONFLICT (session_id, group_jid) DO UPDATE SET data = excluded.data";
        self.execute(sql, args![&self.session, group_jid, blob]).await.map(drop)
    }

    async fn delete_group_metadata(&self, group_jid: &str) -> Answer<()> {
        let sql = "DELETE FROM wa_group_metadata WHERE session_id = $1 AND group_jid = $2";
        self.execute(sql, args![&self.session, group_jid]).await.map(drop)
    }

    async fn get_tc_token(&self, jid: &str) -> Answer<Option<TcTokenEntry>> {
        let sql = "SELECT token, token_timestamp, sender_timestamp FROM wa_tc_tokens WHERE session_id = $1 AND jid = $2";
        self.row(sql, args![&self.session, jid]).await?.as_ref().map(token).transpose().map_err(told)
    }

    async fn put_tc_token(&self, jid: &str, entry: &TcTokenEntry) -> Answer<()> {
        let sql =
            "INSERT INTO wa_tc_tokens (session_id, jid, token, token_timestamp, sender_timestamp) VALUES ($1, $2, $3, $4, $5)
                   ON CONFLICT (session_id, jid) DO UPDATE SET token = excluded.token,
                   token_timestamp = excluded.token_timestamp, sender_timestamp = excluded.sender_timestamp";
        let args = args![&self.session, jid, &entry.token, entry.token_timestamp, entry.sender_timestamp];
        self.execute(sql, args).await.map(drop)
    }

    async fn delete_tc_token(&self, jid: &str) -> Answer<()> {
        self.execute("DELETE FROM wa_tc_tokens WHERE session_id = $1 AND jid = $2", args![&self.session, jid]).await.map(drop)
    }

    async fn get_all_tc_token_jids(&self) -> Answer<Vec<String>> {
        let rows = self.rows("SELECT jid FROM wa_tc_tokens WHERE session_id = $1", args![&self.session]).await?;
        rows.iter().map(|row| row.get(0)).collect::<Result<_>>().map_err(told)
    }

    async fn delete_expired_tc_tokens(&self, token_cutoff: i64, sender_cutoff: i64) -> Answer<u32> {
        let sql = "DELETE FROM wa_tc_tokens WHERE session_id = $1 AND (LENGTH(token) = 0 OR token_timestamp < $2)
                   AND (sender_timestamp IS NULL OR sender_timestamp < $3)";
        self.execute(sql, args![&self.session, token_cutoff, sender_cutoff]).await.map(count)
    }

    async fn touch_tc_token_sender_timestamp(&self, jid: &str, sender_timestamp: i64) -> Answer<()> {
        // One statement: the token that another writer stores meanwhile must not be lost. The time only moves forward.
        let sql =
            "INSERT INTO wa_tc_tokens (session_id, jid, token, token_timestamp, sender_timestamp) VALUES ($1, $2, $3, $4, $4)
                   ON CONFLICT (session_id, jid) DO UPDATE SET sender_timestamp = excluded.sender_timestamp
                   WHERE wa_tc_tokens.sender_timestamp IS NULL OR wa_tc_tokens.sender_timestamp < excluded.sender_timestamp";
        let empty: &[u8] = &[];
        self.execute(sql, args![&self.session, jid, empty, sender_timestamp]).await.map(drop)
    }

    async fn store_received_tc_token(&self, jid: &str, token: &[u8], token_timestamp: i64) -> Answer<()> {
        // One statement: the newer token wins, and the sender's time stays what another writer made it.
        let sql = "INSERT INTO wa_tc_tokens (session_id, jid, token, token_timestamp) VALUES ($1, $2, $3, $4)
                   ON CONFLICT (session_id, jid) DO UPDATE SET token = excluded.token, token_timestamp = excluded.token_timestamp
                   WHERE LENGTH(wa_tc_tokens.token) = 0 OR excluded.token_timestamp >= wa_tc_tokens.token_timestamp";
        self.execute(sql, args![&self.session, jid, token, token_timestamp]).await.map(drop)
    }

    async fn store_sent_message(&self, chat_jid: &str, message_id: &str, payload: &[u8]) -> Answer<()> {
        let sealed = self.seal(SENT, &[chat_jid.as_bytes(), message_id.as_bytes()], payload)?;
        let sql =
            "INSERT INTO wa_sent_messages (session_id, chat_jid, message_id, payload, stored_at) VALUES ($1, $2, $3, $4, $5)
                   ON CONFLICT (session_id, chat_jid, message_id) DO UPDATE SET payload = excluded.payload,
                   stored_at = excluded.stored_at";
        self.execute(sql, args![&self.session, chat_jid, message_id, &sealed, now()]).await.map(drop)
    }

    async fn take_sent_message(&self, chat_jid: &str, message_id: &str) -> Answer<Option<Vec<u8>>> {
        let sql = "DELETE FROM wa_sent_messages WHERE session_id = $1 AND chat_jid = $2 AND message_id = $3 RETURNING payload";
        let args = args![&self.session, chat_jid, message_id];
        let row = patiently(|| self.db.change(sql, args)).await.map_err(told)?;
        row.map(|row| self.open(SENT, &[chat_jid.as_bytes(), message_id.as_bytes()], &row, 0)).transpose()
    }

    async fn delete_expired_sent_messages(&self, cutoff_timestamp: i64) -> Answer<u32> {
        let sql = "DELETE FROM wa_sent_messages WHERE session_id = $1 AND stored_at < $2";
        self.execute(sql, args![&self.session, cutoff_timestamp]).await.map(count)
    }

    async fn store_pending_inbound(&self, chat: &str, sender: &str, id: &str, message: &[u8]) -> Answer<()> {
        self.store_pending_inbound_batch(&[PendingInboundRow { chat, sender, id, message }]).await
    }

    async fn store_pending_inbound_batch(&self, rows: &[PendingInboundRow<'_>]) -> Answer<()> {
        let rows = latest(rows, |row| (row.chat, row.sender, row.id));
        let mut sealed = Vec::with_capacity(rows.len());
        for row in &rows {
            sealed.push(self.seal(PENDING, &pending_key(row.chat, row.sender, row.id), row.message)?);
        }
        let mut values: Vec<Arg<'_>> = Vec::with_capacity(rows.len() * 6);
        for (row, message) in rows.iter().zip(&sealed) {
            values.extend_from_slice(args![&self.session, row.chat, row.sender, row.id, message, now()]);
        }
        let head = "INSERT INTO wa_pending_inbound (session_id, chat_jid, sender_jid, message_id, message, stored_at) VALUES";
        let tail = "ON CONFLICT (session_id, chat_jid, sender_jid, message_id) DO UPDATE SET message = excluded.message,
                    stored_at = excluded.stored_at";
        self.insert(head, 6, tail, &values).await
    }

    async fn get_pending_inbound(&self, chat: &str, sender: &str, id: &str) -> Answer<Option<Vec<u8>>> {
        let sql = "SELECT message FROM wa_pending_inbound
                   WHERE session_id = $1 AND chat_jid = $2 AND sender_jid = $3 AND message_id = $4";
        let row = self.row(sql, args![&self.session, chat, sender, id]).await?;
        row.map(|row| self.open(PENDING, &pending_key(chat, sender, id), &row, 0)).transpose()
    }

    async fn delete_pending_inbound(&self, chat: &str, sender: &str, id: &str) -> Answer<()> {
        self.execute(DELETE_PENDING, args![&self.session, chat, sender, id]).await.map(drop)
    }

    async fn delete_pending_inbound_batch(&self, keys: &[PendingInboundKey<'_>]) -> Answer<()> {
        if keys.is_empty() {
            return Ok(());
        }
        let work = async || {
            let mut tx = self.db.begin().await?;
            for key in keys {
                tx.execute(DELETE_PENDING, args![&self.session, key.chat, key.sender, key.id]).await?;
            }
            tx.commit().await
        };
        patiently(work).await.map_err(told)
    }

    async fn delete_expired_pending_inbound(&self, cutoff_timestamp: i64) -> Answer<u32> {
        let sql = "DELETE FROM wa_pending_inbound WHERE session_id = $1 AND stored_at < $2";
        self.execute(sql, args![&self.session, cutoff_timestamp]).await.map(count)
    }
}

const DELETE_PENDING: &str =
    "DELETE FROM wa_pending_inbound WHERE session_id = $1 AND chat_jid = $2 AND sender_jid = $3 AND message_id = $4";

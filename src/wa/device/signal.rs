//! Signal's keys and ratchets.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use wacore::store::traits::SignalStore;

use super::{Answer, DeviceStore, LIST, broken, latest, told};
use crate::store::{Arg, Row, args, one_of, patiently};

/// A table of sealed records by address: sessions and sender keys.
struct ByAddress {
    table: &'static str,
    get: &'static str,
    insert: &'static str,
    delete: &'static str,
}

macro_rules! by_address {
    ($table:literal) => {
        ByAddress {
            table: $table,
            get: concat!("SELECT record FROM ", $table, " WHERE session_id = $1 AND address = $2"),
            insert: concat!("INSERT INTO ", $table, " (session_id, address, record) VALUES"),
            delete: concat!("DELETE FROM ", $table, " WHERE session_id = $1 AND address = $2"),
        }
    };
}

const SESSIONS: ByAddress = by_address!("wa_sessions");
const SENDER_KEYS: ByAddress = by_address!("wa_sender_keys");
const BY_ADDRESS_TAIL: &str = "ON CONFLICT (session_id, address) DO UPDATE SET record = excluded.record";
const PREKEYS: &str = "wa_prekeys";
const SIGNED_PREKEYS: &str = "wa_signed_prekeys";

fn prekey_id(row: &Row) -> Answer<u32> {
    let id: i64 = row.get(0).map_err(told)?;
    u32::try_from(id).map_err(|_| broken("a prekey's id"))
}

impl DeviceStore {
    async fn get_record(&self, of: &ByAddress, address: &str) -> Answer<Option<Vec<u8>>> {
        let row = self.row(of.get, args![&self.session, address]).await?;
        row.map(|row| self.open(of.table, &[address.as_bytes()], &row, 0)).transpose()
    }

    async fn put_records(&self, of: &ByAddress, records: &[(&str, &[u8])]) -> Answer<()> {
        let records = latest(records, |(address, _)| *address);
        let mut sealed = Vec::with_capacity(records.len());
        for (address, record) in &records {
            sealed.push(self.seal(of.table, &[address.as_bytes()], record)?);
        }
        let mut values: Vec<Arg<'_>> = Vec::with_capacity(records.len() * 3);
        for ((address, _), record) in records.iter().zip(&sealed) {
            values.extend_from_slice(args![&self.session, *address, record]);
        }
        self.insert_last(of.insert, 3, BY_ADDRESS_TAIL, &values).await
    }

    async fn put_prekeys(&self, keys: &[(u32, &[u8])], uploaded: bool) -> Answer<()> {
        let keys = latest(keys, |(id, _)| *id);
        let mut sealed = Vec::with_capacity(keys.len());
        for (id, record) in &keys {
            sealed.push(self.seal(PREKEYS, &[&id.to_be_bytes()], record)?);
        }
        let mut values: Vec<Arg<'_>> = Vec::with_capacity(keys.len() * 4);
        for ((id, _), record) in keys.iter().zip(&sealed) {
            values.extend_from_slice(args![&self.session, *id, record, uploaded]);
        }
        let head = "INSERT INTO wa_prekeys (session_id, prekey_id, record, uploaded) VALUES";
        let tail = "ON CONFLICT (session_id, prekey_id) DO UPDATE SET record = excluded.record, uploaded = excluded.uploaded";
        self.insert(head, 4, tail, &values).await
    }
}

#[async_trait]
impl SignalStore for DeviceStore {
    async fn put_identity(&self, address: &str, key: [u8; 32]) -> Answer<()> {
        self.put_identities_batch(&[(Arc::from(address), key)]).await
    }

    async fn put_identities_batch(&self, identities: &[(Arc<str>, [u8; 32])]) -> Answer<()> {
        let mut values: Vec<Arg<'_>> = Vec::with_capacity(identities.len() * 3);
        for (address, key) in latest(identities, |(address, _)| address) {
            values.extend_from_slice(args![&self.session, &**address, key]);
        }
        let head = "INSERT INTO wa_identities (session_id, address, identity) VALUES";
        let tail = "ON CONFLICT (session_id, address) DO UPDATE SET identity = excluded.identity";
        self.insert(head, 3, tail, &values).await
    }

    async fn load_identity(&self, address: &str) -> Answer<Option<[u8; 32]>> {
        let sql = "SELECT identity FROM wa_identities WHERE session_id = $1 AND address = $2";
        let Some(row) = self.row(sql, args![&self.session, address]).await? else { return Ok(None) };
        let key: Vec<u8> = row.get(0).map_err(told)?;
        key.try_into().map(Some).map_err(|_| broken("an identity key"))
    }

    async fn delete_identity(&self, address: &str) -> Answer<()> {
        let sql = "DELETE FROM wa_identities WHERE session_id = $1 AND address = $2";
        self.execute(sql, args![&self.session, address]).await.map(drop)
    }

    async fn get_session(&self, address: &str) -> Answer<Option<Bytes>> {
        Ok(self.get_record(&SESSIONS, address).await?.map(Bytes::from))
    }

    async fn put_session(&self, address: &str, session: &[u8]) -> Answer<()> {
        self.put_records(&SESSIONS, &[(address, session)]).await
    }

    async fn put_sessions_batch(&self, sessions: &[(Arc<str>, Bytes)]) -> Answer<()> {
        let records: Vec<(&str, &[u8])> = sessions.iter().map(|(address, record)| (&**address, &**record)).collect();
        self.put_records(&SESSIONS, &records).await
    }

    async fn delete_session(&self, address: &str) -> Answer<()> {
        self.execute(SESSIONS.delete, args![&self.session, address]).await.map(drop)
    }

    async fn has_session(&self, address: &str) -> Answer<bool> {
        let sql = "SELECT CAST(1 AS BIGINT) FROM wa_sessions WHERE session_id = $1 AND address = $2";
        Ok(self.row(sql, args![&self.session, address]).await?.is_some())
    }

    async fn has_signal_state_for_user(&self, user: &str) -> Answer<bool> {
        // Addresses that begin with `user@` or `user:`, as ranges, so that the primary keys find them.
        let sql = "SELECT CAST(1 AS BIGINT) WHERE EXISTS (SELECT 1 FROM wa_sessions WHERE session_id = $1
                       AND ((address >= $2 AND address < $3) OR (address >= $4 AND address < $5)))
                   OR EXISTS (SELECT 1 FROM wa_identities WHERE session_id = $1
                       AND ((address >= $2 AND address < $3) OR (address >= $4 AND address < $5)))";
        let [at, after_at, colon, after_colon] = ['@', 'A', ':', ';'].map(|end| format!("{user}{end}"));
        Ok(self.row(sql, args![&self.session, &at, &after_at, &colon, &after_colon]).await?.is_some())
    }

    async fn store_prekey(&self, id: u32, record: &[u8], uploaded: bool) -> Answer<()> {
        self.put_prekeys(&[(id, record)], uploaded).await
    }

    async fn store_prekeys_batch(&self, keys: &[(u32, Bytes)], uploaded: bool) -> Answer<()> {
        let keys: Vec<(u32, &[u8])> = keys.iter().map(|(id, record)| (*id, &**record)).collect();
        self.put_prekeys(&keys, uploaded).await
    }

    async fn load_prekey(&self, id: u32) -> Answer<Option<Bytes>> {
        let sql = "SELECT prekey_id, record FROM wa_prekeys WHERE session_id = $1 AND prekey_id = $2";
        let row = self.row(sql, args![&self.session, id]).await?;
        row.map(|row| self.open(PREKEYS, &[&id.to_be_bytes()], &row, 1).map(Bytes::from)).transpose()
    }

    async fn load_prekeys_batch(&self, ids: &[u32]) -> Answer<Vec<(u32, Bytes)>> {
        let mut found = Vec::with_capacity(ids.len());
        for ids in ids.chunks(LIST) {
            let mut args = args![&self.session].to_vec();
            let list = one_of(&mut args, ids.iter().map(|id| Arg::from(*id)));
            let sql = format!("SELECT prekey_id, record FROM wa_prekeys WHERE session_id = $1 AND prekey_id IN ({list})");
            for row in patiently(|| self.db.rows_built(sql.clone(), &args)).await.map_err(told)? {
                let id = prekey_id(&row)?;
                found.push((id, Bytes::from(self.open(PREKEYS, &[&id.to_be_bytes()], &row, 1)?)));
            }
        }
        Ok(found)
    }

    async fn mark_prekeys_uploaded(&self, ids: &[u32]) -> Answer<()> {
        // An update and never an insert: a key that was used up meanwhile stays gone.
        let head = "UPDATE wa_prekeys SET uploaded = $2 WHERE session_id = $1 AND prekey_id IN";
        let ids: Vec<Arg<'_>> = ids.iter().map(|id| Arg::from(*id)).collect();
        self.for_each_of(head, Arg::from(true), &ids).await
    }

    async fn remove_prekey(&self, id: u32) -> Answer<()> {
        let sql = "DELETE FROM wa_prekeys WHERE session_id = $1 AND prekey_id = $2";
        self.execute(sql, args![&self.session, id]).await.map(drop)
    }

    async fn get_max_prekey_id(&self) -> Answer<u32> {
        let sql = "SELECT COALESCE(MAX(prekey_id), 0) FROM wa_prekeys WHERE session_id = $1";
        self.row(sql, args![&self.session]).await?.as_ref().map_or(Ok(0), prekey_id)
    }

    async fn store_signed_prekey(&self, id: u32, record: &[u8]) -> Answer<()> {
        let sealed = self.seal(SIGNED_PREKEYS, &[&id.to_be_bytes()], record)?;
        let sql = "INSERT INTO wa_signed_prekeys (session_id, prekey_id, record) VALUES ($1, $2, $3)
                   ON CONFLICT (session_id, prekey_id) DO UPDATE SET record = excluded.record";
        self.execute(sql, args![&self.session, id, &sealed]).await.map(drop)
    }

    async fn load_signed_prekey(&self, id: u32) -> Answer<Option<Vec<u8>>> {
        let sql = "SELECT prekey_id, record FROM wa_signed_prekeys WHERE session_id = $1 AND prekey_id = $2";
        let row = self.row(sql, args![&self.session, id]).await?;
        row.map(|row| self.open(SIGNED_PREKEYS, &[&id.to_be_bytes()], &row, 1)).transpose()
    }

    async fn load_all_signed_prekeys(&self) -> Answer<Vec<(u32, Vec<u8>)>> {
        let sql = "SELECT prekey_id, record FROM wa_signed_prekeys WHERE session_id = $1 ORDER BY prekey_id";
        let mut all = Vec::new();
        for row in self.rows(sql, args![&self.session]).await? {
            let id = prekey_id(&row)?;
            all.push((id, self.open(SIGNED_PREKEYS, &[&id.to_be_bytes()], &row, 1)?));
        }
        Ok(all)
    }

    async fn remove_signed_prekey(&self, id: u32) -> Answer<()> {
        let sql = "DELETE FROM wa_signed_prekeys WHERE session_id = $1 AND prekey_id = $2";
        self.execute(sql, args![&self.session, id]).await.map(drop)
    }

    async fn put_sender_key(&self, address: &str, record: &[u8]) -> Answer<()> {
        self.put_records(&SENDER_KEYS, &[(address, record)]).await
    }

    async fn put_sender_keys_batch(&self, sender_keys: &[(Arc<str>, Bytes)]) -> Answer<()> {
        let records: Vec<(&str, &[u8])> = sender_keys.iter().map(|(address, record)| (&**address, &**record)).collect();
        self.put_records(&SENDER_KEYS, &records).await
    }

    async fn get_sender_key(&self, address: &str) -> Answer<Option<Vec<u8>>> {
        self.get_record(&SENDER_KEYS, address).await
    }

    async fn delete_sender_key(&self, address: &str) -> Answer<()> {
        self.execute(SENDER_KEYS.delete, args![&self.session, address]).await.map(drop)
    }
}

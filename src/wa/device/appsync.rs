//! App state: its keys, the versions of its collections, and the MACs of their entries.

use std::collections::HashMap;

use async_trait::async_trait;
use wacore::appstate::hash::HashState;
use wacore::appstate::processor::AppStateMutationMAC;
use wacore::store::traits::{AppStateSyncKey, AppSyncStore};

use super::{Answer, DeviceStore, LIST, broken, decode, encode, latest, told};
use crate::store::{Arg, args, one_of, patiently};

const SYNC_KEYS: &str = "wa_sync_keys";

#[async_trait]
impl AppSyncStore for DeviceStore {
    async fn get_sync_key(&self, key_id: &[u8]) -> Answer<Option<AppStateSyncKey>> {
        let sql = "SELECT data FROM wa_sync_keys WHERE session_id = $1 AND key_id = $2";
        let Some(row) = self.row(sql, args![&self.session, key_id]).await? else { return Ok(None) };
        decode(&self.open(SYNC_KEYS, &[key_id], &row, 0)?).map(Some)
    }

    async fn set_sync_key(&self, key_id: &[u8], key: AppStateSyncKey) -> Answer<()> {
        let sealed = self.seal(SYNC_KEYS, &[key_id], &encode(&key)?)?;
        let sql = "INSERT INTO wa_sync_keys (session_id, key_id, data, stored)
                   VALUES ($1, $2, $3, (SELECT COALESCE(MAX(stored), 0) + 1 FROM wa_sync_keys WHERE session_id = $1))
                   ON CONFLICT (session_id, key_id) DO UPDATE SET data = excluded.data, stored = excluded.stored";
        self.execute(sql, args![&self.session, key_id, &sealed]).await.map(drop)
    }

    async fn get_version(&self, name: &str) -> Answer<HashState> {
        let sql = "SELECT state FROM wa_sync_versions WHERE session_id = $1 AND name = $2";
        let Some(row) = self.row(sql, args![&self.session, name]).await? else { return Ok(HashState::default()) };
        let state: Vec<u8> = row.get(0).map_err(told)?;
        decode(&state)
    }

    async fn set_version(&self, name: &str, state: HashState) -> Answer<()> {
        let sql = "INSERT INTO wa_sync_versions (session_id, name, state) VALUES ($1, $2, $3)
                   ON CONFLICT (session_id, name) DO UPDATE SET state = excluded.state";
        self.execute(sql, args![&self.session, name, &encode(&state)?]).await.map(drop)
    }

    async fn put_mutation_macs(&self, name: &str, _version: u64, mutations: &[AppStateMutationMAC]) -> Answer<()> {
        // The version is known from `set_version`; nothing asks for it per entry.
        let mut values: Vec<Arg<'_>> = Vec::with_capacity(mutations.len() * 4);
        for one in latest(mutations, |one| &one.index_mac) {
            values.extend_from_slice(args![&self.session, name, &one.index_mac, &one.value_mac]);
        }
        let head = "INSERT INTO wa_mutation_macs (session_id, name, index_mac, value_mac) VALUES";
        let tail = "ON CONFLICT (session_id, name, index_mac) DO UPDATE SET value_mac = excluded.value_mac";
        self.insert(head, 4, tail, &values).await
    }

    async fn get_mutation_mac(&self, name: &str, index_mac: &[u8]) -> Answer<Option<Vec<u8>>> {
        let sql = "SELECT value_mac FROM wa_mutation_macs WHERE session_id = $1 AND name = $2 AND index_mac = $3";
        let row = self.row(sql, args![&self.session, name, index_mac]).await?;
        row.map(|row| row.get(0).map_err(told)).transpose()
    }

    async fn get_mutation_macs(&self, name: &str, index_macs: &[[u8; 32]]) -> Answer<HashMap<[u8; 32], Vec<u8>>> {
        let mut found = HashMap::with_capacity(index_macs.len());
        for index_macs in index_macs.chunks(LIST) {
            let mut args = args![&self.session, name].to_vec();
            let list = one_of(&mut args, index_macs.iter().map(Arg::from));
            let sql = format!(
                "SELECT index_mac, value_mac FROM wa_mutation_macs WHERE session_id = $1 AND name = $2 AND index_mac IN ({list})"
            );
            for row in patiently(|| self.db.rows_built(sql.clone(), &args)).await.map_err(told)? {
                let index: Vec<u8> = row.get(0).map_err(told)?;
                let index = <[u8; 32]>::try_from(index).map_err(|_| broken("an index MAC"))?;
                found.insert(index, row.get(1).map_err(told)?);
            }
        }
        Ok(found)
    }

    async fn delete_mutation_macs(&self, name: &str, index_macs: &[Vec<u8>]) -> Answer<()> {
        let head = "DELETE FROM wa_mutation_macs WHERE session_id = $1 AND name = $2 AND index_mac IN";
        let index_macs: Vec<Arg<'_>> = index_macs.iter().map(Arg::from).collect();
        self.for_each_of(head, Arg::from(name), &index_macs).await
    }

    async fn clear_mutation_macs(&self, name: &str) -> Answer<()> {
        let sql = "DELETE FROM wa_mutation_macs WHERE session_id = $1 AND name = $2";
        self.execute(sql, args![&self.session, name]).await.map(drop)
    }

    async fn get_latest_sync_key_id(&self) -> Answer<Option<Vec<u8>>> {
        let sql = "SELECT key_id FROM wa_sync_keys WHERE session_id = $1 ORDER BY stored DESC LIMIT 1";
        let row = self.row(sql, args![&self.session]).await?;
        row.map(|row| row.get(0).map_err(told)).transpose()
    }
}

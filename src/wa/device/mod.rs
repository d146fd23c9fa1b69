//! The WhatsApp library's `Backend` over our database: one value per session, one file per trait.
//!
//! What holds of every function here: the change is durable when the future resolves (Signal's counters must never be used twice); while the
//! database does not answer it is asked again, for the library does not do so and loses messages of which it has used the keys; a
//! batch is one transaction; every row belongs to the session and goes with it; secrets are sealed by [`Cipher`]; an error is returned,
//! never swallowed.

mod appsync;
mod device_row;
mod protocol;
mod secrets;
mod signal;
mod underway;

use std::collections::HashMap;
use std::hash::Hash;

use serde::Serialize;
use serde::de::DeserializeOwned;
use wacore::store::error::StoreError;

use self::underway::Underway;
use crate::domain::ids::SessionId;
use crate::error::{Code, Error, Result};
use crate::store::cipher::{Cipher, Sealer};
use crate::store::{Arg, Db, Row, Tx, args, patiently};

/// The library's answer type.
pub(crate) type Answer<T> = wacore::store::error::Result<T>;

/// What the library keeps for one session.
#[derive(Debug)]
pub struct DeviceStore {
    db: Db,
    session: SessionId,
    sealer: Sealer,
    underway: Underway,
}

impl DeviceStore {
    /// The device state of `session`, whose row must be there before anything is stored.
    pub fn new(db: Db, session: SessionId, cipher: &Cipher) -> Self {
        let sealer = cipher.for_session(&session);
        Self { db, session, sealer, underway: Underway::default() }
    }

    /// Deletes everything that the library keeps for the session, in one transaction: after a logout it is of no use to anybody.
    pub async fn wipe(&self) -> Result<()> {
        let mut tx = self.db.begin().await?;
        wipe(&mut tx, &self.session).await?;
        tx.commit().await
    }

    /// Seals `content` for a row of `table`.
    fn seal(&self, table: &str, row: &[&[u8]], content: &[u8]) -> Answer<Vec<u8>> {
        self.sealer.seal(table, row, content).map_err(told)
    }

    /// Opens column `index` of a row of `table`.
    fn open(&self, table: &str, key: &[&[u8]], row: &Row, index: usize) -> Answer<Vec<u8>> {
        let blob: Vec<u8> = row.get(index).map_err(told)?;
        self.sealer.open(table, key, &blob).map_err(told)
    }

    async fn execute(&self, sql: &'static str, args: &[Arg<'_>]) -> Answer<u64> {
        let _first = self.underway.enter();
        patiently(|| self.db.execute(sql, args)).await.map_err(told)
    }

    async fn row(&self, sql: &'static str, args: &[Arg<'_>]) -> Answer<Option<Row>> {
        let _first = self.underway.enter();
        patiently(|| self.db.row(sql, args)).await.map_err(told)
    }

    async fn rows(&self, sql: &'static str, args: &[Arg<'_>]) -> Answer<Vec<Row>> {
        let _first = self.underway.enter();
        patiently(|| self.db.rows(sql, args)).await.map_err(told)
    }

    /// Inserts rows, all or none. No key may occur twice among them.
    async fn insert(&self, head: &str, width: usize, tail: &str, values: &[Arg<'_>]) -> Answer<()> {
        let _first = self.underway.enter();
        patiently(|| self.db.insert(head, width, tail, values)).await.map_err(told)
    }

    /// The same for ratchets, behind everything else; see [`underway`].
    async fn insert_last(&self, head: &str, width: usize, tail: &str, values: &[Arg<'_>]) -> Answer<()> {
        let work = async || {
            self.underway.quiet().await;
            self.db.insert(head, width, tail, values).await
        };
        patiently(work).await.map_err(told)
    }

    /// Runs `HEAD ($3, $4, …)` with the session as `$1`, `first` as `$2` and each of `values` once, all or none.
    async fn for_each_of(&self, head: &str, first: Arg<'_>, values: &[Arg<'_>]) -> Answer<()> {
        if values.is_empty() {
            return Ok(());
        }
        let work = async || {
            let mut tx = self.db.begin().await?;
            for values in values.chunks(LIST) {
                let mut args = args![&self.session].to_vec();
                args.push(first);
                let list = crate::store::one_of(&mut args, values.iter().copied());
                tx.execute_built(format!("{head} ({list})"), &args).await?;
            }
            tx.commit().await
        };
        patiently(work).await.map_err(told)
    }
}

/// How many values one `IN (…)` names at most.
const LIST: usize = 256;

macro_rules! tables {
    ($($table:literal),+ $(,)?) => {
        /// Deletes everything that the library keeps for `session`, as part of the caller's transaction.
        pub async fn wipe(tx: &mut Tx, session: &SessionId) -> Result<()> {
            $(tx.execute(concat!("DELETE FROM ", $table, " WHERE session_id = $1"), args![session]).await?;)+
            Ok(())
        }
    };
}
tables!(
    "wa_devices",
    "wa_identities",
    "wa_sessions",
    "wa_prekeys",
    "wa_signed_prekeys",
    "wa_sender_keys",
    "wa_sender_key_devices",
    "wa_sync_keys",
    "wa_sync_versions",
    "wa_mutation_macs",
    "wa_lid_mappings",
    "wa_base_keys",
    "wa_device_lists",
    "wa_group_metadata",
    "wa_tc_tokens",
    "wa_sent_messages",
    "wa_pending_inbound",
    "wa_msg_secrets",
);

/// Our error as the library's. What happened stays in the chain of sources.
fn told(error: Error) -> StoreError {
    match error.code {
        Code::Unavailable => StoreError::Connection(Box::new(error)),
        _ => StoreError::Database(Box::new(error)),
    }
}

/// A stored value that cannot be what it should be.
fn broken(what: &str) -> StoreError {
    StoreError::Validation(format!("{what} in the database is damaged"))
}

/// The version of what [`encode`] writes.
const VERSION: u8 = 1;

/// A value of the library as bytes: a version and JSON, which stays readable when the library adds fields.
fn encode<T: Serialize>(value: &T) -> Answer<Vec<u8>> {
    let mut bytes = vec![VERSION];
    serde_json::to_writer(&mut bytes, value).map_err(|error| StoreError::Serialization(Box::new(error)))?;
    Ok(bytes)
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Answer<T> {
    match bytes.split_first() {
        Some((&VERSION, json)) => serde_json::from_slice(json).map_err(|error| StoreError::Serialization(Box::new(error))),
        _ => Err(broken("a value")),
    }
}

/// The last of those with equal keys: one statement may not write a row twice.
fn latest<'a, T, K: Eq + Hash>(all: &'a [T], key: impl Fn(&'a T) -> K) -> Vec<&'a T> {
    let mut last: HashMap<K, usize> = HashMap::with_capacity(all.len());
    for (at, one) in all.iter().enumerate() {
        last.insert(key(one), at);
    }
    all.iter().enumerate().filter(|(at, one)| last.get(&key(one)) == Some(at)).map(|(_, one)| one).collect()
}

/// How many rows were deleted, as the library counts.
fn count(rows: u64) -> u32 {
    u32::try_from(rows).unwrap_or(u32::MAX)
}

//! What only ours must do: keep sessions apart, go with their session, and seal.

use bytes::Bytes;
use sqlx::Row as _;
use wacore::appstate::hash::HashState;
use wacore::appstate::processor::AppStateMutationMAC;
use wacore::store::Device;
use wacore::store::traits::{
    AppStateSyncKey, AppSyncStore as _, DeviceInfo, DeviceListRecord, DeviceStore as _, LidPnMappingEntry, MsgSecretStore as _,
    ProtocolStore as _, SignalStore as _, TcTokenEntry,
};
use whatsapp_gateway::domain::clock::Ambient;
use whatsapp_gateway::domain::ids::SessionId;
use whatsapp_gateway::store::Db;
use whatsapp_gateway::store::cipher::{Cipher, Key};
use whatsapp_gateway::wa::device::DeviceStore;

use super::cipher;
use crate::store::{on_both_engines, stored_session};

on_both_engines!(
    rows_go_with_their_session,
    wiping_takes_one_session_only,
    nothing_secret_lies_in_the_clear,
    keys_rotate,
    without_its_session_nothing_is_stored,
);

const SECRET: &[u8] = b"very-secret-contents-of-a-row";

/// Puts at least one row into every table.
pub(super) async fn fill(backend: &DeviceStore) {
    let mut device = Device::new();
    device.push_name = String::from_utf8(SECRET.to_vec()).unwrap();
    backend.save(&device).await.unwrap();
    backend.put_identity("4917@lid.0", [1; 32]).await.unwrap();
    backend.put_session("4917@lid.0", SECRET).await.unwrap();
    backend.store_prekeys_batch(&[(1, Bytes::from_static(SECRET)), (77, Bytes::from_static(SECRET))], true).await.unwrap();
    backend.store_signed_prekey(1, SECRET).await.unwrap();
    backend.put_sender_key("g:4917", SECRET).await.unwrap();
    backend.set_sender_key_status("g1", &[("a", true)]).await.unwrap();
    let key = AppStateSyncKey { key_data: SECRET.to_vec(), fingerprint: vec![1], timestamp: 1 };
    backend.set_sync_key(&[9], key).await.unwrap();
    backend.set_version("regular", HashState { version: 9, ..HashState::default() }).await.unwrap();
    let mac = AppStateMutationMAC { index_mac: vec![3; 32], value_mac: vec![1; 32] };
    backend.put_mutation_macs("regular", 9, &[mac]).await.unwrap();
    let mapping = LidPnMappingEntry {
        lid: "L1".into(),
        phone_number: "491".into(),
        created_at: 9,
        updated_at: 9,
        learning_source: "usync".into(),
    };
    backend.put_lid_mapping(&mapping).await.unwrap();
    backend.save_base_key("a", "m", b"one").await.unwrap();
    let list =
        DeviceListRecord { user: "1".into(), devices: vec![DeviceInfo::new(0, None)], timestamp: 1, phash: None, raw_id: None };
    backend.update_device_list(list).await.unwrap();
    backend.put_group_metadata("g", b"data").await.unwrap();
    backend.put_tc_token("a", &TcTokenEntry { token: vec![1], token_timestamp: 1, sender_timestamp: None }).await.unwrap();
    backend.store_sent_message("c", "m", SECRET).await.unwrap();
    backend.store_pending_inbound("c", "s", "1", SECRET).await.unwrap();
    backend.put_msg_secret("c", "s", "m", b"very-secret-contents-of-a-row-32").await.unwrap();
}

/// Every value of every row of a session in every `wa_` table, by table.
async fn rows(db: &Db, session: &SessionId) -> Vec<(String, Vec<Vec<u8>>)> {
    let names = match db {
        Db::Sqlite { read, .. } => {
            sqlx::query_scalar("SELECT name FROM sqlite_schema WHERE type = 'table' AND substr(name, 1, 3) = 'wa_' ORDER BY name")
                .fetch_all(read)
                .await
        }
        Db::Postgres(pool) => {
            sqlx::query_scalar("SELECT tablename::text FROM pg_tables WHERE substr(tablename, 1, 3) = 'wa_' ORDER BY 1")
                .fetch_all(pool)
                .await
        }
    };
    let names: Vec<String> = names.unwrap();
    let mut all = Vec::new();
    for name in names {
        let sql = sqlx::AssertSqlSafe(format!("SELECT * FROM {name} WHERE session_id = $1"));
        let values = match db {
            Db::Sqlite { read, .. } => {
                let rows = sqlx::query(sql).bind(session.as_str()).fetch_all(read).await.unwrap();
                rows.iter().flat_map(|row| (0..row.len()).filter_map(|at| row.try_get_unchecked(at).ok())).collect()
            }
            Db::Postgres(pool) => {
                let rows = sqlx::query(sql).bind(session.as_str()).fetch_all(pool).await.unwrap();
                rows.iter().flat_map(|row| (0..row.len()).filter_map(|at| row.try_get_unchecked(at).ok())).collect()
            }
        };
        all.push((name, values));
    }
    all
}

async fn two(db: &Db) -> (DeviceStore, SessionId, DeviceStore, SessionId) {
    let one = stored_session(db, "S1", "a").await.id;
    let two = stored_session(db, "S2", "a").await.id;
    let (first, second) =
        (DeviceStore::new(db.clone(), one.clone(), &cipher()), DeviceStore::new(db.clone(), two.clone(), &cipher()));
    fill(&first).await;
    fill(&second).await;
    for (table, values) in rows(db, &one).await {
        assert!(!values.is_empty(), "`fill` leaves {table} empty");
    }
    (first, one, second, two)
}

async fn rows_go_with_their_session(db: Db) {
    let (_, one, _, two) = two(&db).await;
    let kept = rows(&db, &two).await;
    let mut tx = db.begin().await.unwrap();
    assert!(tx.delete_session(&crate::store::organization("a"), &one).await.unwrap());
    tx.commit().await.unwrap();
    assert!(rows(&db, &one).await.iter().all(|(_, values)| values.is_empty()));
    assert_eq!(rows(&db, &two).await, kept);
}

async fn wiping_takes_one_session_only(db: Db) {
    let (first, one, second, two) = two(&db).await;
    let kept = rows(&db, &two).await;
    first.wipe().await.unwrap();
    assert!(rows(&db, &one).await.iter().all(|(_, values)| values.is_empty()));
    assert_eq!(rows(&db, &two).await, kept);
    assert!(!first.exists().await.unwrap() && second.exists().await.unwrap());
    fill(&first).await;
}

async fn nothing_secret_lies_in_the_clear(db: Db) {
    let (backend, one, _, _) = two(&db).await;
    let clear = |all: &[(String, Vec<Vec<u8>>)]| -> Vec<String> {
        let has = |value: &Vec<u8>| value.windows(8).any(|part| part == &SECRET[..8]);
        all.iter().filter(|(_, values)| values.iter().any(has)).map(|(name, _)| name.clone()).collect()
    };
    assert_eq!(clear(&rows(&db, &one).await), Vec::<String>::new());
    // The search itself finds secrets where there are any: without a key they are there.
    let plain = DeviceStore::new(db.clone(), one.clone(), &Cipher::plain(Ambient::system()));
    plain.put_session("4917@lid.0", SECRET).await.unwrap();
    assert_eq!(clear(&rows(&db, &one).await), ["wa_sessions"]);
    assert_eq!(backend.get_session("4917@lid.0").await.unwrap().as_deref(), Some(SECRET));
}

async fn keys_rotate(db: Db) {
    let (_, one, _, _) = two(&db).await;
    let with = |current: u8, old: &[u8]| {
        let key = |byte: &u8| Key::new([*byte; 32]);
        let cipher = Cipher::new(Ambient::system(), Some(key(&current)), old.iter().map(key).collect());
        DeviceStore::new(db.clone(), one.clone(), &cipher)
    };
    let rotated = with(8, &[7]);
    assert!(rotated.load().await.unwrap().is_some());
    rotated.put_session("4917@lid.0", b"new").await.unwrap();
    let error = with(7, &[]).get_session("4917@lid.0").await.unwrap_err();
    let mut chain = vec![error.to_string()];
    let mut next = std::error::Error::source(&error);
    while let Some(cause) = next {
        chain.push(cause.to_string());
        next = cause.source();
    }
    assert!(chain.iter().any(|text| text.contains("which is not given")), "{chain:?}");
    assert_eq!(with(9, &[7, 8]).get_session("4917@lid.0").await.unwrap(), Some(Bytes::from_static(b"new")));
}

async fn without_its_session_nothing_is_stored(db: Db) {
    let backend = DeviceStore::new(db, SessionId::new("gone"), &cipher());
    assert!(backend.put_session("a", b"s").await.is_err());
    assert!(backend.store_prekeys_batch(&[(1, Bytes::new()), (2, Bytes::new())], false).await.is_err());
    assert!(backend.create().await.is_err());
    assert_eq!(backend.get_session("a").await.unwrap(), None);
}

//! What the protocol remembers, and message secrets.

use wacore::store::traits::{
    Backend, DeviceInfo, DeviceListRecord, LidPnMappingEntry, MsgSecretEntry, PendingInboundKey, PendingInboundRow, TcTokenEntry,
};

use super::on_every_backend;

on_every_backend!(
    sender_key_devices,
    lid_mappings,
    base_keys,
    device_lists,
    group_metadata,
    tc_tokens_are_stored_and_deleted,
    tc_tokens_of_two_writers_converge,
    tc_tokens_expire_when_both_ends_are_old,
    sent_messages_are_taken_once,
    pending_inbound_survives_until_deleted,
    message_secrets_merge,
    message_secrets_expire,
);

async fn devices_of(backend: &dyn Backend, group: &str) -> Vec<(String, bool)> {
    let mut devices = backend.get_sender_key_devices(group).await.unwrap();
    devices.sort();
    devices
}

async fn sender_key_devices(backend: &dyn Backend) {
    let owned = |all: &[(&str, bool)]| all.iter().map(|(jid, has)| ((*jid).to_owned(), *has)).collect::<Vec<_>>();
    backend.set_sender_key_status("g1", &[("a", true), ("b", true), ("a", false)]).await.unwrap();
    backend.set_sender_key_status("g2", &[("a", true), ("c", true)]).await.unwrap();
    backend.set_sender_key_status("g1", &[("b", false), ("c", true)]).await.unwrap();
    backend.set_sender_key_status("g1", &[]).await.unwrap();
    assert_eq!(devices_of(backend, "g1").await, owned(&[("a", false), ("b", false), ("c", true)]));
    backend.delete_sender_key_device_rows(&["a", "x"]).await.unwrap();
    backend.delete_sender_key_device_rows(&[]).await.unwrap();
    assert_eq!(devices_of(backend, "g1").await, owned(&[("b", false), ("c", true)]));
    assert_eq!(devices_of(backend, "g2").await, owned(&[("c", true)]));
    backend.clear_sender_key_devices("g1").await.unwrap();
    assert_eq!(devices_of(backend, "g1").await, []);
    assert_eq!(devices_of(backend, "g2").await.len(), 1);
    backend.clear_all_sender_key_devices().await.unwrap();
    assert_eq!(devices_of(backend, "g2").await, []);
}

fn mapping(lid: &str, phone: &str, at: i64) -> LidPnMappingEntry {
    LidPnMappingEntry {
        lid: lid.into(),
        phone_number: phone.into(),
        created_at: at,
        updated_at: at,
        learning_source: "usync".into(),
    }
}

async fn lid_mappings(backend: &dyn Backend) {
    backend.put_lid_mapping(&mapping("L1", "491", 1)).await.unwrap();
    backend.put_lid_mappings(&[mapping("L2", "491", 2), mapping("L3", "492", 1), mapping("L3", "493", 2)]).await.unwrap();
    backend.put_lid_mappings(&[]).await.unwrap();
    let found = backend.get_lid_mapping("L1").await.unwrap().unwrap();
    assert_eq!((found.phone_number.as_str(), found.created_at, found.learning_source.as_str()), ("491", 1, "usync"));
    // A number's newest LID; a LID's newest number.
    assert_eq!(backend.get_pn_mapping("491").await.unwrap().unwrap().lid, "L2");
    assert_eq!(backend.get_lid_mapping("L3").await.unwrap().unwrap().phone_number, "493");
    assert!(backend.get_pn_mapping("492").await.unwrap().is_none());
    assert!(backend.get_lid_mapping("L9").await.unwrap().is_none());
    let mut all: Vec<_> = backend.get_all_lid_mappings().await.unwrap().into_iter().map(|one| one.lid).collect();
    all.sort();
    assert_eq!(all, ["L1", "L2", "L3"]);
}

async fn base_keys(backend: &dyn Backend) {
    assert!(!backend.has_same_base_key("a", "m", b"one").await.unwrap());
    backend.save_base_key("a", "m", b"one").await.unwrap();
    backend.save_base_key("a", "m", b"two").await.unwrap();
    assert!(!backend.has_same_base_key("a", "m", b"one").await.unwrap());
    assert!(backend.has_same_base_key("a", "m", b"two").await.unwrap());
    assert!(!backend.has_same_base_key("a", "n", b"two").await.unwrap());
    backend.delete_base_key("a", "m").await.unwrap();
    assert!(!backend.has_same_base_key("a", "m", b"two").await.unwrap());
}

async fn device_lists(backend: &dyn Backend) {
    let record = |user: &str, ids: &[u32]| DeviceListRecord {
        user: user.into(),
        devices: ids.iter().map(|id| DeviceInfo::new(*id, Some(id + 1)).with_hosting(*id == 99)).collect(),
        timestamp: 5,
        phash: Some("2:abc".into()),
        raw_id: Some(u32::MAX),
    };
    backend.update_device_list(record("1", &[0])).await.unwrap();
    backend.update_device_lists(vec![record("2", &[0, 99]), record("1", &[0, 1]), record("2", &[99])]).await.unwrap();
    let one = backend.get_devices("1").await.unwrap().unwrap();
    assert_eq!(one.devices.iter().map(|device| device.device_id).collect::<Vec<_>>(), [0, 1]);
    let two = backend.get_devices("2").await.unwrap().unwrap();
    assert_eq!((two.devices.len(), two.devices[0].is_hosted, two.devices[0].key_index), (1, true, Some(100)));
    assert_eq!((two.timestamp, two.phash.as_deref(), two.raw_id), (5, Some("2:abc"), Some(u32::MAX)));
    backend.delete_devices("1").await.unwrap();
    assert!(backend.get_devices("1").await.unwrap().is_none());
    assert!(backend.get_devices("2").await.unwrap().is_some());
}

async fn group_metadata(backend: &dyn Backend) {
    assert_eq!(backend.get_group_metadata("g").await.unwrap(), None);
    backend.put_group_metadata("g", b"one").await.unwrap();
    backend.put_group_metadata("g", b"two").await.unwrap();
    assert_eq!(backend.get_group_metadata("g").await.unwrap(), Some(b"two".to_vec()));
    backend.delete_group_metadata("g").await.unwrap();
    assert_eq!(backend.get_group_metadata("g").await.unwrap(), None);
}

fn token(bytes: &[u8], token_timestamp: i64, sender_timestamp: Option<i64>) -> TcTokenEntry {
    TcTokenEntry { token: bytes.to_vec(), token_timestamp, sender_timestamp }
}

async fn token_of(backend: &dyn Backend, jid: &str) -> Option<(Vec<u8>, i64, Option<i64>)> {
    backend.get_tc_token(jid).await.unwrap().map(|one| (one.token, one.token_timestamp, one.sender_timestamp))
}

async fn tc_tokens_are_stored_and_deleted(backend: &dyn Backend) {
    backend.put_tc_token("a", &token(b"one", 1, Some(2))).await.unwrap();
    backend.put_tc_token("a", &token(b"two", 0, None)).await.unwrap();
    backend.put_tc_token("b", &token(b"", 3, Some(3))).await.unwrap();
    assert_eq!(token_of(backend, "a").await, Some((b"two".to_vec(), 0, None)));
    assert_eq!(token_of(backend, "b").await, Some((vec![], 3, Some(3))));
    let mut jids = backend.get_all_tc_token_jids().await.unwrap();
    jids.sort();
    assert_eq!(jids, ["a", "b"]);
    backend.delete_tc_token("a").await.unwrap();
    assert_eq!(token_of(backend, "a").await, None);
}

async fn tc_tokens_of_two_writers_converge(backend: &dyn Backend) {
    // Sent first: a placeholder without bytes, which the first real token replaces, be it older.
    backend.touch_tc_token_sender_timestamp("a", 50).await.unwrap();
    assert_eq!(token_of(backend, "a").await, Some((vec![], 50, Some(50))));
    backend.store_received_tc_token("a", b"real", 10).await.unwrap();
    assert_eq!(token_of(backend, "a").await, Some((b"real".to_vec(), 10, Some(50))));
    // The sender's time only moves forward, and leaves the token alone.
    backend.touch_tc_token_sender_timestamp("a", 40).await.unwrap();
    backend.touch_tc_token_sender_timestamp("a", 60).await.unwrap();
    assert_eq!(token_of(backend, "a").await, Some((b"real".to_vec(), 10, Some(60))));
    // A stale token loses, an equally old or newer one wins.
    backend.store_received_tc_token("a", b"stale", 9).await.unwrap();
    assert_eq!(token_of(backend, "a").await.unwrap().0, b"real");
    backend.store_received_tc_token("a", b"equal", 10).await.unwrap();
    assert_eq!(token_of(backend, "a").await.unwrap().0, b"equal");
    // Received first.
    backend.store_received_tc_token("b", b"first", 5).await.unwrap();
    assert_eq!(token_of(backend, "b").await, Some((b"first".to_vec(), 5, None)));
    backend.touch_tc_token_sender_timestamp("b", 7).await.unwrap();
    assert_eq!(token_of(backend, "b").await, Some((b"first".to_vec(), 5, Some(7))));
}

async fn tc_tokens_expire_when_both_ends_are_old(backend: &dyn Backend) {
    let rows = [
        ("fresh token", token(b"t", 10, None), true),
        ("fresh sender", token(b"t", 9, Some(20)), true),
        ("both old", token(b"t", 9, Some(19)), false),
        ("old token, no sender", token(b"t", 9, None), false),
        ("placeholder, fresh sender", token(b"", 99, Some(20)), true),
        ("placeholder, old sender", token(b"", 99, Some(19)), false),
    ];
    for (jid, entry, _) in &rows {
        backend.put_tc_token(jid, entry).await.unwrap();
    }
    assert_eq!(backend.delete_expired_tc_tokens(10, 20).await.unwrap(), 3);
    for (jid, _, kept) in &rows {
        assert_eq!(token_of(backend, jid).await.is_some(), *kept, "{jid}");
    }
}

async fn sent_messages_are_taken_once(backend: &dyn Backend) {
    backend.store_sent_message("c", "m", b"one").await.unwrap();
    backend.store_sent_message("c", "m", b"two").await.unwrap();
    backend.store_sent_message("c", "n", b"three").await.unwrap();
    let (first, second) = tokio::join!(backend.take_sent_message("c", "m"), backend.take_sent_message("c", "m"));
    let mut taken = [first.unwrap(), second.unwrap()];
    taken.sort();
    assert_eq!(taken, [None, Some(b"two".to_vec())]);
    let now = wacore::time::now_secs();
    assert_eq!(backend.delete_expired_sent_messages(now - 1000).await.unwrap(), 0);
    assert_eq!(backend.delete_expired_sent_messages(now + 1000).await.unwrap(), 1);
    assert_eq!(backend.take_sent_message("c", "n").await.unwrap(), None);
}

async fn pending_inbound_survives_until_deleted(backend: &dyn Backend) {
    let row =
        |sender: &'static str, id: &'static str, message: &'static [u8]| PendingInboundRow { chat: "c", sender, id, message };
    backend.store_pending_inbound("c", "s", "1", b"one").await.unwrap();
    let rows = [row("s", "1", b"one again"), row("s", "2", b"two"), row("t", "1", b"other"), row("s", "2", b"two again")];
    backend.store_pending_inbound_batch(&rows).await.unwrap();
    backend.store_pending_inbound_batch(&[]).await.unwrap();
    assert_eq!(backend.get_pending_inbound("c", "s", "1").await.unwrap(), Some(b"one again".to_vec()));
    assert_eq!(backend.get_pending_inbound("c", "s", "2").await.unwrap(), Some(b"two again".to_vec()));
    assert_eq!(backend.get_pending_inbound("d", "s", "1").await.unwrap(), None);
    backend.delete_pending_inbound("c", "s", "1").await.unwrap();
    let key = |id| PendingInboundKey { chat: "c", sender: "s", id };
    backend.delete_pending_inbound_batch(&[key("1"), key("2")]).await.unwrap();
    backend.delete_pending_inbound_batch(&[]).await.unwrap();
    assert_eq!(backend.get_pending_inbound("c", "s", "2").await.unwrap(), None);
    assert_eq!(backend.get_pending_inbound("c", "t", "1").await.unwrap(), Some(b"other".to_vec()));
    let now = wacore::time::now_secs();
    assert_eq!(backend.delete_expired_pending_inbound(now - 1000).await.unwrap(), 0);
    assert_eq!(backend.delete_expired_pending_inbound(now + 1000).await.unwrap(), 1);
}

fn secret(id: &str, byte: u8, expires_at: i64, message_ts: i64) -> MsgSecretEntry {
    MsgSecretEntry { chat: "c".into(), sender: "s".into(), msg_id: id.into(), secret: [byte; 32], expires_at, message_ts }
}

async fn message_secrets_merge(backend: &dyn Backend) {
    backend.put_msg_secret("c", "s", "plain", &[1; 32]).await.unwrap();
    assert_eq!(backend.get_msg_secret("c", "s", "plain").await.unwrap(), Some(vec![1; 32]));
    assert_eq!(backend.get_msg_secret("c", "t", "plain").await.unwrap(), None);
    // The secret is the last one, the parent's time the later one.
    assert_eq!(backend.put_msg_secrets(vec![secret("m", 1, 10, 5)]).await.unwrap(), 1);
    assert_eq!(backend.put_msg_secrets(vec![secret("m", 2, 5, 0), secret("m", 3, 7, 4)]).await.unwrap(), 2);
    assert_eq!(backend.get_msg_secret_with_ts("c", "s", "m").await.unwrap(), Some((vec![3; 32], 5)));
    assert_eq!(backend.put_msg_secrets(vec![]).await.unwrap(), 0);
}

async fn message_secrets_expire(backend: &dyn Backend) {
    // Windows never shrink, and "never" (0) beats them all: between rows, and within one batch.
    backend.put_msg_secrets(vec![secret("long", 1, 30, 0), secret("short", 1, 10, 0), secret("never", 1, 10, 0)]).await.unwrap();
    backend.put_msg_secrets(vec![secret("long", 1, 10, 0), secret("short", 1, 20, 0), secret("never", 1, 0, 0)]).await.unwrap();
    backend.put_msg_secrets(vec![secret("never", 1, 10, 0), secret("batch", 1, 0, 0), secret("batch", 1, 10, 0)]).await.unwrap();
    assert_eq!(backend.delete_expired_msg_secrets(19).await.unwrap(), 0);
    assert_eq!(backend.delete_expired_msg_secrets(20).await.unwrap(), 1);
    assert_eq!(backend.get_msg_secret("c", "s", "short").await.unwrap(), None);
    assert_eq!(backend.delete_expired_msg_secrets(i64::MAX).await.unwrap(), 1);
    for id in ["never", "batch"] {
        assert!(backend.get_msg_secret("c", "s", id).await.unwrap().is_some(), "{id}");
    }
}

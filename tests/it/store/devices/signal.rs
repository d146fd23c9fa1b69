//! Signal's keys, app state, and the device itself.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use wacore::appstate::hash::HashState;
use wacore::appstate::processor::AppStateMutationMAC;
use wacore::store::Device;
use wacore::store::traits::{AppStateSyncKey, Backend};

use super::on_every_backend;

on_every_backend!(
    identities,
    sessions,
    the_state_of_a_user_is_found_by_whole_names,
    prekeys,
    hundreds_of_prekeys,
    signed_prekeys,
    sender_keys,
    sync_keys,
    versions,
    mutation_macs,
    the_device,
);

const ADDRESS: &str = "100000000000001:1@lid.0";

async fn identities(backend: &dyn Backend) {
    assert_eq!(backend.load_identity(ADDRESS).await.unwrap(), None);
    backend.put_identity(ADDRESS, [1; 32]).await.unwrap();
    backend.put_identity(ADDRESS, [2; 32]).await.unwrap();
    assert_eq!(backend.load_identity(ADDRESS).await.unwrap(), Some([2; 32]));
    let batch: Vec<(Arc<str>, [u8; 32])> = vec![("x".into(), [3; 32]), (ADDRESS.into(), [4; 32]), ("x".into(), [5; 32])];
    backend.put_identities_batch(&batch).await.unwrap();
    backend.put_identities_batch(&[]).await.unwrap();
    assert_eq!(backend.load_identity("x").await.unwrap(), Some([5; 32]));
    assert_eq!(backend.load_identity(ADDRESS).await.unwrap(), Some([4; 32]));
    backend.delete_identity(ADDRESS).await.unwrap();
    backend.delete_identity(ADDRESS).await.unwrap();
    assert_eq!(backend.load_identity(ADDRESS).await.unwrap(), None);
}

async fn sessions(backend: &dyn Backend) {
    assert!(!backend.has_session(ADDRESS).await.unwrap());
    backend.put_session(ADDRESS, b"one").await.unwrap();
    assert!(backend.has_session(ADDRESS).await.unwrap());
    let long = Bytes::from(vec![9; 70_000]);
    let batch: Vec<(Arc<str>, Bytes)> = vec![
        (ADDRESS.into(), "two".into()),
        ("y".into(), long.clone()),
        ("z".into(), Bytes::new()),
        (ADDRESS.into(), "three".into()),
    ];
    backend.put_sessions_batch(&batch).await.unwrap();
    assert_eq!(backend.get_session(ADDRESS).await.unwrap(), Some(Bytes::from_static(b"three")));
    assert_eq!(backend.get_session("y").await.unwrap(), Some(long));
    assert_eq!(backend.get_session("z").await.unwrap(), Some(Bytes::new()));
    backend.delete_session(ADDRESS).await.unwrap();
    assert_eq!(backend.get_session(ADDRESS).await.unwrap(), None);
    assert!(!backend.has_session(ADDRESS).await.unwrap());
}

async fn the_state_of_a_user_is_found_by_whole_names(backend: &dyn Backend) {
    backend.put_session("4917:3@s.whatsapp.net.0", b"s").await.unwrap();
    backend.put_identity("5555@lid.0", [1; 32]).await.unwrap();
    for (user, known) in
        [("4917", true), ("5555", true), ("491", false), ("49170", false), ("17", false), ("", false), ("%", false)]
    {
        assert_eq!(backend.has_signal_state_for_user(user).await.unwrap(), known, "{user}");
    }
}

async fn prekeys(backend: &dyn Backend) {
    assert_eq!(backend.get_max_prekey_id().await.unwrap(), 0);
    backend.store_prekey(5, b"five", false).await.unwrap();
    let batch: Vec<(u32, Bytes)> = vec![(6, "six".into()), (u32::MAX, "last".into()), (6, "six again".into())];
    backend.store_prekeys_batch(&batch, true).await.unwrap();
    assert_eq!(backend.load_prekey(6).await.unwrap(), Some(Bytes::from_static(b"six again")));
    assert_eq!(backend.get_max_prekey_id().await.unwrap(), u32::MAX);
    let mut some = backend.load_prekeys_batch(&[6, 7, 5]).await.unwrap();
    some.sort();
    assert_eq!(some, [(5, Bytes::from_static(b"five")), (6, Bytes::from_static(b"six again"))]);
    // A key that was used up between an upload and its marking stays gone.
    backend.remove_prekey(5).await.unwrap();
    backend.mark_prekeys_uploaded(&[5, 6]).await.unwrap();
    backend.mark_prekeys_uploaded(&[]).await.unwrap();
    assert_eq!(backend.load_prekey(5).await.unwrap(), None);
    assert_eq!(backend.load_prekey(6).await.unwrap(), Some(Bytes::from_static(b"six again")));
}

async fn hundreds_of_prekeys(backend: &dyn Backend) {
    let batch: Vec<(u32, Bytes)> = (1..=812_u32).map(|id| (id, Bytes::from(id.to_be_bytes().to_vec()))).collect();
    backend.store_prekeys_batch(&batch, false).await.unwrap();
    let ids: Vec<u32> = (1..=900).rev().collect();
    let mut all = backend.load_prekeys_batch(&ids).await.unwrap();
    all.sort();
    assert_eq!(all, batch);
    backend.mark_prekeys_uploaded(&ids).await.unwrap();
    assert_eq!(backend.get_max_prekey_id().await.unwrap(), 812);
}

async fn signed_prekeys(backend: &dyn Backend) {
    backend.store_signed_prekey(1, b"one").await.unwrap();
    backend.store_signed_prekey(2, b"two").await.unwrap();
    backend.store_signed_prekey(1, b"one again").await.unwrap();
    assert_eq!(backend.load_signed_prekey(1).await.unwrap(), Some(b"one again".to_vec()));
    let mut all = backend.load_all_signed_prekeys().await.unwrap();
    all.sort();
    assert_eq!(all, [(1, b"one again".to_vec()), (2, b"two".to_vec())]);
    backend.remove_signed_prekey(1).await.unwrap();
    assert_eq!(backend.load_signed_prekey(1).await.unwrap(), None);
}

async fn sender_keys(backend: &dyn Backend) {
    let name = "1-2@g.us:100000000000001:1@lid.0";
    backend.put_sender_key(name, b"one").await.unwrap();
    let batch: Vec<(Arc<str>, Bytes)> = vec![(name.into(), "two".into()), ("other".into(), "three".into())];
    backend.put_sender_keys_batch(&batch).await.unwrap();
    assert_eq!(backend.get_sender_key(name).await.unwrap(), Some(b"two".to_vec()));
    assert_eq!(backend.get_sender_key("other").await.unwrap(), Some(b"three".to_vec()));
    backend.delete_sender_key(name).await.unwrap();
    assert_eq!(backend.get_sender_key(name).await.unwrap(), None);
}

async fn sync_keys(backend: &dyn Backend) {
    assert_eq!(backend.get_latest_sync_key_id().await.unwrap(), None);
    let key =
        |byte: u8| AppStateSyncKey { key_data: vec![byte; 32], fingerprint: vec![byte, 0, 255], timestamp: i64::from(byte) };
    for id in [[1, 0], [2, 0], [1, 0]] {
        backend.set_sync_key(&id, key(id[0])).await.unwrap();
    }
    // The newest is the one that was stored last, be it for the second time.
    assert_eq!(backend.get_latest_sync_key_id().await.unwrap(), Some(vec![1, 0]));
    let two = backend.get_sync_key(&[2, 0]).await.unwrap().unwrap();
    assert_eq!((two.key_data, two.fingerprint, two.timestamp), (vec![2; 32], vec![2, 0, 255], 2));
    assert!(backend.get_sync_key(&[3]).await.unwrap().is_none());
}

async fn versions(backend: &dyn Backend) {
    let unknown = backend.get_version("regular").await.unwrap();
    assert_eq!((unknown.version, unknown.hash, unknown.mac_mismatch_fatal), (0, [0; 128], false));
    let mut state = HashState { version: u64::MAX, mac_mismatch_fatal: true, ..HashState::default() };
    state.hash[127] = 200;
    state.index_value_map = HashMap::from([("a".to_owned(), vec![1, 2])]);
    backend.set_version("regular", HashState::default()).await.unwrap();
    backend.set_version("regular", state.clone()).await.unwrap();
    let stored = backend.get_version("regular").await.unwrap();
    assert_eq!((stored.version, stored.hash, stored.mac_mismatch_fatal), (u64::MAX, state.hash, true));
    assert_eq!(stored.index_value_map, state.index_value_map);
    assert_eq!(backend.get_version("critical").await.unwrap().version, 0);
}

async fn mutation_macs(backend: &dyn Backend) {
    let mac = |index: u8, value: u8| AppStateMutationMAC { index_mac: vec![index; 32], value_mac: vec![value; 32] };
    let many: Vec<_> = (0..200).map(|at| mac(at, 1)).chain([mac(3, 9)]).collect();
    backend.put_mutation_macs("regular", 1, &many).await.unwrap();
    backend.put_mutation_macs("critical", 1, &[mac(3, 5)]).await.unwrap();
    assert_eq!(backend.get_mutation_mac("regular", &[3; 32]).await.unwrap(), Some(vec![9; 32]));
    let asked: Vec<[u8; 32]> = (0..=255).map(|at| [at; 32]).collect();
    let found = backend.get_mutation_macs("regular", &asked).await.unwrap();
    assert_eq!((found.len(), found.get(&[3; 32])), (200, Some(&vec![9; 32])));
    assert_eq!(backend.get_mutation_macs("regular", &[]).await.unwrap().len(), 0);
    backend.delete_mutation_macs("regular", &[vec![3; 32], vec![250; 32]]).await.unwrap();
    backend.delete_mutation_macs("regular", &[]).await.unwrap();
    assert_eq!(backend.get_mutation_mac("regular", &[3; 32]).await.unwrap(), None);
    assert_eq!(backend.get_mutation_mac("critical", &[3; 32]).await.unwrap(), Some(vec![5; 32]));
    backend.clear_mutation_macs("regular").await.unwrap();
    assert_eq!(backend.get_mutation_macs("regular", &asked).await.unwrap().len(), 0);
    assert_eq!(backend.get_mutation_mac("critical", &[3; 32]).await.unwrap(), Some(vec![5; 32]));
}

async fn the_device(backend: &dyn Backend) {
    assert!(!backend.exists().await.unwrap());
    assert!(backend.load().await.unwrap().is_none());
    backend.create().await.unwrap();
    assert!(backend.exists().await.unwrap());
    let mut device = Device::new();
    device.pn = Some("4917:3@s.whatsapp.net".parse().unwrap());
    device.lid = Some("100000000000001:3@lid".parse().unwrap());
    device.push_name = "Zoë \u{1F600}".into();
    device.edge_routing_info = Some(vec![0, 255]);
    (device.next_pre_key_id, device.login_counter, device.lid_migrated) = (813, -1, true);
    backend.save(&device).await.unwrap();
    backend.create().await.unwrap();
    let stored = backend.load().await.unwrap().unwrap();
    assert_eq!(stored.pn, device.pn);
    assert_eq!(stored.lid, device.lid);
    assert_eq!(stored.push_name, device.push_name);
    assert_eq!(stored.edge_routing_info, device.edge_routing_info);
    assert_eq!((stored.next_pre_key_id, stored.login_counter, stored.lid_migrated), (813, -1, true));
    assert_eq!(stored.registration_id, device.registration_id);
    assert_eq!(stored.adv_secret_key, device.adv_secret_key);
    assert_eq!(stored.signed_pre_key_signature, device.signed_pre_key_signature);
    let private = |device: &Device| *device.noise_key.private_key.serialize();
    assert_eq!(private(&stored), private(&device));
    assert_eq!(stored.identity_key.public_key.serialize(), device.identity_key.public_key.serialize());
    // What a device introduces itself as is not serialized by the library, and must not get lost for that.
    assert_eq!(stored.device_props.os, device.device_props.os);
    assert_eq!(stored.device_props.version.as_option(), device.device_props.version.as_option());
    assert_eq!(stored.client_profile.device, device.client_profile.device);
    assert_eq!(stored.client_profile.include_web_info, device.client_profile.include_web_info);
}

//! What a phone and its own linked devices say to each other beside messages: the key of the app state, and the first patch in it.

use buffa::{Message as _, MessageField};
use wacore::appstate::hash::{HashState, generate_patch_mac};
use wacore::appstate::{encode_record, expand_app_state_keys};
use waproto::whatsapp as wa;
use waproto::whatsapp::message::{
    AppStateSyncKey, AppStateSyncKeyData, AppStateSyncKeyFingerprint, AppStateSyncKeyId, AppStateSyncKeyShare, ProtocolMessage,
    protocol_message,
};
use waproto::whatsapp::sync_action_value as action;

use crate::sandbox::server::World;
use crate::sandbox::server::account::{Account, Place};
use crate::sandbox::server::tokens::nct_salt;

/// The one app state key of an account.
pub(in crate::sandbox) const KEY_ID: [u8; 6] = [0, 0, 0, 0, 1, 1];
/// A fixed moment in the past, in milliseconds.
const LONG_AGO: i64 = 1_700_000_000_000;

impl World {
    /// A newly linked device published its keys: the phone sends it what only the phone has.
    pub(in crate::sandbox) fn phone_greets(&mut self, device: &Place) {
        self.share_app_state_key(device);
        self.phone_sends_history(device);
        if let Some(linked) = self.device_mut(device) {
            linked.has_app_state_key = true;
            self.touch_device(device);
        }
    }

    /// Sends a device the key of the account's app state.
    pub(super) fn share_app_state_key(&mut self, device: &Place) {
        let Some(account) = self.accounts.get(&device.number) else { return };
        let message = key_share(&account.app_state_key.0);
        self.send_peer_message(device, &message);
    }
}

fn key_share(key: &[u8]) -> wa::Message {
    let fingerprint = AppStateSyncKeyFingerprint { raw_id: Some(1), current_index: Some(0), device_indexes: vec![0, 1] };
    let data = AppStateSyncKeyData {
        key_data: Some(key.to_vec()),
        fingerprint: MessageField::some(fingerprint),
        timestamp: Some(LONG_AGO),
    };
    let key = AppStateSyncKey {
        key_id: MessageField::some(AppStateSyncKeyId { key_id: Some(KEY_ID.to_vec()) }),
        key_data: MessageField::some(data),
    };
    let protocol = ProtocolMessage {
        r#type: Some(protocol_message::Type::APP_STATE_SYNC_KEY_SHARE),
        app_state_sync_key_share: MessageField::some(AppStateSyncKeyShare { keys: vec![key] }),
        ..Default::default()
    };
    wa::Message { protocol_message: MessageField::some(protocol), ..Default::default() }
}

/// The collections that have something in them from the beginning.
pub(in crate::sandbox) const BEGINNINGS: [&str; 2] = ["critical_block", "regular_high"];

/// What is in one of [`BEGINNINGS`]: the account's name, or the secret for tokens.
fn beginning(account: &Account, collection: &str) -> (&'static [u8], wa::SyncActionValue) {
    let mut value = wa::SyncActionValue { timestamp: Some(LONG_AGO), ..Default::default() };
    if collection == "critical_block" {
        let name = action::PushNameSetting { name: Some(account.push_name.clone()) };
        value.push_name_setting = MessageField::some(name);
        return (br#"["setting_pushName"]"#, value);
    }
    value.nct_salt_sync_action = MessageField::some(action::NctSaltSyncAction { salt: Some(nct_salt(account)) });
    (br#"["nct_salt_sync"]"#, value)
}

/// The first patch of one of [`BEGINNINGS`].
pub(in crate::sandbox) fn first_patch(account: &Account, collection: &str) -> Option<Vec<u8>> {
    let keys = expand_app_state_keys(&account.app_state_key.0);
    let (index, value) = beginning(account, collection);
    let operation = wa::syncd_mutation::SyncdOperation::SET;
    // The same account gives the same patch every time, so the vector is fixed.
    let (mutation, _) = encode_record(operation, index, &value, &keys, &KEY_ID, &[7; 16], 1);
    let mut state = HashState { version: 1, ..Default::default() };
    let (_, updated) = state.update_hash(std::slice::from_ref(&mutation), |_, _| Ok(None));
    updated.ok()?;
    let mut patch = wa::SyncdPatch {
        version: MessageField::some(wa::SyncdVersion { version: Some(1) }),
        mutations: vec![mutation],
        key_id: MessageField::some(wa::KeyId { id: Some(KEY_ID.to_vec()) }),
        ..Default::default()
    };
    patch.snapshot_mac = Some(state.generate_snapshot_mac(collection, &keys.snapshot_mac));
    patch.patch_mac = Some(generate_patch_mac(&patch, collection, &keys.patch_mac, 1));
    Some(patch.encode_to_vec())
}

//! App state: what the devices of an account agree on (names, archived chats, …), as numbered patches in collections.
//!
//! The real server cannot read the patches; here the phone's key is at hand, so a client whose patch its own peers would refuse is
//! told so at once (400) instead of damaging the collection.

use std::collections::BTreeMap;
use std::sync::Arc;

use buffa::{Message as _, MessageField};
use serde::{Deserialize, Serialize};
use wacore::appstate::hash::HashState;
use wacore::appstate::{expand_app_state_keys, process_patch};
use wacore::download::MediaType;
use wacore_binary::Node;
use wacore_binary::builder::NodeBuilder;
use waproto::whatsapp as wa;

use super::World;
use super::account::{Account, Place};
use super::iq::{Answer, bad_request};
use super::media::Found;
use crate::sandbox::fault::FaultKind;
use crate::sandbox::journal::Key;
use crate::sandbox::keys::{Blob, hex};
use crate::sandbox::phone::peer;
use crate::sandbox::wire::node::{SERVER, attr, bytes, el};

/// The collections there are.
const COLLECTIONS: [&str; 5] = ["critical_block", "critical_unblock_low", "regular_low", "regular_high", "regular"];

/// How many patches one answer carries.
const PAGE: usize = 50;

/// A collection of more patches than this comes as one file to a device that has nothing of it.
const LONG: u64 = 10;

/// One collection of one account.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(in crate::sandbox) struct Collection {
    /// All patches; the first is version 1.
    pub(in crate::sandbox) patches: Vec<Blob>,
    /// The sum over what is in the collection.
    hash: Blob,
    /// The seal of each entry's value, by the seal of its name.
    entries: BTreeMap<String, Blob>,
    /// The last snapshot that was put up: the version that it shows, and the reference to it.
    #[serde(skip)]
    snapshot: Option<(u64, wa::ExternalBlobReference)>,
}

impl Collection {
    pub(in crate::sandbox) fn version(&self) -> u64 {
        u64::try_from(self.patches.len()).unwrap_or(u64::MAX)
    }

    /// Its sum and its version, as patches are made on it.
    pub(in crate::sandbox) fn state(&self) -> HashState {
        let mut state = HashState { version: self.version(), ..Default::default() };
        for (to, from) in state.hash.iter_mut().zip(&self.hash.0) {
            *to = *from;
        }
        state
    }

    /// The seal of an entry's value.
    pub(in crate::sandbox) fn value_mac(&self, index_mac: &[u8]) -> Option<Vec<u8>> {
        self.entries.get(&hex(index_mac)).map(|value| value.0.clone())
    }

    /// Everything that is in the collection now, sealed.
    fn whole(&self, name: &str, key: &[u8]) -> wa::SyncdSnapshot {
        let mut records: BTreeMap<Vec<u8>, wa::SyncdRecord> = BTreeMap::new();
        let patches = self.patches.iter().filter_map(|patch| wa::SyncdPatch::decode_from_slice(&patch.0).ok());
        for mut mutation in patches.flat_map(|patch| patch.mutations) {
            let Some(record) = mutation.record.take() else { continue };
            let Some(index) = record.index.as_option().and_then(|index| index.blob.clone()) else { continue };
            if mutation.operation == Some(buffa::EnumValue::Known(wa::syncd_mutation::SyncdOperation::REMOVE)) {
                records.remove(&index);
            } else {
                records.insert(index, record);
            }
        }
        let keys = expand_app_state_keys(key);
        wa::SyncdSnapshot {
            version: MessageField::some(wa::SyncdVersion { version: Some(self.version()) }),
            records: records.into_values().collect(),
            mac: Some(self.state().generate_snapshot_mac(name, &keys.snapshot_mac)),
            key_id: MessageField::some(wa::KeyId { id: Some(peer::KEY_ID.to_vec()) }),
        }
    }

    /// Adds a patch if it fits on what is there and all its seals are right. Gives what it says.
    fn apply(&mut self, name: &str, key: &[u8], patch: &[u8]) -> Option<Vec<wa::SyncActionValue>> {
        let mut patch = wa::SyncdPatch::decode_from_slice(patch).ok()?;
        let keys = Arc::new(expand_app_state_keys(key));
        let mut state = self.state();
        // Clients leave the number to the server.
        patch.version = MessageField::some(wa::SyncdVersion { version: Some(self.version() + 1) });
        let known = |index: &[u8]| Ok(self.value_mac(index));
        let done = process_patch(&patch, &mut state, |_| Ok(Arc::clone(&keys)), known, true, name).ok()?;
        self.hash = Blob(done.state.hash.to_vec());
        for removed in &done.removed_index_macs {
            self.entries.remove(&hex(removed));
        }
        for added in done.added_macs {
            self.entries.insert(hex(&added.index_mac), Blob(added.value_mac));
        }
        self.patches.push(Blob(patch.encode_to_vec()));
        Some(done.mutations.into_iter().filter_map(|mutation| mutation.action_value).collect())
    }
}

impl World {
    /// Answers `<sync>`.
    pub(super) fn sync_app_state(&mut self, place: &Place, request: &Node) -> Answer {
        self.begin_app_state(&place.number)?;
        let wanted: Vec<&Node> = request.get_children_by_tag("collection").collect();
        let mut answers = Vec::new();
        for collection in wanted {
            let name = attr(collection, "name");
            if !COLLECTIONS.contains(&name.as_str()) {
                let error = el("error").attr("code", "400").attr("text", "bad-request").build();
                answers.push(el("collection").attr("name", name).attr("type", "error").children([error]).build());
                continue;
            }
            answers.push(match collection.get_optional_child("patch") {
                Some(patch) => self.take_patch(place, &name, collection, &bytes(patch)),
                None => {
                    let whole = attr(collection, "return_snapshot") == "true" && version_of(collection) == 0;
                    let snapshot = if whole { self.snapshot(&place.number, &name) } else { None };
                    match snapshot {
                        Some(snapshot) => snapshot,
                        None => self.collection(&place.number, &name, version_of(collection), None),
                    }
                }
            });
        }
        Ok(vec![el("sync").children(answers).build()])
    }

    /// Something is there from the beginning.
    pub(in crate::sandbox) fn begin_app_state(&mut self, number: &str) -> Result<(), (u16, &'static str)> {
        for name in peer::BEGINNINGS {
            let account = self.accounts.get_mut(number).ok_or_else(bad_request)?;
            if account.app_state.contains_key(name) {
                continue;
            }
            let first = peer::first_patch(account, name).ok_or((500, "internal-server-error"))?;
            let mut collection = Collection::default();
            collection.apply(name, &account.app_state_key.0, &first).ok_or((500, "internal-server-error"))?;
            account.app_state.insert(name.to_owned(), collection);
            self.touch(Key::AppState(number.to_owned(), name.to_owned()));
        }
        Ok(())
    }

    /// A long collection for a device that has nothing of it: one file instead of many patches. `None` when it is short, and when the
    /// media host is full.
    fn snapshot(&mut self, number: &str, name: &str) -> Option<Node> {
        let account = self.accounts.get(number)?;
        let collection = account.app_state.get(name).filter(|collection| collection.version() > LONG)?;
        let version = collection.version();
        let still = collection.snapshot.clone().filter(|(of, file)| {
            let path = file.direct_path.as_deref().unwrap_or_default();
            *of == version && matches!(self.find_media(path), Found::File(_))
        });
        let reference = match still {
            Some((_, reference)) => reference,
            None => {
                let plain = collection.whole(name, &account.app_state_key.0).encode_to_vec();
                let file = self.upload_media(&plain, MediaType::AppState).ok()?;
                let reference = wa::ExternalBlobReference {
                    media_key: Some(file.media_key),
                    direct_path: Some(file.direct_path),
                    file_size_bytes: Some(file.file_length),
                    file_sha256: Some(file.file_sha256),
                    file_enc_sha256: Some(file.file_enc_sha256),
                    ..Default::default()
                };
                let collection = self.accounts.get_mut(number)?.app_state.get_mut(name)?;
                collection.snapshot = Some((version, reference.clone()));
                reference
            }
        };
        let snapshot = el("snapshot").bytes(reference.encode_to_vec()).build();
        let answer = el("collection").attr("name", name.to_owned()).attr("version", version.to_string());
        Some(answer.attr("has_more_patches", "false").children([snapshot]).build())
    }

    /// Puts the file of a large patch into the patch.
    fn fetch_mutations(&self, patch: &[u8]) -> Option<Vec<u8>> {
        let mut whole = wa::SyncdPatch::decode_from_slice(patch).ok()?;
        let file = whole.external_mutations.take()?;
        let plain = self.download_media(&file.direct_path?, &file.media_key?, MediaType::AppState).ok()?;
        whole.mutations = wa::SyncdMutations::decode_from_slice(&plain).ok()?.mutations;
        Some(whole.encode_to_vec())
    }

    fn take_patch(&mut self, place: &Place, name: &str, request: &Node, patch: &[u8]) -> Node {
        let fetched = self.fetch_mutations(patch);
        let patch = fetched.as_deref().unwrap_or(patch);
        let based_on = version_of(request);
        let spoiled = self.fault_strikes(FaultKind::AppStateConflict, place, "iq/w:sync:app:state/sync");
        let Some(account) = self.accounts.get_mut(&place.number) else { return el("collection").build() };
        let collection = account.app_state.entry(name.to_owned()).or_default();
        if spoiled || collection.version() != based_on {
            return self.collection(&place.number, name, based_on, Some("409"));
        }
        let Some(said) = collection.apply(name, &account.app_state_key.0, patch) else {
            return self.collection(&place.number, name, based_on, Some("400"));
        };
        let version = collection.version();
        note_settings(account, &said);
        self.app_state_changed(place, name, version);
        el("collection").attr("name", name.to_owned()).attr("version", version.to_string()).build()
    }

    /// Takes a patch of the phone itself.
    pub(in crate::sandbox) fn take_own_patch(
        &mut self,
        number: &str,
        name: &str,
        patch: &[u8],
    ) -> Result<(), (u16, &'static str)> {
        let account = self.accounts.get_mut(number).ok_or_else(bad_request)?;
        let collection = account.app_state.entry(name.to_owned()).or_default();
        let said = collection.apply(name, &account.app_state_key.0, patch).ok_or_else(bad_request)?;
        let version = collection.version();
        note_settings(account, &said);
        self.app_state_changed(&Place { number: number.to_owned(), device: 0 }, name, version);
        Ok(())
    }

    /// Tells the account's other linked devices that a collection has changed.
    fn app_state_changed(&mut self, place: &Place, name: &str, version: u64) {
        self.touch_account(&place.number);
        self.touch(Key::AppState(place.number.clone(), name.to_owned()));
        let changed = NodeBuilder::new("collection").attr("name", name.to_owned()).attr("version", version.to_string());
        let notification = el("notification")
            .attr("from", SERVER)
            .attr("type", "server_sync")
            .attr("id", self.stanza_id())
            .attr("t", self.now_secs().to_string())
            .children([changed.build()])
            .build();
        for other in self.other_devices(place).into_iter().filter(|other| other.device != 0) {
            self.deliver(&other, notification.clone());
        }
    }

    /// `<collection>` with the patches behind `after`; with an error that goes along with them.
    fn collection(&self, number: &str, name: &str, after: u64, error: Option<&'static str>) -> Node {
        let known = self.accounts.get(number).and_then(|account| account.app_state.get(name));
        let version = known.map_or(0, Collection::version);
        let skip = usize::try_from(after).unwrap_or(usize::MAX);
        let missing = known.map(|collection| collection.patches.iter().skip(skip));
        let patches: Vec<Node> =
            missing.into_iter().flatten().take(PAGE).map(|patch| el("patch").bytes(patch.0.clone()).build()).collect();
        let more = version > after.saturating_add(u64::try_from(patches.len()).unwrap_or(0));
        let mut answer = el("collection")
            .attr("name", name.to_owned())
            .attr("version", version.to_string())
            .attr("has_more_patches", if more { "true" } else { "false" });
        let mut parts = Vec::new();
        if let Some(code) = error {
            let text = if code == "409" { "conflict" } else { "bad-request" };
            answer = answer.attr("type", "error");
            parts.push(el("error").attr("code", code).attr("text", text).build());
        }
        if !patches.is_empty() {
            parts.push(el("patches").children(patches).build());
        }
        answer.children(parts).build()
    }
}

fn version_of(collection: &Node) -> u64 {
    attr(collection, "version").parse().unwrap_or(0)
}

/// What the phone itself goes by: its name.
fn note_settings(account: &mut Account, said: &[wa::SyncActionValue]) {
    for value in said {
        if let Some(name) = value.push_name_setting.as_option().and_then(|setting| setting.name.clone()) {
            account.push_name = name;
        }
    }
}

//! Accounts, their devices and keys: what the server knows of each, and what the simulated phone of each keeps.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};
use wacore_binary::Jid;
use wacore_libsignal::protocol::{SenderKeyRecord, SessionRecord};

use super::World;
use super::app_state::Collection;
use super::queue::Queue;
use super::registration::Properties;
use crate::domain::clock::{Ambient, Time};
use crate::error::{Code, Error, Result};
use crate::sandbox::business::BusinessProfile;
use crate::sandbox::journal::Key;
use crate::sandbox::keys::{Blob, Secret};
use crate::sandbox::phone::behaviour::Behaviour;
use crate::sandbox::phone::call::Call;
use crate::sandbox::phone::history::SentPieces;
use crate::sandbox::phone::message::Stored;
use crate::sandbox::phone::passkey::Passkey;

/// One device of one account; device 0 is the phone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(in crate::sandbox) struct Place {
    /// The account's number in digits.
    pub(in crate::sandbox) number: String,
    /// The device's number within the account.
    pub(in crate::sandbox) device: u16,
}

/// The keys that a device published so that others can start a session with it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::sandbox) struct Bundle {
    /// The registration id.
    pub(in crate::sandbox) registration_id: u32,
    /// The identity key.
    pub(in crate::sandbox) identity: Blob,
    /// The signed prekey.
    pub(in crate::sandbox) signed: SignedKey,
    /// The one-time prekeys that are left, by id (3 bytes on the wire). Each is handed out once, lowest first. The journal keeps each
    /// by itself, because there are hundreds and they go one by one.
    #[serde(skip)]
    pub(in crate::sandbox) one_time: BTreeMap<u32, Blob>,
}

/// A published signed prekey.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::sandbox) struct SignedKey {
    /// Its id, 3 bytes on the wire.
    pub(in crate::sandbox) id: u32,
    /// The key.
    pub(in crate::sandbox) key: Blob,
    /// The identity's signature over it.
    pub(in crate::sandbox) signature: Blob,
}

/// A picture of an account or a group.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::sandbox) struct Picture {
    /// Fresh for each picture.
    pub(in crate::sandbox) id: String,
    /// JPEG.
    pub(in crate::sandbox) bytes: Blob,
}

/// Somebody in a phone's address book.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::sandbox) struct Contact {
    /// The name as the phone shows it.
    pub(in crate::sandbox) full_name: String,
    /// Its first part.
    pub(in crate::sandbox) first_name: String,
}

/// A linked device.
#[derive(Serialize, Deserialize)]
pub(in crate::sandbox) struct Device {
    /// The static key it proves itself with at login.
    pub(in crate::sandbox) noise_key: Blob,
    /// Its identity key.
    pub(in crate::sandbox) identity: Blob,
    /// Its index in the account's signed list of keys.
    pub(in crate::sandbox) key_index: u32,
    /// Its signed device identity, with both signatures.
    pub(in crate::sandbox) signed_identity: Blob,
    /// When it was linked.
    pub(in crate::sandbox) linked_at: Time,
    /// What it told about itself, if it registered by itself.
    #[serde(default)]
    pub(in crate::sandbox) properties: Option<Properties>,
    /// Whether it has the keys of the account's app state.
    pub(in crate::sandbox) has_app_state_key: bool,
    /// How many stanzas it lost because its queue was full.
    #[serde(default)]
    pub(in crate::sandbox) dropped: u64,
    /// What it published; kept apart in the journal because it is large.
    #[serde(skip)]
    pub(in crate::sandbox) bundle: Option<Bundle>,
    /// What it has not acknowledged, oldest first.
    #[serde(skip)]
    pub(in crate::sandbox) queue: Queue,
    /// Its connection.
    #[serde(skip)]
    pub(in crate::sandbox) online: Option<u64>,
}

/// An account with its simulated phone.
#[derive(Serialize, Deserialize)]
pub(in crate::sandbox) struct Account {
    /// The number in digits.
    pub(in crate::sandbox) number: String,
    /// The LID's user part.
    pub(in crate::sandbox) lid: String,
    /// The name the phone was created with.
    pub(in crate::sandbox) push_name: String,
    /// The name others see: the last one that a device announced.
    pub(in crate::sandbox) notify: String,
    /// Whether the phone reads at once what it receives.
    pub(in crate::sandbox) auto_read: bool,
    /// Identifies this incarnation of the account in device lists.
    pub(in crate::sandbox) raw_id: u32,
    /// The next linked device's number.
    pub(in crate::sandbox) next_device: u16,
    /// The accounts that it exchanged messages with: they learn of its device changes.
    pub(in crate::sandbox) peers: BTreeSet<String>,
    /// The phone's identity.
    pub(in crate::sandbox) identity: Secret,
    /// The phone's registration id.
    pub(in crate::sandbox) registration_id: u32,
    /// The phone's signed prekey, id 1.
    pub(in crate::sandbox) signed_key: Secret,
    /// The identity's signature over it.
    pub(in crate::sandbox) signed_key_signature: Blob,
    /// The next one-time prekey's id.
    pub(in crate::sandbox) next_prekey: u32,
    /// The key of the account's app state.
    pub(in crate::sandbox) app_state_key: Blob,
    /// What the account tells about itself, and since when (seconds since 1970).
    #[serde(default)]
    pub(in crate::sandbox) about: (String, u64),
    /// Its picture.
    #[serde(default)]
    pub(in crate::sandbox) picture: Option<Picture>,
    /// Who may see and do what, where it is not everybody.
    #[serde(default)]
    pub(in crate::sandbox) privacy: BTreeMap<String, String>,
    /// Whether the phone is switched off.
    #[serde(default)]
    pub(in crate::sandbox) off: bool,
    /// What waits for the phone while it is switched off.
    #[serde(skip)]
    pub(in crate::sandbox) inbox: Queue,
    /// When (seconds since 1970) it gave each of those whom it trusts a token, by number.
    #[serde(default)]
    pub(in crate::sandbox) trusts: BTreeMap<String, u64>,
    /// What it says about itself, if it is a business.
    #[serde(default)]
    pub(in crate::sandbox) business: Option<BusinessProfile>,
    /// The numbers that it does not want to hear of.
    #[serde(default)]
    pub(in crate::sandbox) blocked: BTreeSet<String>,
    /// When its user was last there (seconds since 1970); 0 for never.
    #[serde(default)]
    pub(in crate::sandbox) last_seen: u64,
    /// What its phone does by itself.
    #[serde(default)]
    pub(in crate::sandbox) behaviour: Behaviour,
    /// Its calls, oldest first.
    #[serde(default)]
    pub(in crate::sandbox) calls: Vec<Call>,
    /// Whether the phone's owner is there, once the phone has said so.
    #[serde(skip)]
    pub(in crate::sandbox) presence: Option<bool>,
    /// What a device needs to be linked, if the account has one.
    #[serde(default)]
    pub(in crate::sandbox) passkey: Option<Passkey>,
    /// The phone's address book, by number.
    #[serde(default)]
    pub(in crate::sandbox) contacts: BTreeMap<String, Contact>,
    /// The pieces of the history that went out, by the message that announced each.
    #[serde(skip)]
    pub(in crate::sandbox) sent_pieces: SentPieces,
    /// The account's app state, by collection.
    #[serde(skip)]
    pub(in crate::sandbox) app_state: BTreeMap<String, Collection>,
    /// The devices that have the phone's key of a group.
    #[serde(skip)]
    pub(in crate::sandbox) distributed: BTreeMap<String, BTreeSet<Place>>,
    /// The phone's sender keys, its own and others', by group and sender.
    #[serde(skip)]
    pub(in crate::sandbox) sender_keys: HashMap<String, SenderKeyRecord>,
    #[serde(skip)]
    pub(in crate::sandbox) devices: BTreeMap<u16, Device>,
    /// The private halves of the phone's one-time prekeys that are out.
    #[serde(skip)]
    pub(in crate::sandbox) prekeys: BTreeMap<u32, Secret>,
    /// The phone's Signal sessions by address.
    #[serde(skip)]
    pub(in crate::sandbox) sessions: HashMap<String, SessionRecord>,
    /// What the phone shows, by order of arrival.
    #[serde(skip)]
    pub(in crate::sandbox) messages: BTreeMap<u64, Stored>,
    /// Where a message is, by chat and id.
    #[serde(skip)]
    pub(in crate::sandbox) by_id: HashMap<(String, String), u64>,
    #[serde(skip)]
    pub(in crate::sandbox) next_message: u64,
}

impl Account {
    /// A fresh account with a phone.
    pub(in crate::sandbox) fn new(ambient: &Ambient, number: &str, push_name: &str, auto_read: bool) -> Result<Self> {
        let identity = Secret::generate(ambient);
        let signed_key = Secret::generate(ambient);
        let signature = identity
            .0
            .calculate_signature(&signed_key.0.public_key.serialize(), &mut ambient.rng())
            .map_err(|error| Error::internal(anyhow::anyhow!("signing a prekey: {error}")))?;
        Ok(Self {
            number: number.to_owned(),
            lid: lid_of(number),
            push_name: push_name.to_owned(),
            notify: push_name.to_owned(),
            auto_read,
            raw_id: u32::from_be_bytes(ambient.random()) >> 1,
            next_device: 1,
            peers: BTreeSet::new(),
            identity,
            registration_id: u32::from_be_bytes(ambient.random()) & 0x3fff,
            signed_key,
            signed_key_signature: Blob(signature.to_vec()),
            next_prekey: 1,
            app_state_key: Blob(ambient.random::<32>().to_vec()),
            about: ("Hey there! I am using the sandbox".to_owned(), 1_700_000_000),
            picture: None,
            privacy: BTreeMap::new(),
            off: false,
            inbox: Queue::default(),
            trusts: BTreeMap::new(),
            business: None,
            blocked: BTreeSet::new(),
            last_seen: 0,
            behaviour: Behaviour::default(),
            calls: Vec::new(),
            presence: None,
            passkey: None,
            contacts: BTreeMap::new(),
            sent_pieces: BTreeMap::new(),
            app_state: BTreeMap::new(),
            distributed: BTreeMap::new(),
            sender_keys: HashMap::new(),
            devices: BTreeMap::new(),
            prekeys: BTreeMap::new(),
            sessions: HashMap::new(),
            messages: BTreeMap::new(),
            by_id: HashMap::new(),
            next_message: 1,
        })
    }

    /// A device's address in one of the two spaces.
    pub(in crate::sandbox) fn jid(&self, device: u16, lid: bool) -> Jid {
        if lid { Jid::lid_device(self.lid.clone(), device) } else { Jid::pn_device(self.number.clone(), device) }
    }
}

/// The LID of a number: 15 digits that do not show the number, the same in every run, different for different numbers.
///
/// Multiplying by a number that shares no factor with 10^15 permutes the 15-digit numbers. A leading 0 is replaced by giving
/// the whole a prefix, so the result has 16 digits, which no phone number has.
pub(in crate::sandbox) fn lid_of(number: &str) -> String {
    const SPACE: u128 = 1_000_000_000_000_000;
    const FACTOR: u128 = 618_033_988_749_893;
    let digits: u128 = number.parse().unwrap_or(0);
    format!("1{:015}", digits * FACTOR % SPACE)
}

impl World {
    /// Adds a phone with a new account.
    pub(in crate::sandbox) fn create_account(&mut self, number: &str, push_name: &str, auto_read: bool) -> Result<()> {
        if number == crate::sandbox::PLACEHOLDER {
            return Err(Error::field("phoneNumber", "this number is reserved for devices that are not paired yet"));
        }
        if self.accounts.contains_key(number) {
            return Err(Error::new(Code::Conflict, "a phone with this number exists already").reason("phone_exists"));
        }
        let account = Account::new(&self.ambient, number, push_name, auto_read)?;
        self.insert_account(account);
        self.touch_account(number);
        Ok(())
    }

    /// The account of a phone that a caller named.
    pub(in crate::sandbox) fn known(&self, number: &str) -> Result<&Account> {
        self.accounts.get(number).ok_or_else(|| Error::not_found("phone"))
    }

    /// The same for what somebody does with the phone in hand: it has to be switched on.
    pub(in crate::sandbox) fn in_hand(&self, number: &str) -> Result<&Account> {
        let account = self.known(number)?;
        if account.off {
            return Err(Error::new(Code::Conflict, "the phone is switched off").reason("phone_off"));
        }
        Ok(account)
    }

    pub(in crate::sandbox) fn device_mut(&mut self, place: &Place) -> Option<&mut Device> {
        self.accounts.get_mut(&place.number)?.devices.get_mut(&place.device)
    }

    pub(in crate::sandbox) fn touch_device(&mut self, place: &Place) {
        self.touch(Key::Device(place.number.clone(), place.device));
    }

    /// Remembers that two accounts know each other.
    pub(in crate::sandbox) fn acquaint(&mut self, one: &str, other: &str) {
        for (own, peer) in [(one, other), (other, one)] {
            let new = own != peer
                && self.accounts.contains_key(peer)
                && self.accounts.get_mut(own).is_some_and(|account| account.peers.insert(peer.to_owned()));
            if new {
                self.touch_account(own);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lids_are_stable_different_and_never_numbers() {
        let lids: BTreeSet<String> = (6_281_200_000_000u64..6_281_200_005_000).map(|n| lid_of(&n.to_string())).collect();
        assert_eq!(lids.len(), 5000);
        assert!(lids.iter().all(|lid| lid.len() == 16));
        assert_eq!(lid_of("6281200000000"), lid_of("6281200000000"));
    }
}

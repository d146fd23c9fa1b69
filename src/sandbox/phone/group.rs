//! Phones in groups: one sender key for each group, given to every device of every member once, and renewed when somebody has left.

use std::collections::{BTreeSet, HashMap};

use async_trait::async_trait;
use buffa::MessageField;
use tracing::debug;
use wacore::messages::MessageUtils;
use wacore_binary::Jid;
use wacore_libsignal::protocol::{
    SenderKeyDistributionMessage, SenderKeyName, SenderKeyRecord, SenderKeyStore, SignalProtocolError,
    create_sender_key_distribution_message, group_decrypt, group_encrypt, process_sender_key_distribution_message,
};
use waproto::whatsapp as wa;

use super::send::enc;
use super::signal::{CipherError, address, at_once, unpad};
use crate::sandbox::journal::Key;
use crate::sandbox::server::World;
use crate::sandbox::server::account::Place;
use crate::sandbox::server::message::Envelope;

/// The sender keys that a phone has, its own and others', by group and sender.
struct SenderKeys<'a>(&'a mut HashMap<String, SenderKeyRecord>);

#[async_trait]
impl SenderKeyStore for SenderKeys<'_> {
    async fn store_sender_key(&mut self, name: &SenderKeyName, mut record: SenderKeyRecord) -> Result<(), SignalProtocolError> {
        // The journal has each key on disk before a ciphertext of it leaves.
        record.waive_counter_lease()?;
        self.0.insert(name.cache_key().to_owned(), record);
        Ok(())
    }

    async fn load_sender_key(&self, name: &SenderKeyName) -> Result<Option<SenderKeyRecord>, SignalProtocolError> {
        Ok(self.0.get(name.cache_key()).cloned())
    }
}

fn key_name(group: &Jid, sender: &Place) -> SenderKeyName {
    SenderKeyName::from_parts(&group.to_string(), address(sender).as_str())
}

impl World {
    /// Encrypts a message for these readers and distributes it, with the key for those devices that have it not yet.
    pub(super) fn phone_sends_to_many(
        &mut self,
        number: &str,
        envelope: &Envelope,
        content: &wa::Message,
        readers: &[Place],
    ) -> Result<(), CipherError> {
        let from = Place { number: number.to_owned(), device: 0 };
        let group = envelope.chat.user.to_string();
        let devices: BTreeSet<Place> = readers.iter().filter(|place| **place != from).cloned().collect();
        let mut informed = self
            .accounts
            .get_mut(number)
            .map(|account| account.distributed.remove(&group).unwrap_or_default())
            .unwrap_or_default();
        let name = key_name(&envelope.chat, &from);
        // Whoever left must not read on.
        if !informed.is_subset(&devices) {
            informed.clear();
            if let Some(account) = self.accounts.get_mut(number) {
                account.sender_keys.remove(name.cache_key());
            }
        }
        let mut copies = HashMap::new();
        let uninformed: Vec<Place> = devices.difference(&informed).cloned().collect();
        if !uninformed.is_empty() {
            let share = self.key_share(number, &envelope.chat, &name)?;
            for place in uninformed {
                if let Some(copy) = self.seal(&from, &place, &share) {
                    copies.insert(place.clone(), copy.encrypted);
                    informed.insert(place);
                }
            }
        }
        let padded = MessageUtils::encode_and_pad(content);
        let mut rng = self.ambient.rng();
        let account = self.accounts.get_mut(number).ok_or(CipherError::NoKeys)?;
        account.distributed.insert(group.clone(), informed);
        let sealed = at_once(group_encrypt(&mut SenderKeys(&mut account.sender_keys), &name, &padded, &mut rng))?;
        self.touch(Key::Sender(number.to_owned(), name.cache_key().to_owned()));
        self.touch(Key::Distributed(number.to_owned(), group));
        self.distribute_in_group(&from, envelope, readers, copies, &[enc("skmsg", sealed.serialized().to_vec(), 0, content)]);
        Ok(())
    }

    /// The message that gives somebody the phone's key of a group.
    pub(super) fn key_share(&mut self, number: &str, group: &Jid, name: &SenderKeyName) -> Result<wa::Message, CipherError> {
        let mut rng = self.ambient.rng();
        let account = self.accounts.get_mut(number).ok_or(CipherError::NoKeys)?;
        let mut keys = SenderKeys(&mut account.sender_keys);
        let share = at_once(create_sender_key_distribution_message(name, &mut keys, &mut rng))?;
        self.touch(Key::Sender(number.to_owned(), name.cache_key().to_owned()));
        let share = wa::message::SenderKeyDistributionMessage {
            group_id: Some(group.to_string()),
            axolotl_sender_key_distribution_message: Some(share.serialized().to_vec()),
        };
        Ok(wa::Message { sender_key_distribution_message: MessageField::some(share), ..Default::default() })
    }

    /// The phone's own key of a group, as [`World::key_share`] wants it.
    pub(super) fn own_key_name(number: &str, group: &Jid) -> SenderKeyName {
        key_name(group, &Place { number: number.to_owned(), device: 0 })
    }

    /// Takes the key of a group that a member's device gave to the phone.
    pub(super) fn phone_takes_key(&mut self, number: &str, group: &Jid, sender: &Place, content: &wa::Message) {
        let share = content.sender_key_distribution_message.as_option();
        let Some(bytes) = share.and_then(|share| share.axolotl_sender_key_distribution_message.as_deref()) else { return };
        let name = key_name(group, sender);
        let Some(account) = self.accounts.get_mut(number) else { return };
        let mut keys = SenderKeys(&mut account.sender_keys);
        let taken = SenderKeyDistributionMessage::try_from(bytes)
            .and_then(|share| at_once(process_sender_key_distribution_message(&name, &share, &mut keys)));
        match taken {
            Ok(()) => self.touch(Key::Sender(number.to_owned(), name.cache_key().to_owned())),
            Err(error) => debug!(%error, "a sender key that is none"),
        }
    }

    /// Decrypts what a member's device wrote to all.
    pub(super) fn group_decrypt(
        &mut self,
        number: &str,
        group: &Jid,
        sender: &Place,
        sealed: &[u8],
    ) -> Result<Vec<u8>, CipherError> {
        let name = key_name(group, sender);
        let account = self.accounts.get_mut(number).ok_or(CipherError::NoKeys)?;
        let opened = at_once(group_decrypt(sealed, &mut SenderKeys(&mut account.sender_keys), &name))?;
        self.touch(Key::Sender(number.to_owned(), name.cache_key().to_owned()));
        Ok(unpad(opened))
    }
}

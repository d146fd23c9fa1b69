//! What a phone's owner changes in lists and settings: the phone seals it as a patch, as its linked devices do, and these learn of it.

use buffa::{Message as _, MessageField};
use wacore::appstate::hash::generate_patch_mac;
use wacore::appstate::schemas::{self, Schema};
use wacore::appstate::{encode_record, expand_app_state_keys};
use wacore_binary::Jid;
use waproto::whatsapp as wa;
use waproto::whatsapp::sync_action_value as action;

use super::Chat;
use super::peer::KEY_ID;
use crate::error::{Error, Result};
use crate::sandbox::Direction;
use crate::sandbox::chats::{ChatChange, Label};
use crate::sandbox::server::World;
use crate::sandbox::server::account::Contact;

impl World {
    /// Saves somebody in the phone's address book.
    pub(in crate::sandbox) fn phone_saves_contact(&mut self, number: &str, person: &str, contact: Contact) -> Result<()> {
        let known = self.known(person)?;
        let value = wa::SyncActionValue {
            contact_action: MessageField::some(action::ContactAction {
                full_name: Some(contact.full_name.clone()),
                first_name: Some(contact.first_name.clone()),
                lid_jid: Some(known.jid(0, true).to_string()),
                pn_jid: Some(known.jid(0, false).to_string()),
                save_on_primary_addressbook: Some(true),
                ..Default::default()
            }),
            ..Default::default()
        };
        self.phone_sets(number, &schemas::CONTACT, &[&Jid::pn(person).to_string()], value)?;
        if let Some(account) = self.accounts.get_mut(number) {
            account.contacts.insert(person.to_owned(), contact);
            self.touch_account(number);
        }
        self.acquaint(number, person);
        Ok(())
    }

    /// Changes how the phone shows a chat.
    pub(in crate::sandbox) fn phone_changes_chat(&mut self, number: &str, chat: &Chat, change: ChatChange) -> Result<()> {
        let jid = self.chat_jid(number, chat)?.to_string();
        let newest = self.newest(number, chat);
        if let Some(pinned) = change.pinned {
            let value = wa::SyncActionValue {
                pin_action: MessageField::some(action::PinAction { pinned: Some(pinned) }),
                ..Default::default()
            };
            self.phone_sets(number, &schemas::PIN, &[&jid], value)?;
        }
        if let Some(archived) = change.archived {
            let action =
                action::ArchiveChatAction { archived: Some(archived), message_range: MessageField::some(newest.clone()) };
            let value = wa::SyncActionValue { archive_chat_action: MessageField::some(action), ..Default::default() };
            self.phone_sets(number, &schemas::ARCHIVE, &[&jid], value)?;
        }
        if let Some(muted) = change.muted {
            // -1 is for ever.
            let until = muted.then(|| change.muted_until.map_or(-1, |until| until.0));
            let action = action::MuteAction { muted: Some(muted), mute_end_timestamp: until, ..Default::default() };
            let value = wa::SyncActionValue { mute_action: MessageField::some(action), ..Default::default() };
            self.phone_sets(number, &schemas::MUTE, &[&jid], value)?;
        }
        if let Some(read) = change.read {
            let action = action::MarkChatAsReadAction { read: Some(read), message_range: MessageField::some(newest) };
            let value = wa::SyncActionValue { mark_chat_as_read_action: MessageField::some(action), ..Default::default() };
            self.phone_sets(number, &schemas::MARK_CHAT_AS_READ, &[&jid], value)?;
        }
        Ok(())
    }

    fn newest(&self, number: &str, chat: &Chat) -> action::SyncActionMessageRange {
        let name = chat.name();
        let rows = self.accounts.get(number).into_iter().flat_map(|account| account.messages.values());
        let newest = rows.filter(|row| row.shown.chat == name).map(|row| row.shown.timestamp.0 / 1000).max();
        action::SyncActionMessageRange { last_message_timestamp: newest, ..Default::default() }
    }

    /// Makes, changes or deletes a label.
    pub(in crate::sandbox) fn phone_saves_label(&mut self, number: &str, label: &Label) -> Result<()> {
        let action = action::LabelEditAction {
            name: Some(label.name.clone()),
            color: Some(label.color),
            deleted: Some(label.deleted),
            ..Default::default()
        };
        let value = wa::SyncActionValue { label_edit_action: MessageField::some(action), ..Default::default() };
        self.phone_sets(number, &schemas::LABEL_EDIT, &[&label.id], value)
    }

    /// Puts a label on a chat, or takes it off.
    pub(in crate::sandbox) fn phone_labels_chat(&mut self, number: &str, label: &str, chat: &Chat, on: bool) -> Result<()> {
        let jid = self.chat_jid(number, chat)?.to_string();
        let action = action::LabelAssociationAction { labeled: Some(on), ..Default::default() };
        let value = wa::SyncActionValue { label_association_action: MessageField::some(action), ..Default::default() };
        self.phone_sets(number, &schemas::LABEL_JID, &[label, &jid], value)
    }

    /// Stars a message, or takes the star off.
    pub(in crate::sandbox) fn phone_stars(&mut self, number: &str, chat: &Chat, id: &str, starred: bool) -> Result<()> {
        let jid = self.chat_jid(number, chat)?;
        let account = self.known(number)?;
        let row = account.by_id.get(&(chat.name(), id.to_owned())).and_then(|place| account.messages.get(place));
        let row = row.ok_or_else(|| Error::not_found("message"))?;
        let own = row.shown.direction == Direction::Out;
        let author = row.shown.sender.parse().ok().and_then(|sender| self.number_of(&sender));
        let author = author.and_then(|author| self.accounts.get(&author)).map(|author| author.jid(0, self.lid_addressing));
        let participant =
            author.filter(|_| !own && matches!(chat, Chat::Group(_))).map_or_else(|| "0".to_owned(), |jid| jid.to_string());
        let action = action::StarAction { starred: Some(starred) };
        let value = wa::SyncActionValue { star_action: MessageField::some(action), ..Default::default() };
        self.phone_sets(number, &schemas::STAR, &[&jid.to_string(), id, if own { "1" } else { "0" }, &participant], value)
    }

    /// Seals one entry as a patch and takes it. The parts are those of the entry's name behind its kind.
    fn phone_sets(&mut self, number: &str, schema: &Schema, parts: &[&str], mut value: wa::SyncActionValue) -> Result<()> {
        value.timestamp = Some(self.ambient.now().0);
        self.known(number)?;
        let refused = |(code, text)| Error::internal(anyhow::anyhow!("the phone's own patch was refused: {code} {text}"));
        self.begin_app_state(number).map_err(refused)?;
        let account = self.known(number)?;
        let name = schema.collection.as_str();
        let index: Vec<&str> = std::iter::once(schema.name).chain(parts.iter().copied()).collect();
        let index = serde_json::to_vec(&index).map_err(Error::internal)?;
        let keys = expand_app_state_keys(&account.app_state_key.0);
        let operation = wa::syncd_mutation::SyncdOperation::SET;
        let version = i32::try_from(schema.version).unwrap_or(i32::MAX);
        let (mutation, _) = encode_record(operation, &index, &value, &keys, &KEY_ID, &self.ambient.random(), version);
        let collection = account.app_state.get(name);
        let mut state = collection.map(super::super::server::app_state::Collection::state).unwrap_or_default();
        state.version += 1;
        let next = state.version;
        let (_, summed) = state.update_hash(std::slice::from_ref(&mutation), |mac, _| {
            Ok(collection.and_then(|collection| collection.value_mac(mac)))
        });
        summed.map_err(Error::internal)?;
        let mut patch = wa::SyncdPatch {
            version: MessageField::some(wa::SyncdVersion { version: Some(next) }),
            mutations: vec![mutation],
            key_id: MessageField::some(wa::KeyId { id: Some(KEY_ID.to_vec()) }),
            ..Default::default()
        };
        patch.snapshot_mac = Some(state.generate_snapshot_mac(name, &keys.snapshot_mac));
        patch.patch_mac = Some(generate_patch_mac(&patch, name, &keys.patch_mac, next));
        self.take_own_patch(number, name, &patch.encode_to_vec()).map_err(refused)
    }
}

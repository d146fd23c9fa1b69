//! Receiving: decrypts, shows, and answers with receipts.

use buffa::Message as _;
use tracing::debug;
use wacore_binary::{Jid, Node};
use waproto::whatsapp as wa;
use waproto::whatsapp::message::protocol_message;

use super::content::describe;
use super::has_many;
use crate::domain::clock::Time;
use crate::sandbox::keys::Blob;
use crate::sandbox::server::World;
use crate::sandbox::server::account::Place;
use crate::sandbox::wire::node::{attr, bytes, el, jid};
use crate::sandbox::{Direction, MessageState, PhoneMessage};

/// Where a message came from.
pub(super) struct Origin {
    /// The address that answers go to: a device, or a group.
    pub(super) chat: Jid,
    /// The device that wrote it.
    pub(super) sender: Place,
    /// Its address.
    pub(super) sender_jid: Jid,
}

impl Origin {
    /// The chat's name in the phone's rows.
    pub(super) fn chat_name(&self) -> String {
        if has_many(&self.chat) { self.chat.to_string() } else { Jid::pn(self.sender.number.as_str()).to_string() }
    }
}

impl World {
    /// A stanza for a phone.
    pub(in crate::sandbox) fn phone_receives(&mut self, number: &str, stanza: &Node) {
        match stanza.tag.as_ref() {
            "message" => self.phone_gets_message(number, stanza),
            "receipt" => self.phone_gets_receipt(number, stanza),
            "call" => self.phone_gets_call(number, stanza),
            // A phone takes device lists and groups fresh from the server, so it needs no notice of changes.
            _ => {}
        }
    }

    fn phone_gets_message(&mut self, number: &str, stanza: &Node) {
        let Some(chat) = jid(stanza, "from") else { return };
        let sender_jid = if has_many(&chat) { jid(stanza, "participant") } else { Some(chat.clone()) };
        let Some(sender_jid) = sender_jid else { return };
        let Some(sender) = self.place_of(&sender_jid) else { return };
        let origin = Origin { chat, sender, sender_jid };
        for part in stanza.get_children_by_tag("enc") {
            let kind = attr(part, "type");
            let opened = match kind.as_str() {
                "skmsg" => self.group_decrypt(number, &origin.chat, &origin.sender, &bytes(part)),
                kind => self.decrypt(number, &origin.sender, kind, &bytes(part)),
            };
            match opened {
                Ok(plain) => match wa::Message::decode_from_slice(&plain) {
                    Ok(content) => self.phone_reads(number, &origin, stanza, content),
                    Err(error) => debug!(%error, "a plaintext that is no message"),
                },
                Err(error) => {
                    debug!(%error, "the phone cannot decrypt");
                    // One request brings the whole message.
                    return self.phone_cannot_read(number, &origin, stanza);
                }
            }
        }
    }

    fn phone_reads(&mut self, number: &str, origin: &Origin, stanza: &Node, content: wa::Message) {
        let id = attr(stanza, "id");
        let now = self.ambient.now();
        if content.sender_key_distribution_message.is_set() && has_many(&origin.chat) {
            self.phone_takes_key(number, &origin.chat, &origin.sender, &content);
        }
        if origin.sender.number == number {
            return self.phone_reads_own(number, origin, &id, now, content);
        }
        // A key alone is no message: the ciphertext for all comes behind it.
        let Some(shown) = describe(&content) else {
            if !content.sender_key_distribution_message.is_set() {
                self.phone_sends_receipt(number, origin, &id, None);
            }
            return;
        };
        self.phone_sends_receipt(number, origin, &id, None);
        let auto_read = self.accounts.get(number).is_some_and(|account| account.auto_read);
        let row = PhoneMessage {
            id: id.clone(),
            chat: origin.chat_name(),
            sender: Jid::pn(origin.sender.number.as_str()).to_string(),
            direction: Direction::In,
            state: MessageState::Received,
            timestamp: sent_at(stanza, now),
            delivered_at: Some(now),
            read_at: auto_read.then_some(now),
            ..PhoneMessage::default()
        };
        self.phone_shows(number, row, shown, Some(Blob(content.encode_to_vec())));
        if auto_read {
            self.phone_sends_receipt(number, origin, &id, Some("read"));
        }
    }

    /// From an own device: a copy of what it sent, or a wish.
    fn phone_reads_own(&mut self, number: &str, origin: &Origin, id: &str, now: Time, mut content: wa::Message) {
        let own_wish = content.protocol_message.as_option().filter(|_| !has_many(&origin.chat));
        if let Some(protocol) = own_wish.filter(|protocol| protocol.r#type != Some(protocol_message::Type::REVOKE)) {
            if protocol.r#type == Some(protocol_message::Type::APP_STATE_SYNC_KEY_REQUEST) {
                self.share_app_state_key(&origin.sender);
            }
            return self.phone_sends_receipt(number, origin, id, Some("peer_msg"));
        }
        self.phone_sends_receipt(number, origin, id, Some("sender"));
        // What went to somebody else is wrapped; a note to oneself, and what a whole group got, is not.
        let (chat, content) = match content.device_sent_message.take() {
            Some(mut sent) => {
                let mut inner = sent.message.take();
                // A poll's secret may stand outside.
                if let Some(inner) = inner.as_mut().filter(|inner| inner.message_context_info.is_unset()) {
                    inner.message_context_info = std::mem::take(&mut content.message_context_info);
                }
                (sent.destination_jid.and_then(|chat| chat.parse::<Jid>().ok()), inner)
            }
            None if has_many(&origin.chat) => (Some(origin.chat.clone()), Some(content)),
            None => (Some(Jid::pn(number)), Some(content)),
        };
        if let (Some(chat), Some(content)) = (&chat, content.as_ref())
            && has_many(chat)
        {
            self.phone_takes_key(number, chat, &origin.sender, content);
        }
        let Some(content) = content else { return };
        let Some(shown) = describe(&content) else { return };
        let chat = match chat {
            Some(chat) if has_many(&chat) => Some(chat.to_string()),
            Some(chat) => self.number_of(&chat).map(|peer| Jid::pn(peer).to_string()),
            None => None,
        };
        let Some(chat) = chat else { return };
        let row = PhoneMessage {
            id: id.to_owned(),
            chat,
            sender: Jid::pn(number).to_string(),
            direction: Direction::Out,
            state: MessageState::Sent,
            timestamp: now,
            ..PhoneMessage::default()
        };
        self.phone_shows(number, row, shown, Some(Blob(content.encode_to_vec())));
    }

    fn phone_gets_receipt(&mut self, number: &str, stanza: &Node) {
        let Some(chat) = jid(stanza, "from") else { return };
        let reader = if has_many(&chat) { jid(stanza, "participant") } else { Some(chat.clone()) };
        let Some(from) = reader.and_then(|reader| self.place_of(&reader)) else { return };
        let state = match attr(stanza, "type").as_str() {
            "" | "inactive" => MessageState::Delivered,
            "read" => MessageState::Read,
            "played" => MessageState::Played,
            "retry" => return self.phone_is_asked_again(number, &from, stanza),
            _ => return,
        };
        let chat = if has_many(&chat) { chat.to_string() } else { Jid::pn(from.number.as_str()).to_string() };
        let now = self.ambient.now();
        for id in Self::receipt_ids(stanza) {
            self.advance_message(number, &chat, &id, state, now);
        }
    }

    /// Tells a message's author: delivered (no kind), read, and so on.
    pub(super) fn phone_sends_receipt(&mut self, number: &str, origin: &Origin, id: &str, kind: Option<&'static str>) {
        let mut receipt = el("receipt").attr("id", id.to_owned());
        if has_many(&origin.chat) {
            receipt = receipt.attr("participant", origin.sender_jid.clone());
        }
        let from = Place { number: number.to_owned(), device: 0 };
        let kind = self.receipt_kind(number, has_many(&origin.chat), kind.unwrap_or_default());
        self.relay_receipt(&from, &origin.chat, kind, &receipt.build());
    }
}

/// When the sender's server took the message.
fn sent_at(stanza: &Node, now: Time) -> Time {
    attr(stanza, "t").parse().map_or(now, Time::from_secs)
}

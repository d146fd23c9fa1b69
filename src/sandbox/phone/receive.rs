//! Receiving: decrypts, shows, and answers with receipts.

use buffa::Message as _;
use tracing::debug;
use wacore_binary::{Jid, Node};
use waproto::whatsapp as wa;
use waproto::whatsapp::message::protocol_message;

use crate::domain::clock::Time;
use crate::sandbox::server::World;
use crate::sandbox::server::account::Place;
use crate::sandbox::wire::node::{attr, bytes, el, jid};
use crate::sandbox::{Direction, MessageState, PhoneMessage};

impl World {
    /// A stanza for a phone.
    pub(in crate::sandbox) fn phone_receives(&mut self, number: &str, stanza: &Node) {
        match stanza.tag.as_ref() {
            "message" => self.phone_gets_message(number, stanza),
            "receipt" => self.phone_gets_receipt(number, stanza),
            // A phone takes device lists fresh from the server, so it needs no notice of changes.
            _ => {}
        }
    }

    fn phone_gets_message(&mut self, number: &str, stanza: &Node) {
        let Some(sender_jid) = jid(stanza, "from") else { return };
        let Some(sender) = self.place_of(&sender_jid) else { return };
        for part in stanza.get_children_by_tag("enc") {
            match self.decrypt(number, &sender, &attr(part, "type"), &bytes(part)) {
                Ok(plain) => match wa::Message::decode_from_slice(&plain) {
                    Ok(content) => self.phone_reads(number, &sender, &sender_jid, stanza, content),
                    Err(error) => debug!(%error, "a plaintext that is no message"),
                },
                Err(error) => {
                    debug!(%error, "the phone cannot decrypt");
                    self.phone_cannot_read(number, &sender, &sender_jid, stanza);
                }
            }
        }
    }

    fn phone_reads(&mut self, number: &str, sender: &Place, sender_jid: &Jid, stanza: &Node, content: wa::Message) {
        let id = attr(stanza, "id");
        let now = self.ambient.now();
        if sender.number == number {
            return self.phone_reads_own(number, sender, sender_jid, &id, now, content);
        }
        self.phone_sends_receipt(number, sender_jid, &id, None);
        let Some(text) = shown_text(&content) else { return };
        let auto_read = self.accounts.get(number).is_some_and(|account| account.auto_read);
        let row = PhoneMessage {
            id: id.clone(),
            chat: Jid::pn(sender.number.as_str()).to_string(),
            direction: Direction::In,
            text,
            state: MessageState::Received,
            timestamp: sent_at(stanza, now),
            delivered_at: Some(now),
            read_at: auto_read.then_some(now),
            arrivals: 1,
        };
        self.store_message(number, row, None);
        if auto_read {
            self.phone_sends_receipt(number, sender_jid, &id, Some("read"));
        }
    }

    /// From an own device: a copy of what it sent, or a wish.
    fn phone_reads_own(&mut self, number: &str, sender: &Place, sender_jid: &Jid, id: &str, now: Time, mut content: wa::Message) {
        if let Some(protocol) = content.protocol_message.as_option() {
            if protocol.r#type == Some(protocol_message::Type::APP_STATE_SYNC_KEY_REQUEST) {
                self.share_app_state_key(sender);
            }
            return self.phone_sends_receipt(number, sender_jid, id, Some("peer_msg"));
        }
        self.phone_sends_receipt(number, sender_jid, id, Some("sender"));
        // A note to oneself comes as it is; everything else is wrapped.
        let (chat, content) = match content.device_sent_message.take() {
            Some(sent) => (sent.destination_jid.and_then(|chat| chat.parse::<Jid>().ok()), sent.message.into_option()),
            None => (Some(Jid::pn(number)), Some(content)),
        };
        let Some(text) = content.as_ref().and_then(shown_text) else { return };
        let Some(peer) = chat.and_then(|chat| self.number_of(&chat)) else { return };
        let row = PhoneMessage {
            id: id.to_owned(),
            chat: Jid::pn(peer).to_string(),
            direction: Direction::Out,
            text,
            state: MessageState::Sent,
            timestamp: now,
            delivered_at: None,
            read_at: None,
            arrivals: 1,
        };
        self.store_message(number, row, None);
    }

    fn phone_gets_receipt(&mut self, number: &str, stanza: &Node) {
        let Some(from) = jid(stanza, "from").and_then(|from| self.place_of(&from)) else { return };
        let state = match attr(stanza, "type").as_str() {
            "" | "inactive" => MessageState::Delivered,
            "read" | "played" => MessageState::Read,
            "retry" => return self.phone_is_asked_again(number, &from, stanza),
            _ => return,
        };
        let (chat, now) = (Jid::pn(from.number.as_str()).to_string(), self.ambient.now());
        for id in Self::receipt_ids(stanza) {
            self.advance_message(number, &chat, &id, state, now);
        }
    }

    /// Tells a message's author: delivered (no kind), read, and so on.
    pub(super) fn phone_sends_receipt(&mut self, number: &str, to: &Jid, id: &str, kind: Option<&str>) {
        let receipt = el("receipt").attr("id", id.to_owned()).build();
        let from = Place { number: number.to_owned(), device: 0 };
        self.relay_receipt(&from, to, kind.unwrap_or_default(), &receipt);
    }
}

/// When the sender's server took the message.
fn sent_at(stanza: &Node, now: Time) -> Time {
    attr(stanza, "t").parse().map_or(now, Time::from_secs)
}

/// What a row shows; `None` for content that makes no row of its own.
fn shown_text(content: &wa::Message) -> Option<String> {
    let silent = content.protocol_message.is_set() || content.reaction_message.is_set() || content.poll_update_message.is_set();
    if silent {
        return None;
    }
    let extended = content.extended_text_message.as_option().and_then(|extended| extended.text.clone());
    Some(content.conversation.clone().or(extended).unwrap_or_default())
}

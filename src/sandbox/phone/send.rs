//! Sending: one encrypted copy for every device of the recipient and for every other device of the own account.

use buffa::{Message as _, MessageField};
use tracing::debug;
use wacore::messages::MessageUtils;
use wacore::send::{media_type_from_message, should_hide_decrypt_fail, stanza_type_from_message};
use wacore_binary::{Jid, JidExt as _, Node};
use waproto::whatsapp as wa;

use super::content::{describe, edit_of};
use super::{Chat, has_many};
use crate::error::{Code, Error, Result};
use crate::sandbox::draft::{Content, Draft};
use crate::sandbox::keys::{Blob, hex};
use crate::sandbox::server::World;
use crate::sandbox::server::account::Place;
use crate::sandbox::server::group_message::may_write;
use crate::sandbox::server::message::{Copy, Envelope};
use crate::sandbox::wire::node::el;
use crate::sandbox::{Direction, MessageState, PhoneMessage};

impl World {
    /// The phone sends what its owner wants. Gives the row that it shows, or that it changed.
    pub(in crate::sandbox) fn phone_sends_draft(&mut self, number: &str, to: &Chat, draft: &Draft) -> Result<PhoneMessage> {
        self.chat_jid(number, to)?;
        let content = match &draft.content {
            Content::Media(file) => self.file_message(number, to, draft, file)?,
            _ => self.compose(number, to, draft)?,
        };
        self.phone_sends(number, to, &content)
    }

    /// The phone sends something. Gives the row that it shows, or that it changed.
    pub(in crate::sandbox) fn phone_sends(&mut self, number: &str, to: &Chat, content: &wa::Message) -> Result<PhoneMessage> {
        self.in_hand(number)?;
        let chat = self.chat_jid(number, to)?;
        let shown = describe(content).ok_or_else(|| Error::field("content", "nothing that a person could send"))?;
        let id = self.message_id();
        let row = PhoneMessage {
            id: id.clone(),
            chat: to.name(),
            sender: Jid::pn(number).to_string(),
            direction: Direction::Out,
            state: MessageState::Sent,
            timestamp: self.ambient.now(),
            ..PhoneMessage::default()
        };
        let shown = self.phone_shows(number, row, shown, Some(Blob(content.encode_to_vec())));
        let envelope = envelope(id, chat, content);
        match to {
            Chat::Person(peer) => self.phone_sends_to_person(number, peer, &envelope, content),
            Chat::Group(id) => {
                let readers = self.group_devices(id);
                self.phone_sends_to_many(number, &envelope, content, &readers).map_err(|e| failed(&e))?;
            }
            Chat::Status(audience) => {
                let others = audience.iter().filter(|reader| !self.blocks(reader, number));
                let mut readers: Vec<Place> = others.flat_map(|reader| self.all_devices(reader)).collect();
                readers.extend(self.all_devices(number));
                self.phone_sends_to_many(number, &envelope, content, &readers).map_err(|e| failed(&e))?;
            }
        }
        Ok(shown)
    }

    /// The chat's address, if the phone may write there.
    pub(super) fn chat_jid(&self, number: &str, to: &Chat) -> Result<Jid> {
        match to {
            Chat::Person(peer) => {
                let peer = self.accounts.get(peer).ok_or_else(|| Error::not_found("recipient"))?;
                Ok(peer.jid(0, self.lid_addressing))
            }
            Chat::Group(id) => {
                let group = self.groups.get(id).ok_or_else(|| Error::not_found("recipient"))?;
                if !may_write(group, number) {
                    return Err(Error::new(Code::Conflict, "the phone may not write in this group").reason("not_a_member"));
                }
                Ok(group.jid())
            }
            Chat::Status(_) => Ok(Jid::status_broadcast()),
        }
    }

    fn phone_sends_to_person(&mut self, number: &str, peer: &str, envelope: &Envelope, content: &wa::Message) {
        let from = Place { number: number.to_owned(), device: 0 };
        let own_copy = device_sent(&envelope.chat, content);
        let mut copies = Vec::new();
        if peer != number {
            for place in self.all_devices(peer) {
                copies.extend(self.seal(&from, &place, content));
            }
        }
        for place in self.other_devices(&from) {
            copies.extend(self.seal(&from, &place, &own_copy));
        }
        self.distribute(&from, envelope, copies);
        self.phone_gives_token(number, peer);
    }

    /// Encrypts one copy; none for a device that has not published its keys yet.
    pub(super) fn seal(&mut self, from: &Place, to: &Place, content: &wa::Message) -> Option<Copy> {
        let padded = MessageUtils::encode_and_pad(content);
        let sealed = self.encrypt(&from.number, to, &padded);
        let (kind, bytes) = sealed.inspect_err(|error| debug!(device = to.device, %error, "no copy for a device")).ok()?;
        let account = self.accounts.get(&to.number)?;
        Some(Copy { to: account.jid(to.device, self.lid_addressing), encrypted: vec![enc(kind, bytes, 0, content)] })
    }

    /// A message that is for one own device only and is not shown.
    /// Gives its id; empty when the device has no keys.
    pub(super) fn send_peer_message(&mut self, to: &Place, content: &wa::Message) -> String {
        let padded = MessageUtils::encode_and_pad(content);
        let from = Place { number: to.number.clone(), device: 0 };
        let Ok((kind, bytes)) = self.encrypt(&to.number, to, &padded) else {
            debug!("no keys of an own device");
            return String::new();
        };
        let Some(account) = self.accounts.get(&to.number) else { return String::new() };
        let id = self.message_id();
        // Own devices know their phone by its number.
        let message = el("message")
            .attr("from", account.jid(from.device, false))
            .attr("id", id.clone())
            .attr("t", self.now_secs().to_string())
            .attr("type", "text")
            .attr("category", "peer")
            .children([enc(kind, bytes, 0, content)])
            .build();
        self.deliver(to, message);
        id
    }

    /// Encrypts a message once more for a device that could not read it, in a new session.
    pub(super) fn resend(&mut self, number: &str, to: &Place, id: &str, chat_of_row: &str, attempt: u32) {
        let Some(account) = self.accounts.get(number) else { return };
        let place = account.by_id.get(&(chat_of_row.to_owned(), id.to_owned()));
        let content = place.and_then(|place| account.messages.get(place));
        let Some(content) = content.filter(|row| row.shown.direction == Direction::Out).and_then(|row| row.content.clone())
        else {
            return;
        };
        let Ok(mut content) = wa::Message::decode_from_slice(&content.0) else { return };
        let Ok(named) = chat_of_row.parse::<Jid>() else { return };
        let group = has_many(&named);
        let peer = self.number_of(&named).and_then(|peer| self.accounts.get(&peer));
        let chat = if group { Some(named) } else { peer.map(|peer| peer.jid(0, self.lid_addressing)) };
        let Some(chat) = chat else { return };
        let envelope = envelope(id.to_owned(), chat.clone(), &content);
        let dressed = content.clone();
        if group {
            if chat.is_group() && !self.group_devices(&chat.user).contains(to) {
                return;
            }
            // With the key, so that the next one can be read.
            let name = Self::own_key_name(number, &chat);
            if let Ok(share) = self.key_share(number, &chat, &name) {
                content.sender_key_distribution_message = share.sender_key_distribution_message;
            }
        } else if to.number == number {
            content = device_sent(&chat, &content);
        }
        self.forget_session(number, to);
        let from = Place { number: number.to_owned(), device: 0 };
        let Ok((cipher, bytes)) = self.encrypt(number, to, &MessageUtils::encode_and_pad(&content)) else { return };
        let Some(jid) = self.accounts.get(&to.number).map(|account| account.jid(to.device, self.lid_addressing)) else { return };
        let encrypted = vec![enc(cipher, bytes, attempt, &dressed)];
        if group {
            self.deliver_in_group(&from, to, &envelope, encrypted);
        } else {
            self.distribute(&from, &envelope, vec![Copy { to: jid, encrypted }]);
        }
    }

    /// An id as phones make them.
    pub(super) fn message_id(&self) -> String {
        format!("3A{}", hex(&self.ambient.random::<9>()))
    }
}

fn failed(error: &super::signal::CipherError) -> Error {
    Error::internal(anyhow::anyhow!("encrypting for a group: {error}"))
}

/// A ciphertext, with what the server may know of its content.
pub(super) fn enc(kind: &'static str, bytes: Vec<u8>, attempt: u32, content: &wa::Message) -> Node {
    let mut node = el("enc").attr("v", "2").attr("type", kind);
    if let Some(media) = media_type_from_message(content) {
        node = node.attr("mediatype", media);
    }
    if should_hide_decrypt_fail(content) {
        node = node.attr("decrypt-fail", "hide");
    }
    if attempt > 0 {
        node = node.attr("count", attempt.to_string());
    }
    node.bytes(bytes).build()
}

/// What all copies of a message share.
fn envelope(id: String, chat: Jid, content: &wa::Message) -> Envelope {
    let extra = edit_of(content).map(|edit| ("edit", edit.to_owned())).into_iter().collect();
    let kind = stanza_type_from_message(content).to_owned();
    let poll = match kind.as_str() {
        "poll" if content.poll_update_message.is_set() => Some("vote"),
        "poll" => Some("creation"),
        _ => None,
    };
    let meta = poll.map(|poll| el("meta").attr("polltype", poll).build()).into_iter().collect();
    Envelope { id, chat, kind, extra, identity: None, meta }
}

/// The copy of a sent message for the sender's own other devices.
fn device_sent(chat: &Jid, content: &wa::Message) -> wa::Message {
    let sent = wa::message::DeviceSentMessage {
        destination_jid: Some(chat.to_non_ad_string()),
        message: MessageField::some(content.clone()),
        ..Default::default()
    };
    wa::Message { device_sent_message: MessageField::some(sent), ..Default::default() }
}

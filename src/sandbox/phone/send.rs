//! Sending: one encrypted copy for every device of the recipient and for every other device of the own account.

use buffa::{Message as _, MessageField};
use tracing::debug;
use wacore::messages::MessageUtils;
use wacore_binary::{Jid, Node};
use waproto::whatsapp as wa;

use crate::error::{Error, Result};
use crate::sandbox::keys::{Blob, hex};
use crate::sandbox::server::World;
use crate::sandbox::server::account::Place;
use crate::sandbox::server::message::{Copy, Envelope};
use crate::sandbox::wire::node::el;
use crate::sandbox::{Direction, MessageState, PhoneMessage};

impl World {
    /// The phone sends a text. Gives the row that it shows.
    pub(in crate::sandbox) fn phone_sends_text(&mut self, number: &str, to: &str, text: &str) -> Result<PhoneMessage> {
        self.known(number)?;
        let recipient = self.accounts.get(to).ok_or_else(|| Error::not_found("recipient"))?;
        let chat = recipient.jid(0, self.lid_addressing);
        let content = wa::Message { conversation: Some(text.to_owned()), ..Default::default() };
        let id = self.message_id();
        let row = PhoneMessage {
            id: id.clone(),
            chat: Jid::pn(to).to_string(),
            direction: Direction::Out,
            text: text.to_owned(),
            state: MessageState::Sent,
            timestamp: self.ambient.now(),
            delivered_at: None,
            read_at: None,
            arrivals: 1,
        };
        self.store_message(number, row.clone(), Some(Blob(content.encode_to_vec())));
        let from = Place { number: number.to_owned(), device: 0 };
        let own_copy = device_sent(&chat, &content);
        let mut copies = Vec::new();
        if to != number {
            for place in self.all_devices(to) {
                copies.extend(self.seal(&from, &place, &content));
            }
        }
        for place in self.other_devices(&from) {
            copies.extend(self.seal(&from, &place, &own_copy));
        }
        let envelope = Envelope { id, chat, kind: "text".to_owned(), extra: Vec::new(), identity: None };
        self.distribute(&from, &envelope, copies);
        Ok(row)
    }

    /// Encrypts one copy; none for a device that has not published its keys yet.
    fn seal(&mut self, from: &Place, to: &Place, content: &wa::Message) -> Option<Copy> {
        let padded = MessageUtils::encode_and_pad(content);
        let sealed = self.encrypt(&from.number, to, &padded);
        let (kind, bytes) = sealed.inspect_err(|error| debug!(device = to.device, %error, "no copy for a device")).ok()?;
        let account = self.accounts.get(&to.number)?;
        Some(Copy { to: account.jid(to.device, self.lid_addressing), encrypted: vec![enc(kind, bytes, 0)] })
    }

    /// A message that is for one own device only and is not shown.
    pub(super) fn send_peer_message(&mut self, to: &Place, content: &wa::Message) {
        let padded = MessageUtils::encode_and_pad(content);
        let from = Place { number: to.number.clone(), device: 0 };
        let Ok((kind, bytes)) = self.encrypt(&to.number, to, &padded) else { return debug!("no keys of an own device") };
        let Some(account) = self.accounts.get(&to.number) else { return };
        // Own devices know their phone by its number.
        let message = el("message")
            .attr("from", account.jid(from.device, false))
            .attr("id", self.message_id())
            .attr("t", self.now_secs().to_string())
            .attr("type", "text")
            .attr("category", "peer")
            .children([enc(kind, bytes, 0)])
            .build();
        self.deliver(to, message);
    }

    /// Encrypts a message once more for a device that could not read it, in a new session.
    pub(super) fn resend(&mut self, number: &str, to: &Place, id: &str, chat_of_row: &str, attempt: u32) {
        let Some(account) = self.accounts.get(number) else { return };
        let place = account.by_id.get(&(chat_of_row.to_owned(), id.to_owned()));
        let Some(content) = place.and_then(|place| account.messages.get(place)).and_then(|row| row.content.clone()) else {
            return;
        };
        let Ok(content) = wa::Message::decode_from_slice(&content.0) else { return };
        let Some(peer) = chat_of_row.parse::<Jid>().ok().and_then(|jid| self.number_of(&jid)) else { return };
        let Some(chat) = self.accounts.get(&peer).map(|peer| peer.jid(0, self.lid_addressing)) else { return };
        let own = to.number == number;
        let content = if own { device_sent(&chat, &content) } else { content };
        self.forget_session(number, to);
        let from = Place { number: number.to_owned(), device: 0 };
        let Ok((kind, bytes)) = self.encrypt(number, to, &MessageUtils::encode_and_pad(&content)) else { return };
        let Some(jid) = self.accounts.get(&to.number).map(|account| account.jid(to.device, self.lid_addressing)) else { return };
        let copy = Copy { to: jid, encrypted: vec![enc(kind, bytes, attempt)] };
        let envelope = Envelope { id: id.to_owned(), chat, kind: "text".to_owned(), extra: Vec::new(), identity: None };
        self.distribute(&from, &envelope, vec![copy]);
    }

    /// An id as phones make them.
    fn message_id(&self) -> String {
        format!("3A{}", hex(&self.ambient.random::<9>()))
    }
}

fn enc(kind: &'static str, bytes: Vec<u8>, attempt: u32) -> Node {
    let node = el("enc").attr("v", "2").attr("type", kind);
    let node = if attempt > 0 { node.attr("count", attempt.to_string()) } else { node };
    node.bytes(bytes).build()
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

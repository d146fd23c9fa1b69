//! When a message could not be decrypted: asking the sender again, and being asked.

use wacore_binary::{Jid, Node};

use super::has_many;
use super::receive::Origin;
use crate::sandbox::journal::Key;
use crate::sandbox::server::World;
use crate::sandbox::server::account::Place;
use crate::sandbox::wire::node::{attr, el, jid};
use crate::sandbox::{Direction, MessageState, PhoneMessage};

/// How often one message is asked for again.
const MAX_ATTEMPTS: u32 = 5;

impl World {
    /// Shows the message as undecryptable and asks its sender for it once more, with fresh keys from the second time on.
    pub(super) fn phone_cannot_read(&mut self, number: &str, origin: &Origin, stanza: &Node) {
        let sender = &origin.sender;
        let id = attr(stanza, "id");
        let encs = stanza.get_children_by_tag("enc").map(|enc| attr(enc, "count").parse::<u32>().unwrap_or(0));
        let attempt = encs.max().unwrap_or(0) + 1;
        let own = sender.number == number;
        let chat = if own && !has_many(&origin.chat) {
            let recipient = jid(stanza, "recipient").and_then(|chat| self.number_of(&chat));
            recipient.map(|recipient| Jid::pn(recipient).to_string())
        } else {
            Some(origin.chat_name())
        };
        let known = |world: &Self, chat: &String| {
            let name = (chat.clone(), id.clone());
            world.accounts.get(number).is_some_and(|account| account.by_id.contains_key(&name))
        };
        let now = self.ambient.now();
        let Some(chat) = chat else { return };
        if !known(self, &chat) {
            let row = PhoneMessage {
                id: id.clone(),
                chat,
                sender: Jid::pn(sender.number.as_str()).to_string(),
                direction: if own { Direction::Out } else { Direction::In },
                state: MessageState::Undecryptable,
                timestamp: now,
                ..PhoneMessage::default()
            };
            self.store_message(number, row, None);
        } else if self.count_readable(number, &chat, &id) {
            let kind = own.then_some("sender");
            return self.phone_sends_receipt(number, origin, &id, kind);
        }
        if attempt > MAX_ATTEMPTS {
            return;
        }
        let Some(account) = self.accounts.get(number) else { return };
        let retry = el("retry")
            .attr("v", "1")
            .attr("id", id.clone())
            .attr("t", attr(stanza, "t"))
            .attr("count", attempt.to_string())
            .build();
        let registration = el("registration").bytes(account.registration_id.to_be_bytes().to_vec()).build();
        let mut children = vec![retry, registration];
        let phone = Place { number: number.to_owned(), device: 0 };
        // The sender's session is of no use: give it what it needs for a new one.
        children.extend(self.take_offer(&phone).map(crate::sandbox::server::prekeys::Offer::retry_keys));
        let mut receipt = el("receipt").attr("id", id).attr("type", "retry");
        if let Some(recipient) = jid(stanza, "recipient") {
            receipt = receipt.attr("recipient", recipient);
        }
        if has_many(&origin.chat) {
            receipt = receipt.attr("participant", origin.sender_jid.clone());
        }
        self.relay_receipt(&phone, &origin.chat, "retry", &receipt.children(children).build());
    }

    /// Counts one more arrival of a message that the phone has read: a ciphertext that came twice opens only once.
    fn count_readable(&mut self, number: &str, chat: &str, id: &str) -> bool {
        let name = (chat.to_owned(), id.to_owned());
        let Some(account) = self.accounts.get_mut(number) else { return false };
        let Some(place) = account.by_id.get(&name).copied() else { return false };
        let row = account.messages.get_mut(&place).filter(|row| row.shown.state != MessageState::Undecryptable);
        let Some(row) = row else { return false };
        row.shown.arrivals += 1;
        self.touch(Key::Message(number.to_owned(), place));
        true
    }

    /// A device could not read what the phone sent.
    pub(super) fn phone_is_asked_again(&mut self, number: &str, device: &Place, stanza: &Node) {
        let Some(retry) = stanza.get_optional_child("retry") else { return };
        let attempt = attr(retry, "count").parse().unwrap_or(1);
        if attempt > MAX_ATTEMPTS {
            return;
        }
        let id = attr(retry, "id");
        // An own device asks for its copy of what was sent to somebody else.
        let recipient = jid(stanza, "recipient").and_then(|recipient| self.number_of(&recipient));
        let peer = recipient.unwrap_or_else(|| device.number.clone());
        let group = jid(stanza, "from").filter(has_many).map(|group| group.to_string());
        let chat = group.unwrap_or_else(|| Jid::pn(peer).to_string());
        self.resend(number, device, &id, &chat, attempt);
    }
}

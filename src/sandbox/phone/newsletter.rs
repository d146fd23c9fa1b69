//! Channels on phones: what comes is shown, and what the phone writes goes out as it is.

use std::collections::BTreeMap;

use buffa::Message as _;
use wacore_binary::{Jid, Node};
use waproto::whatsapp as wa;

use super::content::describe;
use crate::domain::clock::Time;
use crate::error::{Error, Result};
use crate::sandbox::keys::Blob;
use crate::sandbox::server::World;
use crate::sandbox::server::account::Place;
use crate::sandbox::server::newsletter::Post;
use crate::sandbox::wire::node::{attr, child_bytes};
use crate::sandbox::{Direction, MessageState, PhoneMessage};

impl World {
    /// A post that came to a phone: a new row, or a change of one.
    pub(super) fn phone_reads_post(&mut self, number: &str, channel: &Jid, stanza: &Node) {
        let plain = child_bytes(stanza, "plaintext").unwrap_or_default();
        let Ok(content) = wa::Message::decode_from_slice(&plain) else { return };
        let now = self.ambient.now();
        let (id, chat, edit) = (attr(stanza, "id"), channel.to_string(), attr(stanza, "edit"));
        let shown = describe(&content);
        if !edit.is_empty() {
            let place = self.accounts.get(number).and_then(|account| account.by_id.get(&(chat, id)).copied());
            let account = self.accounts.get_mut(number);
            let Some((place, row)) = place.and_then(|place| Some((place, account?.messages.get_mut(&place)?))) else { return };
            match shown.filter(|_| edit != "8") {
                Some(shown) => (row.shown.text, row.shown.edited) = (shown.row.text, true),
                None => (row.shown.text, row.shown.kind) = (String::new(), "revoked".to_owned()),
            }
            self.touch(crate::sandbox::journal::Key::Message(number.to_owned(), place));
            return;
        }
        let Some(shown) = shown else { return };
        let row = PhoneMessage {
            id,
            chat: chat.clone(),
            sender: chat,
            direction: if attr(stanza, "is_sender") == "true" { Direction::Out } else { Direction::In },
            state: MessageState::Received,
            timestamp: attr(stanza, "t").parse().map_or(now, Time::from_secs),
            delivered_at: Some(now),
            ..PhoneMessage::default()
        };
        self.phone_shows(number, row, shown, Some(Blob(plain)));
    }

    /// The phone's owner writes in a channel of his; gives the post's number.
    pub(in crate::sandbox) fn phone_posts(&mut self, number: &str, channel: &str, content: &wa::Message) -> Result<u64> {
        if describe(content).is_none() {
            return Err(Error::field("text", "nothing that a person could post"));
        }
        let media = wacore::send::media_type_from_message(content).map(str::to_owned);
        let post = Post {
            id: self.message_id(),
            at: self.now_secs(),
            kind: wacore::send::stanza_type_from_message(content).to_owned(),
            media,
            content: Blob(content.encode_to_vec()),
            edited: None,
            reactions: BTreeMap::new(),
        };
        self.post(channel, &Place { number: number.to_owned(), device: 0 }, post)
    }
}

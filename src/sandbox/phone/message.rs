//! What a phone shows: one row per message, however often it arrived.

use serde::{Deserialize, Serialize};

use crate::domain::clock::Time;
use crate::sandbox::journal::Key;
use crate::sandbox::keys::Blob;
use crate::sandbox::server::World;
use crate::sandbox::{Direction, MessageState, PhoneMessage};

/// More than this and the oldest is forgotten.
const MAX_MESSAGES: usize = 10_000;

/// A message as the phone keeps it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::sandbox) struct Stored {
    /// What is shown.
    pub(in crate::sandbox) shown: PhoneMessage,
    /// The content that the phone itself sent, encoded, to answer requests for a resend.
    pub(in crate::sandbox) content: Option<Blob>,
}

impl World {
    /// Adds a row, or counts one more arrival of it. A copy that could be read replaces one that could not.
    pub(super) fn store_message(&mut self, number: &str, message: PhoneMessage, content: Option<Blob>) {
        let Some(account) = self.accounts.get_mut(number) else { return };
        let name = (message.chat.clone(), message.id.clone());
        let known = account.by_id.get(&name).copied();
        let mut dropped = None;
        let place = if let Some((place, row)) = known.and_then(|place| Some((place, account.messages.get_mut(&place)?))) {
            if row.shown.state == MessageState::Undecryptable && message.state != MessageState::Undecryptable {
                let first_seen = row.shown.timestamp;
                row.shown = PhoneMessage { timestamp: first_seen, arrivals: row.shown.arrivals, ..message };
            } else if message.state != MessageState::Undecryptable {
                row.shown.arrivals += 1;
            }
            place
        } else {
            let place = account.next_message;
            account.next_message += 1;
            account.messages.insert(place, Stored { shown: message, content });
            account.by_id.insert(name, place);
            if account.messages.len() > MAX_MESSAGES
                && let Some((old, row)) = account.messages.pop_first()
            {
                account.by_id.remove(&(row.shown.chat, row.shown.id));
                dropped = Some(old);
            }
            place
        };
        self.touch(Key::Message(number.to_owned(), place));
        if let Some(old) = dropped {
            self.touch(Key::Message(number.to_owned(), old));
        }
    }

    /// Moves a sent message forward: sent, delivered, read; never back.
    pub(super) fn advance_message(&mut self, number: &str, chat: &str, id: &str, state: MessageState, at: Time) {
        let Some(account) = self.accounts.get_mut(number) else { return };
        let Some(place) = account.by_id.get(&(chat.to_owned(), id.to_owned())).copied() else { return };
        let Some(row) = account.messages.get_mut(&place) else { return };
        if row.shown.direction != Direction::Out || row.shown.state >= state {
            return;
        }
        row.shown.state = state;
        row.shown.delivered_at.get_or_insert(at);
        if state == MessageState::Read {
            row.shown.read_at = Some(at);
        }
        self.touch(Key::Message(number.to_owned(), place));
    }
}

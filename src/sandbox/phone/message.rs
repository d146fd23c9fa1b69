//! What a phone shows: one row per message, however often it arrived.

use serde::{Deserialize, Serialize};

use super::content::{Effect, Shown};
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
    /// The content, encoded: for a resend of what the phone sent, for the history that a new device gets, and for files that expired.
    pub(in crate::sandbox) content: Option<Blob>,
}

impl World {
    /// Shows something: a row of its own, or a change of another one. Gives the row that it shows or changed.
    pub(super) fn phone_shows(
        &mut self,
        number: &str,
        mut row: PhoneMessage,
        shown: Shown,
        content: Option<Blob>,
    ) -> PhoneMessage {
        let Shown { effect, kind, text, target, view_once, expires } = shown;
        if effect == Effect::Row {
            row = PhoneMessage { kind: kind.to_owned(), text, target, view_once, expires, ..row };
            self.store_message(number, row.clone(), content);
            return row;
        }
        let name = (row.chat.clone(), target.clone().unwrap_or_default());
        let Some(account) = self.accounts.get_mut(number) else { return row };
        let place = account.by_id.get(&name).copied();
        let changed = place.and_then(|place| account.messages.get_mut(&place));
        // Only its author changes a message.
        let Some(changed) = changed.filter(|changed| changed.shown.sender == row.sender) else { return row };
        if effect == Effect::Edit {
            (changed.shown.text, changed.shown.edited) = (text, true);
        } else {
            (changed.shown.text, changed.shown.kind) = (String::new(), "revoked".to_owned());
        }
        let row = changed.shown.clone();
        if let Some(place) = place {
            self.touch(Key::Message(number.to_owned(), place));
        }
        row
    }

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

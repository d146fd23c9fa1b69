//! What a phone shows: one row per message, however often it arrived.

use serde::{Deserialize, Serialize};

use super::Chat;
use super::content::{Effect, Shown};
use crate::domain::clock::Time;
use crate::sandbox::journal::Key;
use crate::sandbox::keys::Blob;
use crate::sandbox::seen::Reaction;
use crate::sandbox::server::World;
use crate::sandbox::{Direction, MessageState, PhoneMessage};

/// More than this and the oldest is forgotten.
pub(super) const MAX_MESSAGES: usize = 10_000;

/// A message as the phone keeps it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::sandbox) struct Stored {
    /// What is shown.
    pub(in crate::sandbox) shown: PhoneMessage,
    /// The content, encoded: to send it again, to quote it, to open the votes of a poll, for the files and the history of a new device.
    pub(in crate::sandbox) content: Option<Blob>,
}

impl World {
    /// Shows something: a row of its own, or a change of another one. Gives the row that it shows or changed.
    pub(super) fn phone_shows(&mut self, number: &str, row: PhoneMessage, shown: Shown, content: Option<Blob>) -> PhoneMessage {
        let Shown { effect, row: said } = shown;
        let mut row = row.saying(said);
        match effect {
            Effect::Row => {}
            Effect::React => self.phone_shows_reaction(number, &row),
            Effect::Vote(sealed) => {
                // What cannot be opened is a vote in a poll that the phone does not know.
                let Some(chosen) = self.open_vote(number, &row, &sealed) else { return row };
                row.text = chosen.join(", ");
                self.phone_counts_vote(number, &row, &chosen);
            }
            Effect::Edit | Effect::Revoke => return self.phone_changes(number, row, &effect),
        }
        self.store_message(number, row.clone(), content);
        row
    }

    /// An edit, or a message taken back. Only its author changes a message, and a group's admins take back what others wrote.
    fn phone_changes(&mut self, number: &str, change: PhoneMessage, effect: &Effect) -> PhoneMessage {
        let author = change.sender.split('@').next().unwrap_or_default();
        let group = change.chat.split_once('@').filter(|(_, server)| *server == "g.us");
        let admin =
            *effect == Effect::Revoke && group.is_some_and(|(id, _)| self.may_revoke(author, &Chat::Group(id.to_owned())));
        let sender = change.sender.clone();
        let changed = self.change_target(number, &change, |row| {
            let may = admin || row.sender == sender;
            match effect {
                Effect::Edit if may => (row.text, row.edited) = (change.text.clone(), true),
                Effect::Revoke if may => {
                    let empty = PhoneMessage { kind: "revoked".to_owned(), ..PhoneMessage::default() };
                    *row = row.clone().saying(empty);
                }
                _ => return false,
            }
            true
        });
        changed.unwrap_or(change)
    }

    fn phone_shows_reaction(&mut self, number: &str, reaction: &PhoneMessage) {
        self.change_target(number, reaction, |row| {
            row.reactions.retain(|other| other.sender != reaction.sender);
            if !reaction.text.is_empty() {
                row.reactions.push(Reaction { sender: reaction.sender.clone(), emoji: reaction.text.clone() });
            }
            true
        });
    }

    /// A vote replaces the earlier one of the same person.
    fn phone_counts_vote(&mut self, number: &str, vote: &PhoneMessage, chosen: &[String]) {
        self.change_target(number, vote, |row| {
            let Some(poll) = &mut row.poll else { return false };
            for option in &mut poll.options {
                option.voters.retain(|voter| *voter != vote.sender);
                if chosen.contains(&option.name) {
                    option.voters.push(vote.sender.clone());
                }
            }
            true
        });
    }

    /// Changes the row that a message speaks of; gives it when `change` says that it did something.
    fn change_target(
        &mut self,
        number: &str,
        about: &PhoneMessage,
        change: impl FnOnce(&mut PhoneMessage) -> bool,
    ) -> Option<PhoneMessage> {
        let account = self.accounts.get_mut(number)?;
        let place = *account.by_id.get(&(about.chat.clone(), about.target.clone()?))?;
        let row = &mut account.messages.get_mut(&place)?.shown;
        if !change(row) {
            return None;
        }
        let row = row.clone();
        self.touch(Key::Message(number.to_owned(), place));
        Some(row)
    }

    /// Adds a row, or counts one more arrival of it. A copy that could be read replaces one that could not.
    pub(super) fn store_message(&mut self, number: &str, message: PhoneMessage, content: Option<Blob>) {
        let Some(account) = self.accounts.get_mut(number) else { return };
        let name = (message.chat.clone(), message.id.clone());
        let known = account.by_id.get(&name).copied();
        let (mut dropped, mut fresh) = (None, None);
        let place = if let Some((place, row)) = known.and_then(|place| Some((place, account.messages.get_mut(&place)?))) {
            if row.shown.state == MessageState::Undecryptable && message.state != MessageState::Undecryptable {
                let first_seen = row.shown.timestamp;
                row.content = content;
                row.shown = PhoneMessage { timestamp: first_seen, arrivals: row.shown.arrivals, ..message };
            } else if message.state != MessageState::Undecryptable {
                row.shown.arrivals += 1;
            }
            place
        } else {
            let place = account.next_message;
            account.next_message += 1;
            account.messages.insert(place, Stored { shown: message.clone(), content });
            fresh = Some(message);
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
        if let Some(row) = fresh {
            self.see_message(number, &row);
        }
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
        if state >= MessageState::Read {
            row.shown.read_at.get_or_insert(at);
        }
        self.touch(Key::Message(number.to_owned(), place));
    }
}

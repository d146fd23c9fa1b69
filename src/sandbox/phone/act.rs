//! What people do beside writing: reading, typing, being there, changing what others know of them.

use wacore_binary::Jid;

use super::receive::Origin;
use super::{Chat, has_many};
use crate::error::{Error, Result};
use crate::sandbox::journal::Key;
use crate::sandbox::keys::{Blob, Secret};
use crate::sandbox::server::World;
use crate::sandbox::server::account::Place;
use crate::sandbox::wire::node::el;
use crate::sandbox::{Direction, PhoneMessage, Typing};

impl World {
    /// The phone's owner reads messages of a chat, or listens to them: those with these ids, or all that are unread. Gives the rows.
    pub(in crate::sandbox) fn phone_marks_read(
        &mut self,
        number: &str,
        chat: &Chat,
        ids: &[String],
        played: bool,
    ) -> Result<Vec<PhoneMessage>> {
        self.in_hand(number)?;
        let name = chat.name();
        let now = self.ambient.now();
        let chosen = |row: &PhoneMessage| {
            let of_chat = row.chat == name && row.direction == Direction::In && !row.kind.is_empty();
            of_chat && if ids.is_empty() { row.read_at.is_none() } else { ids.contains(&row.id) }
        };
        let account = self.accounts.get_mut(number).ok_or_else(|| Error::not_found("phone"))?;
        let mut read = Vec::new();
        for (place, row) in account.messages.iter_mut().filter(|(_, row)| chosen(&row.shown)) {
            row.shown.read_at.get_or_insert(now);
            read.push((*place, row.shown.clone()));
        }
        if let Some(missing) = ids.iter().find(|id| read.iter().all(|(_, row)| row.id != **id)) {
            return Err(Error::field("messageIds", format!("the chat has got no message {missing}")));
        }
        for (place, row) in &read {
            self.touch(Key::Message(number.to_owned(), *place));
            let author = self.author_jid(row);
            let Some(sender) = self.place_of(&author) else { continue };
            let chat = row.chat.parse::<Jid>().ok().filter(has_many).unwrap_or_else(|| author.clone());
            let origin = Origin { chat, sender, sender_jid: author };
            self.phone_sends_receipt(number, &origin, &row.id, Some(if played { "played" } else { "read" }));
        }
        Ok(read.into_iter().map(|(_, row)| row).collect())
    }

    /// What kind of receipt the phone sends: who does not tell others what they read tells only their own devices, in chats with one
    /// person; who is known to be away receives in silence.
    pub(super) fn receipt_kind(&self, number: &str, many: bool, kind: &'static str) -> &'static str {
        let Some(account) = self.accounts.get(number) else { return kind };
        let silent = !many && account.privacy.get("readreceipts").is_some_and(|who| who == "none");
        match kind {
            "read" if silent => "read-self",
            "played" if silent => "played-self",
            "" if account.presence == Some(false) => "inactive",
            kind => kind,
        }
    }

    /// The phone's owner types, records, or stops doing so. Nobody is told who is not there.
    pub(in crate::sandbox) fn phone_types(&mut self, number: &str, chat: &Chat, state: Typing) -> Result<()> {
        self.in_hand(number)?;
        let to = self.chat_jid(number, chat)?;
        let content = match state {
            Typing::Composing => el("composing").build(),
            Typing::Recording => el("composing").attr("media", "audio").build(),
            Typing::Paused => el("paused").build(),
        };
        self.relay_chatstate(&Place { number: number.to_owned(), device: 0 }, &to, &content);
        Ok(())
    }

    /// The phone is switched on or off. Off, it gets nothing, answers nothing and does nothing; what is for it waits, as for any device.
    pub(in crate::sandbox) fn phone_switches(&mut self, number: &str, on: bool) {
        let Some(account) = self.accounts.get_mut(number).filter(|account| account.off == on) else { return };
        account.off = !on;
        self.touch_account(number);
        if on {
            self.drain_phone(number);
        } else {
            self.phone_comes(number, false);
        }
    }

    /// The phone's owner comes or goes.
    pub(in crate::sandbox) fn phone_comes(&mut self, number: &str, here: bool) {
        let now = self.now_secs();
        let Some(account) = self.accounts.get_mut(number) else { return };
        if account.presence == Some(true) && !here {
            account.last_seen = now;
        }
        account.presence = Some(here);
        self.touch_account(number);
        self.presence_changed(number);
    }

    /// The phone is set up anew from a backup: the same account and messages, but a new identity, no linked devices, and no key of
    /// anybody. Those who know the account are told that its identity has changed.
    pub(in crate::sandbox) fn phone_reinstalls(&mut self, number: &str) -> Result<()> {
        self.known(number)?;
        self.unlink(number, 0)?;
        let (identity, signed_key) = (Secret::generate(&self.ambient), Secret::generate(&self.ambient));
        let signature = identity.0.calculate_signature(&signed_key.0.public_key.serialize(), &mut self.ambient.rng());
        let signature = signature.map_err(|error| Error::internal(anyhow::anyhow!("signing a prekey: {error}")))?;
        let registration_id = u32::from_be_bytes(self.ambient.random()) & 0x3fff;
        let raw_id = u32::from_be_bytes(self.ambient.random()) >> 1;
        let app_state_key = Blob(self.ambient.random::<32>().to_vec());
        let Some(account) = self.accounts.get_mut(number) else { return Ok(()) };
        let mut gone: Vec<Key> = Vec::new();
        gone.extend(std::mem::take(&mut account.sessions).into_keys().map(|name| Key::Session(number.to_owned(), name)));
        gone.extend(std::mem::take(&mut account.sender_keys).into_keys().map(|name| Key::Sender(number.to_owned(), name)));
        gone.extend(std::mem::take(&mut account.prekeys).into_keys().map(|id| Key::OneTime(number.to_owned(), id)));
        gone.extend(std::mem::take(&mut account.distributed).into_keys().map(|id| Key::Distributed(number.to_owned(), id)));
        gone.extend(std::mem::take(&mut account.app_state).into_keys().map(|name| Key::AppState(number.to_owned(), name)));
        (account.identity, account.signed_key) = (identity, signed_key);
        account.signed_key_signature = Blob(signature.to_vec());
        // Tokens are made of the key of the app state.
        account.trusts.clear();
        (account.registration_id, account.raw_id, account.app_state_key) = (registration_id, raw_id, app_state_key);
        let peers: Vec<String> = account.peers.iter().cloned().collect();
        for key in gone {
            self.touch(key);
        }
        self.touch_account(number);
        // Other phones see a new identity at once; their sessions with the old one are of no use.
        let phone = Place { number: number.to_owned(), device: 0 };
        for peer in &peers {
            self.forget_session(peer, &phone);
            let groups: Vec<String> =
                self.accounts.get(peer).map(|it| it.distributed.keys().cloned().collect()).unwrap_or_default();
            for group in groups {
                if let Some(informed) = self.accounts.get_mut(peer).and_then(|it| it.distributed.get_mut(&group)) {
                    informed.remove(&phone);
                    self.touch(Key::Distributed(peer.clone(), group));
                }
            }
        }
        self.identity_changed(number, &peers);
        Ok(())
    }
}

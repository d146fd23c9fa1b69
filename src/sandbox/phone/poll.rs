//! Votes: encrypted with the poll's secret, which only those have who got the poll.

use buffa::{Message as _, MessageField};
use wacore::poll;
use waproto::whatsapp as wa;

use super::Chat;
use super::message::Stored;
use crate::error::{Error, Result};
use crate::sandbox::PhoneMessage;
use crate::sandbox::server::World;

/// A vote as it comes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SealedVote {
    pub(super) payload: Vec<u8>,
    pub(super) iv: Vec<u8>,
}

impl World {
    /// The message that votes in a poll.
    pub(super) fn vote(&self, number: &str, chat: &Chat, id: &str, chosen: &[String]) -> Result<wa::Message> {
        let row = self.row_of(number, chat, "vote.messageId", id)?;
        let no_poll = || Error::field("vote.messageId", "this message is no poll");
        let asked = row.shown.poll.as_ref().ok_or_else(no_poll)?;
        let most = if asked.selectable == 0 { asked.options.len() } else { usize::try_from(asked.selectable).unwrap_or(1) };
        if chosen.iter().any(|name| asked.options.iter().all(|option| option.name != *name)) || chosen.len() > most {
            return Err(Error::field("vote.options", "names options that the poll does not have, or more than it allows"));
        }
        let secret = secret_of(row).ok_or_else(no_poll)?;
        let hashes: Vec<Vec<u8>> = chosen.iter().map(|name| poll::compute_option_hash(name).to_vec()).collect();
        let creator = self.author_jid(&row.shown).to_string();
        let voter = self.member_jid(number).to_string();
        let (payload, iv) =
            poll::encrypt_poll_vote_with_secret(&hashes, &secret, id, &creator, &voter).map_err(Error::internal)?;
        let update = wa::message::PollUpdateMessage {
            poll_creation_message_key: MessageField::some(self.key_of(number, chat, &row.shown)?),
            vote: MessageField::some(wa::message::PollEncValue { enc_payload: Some(payload), enc_iv: Some(iv.to_vec()) }),
            sender_timestamp_ms: Some(self.ambient.now().0),
            ..Default::default()
        };
        Ok(wa::Message { poll_update_message: MessageField::some(update), ..Default::default() })
    }

    /// Opens a vote that `voter` cast in a poll of the chat, and gives what was chosen.
    pub(super) fn open_vote(&self, number: &str, vote: &PhoneMessage, sealed: &SealedVote) -> Option<Vec<String>> {
        let account = self.accounts.get(number)?;
        let place = account.by_id.get(&(vote.chat.clone(), vote.target.clone()?))?;
        let row = account.messages.get(place)?;
        let options = &row.shown.poll.as_ref()?.options;
        let secret = secret_of(row)?;
        // The keys depend on the addresses, and each side may know the other by number or by LID.
        let names = |address: &str| {
            let number = address.split('@').next().unwrap_or_default();
            self.accounts.get(number).map(|account| [account.jid(0, true).to_string(), account.jid(0, false).to_string()])
        };
        let (creators, voters) = (names(&row.shown.sender)?, names(&vote.sender)?);
        let pairs = creators.iter().flat_map(|creator| voters.iter().map(move |voter| (creator, voter)));
        let chosen = pairs.into_iter().find_map(|(creator_jid, voter_jid)| {
            let names = poll::PollVoteAddressing { poll_creator_jid: creator_jid, voter_jid };
            let sealed = poll::PollVoteCiphertext { enc_payload: &sealed.payload, enc_iv: &sealed.iv };
            poll::decrypt_poll_vote_with_fallback(sealed, &secret, &row.shown.id, names, None).ok()
        })?;
        let known = options.iter().filter(|option| chosen.contains(&poll::compute_option_hash(&option.name).to_vec()));
        Some(known.map(|option| option.name.clone()).collect())
    }
}

/// The secret that came with a message.
fn secret_of(row: &Stored) -> Option<Vec<u8>> {
    let content = wa::Message::decode_from_slice(&row.content.as_ref()?.0).ok()?;
    content.message_context_info.into_option()?.message_secret
}

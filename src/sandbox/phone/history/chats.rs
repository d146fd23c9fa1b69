//! A phone's rows as the conversations of a history.

use std::collections::{BTreeMap, HashMap};

use buffa::{Message as _, MessageField};
use wacore_binary::{Jid, JidExt as _};
use waproto::whatsapp as wa;
use waproto::whatsapp::conversation::EndOfHistoryTransferType;
use waproto::whatsapp::web_message_info::{Status, StubType};

use crate::domain::clock::Time;
use crate::sandbox::phone::message::Stored;
use crate::sandbox::server::World;
use crate::sandbox::server::account::Account;
use crate::sandbox::server::group::Role;
use crate::sandbox::{Direction, MessageState};

/// Rows of a phone by chat, oldest first in each.
#[derive(Default)]
pub(super) struct Taken<'a> {
    chats: BTreeMap<String, Vec<&'a Stored>>,
    /// Reactions by chat and the message that they are to.
    reactions: HashMap<(&'a str, &'a str), Vec<&'a Stored>>,
}

impl<'a> Taken<'a> {
    pub(super) fn is_empty(&self) -> bool {
        self.chats.is_empty()
    }

    fn with(&self, chats: BTreeMap<String, Vec<&'a Stored>>) -> Self {
        Self { chats: chats.into_iter().filter(|(_, rows)| !rows.is_empty()).collect(), reactions: self.reactions.clone() }
    }

    /// The newest `count` rows of each chat, and all others.
    pub(super) fn split_newest(&self, count: usize) -> (Self, Self) {
        let (mut newest, mut rest) = (BTreeMap::new(), BTreeMap::new());
        for (chat, rows) in &self.chats {
            let (old, new) = rows.split_at(rows.len().saturating_sub(count));
            newest.insert(chat.clone(), new.to_vec());
            rest.insert(chat.clone(), old.to_vec());
        }
        (self.with(newest), self.with(rest))
    }

    /// What is not older than `border`, and what is.
    pub(super) fn split_at_time(&self, border: Time) -> (Self, Self) {
        let (mut young, mut old) = (BTreeMap::new(), BTreeMap::new());
        for (chat, rows) in &self.chats {
            let (new, past) = rows.iter().partition::<Vec<&Stored>, _>(|row| row.shown.timestamp >= border);
            young.insert(chat.clone(), new);
            old.insert(chat.clone(), past);
        }
        (self.with(young), self.with(old))
    }

    /// In pieces of at most `size` rows; a chat may go over several.
    pub(super) fn in_pieces(&self, size: usize) -> Vec<Self> {
        let mut pieces = Vec::new();
        let (mut piece, mut room) = (BTreeMap::<String, Vec<&Stored>>::new(), size);
        for (chat, rows) in &self.chats {
            // From the newest back, so that a device has the end of each chat first.
            for row in rows.iter().rev() {
                if room == 0 {
                    pieces.push(self.with(std::mem::take(&mut piece)));
                    room = size;
                }
                piece.entry(chat.clone()).or_default().insert(0, row);
                room -= 1;
            }
        }
        if !piece.is_empty() {
            pieces.push(self.with(piece));
        }
        pieces
    }

    /// One chat's newest `count` rows that are older than a moment (and not the row with that id), with whether there are more.
    pub(super) fn before(&self, chat: &str, id: &str, moment: Time, count: usize) -> (Self, bool) {
        let rows = self.chats.get(chat).map(Vec::as_slice).unwrap_or_default();
        // The named row counts when the phone has it; otherwise the moment does.
        let end = rows
            .iter()
            .position(|row| row.shown.id == id)
            .unwrap_or_else(|| rows.partition_point(|row| row.shown.timestamp < moment));
        let start = end.saturating_sub(count);
        let part = rows.get(start..end).unwrap_or_default().to_vec();
        (self.with(BTreeMap::from([(chat.to_owned(), part)])), start > 0)
    }
}

impl World {
    /// All rows of a phone.
    pub(super) fn taken<'a>(&self, account: &'a Account) -> Taken<'a> {
        let mut taken = Taken::default();
        for row in account.messages.values() {
            if row.shown.kind == "reaction" {
                let target = row.shown.target.as_deref().unwrap_or_default();
                taken.reactions.entry((&row.shown.chat, target)).or_default().push(row);
            } else if row.shown.state != MessageState::Undecryptable && row.shown.kind != "vote" {
                taken.chats.entry(row.shown.chat.clone()).or_default().push(row);
            }
        }
        for rows in taken.chats.values_mut() {
            rows.sort_by_key(|row| row.shown.timestamp);
        }
        taken
    }

    /// The conversations of a piece.
    pub(super) fn conversations(&self, account: &Account, taken: &Taken<'_>) -> Vec<wa::Conversation> {
        taken.chats.iter().filter_map(|(chat, rows)| self.conversation(account, chat, rows, taken)).collect()
    }

    /// The conversation of an answer on demand, which says whether there is more.
    pub(super) fn demanded(&self, account: &Account, chat: &str, taken: &Taken<'_>, more: bool) -> Option<wa::Conversation> {
        let rows = taken.chats.get(chat).map(Vec::as_slice).unwrap_or_default();
        let ending = if more {
            EndOfHistoryTransferType::COMPLETE_ON_DEMAND_SYNC_BUT_MORE_MSG_REMAIN_ON_PRIMARY
        } else {
            EndOfHistoryTransferType::COMPLETE_AND_NO_MORE_MESSAGE_REMAIN_ON_PRIMARY
        };
        let conversation = self.conversation(account, chat, rows, taken)?;
        Some(wa::Conversation {
            end_of_history_transfer_type: Some(ending),
            end_of_history_transfer: Some(!more),
            ..conversation
        })
    }

    fn conversation(&self, account: &Account, chat: &str, rows: &[&Stored], taken: &Taken<'_>) -> Option<wa::Conversation> {
        let named: Jid = chat.parse().ok()?;
        let newest = rows.last().and_then(|row| seconds(row.shown.timestamp));
        let unread = rows.iter().rev().take_while(|row| row.shown.direction == Direction::In && row.shown.read_at.is_none());
        let mut conversation = wa::Conversation {
            unread_count: u32::try_from(unread.count()).ok(),
            last_msg_timestamp: newest,
            conversation_timestamp: newest,
            end_of_history_transfer_type: Some(EndOfHistoryTransferType::COMPLETE_BUT_MORE_MESSAGES_REMAIN_ON_PRIMARY),
            ephemeral_expiration: rows.last().map(|row| row.shown.expires).filter(|seconds| *seconds > 0),
            ..Default::default()
        };
        if named.is_group() {
            let group = self.groups.get(named.user.as_str());
            conversation.id = named.to_string();
            conversation.name = group.map(|group| group.subject.clone());
            conversation.participant =
                group.into_iter().flat_map(|group| &group.members).filter_map(|(n, r)| self.member(n, *r)).collect();
        } else {
            let number = self.number_of(&named)?;
            let person = self.accounts.get(&number)?;
            conversation.id = person.jid(0, self.lid_addressing).to_string();
            conversation.name = account.contacts.get(&number).map(|contact| contact.full_name.clone());
            conversation.display_name = Some(person.notify.clone());
            conversation.pn_jid = Some(person.jid(0, false).to_string());
            conversation.lid_jid = Some(person.jid(0, true).to_string());
        }
        let id = conversation.id.clone();
        conversation.messages = rows
            .iter()
            .rev()
            .zip(1..)
            .map(|(row, order)| {
                let reactions = taken.reactions.get(&(chat, row.shown.id.as_str())).map(Vec::as_slice).unwrap_or_default();
                wa::HistorySyncMsg {
                    message: MessageField::some(self.web_message(account, row, &id, reactions)),
                    msg_order_id: Some(order),
                }
            })
            .collect();
        Some(conversation)
    }

    fn member(&self, number: &str, role: Role) -> Option<wa::GroupParticipant> {
        let rank = match role {
            Role::Member => wa::group_participant::Rank::REGULAR,
            Role::Admin => wa::group_participant::Rank::ADMIN,
            Role::Owner => wa::group_participant::Rank::SUPERADMIN,
        };
        let user_jid = self.accounts.get(number)?.jid(0, self.lid_addressing).to_string();
        Some(wa::GroupParticipant { user_jid, rank: Some(rank), ..Default::default() })
    }

    /// One message as phones tell their devices of it, in the chat with that address.
    pub(super) fn web_message(&self, account: &Account, row: &Stored, chat: &str, reactions: &[&Stored]) -> wa::WebMessageInfo {
        let shown = &row.shown;
        let own = shown.direction == Direction::Out;
        let sender = shown.sender.parse::<Jid>().ok().and_then(|sender| self.number_of(&sender));
        let sender = sender.and_then(|number| self.accounts.get(&number));
        let in_group = chat.ends_with("@g.us");
        let participant = sender.filter(|_| in_group).map(|sender| sender.jid(0, self.lid_addressing).to_string());
        let revoked = shown.kind == "revoked";
        let content = row.content.as_ref().and_then(|content| wa::Message::decode_from_slice(&content.0).ok());
        let mut content = content.unwrap_or_else(|| said(&shown.text));
        if shown.edited && (content.conversation.is_some() || content.extended_text_message.is_set()) {
            content = said(&shown.text);
        }
        let secret = content.message_context_info.as_option().and_then(|info| info.message_secret.clone());
        let status = match shown.state {
            MessageState::Sent => Status::SERVER_ACK,
            MessageState::Read => Status::READ,
            MessageState::Played => Status::PLAYED,
            MessageState::Received if shown.read_at.is_some() => Status::READ,
            _ => Status::DELIVERY_ACK,
        };
        wa::WebMessageInfo {
            key: MessageField::some(wa::MessageKey {
                remote_jid: Some(chat.to_owned()),
                from_me: Some(own),
                id: Some(shown.id.clone()),
                participant: participant.clone().filter(|_| !own),
            }),
            message: if revoked { MessageField::default() } else { MessageField::some(content) },
            message_stub_type: revoked.then_some(StubType::REVOKE),
            message_timestamp: seconds(shown.timestamp),
            status: Some(status),
            participant: participant.filter(|_| !own),
            push_name: sender.filter(|_| !own).map(|sender| sender.notify.clone()),
            message_secret: secret,
            reactions: reactions.iter().map(|reaction| self.reaction(account, reaction, chat)).collect(),
            ..Default::default()
        }
    }

    fn reaction(&self, account: &Account, row: &Stored, chat: &str) -> wa::Reaction {
        let key = self.web_message(account, row, chat, &[]).key;
        wa::Reaction {
            key,
            text: Some(row.shown.text.clone()),
            sender_timestamp_ms: Some(row.shown.timestamp.0),
            ..Default::default()
        }
    }
}

fn said(text: &str) -> wa::Message {
    wa::Message { conversation: Some(text.to_owned()), ..Default::default() }
}

fn seconds(time: Time) -> Option<u64> {
    u64::try_from(time.0 / 1000).ok()
}

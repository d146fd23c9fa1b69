//! Conversations: read, searched, and kept as their owner wants them on all of its devices.

use std::collections::BTreeMap;

use super::Service;
use crate::domain::chat::{Chat, ChatKind, ChatPatch, Reaction, Vote};
use crate::domain::clock::Time;
use crate::domain::event::{ChatChange, Payload};
use crate::domain::ids::SessionId;
use crate::domain::jid::Address;
use crate::domain::message::Message;
use crate::domain::payload::Who;
use crate::domain::principal::{Capability, Principal};
use crate::domain::session::Session;
use crate::error::{Error, Result};
use crate::wa::chats::ChatOrder;
use crate::wa::connection::Sender;

/// How many of a chat's latest messages get a receipt when it is read; older ones count as read by them.
const RECEIPTS: i64 = 200;

/// How many words one search may have.
const WORDS: usize = 10;

/// What a caller wants of a conversation.
#[derive(Clone, Copy, Debug, Default)]
pub struct ChatWish {
    /// To put it away, or take it back.
    pub archived: Option<bool>,
    /// To keep it at the top, or no longer.
    pub pinned: Option<bool>,
    /// To silence it until then.
    pub muted_until: Option<Time>,
    /// To let it make sounds.
    pub unmute: bool,
}

/// What a caller looks for.
#[derive(Clone, Debug)]
pub struct Search {
    /// The words.
    pub text: String,
    /// Only in this chat.
    pub chat: Option<String>,
    /// Where the page begins.
    pub cursor: Option<String>,
    /// How many.
    pub limit: i64,
}

/// A message with what people did to it.
#[derive(Clone, Debug)]
pub struct Said {
    /// The message.
    pub message: Message,
    /// How people reacted.
    pub reactions: Vec<Reaction>,
    /// What they voted, when it is a poll and alone.
    pub votes: Vec<Vote>,
}

/// A page of messages.
#[derive(Clone, Debug)]
pub struct Page {
    /// The messages.
    pub messages: Vec<Said>,
    /// Where the next page begins, when there is more.
    pub next: Option<String>,
}

impl Service {
    /// A page of conversations, the latest first, and where the next one begins when there is more.
    pub async fn list_chats(
        &self,
        caller: &Principal,
        id: &SessionId,
        cursor: Option<&str>,
        limit: i64,
    ) -> Result<(Vec<Chat>, Option<String>)> {
        caller.require(Capability::Read)?;
        self.get_session(caller, id).await?;
        let after =
            cursor.map(|text| cut(text).and_then(|(at, id)| Some((at, id.parse().ok()?))).ok_or_else(bad_cursor)).transpose()?;
        let mut page = self.0.db.chats(id, after, limit.saturating_add(1)).await?;
        let next = more(&mut page, limit, |chat| format!("{}-{}", chat.last_message_at.0, chat.id));
        Ok((page, next))
    }

    /// One conversation.
    pub async fn get_chat(&self, caller: &Principal, id: &SessionId, cid: &str) -> Result<Chat> {
        caller.require(Capability::Read)?;
        self.get_session(caller, id).await?;
        self.find_chat(id, "cid", cid).await
    }

    /// A page of what was said in a conversation, the latest first.
    pub async fn chat_messages(
        &self,
        caller: &Principal,
        id: &SessionId,
        cid: &str,
        cursor: Option<&str>,
        limit: i64,
    ) -> Result<Page> {
        let chat = self.get_chat(caller, id, cid).await?;
        let after = cursor.map(|text| cut(text).ok_or_else(bad_cursor)).transpose()?;
        let mut page = self.0.db.chat_messages(id, &chat.jid, after, limit.saturating_add(1)).await?;
        let next = more(&mut page, limit, |message| format!("{}-{}", message.timestamp.0, message.id));
        Ok(Page { messages: self.with_reactions(id, page).await?, next })
    }

    /// A page of the messages whose texts have all these words, the latest first.
    pub async fn search_messages(&self, caller: &Principal, id: &SessionId, search: Search) -> Result<Page> {
        caller.require(Capability::Read)?;
        self.get_session(caller, id).await?;
        let words: Vec<String> =
            search.text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_owned).collect();
        if words.is_empty() || words.len() > WORDS {
            return Err(Error::field("q", format!("takes 1 to {WORDS} words of letters or digits")));
        }
        let chat = match &search.chat {
            Some(cid) => Some(self.find_chat(id, "chat", cid).await?.jid),
            None => None,
        };
        let after = search.cursor.as_deref().map(|text| cut(text).ok_or_else(bad_cursor)).transpose()?;
        let limit = search.limit;
        let mut page = self.0.db.search_messages(id, &words, chat.as_deref(), after, limit.saturating_add(1)).await?;
        let next = more(&mut page, limit, |message| format!("{}-{}", message.timestamp.0, message.id));
        Ok(Page { messages: self.with_reactions(id, page).await?, next })
    }

    /// One message with everything that is known of it.
    pub async fn message_detail(&self, caller: &Principal, id: &SessionId, mid: &str) -> Result<Said> {
        let message = self.get_message(caller, id, mid).await?;
        let votes = match message.content.poll {
            Some(_) => self.0.db.votes(id, &message.wa_message_id).await?,
            None => Vec::new(),
        };
        let said = self.with_reactions(id, vec![message]).await?.pop().ok_or_else(|| Error::not_found("message"))?;
        Ok(Said { votes, ..said })
    }

    /// Changes what holds of a conversation on all devices.
    pub async fn update_chat(&self, caller: &Principal, id: &SessionId, cid: &str, wish: ChatWish) -> Result<Chat> {
        caller.require(Capability::Send)?;
        let session = self.get_session(caller, id).await?;
        let chat = self.find_chat(id, "cid", cid).await?;
        let now = self.0.ambient.now();
        if wish.unmute && wish.muted_until.is_some() {
            return Err(Error::field("unmute", "not together with `mutedUntil`"));
        }
        if wish.muted_until.is_some_and(|until| until <= now) {
            return Err(Error::field("mutedUntil", "must be in the future, in milliseconds since 1970"));
        }
        let orders = [
            wish.archived.map(|on| (ChatOrder::Archive(on), ("archived", Some(!on), None))),
            wish.pinned.map(|on| (ChatOrder::Pin(on), ("pinned", Some(!on), None))),
            wish.muted_until.map(|until| (ChatOrder::Mute(until), ("muted", Some(false), Some(until)))),
            wish.unmute.then_some((ChatOrder::Unmute, ("muted", Some(true), None))),
        ];
        let (sender, address) = self.reach(&session, &chat)?;
        for (order, (word, removed, muted_until)) in orders.into_iter().flatten() {
            sender.order_chat(&address, order).await.map_err(not_done)?;
            let patch = match order {
                ChatOrder::Archive(on) => ChatPatch { archived: Some(on), ..ChatPatch::default() },
                ChatOrder::Pin(on) => ChatPatch { pinned: Some(on), ..ChatPatch::default() },
                ChatOrder::Mute(until) => ChatPatch { muted_until: Some(Some(until)), ..ChatPatch::default() },
                ChatOrder::Unmute | ChatOrder::Read | ChatOrder::Delete => {
                    ChatPatch { muted_until: Some(None), ..ChatPatch::default() }
                }
            };
            let mut recording = self.0.log.begin().await?;
            recording.tx.set_chat(id, &chat.jid, &patch, now).await?;
            let change = ChatChange { removed, muted_until, ..changed(&chat, word) };
            recording.tell(&session.organization, id, Payload::ChatUpdate(Box::new(change)));
            recording.commit().await?;
        }
        self.find_chat(id, "cid", &chat.jid).await
    }

    /// Deletes a conversation with its messages on all devices.
    pub async fn delete_chat(&self, caller: &Principal, id: &SessionId, cid: &str) -> Result<()> {
        caller.require(Capability::Send)?;
        let session = self.get_session(caller, id).await?;
        let chat = self.find_chat(id, "cid", cid).await?;
        let (sender, address) = self.reach(&session, &chat)?;
        sender.order_chat(&address, ChatOrder::Delete).await.map_err(not_done)?;
        let mut recording = self.0.log.begin().await?;
        recording.tx.delete_chat(id, &chat.jid, true).await?;
        recording.tell(&session.organization, id, Payload::ChatUpdate(Box::new(changed(&chat, "deleted"))));
        recording.commit().await
    }

    /// Marks everything in a conversation as read and tells its senders.
    pub async fn read_chat(&self, caller: &Principal, id: &SessionId, cid: &str) -> Result<Chat> {
        caller.require(Capability::Send)?;
        let session = self.get_session(caller, id).await?;
        let chat = self.find_chat(id, "cid", cid).await?;
        let (sender, address) = self.reach(&session, &chat)?;
        let unread = chat.unread.clamp(0, RECEIPTS);
        let messages = if unread > 0 { self.0.db.unread_messages(id, &chat.jid, unread).await? } else { Vec::new() };
        let mut by_sender: BTreeMap<Option<String>, Vec<String>> = BTreeMap::new();
        for message in messages.into_iter().rev() {
            let several = matches!(chat.kind, ChatKind::Group | ChatKind::Status | ChatKind::Broadcast);
            by_sender.entry(several.then_some(message.sender_jid)).or_default().push(message.wa_message_id);
        }
        for (from, ids) in &by_sender {
            sender.send_read(&address, from.as_deref(), ids).await.map_err(not_done)?;
        }
        if chat.unread > 0 || chat.marked_unread {
            // The other devices learn it by this; that it fails does not make the receipts untrue.
            if let Err(e) = sender.order_chat(&address, ChatOrder::Read).await {
                tracing::debug!(session = %id, error = %e, "the other devices were not told that a chat was read");
            }
            let mut recording = self.0.log.begin().await?;
            recording.tx.chat_read(id, &chat.jid, None).await?;
            recording.tell(&session.organization, id, Payload::ChatUpdate(Box::new(changed(&chat, "read"))));
            recording.commit().await?;
        }
        self.find_chat(id, "cid", &chat.jid).await
    }

    /// The chat that a caller means: by its number, or by any address of it.
    pub(super) async fn find_chat(&self, id: &SessionId, field: &str, cid: &str) -> Result<Chat> {
        let db = &self.0.db;
        if let Ok(number) = cid.parse::<i64>()
            && let Some(chat) = db.chat_by_id(id, number).await?
        {
            return Ok(chat);
        }
        let missing = || Error::not_found("chat");
        // A number that is none of ours and no phone number names nothing.
        let plain = cid.bytes().all(|b| b.is_ascii_digit());
        let address = Address::parse(field, cid).map_err(|e| if plain { missing() } else { e })?;
        let jid = db.canonical(id, &address).await?;
        db.chat_by_jid(id, &jid).await?.ok_or_else(missing)
    }

    fn reach(&self, session: &Session, chat: &Chat) -> Result<(Sender, Address)> {
        Ok((self.online(session)?, Address::parse("cid", &chat.jid)?))
    }

    async fn with_reactions(&self, id: &SessionId, messages: Vec<Message>) -> Result<Vec<Said>> {
        let ids: Vec<String> = messages.iter().map(|message| message.wa_message_id.clone()).collect();
        let mut reactions = self.0.db.reactions(id, &ids).await?;
        let said = messages.into_iter().map(|message| {
            let reactions = reactions.remove(&message.wa_message_id).unwrap_or_default();
            Said { message, reactions, votes: Vec::new() }
        });
        Ok(said.collect())
    }
}

fn changed(chat: &Chat, word: &str) -> ChatChange {
    let mut who = Who::new(&chat.jid);
    who.lid = who.lid.or_else(|| chat.aliases.iter().find(|alias| alias.ends_with("@lid")).cloned());
    ChatChange { chat: who, change: word.to_owned(), ..ChatChange::default() }
}

fn not_done(error: anyhow::Error) -> Error {
    Error::new(crate::error::Code::Unavailable, "WhatsApp did not take the change; try again").because(error)
}

/// A moment and what comes behind it, as cursors have them.
fn cut(text: &str) -> Option<(Time, &str)> {
    let (at, rest) = text.split_once('-')?;
    Some((Time(at.parse().ok()?), rest))
}

fn bad_cursor() -> Error {
    Error::field("cursor", "not the `nextCursor` of an earlier page")
}

/// Cuts the one row more than asked for, and gives the cursor of the next page if there was one.
fn more<T>(page: &mut Vec<T>, limit: i64, cursor: impl Fn(&T) -> String) -> Option<String> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    if page.len() <= limit {
        return None;
    }
    page.truncate(limit);
    page.last().map(cursor)
}

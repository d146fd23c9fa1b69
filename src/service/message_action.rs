//! What is done to messages: changed, taken back, reacted to, pinned, starred, played; and those that wait taken out of the outbox.

use std::time::Duration;

use super::Service;
use crate::domain::chat::Reaction;
use crate::domain::clock::Time;
use crate::domain::event::{MessagePayload, Payload};
use crate::domain::ids::SessionId;
use crate::domain::jid::{Address, Kind};
use crate::domain::message::{Message, MessageStatus, Receipt};
use crate::domain::outbox::{Item, OutboxState};
use crate::domain::outgoing::{MOST_TEXT, bounded};
use crate::domain::payload::Who;
use crate::domain::principal::{Capability, Principal};
use crate::domain::session::Session;
use crate::error::{Code, Error, Result};
use crate::session::recorder::advance;
use crate::wa::connection::Ack;
use crate::wa::failure::Unsent;
use crate::wa::outgoing::{self, Operation, Target};

/// How long WhatsApp's server may take to accept an action.
const ACCEPT_LIMIT: Duration = Duration::from_secs(20);

/// How long after it was sent a message can be changed: as long as WhatsApp's own clients show it.
const EDITABLE: Duration = Duration::from_secs(15 * 60);

/// For how many days a message can be pinned.
const PIN_DAYS: [i32; 3] = [1, 7, 30];

/// Bytes that one emoji may take, joined ones and skin tones included.
const EMOJI: usize = 64;

/// Names a message as a caller does it.
#[derive(Clone, Debug, Default)]
pub struct Named {
    /// Its id here or WhatsApp's.
    pub mid: String,
    /// The chat, for one that is not stored here.
    pub chat: Option<String>,
    /// Who sent it, for one that is not stored here.
    pub sender: Option<String>,
}

/// An action that WhatsApp has accepted.
#[derive(Clone, Debug)]
pub struct Done {
    /// `sync`, or `cancelled` for a message that was taken out of the outbox.
    pub mode: &'static str,
    /// WhatsApp's id of the action, or of the message that was taken out.
    pub wa_message_id: String,
    /// The chat.
    pub chat_jid: String,
    /// When WhatsApp had it.
    pub at: Time,
}

impl Service {
    /// Changes the text or caption of an own message.
    pub async fn edit_message(&self, caller: &Principal, id: &SessionId, named: &Named, text: &str) -> Result<Done> {
        caller.require(Capability::Send)?;
        let session = self.get_session(caller, id).await?;
        if text.trim().is_empty() {
            return Err(Error::field("text", "missing or empty"));
        }
        let text = bounded("text", text, MOST_TEXT)?;
        let (target, stored) = self.target(&session, named, true).await?;
        if !target.from_me {
            return Err(Error::new(Code::Conflict, "only messages of the account itself can be changed").reason("not_own"));
        }
        let kind = stored.as_ref().map_or("text", |message| message.kind.as_str()).to_owned();
        if !matches!(kind.as_str(), "text" | "image" | "video" | "document") {
            return Err(Error::new(Code::Conflict, format!("a message of type {kind} has no text")).reason("not_editable"));
        }
        if let Some(message) = &stored
            && self.0.ambient.now().since(message.timestamp) > EDITABLE
        {
            return Err(Error::new(Code::Conflict, "WhatsApp takes changes for 15 minutes only").reason("too_late"));
        }
        let operation = Operation::Edit { text: text.clone(), kind: kind.clone() };
        let (done, payload) = self.operate(&session, &target, operation).await?;
        let payload = MessagePayload { kind, body: Some(text.clone()), ..payload };
        let mut recording = self.0.log.begin().await?;
        if let Some(message) = &stored {
            recording.tx.edit_message(&message.id, Some(&text), &message.content, done.at).await?;
        }
        recording.tell(&session.organization, id, Payload::MessageEdited(Box::new(payload)));
        recording.commit().await?;
        Ok(done)
    }

    /// Takes a message back for everybody; one that is not sent yet, out of the outbox.
    pub async fn revoke_message(&self, caller: &Principal, id: &SessionId, named: &Named) -> Result<Done> {
        caller.require(Capability::Send)?;
        let session = self.get_session(caller, id).await?;
        let waiting = self.0.db.outbox_item(&session.organization, id, &named.mid).await?;
        if let Some(item) = waiting.filter(|item| item.state == OutboxState::Queued)
            && let Some(done) = self.cancel(&session, &item).await?
        {
            return Ok(done);
        }
        let (target, stored) = self.target(&session, named, true).await?;
        if !target.from_me && target.chat.kind != Kind::Group {
            let message = "only messages of the account itself can be taken back, and in groups by admins those of others";
            return Err(Error::new(Code::Conflict, message).reason("not_own"));
        }
        let (done, payload) = self.operate(&session, &target, Operation::Revoke).await?;
        let mut recording = self.0.log.begin().await?;
        if let Some(message) = &stored {
            recording.tx.revoke_message(&message.id, done.at).await?;
        }
        recording.tell(&session.organization, id, Payload::MessageRevoked(Box::new(payload)));
        recording.commit().await?;
        Ok(done)
    }

    /// Reacts to a message; `None` takes an earlier reaction back.
    pub async fn react(&self, caller: &Principal, id: &SessionId, named: &Named, emoji: Option<&str>) -> Result<Done> {
        caller.require(Capability::Send)?;
        let session = self.get_session(caller, id).await?;
        if emoji.is_some_and(str::is_empty) {
            return Err(Error::field("emoji", "missing; one emoji"));
        }
        let emoji = emoji.unwrap_or_default();
        let plain = emoji
            .chars()
            .any(|c| c.is_ascii_alphanumeric() && !emoji.contains('\u{20e3}') || c.is_whitespace() || c.is_control());
        if plain || emoji.len() > EMOJI {
            return Err(Error::field("emoji", "not one emoji"));
        }
        let (target, _) = self.target(&session, named, false).await?;
        let (done, payload) = self.operate(&session, &target, Operation::React(emoji.to_owned())).await?;
        let payload = MessagePayload { reaction: Some(emoji.to_owned()), ..payload };
        let mut recording = self.0.log.begin().await?;
        let sender_jid = session.account.as_ref().map(|own| own.wa_jid.clone()).unwrap_or_default();
        let reaction = Reaction { sender_jid, from_me: true, emoji: emoji.to_owned(), timestamp: done.at };
        recording.tx.react(id, &target.wa_message_id, &reaction).await?;
        recording.tell(&session.organization, id, Payload::MessageReaction(Box::new(payload)));
        recording.commit().await?;
        Ok(done)
    }

    /// Keeps a message at the top of its chat for some days; `None` takes it from there.
    pub async fn pin_message(&self, caller: &Principal, id: &SessionId, named: &Named, days: Option<i32>) -> Result<Done> {
        caller.require(Capability::Send)?;
        let session = self.get_session(caller, id).await?;
        if days.is_some_and(|days| !PIN_DAYS.contains(&days)) {
            return Err(Error::field("days", "must be 1, 7 or 30"));
        }
        let (target, _) = self.target(&session, named, false).await?;
        let seconds = days.and_then(|days| u32::try_from(days).ok()).map(|days| days * 86_400);
        let (done, _) = self.operate(&session, &target, Operation::Pin(seconds)).await?;
        Ok(done)
    }

    /// Marks a message with a star, or takes the star away.
    pub async fn star_message(&self, caller: &Principal, id: &SessionId, named: &Named, starred: bool) -> Result<()> {
        caller.require(Capability::Send)?;
        let session = self.get_session(caller, id).await?;
        let (target, _) = self.target(&session, named, false).await?;
        let sender = self.online(&session)?;
        let asked = tokio::time::timeout(ACCEPT_LIMIT, sender.star(&target, starred)).await;
        let asked = asked.map_err(|_| late("star"))?;
        asked.map_err(|error| Error::new(Code::Unavailable, "WhatsApp did not take the star").because(error))?;
        let mut tx = self.0.db.begin().await?;
        tx.star_message(id, &target.wa_message_id, starred).await?;
        tx.commit().await
    }

    /// Tells the sender that a voice message or a film was played.
    pub async fn mark_played(&self, caller: &Principal, id: &SessionId, named: &Named) -> Result<()> {
        caller.require(Capability::Send)?;
        let session = self.get_session(caller, id).await?;
        let (target, stored) = self.target(&session, named, false).await?;
        if target.from_me || stored.is_some_and(|message| !matches!(message.kind.as_str(), "audio" | "video")) {
            return Err(Error::new(Code::Conflict, "only received sounds and films can be played").reason("not_playable"));
        }
        let sender = self.online(&session)?;
        let told = sender.mark_played(&target).await;
        told.map_err(|error| Error::new(Code::Unavailable, "the receipt could not be sent").because(error))
    }

    /// A session's messages on their way, oldest first, and where the next page begins when there is more.
    pub async fn list_outbox(
        &self,
        caller: &Principal,
        id: &SessionId,
        after: &str,
        limit: i64,
    ) -> Result<(Vec<Item>, Option<String>)> {
        caller.require(Capability::Read)?;
        self.get_session(caller, id).await?;
        let mut page = self.0.db.open_outbox(id, after, limit.saturating_add(1)).await?;
        let more = page.len() > usize::try_from(limit).unwrap_or(usize::MAX);
        page.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        let next = page.last().filter(|_| more).map(|last| last.id.clone());
        Ok((page, next))
    }

    /// Takes a message out of the outbox before it is given to WhatsApp.
    pub async fn cancel_message(&self, caller: &Principal, id: &SessionId, mid: &str) -> Result<Done> {
        caller.require(Capability::Send)?;
        let session = self.get_session(caller, id).await?;
        let item = self.0.db.outbox_item(&session.organization, id, mid).await?.ok_or_else(|| Error::not_found("message"))?;
        let done = self.cancel(&session, &item).await?;
        done.ok_or_else(|| {
            let message = format!("the message is {}, so it cannot be taken out of the outbox any more", item.state.word());
            Error::new(Code::Conflict, message).reason("not_queued")
        })
    }

    async fn cancel(&self, session: &Session, item: &Item) -> Result<Option<Done>> {
        let now = self.0.ambient.now();
        let mut recording = self.0.log.begin().await?;
        if !recording.tx.cancel_outbox(&session.organization, &item.id, now).await? {
            return Ok(None);
        }
        let news = Receipt {
            sender_jid: None,
            message_ids: vec![item.wa_message_id.clone()],
            status: MessageStatus::Failed,
            error: Some("taken back before it was sent".to_owned()),
            timestamp: now,
        };
        advance(&mut recording, &session.organization, &session.id, &news).await?;
        recording.commit().await?;
        Ok(Some(Done { mode: "cancelled", wa_message_id: item.wa_message_id.clone(), chat_jid: item.chat_jid.clone(), at: now }))
    }

    /// What a caller names: a stored message, or one that is described well enough. `own` is what an undescribed sender means.
    pub(super) async fn target(&self, session: &Session, named: &Named, own: bool) -> Result<(Target, Option<Message>)> {
        let given = |it: &Option<String>| it.clone().filter(|it| !it.is_empty());
        let chat = given(&named.chat).map(|chat| Address::parse("chat", &chat)).transpose()?;
        let sender = given(&named.sender).map(|sender| Address::parse("sender", &sender)).transpose()?;
        let stored = self.0.db.message(&session.organization, &session.id, &named.mid).await?;
        if let Some(message) = stored {
            let chat = Address::parse("chat", &message.chat_jid)?;
            let by_lid = message.sender_lid.as_deref().filter(|_| chat.kind == Kind::Group);
            let sender = Address::parse("sender", by_lid.unwrap_or(&message.sender_jid)).ok();
            let target = Target { chat, wa_message_id: message.wa_message_id.clone(), from_me: message.from_me, sender };
            return Ok((target, Some(message)));
        }
        let chat = chat.ok_or_else(|| Error::not_found("message"))?;
        let account = session.account.as_ref();
        let is_own = |it: &Address| account.is_some_and(|own| own.wa_jid == it.to_string() || own.wa_lid == Some(it.to_string()));
        let from_me = sender.as_ref().map_or(own, is_own);
        if !from_me && sender.is_none() && chat.kind == Kind::Group {
            return Err(Error::field("sender", "missing; of a group's message that is not stored here it must be told"));
        }
        Ok((Target { chat, wa_message_id: named.mid.clone(), from_me, sender }, None))
    }

    /// Does something to a message, and gives what there is to tell of it.
    async fn operate(&self, session: &Session, target: &Target, operation: Operation) -> Result<(Done, MessagePayload)> {
        let sender = self.online(session)?;
        let now = self.0.ambient.now();
        let wa_message_id = outgoing::message_id(&self.0.ambient);
        let answer = Box::pin(sender.operate(target, &operation, &wa_message_id, now, ACCEPT_LIMIT)).await;
        let at = accepted(answer, "action")?.unwrap_or(now);
        let chat_jid = target.chat.to_string();
        let own = session.account.as_ref();
        let mut by = own.map(|own| Who::new(own.wa_jid.clone()));
        if let (Some(by), Some(own)) = (&mut by, own) {
            by.lid.clone_from(&own.wa_lid);
        }
        let payload = MessagePayload {
            wa_message_id: wa_message_id.clone(),
            chat: Who::new(chat_jid.clone()),
            from_me: true,
            kind: match operation {
                Operation::Edit { .. } => "edit",
                Operation::Revoke => "revoke",
                Operation::React(_) => "reaction",
                Operation::Pin(_) => "pin",
            }
            .to_owned(),
            sender: by,
            timestamp: at,
            target: Some(target.wa_message_id.clone()),
            ..MessagePayload::default()
        };
        Ok((Done { mode: "sync", wa_message_id, chat_jid, at }, payload))
    }
}

/// When WhatsApp accepted an action, by its own clock.
pub(super) fn accepted(answer: std::result::Result<Option<Ack>, Unsent>, what: &str) -> Result<Option<Time>> {
    match answer {
        Ok(Some(Ack { error: None, at, .. })) => Ok(at),
        Ok(Some(Ack { error: Some(code), .. })) => {
            let text = format!("WhatsApp refused the {what} (code {code})");
            Err(Error::new(Code::Conflict, text).reason("refused_by_whatsapp").detail("whatsappCode", code))
        }
        Ok(None) => Err(late(what)),
        Err(Unsent::Refused(error)) => {
            Err(Error::new(Code::Conflict, format!("the {what} cannot be sent to this chat")).reason("unsendable").because(error))
        }
        Err(Unsent::Broken(error)) => {
            Err(Error::new(Code::Unavailable, format!("the {what} could not be sent; trying again is harmless")).because(error))
        }
    }
}

fn late(what: &str) -> Error {
    let text = format!("WhatsApp did not accept the {what} in time; trying again is harmless");
    Error::new(Code::Timeout, text).reason("not_accepted_in_time")
}

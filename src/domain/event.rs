//! Entries of an organization's event log.

use serde::{Deserialize, Serialize};

use crate::domain::backfill::BackfillJob;
use crate::domain::clock::Time;
use crate::domain::ids::{OrganizationId, SessionId, WebhookId};
pub use crate::domain::payload::{
    AuthCode, Call, ChatChange, Code, ContactChange, GroupChange, Health, HistorySynced, MediaReady, MessagePayload,
    MessageStatusPayload, NewsletterChange, PollRecap, Presence, Restriction, WebhookDisabledPayload,
};
use crate::domain::session::{Metadata, State};

/// What happened. The names are the documented ones, and ours beside them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", content = "payload")]
pub enum Payload {
    /// A session's status or its reason changed.
    #[serde(rename = "session.status")]
    SessionStatus(State),
    /// A working session is in trouble, or no longer.
    #[serde(rename = "session.health")]
    SessionHealth(Health),
    /// A QR code to scan.
    #[serde(rename = "auth.qr")]
    AuthQr(Code),
    /// A pairing code to type, or the account behind a phone that has accepted.
    #[serde(rename = "auth.code")]
    AuthCode(AuthCode),
    /// WhatsApp restricts the account, or no longer does.
    #[serde(rename = "account.restricted")]
    AccountRestricted(Restriction),
    /// A message was received.
    #[serde(rename = "message")]
    Message(Box<MessagePayload>),
    /// A message was sent from another device of the same account.
    #[serde(rename = "message.from_me")]
    MessageFromMe(Box<MessagePayload>),
    /// Somebody reacted to a message, or took that back.
    #[serde(rename = "message.reaction")]
    MessageReaction(Box<MessagePayload>),
    /// A message was changed.
    #[serde(rename = "message.edited")]
    MessageEdited(Box<MessagePayload>),
    /// A message was taken back.
    #[serde(rename = "message.revoked")]
    MessageRevoked(Box<MessagePayload>),
    /// What became of messages.
    #[serde(rename = "message.status")]
    MessageStatus(MessageStatusPayload),
    /// A message's file can be had, or is lost.
    #[serde(rename = "media.ready")]
    MediaReady(Box<MediaReady>),
    /// Somebody voted, or took that back.
    #[serde(rename = "poll.vote")]
    PollVote(Box<MessagePayload>),
    /// A poll has ended.
    #[serde(rename = "poll.recap")]
    PollRecap(PollRecap),
    /// Somebody came, went, or writes.
    #[serde(rename = "presence.update")]
    PresenceUpdate(Presence),
    /// A group changed.
    #[serde(rename = "group.update")]
    GroupUpdate(Box<GroupChange>),
    /// A group's members changed.
    #[serde(rename = "group.participant")]
    GroupParticipant(Box<GroupChange>),
    /// A chat's state changed.
    #[serde(rename = "chat.update")]
    ChatUpdate(Box<ChatChange>),
    /// Something about a person changed.
    #[serde(rename = "contact.update")]
    ContactUpdate(Box<ContactChange>),
    /// Somebody calls, or the call is over.
    #[serde(rename = "call.incoming")]
    CallIncoming(Call),
    /// A channel changed.
    #[serde(rename = "newsletter.update")]
    NewsletterUpdate(NewsletterChange),
    /// A backfill came forward.
    #[serde(rename = "backfill.progress")]
    BackfillProgress(Box<BackfillJob>),
    /// A part of the history was stored.
    #[serde(rename = "history.synced")]
    HistorySynced(HistorySynced),
    /// A webhook was switched off because of what its receiver answered.
    #[serde(rename = "webhook.disabled")]
    WebhookDisabled(WebhookDisabledPayload),
    /// A webhook is tried out; never in the log.
    #[serde(rename = "webhook.test")]
    WebhookTest(WebhookId),
}

/// Every event's name, in the order of the catalogue.
pub const NAMES: [&str; 25] = [
    "session.status",
    "session.health",
    "auth.qr",
    "auth.code",
    "account.restricted",
    "message",
    "message.from_me",
    "message.reaction",
    "message.edited",
    "message.revoked",
    "message.status",
    "media.ready",
    "poll.vote",
    "poll.recap",
    "presence.update",
    "group.update",
    "group.participant",
    "chat.update",
    "contact.update",
    "call.incoming",
    "newsletter.update",
    "backfill.progress",
    "history.synced",
    "webhook.disabled",
    "webhook.test",
];

impl Payload {
    /// The event's name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::SessionStatus(_) => "session.status",
            Self::SessionHealth(_) => "session.health",
            Self::AuthQr(_) => "auth.qr",
            Self::AuthCode(_) => "auth.code",
            Self::AccountRestricted(_) => "account.restricted",
            Self::Message(_) => "message",
            Self::MessageFromMe(_) => "message.from_me",
            Self::MessageReaction(_) => "message.reaction",
            Self::MessageEdited(_) => "message.edited",
            Self::MessageRevoked(_) => "message.revoked",
            Self::MessageStatus(_) => "message.status",
            Self::MediaReady(_) => "media.ready",
            Self::PollVote(_) => "poll.vote",
            Self::PollRecap(_) => "poll.recap",
            Self::PresenceUpdate(_) => "presence.update",
            Self::GroupUpdate(_) => "group.update",
            Self::GroupParticipant(_) => "group.participant",
            Self::ChatUpdate(_) => "chat.update",
            Self::ContactUpdate(_) => "contact.update",
            Self::CallIncoming(_) => "call.incoming",
            Self::NewsletterUpdate(_) => "newsletter.update",
            Self::BackfillProgress(_) => "backfill.progress",
            Self::HistorySynced(_) => "history.synced",
            Self::WebhookDisabled(_) => "webhook.disabled",
            Self::WebhookTest(_) => "webhook.test",
        }
    }
}

/// An event to be recorded.
#[derive(Clone, Debug, PartialEq)]
pub struct NewEvent {
    /// `evt_` and a ULID.
    pub id: String,
    /// The session that it happened to; empty for what happened to none.
    pub session: SessionId,
    /// The session's owner.
    pub organization: OrganizationId,
    /// When it is recorded.
    pub timestamp: Time,
    /// What happened.
    pub payload: Payload,
}

/// A recorded event.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Its position in the organization's log.
    pub sequence: i64,
    /// What was recorded.
    pub event: NewEvent,
    /// The session's metadata at that time.
    pub metadata: Metadata,
}

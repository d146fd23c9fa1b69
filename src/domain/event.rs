//! Entries of an organization's event log.

use serde::{Deserialize, Serialize};

use crate::domain::clock::Time;
use crate::domain::ids::{OrganizationId, SessionId, WebhookId};
use crate::domain::message::MessageStatus;
use crate::domain::session::{Metadata, State};
use crate::domain::webhook::Disabled;

/// What happened. The names are the documented ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", content = "payload")]
pub enum Payload {
    /// A session's status or its reason changed.
    #[serde(rename = "session.status")]
    SessionStatus(State),
    /// A QR code to scan.
    #[serde(rename = "auth.qr")]
    AuthQr(Code),
    /// A pairing code to type.
    #[serde(rename = "auth.code")]
    AuthCode(Code),
    /// A message was received.
    #[serde(rename = "message")]
    Message(MessagePayload),
    /// A message was sent from another device of the same account.
    #[serde(rename = "message.from_me")]
    MessageFromMe(MessagePayload),
    /// What became of messages.
    #[serde(rename = "message.status")]
    MessageStatus(MessageStatusPayload),
    /// A webhook was switched off because of what its receiver answered.
    #[serde(rename = "webhook.disabled")]
    WebhookDisabled(WebhookDisabledPayload),
    /// A webhook is tried out; never in the log.
    #[serde(rename = "webhook.test")]
    WebhookTest(WebhookId),
}

impl Payload {
    /// The event's name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::SessionStatus(_) => "session.status",
            Self::AuthQr(_) => "auth.qr",
            Self::AuthCode(_) => "auth.code",
            Self::Message(_) => "message",
            Self::MessageFromMe(_) => "message.from_me",
            Self::MessageStatus(_) => "message.status",
            Self::WebhookDisabled(_) => "webhook.disabled",
            Self::WebhookTest(_) => "webhook.test",
        }
    }
}

/// A code that attaches a number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Code {
    /// The code.
    pub code: String,
    /// When it ends.
    pub expires_at: Option<Time>,
}

/// A message as the log tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessagePayload {
    /// WhatsApp's id.
    pub wa_message_id: String,
    /// The chat's address.
    pub chat_jid: String,
    /// Whether the session's own account sent it.
    pub from_me: bool,
    /// `text`, or the word for what else it is.
    pub kind: String,
    /// Text or caption.
    pub body: Option<String>,
    /// The sender's address.
    pub sender_jid: Option<String>,
    /// The sender's LID.
    pub sender_lid: Option<String>,
    /// The name that the sender shows.
    pub push_name: Option<String>,
    /// When it was sent.
    pub timestamp: Time,
}

/// What became of messages, as the log tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageStatusPayload {
    /// The chat.
    pub chat_jid: String,
    /// WhatsApp's ids.
    pub message_ids: Vec<String>,
    /// What holds of them now.
    pub status: MessageStatus,
    /// When it happened.
    pub timestamp: Time,
    /// Who received or read them.
    pub sender_jid: Option<String>,
    /// Why they failed.
    pub error: Option<String>,
}

/// A webhook's end, as the log tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookDisabledPayload {
    /// The webhook.
    pub webhook: WebhookId,
    /// Why.
    pub reason: Disabled,
}

/// An event to be recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its position in the organization's log.
    pub sequence: i64,
    /// What was recorded.
    pub event: NewEvent,
    /// The session's metadata at that time.
    pub metadata: Metadata,
}

//! Messages.

use serde::{Deserialize, Serialize};

use crate::domain::clock::Time;
use crate::domain::content::Content;
use crate::domain::ids::{OrganizationId, SessionId};
use crate::domain::session::words;

/// What became of a message that was sent from here. The order is the order of progress; `Failed` stands beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageStatus {
    /// Stored, not yet given to WhatsApp, or not yet acknowledged by it.
    Pending,
    /// WhatsApp's server has it.
    Sent,
    /// A device of the recipient has it.
    Delivered,
    /// The recipient has seen it.
    Read,
    /// The recipient has played it.
    Played,
    /// It will not be sent.
    Failed,
}

words!(MessageStatus:
    Pending = "pending",
    Sent = "sent",
    Delivered = "delivered",
    Read = "read",
    Played = "played",
    Failed = "failed",
);

impl MessageStatus {
    /// Whether news of `next` changes anything: progress only goes forward, and nothing is known after a failure but success.
    pub fn advances_to(self, next: Self) -> bool {
        match (self, next) {
            (Self::Failed, Self::Pending | Self::Failed) => false,
            (Self::Failed, _) => true,
            (Self::Pending, Self::Failed) => true,
            (_, Self::Failed) => false,
            (now, next) => next > now,
        }
    }
}

/// Which way a message went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Received.
    In,
    /// Sent by the session's account.
    Out,
}

words!(Direction: In = "in", Out = "out");

/// What became of a message after it was stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// When its text was last changed.
    pub edited_at: Option<Time>,
    /// When it was taken back, or deleted by the account for itself.
    pub deleted_at: Option<Time>,
    /// Whether the account has marked it with a star.
    pub starred: bool,
    /// When WhatsApp's server had it.
    pub sent_at: Option<Time>,
    /// When a device of the recipient had it.
    pub delivered_at: Option<Time>,
    /// When the recipient had seen it.
    pub read_at: Option<Time>,
    /// When the recipient had played it.
    pub played_at: Option<Time>,
    /// When it failed.
    pub failed_at: Option<Time>,
}

/// A stored message. `(session, chat_jid, sender_jid, wa_message_id)` is unique.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Its id here, a ULID.
    pub id: String,
    /// The session.
    pub session: SessionId,
    /// The session's owner.
    pub organization: OrganizationId,
    /// WhatsApp's id.
    pub wa_message_id: String,
    /// The chat's address in canonical form.
    pub chat_jid: String,
    /// The sender's address in canonical form; the session's own for what it sends.
    pub sender_jid: String,
    /// The sender's LID, when it is known.
    pub sender_lid: Option<String>,
    /// The name that the sender shows.
    pub sender_name: Option<String>,
    /// Which way it went.
    pub direction: Direction,
    /// Whether the session's own account sent it.
    pub from_me: bool,
    /// `text`, or the word for what else it is.
    pub kind: String,
    /// Text or caption.
    pub body: Option<String>,
    /// The rest of what it holds.
    pub content: Content,
    /// What became of it, for what was sent from here.
    pub status: Option<MessageStatus>,
    /// Why it failed.
    pub error: Option<String>,
    /// The caller's key that makes a repeated send harmless.
    pub idempotency_key: Option<String>,
    /// SHA-256 of what the key was used for, in hex, to tell a repetition from another message.
    pub idempotency_hash: Option<String>,
    /// When it was sent, by WhatsApp's clock.
    pub timestamp: Time,
    /// When it was stored here.
    pub created_at: Time,
    /// What became of it later.
    pub marks: Marks,
}

/// News of messages that were sent from here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Whose device or eyes it was.
    pub sender_jid: Option<String>,
    /// WhatsApp's ids.
    pub message_ids: Vec<String>,
    /// What holds of them now.
    pub status: MessageStatus,
    /// Why they failed.
    pub error: Option<String>,
    /// When it happened.
    pub timestamp: Time,
}

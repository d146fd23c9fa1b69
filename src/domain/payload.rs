//! What events tell, as the log keeps it.

use serde::{Deserialize, Serialize};

use crate::domain::clock::Time;
use crate::domain::content::{Content, Media};
use crate::domain::ids::WebhookId;
use crate::domain::jid::{Address, Kind};
use crate::domain::message::MessageStatus;
use crate::domain::session::{Account, words};
use crate::domain::webhook::Disabled;

/// A person or a chat under all addresses that are known of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Who {
    /// The address under which it is told: a person's by number when that is known.
    pub jid: String,
    /// The LID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lid: Option<String>,
    /// The number in digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phone: Option<String>,
}

impl Who {
    /// By one address, from which what can be read is read.
    pub fn new(jid: impl Into<String>) -> Self {
        let jid = jid.into();
        let parsed = Address::parse("jid", &jid).ok();
        let of = |kind| parsed.as_ref().filter(|address| address.kind == kind);
        Self { lid: of(Kind::Lid).map(ToString::to_string), phone: of(Kind::Phone).map(|it| it.user.clone()), jid }
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

/// A pairing code, or what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum AuthCode {
    /// To be typed into the phone.
    Shown(Code),
    /// A phone has accepted.
    Accepted {
        /// The account.
        account: Account,
        /// What its phone runs.
        platform: Option<String>,
        /// The name of a business.
        business_name: Option<String>,
    },
}

/// A message, or what was done to one, as the log tells it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MessagePayload {
    /// WhatsApp's id.
    pub wa_message_id: String,
    /// The chat.
    pub chat: Who,
    /// Whether the session's own account sent it.
    pub from_me: bool,
    /// `text`, or the word for what else it is.
    pub kind: String,
    /// Text or caption.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The sender.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender: Option<Who>,
    /// The name that the sender shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub push_name: Option<String>,
    /// When it was sent.
    pub timestamp: Time,
    /// The rest, without keys.
    #[serde(default, skip_serializing_if = "Content::is_empty")]
    pub content: Content,
    /// WhatsApp's id of the message that something was done to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The emoji; empty when it was taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reaction: Option<String>,
    /// What was voted for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub selected: Vec<String>,
}

/// What became of messages, as the log tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageStatusPayload {
    /// The chat.
    pub chat: Who,
    /// WhatsApp's ids.
    pub message_ids: Vec<String>,
    /// What holds of them now.
    pub status: MessageStatus,
    /// When it happened.
    pub timestamp: Time,
    /// Who received or read them.
    pub sender: Option<Who>,
    /// Why they failed.
    pub error: Option<String>,
}

/// How present somebody is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PresenceState {
    /// Nothing was heard.
    #[default]
    Unknown,
    /// Online.
    Available,
    /// Not online.
    Unavailable,
    /// Writing or recording.
    Composing,
    /// No longer writing.
    Paused,
}

words!(PresenceState:
    Unknown = "unknown",
    Available = "available",
    Unavailable = "unavailable",
    Composing = "composing",
    Paused = "paused",
);

/// Somebody's presence.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence {
    /// Whose.
    pub from: Who,
    /// What it is.
    pub state: PresenceState,
    /// Where somebody writes.
    pub chat_jid: Option<String>,
    /// Whether it is a voice message that is being recorded.
    pub audio: bool,
    /// When the person was last online.
    pub last_seen: Option<Time>,
}

/// A change of a group. What is absent did not change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GroupChange {
    /// The group.
    pub group_jid: String,
    /// What happened, in WhatsApp's word.
    pub action: String,
    /// Who did it.
    pub sender: Option<Who>,
    /// The name.
    pub subject: Option<String>,
    /// The description; empty when it was removed.
    pub description: Option<String>,
    /// Whether only admins may write.
    pub is_announce: Option<bool>,
    /// Whether only admins may change it.
    pub is_locked: Option<bool>,
    /// Seconds until messages disappear.
    pub ephemeral: Option<u32>,
    /// Whether an admin must let newcomers in.
    pub approval: Option<bool>,
    /// Who came, went, was promoted or demoted, or wants to join; which of these tells `action`.
    pub people: Vec<Who>,
    /// How it came to that.
    pub reason: Option<String>,
    /// The new invite link; empty when the old one was revoked.
    pub invite: Option<String>,
    /// When.
    pub timestamp: Time,
}

impl GroupChange {
    /// Whether it is about members.
    pub fn is_about_members(&self) -> bool {
        matches!(self.action.as_str(), "add" | "remove" | "promote" | "demote")
    }
}

/// A change of a chat's state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ChatChange {
    /// The chat.
    pub chat: Who,
    /// What changed; the words are documented with `ChatUpdatePayload`.
    pub change: String,
    /// The new picture.
    pub picture_id: Option<String>,
    /// Whether it was taken away.
    pub removed: Option<bool>,
    /// Until when it is muted.
    pub muted_until: Option<Time>,
    /// Seconds until messages disappear.
    pub ephemeral: Option<u32>,
    /// WhatsApp's id of the message it is about.
    pub message_id: Option<String>,
    /// The label it is about.
    pub label_id: Option<String>,
}

/// A change of what is known of a person.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContactChange {
    /// The person.
    pub who: Who,
    /// What changed; the words are documented with `ContactUpdatePayload`.
    pub change: String,
    /// The name that the person shows.
    pub push_name: Option<String>,
    /// The address book's full name.
    pub full_name: Option<String>,
    /// The address book's first name.
    pub first_name: Option<String>,
    /// A business's verified name.
    pub business_name: Option<String>,
    /// What the person says about itself.
    pub about: Option<String>,
    /// The new picture.
    pub picture_id: Option<String>,
    /// Whether the picture was taken away.
    pub picture_removed: Option<bool>,
    /// The number before.
    pub previous_jid: Option<String>,
    /// Seconds until messages in new chats disappear.
    pub ephemeral: Option<u32>,
}

/// How a call stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallStatus {
    /// It rings.
    #[default]
    Ringing,
    /// It rang while we were away.
    Missed,
    /// The caller gave up.
    Ended,
    /// Another device of the account dealt with it.
    Elsewhere,
}

words!(CallStatus: Ringing = "ringing", Missed = "missed", Ended = "ended", Elsewhere = "elsewhere");

/// A call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// WhatsApp's id.
    pub call_id: String,
    /// Who calls.
    pub from: Who,
    /// When.
    pub timestamp: Time,
    /// Whether it is a group's.
    pub is_group: bool,
    /// The group.
    pub group_jid: Option<String>,
    /// Whether it has pictures; not known once it is over.
    pub is_video: Option<bool>,
    /// How it stands.
    pub status: CallStatus,
}

/// A change of a channel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewsletterChange {
    /// The channel.
    pub jid: String,
    /// `join`, `leave`, `mute`, `unmute`, `update` or `reactions`.
    pub action: String,
    /// The channel's own number of the message.
    pub server_id: Option<i64>,
    /// All reactions to it, each with its number.
    pub reactions: Vec<(String, i64)>,
}

/// How a poll ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PollRecap {
    /// WhatsApp's id of the poll.
    pub wa_message_id: String,
    /// The chat.
    pub chat_jid: String,
    /// The question.
    pub name: String,
    /// The answers with their votes.
    pub options: Vec<(String, i64)>,
    /// How many could be chosen.
    pub selectable: u32,
    /// When it ended.
    pub end_at: Time,
    /// Whether others do not see who voted for what.
    pub hide_votes: bool,
    /// How many people have voted.
    pub total: i64,
    /// Who chose what.
    pub voters: Vec<Voter>,
}

/// What one person chose.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Voter {
    /// The person's address.
    pub jid: String,
    /// What the person is called.
    pub name: String,
    /// What it chose.
    pub selected: Vec<String>,
}

/// How a working session fares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Whether all is well again.
    pub healthy: bool,
    /// What is or was the matter.
    pub problem: Problem,
    /// When it began.
    pub since: Time,
}

/// What can be the matter with a working session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Problem {
    /// Nothing was heard for too long.
    Deaf,
    /// The connection is lost again and again.
    Flapping,
    /// The device's state cannot be saved.
    SaverHalted,
}

words!(Problem: Deaf = "deaf", Flapping = "flapping", SaverHalted = "saver_halted");

impl Problem {
    /// For people to read.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Deaf => "nothing was heard from WhatsApp for too long; the connection is made anew",
            Self::Flapping => "the connection to WhatsApp is lost again and again",
            Self::SaverHalted => "the device's state cannot be saved; the client is made anew",
        }
    }
}

/// A restriction of the account by WhatsApp.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restriction {
    /// Whether it is restricted now.
    pub restricted: bool,
    /// `cold_messages`, `rate` or `banned`.
    pub kind: String,
    /// WhatsApp's code.
    pub code: Option<String>,
    /// For people to read.
    pub message: String,
    /// When it ends.
    pub until: Option<Time>,
}

/// A stored part of the history.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistorySynced {
    /// What kind of part.
    pub kind: String,
    /// Its number.
    pub chunk: Option<i64>,
    /// How much of the whole has come, in percent.
    pub progress: Option<i64>,
    /// Chats in it.
    pub chats: i64,
    /// Messages that were new.
    pub messages: i64,
    /// Names of people in it.
    pub contacts: i64,
}

/// A message's file, ready or lost.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MediaReady {
    /// The chat.
    pub chat_jid: String,
    /// WhatsApp's id of the message.
    pub wa_message_id: String,
    /// The message's id here.
    pub message_id: String,
    /// What is known of the file.
    pub media: Media,
    /// Why it cannot be had; `None` when it is ready.
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

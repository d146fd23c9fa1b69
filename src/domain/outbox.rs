//! The outbox: what is to be sent, in which order, and how far it has come.

use std::collections::HashMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::domain::clock::Time;
use crate::domain::content::Content;
use crate::domain::ids::{OrganizationId, SessionId};
use crate::domain::session::words;

/// How long a message may wait for its session to be connected, from the moment in which it is due.
pub const PATIENCE: Duration = Duration::from_secs(24 * 3600);

/// How long one attempt may take, uploads included; afterwards others may try.
pub const CLAIM: Duration = Duration::from_secs(180);

/// How far a message has come on its way to WhatsApp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OutboxState {
    /// It waits for its time, its turn, or its session.
    Queued,
    /// It is being given to WhatsApp.
    Sending,
    /// It was given to WhatsApp, which has not said that it has it; it goes out again under the same id.
    Unknown,
    /// WhatsApp has it.
    Sent,
    /// It will not be sent.
    Failed,
    /// A caller took it back before it was sent.
    Cancelled,
}

words!(OutboxState:
    Queued = "queued",
    Sending = "sending",
    Unknown = "unknown",
    Sent = "sent",
    Failed = "failed",
    Cancelled = "cancelled",
);

impl OutboxState {
    /// Whether nothing more will happen to it here.
    pub fn is_settled(self) -> bool {
        matches!(self, Self::Sent | Self::Failed | Self::Cancelled)
    }
}

/// Whom a message goes to; lower ones go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Somebody who has written to this number, a group, or a channel.
    Reply,
    /// Somebody who was written to before and has not answered yet.
    Known,
    /// Somebody with whom there is no conversation.
    Cold,
}

impl Lane {
    /// As it is stored.
    pub fn number(self) -> i64 {
        match self {
            Self::Reply => 0,
            Self::Known => 1,
            Self::Cold => 2,
        }
    }

    /// From its stored form.
    pub fn from_number(number: i64) -> Option<Self> {
        [Self::Reply, Self::Known, Self::Cold].into_iter().find(|lane| lane.number() == number)
    }
}

/// What is sent, whatever its kind: enough to build the same message again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Draft {
    /// `text`, `image`, `poll`, …
    pub kind: String,
    /// Text or caption.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Everything beside the text.
    pub content: Content,
    /// The message that it answers, for its preview.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quoted: Option<Box<Quoted>>,
    /// The album that it belongs to, by WhatsApp's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub album: Option<String>,
    /// Of an album: how many pictures and how many films follow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expects: Option<(u32, u32)>,
    /// The file that is uploaded before it is sent, by its id here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The trace of the request that wanted it, as a `traceparent`: its way to WhatsApp is seen as a part of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
}

/// A message that is shown above its answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Quoted {
    /// `text`, `image`, `poll`, …
    pub kind: String,
    /// Text or caption.
    pub body: Option<String>,
    /// Everything beside the text.
    pub content: Content,
}

/// One message in the outbox.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// The message's id here.
    pub id: String,
    /// The session that sends it.
    pub session: SessionId,
    /// The session's owner.
    pub organization: OrganizationId,
    /// WhatsApp's id of it, chosen here.
    pub wa_message_id: String,
    /// Where it goes, in canonical form.
    pub chat_jid: String,
    /// How far it is.
    pub state: OutboxState,
    /// Whom it goes to.
    pub lane: Lane,
    /// Whether it may wait for its budget, its session, or the end of a restriction; otherwise its caller is told at once.
    pub patient: bool,
    /// What is sent.
    pub draft: Draft,
    /// Not before this.
    pub due_at: Time,
    /// Settled by then.
    pub expires_at: Time,
    /// When it took its place in the session's budget.
    pub released_at: Option<Time>,
    /// How often it was given to WhatsApp.
    pub attempts: i64,
    /// Why it ended as it did, one word.
    pub reason: Option<String>,
    /// When it was accepted here.
    pub created_at: Time,
    /// When it was first given to WhatsApp.
    pub sending_at: Option<Time>,
    /// When it was settled.
    pub settled_at: Option<Time>,
}

/// The next messages of different chats, one each, in the order in which they go: answers before first words, and among equals the chat
/// that has waited longest since it had a turn. `served` says when each chat had its last one.
pub fn in_turn(mut heads: Vec<Item>, served: &HashMap<String, u64>) -> Vec<Item> {
    heads.sort_by(|a, b| {
        let key = |item: &Item| (item.lane, served.get(&item.chat_jid).copied().unwrap_or(0), item.released_at.is_none());
        key(a).cmp(&key(b)).then_with(|| a.id.cmp(&b.id))
    });
    heads
}

/// How long after its `attempts`th attempt a message of which nothing is known goes out again: 2 seconds, doubling, at most a minute.
pub fn retry_after(attempts: i64) -> Duration {
    let doublings = u32::try_from(attempts.clamp(1, 6) - 1).unwrap_or(0);
    Duration::from_secs((2u64 << doublings).min(60))
}

/// How many people who were never written to may be written to in a day. `limit` 0 means any number; a number that was attached `age`
/// ago comes to its limit over `warm_up_days`, by equal steps.
pub fn new_contacts(limit: i32, warm_up_days: i32, age: Duration) -> Option<i64> {
    if limit <= 0 {
        return None;
    }
    let (limit, days) = (i64::from(limit), i64::from(warm_up_days));
    let day = i64::try_from(age.as_secs() / 86_400).unwrap_or(i64::MAX).saturating_add(1);
    Some(if day >= days { limit } else { (limit.saturating_mul(day) / days).max(1) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(id: &str, chat: &str, lane: Lane) -> Item {
        Item {
            id: id.into(),
            session: SessionId::new("s"),
            organization: OrganizationId::new("o"),
            wa_message_id: id.into(),
            chat_jid: chat.into(),
            state: OutboxState::Queued,
            lane,
            patient: true,
            draft: Draft::default(),
            due_at: Time(0),
            expires_at: Time(0),
            released_at: None,
            attempts: 0,
            reason: None,
            created_at: Time(0),
            sending_at: None,
            settled_at: None,
        }
    }

    #[test]
    fn answers_go_first_and_chats_take_turns() {
        let heads = vec![
            item("1", "cold", Lane::Cold),
            item("2", "busy", Lane::Reply),
            item("3", "patient", Lane::Reply),
            item("4", "known", Lane::Known),
        ];
        let served = HashMap::from([("busy".to_owned(), 9), ("cold".to_owned(), 0)]);
        let order: Vec<String> = in_turn(heads, &served).into_iter().map(|item| item.chat_jid).collect();
        assert_eq!(order, ["patient", "busy", "known", "cold"]);
    }

    #[test]
    fn waits_grow_to_a_minute() {
        let waits: Vec<u64> = (1..=8).map(|attempt| retry_after(attempt).as_secs()).collect();
        assert_eq!(waits, [2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(retry_after(0), retry_after(1));
    }

    #[test]
    fn a_fresh_number_comes_to_its_limit_by_steps() {
        let day = |days: u64| Duration::from_secs(days * 86_400);
        assert_eq!(new_contacts(0, 10, day(0)), None, "no limit");
        let ramp: Vec<_> = [0, 1, 4, 8, 9, 100].map(|days| new_contacts(50, 10, day(days))).into_iter().flatten().collect();
        assert_eq!(ramp, [5, 10, 25, 45, 50, 50]);
        assert_eq!(new_contacts(3, 30, day(0)), Some(1), "never none");
        assert_eq!(new_contacts(3, 0, day(0)), Some(3), "no ramp");
    }
}

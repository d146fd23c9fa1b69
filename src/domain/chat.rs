//! Conversations.

use crate::domain::clock::Time;
use crate::domain::content::Poll;
use crate::domain::ids::SessionId;
use crate::domain::session::words;

/// What kind of conversation it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChatKind {
    /// With one person.
    Dm,
    /// In a group.
    Group,
    /// A channel's posts.
    Newsletter,
    /// A list that messages are sent to.
    Broadcast,
    /// Everybody's status posts.
    Status,
}

words!(ChatKind:
    Dm = "dm",
    Group = "group",
    Newsletter = "newsletter",
    Broadcast = "broadcast",
    Status = "status",
);

impl ChatKind {
    /// By the chat's address.
    pub fn of(jid: &str) -> Self {
        match jid.split_once('@') {
            Some(("status", "broadcast")) => Self::Status,
            Some((_, "broadcast")) => Self::Broadcast,
            Some((_, "g.us")) => Self::Group,
            Some((_, "newsletter")) => Self::Newsletter,
            _ => Self::Dm,
        }
    }
}

/// A conversation as one session has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chat {
    /// Grows with each new chat.
    pub id: i64,
    /// Whose.
    pub session: SessionId,
    /// The address under which it is told.
    pub jid: String,
    /// What kind.
    pub kind: ChatKind,
    /// What it is called: a person's or a group's name.
    pub name: Option<String>,
    /// Received messages that were not read.
    pub unread: i64,
    /// Whether it was marked as unread by hand.
    pub marked_unread: bool,
    /// Whether it is put away.
    pub archived: bool,
    /// Whether it stays at the top.
    pub pinned: bool,
    /// Until when it makes no sound.
    pub muted_until: Option<Time>,
    /// Seconds until messages disappear; 0 for never.
    pub ephemeral: i64,
    /// When the last message was sent; 0 before the first.
    pub last_message_at: Time,
    /// Further addresses of the person.
    pub aliases: Vec<String>,
}

/// What is to hold of a chat; what is absent stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChatPatch {
    /// Whether it is put away.
    pub archived: Option<bool>,
    /// Whether it stays at the top.
    pub pinned: Option<bool>,
    /// Until when it makes no sound; `Some(None)` lets it.
    pub muted_until: Option<Option<Time>>,
    /// Seconds until messages disappear.
    pub ephemeral: Option<i64>,
    /// Whether it is marked as unread.
    pub marked_unread: Option<bool>,
}

/// A reaction to a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reaction {
    /// By whom.
    pub sender_jid: String,
    /// Whether it is the account's own.
    pub from_me: bool,
    /// With what.
    pub emoji: String,
    /// When.
    pub timestamp: Time,
}

/// A vote in a poll.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vote {
    /// By whom.
    pub sender_jid: String,
    /// What the person is called.
    pub name: Option<String>,
    /// Whether it is the account's own.
    pub from_me: bool,
    /// For what.
    pub selected: Vec<String>,
    /// When.
    pub timestamp: Time,
}

/// How many votes each answer of a poll has, in the answers' order.
pub fn tally(poll: &Poll, votes: &[Vote]) -> Vec<(String, i64)> {
    let count = |option: &String| votes.iter().filter(|vote| vote.selected.contains(option)).count();
    poll.options.iter().map(|option| (option.clone(), i64::try_from(count(option)).unwrap_or(i64::MAX))).collect()
}

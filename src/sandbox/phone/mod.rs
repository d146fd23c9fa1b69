//! The simulated primary phones: device 0 of each account, with full Signal both ways.
//!
//! A phone is always on, so it works on what arrives within the same step of the world. It talks to others only through the
//! server's own paths (`distribute`, `relay_receipt`), like any device.

mod act;
pub(super) mod call;
mod compose;
mod content;
mod file;
mod group;
pub(super) mod link;
pub(super) mod media;
pub(super) mod message;
mod number;
pub(super) mod passkey;
pub(super) mod peer;
mod poll;
mod receive;
mod retry;
mod send;
pub(super) mod signal;

use wacore_binary::{Jid, JidExt as _};

/// Whom a phone writes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Chat {
    /// An account, by number.
    Person(String),
    /// A group, by the first part of its address.
    Group(String),
    /// Status posts, for those with these numbers.
    Status(Vec<String>),
}

/// Whether a chat has many readers, so that the author of each message is named apart.
pub(super) fn has_many(chat: &Jid) -> bool {
    chat.is_group() || chat.is_status_broadcast()
}

impl Chat {
    /// The chat's name in the phone's rows.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Person(number) => Jid::pn(number.as_str()).to_string(),
            Self::Group(id) => Jid::group(id.as_str()).to_string(),
            Self::Status(_) => Jid::status_broadcast().to_string(),
        }
    }
}

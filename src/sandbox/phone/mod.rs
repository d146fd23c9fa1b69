//! The simulated primary phones: device 0 of each account, with full Signal both ways.
//!
//! A phone is always on, so it works on what arrives within the same step of the world. It talks to others only through the
//! server's own paths (`distribute`, `relay_receipt`), like any device.

mod compose;
mod content;
mod group;
pub(super) mod link;
pub(super) mod media;
pub(super) mod message;
pub(super) mod passkey;
pub(super) mod peer;
mod poll;
mod receive;
mod retry;
mod send;
pub(super) mod signal;

use wacore_binary::Jid;

/// Whom a phone writes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Chat {
    /// An account, by number.
    Person(String),
    /// A group, by the first part of its address.
    Group(String),
}

impl Chat {
    /// The chat's name in the phone's rows.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Person(number) => Jid::pn(number.as_str()).to_string(),
            Self::Group(id) => Jid::group(id.as_str()).to_string(),
        }
    }
}

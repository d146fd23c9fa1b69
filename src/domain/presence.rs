//! Who is there and who types, as far as WhatsApp tells.

use std::time::Duration;

use crate::domain::clock::Time;

/// After this long without news nobody types any more.
pub const TYPING: Duration = Duration::from_secs(25);

/// What is known of a person.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Presence {
    /// Nothing was told.
    #[default]
    Unknown,
    /// There.
    Available,
    /// Away.
    Unavailable,
    /// Typing, or recording when `audio`.
    Composing {
        /// A voice message, and no text.
        audio: bool,
    },
    /// Has stopped typing.
    Paused,
}

/// The last news of one person in one chat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The chat.
    pub chat: String,
    /// Who it is about.
    pub who: String,
    /// What was told.
    pub presence: Presence,
    /// When the person was last there, if that was told.
    pub last_seen: Option<Time>,
    /// When it was told.
    pub at: Time,
}

impl Seen {
    /// What still holds of it.
    pub fn now(&self, now: Time) -> Presence {
        match self.presence {
            Presence::Composing { .. } if now.since(self.at) > TYPING => Presence::Available,
            presence => presence,
        }
    }
}

/// What is shown in a chat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// "typing…"
    Composing,
    /// "recording audio…"
    Recording,
    /// Nothing any more.
    Paused,
}

//! What people do in chats.

use std::fmt;

use crate::domain::content::Content;

/// What somebody did.
#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    /// Sent a message.
    Message {
        /// `text`, or the word for what else it is.
        kind: &'static str,
        /// Text or caption.
        body: Option<String>,
        /// The rest.
        content: Content,
    },
    /// Reacted to a message.
    Reaction {
        /// To which.
        target: Target,
        /// With what; empty to take it back.
        emoji: String,
    },
    /// Changed a message.
    Edit {
        /// Which.
        target: Target,
        /// The new text or caption.
        body: Option<String>,
        /// The rest as it is now.
        content: Content,
    },
    /// Took a message back.
    Revoke {
        /// Which.
        target: Target,
    },
    /// Voted in a poll.
    Vote {
        /// In which.
        poll: Target,
        /// For what, encrypted with the poll's secret.
        sealed: Sealed,
    },
    /// Pinned a message in the chat, or took the pin away.
    Pin {
        /// Which.
        target: Target,
        /// Whether it is pinned now.
        pinned: bool,
    },
    /// Set after how many seconds messages of the chat disappear; 0 for never.
    Ephemeral {
        /// The seconds.
        seconds: u32,
    },
}

impl Act {
    /// The word for it, as events have it in `type`.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Message { kind, .. } => kind,
            Self::Reaction { .. } => "reaction",
            Self::Edit { .. } => "edited",
            Self::Revoke { .. } => "revoked",
            Self::Vote { .. } => "vote",
            Self::Pin { .. } => "pin",
            Self::Ephemeral { .. } => "ephemeral",
        }
    }
}

/// The message that something is done to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// WhatsApp's id of it.
    pub wa_message_id: String,
    /// Whether who does it says that it is their own message.
    pub from_me: bool,
    /// Who sent it, where the key says so.
    pub sender: Option<String>,
}

/// Something that only who has the message's secret can read.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed {
    /// The ciphertext.
    pub payload: Vec<u8>,
    /// The nonce.
    pub iv: Vec<u8>,
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} sealed bytes", self.payload.len())
    }
}

//! Channels, WhatsApp's newsletters.

use crate::domain::clock::Time;

/// What the account is in a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelRole {
    /// Its owner.
    Owner,
    /// One of its admins.
    Admin,
    /// It follows.
    Subscriber,
    /// It does not follow.
    Guest,
}

/// A channel as WhatsApp tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    /// Its address.
    pub jid: String,
    /// Its name.
    pub name: String,
    /// Its text about itself.
    pub description: Option<String>,
    /// How many follow it.
    pub followers: u64,
    /// What the account is in it.
    pub role: Option<ChannelRole>,
    /// Whether WhatsApp has verified it.
    pub verified: bool,
    /// The code of its invitation.
    pub invite: Option<String>,
    /// When it was founded.
    pub created_at: Option<Time>,
}

/// A message of a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelMessage {
    /// The server's number of it, which grows with time.
    pub server_id: u64,
    /// WhatsApp's id.
    pub wa_message_id: String,
    /// Whether the account sent it.
    pub from_me: bool,
    /// `text`, or the word for what else it is.
    pub kind: &'static str,
    /// Text or caption.
    pub body: Option<String>,
    /// When it was sent.
    pub timestamp: Time,
    /// How often the followers reacted with which emoji.
    pub reactions: Vec<(String, u64)>,
}

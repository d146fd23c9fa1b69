//! What a phone shows: messages as a person sees them, decrypted.

use serde::{Deserialize, Serialize};

use crate::domain::clock::Time;

/// Which way a message went, as its phone sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Received.
    In,
    /// Sent by the phone or by another device of its account.
    Out,
}

/// What became of a message. Later states of a sent message are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageState {
    /// Received, and the phone could not decrypt it.
    Undecryptable,
    /// Received and decrypted.
    Received,
    /// Sent; the server has it.
    Sent,
    /// A device of the recipient has it.
    Delivered,
    /// The recipient has read it.
    Read,
    /// The recipient has listened to it or looked at it.
    Played,
}

/// A message as a phone shows it, decrypted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PhoneMessage {
    /// WhatsApp's id.
    pub id: String,
    /// The other side's address by number, such as `6281234567890@s.whatsapp.net`, or the group's.
    pub chat: String,
    /// Which way it went.
    pub direction: Direction,
    /// The author's address by number.
    #[serde(default)]
    pub sender: String,
    /// `text`, `image`, `location`, `contact`, `poll`, `vote`, `reaction`, …; `revoked` for one that was taken back.
    #[serde(default)]
    pub kind: String,
    /// Its text, caption, name, question or emoji; empty when it has none.
    pub text: String,
    /// The id of the message that it answers, reacts to or votes on.
    #[serde(default)]
    pub target: Option<String>,
    /// What the message that it answers says, as it carries it along.
    #[serde(default)]
    pub quoted: Option<String>,
    /// Whether its author has changed it.
    #[serde(default)]
    pub edited: bool,
    /// Whether it can be looked at only once.
    #[serde(default)]
    pub view_once: bool,
    /// Whether it was passed on from another chat.
    #[serde(default)]
    pub forwarded: bool,
    /// Seconds after which it disappears; 0 for never.
    #[serde(default)]
    pub expires: u32,
    /// The addresses of those it names, as the message has them.
    #[serde(default)]
    pub mentions: Vec<String>,
    /// The file.
    #[serde(default)]
    pub media: Option<Media>,
    /// The place.
    #[serde(default)]
    pub location: Option<Location>,
    /// The cards.
    #[serde(default)]
    pub contacts: Vec<Card>,
    /// The poll with its votes so far.
    #[serde(default)]
    pub poll: Option<Poll>,
    /// The reactions to it, one for each person.
    #[serde(default)]
    pub reactions: Vec<Reaction>,
    /// What became of it.
    pub state: MessageState,
    /// When it was sent.
    pub timestamp: Time,
    /// When a device of the recipient had it (sent), or the phone had it (received).
    pub delivered_at: Option<Time>,
    /// When it was read.
    pub read_at: Option<Time>,
    /// How often it arrived; more than 1 means that it was sent more than once.
    pub arrivals: u32,
}

/// A file in a message. Where the file lies is in the message, which the phone keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Media {
    /// Its type, such as `image/jpeg`.
    pub mime_type: String,
    /// Its name; documents have one.
    pub file_name: String,
    /// Its length in bytes, as the message says.
    pub length: u64,
    /// The SHA-256 of the plain file in lower-case hexadecimal, as the message says.
    pub sha256: String,
    /// How long it plays, in seconds.
    pub seconds: u32,
    /// Its width in pixels; 0 when the message does not say.
    pub width: u32,
    /// Its height in pixels; 0 when the message does not say.
    pub height: u32,
    /// Whether it is a voice message.
    pub voice: bool,
    /// Whether it moves: a GIF or an animated sticker.
    pub animated: bool,
    /// How many bytes of preview come with it.
    pub thumbnail: u32,
    /// The id of the album that it belongs to.
    pub album: Option<String>,
}

/// A place.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Location {
    /// Degrees north.
    pub latitude: f64,
    /// Degrees east.
    pub longitude: f64,
    /// Its name; may be empty.
    pub name: String,
    /// Its address; may be empty.
    pub address: String,
}

/// A contact card.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Card {
    /// The name that the message shows.
    pub name: String,
    /// The card in the vCard format.
    pub vcard: String,
}

/// A poll.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Poll {
    /// What can be chosen, in order.
    pub options: Vec<PollOption>,
    /// How many can be chosen; 0 for all.
    pub selectable: u32,
}

/// An option of a poll.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PollOption {
    /// Its text.
    pub name: String,
    /// The addresses by number of those who chose it.
    pub voters: Vec<String>,
}

/// A reaction.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reaction {
    /// The address by number of who reacts.
    pub sender: String,
    /// The emoji.
    pub emoji: String,
}

impl Default for PhoneMessage {
    fn default() -> Self {
        Self {
            id: String::new(),
            chat: String::new(),
            direction: Direction::In,
            sender: String::new(),
            kind: String::new(),
            text: String::new(),
            target: None,
            quoted: None,
            edited: false,
            view_once: false,
            forwarded: false,
            expires: 0,
            mentions: Vec::new(),
            media: None,
            location: None,
            contacts: Vec::new(),
            poll: None,
            reactions: Vec::new(),
            state: MessageState::Received,
            timestamp: Time::default(),
            delivered_at: None,
            read_at: None,
            arrivals: 1,
        }
    }
}

impl PhoneMessage {
    /// This row with what `content` says.
    pub(in crate::sandbox) fn saying(self, content: Self) -> Self {
        Self {
            id: self.id,
            chat: self.chat,
            direction: self.direction,
            sender: self.sender,
            state: self.state,
            timestamp: self.timestamp,
            delivered_at: self.delivered_at,
            read_at: self.read_at,
            arrivals: self.arrivals,
            ..content
        }
    }
}

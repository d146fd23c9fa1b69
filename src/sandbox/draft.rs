//! What a person wants their phone to send.

use super::seen::{Card, Location};

/// A message to be sent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Draft {
    /// What it says.
    pub content: Content,
    /// The id of a message of the same chat that it answers.
    pub quote: Option<String>,
    /// The numbers or addresses of those it names; the text says `@` and their number.
    pub mentions: Vec<String>,
    /// Whether it is passed on from another chat.
    pub forwarded: bool,
    /// Whether it can be looked at only once; for images, videos and voice messages.
    pub view_once: bool,
    /// Seconds after which it disappears; 0 for never.
    pub expires: u32,
    /// Who gets a status post, by number or address; nobody named means everybody whom the phone has exchanged messages with.
    pub audience: Vec<String>,
}

/// The kinds of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// JPEG, PNG, …
    Image,
    /// MP4.
    Video,
    /// A voice message or other audio.
    Audio,
    /// Anything.
    Document,
    /// WebP.
    Sticker,
}

/// A file to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// What it is shown as.
    pub kind: FileKind,
    /// The plain file; a generated sample when empty, which there is for images, stickers, audio and documents.
    pub bytes: Vec<u8>,
    /// What is written below it; for images, videos and documents.
    pub caption: String,
    /// Its type; found out from the bytes when empty.
    pub mime_type: String,
    /// Its name; for documents.
    pub file_name: String,
    /// How long it plays, in seconds.
    pub seconds: u32,
    /// Whether it is a voice message.
    pub voice: bool,
    /// Whether it moves: a video as a GIF, or an animated sticker.
    pub animated: bool,
    /// The id of the album that it belongs to.
    pub album: Option<String>,
}

impl File {
    /// A file of this kind with these bytes and nothing else.
    pub fn new(kind: FileKind, bytes: Vec<u8>) -> Self {
        Self {
            kind,
            bytes,
            caption: String::new(),
            mime_type: String::new(),
            file_name: String::new(),
            seconds: 0,
            voice: false,
            animated: false,
            album: None,
        }
    }
}

/// What a message says.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// A text.
    Text(String),
    /// A file.
    Media(Box<File>),
    /// The head of an album, to which images and videos are added by its id.
    Album {
        /// How many images will come.
        images: u32,
        /// How many videos will come.
        videos: u32,
    },
    /// A place.
    Location(Location),
    /// Contact cards, at least one.
    Contacts(Vec<Card>),
    /// A poll.
    Poll {
        /// What is asked.
        question: String,
        /// What can be chosen.
        options: Vec<String>,
        /// How many; 0 for all.
        selectable: u32,
    },
    /// A vote in a poll; it replaces an earlier one of the same person.
    Vote {
        /// The poll's id.
        message: String,
        /// What is chosen; nothing takes the vote back.
        options: Vec<String>,
    },
    /// A reaction.
    Reaction {
        /// The message's id.
        message: String,
        /// The emoji; empty takes the reaction back.
        emoji: String,
    },
    /// A change of a message of the phone's own.
    Edit {
        /// The message's id.
        message: String,
        /// Its new text or caption.
        text: String,
    },
    /// Takes a message back for everybody.
    Revoke {
        /// The message's id.
        message: String,
    },
}

impl Default for Content {
    fn default() -> Self {
        Self::Text(String::new())
    }
}

impl From<&str> for Draft {
    fn from(text: &str) -> Self {
        Self::from(Content::Text(text.to_owned()))
    }
}

impl From<Content> for Draft {
    fn from(content: Content) -> Self {
        Self { content, ..Self::default() }
    }
}

impl From<&String> for Draft {
    fn from(text: &String) -> Self {
        Self::from(text.as_str())
    }
}

//! What a message holds beside its text.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::domain::clock::Time;

/// Everything of a message that is not its text or caption. What is absent is not part of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Content {
    /// The file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub media: Option<Media>,
    /// The place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<Location>,
    /// Shared contacts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub contacts: Vec<Card>,
    /// The poll.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub poll: Option<Poll>,
    /// The message that it answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quote: Option<Quote>,
    /// Who is mentioned.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mentions: Vec<Mention>,
    /// Seconds after which it disappears.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ephemeral: Option<u32>,
    /// Whether it may be looked at once only.
    #[serde(skip_serializing_if = "is_false")]
    pub view_once: bool,
    /// How often it was forwarded.
    #[serde(skip_serializing_if = "is_zero")]
    pub forwarded: u32,
    /// The message's own secret: what others do to the message (votes, encrypted edits) is encrypted with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<Blob>,
}

impl Content {
    /// Whether there is nothing beside the text.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// As it is told to others: without keys and previews, which the event log has no use for.
    #[must_use]
    pub fn told(mut self) -> Self {
        self.secret = None;
        if let Some(media) = &mut self.media {
            media.keys = None;
            media.thumbnail = None;
        }
        self
    }

    /// The stored form; `None` when there is nothing to store.
    pub fn to_json(&self) -> Option<String> {
        (!self.is_empty()).then(|| serde_json::to_string(self).unwrap_or_default())
    }
}

/// A file that belongs to a message.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Media {
    /// Its media type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mimetype: Option<String>,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filename: Option<String>,
    /// Its size in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<i64>,
    /// How wide, in pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    /// How high, in pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
    /// How long, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u32>,
    /// Whether it is a voice message.
    #[serde(skip_serializing_if = "is_false")]
    pub voice: bool,
    /// Whether it is a film that is played like a picture, or a sticker that moves.
    #[serde(skip_serializing_if = "is_false")]
    pub animated: bool,
    /// SHA-256 of the file, in hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// A small preview, a JPEG.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thumbnail: Option<Blob>,
    /// With what it can be fetched and decrypted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys: Option<MediaKeys>,
}

/// With what a file can be fetched from WhatsApp's servers and decrypted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MediaKeys {
    /// Where it lies, without host.
    pub direct_path: String,
    /// The key from which the others are derived.
    pub media_key: Blob,
    /// SHA-256 of the file.
    pub file_sha256: Blob,
    /// SHA-256 of what lies on the server.
    pub file_enc_sha256: Blob,
    /// Seconds since 1970 at which the key was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub media_key_timestamp: Option<i64>,
}

/// A place.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Location {
    /// Degrees north.
    pub latitude: f64,
    /// Degrees east.
    pub longitude: f64,
    /// What it is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Whether the sender shares where it is from moment to moment.
    #[serde(default, skip_serializing_if = "is_false")]
    pub live: bool,
}

/// A shared contact.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Card {
    /// The name that it shows.
    pub display_name: Option<String>,
    /// The vCard.
    pub vcard: Option<String>,
}

/// A poll.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Poll {
    /// The question.
    pub name: String,
    /// The answers.
    pub options: Vec<String>,
    /// How many may be chosen; 0 for any number.
    pub selectable: u32,
    /// When it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_at: Option<Time>,
    /// Whether others do not see who voted for what.
    #[serde(default, skip_serializing_if = "is_false")]
    pub hide_votes: bool,
}

/// The message that another one answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quote {
    /// WhatsApp's id of it.
    pub wa_message_id: String,
    /// Who sent it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender_jid: Option<String>,
    /// The sender's LID, when it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender_lid: Option<String>,
    /// Its text or caption.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Whether the session's own account sent it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub from_me: bool,
}

/// Somebody who is named in a text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mention {
    /// The address, as it was written.
    pub jid: String,
    /// The LID, when it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lid: Option<String>,
    /// The number in digits, when it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phone: Option<String>,
    /// The name that the person shows, when it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub push_name: Option<String>,
}

/// Bytes that stand in JSON as base64, and in no log at all.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Blob(pub Vec<u8>);

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map(Self).map_err(de::Error::custom)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives references")]
fn is_false(it: &bool) -> bool {
    !it
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives references")]
fn is_zero(it: &u32) -> bool {
    *it == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_has_no_keys_and_what_is_stored_comes_back() {
        let keys = MediaKeys { direct_path: "/v/x".into(), media_key: Blob(vec![1, 2, 3]), ..MediaKeys::default() };
        let media = Media { keys: Some(keys), thumbnail: Some(Blob(vec![9])), size: Some(5), ..Media::default() };
        let content = Content { media: Some(media), secret: Some(Blob(vec![7; 32])), ..Content::default() };
        let json = content.to_json().unwrap();
        assert_eq!(serde_json::from_str::<Content>(&json).unwrap(), content);
        let told = content.told().to_json().unwrap();
        assert_eq!(told, r#"{"media":{"size":5}}"#);
        assert_eq!(Content::default().to_json(), None);
        assert!(!format!("{:?}", Blob(b"secret".to_vec())).contains("secret"));
    }
}

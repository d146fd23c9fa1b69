//! Files that go with messages: pictures, films, recordings, documents, stickers.

use crate::domain::clock::Time;
use crate::domain::ids::{MediaId, OrganizationId, SessionId};
use crate::domain::session::words;

/// What a file is to WhatsApp. Keys are derived differently for each, so a file that was sent as one cannot be read as another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MediaKind {
    /// A picture.
    Image,
    /// A film, also a silent one that plays in a loop.
    Video,
    /// A piece of music or another sound file.
    Audio,
    /// A recording that was made to be heard at once.
    Voice,
    /// Any file, offered for saving.
    Document,
    /// A sticker, WebP.
    Sticker,
}

words!(MediaKind:
    Image = "image",
    Video = "video",
    Audio = "audio",
    Voice = "voice",
    Document = "document",
    Sticker = "sticker",
);

impl MediaKind {
    /// What a file of this type is sent as when nobody says otherwise.
    pub fn of(mimetype: &str) -> Self {
        match mimetype.split('/').next().unwrap_or_default() {
            "image" => Self::Image,
            "video" => Self::Video,
            "audio" => Self::Audio,
            _ => Self::Document,
        }
    }
}

/// Where a message's file lies at WhatsApp, and what opens it. Whoever has this can read the file.
#[derive(Clone, PartialEq, Eq)]
pub struct Reference {
    /// What it was sent as.
    pub kind: MediaKind,
    /// The path below WhatsApp's media hosts.
    pub direct_path: String,
    /// The key that others are derived from, 32 bytes.
    pub media_key: Vec<u8>,
    /// SHA-256 of the file.
    pub file_sha256: Vec<u8>,
    /// SHA-256 of what lies at WhatsApp.
    pub file_enc_sha256: Vec<u8>,
    /// The file's length in bytes, as the sender told it.
    pub file_length: u64,
}

impl std::fmt::Debug for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reference").field("kind", &self.kind).field("file_length", &self.file_length).finish_non_exhaustive()
    }
}

/// A file that was given to WhatsApp: what its message must carry.
#[derive(Clone, PartialEq, Eq)]
pub struct Uploaded {
    /// Its whole address.
    pub url: String,
    /// The path below WhatsApp's media hosts.
    pub direct_path: String,
    /// The key that others are derived from.
    pub media_key: [u8; 32],
    /// SHA-256 of the file.
    pub file_sha256: [u8; 32],
    /// SHA-256 of what lies at WhatsApp.
    pub file_enc_sha256: [u8; 32],
    /// The file's length in bytes.
    pub file_length: u64,
    /// When the key was made, in seconds since 1970.
    pub media_key_timestamp: i64,
    /// What lets players begin before they have everything; only of films and sounds.
    pub streaming_sidecar: Option<Vec<u8>>,
}

impl std::fmt::Debug for Uploaded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Uploaded").field("file_length", &self.file_length).finish_non_exhaustive()
    }
}

/// How far a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MediaState {
    /// It is on its way.
    Pending,
    /// It lies here, whole and verified.
    Ready,
    /// WhatsApp no longer has it and the sender's phone did not give it again.
    Expired,
    /// It could not be had; the reason says why, and asking again later tries again.
    Failed,
}

words!(MediaState:
    Pending = "pending",
    Ready = "ready",
    Expired = "expired",
    Failed = "failed",
);

/// A file as we know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Media {
    /// Its id, a ULID.
    pub id: MediaId,
    /// Whose it is.
    pub organization: OrganizationId,
    /// The session that it came by, or was uploaded for.
    pub session: SessionId,
    /// The message that it came with, by our id; absent for uploads.
    pub message: Option<String>,
    /// What it is to WhatsApp.
    pub kind: MediaKind,
    /// Its type, such as `image/jpeg`.
    pub mimetype: String,
    /// Its name, if it has one.
    pub filename: Option<String>,
    /// Its length in bytes; of a file that is not ready, what the sender told.
    pub size: u64,
    /// Its SHA-256, once it is ready.
    pub sha256: Option<[u8; 32]>,
    /// How far it is.
    pub state: MediaState,
    /// Why it is expired or failed: a stable word.
    pub reason: Option<String>,
    /// When we first knew of it.
    pub created_at: Time,
    /// When our copy is deleted.
    pub expires_at: Time,
}

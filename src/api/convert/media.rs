//! Files.

use super::timestamp;
use crate::domain::media::{Media, MediaState};
use crate::proto::gateway as pb;
use crate::service::media::{Reading, tag};

/// A file's facts.
pub fn media(it: &Media) -> pb::Media {
    let state = match it.state {
        MediaState::Pending => pb::MediaState::Pending,
        MediaState::Ready => pb::MediaState::Ready,
        MediaState::Expired => pb::MediaState::Expired,
        MediaState::Failed => pb::MediaState::Failed,
    };
    let hex = |bytes: &[u8; 32]| bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
    pb::Media {
        id: it.id.to_string(),
        session_id: it.session.to_string(),
        message_id: it.message.clone(),
        mimetype: it.mimetype.clone(),
        filename: it.filename.clone(),
        size: signed(it.size),
        sha256: it.sha256.as_ref().map(hex),
        state: state.into(),
        reason: it.reason.clone(),
        created_at: Some(timestamp(it.created_at)),
        expires_at: Some(timestamp(it.expires_at)),
    }
}

/// What comes before a file's content.
pub fn head(it: &Reading) -> pb::FileHead {
    pb::FileHead {
        mimetype: it.media.mimetype.clone(),
        filename: it.media.filename.clone(),
        size: signed(it.media.size),
        tag: tag(&it.media),
        offset: signed(it.part.offset),
        length: signed(it.part.length),
        partial: it.partial,
    }
}

fn signed(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

//! A message's file, given to WhatsApp before the message.

use super::{Outbox, Parts};
use crate::domain::content::{Blob, MediaKeys};
use crate::domain::ids::MediaId;
use crate::domain::media::{MediaKind, Uploaded};
use crate::domain::outbox::Item;
use crate::error::{Code, Error, Result};
use crate::wa::connection::Sender;

impl Outbox {
    /// Gives the message's file to WhatsApp, unless that was done before, and stores where it lies: what goes out again is the same.
    pub(super) async fn upload(&self, sender: &Sender, item: &mut Item) -> Result<()> {
        let Some(id) = item.draft.file.clone() else { return Ok(()) };
        if item.draft.content.media.as_ref().is_some_and(|media| media.keys.is_some()) {
            return Ok(());
        }
        let Parts { db, files, .. } = &self.0.parts;
        let kept = match files.get(&item.organization, &item.session, &MediaId::new(id)).await {
            Err(e) if e.code == Code::NotFound => Err(Error::field("media", "the file is not here any more")),
            kept => kept,
        }?;
        let mut media = item.draft.content.media.clone().unwrap_or_default();
        let kind = match item.draft.kind.as_str() {
            "image" => MediaKind::Image,
            "video" => MediaKind::Video,
            "sticker" => MediaKind::Sticker,
            "audio" if media.voice => MediaKind::Voice,
            "audio" => MediaKind::Audio,
            _ => MediaKind::Document,
        };
        let opened = files.open(kept, kind, "media").await?;
        let uploaded = sender.upload(opened.file, kind, files.folder()).await;
        let uploaded = uploaded.map_err(|e| Error::new(Code::Unavailable, "WhatsApp did not take the file").because(e))?;
        media.width = opened.details.width;
        media.height = opened.details.height;
        media.animated = opened.details.animated;
        media.seconds = opened.details.duration.map(|span| u32::try_from(span.as_millis().div_ceil(1000)).unwrap_or(u32::MAX));
        media.thumbnail = opened.details.thumbnail.map(Blob);
        media.size = i64::try_from(uploaded.file_length).ok();
        media.sha256 = Some(uploaded.file_sha256.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}")));
        media.keys = Some(keys(uploaded));
        item.draft.content.media = Some(media);
        let mut tx = db.begin().await?;
        tx.update_outbox_draft(item).await?;
        tx.set_message_content(&item.id, &item.draft.content).await?;
        tx.commit().await
    }
}

fn keys(it: Uploaded) -> MediaKeys {
    MediaKeys {
        direct_path: it.direct_path,
        media_key: Blob(it.media_key.to_vec()),
        file_sha256: Blob(it.file_sha256.to_vec()),
        file_enc_sha256: Blob(it.file_enc_sha256.to_vec()),
        media_key_timestamp: Some(it.media_key_timestamp),
    }
}

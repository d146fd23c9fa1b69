//! Taking a file in: counted, hashed, looked at and written as it comes, refused as soon as a bound is passed.

use std::time::Duration;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::shelf::Writing;
use super::{Files, kind};
use crate::domain::ids::{MediaId, OrganizationId, SessionId};
use crate::domain::media::{Media, MediaKind, MediaState};
use crate::error::{Code, Error, Result};

/// Characters that a file's name may have.
const NAME: usize = 255;

/// A file that is about to come.
#[derive(Clone, Debug, Default)]
pub struct Coming {
    /// The request's field that errors name, such as `media.data`.
    pub field: String,
    /// The type that its giver says it has; checked against the content.
    pub mimetype: Option<String>,
    /// Its name.
    pub filename: Option<String>,
    /// Its length, when it is known beforehand.
    pub length: Option<u64>,
}

/// A file that is being taken in. Dropping it gives the file up.
#[must_use = "the file is kept by finish() alone"]
pub struct Intake {
    files: Files,
    media: Media,
    coming: Coming,
    writing: Option<Writing>,
    hash: Sha256,
    size: u64,
    head: Vec<u8>,
    settled: Option<String>,
}

impl Files {
    /// Begins to take in a file of a session.
    ///
    /// # Errors
    /// `validation_error` for a bad name or a length beyond the bound, `rate_limited` when the organization's space is used up.
    pub async fn take(&self, organization: &OrganizationId, session: &SessionId, coming: Coming) -> Result<Intake> {
        let filename = coming.filename.as_deref().map(clean).filter(|name| !name.is_empty());
        let length = coming.length.unwrap_or(0);
        self.check_size(&coming.field, length)?;
        self.check_space(organization, length).await?;
        let now = self.0.ambient.now();
        let media = Media {
            id: MediaId::new(self.0.ambient.ulid()),
            organization: organization.clone(),
            session: session.clone(),
            message: None,
            kind: coming.mimetype.as_deref().map_or(MediaKind::Document, MediaKind::of),
            mimetype: String::new(),
            filename,
            size: length,
            sha256: None,
            state: MediaState::Pending,
            reason: None,
            created_at: now,
            expires_at: now.plus(self.0.bounds.retention),
        };
        self.0.db.insert_media(&media).await?;
        Ok(Intake {
            writing: Some(self.0.shelf.write(&media)),
            files: self.clone(),
            media,
            coming,
            hash: Sha256::new(),
            size: 0,
            head: Vec::new(),
            settled: None,
        })
    }

    /// Refuses a file that is too long.
    pub(super) fn check_size(&self, field: &str, size: u64) -> Result<()> {
        let limit = self.0.bounds.file;
        if size <= limit {
            return Ok(());
        }
        let message = format!("the file is larger than {limit} bytes, the gateway's limit (media_max_bytes)");
        Err(Error::field(field, message).reason("media_too_large").detail("limit", limit))
    }

    /// Refuses what does not fit beside the organization's other files.
    pub(super) async fn check_space(&self, organization: &OrganizationId, more: u64) -> Result<()> {
        let (limit, used) = (self.0.bounds.organization, self.0.db.media_space(organization).await?);
        if used.saturating_add(more) <= limit {
            return Ok(());
        }
        let message =
            format!("the organization's files have {used} of at most {limit} bytes (media_total_bytes); delete some first");
        let error = Error::new(Code::RateLimited, message).reason("media_space_used_up");
        Err(error.retry_after(Duration::from_secs(3600)).detail("limit", limit).detail("used", used))
    }
}

impl Intake {
    /// The file's id.
    pub fn id(&self) -> &MediaId {
        &self.media.id
    }

    /// Adds bytes.
    ///
    /// # Errors
    /// `validation_error` when there are too many, or when the first ones show that it is not what it is said to be. Nothing is kept then.
    pub async fn put(&mut self, bytes: Bytes) -> Result<()> {
        let added = self.add(bytes).await;
        if added.is_err() {
            self.give_up().await;
        }
        added
    }

    async fn add(&mut self, bytes: Bytes) -> Result<()> {
        self.size += bytes.len() as u64;
        self.files.check_size(&self.coming.field, self.size)?;
        self.hash.update(&bytes);
        if self.head.len() < kind::HEAD {
            let room = kind::HEAD - self.head.len();
            self.head.extend_from_slice(&bytes[..bytes.len().min(room)]);
            if self.head.len() == kind::HEAD {
                self.settle()?;
            }
        }
        match &mut self.writing {
            Some(writing) => writing.put(bytes).await,
            None => Err(Error::internal(anyhow::anyhow!("bytes were added to a file that was given up"))),
        }
    }

    /// The file is whole: checks and keeps it.
    ///
    /// # Errors
    /// `validation_error` when it is empty or not what it is said to be, `rate_limited` when the organization's space is used up. Nothing is
    /// kept then.
    pub async fn finish(mut self) -> Result<Media> {
        let kept = self.complete().await;
        if kept.is_err() {
            self.give_up().await;
        }
        kept
    }

    async fn complete(&mut self) -> Result<Media> {
        if self.size == 0 {
            return Err(Error::field(&*self.coming.field, "the file is empty").reason("media_empty"));
        }
        if self.settled.is_none() {
            self.settle()?;
        }
        self.files.check_space(&self.media.organization, self.size.saturating_sub(self.media.size)).await?;
        if let Some(writing) = self.writing.take() {
            writing.finish().await?;
        }
        let mut media = self.media.clone();
        media.mimetype = self.settled.clone().unwrap_or_default();
        media.kind = MediaKind::of(&media.mimetype);
        media.size = self.size;
        media.sha256 = Some(std::mem::take(&mut self.hash).finalize().into());
        media.state = MediaState::Ready;
        self.files.0.db.update_media(&media).await?;
        Ok(media)
    }

    fn settle(&mut self) -> Result<()> {
        // The type stands beside the file.
        let field = self.coming.field.rsplit_once('.').map_or("mimetype".to_owned(), |(place, _)| format!("{place}.mimetype"));
        self.settled = Some(kind::settle(&field, self.coming.mimetype.as_deref(), &self.head)?);
        Ok(())
    }

    /// Leaves nothing behind. What fails here is found by the sweeper.
    pub async fn give_up(&mut self) {
        if let Some(writing) = self.writing.take() {
            writing.abort().await;
        }
        if let Err(e) = self.files.0.shelf.delete(&self.media).await {
            tracing::warn!(error = %e, cause = ?e.cause(), "a file that was given up could not be deleted");
        }
        if let Err(e) = self.files.0.db.delete_media(&self.media.id).await {
            tracing::warn!(error = %e, cause = ?e.cause(), "a file that was given up could not be forgotten");
        }
    }
}

/// A name without folders, control characters and what else makes it more than a name.
pub(super) fn clean(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    // Marks that turn the direction of text make `exe.jpg` look like `gpj.exe`.
    let odd =
        |c: &char| c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let kept: String = last.chars().filter(|c| !odd(c)).take(NAME).collect();
    kept.trim().trim_start_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::clean;

    #[test]
    fn names_are_only_names() {
        for (given, kept) in [
            ("report.pdf", "report.pdf"),
            ("../../etc/passwd", "passwd"),
            ("C:\\Users\\me\\photo.jpg", "photo.jpg"),
            ("a\r\nSet-Cookie: x", "aSet-Cookie: x"),
            ("photo\u{202e}gpj.exe", "photogpj.exe"),
            (" .hidden ", "hidden"),
            ("Übersicht – März.pdf", "Übersicht – März.pdf"),
            ("..", ""),
        ] {
            assert_eq!(clean(given), kept, "{given:?}");
        }
    }
}

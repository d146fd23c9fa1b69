//! From what a caller names to a file that can be sent.
//!
//! A file that comes by base64 or by address is kept first, like an upload: whoever sends it later (the outbox, after a crash) finds it again,
//! and it can be read back as the message's file.

use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use bytes::Bytes;
use futures_util::StreamExt as _;
use http::header;

use super::keep::Coming;
use super::{Details, Files, kind};
use crate::domain::ids::{MediaId, OrganizationId, SessionId};
use crate::domain::media::{Media, MediaKind, MediaState};
use crate::egress::{Call, Follow, Refusal, Size};
use crate::error::{Code, Error, Result};

/// How long fetching a file from an address that a caller names may take.
const FETCH: Duration = Duration::from_secs(120);

/// Bytes that are put on the shelf at a time.
const PIECE: usize = 256 << 10;

/// Where a file to be sent is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// In the request, as base64.
    Base64(String),
    /// In the request.
    Bytes(Bytes),
    /// At an address that the egress guard must let through.
    Url(String),
    /// Here: uploaded before, or a message's file.
    Id(MediaId),
}

/// A file to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Where it is.
    pub source: Source,
    /// What it will be sent as.
    pub kind: MediaKind,
    /// The type that the caller says it has.
    pub mimetype: Option<String>,
    /// The name that the caller gives it.
    pub filename: Option<String>,
    /// The request's field that holds it, such as `media` or `medias[2]`: errors name it, with the part that is wrong.
    pub field: String,
}

/// A file that can be sent: give `file` to [`Sender::upload`](crate::wa::connection::Sender::upload).
#[derive(Debug)]
pub struct Outgoing {
    /// Its facts; the id can be kept and opened again.
    pub media: Media,
    /// Its content, a temporary file that vanishes with this value.
    pub file: File,
    /// What it will be sent as.
    pub kind: MediaKind,
    /// What phones want to know of it.
    pub details: Details,
}

impl Files {
    /// Keeps what `wanted` names and gives its facts. What is here already stays as it is.
    ///
    /// # Errors
    /// `validation_error` naming the field: bad base64, a wrong type, an empty or too large file, an address that was refused or did not
    /// answer; `rate_limited` when the organization's space is used up.
    pub async fn keep(&self, organization: &OrganizationId, session: &SessionId, wanted: &Wanted) -> Result<Media> {
        let Wanted { source, kind, mimetype, filename, field } = wanted;
        let coming = |part: &str| Coming {
            field: format!("{field}.{part}"),
            mimetype: mimetype.clone(),
            filename: filename.clone(),
            length: None,
        };
        let media = match source {
            Source::Id(id) => {
                let media = self.0.db.media(organization, session, id).await?;
                let media = media.ok_or_else(|| Error::field(format!("{field}.id"), "there is no such file; upload it first"))?;
                if media.state != MediaState::Ready {
                    return Err(Error::field(format!("{field}.id"), format!("the file is {}", media.state.word())));
                }
                media
            }
            Source::Base64(text) => {
                let bytes = unbase64(text)
                    .ok_or_else(|| Error::field(format!("{field}.data"), "must be base64").reason("wrong_base64"))?;
                self.keep_bytes(organization, session, coming("data"), bytes.into()).await?
            }
            Source::Bytes(bytes) => self.keep_bytes(organization, session, coming("data"), bytes.clone()).await?,
            Source::Url(url) => self.keep_url(organization, session, coming("url"), url).await?,
        };
        match kind::fits(&format!("{field}.mimetype"), *kind, &media.mimetype) {
            Ok(()) => Ok(media),
            Err(e) => {
                if !matches!(source, Source::Id(_)) {
                    self.delete(organization, session, &media.id).await?;
                }
                Err(e)
            }
        }
    }

    /// Opens a kept file for sending.
    ///
    /// # Errors
    /// `validation_error` naming `field` when it cannot be sent as `kind` or is not here any more.
    pub async fn open(&self, media: Media, kind: MediaKind, field: &str) -> Result<Outgoing> {
        kind::fits(field, kind, &media.mimetype)?;
        let mut file = self.copy(&media).await.map_err(|e| match e.code {
            Code::NotFound => Error::field(field, "the file is not here any more; upload it again"),
            _ => e,
        })?;
        let details = self.look(field, kind, &file).await?;
        file.rewind().map_err(Error::internal)?;
        Ok(Outgoing { media, file, kind, details })
    }

    /// Both: keeps and opens.
    pub async fn outgoing(&self, organization: &OrganizationId, session: &SessionId, wanted: &Wanted) -> Result<Outgoing> {
        let media = self.keep(organization, session, wanted).await?;
        self.open(media, wanted.kind, &wanted.field).await
    }

    /// A temporary copy of a file, standing at its beginning.
    async fn copy(&self, media: &Media) -> Result<File> {
        let mut stream = self.0.shelf.read(media, None).await?;
        let folder = self.0.folder.clone();
        let mut file = tokio::task::spawn_blocking(move || tempfile::tempfile_in(folder)).await.map_err(Error::internal)?;
        while let Some(piece) = stream.next().await {
            let (piece, mut open) = (piece.map_err(Error::internal)?, file.map_err(Error::internal)?);
            let written = tokio::task::spawn_blocking(move || open.write_all(&piece).map(|()| open));
            file = written.await.map_err(Error::internal)?;
        }
        let mut file = file.map_err(Error::internal)?;
        file.rewind().map_err(Error::internal)?;
        Ok(file)
    }

    async fn keep_bytes(
        &self,
        organization: &OrganizationId,
        session: &SessionId,
        coming: Coming,
        bytes: Bytes,
    ) -> Result<Media> {
        let coming = Coming { length: Some(bytes.len() as u64), ..coming };
        let mut intake = self.take(organization, session, coming).await?;
        let mut left = bytes;
        while !left.is_empty() {
            intake.put(left.split_to(left.len().min(PIECE))).await?;
        }
        intake.finish().await
    }

    async fn keep_url(&self, organization: &OrganizationId, session: &SessionId, coming: Coming, url: &str) -> Result<Media> {
        let field = coming.field.clone();
        // What went wrong over there is told in one of few sentences, so that nobody learns of networks that only we can reach.
        let refused = |why: Refusal| match why {
            Refusal::TooLarge => self.check_size(&field, u64::MAX).err().unwrap_or_else(|| Error::field(&*field, "too large")),
            why => Error::field(&*field, format!("the file could not be fetched: {why}")).reason("url_refused"),
        };
        let limit = usize::try_from(self.0.bounds.file).unwrap_or(usize::MAX);
        let call = Call {
            method: http::Method::GET,
            url: url.to_owned(),
            headers: http::HeaderMap::new(),
            private: http::HeaderMap::new(),
            body: Bytes::new(),
            follow: Follow::Get,
            size: Size::AtMost(limit),
            timeout: FETCH,
        };
        let mut answer = self.0.guard.open(call).await.map_err(refused)?;
        if answer.status() != 200 {
            let message = format!("the file could not be fetched: the address answered with status {}", answer.status());
            return Err(Error::field(&*field, message).reason("url_refused"));
        }
        let header = |name| answer.headers().get(name).and_then(|value: &http::HeaderValue| value.to_str().ok());
        // What a server says of the type is a hint and no promise: only the caller's word is held against the content.
        let length = header(header::CONTENT_LENGTH).and_then(|text| text.parse().ok());
        let filename = coming.filename.clone().or_else(|| last_segment(url));
        let mut intake = self.take(organization, session, Coming { length, filename, ..coming }).await?;
        loop {
            match answer.chunk().await {
                Ok(Some(piece)) => intake.put(piece).await?,
                Ok(None) => return intake.finish().await,
                Err(why) => {
                    intake.give_up().await;
                    return Err(refused(why));
                }
            }
        }
    }
}

/// Standard or URL alphabet, padded or not, also behind `data:…;base64,`.
fn unbase64(text: &str) -> Option<Vec<u8>> {
    let text = match text.strip_prefix("data:") {
        Some(rest) => rest.split_once(";base64,")?.1,
        None => text,
    };
    [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD].iter().find_map(|engine| engine.decode(text.trim()).ok())
}

/// The name at the end of an address's path.
fn last_segment(url: &str) -> Option<String> {
    let url: reqwest::Url = url.parse().ok()?;
    let last = url.path_segments()?.next_back().filter(|it| it.contains('.'))?;
    percent_encoding::percent_decode_str(last).decode_utf8().ok().map(Into::into)
}

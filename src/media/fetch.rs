//! Fetching messages' files from WhatsApp: once for all who ask at the same time, a few at a time, whole and verified or not at all.
//!
//! What WhatsApp's hosts no longer have, the phone is asked to give again. How it ended is stored with a stable word, and holds for a while:
//! asking again at once would only bother WhatsApp and the phone.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use super::{Files, kind};
use crate::domain::ids::{MediaId, OrganizationId, SessionId};
use crate::domain::media::{Media, MediaKind, MediaState, Reference};
use crate::error::{Error, Result};
use crate::wa::connection::Sender;
use crate::wa::media::{DownloadError, Place, RetryError};

/// How many files are fetched at a time; further ones wait.
const AT_ONCE: usize = 4;

/// How long it holds that a file is gone, and that fetching failed.
const HOLDS: (Duration, Duration) = (Duration::from_secs(600), Duration::from_secs(30));

/// Bytes that go onto the shelf at a time.
const PIECE: usize = 256 << 10;

/// A message's file, as its message describes it.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Whose it is.
    pub organization: OrganizationId,
    /// The session that has the message.
    pub session: SessionId,
    /// The message, by our id.
    pub message: String,
    /// The type that its sender told.
    pub mimetype: Option<String>,
    /// The name that its sender gave it.
    pub filename: Option<String>,
    /// Where it lies and what opens it.
    pub reference: Reference,
    /// Which message a phone is to be asked for.
    pub place: Place,
}

/// What is told when a fetch has ended, in whatever way.
pub type Told = Arc<dyn Fn(Media, Asked) -> BoxFuture<'static, Result<()>> + Send + Sync>;

/// A fetch that several may wait for; `None` for a fault of ours, which is in the log.
type Flight = Shared<BoxFuture<'static, Option<Media>>>;

/// Fetches. Cheap to clone.
#[derive(Clone)]
pub struct Fetcher(Arc<Inner>);

struct Inner {
    files: Files,
    told: Told,
    turns: Semaphore,
    flights: Mutex<HashMap<(SessionId, String), Flight>>,
    tasks: TaskTracker,
}

impl Fetcher {
    /// Fetches onto the shelf of `files`; every end is told to `told`.
    pub fn new(files: Files, told: Told) -> Self {
        let (turns, tasks) = (Semaphore::new(AT_ONCE), TaskTracker::new());
        Self(Arc::new(Inner { files, told, turns, flights: Mutex::default(), tasks }))
    }

    /// The file that is known of a message, if what is known still holds: it is here, or it was tried a moment ago.
    pub async fn known(&self, session: &SessionId, message: &str) -> Result<Option<Media>> {
        let parts = &self.0.files.0;
        let found = parts.db.media_of_message(session, message).await?;
        let now = parts.ambient.now();
        Ok(found.filter(|media| media.state != MediaState::Pending && media.expires_at > now))
    }

    /// Fetches a file by `sender`, or joins those who wait for it already. Gives how it ended, or `None` when it takes longer than `limit`
    /// and goes on.
    pub async fn fetch(&self, sender: Sender, asked: Asked, limit: Duration) -> Result<Option<Media>> {
        let flight = self.flight(sender, asked);
        match tokio::time::timeout(limit, flight).await {
            Ok(Some(media)) => Ok(Some(media)),
            Ok(None) => Err(Error::internal(anyhow::anyhow!("a file could not be fetched; the log has the cause"))),
            Err(_) => Ok(None),
        }
    }

    /// Waits until no fetch is under way. To be called once, when the sessions are gone.
    pub async fn finish(&self) {
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    fn flight(&self, sender: Sender, asked: Asked) -> Flight {
        let key = (asked.session.clone(), asked.message.clone());
        let mut flights = self.0.flights.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = flights.get(&key) {
            return flight.clone();
        }
        let (fetcher, own) = (self.clone(), key.clone());
        // A task of its own: it goes on when those who wait have gone.
        let task = self.0.tasks.spawn(async move {
            let ended = Box::pin(fetcher.run(&sender, asked)).await;
            fetcher.0.flights.lock().unwrap_or_else(PoisonError::into_inner).remove(&own);
            ended.inspect_err(|e| tracing::error!(error = %e, cause = ?e.cause(), "a message's file could not be fetched")).ok()
        });
        let flight = async move { task.await.ok().flatten() }.boxed().shared();
        flights.insert(key, flight.clone());
        flight
    }

    async fn run(&self, sender: &Sender, asked: Asked) -> Result<Media> {
        let parts = &self.0.files.0;
        let _turn = self.0.turns.acquire().await.map_err(Error::internal)?;
        let now = parts.ambient.now();
        let mut media = match parts.db.media_of_message(&asked.session, &asked.message).await? {
            Some(media) if media.state == MediaState::Ready && media.expires_at > now => return Ok(media),
            Some(media) => media,
            None => {
                let media = self.blank(&asked);
                parts.db.insert_media(&media).await?;
                media
            }
        };
        media.state = MediaState::Pending;
        media.expires_at = now.plus(parts.bounds.retention);
        parts.db.update_media(&media).await?;
        let ended = match parts.check_space(&media).await? {
            Some(reason) => Err((MediaState::Failed, reason)),
            None => match self.download(sender, &asked).await {
                Ok(file) => {
                    self.shelve(&mut media, &asked, file).await?;
                    Ok(())
                }
                Err(ended) => Err(ended),
            },
        };
        match ended {
            Ok(()) => (media.state, media.reason) = (MediaState::Ready, None),
            Err((state, reason)) => {
                let holds = if state == MediaState::Expired { HOLDS.0 } else { HOLDS.1 };
                (media.state, media.reason) = (state, Some(reason.to_owned()));
                media.expires_at = parts.ambient.now().plus(holds);
            }
        }
        parts.db.update_media(&media).await?;
        (self.0.told)(media.clone(), asked).await?;
        Ok(media)
    }

    /// The verified file, or how it ended and why.
    async fn download(&self, sender: &Sender, asked: &Asked) -> Result<File, (MediaState, &'static str)> {
        let (limit, folder) = (self.0.files.0.bounds.file, &self.0.files.0.folder);
        match sender.download(&asked.reference, limit, folder).await {
            Ok(file) => return Ok(file),
            Err(DownloadError::Gone) => {}
            Err(e) => return Err(failed(&e)),
        }
        tracing::debug!(session = %asked.session, "a file is gone from WhatsApp; its phone is asked");
        let reference = match sender.ask_again(&asked.place, &asked.reference).await {
            Ok(direct_path) => Reference { direct_path, ..asked.reference.clone() },
            Err(RetryError::Gone) => return Err((MediaState::Expired, "gone")),
            Err(RetryError::Silent) => return Err((MediaState::Expired, "phone_silent")),
            Err(RetryError::Failed(cause)) => {
                tracing::warn!(session = %asked.session, cause = format!("{cause:#}"), "a phone could not be asked for a file");
                return Err((MediaState::Failed, "unreachable"));
            }
        };
        sender.download(&reference, limit, folder).await.map_err(|e| match e {
            DownloadError::Gone => (MediaState::Expired, "gone"),
            e => failed(&e),
        })
    }

    async fn shelve(&self, media: &mut Media, asked: &Asked, file: File) -> Result<()> {
        let mut writing = self.0.files.0.shelf.write(media);
        let (mut file, mut size, mut head) = (Some(file), 0, None);
        while let Some(mut open) = file.take() {
            let read = tokio::task::spawn_blocking(move || {
                let mut piece = vec![0; PIECE];
                let count = open.read(&mut piece)?;
                piece.truncate(count);
                std::io::Result::Ok((open, piece))
            });
            let (open, piece) = read.await.map_err(Error::internal)?.map_err(Error::internal)?;
            if !piece.is_empty() {
                size += piece.len() as u64;
                head.get_or_insert_with(|| piece[..piece.len().min(kind::HEAD)].to_vec());
                writing.put(piece.into()).await?;
                file = Some(open);
            }
        }
        writing.finish().await?;
        media.size = size;
        media.sha256 = asked.reference.file_sha256.as_slice().try_into().ok();
        // A sender may say anything of the type. What is not true is not repeated.
        let head = head.unwrap_or_default();
        let told = kind::settle("mimetype", asked.mimetype.as_deref(), &head);
        media.mimetype = told.or_else(|_| kind::settle("mimetype", None, &head))?;
        Ok(())
    }

    fn blank(&self, asked: &Asked) -> Media {
        let parts = &self.0.files.0;
        let now = parts.ambient.now();
        Media {
            id: MediaId::new(parts.ambient.ulid()),
            organization: asked.organization.clone(),
            session: asked.session.clone(),
            message: Some(asked.message.clone()),
            kind: asked.reference.kind,
            mimetype: asked.mimetype.clone().unwrap_or_default(),
            filename: asked.filename.as_deref().map(super::keep::clean).filter(|name| !name.is_empty()),
            size: asked.reference.file_length,
            sha256: None,
            state: MediaState::Pending,
            reason: None,
            created_at: now,
            expires_at: now.plus(parts.bounds.retention),
        }
    }
}

impl super::Parts {
    /// Why there is no room for a file that is counted already.
    async fn check_space(&self, media: &Media) -> Result<Option<&'static str>> {
        let used = self.db.media_space(&media.organization).await?;
        Ok((used > self.bounds.organization).then_some("no_space"))
    }
}

fn failed(error: &DownloadError) -> (MediaState, &'static str) {
    let reason = match error {
        DownloadError::Gone => "gone",
        DownloadError::Corrupt => "corrupt",
        DownloadError::TooLarge { .. } => "too_large",
        DownloadError::Unreachable(_) => "unreachable",
        DownloadError::Local(_) => "local",
    };
    tracing::warn!(error = %error, reason, "a file could not be had from WhatsApp");
    (MediaState::Failed, reason)
}

/// The kind of a message's file by the message's own word.
pub fn kind_of(word: &str, voice: bool) -> MediaKind {
    match MediaKind::from_word(word) {
        Some(MediaKind::Audio) if voice => MediaKind::Voice,
        Some(kind) => kind,
        // A silent film, played like a picture, is a film to WhatsApp.
        None if word == "gif" => MediaKind::Video,
        None => MediaKind::Document,
    }
}

//! Files: uploaded, read, fetched from WhatsApp, told by signed addresses.

use std::sync::Arc;
use std::time::Duration;

use super::Service;
use crate::domain::clock::Time;
use crate::domain::content;
use crate::domain::event::Payload;
use crate::domain::ids::{MediaId, SessionId};
use crate::domain::media::{Media, MediaState};
use crate::domain::message::Message;
use crate::domain::payload::MediaReady;
use crate::domain::principal::{Capability, Principal};
use crate::domain::range::{Asked as AskedRange, Part, asked as asked_range};
use crate::error::{Code, Error, Result};
use crate::event::EventLog;
use crate::media::fetch::{Asked, Fetcher, Told};
pub use crate::media::keep::Coming;
use crate::media::link::Signer;
use crate::media::shelf::Bytestream;
use crate::media::{Files, Intake};

/// How long a caller waits for a file that has to be fetched.
const PATIENCE: Duration = Duration::from_secs(50);

/// How long a signed address is good when nobody says otherwise.
const LINK: Duration = Duration::from_secs(300);

/// What use cases need for files.
#[derive(Clone)]
pub struct Rooms {
    /// The room.
    pub files: Files,
    /// Fetches from WhatsApp.
    pub fetcher: Fetcher,
    /// Signs addresses.
    pub signer: Arc<Signer>,
}

/// A file's content on its way to a caller.
pub struct Reading {
    /// The file.
    pub media: Media,
    /// The part that follows.
    pub part: Part,
    /// Whether it was asked for.
    pub partial: bool,
    /// The bytes.
    pub bytes: Bytestream,
}

/// Which part of a file a caller wants.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// HTTP's `Range`; empty for everything.
    pub range: String,
    /// The tag that the file must still have for that; empty for any.
    pub if_range: String,
}

/// Tells how fetches ended, as `media.ready`.
pub fn teller(log: EventLog) -> Told {
    Arc::new(move |media, asked| {
        let log = log.clone();
        Box::pin(async move {
            let told = MediaReady {
                chat_jid: asked.place.chat.to_string(),
                wa_message_id: asked.place.wa_message_id,
                message_id: asked.message,
                media: content::Media {
                    mimetype: Some(media.mimetype).filter(|it| !it.is_empty()),
                    filename: media.filename,
                    size: i64::try_from(media.size).ok(),
                    sha256: media.sha256.map(|bytes| bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))),
                    ..content::Media::default()
                },
                error: media.reason,
            };
            let mut recording = log.begin().await?;
            recording.tell(&media.organization, &media.session, Payload::MediaReady(Box::new(told)));
            recording.commit().await
        })
    })
}

/// A file's tag: it changes when the content does.
pub fn tag(media: &Media) -> String {
    media.sha256.iter().flatten().take(16).fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

impl Service {
    /// The room of files.
    pub fn files(&self) -> &Files {
        &self.0.media.files
    }

    /// Begins to take in a file for a session.
    pub async fn upload_media(&self, caller: &Principal, session: &SessionId, coming: Coming) -> Result<Intake> {
        caller.require(Capability::Send)?;
        self.get_session(caller, session).await?;
        self.0.media.files.take(&caller.organization, session, coming).await
    }

    /// One file of a session.
    pub async fn get_media(&self, caller: &Principal, session: &SessionId, id: &MediaId) -> Result<Media> {
        caller.require(Capability::Read)?;
        caller.check_session(session)?;
        self.0.media.files.get(&caller.organization, session, id).await
    }

    /// Deletes a file.
    pub async fn delete_media(&self, caller: &Principal, session: &SessionId, id: &MediaId) -> Result<()> {
        caller.require(Capability::Send)?;
        caller.check_session(session)?;
        match self.0.media.files.delete(&caller.organization, session, id).await? {
            true => Ok(()),
            false => Err(Error::not_found("media")),
        }
    }

    /// Reads a file.
    pub async fn read_media(&self, caller: &Principal, session: &SessionId, id: &MediaId, wish: &Wish) -> Result<Reading> {
        let media = self.get_media(caller, session, id).await?;
        self.read(ready(media)?, wish).await
    }

    /// Reads a message's file, fetching it first if need be.
    pub async fn read_message_media(&self, caller: &Principal, session: &SessionId, mid: &str, wish: &Wish) -> Result<Reading> {
        let media = self.fetch_message_media(caller, session, mid).await?;
        self.read(ready(media)?, wish).await
    }

    /// Fetches a message's file unless it is here, and tells how far it is.
    pub async fn fetch_message_media(&self, caller: &Principal, session: &SessionId, mid: &str) -> Result<Media> {
        let message = self.get_message(caller, session, mid).await?;
        if let Some(known) = self.0.media.fetcher.known(session, &message.id).await? {
            return Ok(known);
        }
        let asked = asked(&message).ok_or_else(|| Error::new(Code::NotFound, "this message has no file").reason("no_media"))?;
        let sender = self.online(&self.get_session(caller, session).await?)?;
        let pending = || async {
            let media = self.0.db.media_of_message(session, &message.id).await?;
            media.ok_or_else(|| Error::new(Code::Unavailable, "the file waits to be fetched").reason("media_pending"))
        };
        match self.0.media.fetcher.fetch(sender, asked, PATIENCE).await? {
            Some(media) => Ok(media),
            None => pending().await,
        }
    }

    /// An address under which a message's file can be read without a credential, and until when.
    pub async fn media_url(
        &self,
        caller: &Principal,
        session: &SessionId,
        mid: &str,
        good_for: Option<Duration>,
    ) -> Result<(String, Time)> {
        let media = ready(self.fetch_message_media(caller, session, mid).await?)?;
        // No longer than the file itself.
        let expires = self.0.ambient.now().plus(good_for.unwrap_or(LINK)).min(media.expires_at);
        let token = self.0.media.signer.sign(&media, expires);
        Ok((format!("{}/media/{token}", self.0.public_url), expires))
    }

    /// Reads the file behind a signed address. The address is the credential.
    pub async fn read_media_link(&self, token: &str, wish: &Wish) -> Result<Reading> {
        let media = self.0.media.files.by_link(&self.0.media.signer, token).await?;
        self.read(media, wish).await
    }

    async fn read(&self, media: Media, wish: &Wish) -> Result<Reading> {
        let size = media.size;
        let same = wish.if_range.is_empty() || wish.if_range.trim_matches('"') == tag(&media);
        let (part, partial) = match asked_range(if same { &wish.range } else { "" }, size) {
            AskedRange::All => (Part { offset: 0, length: size }, false),
            AskedRange::Part(part) => (part, true),
            AskedRange::Beyond => {
                let error = Error::field("range", format!("lies beyond the file's {size} bytes"));
                return Err(error.reason("range_not_satisfiable").detail("size", size));
            }
        };
        let range = partial.then(|| part.offset..part.offset + part.length);
        let bytes = self.0.media.files.read(&media, range).await?;
        Ok(Reading { media, part, partial, bytes })
    }
}

/// The file, or why it cannot be read.
fn ready(media: Media) -> Result<Media> {
    let reason = media.reason.clone().unwrap_or_default();
    match media.state {
        MediaState::Ready => Ok(media),
        MediaState::Pending => {
            let error = Error::new(Code::Unavailable, "the file is still on its way").reason("media_pending");
            Err(error.retry_after(Duration::from_secs(5)))
        }
        MediaState::Expired => {
            let text = "WhatsApp no longer has the file, and the phone did not give it again";
            Err(Error::new(Code::NotFound, text).reason("media_expired").detail("why", reason))
        }
        MediaState::Failed if reason == "too_large" => {
            let text = "the file is larger than the gateway takes (media_max_bytes)";
            Err(Error::new(Code::Validation, text).reason("media_too_large"))
        }
        MediaState::Failed => {
            let text = "the file could not be fetched from WhatsApp";
            let error = Error::new(Code::Unavailable, text).reason("media_failed").detail("why", reason);
            Err(error.retry_after(Duration::from_secs(30)))
        }
    }
}

/// A message's file, if it has one.
fn asked(message: &Message) -> Option<Asked> {
    let _ = message;
    None
}

//! Files: kept, looked at, fetched from WhatsApp, made ready for sending.
//!
//! A file's bytes lie in an object store, its facts in the table `media`. Bytes pass through in pieces; what needs a file as a whole
//! (encryption, pictures) gets a temporary one in `data_dir`. Each file has one owner, an organization's session, and goes with it, or when
//! its time is over, or by an explicit call.
//!
//! - [`shelf`]: the bytes: a local folder or an S3-compatible bucket
//! - [`keep`]: taking a file in, within the bounds
//! - [`kind`]: what a file is, by its content and by what its giver says
//! - [`look`]: dimensions, thumbnails, durations
//! - [`outgoing`]: from what a caller names (base64, address, id) to a file that can be sent
//! - [`fetch`]: messages' files from WhatsApp
//! - [`link`]: signed addresses, good for a short time without a credential
//! - [`sweep`]: deleting what is over

pub mod fetch;
pub mod keep;
pub mod kind;
pub mod link;
pub mod look;
pub mod outgoing;
pub mod shelf;
pub mod sweep;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};

pub use self::keep::Intake;
pub use self::look::Details;
pub use self::outgoing::{Outgoing, Source, Wanted};
pub use self::shelf::Shelf;
use crate::domain::clock::Ambient;
use crate::domain::ids::{MediaId, OrganizationId, SessionId};
use crate::domain::media::Media;
use crate::egress::Guard;
use crate::error::{Error, Result};
use crate::store::Db;

/// How many files are looked into (decoded) at a time; each may take some 100 MiB for a moment.
const LOOKS: usize = 2;

/// The bounds on files.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// How long a file is kept.
    pub retention: Duration,
    /// Bytes of one file.
    pub file: u64,
    /// Bytes of all files of one organization.
    pub organization: u64,
}

/// The room's handle. Cheap to clone.
#[derive(Clone)]
pub struct Files(Arc<Parts>);

/// What the room works with.
pub struct Parts {
    /// The facts.
    pub db: Db,
    /// The bytes.
    pub shelf: Shelf,
    /// For addresses that callers name.
    pub guard: Guard,
    /// Clock and ids.
    pub ambient: Ambient,
    /// The bounds.
    pub bounds: Bounds,
    /// Where temporary files are made; exists.
    pub folder: PathBuf,
    /// How many files are looked into at a time.
    pub looks: Semaphore,
    /// Wakes the sweeper before its time.
    pub sweep: Notify,
}

impl Files {
    /// Opens the room. `folder` must exist; temporary files in it have no name and vanish with their last user.
    pub fn new(db: Db, shelf: Shelf, guard: Guard, ambient: Ambient, bounds: Bounds, folder: PathBuf) -> Self {
        let (looks, sweep) = (Semaphore::new(LOOKS), Notify::new());
        Self(Arc::new(Parts { db, shelf, guard, ambient, bounds, folder, looks, sweep }))
    }

    /// The bounds that hold.
    pub fn bounds(&self) -> Bounds {
        self.0.bounds
    }

    /// Where temporary files may be made.
    pub fn folder(&self) -> &std::path::Path {
        &self.0.folder
    }

    /// One file of a session.
    ///
    /// # Errors
    /// `not_found`.
    pub async fn get(&self, organization: &OrganizationId, session: &SessionId, id: &MediaId) -> Result<Media> {
        self.0.db.media(organization, session, id).await?.ok_or_else(|| Error::not_found("media"))
    }

    /// Reads a file, or a part of it.
    pub async fn read(&self, media: &Media, range: Option<std::ops::Range<u64>>) -> Result<shelf::Bytestream> {
        self.0.shelf.read(media, range).await
    }

    /// Deletes a file, its bytes first. False when there is no such file.
    pub async fn delete(&self, organization: &OrganizationId, session: &SessionId, id: &MediaId) -> Result<bool> {
        let Some(media) = self.0.db.media(organization, session, id).await? else { return Ok(false) };
        self.0.shelf.delete(&media).await?;
        self.0.db.delete_media(&media.id).await
    }
}

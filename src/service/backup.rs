//! Encrypted backups: taken in, checked as a whole, and given to the workers that merge them.

use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::{Stream, StreamExt as _};

use super::Service;
use crate::backup::crypt15::{self, LARGEST};
use crate::backup::key::Key;
use crate::backup::msgstore::Msgstore;
use crate::backup::worker::database;
use crate::domain::backfill::BackfillStatus;
use crate::domain::backup::BackupImport;
use crate::domain::ids::SessionId;
use crate::domain::principal::{Capability, Principal};
use crate::domain::session::Session;
use crate::error::{Code, Error, Result};

/// How long after a success the next import of a session may begin.
const PAUSE: Duration = Duration::from_secs(24 * 3600);

/// The longest key that is read: the file that holds one is far shorter.
const LONGEST_KEY: usize = 4096;

/// A piece of what a caller uploads.
#[derive(Clone, Debug)]
pub enum Piece {
    /// Of the file.
    File(Vec<u8>),
    /// Of the key.
    Key(Vec<u8>),
}

impl Service {
    /// Takes in a backup, checks it as a whole, and has it merged in the background.
    ///
    /// # Errors
    /// `rate_limited` within a day of a success, but for the platform's own people; `conflict` while one runs; `validation_error` for
    /// `file` or `key`.
    pub async fn import_backup(
        &self,
        caller: &Principal,
        id: &SessionId,
        pieces: impl Stream<Item = Result<Piece>> + Send,
    ) -> Result<BackupImport> {
        let session = self.importing(caller, id).await?;
        let job = BackupImport::new(
            self.0.ambient.ulid(),
            session.id,
            session.organization,
            self.0.gateway.clone(),
            self.0.ambient.now(),
        );
        let folder = self.0.imports.clone();
        let spool = Spool::new(&folder, &job.id)?;
        let key = spool.take(pieces).await?;
        // What was uploaded goes its way even if the caller hangs up: nothing decrypted stays behind.
        let service = self.clone();
        let work = self.0.tasks.spawn(async move {
            let done = service.check_backup(&spool, key, job).await;
            if done.is_err() {
                spool.drop_database();
            }
            done
        });
        work.await.map_err(Error::internal)?
    }

    /// The import that runs, or else the latest.
    pub async fn backup_status(&self, caller: &Principal, id: &SessionId) -> Result<BackupImport> {
        self.session_for_import(caller, id).await?;
        self.0.db.latest_import(id).await?.ok_or_else(|| Error::not_found("import"))
    }

    /// A session of the caller's organization.
    async fn session_for_import(&self, caller: &Principal, id: &SessionId) -> Result<Session> {
        caller.require(Capability::Manage)?;
        self.get_session(caller, id).await
    }

    /// A session that an import may begin for.
    async fn importing(&self, caller: &Principal, id: &SessionId) -> Result<Session> {
        let session = self.session_for_import(caller, id).await?;
        if session.account.is_none() {
            let text = "no number is attached to the session; pair it first";
            return Err(Error::new(Code::SessionNotConnected, text).reason("not_paired"));
        }
        let running = self.0.db.latest_import(id).await?.is_some_and(|job| job.status == BackfillStatus::Running);
        if running {
            return Err(runs());
        }
        let last = if caller.super_admin { None } else { self.0.db.last_import(id).await? };
        let now = self.0.ambient.now();
        match last.map(|last| last.plus(PAUSE).since(now)).filter(|wait| !wait.is_zero()) {
            Some(wait) => {
                let text = "a backup was imported into this session within the last day";
                Err(Error::new(Code::RateLimited, text).reason("import_once_a_day").retry_after(wait))
            }
            None => Ok(session),
        }
    }

    /// Decrypts and checks a backup, and stores what is to be done with it.
    async fn check_backup(&self, spool: &Spool, key: Key, mut job: BackupImport) -> Result<BackupImport> {
        let (from, to) = (spool.sealed.clone(), spool.database.clone());
        let work = tokio::task::spawn_blocking(move || crypt15::open(&from, &key, &to));
        work.await.map_err(Error::internal)??;
        let mut backup = Msgstore::open(&spool.database).await?;
        (job.chats, job.total_messages) = backup.counts().await?;
        job.fingerprint = backup.fingerprint();
        let mut tx = self.0.db.begin().await?;
        match tx.insert_import(&job).await {
            Ok(()) => tx.commit().await?,
            Err(e) if e.code == Code::Conflict => return Err(runs()),
            Err(e) => return Err(e),
        }
        Ok(job)
    }
}

fn runs() -> Error {
    Error::new(Code::Conflict, "an import is already running for this session; wait until it ends").reason("import_running")
}

/// The files of one upload. The encrypted one goes with this value.
struct Spool {
    sealed: PathBuf,
    database: PathBuf,
}

impl Spool {
    fn new(folder: &Path, id: &str) -> Result<Self> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(Error::internal)?;
        Ok(Self { sealed: folder.join(format!("{id}.crypt15")), database: database(folder, id) })
    }

    /// Writes the file to the disk, and gives the key.
    async fn take(&self, pieces: impl Stream<Item = Result<Piece>> + Send) -> Result<Key> {
        let mut options = std::fs::OpenOptions::new();
        options.create_new(true).write(true).mode(0o600);
        let mut file = options.open(&self.sealed).map_err(Error::internal)?;
        let (mut length, mut key) = (0_u64, Vec::new());
        let mut pieces = std::pin::pin!(pieces);
        while let Some(piece) = pieces.next().await {
            match piece? {
                Piece::File(bytes) => {
                    length += bytes.len() as u64;
                    if length > LARGEST {
                        return Err(Error::field("file", format!("has more than {} MiB", LARGEST >> 20)));
                    }
                    file = write(file, bytes).await?;
                }
                Piece::Key(bytes) => {
                    key.extend_from_slice(&bytes);
                    if key.len() > LONGEST_KEY {
                        return Err(Error::field("key", "far too long for a key"));
                    }
                }
            }
        }
        if length == 0 {
            return Err(Error::field("file", "missing; give the backup, msgstore.db.crypt15"));
        }
        if key.is_empty() {
            return Err(Error::field("key", "missing; give the 64 digits that were shown when the backup was set up"));
        }
        Key::read(&key)
    }

    fn drop_database(&self) {
        remove(&self.database);
    }
}

/// Writes without keeping this thread from other work.
async fn write(mut file: std::fs::File, bytes: Vec<u8>) -> Result<std::fs::File> {
    let work = tokio::task::spawn_blocking(move || file.write_all(&bytes).map(|()| file));
    work.await.map_err(Error::internal)?.map_err(Error::internal)
}

impl Drop for Spool {
    fn drop(&mut self) {
        remove(&self.sealed);
    }
}

fn remove(path: &Path) {
    if let Err(error) = std::fs::remove_file(path)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(%error, "a file of an import could not be removed; it is tried again at the next start");
    }
}

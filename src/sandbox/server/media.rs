//! Files on the media host: encrypted by those who send them, found again by a direct path, forgotten after a while.
//!
//! The server keeps the bytes for as long as there is room, also beyond the file's life: they stand for the copy that the phones have,
//! from which an expired file is put up again (`mediaretry`). With a state file the bytes are files in a folder beside it.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::World;
use super::account::Place;
use super::iq::Answer;
use crate::domain::clock::Time;
use crate::error::{Code, Error, Result};
use crate::sandbox::journal::Key;
use crate::sandbox::keys::hex;
use crate::sandbox::wire::node::el;

/// How long a right to upload holds.
const GRANT_LIFE: Duration = Duration::from_secs(6 * 60 * 60);

/// How many interrupted uploads are kept to be resumed.
const MAX_PARTIAL: usize = 64;

/// What direct paths begin with.
pub(in crate::sandbox) const ROOT: &str = "/v/t62/";

/// What is known of a file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::sandbox) struct Record {
    /// `image`, `video`, `audio`, `document`, `md-msg-hist`, `md-app-state`, …
    pub(in crate::sandbox) kind: String,
    /// The hash of the bytes, in base64 for URLs.
    pub(in crate::sandbox) token: String,
    /// Bytes.
    pub(in crate::sandbox) size: u64,
    /// When it was put there.
    pub(in crate::sandbox) uploaded_at: Time,
    /// From when it is gone for those who ask.
    pub(in crate::sandbox) expires_at: Time,
    /// The bytes, when they are not in a file.
    #[serde(skip)]
    pub(in crate::sandbox) bytes: Option<Bytes>,
}

/// An upload that was interrupted.
struct Partial {
    bytes: Vec<u8>,
    order: u64,
}

/// All files.
pub(in crate::sandbox) struct MediaStore {
    folder: Option<PathBuf>,
    limit: u64,
    life: Duration,
    /// Proves that a right to upload is ours.
    secret: [u8; 32],
    records: BTreeMap<String, Record>,
    /// The newest path of some bytes.
    by_token: HashMap<String, String>,
    partial: HashMap<String, Partial>,
    next_partial: u64,
    /// Bytes of all records, of interrupted uploads and of those that are under way.
    used: u64,
}

/// The file of one direct path, for whoever asks.
#[derive(Debug)]
pub(in crate::sandbox) enum Found {
    /// There is no such file.
    Nothing,
    /// There was one.
    Expired,
    /// Here it is.
    File(Record),
}

/// Why a file cannot be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the sandbox's media store is full; delete media or raise its limit")]
pub(in crate::sandbox) struct Full;

impl From<Full> for Error {
    fn from(full: Full) -> Self {
        Self::new(Code::RateLimited, full.to_string()).reason("media_store_full")
    }
}

impl MediaStore {
    /// A store in `folder`, or in memory; of at most `limit` bytes, each file available for `life`.
    pub(in crate::sandbox) fn new(folder: Option<PathBuf>, limit: u64, life: Duration, secret: [u8; 32]) -> Self {
        Self {
            folder,
            limit,
            life,
            secret,
            records: BTreeMap::new(),
            by_token: HashMap::new(),
            partial: HashMap::new(),
            next_partial: 0,
            used: 0,
        }
    }

    /// The file in which a path's bytes are, when they are in one.
    pub(in crate::sandbox) fn file(&self, path: &str) -> Option<PathBuf> {
        Some(self.folder.as_ref()?.join(path.rsplit('/').next().filter(|name| !name.is_empty())?))
    }

    /// Sets room aside, dropping expired files for it. To be given back with [`MediaStore::release`].
    pub(in crate::sandbox) fn reserve(&mut self, size: u64, now: Time) -> Result<Vec<String>, Full> {
        let mut dropped = Vec::new();
        if self.used.saturating_add(size) > self.limit {
            let mut expired: Vec<(Time, String)> = self
                .records
                .iter()
                .filter(|(_, record)| record.expires_at <= now)
                .map(|(path, record)| (record.expires_at, path.clone()))
                .collect();
            expired.sort();
            for (_, path) in expired {
                if self.used.saturating_add(size) <= self.limit {
                    break;
                }
                self.remove(&path);
                dropped.push(path);
            }
        }
        if self.used.saturating_add(size) > self.limit {
            self.used -= std::mem::take(&mut self.partial).values().map(|partial| length(&partial.bytes)).sum::<u64>();
        }
        if self.used.saturating_add(size) > self.limit {
            return Err(Full);
        }
        self.used += size;
        Ok(dropped)
    }

    /// Gives room back.
    pub(in crate::sandbox) fn release(&mut self, size: u64) {
        self.used = self.used.saturating_sub(size);
    }

    fn insert(&mut self, path: String, record: Record) {
        self.used += record.size;
        self.by_token.insert(record.token.clone(), path.clone());
        self.records.insert(path, record);
    }

    fn remove(&mut self, path: &str) -> Option<Record> {
        let record = self.records.remove(path)?;
        self.used = self.used.saturating_sub(record.size);
        if self.by_token.get(&record.token).is_some_and(|newest| newest == path) {
            self.by_token.remove(&record.token);
        }
        if let Some(file) = self.file(path) {
            // A file that stays is cleared away at the next start.
            let _ = std::fs::remove_file(file);
        }
        Some(record)
    }

    /// What was uploaded of some bytes before the connection broke.
    pub(in crate::sandbox) fn take_partial(&mut self, token: &str) -> Option<Vec<u8>> {
        let bytes = self.partial.remove(token)?.bytes;
        self.used = self.used.saturating_sub(length(&bytes));
        Some(bytes)
    }

    /// How much was uploaded of some bytes.
    pub(in crate::sandbox) fn partial(&self, token: &str) -> Option<u64> {
        self.partial.get(token).map(|partial| length(&partial.bytes))
    }

    /// Keeps an interrupted upload, in place of the oldest when there are many.
    pub(in crate::sandbox) fn keep_partial(&mut self, token: &str, bytes: Vec<u8>) {
        self.take_partial(token);
        if self.partial.len() >= MAX_PARTIAL
            && let Some(oldest) = self.partial.iter().min_by_key(|(_, partial)| partial.order).map(|(token, _)| token.clone())
        {
            self.take_partial(&oldest);
        }
        self.used += length(&bytes);
        self.next_partial += 1;
        self.partial.insert(token.to_owned(), Partial { bytes, order: self.next_partial });
    }

    /// Whose right to upload this is, if it is one that holds.
    pub(in crate::sandbox) fn granted(&self, auth: &str, now: Time) -> Option<Place> {
        let (said, seal) = auth.rsplit_once('.')?;
        let mut parts = said.split('.');
        let (number, device, until) = (parts.next()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let right = self.seal(said) == seal && Time(until) > now;
        right.then(|| Place { number: number.to_owned(), device })
    }

    fn grant(&self, place: &Place, now: Time) -> String {
        let said = format!("{}.{}.{}", place.number, place.device, now.plus(GRANT_LIFE).0);
        let seal = self.seal(&said);
        format!("{said}.{seal}")
    }

    fn seal(&self, said: &str) -> String {
        // A key of any length makes an HMAC.
        Hmac::<Sha256>::new_from_slice(&self.secret).map_or_else(
            |_| String::new(),
            |mut mac| {
                mac.update(said.as_bytes());
                URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
            },
        )
    }

    /// A record from the journal; forgotten when its bytes are gone.
    pub(in crate::sandbox) fn restore(&mut self, path: &str, record: Record) {
        let there = self.file(path).and_then(|file| std::fs::metadata(file).ok()).is_some_and(|file| file.len() == record.size);
        if there {
            self.insert(path.to_owned(), record);
        }
    }

    /// Clears away what no record knows. To be called once everything is restored.
    pub(in crate::sandbox) fn clear_strays(&self) -> io::Result<()> {
        let Some(folder) = &self.folder else { return Ok(()) };
        std::fs::create_dir_all(folder)?;
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let known = entry.file_name().to_str().is_some_and(|name| {
                let ends = |path: &String| path.rsplit('/').next() == Some(name);
                self.records.keys().any(ends)
            });
            if !known {
                std::fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// All files, by direct path.
    pub(in crate::sandbox) fn records(&self) -> &BTreeMap<String, Record> {
        &self.records
    }
}

impl World {
    /// Answers `<media_conn>`: where files are put and the right to do so.
    pub(super) fn media_conn(&self, connection: u64, place: &Place) -> Answer {
        let host = self.connections.get(&connection).map(|connection| connection.host.clone()).unwrap_or_default();
        let host = el("host")
            .attr("hostname", host)
            .attr("type", "primary")
            .children([el("upload").build(), el("download").build()])
            .build();
        Ok(vec![
            el("media_conn")
                .attr("auth", self.media.grant(place, self.ambient.now()))
                .attr("ttl", "300")
                .attr("auth_ttl", GRANT_LIFE.as_secs().to_string())
                .attr("max_buckets", "12")
                .children([host])
                .build(),
        ])
    }

    /// A direct path that nobody has yet.
    pub(in crate::sandbox) fn new_media_path(&self, kind: &str) -> String {
        format!("{ROOT}{kind}/{}", hex(&self.ambient.random::<12>()))
    }

    /// Puts up a file that a phone has encrypted; gives its direct path. Fails when the store is full or its folder cannot be written.
    pub(in crate::sandbox) fn put_media(&mut self, kind: &str, bytes: Bytes) -> Result<String> {
        let path = self.new_media_path(kind);
        self.reserve_media(length(&bytes))?;
        let written = self.media.file(&path).map_or(Ok(()), |file| write(&file, &bytes));
        self.media.release(length(&bytes));
        written.map_err(|error| {
            Error::new(Code::Unavailable, format!("the sandbox's media folder cannot be written: {}", error.kind()))
                .because(error)
        })?;
        self.record_media(&path, kind, bytes);
        Ok(path)
    }

    /// Sets room aside for a file.
    pub(in crate::sandbox) fn reserve_media(&mut self, size: u64) -> Result<(), Full> {
        let now = self.ambient.now();
        for path in self.media.reserve(size, now)? {
            self.touch(Key::Media(path));
        }
        Ok(())
    }

    /// Notes a file whose bytes are where they belong.
    pub(in crate::sandbox) fn record_media(&mut self, path: &str, kind: &str, bytes: Bytes) {
        let now = self.ambient.now();
        let record = Record {
            kind: kind.to_owned(),
            token: token(&bytes),
            size: length(&bytes),
            uploaded_at: now,
            expires_at: now.plus(self.media.life),
            bytes: self.media.folder.is_none().then_some(bytes),
        };
        self.media.insert(path.to_owned(), record);
        self.touch(Key::Media(path.to_owned()));
    }

    /// The file of a direct path as the media host gives it out.
    pub(in crate::sandbox) fn find_media(&self, path: &str) -> Found {
        match self.media.records.get(path) {
            None => Found::Nothing,
            Some(record) if record.expires_at <= self.ambient.now() => Found::Expired,
            Some(record) => Found::File(record.clone()),
        }
    }

    /// The bytes of a direct path, as somebody has them who took them in time.
    pub(in crate::sandbox) fn media_bytes(&self, path: &str) -> Option<Bytes> {
        let record = self.media.records.get(path)?;
        match &record.bytes {
            Some(bytes) => Some(bytes.clone()),
            None => std::fs::read(self.media.file(path)?).ok().map(Bytes::from),
        }
    }

    /// The newest direct path of these bytes that has not expired.
    pub(in crate::sandbox) fn media_path(&self, token: &str) -> Option<String> {
        let path = self.media.by_token.get(token)?;
        matches!(self.find_media(path), Found::File(_)).then(|| path.clone())
    }

    /// Ends the life of one file, or of all. Gives how many ended.
    pub(in crate::sandbox) fn expire_media(&mut self, path: Option<&str>) -> Result<usize> {
        let now = self.ambient.now();
        if let Some(path) = path
            && !self.media.records.contains_key(path)
        {
            return Err(Error::not_found("file"));
        }
        let living = |record: &Record| record.expires_at > now;
        let ended: Vec<String> = self
            .media
            .records
            .iter_mut()
            .filter(|(name, record)| path.is_none_or(|path| path == *name) && living(record))
            .map(|(name, record)| {
                record.expires_at = now;
                name.clone()
            })
            .collect();
        for path in &ended {
            self.touch(Key::Media(path.clone()));
        }
        Ok(ended.len())
    }

    /// Removes a file with its bytes, as if no phone had it either.
    pub(in crate::sandbox) fn delete_media(&mut self, path: &str) -> Result<()> {
        self.media.remove(path).ok_or_else(|| Error::not_found("file"))?;
        self.touch(Key::Media(path.to_owned()));
        Ok(())
    }
}

/// The hash of a file as URLs carry it.
pub(in crate::sandbox) fn token(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(bytes))
}

/// Writes a file whole or not at all.
pub(in crate::sandbox) fn write(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = file.with_extension("part");
    std::fs::write(&temporary, bytes)?;
    std::fs::File::open(&temporary)?.sync_all()?;
    std::fs::rename(temporary, file)
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(limit: u64) -> MediaStore {
        MediaStore::new(None, limit, Duration::from_secs(60), [1; 32])
    }

    fn record(bytes: &'static [u8], expires: i64) -> Record {
        let bytes = Bytes::from_static(bytes);
        let (token, size) = (token(&bytes), length(&bytes));
        Record { kind: "image".into(), token, size, uploaded_at: Time(0), expires_at: Time(expires), bytes: Some(bytes) }
    }

    #[test]
    fn a_full_store_drops_what_has_expired_and_refuses_the_rest() {
        let mut store = store(10);
        store.insert("/v/t62/image/a".into(), record(b"12345", 100));
        store.insert("/v/t62/image/b".into(), record(b"1234", 200));
        assert_eq!(store.reserve(2, Time(50)).unwrap_err(), Full, "nothing has expired yet");
        assert_eq!(store.reserve(2, Time(150)).unwrap(), ["/v/t62/image/a"], "only as much as is needed, oldest first");
        assert_eq!(store.records.len(), 1);
        assert!(store.reserve(5, Time(150)).is_err(), "what is set aside counts");
        store.release(2);
        assert!(store.reserve(5, Time(150)).is_ok());
    }

    #[test]
    fn interrupted_uploads_are_few_and_give_way() {
        let mut store = store(1000);
        for n in 0..=MAX_PARTIAL {
            store.keep_partial(&n.to_string(), vec![0; 10]);
        }
        assert_eq!((store.partial("0"), store.partial("1"), store.used), (None, Some(10), 640));
        assert!(store.reserve(900, Time(0)).is_ok(), "a whole file is worth more than parts");
        assert_eq!(store.partial("1"), None);
    }

    #[test]
    fn a_right_to_upload_is_ours_and_ends() {
        let store = store(10);
        let place = Place { number: "5511900000001".into(), device: 2 };
        let auth = store.grant(&place, Time(0));
        assert_eq!(store.granted(&auth, Time(1)), Some(place));
        assert_eq!(store.granted(&auth, Time(0).plus(GRANT_LIFE)), None);
        assert_eq!(store.granted(&auth.replace("0001", "0002"), Time(1)), None);
        assert_eq!(store.granted("", Time(1)), None);
    }
}

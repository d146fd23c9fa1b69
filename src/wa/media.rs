//! Files to and from WhatsApp's media hosts, in pieces: whatever a file's size, little of it is in memory.
//!
//! The library encrypts, decrypts, chooses hosts, refreshes its right to use them and goes on where an upload broke off; here are the
//! files that it reads and writes, the bounds, and what its errors mean.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use wacore::download::{DownloadWriter, MediaDecryptionError, MediaType};
use wacore::upload::{UploadSource, encrypt_media_streaming};
use whatsapp_rust::download::DownloadParams;
use whatsapp_rust::{MediaRetryResult, MediaReuploadError, MediaReuploadRequest};

use super::connection::Sender;
use super::outgoing::jid;
use crate::domain::jid::Address;
use crate::domain::media::{MediaKind, Reference, Uploaded};

/// Bytes read at a time where a file is looked at.
const PIECE: usize = 64 << 10;

/// Why a file could not be had from WhatsApp.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// WhatsApp's hosts have it no longer; the phone may give it again.
    #[error("WhatsApp no longer has the file")]
    Gone,
    /// What arrived is not what the sender sent.
    #[error("what arrived is not what was sent")]
    Corrupt,
    /// It is larger than we take.
    #[error("larger than {limit} bytes")]
    TooLarge {
        /// Bytes at most.
        limit: u64,
    },
    /// Something between here and there failed; trying again may help.
    #[error("WhatsApp's media hosts could not be reached: {0:#}")]
    Unreachable(anyhow::Error),
    /// This machine's own disk failed.
    #[error("the file could not be written here: {0}")]
    Local(#[from] io::Error),
}

/// Why a phone did not give a file again.
#[derive(Debug, thiserror::Error)]
pub enum RetryError {
    /// The phone has it no longer, or cannot give it.
    #[error("the phone no longer has the file")]
    Gone,
    /// The phone did not answer in time.
    #[error("the phone did not answer")]
    Silent,
    /// The question could not be put.
    #[error("the phone could not be asked: {0:#}")]
    Failed(anyhow::Error),
}

/// Which message a phone is asked for.
#[derive(Clone, Debug)]
pub struct Place {
    /// The chat it stands in.
    pub chat: Address,
    /// Who wrote it; in groups.
    pub sender: Option<Address>,
    /// WhatsApp's id.
    pub wa_message_id: String,
    /// Whether this account sent it.
    pub from_me: bool,
}

impl Sender {
    /// Encrypts `file` from its beginning into a temporary file in `folder` and gives that to WhatsApp. The file's own position does not
    /// matter and is not kept.
    ///
    /// # Errors
    /// The disk's, or what WhatsApp's hosts refused with. Nothing was sent then; trying again is harmless.
    pub async fn upload(&self, file: File, kind: MediaKind, folder: &Path) -> anyhow::Result<Uploaded> {
        let kind = library(kind);
        let folder = folder.to_owned();
        let encrypted = tokio::task::spawn_blocking(move || {
            let mut plain = file;
            plain.rewind()?;
            let mut sealed = tempfile::tempfile_in(folder)?;
            let info = encrypt_media_streaming(
                BufReader::with_capacity(PIECE, plain),
                BufWriter::with_capacity(PIECE, &mut sealed),
                kind,
            )?;
            let length = sealed.metadata()?.len();
            anyhow::Ok((Sealed { file: Arc::new(sealed), length }, info))
        });
        let (sealed, info) = encrypted.await??;
        let it = Box::pin(self.client.upload_stream(sealed, info, kind)).await?;
        Ok(Uploaded {
            url: it.url,
            direct_path: it.direct_path,
            media_key: it.media_key,
            file_sha256: it.file_sha256,
            file_enc_sha256: it.file_enc_sha256,
            file_length: it.file_length,
            media_key_timestamp: it.media_key_timestamp,
            streaming_sidecar: it.streaming_sidecar,
        })
    }

    /// Fetches a file into a temporary file in `folder`, decrypts it on the way and checks that it is what was sent, by its MAC, its
    /// length and its SHA-256. It stands at its beginning.
    pub async fn download(&self, reference: &Reference, limit: u64, folder: &Path) -> Result<File, DownloadError> {
        if reference.file_length > limit {
            return Err(DownloadError::TooLarge { limit });
        }
        let params = DownloadParams::encrypted(
            &*reference.direct_path,
            &reference.media_key,
            &reference.file_sha256,
            &reference.file_enc_sha256,
            reference.file_length,
            library(reference.kind),
        );
        let folder = folder.to_owned();
        let file = blocking(move || tempfile::tempfile_in(folder)).await?;
        let capped = Capped { file, limit, at: 0 };
        let capped = Box::pin(self.client.download_to_writer(&params, capped)).await.map_err(classify)?;
        let (length, sha256) = (reference.file_length, reference.file_sha256.clone());
        blocking(move || {
            let mut file = capped.file;
            let (found, hash) = measure(&mut file)?;
            let same = found == length && hash.as_slice() == sha256;
            Ok(if same { Some(file) } else { None })
        })
        .await?
        .ok_or(DownloadError::Corrupt)
    }

    /// Asks the phone that has the message to give its file to WhatsApp's hosts again. Gives the new path.
    pub async fn ask_again(&self, place: &Place, reference: &Reference) -> Result<String, RetryError> {
        let (chat, sender) = (jid(&place.chat), place.sender.as_ref().map(jid));
        let request = MediaReuploadRequest {
            msg_id: &place.wa_message_id,
            chat_jid: &chat,
            media_key: &reference.media_key,
            is_from_me: place.from_me,
            participant: sender.as_ref(),
        };
        match Box::pin(self.client.media_reupload().request(&request)).await {
            Ok(MediaRetryResult::Success { direct_path, .. }) => Ok(direct_path),
            Ok(_) => Err(RetryError::Gone),
            Err(MediaReuploadError::Timeout) => Err(RetryError::Silent),
            Err(e) => Err(RetryError::Failed(e.into())),
        }
    }
}

/// The library's name of a kind. Recordings are sounds to it, and stickers have a folder of their own.
fn library(kind: MediaKind) -> MediaType {
    match kind {
        MediaKind::Image => MediaType::Image,
        MediaKind::Video => MediaType::Video,
        MediaKind::Audio | MediaKind::Voice => MediaType::Audio,
        MediaKind::Document => MediaType::Document,
        MediaKind::Sticker => MediaType::Sticker,
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T, DownloadError> {
    Ok(tokio::task::spawn_blocking(work).await.map_err(io::Error::other)??)
}

/// A file's length and SHA-256; it stands at its beginning afterwards.
fn measure(file: &mut File) -> io::Result<(u64, [u8; 32])> {
    file.rewind()?;
    let (mut hash, mut length, mut piece) = (Sha256::new(), 0, vec![0; PIECE]);
    loop {
        match file.read(&mut piece)? {
            0 => break,
            count => {
                hash.update(&piece[..count]);
                length += count as u64;
            }
        }
    }
    file.rewind()?;
    Ok((length, hash.finalize().into()))
}

fn classify(error: anyhow::Error) -> DownloadError {
    // Not at the top: its method names collide with those that derived errors use.
    use whatsapp_rust::ErrorChainExt as _;
    if let Some(status) = error.http_status() {
        return match status {
            404 | 410 => DownloadError::Gone,
            _ => DownloadError::Unreachable(error),
        };
    }
    for cause in error.chain() {
        if let Some(limit) =
            cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref).and_then(|it| it.downcast_ref::<Over>())
        {
            return DownloadError::TooLarge { limit: limit.0 };
        }
        if cause.is::<MediaDecryptionError>() {
            return DownloadError::Corrupt;
        }
    }
    // What neither the network nor the disk says is said by the check of what arrived.
    let outside = error
        .chain()
        .any(|cause| cause.is::<io::Error>() || cause.is::<reqwest::Error>() || cause.is::<whatsapp_rust::IqError>());
    if outside { DownloadError::Unreachable(error) } else { DownloadError::Corrupt }
}

/// An encrypted file, read from any place by any number of readers.
struct Sealed {
    file: Arc<File>,
    length: u64,
}

impl UploadSource for Sealed {
    fn len(&self) -> u64 {
        self.length
    }

    fn reader_from(&self, offset: u64) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(Reader { file: self.file.clone(), at: offset }))
    }
}

struct Reader {
    file: Arc<File>,
    at: u64,
}

impl Read for Reader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(into, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

/// More came than was allowed.
#[derive(Debug, thiserror::Error)]
#[error("larger than {0} bytes")]
struct Over(u64);

/// A file that takes no more than `limit` bytes, whatever the sender said.
struct Capped {
    file: File,
    limit: u64,
    at: u64,
}

impl Write for Capped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.at + bytes.len() as u64 > self.limit {
            return Err(io::Error::other(Over(self.limit)));
        }
        let count = self.file.write(bytes)?;
        self.at += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Seek for Capped {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = self.file.seek(to)?;
        Ok(self.at)
    }
}

impl DownloadWriter for Capped {
    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }
}

//! The files on the media host, for those who look at it from outside.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use wacore::download::MediaType;

use super::Sandbox;
use crate::domain::clock::Time;
use crate::error::Result;

pub use super::phone::media::Uploaded;

/// A file on the media host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaFile {
    /// Where clients find it.
    pub direct_path: String,
    /// `image`, `video`, `audio`, `document`, `md-msg-hist` (history), `md-app-state`, …
    pub kind: String,
    /// Bytes, encrypted.
    pub size: u64,
    /// When it was put there.
    pub uploaded_at: Time,
    /// From when the media host says that it is gone.
    pub expires_at: Time,
}

impl Sandbox {
    /// Encrypts a file and puts it on the media host, as a phone does before it sends it. Fails when the host is full.
    pub async fn upload_media(&self, plain: &[u8], kind: MediaType) -> Result<Uploaded> {
        let uploaded = self.inner.act(|world| world.upload_media(plain, kind))?;
        self.inner.settled().await;
        Ok(uploaded)
    }

    /// Takes a file from the media host and decrypts it, as a phone does. Fails when it is not there, and when the key is another one.
    pub fn download_media(&self, direct_path: &str, key: &[u8], kind: MediaType) -> Result<Vec<u8>> {
        self.inner.world().download_media(direct_path, key, kind)
    }

    /// All files, by direct path.
    pub fn list_media(&self) -> Vec<MediaFile> {
        let world = self.inner.world();
        let files = world.media.records().iter().map(|(path, record)| MediaFile {
            direct_path: path.clone(),
            kind: record.kind.clone(),
            size: record.size,
            uploaded_at: record.uploaded_at,
            expires_at: record.expires_at,
        });
        files.collect()
    }

    /// Ends the life of one file, or of all that live; gives how many ended. Phones still have them and put them up again when a
    /// device asks. Fails when there is no such file.
    pub async fn expire_media(&self, direct_path: Option<&str>) -> Result<usize> {
        let expired = self.inner.act(|world| world.expire_media(direct_path))?;
        self.inner.settled().await;
        Ok(expired)
    }

    /// Removes a file so that no phone has it either. Fails when there is no such file.
    pub async fn delete_media(&self, direct_path: &str) -> Result<()> {
        self.inner.act(|world| world.delete_media(direct_path))?;
        self.inner.settled().await;
        Ok(())
    }
}

/// The hash of some bytes as it stands in the paths of uploads.
pub fn token(bytes: &[u8]) -> String {
    super::server::media::token(bytes)
}

/// A SHA-256 as it stands in the paths of uploads.
pub fn token_of(hash: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(hash)
}

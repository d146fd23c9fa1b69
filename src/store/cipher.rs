//! Sealing of secrets at rest: AES-256-GCM under keys that the operator gives, with rotation.
//!
//! A sealed blob is `version byte | key id (8) | nonce (12) | ciphertext and tag`. The associated data binds it to its session, its table
//! and its row, so that a blob moved to another place does not open. Each session has a key of its own, derived from the operator's: a
//! random 96-bit nonce is safe for some 2³² blobs under one key, which a fleet of sessions together would reach.
//!
//! Without a key, a blob is a marker byte and the content in the clear; it stays readable when a key is given later, and is sealed when it
//! is next written.

use std::fmt;
use std::sync::Arc;

use aes_gcm::aead::{Aead as _, Payload};
use aes_gcm::{Aes256Gcm, KeyInit as _, Nonce};
use base64::Engine as _;
use hmac::{Hmac, Mac as _};
use secrecy::{ExposeSecret as _, SecretBox};
use sha2::{Digest as _, Sha256};

use crate::domain::clock::Ambient;
use crate::domain::ids::{SessionId, WebhookId};
use crate::error::{Error, Result};

const PLAIN: u8 = 0;
const SEALED: u8 = 1;
const KEY_ID: usize = 8;
const NONCE: usize = 12;

/// An operator's key. Its id is the beginning of its SHA-256; `Debug` shows only that.
pub struct Key {
    id: [u8; KEY_ID],
    bytes: SecretBox<[u8; 32]>,
}

impl Key {
    /// Reads 32 bytes written as 64 hexadecimal digits or in base64 (standard or URL alphabet, padded or not).
    ///
    /// # Errors
    /// `Validation`, naming `encryption key`, without the text.
    pub fn parse(text: &str) -> Result<Self> {
        let text = text.trim();
        let bytes = hex(text).or_else(|| unbase64(text));
        let bytes: Option<[u8; 32]> = bytes.and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self::new).ok_or_else(|| Error::field("encryption key", "is not 32 bytes in hexadecimal digits or base64"))
    }

    /// Takes 32 bytes as they are.
    pub fn new(bytes: [u8; 32]) -> Self {
        let mut id = [0; KEY_ID];
        id.copy_from_slice(&Sha256::digest(bytes)[..KEY_ID]);
        Self { id, bytes: SecretBox::new(Box::new(bytes)) }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", shown(&self.id))
    }
}

/// The ring of keys: one that seals, and former ones that still open. Cheap to clone.
#[derive(Clone)]
pub struct Cipher {
    ambient: Ambient,
    /// The first one seals.
    keys: Arc<[Key]>,
    seals: bool,
}

impl Cipher {
    /// Seals with `current`, and opens with it and with the `old` ones.
    pub fn new(ambient: Ambient, current: Option<Key>, old: Vec<Key>) -> Self {
        let seals = current.is_some();
        Self { ambient, keys: current.into_iter().chain(old).collect(), seals }
    }

    /// Seals nothing.
    pub fn plain(ambient: Ambient) -> Self {
        Self::new(ambient, None, Vec::new())
    }

    /// Whether it seals. When it does not, secrets lie in the clear, which deserves a warning at start.
    pub fn seals(&self) -> bool {
        self.seals
    }

    /// What seals and opens the blobs of one session.
    pub fn for_session(&self, session: &SessionId) -> Sealer {
        self.sealer("device state of session ", session.as_str())
    }

    /// What seals and opens the secrets of one webhook.
    pub fn for_webhook(&self, webhook: &WebhookId) -> Sealer {
        self.sealer("secrets of webhook ", webhook.as_str())
    }

    fn sealer(&self, kind: &str, owner: &str) -> Sealer {
        let derived = |key: &Key| (key.id, derive(key, kind, owner));
        Sealer {
            ambient: self.ambient.clone(),
            owner: owner.to_owned(),
            keys: self.keys.iter().map(derived).collect(),
            seals: self.seals,
        }
    }
}

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cipher").field("keys", &self.keys).field("seals", &self.seals).finish()
    }
}

/// Seals and opens the blobs of one session or webhook.
pub struct Sealer {
    ambient: Ambient,
    owner: String,
    keys: Vec<([u8; KEY_ID], SecretBox<[u8; 32]>)>,
    seals: bool,
}

impl Sealer {
    /// Seals `content` for the row of `table` whose key columns (other than the owner) are `row`.
    pub fn seal(&self, table: &str, row: &[&[u8]], content: &[u8]) -> Result<Vec<u8>> {
        let Some((id, key)) = self.keys.first().filter(|_| self.seals) else {
            return Ok([&[PLAIN], content].concat());
        };
        let nonce = self.ambient.random::<NONCE>();
        let payload = Payload { msg: content, aad: &self.place(table, row) };
        let sealed = aes(key).encrypt(&Nonce::from(nonce), payload).map_err(|_| fault("a secret is too long to seal"))?;
        Ok([&[SEALED], id.as_slice(), &nonce, &sealed].concat())
    }

    /// Opens what [`Sealer::seal`] made for the same place.
    ///
    /// # Errors
    /// `Internal`, with a cause that says whether the key is missing or the blob was changed.
    pub fn open(&self, table: &str, row: &[&[u8]], blob: &[u8]) -> Result<Vec<u8>> {
        match blob.split_first() {
            Some((&PLAIN, content)) => Ok(content.to_vec()),
            Some((&SEALED, rest)) if rest.len() >= KEY_ID + NONCE => {
                let (id, rest) = rest.split_at(KEY_ID);
                let (nonce, sealed) = rest.split_at(NONCE);
                let Some((_, key)) = self.keys.iter().find(|(known, _)| known == id) else {
                    return Err(fault(format!(
                        "a secret in {table} is sealed with key {}, which is not given: add it to the old encryption keys",
                        shown(id)
                    )));
                };
                let nonce = <[u8; NONCE]>::try_from(nonce).map_err(Error::internal)?;
                let payload = Payload { msg: sealed, aad: &self.place(table, row) };
                aes(key)
                    .decrypt(&Nonce::from(nonce), payload)
                    .map_err(|_| fault(format!("a secret in {table} was changed or belongs elsewhere")))
            }
            _ => Err(fault(format!("a secret in {table} has an unknown form"))),
        }
    }

    /// The associated data: each part behind its length, so that no two places read the same.
    fn place(&self, table: &str, row: &[&[u8]]) -> Vec<u8> {
        let mut place = Vec::new();
        for part in [self.owner.as_bytes(), table.as_bytes()].iter().chain(row) {
            place.extend_from_slice(&(part.len() as u64).to_be_bytes());
            place.extend_from_slice(part);
        }
        place
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer").field("owner", &self.owner).field("seals", &self.seals).finish_non_exhaustive()
    }
}

fn aes(key: &SecretBox<[u8; 32]>) -> Aes256Gcm {
    Aes256Gcm::new(key.expose_secret().into())
}

/// The owner's own key: HMAC-SHA256 of a label and the owner's id under the operator's key.
fn derive(key: &Key, kind: &str, owner: &str) -> SecretBox<[u8; 32]> {
    // HMAC fills a short key up with zeros to its block anyway; doing it here leaves nothing that could fail.
    let mut block = [0; 64];
    block[..32].copy_from_slice(key.bytes.expose_secret());
    let mut mac = <Hmac<Sha256> as hmac::KeyInit>::new(&block.into());
    mac.update(kind.as_bytes());
    mac.update(owner.as_bytes());
    SecretBox::new(Box::new(mac.finalize().into_bytes().into()))
}

fn fault(message: impl Into<String>) -> Error {
    Error::internal(anyhow::Error::msg(message.into()))
}

fn shown(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn hex(text: &str) -> Option<Vec<u8>> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    (0..32).map(|at| u8::from_str_radix(text.get(at * 2..at * 2 + 2)?, 16).ok()).collect()
}

fn unbase64(text: &str) -> Option<Vec<u8>> {
    use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
    let text = text.trim_end_matches('=');
    STANDARD_NO_PAD.decode(text).or_else(|_| URL_SAFE_NO_PAD.decode(text)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::Time;

    fn cipher(current: Option<u8>, old: &[u8]) -> Cipher {
        let key = |byte: u8| Key::new([byte; 32]);
        Cipher::new(Ambient::held(Time(0)), current.map(key), old.iter().copied().map(key).collect())
    }

    fn session(name: &str) -> SessionId {
        SessionId::new(name)
    }

    #[test]
    fn a_blob_opens_only_in_its_place() {
        let (mine, other) = (cipher(Some(1), &[]).for_session(&session("A")), cipher(Some(1), &[]).for_session(&session("B")));
        let blob = mine.seal("wa_sessions", &[b"x", b"yz"], b"secret").unwrap();
        assert!(!blob.windows(6).any(|part| part == b"secret"));
        assert_eq!(mine.open("wa_sessions", &[b"x", b"yz"], &blob).unwrap(), b"secret");
        assert!(mine.open("wa_sessions", &[b"xy", b"z"], &blob).is_err());
        assert!(mine.open("wa_prekeys", &[b"x", b"yz"], &blob).is_err());
        assert!(other.open("wa_sessions", &[b"x", b"yz"], &blob).is_err());
        for at in 0..blob.len() {
            let mut changed = blob.clone();
            changed[at] ^= 1;
            // The one flip that turns the marker into "in the clear" gives bytes, but never the secret.
            assert_ne!(
                mine.open("wa_sessions", &[b"x", b"yz"], &changed).ok().as_deref(),
                Some(b"secret".as_slice()),
                "byte {at}"
            );
        }
        assert!(mine.open("wa_sessions", &[], &[]).is_err());
        assert!(mine.open("wa_sessions", &[], &[SEALED, 1, 2]).is_err());
    }

    #[test]
    fn keys_rotate_and_a_missing_one_is_named() {
        let (old, new) = (cipher(Some(1), &[]).for_session(&session("A")), cipher(Some(2), &[1]).for_session(&session("A")));
        let blob = old.seal("t", &[], b"secret").unwrap();
        assert_eq!(new.open("t", &[], &blob).unwrap(), b"secret");
        assert_ne!(new.seal("t", &[], b"secret").unwrap()[1..9], blob[1..9]);
        let error = cipher(Some(2), &[]).for_session(&session("A")).open("t", &[], &blob).unwrap_err();
        let cause = error.cause().map(ToString::to_string).unwrap_or_default();
        assert!(cause.contains(&shown(&blob[1..9])) && cause.contains("not given"), "{cause}");
    }

    #[test]
    fn without_a_key_blobs_are_marked_and_stay_readable() {
        let blob = cipher(None, &[]).for_session(&session("A")).seal("t", &[], b"secret").unwrap();
        assert_eq!(blob, b"\0secret");
        assert_eq!(cipher(Some(1), &[]).for_session(&session("A")).open("t", &[], &blob).unwrap(), b"secret");
        // An old key alone opens, but does not seal.
        let former = cipher(None, &[1]);
        assert!(!former.seals());
        assert_eq!(former.for_session(&session("A")).seal("t", &[], b"s").unwrap(), b"\0s");
    }

    #[test]
    fn keys_are_read_in_every_spelling_and_never_shown() {
        let bytes = [0xfb; 32];
        let hexadecimal = shown(&bytes);
        let base64 = base64::engine::general_purpose::STANDARD.encode(bytes);
        let url = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes);
        for text in [&hexadecimal, &base64, &url, &format!(" {hexadecimal}\n"), &hexadecimal.to_uppercase()] {
            let key = Key::parse(text).unwrap();
            assert_eq!(key.bytes.expose_secret(), &bytes, "{text}");
            assert!(!format!("{key:?}").contains(&hexadecimal));
        }
        for text in ["", "abc", &hexadecimal[..62], &format!("{hexadecimal}00"), &"é".repeat(32)] {
            let error = Key::parse(text).unwrap_err();
            assert!(text.is_empty() || !error.message.contains(text), "{text}");
        }
    }
}

//! Api-keys: credentials for programs.

use sha2::{Digest, Sha256};

use crate::domain::clock::{Ambient, Time};
use crate::domain::ids::{ApiKeyId, OrganizationId};
use crate::domain::principal::Capabilities;

/// How many characters of a secret are kept to recognise and find it by, `wa_` included.
pub const PREFIX_LEN: usize = 11;

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A stored api-key, without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// Its id.
    pub id: ApiKeyId,
    /// The organization that it acts for.
    pub organization: OrganizationId,
    /// A name for people.
    pub name: String,
    /// The first [`PREFIX_LEN`] characters of the secret.
    pub prefix: String,
    /// SHA-256 of the secret. Plain SHA-256 is enough: the secret has 256 random bits, so there is nothing to guess.
    pub hash: [u8; 32],
    /// What it may do.
    pub capabilities: Capabilities,
    /// When it ends by itself.
    pub expires_at: Option<Time>,
    /// When it was created.
    pub created_at: Time,
    /// When it was last used, to the minute.
    pub last_used_at: Option<Time>,
    /// When it was revoked.
    pub revoked_at: Option<Time>,
}

/// SHA-256 of a secret.
pub fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

/// The part of a secret that is kept in the clear. Cut between characters, so any text will do.
pub fn prefix(secret: &str) -> String {
    secret.chars().take(PREFIX_LEN).collect()
}

/// Makes a fresh secret: `wa_` and 32 random bytes in base62.
pub fn generate(ambient: &Ambient) -> String {
    format!("wa_{}", base62::<43>(&mut ambient.random::<32>()))
}

/// A big-endian number as `N` digits in base62, by repeated division; it is used up. 43 digits hold 256 bits.
pub fn base62<const N: usize>(number: &mut [u8]) -> String {
    let mut digits = [0u8; N];
    for digit in digits.iter_mut().rev() {
        let mut rest = 0u32;
        for byte in number.iter_mut() {
            let value = (rest << 8) | u32::from(*byte);
            *byte = u8::try_from(value / 62).unwrap_or(0);
            rest = value % 62;
        }
        *digit = ALPHABET[rest as usize];
    }
    digits.iter().map(|d| char::from(*d)).collect()
}

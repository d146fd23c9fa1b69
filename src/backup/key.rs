//! The key of an end-to-end encrypted backup.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::error::{Error, Result};

/// A key's length in bytes.
const LENGTH: usize = 32;

/// How a file begins that Java's serialization has written.
const SERIALIZED: [u8; 4] = [0xac, 0xed, 0x00, 0x05];

/// What the cipher's key is derived for.
const PURPOSE: &[u8] = b"backup encryption";

/// The 32 bytes that a backup's owner was shown as 64 digits.
#[derive(Clone)]
pub struct Key([u8; LENGTH]);

impl Key {
    /// Reads a key as people have it: its 64 hexadecimal digits in groups or not, base64, or the file `encrypted_backup.key`, as it
    /// is or in base64.
    ///
    /// # Errors
    /// `validation_error` naming `key`.
    pub fn read(given: &[u8]) -> Result<Self> {
        let found = Self::of_bytes(given).or_else(|| Self::of_text(std::str::from_utf8(given).ok()?));
        found.ok_or_else(|| {
            Error::field(
                "key",
                "not a key; give its 64 hexadecimal digits, the same 32 bytes as base64, or the file encrypted_backup.key",
            )
        })
    }

    fn of_text(text: &str) -> Option<Self> {
        let text: String = text.chars().filter(|c| !c.is_whitespace() && !matches!(c, '-' | ':')).collect();
        if text.len() == LENGTH * 2 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
            let mut key = [0; LENGTH];
            for (byte, digits) in key.iter_mut().zip(text.as_bytes().chunks(2)) {
                *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
            }
            return Some(Self(key));
        }
        Self::of_bytes(&BASE64_STANDARD.decode(text).ok()?)
    }

    /// The bare bytes, or the last of a serialized array of that length.
    fn of_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.len() == LENGTH {
            return bytes.try_into().ok().map(Self);
        }
        let (head, key) = bytes.split_at_checked(bytes.len().checked_sub(LENGTH)?)?;
        let fits = head.starts_with(&SERIALIZED) && head.ends_with(&[0, 0, 0, 32]);
        key.try_into().ok().filter(|_| fits).map(Self)
    }

    /// The cipher's key: one round of HKDF with SHA-256, without salt.
    pub(super) fn cipher_key(&self) -> Result<[u8; LENGTH]> {
        let drawn = mac(&[0; LENGTH], &[&self.0])?;
        mac(&drawn, &[PURPOSE, &[1]])
    }
}

fn mac(key: &[u8], parts: &[&[u8]]) -> Result<[u8; LENGTH]> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).map_err(Error::internal)?;
    parts.iter().for_each(|part| mac.update(part));
    Ok(mac.finalize().into_bytes().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_key_is_one_key() {
        let key: [u8; 32] = std::array::from_fn(|n| u8::try_from(n * 7).unwrap());
        let hex = key.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
        let grouped = hex.as_bytes().chunks(4).map(|four| std::str::from_utf8(four).unwrap()).collect::<Vec<_>>().join(" ");
        let mut file = SERIALIZED.to_vec();
        file.extend([0x75, 0x72, 0, 2, b'[', b'B', 0xac, 0xf3, 0x17, 0xf8, 6, 8, 0x54, 0xe0, 2, 0, 0, 0x78, 0x70, 0, 0, 0, 32]);
        file.extend(key);
        let forms = [
            hex.clone().into_bytes(),
            hex.to_uppercase().into_bytes(),
            grouped.into_bytes(),
            BASE64_STANDARD.encode(key).into_bytes(),
            BASE64_STANDARD.encode(&file).into_bytes(),
            file,
            key.to_vec(),
        ];
        for form in forms {
            assert_eq!(Key::read(&form).ok().map(|read| read.0), Some(key), "{form:?}");
        }
        for bad in [&b""[..], b"nonsense", &[7; 31], &[7; 100], &hex.as_bytes()[..62]] {
            assert!(Key::read(bad).is_err(), "{bad:?}");
        }
    }
}

//! Api-keys: credentials for programs.

use sha2::{Digest, Sha256};

use crate::domain::clock::{Ambient, Time};
use crate::domain::ids::{ApiKeyId, OrganizationId, SessionId};
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
    /// The sessions that it is restricted to; `None` means all of its organization.
    pub sessions: Option<Vec<SessionId>>,
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

/// Whether two hashes are equal, found out in a time that does not depend on where they differ.
pub fn same(one: &[u8; 32], other: &[u8; 32]) -> bool {
    std::hint::black_box(one.iter().zip(other).fold(0, |found, (a, b)| found | (a ^ b))) == 0
}

/// Makes a fresh secret: `wa_`, 32 random bytes as 43 digits in base62, and a checksum of 6 more.
pub fn generate(ambient: &Ambient) -> String {
    let digits = base62::<43>(&mut ambient.random::<32>());
    let check = checksum(&digits);
    format!("wa_{digits}{check}")
}

/// Whether this text looks like a secret that [`generate`] made and was then mistyped: the length is right and the checksum is not.
/// An operator's own key may look so too; only a key that is unknown is worth the question.
pub fn mistyped(secret: &str) -> bool {
    let Some(digits) = secret.strip_prefix("wa_").filter(|rest| rest.is_ascii() && rest.len() == 49) else { return false };
    let (digits, check) = digits.split_at(43);
    checksum(digits) != check
}

/// CRC-32 of the digits, as 6 digits in base62.
fn checksum(digits: &str) -> String {
    base62::<6>(&mut crc32fast::hash(digits.as_bytes()).to_be_bytes())
}

/// A number of big-endian bytes as `N` digits, by repeated division; the number is used up.
fn base62<const N: usize>(number: &mut [u8]) -> String {
    let mut digits = [0u8; N];
    for digit in digits.iter_mut().rev() {
        let mut rest = 0u32;
        for byte in &mut *number {
            let value = (rest << 8) | u32::from(*byte);
            *byte = u8::try_from(value / 62).unwrap_or(0);
            rest = value % 62;
        }
        *digit = ALPHABET[rest as usize];
    }
    digits.iter().map(|digit| char::from(*digit)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_told_from_another_key() {
        let secret = generate(&Ambient::system());
        assert_eq!(secret.len(), 52);
        assert!(secret[3..].bytes().all(|digit| digit.is_ascii_alphanumeric()));
        assert!(!mistyped(&secret), "{secret}");
        for at in 3..secret.len() {
            let other = if &secret[at..=at] == "x" { "y" } else { "x" };
            let slip = format!("{}{other}{}", &secret[..at], &secret[at + 1..]);
            assert!(mistyped(&slip), "{slip}");
        }
        for foreign in ["wa_0123456789abcdefghijklmnop", "wa_", "", "eyJhbGciOiJFZERTQSJ9.e30.x", &secret[..51]] {
            assert!(!mistyped(foreign), "{foreign}");
        }
    }

    #[test]
    fn equal_hashes_are_equal_and_others_are_not() {
        let one = hash("wa_one");
        assert!(same(&one, &hash("wa_one")));
        for at in 0..32 {
            let mut other = one;
            other[at] ^= 1;
            assert!(!same(&one, &other), "{at}");
        }
    }
}

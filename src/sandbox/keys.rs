//! Key pairs and byte strings in the form in which the journal keeps them.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use wacore_libsignal::protocol::{KeyPair, PrivateKey};

use crate::domain::clock::Ambient;

/// Bytes, as base64 in the journal.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Blob(pub(super) Vec<u8>);

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map(Self).map_err(serde::de::Error::custom)
    }
}

/// A key pair that the journal keeps by its private half.
#[derive(Clone)]
pub(super) struct Secret(pub(super) KeyPair);

impl Secret {
    pub(super) fn generate(ambient: &Ambient) -> Self {
        Self(KeyPair::generate(&mut ambient.rng()))
    }

    pub(super) fn public(&self) -> [u8; 32] {
        public(&self.0)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Blob(self.0.private_key.serialize().to_vec()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = Blob::deserialize(deserializer)?;
        PrivateKey::deserialize(&bytes.0).and_then(KeyPair::try_from).map(Self).map_err(serde::de::Error::custom)
    }
}

/// The public half as it goes over the wire, without its type byte.
pub(super) fn public(pair: &KeyPair) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (to, from) in bytes.iter_mut().zip(pair.public_key.public_key_bytes()) {
        *to = *from;
    }
    bytes
}

/// Capital hexadecimal, as message ids and references use it.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02X}");
        text
    })
}

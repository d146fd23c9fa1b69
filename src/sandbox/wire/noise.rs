//! The responder's side of the Noise handshake: IK for clients that know our static key, XX for those that do not, XXfallback for those
//! that know a wrong one.
//!
//! The certificate chain that is sent along is not signed by WhatsApp, so an unmodified client that verifies it (XX, XXfallback) refuses
//! us; only a client that was given our key beforehand (IK) accepts. Clients that are told not to check come in by XX.

use buffa::{Message as _, MessageField};
use wacore_binary::consts::{NOISE_PATTERN_IK, NOISE_PATTERN_XX, NOISE_PATTERN_XXFALLBACK, WA_CONN_HEADER};
use wacore_libsignal::protocol::KeyPair;
use wacore_noise::{NoiseCipher, NoiseHandshake};
use waproto::whatsapp as wa;
use waproto::whatsapp::cert_chain::noise_certificate::Details;
use waproto::whatsapp::handshake_message::{ClientHello, ServerHello};

use crate::domain::clock::Ambient;
use crate::sandbox::keys::public;

/// The peer did not speak the handshake.
#[derive(Debug, thiserror::Error)]
pub(in crate::sandbox) enum HandshakeError {
    /// The bytes are not the message that was due.
    #[error("malformed handshake message: {0}")]
    Malformed(&'static str),
    /// A protobuf that is none.
    #[error("undecodable handshake message")]
    Decode(#[from] buffa::DecodeError),
    /// The cryptography did not work out.
    #[error("handshake cryptography: {0}")]
    Crypto(String),
}

impl From<wacore_noise::HandshakeError> for HandshakeError {
    fn from(error: wacore_noise::HandshakeError) -> Self {
        Self::Crypto(error.to_string())
    }
}

/// An agreed connection.
pub(in crate::sandbox) struct Agreed {
    /// Encrypts what we send.
    pub(in crate::sandbox) seal: NoiseCipher,
    /// Decrypts what the client sends.
    pub(in crate::sandbox) open: NoiseCipher,
    /// The client's static key: what a linked device proves itself with.
    pub(in crate::sandbox) client_key: [u8; 32],
    /// What the client says about itself.
    pub(in crate::sandbox) payload: wa::ClientPayload,
}

/// What to do after the client's hello.
pub(in crate::sandbox) enum Next {
    /// IK: agreed after sending the reply.
    Agreed(Box<Agreed>),
    /// XX and XXfallback: the client's last message is due.
    Finish(Box<Finish>),
}

/// An XX or XXfallback handshake that waits for the client's last message.
pub(in crate::sandbox) struct Finish {
    noise: NoiseHandshake,
    ephemeral: KeyPair,
}

/// Strips the routing prefix and the prologue from the connection's first bytes; `None` when more bytes are needed.
pub(in crate::sandbox) fn strip_prologue(bytes: &[u8]) -> Result<Option<usize>, HandshakeError> {
    let mut at = 0;
    if bytes.starts_with(b"ED\x00\x01") {
        let Some(&[high, middle, low]) = bytes.get(4..7).and_then(|length| length.first_chunk()) else { return Ok(None) };
        at = 7 + (usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low));
    }
    match bytes.get(at..).unwrap_or_default() {
        rest if rest.starts_with(&WA_CONN_HEADER) => Ok(Some(at + WA_CONN_HEADER.len())),
        rest if WA_CONN_HEADER.starts_with(rest) => Ok(None),
        _ => Err(HandshakeError::Malformed("prologue")),
    }
}

/// Answers the client's hello: the reply to send, and what comes next.
pub(in crate::sandbox) fn answer_hello(
    key: &KeyPair,
    ambient: &Ambient,
    hello: &[u8],
) -> Result<(Vec<u8>, Next), HandshakeError> {
    let message = wa::HandshakeMessage::decode_from_slice(hello)?;
    let hello = message.client_hello.into_option().ok_or(HandshakeError::Malformed("no client hello"))?;
    let their_ephemeral = key32(hello.ephemeral.as_deref(), "ephemeral")?;
    let ephemeral = KeyPair::generate(&mut ambient.rng());
    if let Some(opened) = open_ik(key, &their_ephemeral, &hello) {
        return finish_ik(key, opened, &their_ephemeral, &ephemeral);
    }
    // A hello of IK's shape that we cannot read was made for another server's key.
    let pattern = if hello.r#static.is_some() { NOISE_PATTERN_XXFALLBACK } else { NOISE_PATTERN_XX };
    let mut noise = NoiseHandshake::new(pattern, &WA_CONN_HEADER)?;
    noise.authenticate(&their_ephemeral);
    noise.authenticate(&public(&ephemeral));
    noise.mix_shared_secret(ephemeral.private_key.serialize(), &their_ephemeral)?;
    let sealed_static = noise.encrypt(&public(key))?;
    noise.mix_shared_secret(key.private_key.serialize(), &their_ephemeral)?;
    let certificate = noise.encrypt(&certificate_chain(&public(key)))?;
    let reply = server_hello(&ephemeral, Some(sealed_static), certificate);
    Ok((reply, Next::Finish(Box::new(Finish { noise, ephemeral }))))
}

impl Finish {
    /// Reads the client's last message.
    pub(in crate::sandbox) fn complete(mut self, bytes: &[u8]) -> Result<Agreed, HandshakeError> {
        let message = wa::HandshakeMessage::decode_from_slice(bytes)?;
        let finish = message.client_finish.into_option().ok_or(HandshakeError::Malformed("no client finish"))?;
        let sealed_static = finish.r#static.ok_or(HandshakeError::Malformed("no static"))?;
        let sealed_payload = finish.payload.ok_or(HandshakeError::Malformed("no payload"))?;
        let client_key = key32(Some(&self.noise.decrypt(&sealed_static)?), "static")?;
        self.noise.mix_shared_secret(self.ephemeral.private_key.serialize(), &client_key)?;
        let payload = self.noise.decrypt(&sealed_payload)?;
        agree(self.noise, client_key, &payload)
    }
}

struct OpenedIk {
    noise: NoiseHandshake,
    client_key: [u8; 32],
    payload: Vec<u8>,
}

/// Reads an IK hello; `None` when it is none or was made for another key.
fn open_ik(key: &KeyPair, their_ephemeral: &[u8; 32], hello: &ClientHello) -> Option<OpenedIk> {
    let mut noise = NoiseHandshake::new(NOISE_PATTERN_IK, &WA_CONN_HEADER).ok()?;
    noise.authenticate(&public(key));
    noise.authenticate(their_ephemeral);
    noise.mix_shared_secret(key.private_key.serialize(), their_ephemeral).ok()?;
    let client_key: [u8; 32] = noise.decrypt(hello.r#static.as_ref()?).ok()?.try_into().ok()?;
    noise.mix_shared_secret(key.private_key.serialize(), &client_key).ok()?;
    let payload = noise.decrypt(hello.payload.as_ref()?).ok()?;
    Some(OpenedIk { noise, client_key, payload })
}

fn finish_ik(
    key: &KeyPair,
    opened: OpenedIk,
    their_ephemeral: &[u8; 32],
    ephemeral: &KeyPair,
) -> Result<(Vec<u8>, Next), HandshakeError> {
    let OpenedIk { mut noise, client_key, payload } = opened;
    noise.authenticate(&public(ephemeral));
    noise.mix_shared_secret(ephemeral.private_key.serialize(), their_ephemeral)?;
    noise.mix_shared_secret(ephemeral.private_key.serialize(), &client_key)?;
    let certificate = noise.encrypt(&certificate_chain(&public(key)))?;
    // Leaving out the static key is what says "accepted".
    let reply = server_hello(ephemeral, None, certificate);
    Ok((reply, Next::Agreed(Box::new(agree(noise, client_key, &payload)?))))
}

fn agree(noise: NoiseHandshake, client_key: [u8; 32], payload: &[u8]) -> Result<Agreed, HandshakeError> {
    let payload = wa::ClientPayload::decode_from_slice(payload)?;
    // The library names the pair from the initiator's point of view; we are the responder.
    let (open, seal) = noise.finish()?;
    Ok(Agreed { seal, open, client_key, payload })
}

fn server_hello(ephemeral: &KeyPair, sealed_static: Option<Vec<u8>>, certificate: Vec<u8>) -> Vec<u8> {
    let hello = ServerHello {
        ephemeral: Some(public(ephemeral).to_vec()),
        r#static: sealed_static,
        payload: Some(certificate),
        ..Default::default()
    };
    wa::HandshakeMessage { server_hello: MessageField::some(hello), ..Default::default() }.encode_to_vec()
}

fn key32(bytes: Option<&[u8]>, what: &'static str) -> Result<[u8; 32], HandshakeError> {
    bytes.and_then(|bytes| bytes.try_into().ok()).ok_or(HandshakeError::Malformed(what))
}

/// A chain of the right shape without valid signatures.
fn certificate_chain(key: &[u8; 32]) -> Vec<u8> {
    let certificate = |serial, issuer, key: Vec<u8>| {
        let details = Details {
            serial: Some(serial),
            issuer_serial: Some(issuer),
            key: Some(key),
            not_before: Some(1_700_000_000),
            not_after: Some(4_000_000_000),
        };
        MessageField::some(wa::cert_chain::NoiseCertificate {
            details: Some(details.encode_to_vec()),
            signature: Some(vec![0; 64]),
        })
    };
    wa::CertChain { leaf: certificate(2, 1, key.to_vec()), intermediate: certificate(1, 0, vec![0xCC; 32]) }.encode_to_vec()
}

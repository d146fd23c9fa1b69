//! A phone's passkey: the authenticator that signs with it, and the phone's half of the link that follows.
//!
//! The assertion is WebAuthn's: what is signed is the authenticator's data and the hash of the client's data (level 2, sections 5.8.1,
//! 6.1 and 6.3.3), with Ed25519 (COSE algorithm -8). The link behind it is the library's `wacore::shortcake`, seen from the other side.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use buffa::Message as _;
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, crypto};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use wacore::shortcake::ShortcakeUtils;
use wacore_libsignal::protocol::KeyPair;
use waproto::whatsapp as wa;

use crate::domain::clock::Ambient;
use crate::error::{Error, Result};
use crate::sandbox::keys::{Blob, public};

/// The site that the passkey belongs to.
const SITE: &str = "web.whatsapp.com";
/// The user was there, and was recognised (WebAuthn's flags UP and UV).
const PRESENT_AND_VERIFIED: u8 = 0b101;
/// How a private Ed25519 key begins in PKCS #8 (RFC 8410, section 7).
const PKCS8: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];

/// The passkey that an account has for [`SITE`].
#[derive(Clone, Serialize, Deserialize)]
pub(in crate::sandbox) struct Passkey {
    credential: Blob,
    /// The private key.
    seed: Blob,
}

fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Passkey {
    pub(in crate::sandbox) fn generate(ambient: &Ambient) -> Self {
        Self { credential: Blob(ambient.random::<16>().to_vec()), seed: Blob(ambient.random::<32>().to_vec()) }
    }

    fn key(&self) -> EncodingKey {
        EncodingKey::from_ed_der(&[&PKCS8, self.seed.0.as_slice()].concat())
    }

    /// What the server asks for: WebAuthn's `PublicKeyCredentialRequestOptions` as JSON.
    pub(in crate::sandbox) fn options(&self, challenge: &[u8]) -> String {
        json!({
            "challenge": base64url(challenge),
            "rpId": SITE,
            "timeout": 60_000,
            "userVerification": "required",
            "allowCredentials": [{"type": "public-key", "id": base64url(&self.credential.0)}],
        })
        .to_string()
    }

    /// The phone's owner agrees to `options`: the assertion as JSON.
    pub(in crate::sandbox) fn sign(&self, options: &str, user: &str) -> Result<String> {
        let wrong = |what| Error::field("options", what);
        let options: Value = serde_json::from_str(options).map_err(|_| wrong("not JSON"))?;
        let challenge = options["challenge"].as_str().ok_or_else(|| wrong("there is no `challenge`"))?;
        if options["rpId"] != SITE {
            return Err(wrong("they are of another site"));
        }
        let own = base64url(&self.credential.0);
        let meant = |one: &Value| one["id"] == own;
        if !options["allowCredentials"].as_array().is_some_and(|all| all.iter().any(meant)) {
            return Err(wrong("they ask for another passkey"));
        }
        let client =
            json!({"type": "webauthn.get", "challenge": challenge, "origin": format!("https://{SITE}"), "crossOrigin": false});
        let client = client.to_string().into_bytes();
        let data = [Sha256::digest(SITE).as_slice(), &[PRESENT_AND_VERIFIED], &[0; 4]].concat();
        let signed = [data.as_slice(), &Sha256::digest(&client)].concat();
        let signature = crypto::sign(&signed, &self.key(), Algorithm::EdDSA).map_err(Error::internal)?;
        let response = json!({
            "clientDataJSON": base64url(client),
            "authenticatorData": base64url(data),
            "signature": signature,
            "userHandle": base64url(user),
        });
        Ok(json!({"id": own, "rawId": own, "type": "public-key", "response": response}).to_string())
    }

    /// Whether `assertion` answers `challenge` with this passkey: everything that a relying party has to look at.
    pub(in crate::sandbox) fn verify(&self, challenge: &[u8], credential: &[u8], assertion: &[u8]) -> bool {
        let check = || -> Option<bool> {
            let assertion: Value = serde_json::from_slice(assertion).ok()?;
            let part = |name: &str| URL_SAFE_NO_PAD.decode(assertion["response"][name].as_str()?).ok();
            let (client, data) = (part("clientDataJSON")?, part("authenticatorData")?);
            let told: Value = serde_json::from_slice(&client).ok()?;
            let (site, rest) = data.split_at_checked(32)?;
            let right = credential == self.credential.0
                && told["type"] == "webauthn.get"
                && told["challenge"] == base64url(challenge)
                && told["origin"] == format!("https://{SITE}")
                && site == Sha256::digest(SITE).as_slice()
                && rest.first()? & PRESENT_AND_VERIFIED == PRESENT_AND_VERIFIED;
            let AlgorithmParameters::OctetKeyPair(public) = Jwk::from_encoding_key(&self.key(), Algorithm::EdDSA).ok()?.algorithm
            else {
                return None;
            };
            let key = DecodingKey::from_ed_components(&public.x).ok()?;
            let signed = [data.as_slice(), &Sha256::digest(&client)].concat();
            let signature = assertion["response"]["signature"].as_str()?;
            Some(right && crypto::verify(signature, &signed, &key, Algorithm::EdDSA).ok()?)
        };
        check().unwrap_or(false)
    }
}

/// The phone's half of a link that a passkey has opened.
pub(in crate::sandbox) struct Half {
    ephemeral: KeyPair,
    nonce: [u8; 32],
    their_key: [u8; 32],
    their_identity: Vec<u8>,
    commitment: Vec<u8>,
    device_type: wa::device_props::PlatformType,
    reference: String,
}

impl Half {
    /// Reads the client's first word; `None` when it makes no sense or speaks of another reference.
    pub(in crate::sandbox) fn begin(ambient: &Ambient, prologue: &[u8], reference: &str) -> Option<Self> {
        let prologue = wa::ProloguePayload::decode_from_slice(prologue).ok()?;
        let their_identity = prologue.companion_ephemeral_identity?;
        let commitment = prologue.commitment.as_option()?.hash.clone()?;
        let identity = wa::CompanionEphemeralIdentity::decode_from_slice(&their_identity).ok()?;
        let reference = identity.r#ref.filter(|it| it == reference)?;
        Some(Self {
            ephemeral: KeyPair::generate(&mut ambient.rng()),
            nonce: ambient.random(),
            their_key: identity.public_key?.try_into().ok()?,
            their_identity,
            commitment,
            device_type: identity.device_type?,
            reference,
        })
    }

    /// What the client gets: the phone's own key and nonce.
    pub(in crate::sandbox) fn hello(&self) -> Vec<u8> {
        let key = public(&self.ephemeral).to_vec();
        wa::PrimaryEphemeralIdentity { public_key: Some(key), nonce: Some(self.nonce.to_vec()) }.encode_to_vec()
    }

    /// The code that the phone shows, `XXXX-XXXX`; `None` when the client's nonce is not the one that it had committed to.
    pub(in crate::sandbox) fn code(&self, their_nonce: &[u8]) -> Option<String> {
        let nonce: [u8; 32] = their_nonce.try_into().ok()?;
        let kept = ShortcakeUtils::commitment_hash(&self.their_identity, &nonce).as_slice() == self.commitment;
        let code = ShortcakeUtils::derive_verification_code(&nonce, &public(&self.ephemeral), &self.nonce);
        let (first, second) = code.split_at_checked(4)?;
        kept.then(|| format!("{first}-{second}"))
    }

    /// Opens the client's request: its identity key and the secret that proves what the phone signs.
    pub(in crate::sandbox) fn open(&self, sealed: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
        let sealed = wa::EncryptedPairingRequest::decode_from_slice(sealed).ok()?;
        let nonce: [u8; 12] = sealed.iv?.try_into().ok()?;
        let key =
            ShortcakeUtils::derive_encryption_key(&self.ephemeral, &self.their_key, self.device_type, &self.reference).ok()?;
        let mut plain = Vec::new();
        wacore_libsignal::crypto::aes_256_gcm_decrypt(&key, &nonce, b"", &sealed.encrypted_payload?, &mut plain).ok()?;
        let request = wa::PairingRequest::decode_from_slice(&plain).ok()?;
        Some((request.companion_identity_key?, request.adv_secret?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::Time;

    #[test]
    fn only_the_passkey_s_own_answer_to_this_challenge_is_taken() {
        let ambient = Ambient::held(Time(0));
        let (passkey, other) = (Passkey::generate(&ambient), Passkey::generate(&ambient));
        let (challenge, id) = ([7; 32], passkey.credential.0.clone());
        let assertion = passkey.sign(&passkey.options(&challenge), "user").unwrap();
        assert!(passkey.verify(&challenge, &id, assertion.as_bytes()));
        assert!(!passkey.verify(&[8; 32], &id, assertion.as_bytes()), "another challenge");
        assert!(!passkey.verify(&challenge, &other.credential.0, assertion.as_bytes()), "another credential");
        assert!(!other.verify(&challenge, &other.credential.0, assertion.as_bytes()), "another's key");
        assert!(other.sign(&passkey.options(&challenge), "user").is_err());
        let changed = |name: &str, bytes: &[u8]| {
            let mut value: Value = serde_json::from_str(&assertion).unwrap();
            value["response"][name] = base64url(bytes).into();
            value.to_string()
        };
        let absent = [Sha256::digest(SITE).as_slice(), &[0; 5]].concat();
        for (name, bytes) in [("signature", &[0; 64][..]), ("authenticatorData", &absent), ("clientDataJSON", b"{}")] {
            assert!(!passkey.verify(&challenge, &id, changed(name, bytes).as_bytes()), "{name}");
        }
        for nonsense in ["", "{}", "[]"] {
            assert!(!passkey.verify(&challenge, &id, nonsense.as_bytes()));
        }
    }
}

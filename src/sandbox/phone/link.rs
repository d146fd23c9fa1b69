//! The phone's cryptography of linking: signing a companion's identity and the account's device list, and the pairing code.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use buffa::Message as _;
use hmac::{Hmac, KeyInit as _, Mac as _};
use rand::rngs::StdRng;
use sha2::Sha256;
use wacore::pair_code::PairCodeUtils;
use wacore_libsignal::protocol::{KeyPair, PublicKey};
use waproto::whatsapp as wa;

use crate::domain::clock::{Ambient, Time};
use crate::error::{Error, Result};
use crate::sandbox::keys::public;
use crate::sandbox::server::account::Account;

/// What is signed begins with what it is.
const ACCOUNT_SIGNATURE: [u8; 2] = [6, 0];
const DEVICE_SIGNATURE: [u8; 2] = [6, 1];
const DEVICE_LIST_SIGNATURE: [u8; 2] = [6, 2];

/// What a QR code says.
pub(in crate::sandbox) struct Scanned {
    pub(in crate::sandbox) reference: String,
    pub(in crate::sandbox) identity: Vec<u8>,
    pub(in crate::sandbox) adv_secret: Vec<u8>,
}

/// Reads a QR code: `reference,noise key,identity,secret[,platform]`, optionally behind a URL that ends in `#`.
pub(in crate::sandbox) fn parse_qr(code: &str) -> Option<Scanned> {
    let code = code.trim().rsplit('#').next()?;
    let mut parts = code.split(',');
    let reference = parts.next()?.to_owned();
    let mut key = || STANDARD.decode(parts.next()?).ok().filter(|key| key.len() == 32);
    let (_noise_key, identity, adv_secret) = (key()?, key()?, key()?);
    Some(Scanned { reference, identity, adv_secret })
}

/// The signed identity that the client gets with `pair-success`, proved by the secret from the QR code.
pub(in crate::sandbox) fn sign_device(
    account: &Account,
    device: u16,
    now: Time,
    identity: &[u8],
    adv_secret: &[u8],
    rng: &mut StdRng,
) -> Result<Vec<u8>> {
    let details = wa::ADVDeviceIdentity {
        raw_id: Some(account.raw_id),
        timestamp: u64::try_from(now.0 / 1000).ok(),
        key_index: Some(u32::from(device)),
        ..Default::default()
    }
    .encode_to_vec();
    let signed = [&ACCOUNT_SIGNATURE, details.as_slice(), identity].concat();
    let signature = account.identity.0.calculate_signature(&signed, rng);
    let signature = signature.map_err(|error| Error::internal(anyhow::anyhow!("signing a device: {error}")))?;
    let identity = wa::ADVSignedDeviceIdentity {
        details: Some(details),
        account_signature_key: Some(account.identity.public().to_vec()),
        account_signature: Some(signature.to_vec()),
        ..Default::default()
    }
    .encode_to_vec();
    let mut mac =
        Hmac::<Sha256>::new_from_slice(adv_secret).map_err(|error| Error::internal(anyhow::anyhow!("hmac: {error}")))?;
    mac.update(&identity);
    Ok(wa::ADVSignedDeviceIdentityHMAC {
        details: Some(identity),
        hmac: Some(mac.finalize().into_bytes().to_vec()),
        ..Default::default()
    }
    .encode_to_vec())
}

/// What the device gave back: its signed identity with its own signature, as others get it with its keys. Clients may leave out the
/// account's key, which everybody knows. `None` when one of the signatures is wrong.
pub(in crate::sandbox) fn complete_identity(account: &Account, identity: &[u8], given: &[u8]) -> Option<Vec<u8>> {
    let mut signed = wa::ADVSignedDeviceIdentity::decode_from_slice(given).ok()?;
    let (details, account_key) = (signed.details.as_deref()?, account.identity.public());
    if signed.account_signature_key.as_deref().is_some_and(|key| !key.is_empty() && key != account_key) {
        return None;
    }
    let by_account = [&ACCOUNT_SIGNATURE, details, identity].concat();
    let by_device = [&DEVICE_SIGNATURE, details, identity, &account_key].concat();
    let device = PublicKey::from_djb_public_key_bytes(identity).ok()?;
    let right = account.identity.0.public_key.verify_signature(&by_account, signed.account_signature.as_deref()?)
        && device.verify_signature(&by_device, signed.device_signature.as_deref()?);
    signed.account_signature_key = Some(account_key.to_vec());
    right.then(|| signed.encode_to_vec())
}

/// The account's device list, signed.
pub(in crate::sandbox) fn sign_device_list(account: &Account, now: u64, rng: &mut StdRng) -> Option<Vec<u8>> {
    let valid: Vec<u32> = std::iter::once(0).chain(account.devices.values().map(|device| device.key_index)).collect();
    let details = wa::ADVKeyIndexList {
        raw_id: Some(account.raw_id),
        timestamp: Some(now),
        current_index: valid.iter().max().copied(),
        valid_indexes: valid,
        ..Default::default()
    }
    .encode_to_vec();
    let signed = [&DEVICE_LIST_SIGNATURE, details.as_slice()].concat();
    let signature = account.identity.0.calculate_signature(&signed, rng).ok()?;
    let list = wa::ADVSignedKeyIndexList {
        details: Some(details),
        account_signature: Some(signature.to_vec()),
        account_signature_key: Some(account.identity.public().to_vec()),
    };
    Some(list.encode_to_vec())
}

/// What the account tells a new device about itself.
pub(in crate::sandbox) fn client_props(lid_addressing: bool) -> Vec<u8> {
    wa::ClientPairingProps { is_chat_db_lid_migrated: Some(lid_addressing), ..Default::default() }.encode_to_vec()
}

/// The phone's half of a link by code.
pub(in crate::sandbox) struct PhoneHalf {
    ephemeral: KeyPair,
    their_ephemeral: [u8; 32],
    /// The phone's ephemeral key, encrypted under the code.
    pub(in crate::sandbox) wrapped: Vec<u8>,
}

/// Derives the phone's half from the typed code. Takes tens of milliseconds on purpose: not for the runtime's own threads.
pub(in crate::sandbox) fn type_code(ambient: &Ambient, code: &str, wrapped_ephemeral: &[u8]) -> Result<PhoneHalf> {
    let malformed = |_| Error::field("code", "not a pairing code");
    let their_ephemeral = PairCodeUtils::decrypt_primary_ephemeral_pub(wrapped_ephemeral, code).map_err(malformed)?;
    let ephemeral = KeyPair::generate(&mut ambient.rng());
    let wrapped = PairCodeUtils::encrypt_ephemeral_pub(&public(&ephemeral), code).to_vec();
    Ok(PhoneHalf { ephemeral, their_ephemeral, wrapped })
}

/// Opens the client's key bundle and derives the secret that proves the signed identity; `None` when the code was wrong.
pub(in crate::sandbox) fn open_key_bundle(
    account: &Account,
    half: &PhoneHalf,
    bundle: &[u8],
    identity: &[u8],
) -> Option<[u8; 32]> {
    let (salt, rest) = bundle.split_at_checked(32)?;
    let (nonce, sealed) = rest.split_first_chunk::<12>()?;
    let shared = half.ephemeral.calculate_agreement(&PublicKey::from_djb_public_key_bytes(&half.their_ephemeral).ok()?).ok()?;
    let mut key = [0; 32];
    wacore::crypto::hkdf_sha256_into(&shared, Some(salt), b"link_code_pairing_key_bundle_encryption_key", &mut key).ok()?;
    let mut opened = Vec::new();
    wacore_libsignal::crypto::aes_256_gcm_decrypt(&key, nonce, b"", sealed, &mut opened).ok()?;
    let random = opened.get(64..96)?;
    let identity_shared = account.identity.0.calculate_agreement(&PublicKey::from_djb_public_key_bytes(identity).ok()?).ok()?;
    let mut secret = [0; 32];
    wacore::crypto::hkdf_sha256_into(&[&shared, &identity_shared, random].concat(), None, b"adv_secret", &mut secret).ok()?;
    Some(secret)
}

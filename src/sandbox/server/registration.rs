//! What a client says about itself when it comes by XX to be registered, and whether it can be true.
//!
//! Clients of other authors that are told not to check WhatsApp's certificate come this way; our own come as [`PLACEHOLDER`] and
//! register nothing (see the module's map). What a client registers here is its device's from the moment of the link: its keys can
//! be handed out before it has published any.
//!
//! [`PLACEHOLDER`]: crate::sandbox::PLACEHOLDER

use std::collections::VecDeque;

use buffa::Message as _;
use bytes::Buf as _;
use serde::{Deserialize, Serialize};
use wacore_libsignal::protocol::PublicKey;
use waproto::whatsapp as wa;

use super::account::{Bundle, SignedKey};
use crate::sandbox::keys::Blob;

/// The type byte of the curve that all keys are on.
pub(in crate::sandbox) const CURVE: u8 = 5;

/// What a client tells about itself beside its keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::sandbox) struct Properties {
    /// The name that the phone's list of linked devices shows, such as `Mac OS`.
    pub(in crate::sandbox) os: String,
    /// What kind of program it is, such as `CHROME`.
    pub(in crate::sandbox) platform: String,
    /// Whether it wants the whole history.
    pub(in crate::sandbox) full_history: bool,
}

/// What a client registered.
#[derive(Clone, Debug)]
pub(super) struct Registered {
    /// Its keys, without one-time prekeys.
    pub(super) keys: Bundle,
    /// The rest.
    pub(super) properties: Properties,
}

/// Reads a registration; the error names the first part that cannot be true.
pub(super) fn check(data: &wa::client_payload::DevicePairingRegistrationData) -> Result<Registered, &'static str> {
    let id: [u8; 4] = part(data.e_regid.as_deref()).ok_or("registration id")?;
    let registration_id = Some(u32::from_be_bytes(id)).filter(|id| *id != 0).ok_or("registration id")?;
    if data.e_keytype.as_deref() != Some(&[CURVE]) {
        return Err("key type");
    }
    let identity: [u8; 32] = part(data.e_ident.as_deref()).ok_or("identity")?;
    let signed_id: [u8; 3] = part(data.e_skey_id.as_deref()).ok_or("signed prekey id")?;
    let key: [u8; 32] = part(data.e_skey_val.as_deref()).ok_or("signed prekey")?;
    let signature: [u8; 64] = part(data.e_skey_sig.as_deref()).ok_or("signed prekey signature")?;
    let signed = SignedKey {
        id: u32::try_from((&signed_id[..]).get_uint(3)).map_err(|_| "signed prekey id")?,
        key: Blob(key.to_vec()),
        signature: Blob(signature.to_vec()),
    };
    if !signed_by(&identity, &signed) {
        return Err("signed prekey signature");
    }
    part::<16>(data.build_hash.as_deref()).ok_or("build hash")?;
    let properties = data.device_props.as_deref().and_then(|bytes| wa::DeviceProps::decode_from_slice(bytes).ok());
    let properties = properties.ok_or("device properties")?;
    Ok(Registered {
        keys: Bundle { registration_id, identity: Blob(identity.to_vec()), signed, one_time: VecDeque::new() },
        properties: Properties {
            os: properties.os.unwrap_or_default().chars().take(100).collect(),
            platform: properties.platform_type.map(|kind| format!("{kind:?}")).unwrap_or_default(),
            full_history: properties.require_full_sync.unwrap_or(false),
        },
    })
}

fn part<const N: usize>(bytes: Option<&[u8]>) -> Option<[u8; N]> {
    bytes?.try_into().ok()
}

/// Whether the identity has signed the prekey.
pub(super) fn signed_by(identity: &[u8], signed: &SignedKey) -> bool {
    let message = [&[CURVE], signed.key.0.as_slice()].concat();
    PublicKey::from_djb_public_key_bytes(identity).is_ok_and(|identity| identity.verify_signature(&message, &signed.signature.0))
}

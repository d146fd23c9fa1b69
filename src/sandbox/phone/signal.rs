//! A phone's Signal state, behind the library's store traits.
//!
//! All stores are in memory, so none of the library's futures ever waits: they are run to their end on the spot, under the world's
//! lock. The journal has each session on disk before a ciphertext of it leaves, which is why the library's counter leases are waived.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use wacore_libsignal::protocol::{
    CiphertextMessage, Direction, GenericSignedPreKey as _, IdentityChange, IdentityKey, IdentityKeyPair, IdentityKeyStore,
    KeyPair, PreKeyBundle, PreKeyId, PreKeyRecord, PreKeySignalMessage, PreKeyStore, ProtocolAddress, PublicKey, SessionRecord,
    SessionStore, SignalMessage, SignalProtocolError, SignedPreKeyId, SignedPreKeyRecord, SignedPreKeyStore, Timestamp,
    UsePQRatchet, message_decrypt, message_encrypt, process_prekey_bundle,
};

use crate::sandbox::journal::Key;
use crate::sandbox::keys::Secret;
use crate::sandbox::server::World;
use crate::sandbox::server::account::{Account, Place};
use crate::sandbox::server::prekeys::Offer;

type Outcome<T> = Result<T, SignalProtocolError>;

/// Why something could not be encrypted or decrypted.
#[derive(Debug, thiserror::Error)]
pub(in crate::sandbox) enum CipherError {
    /// The library refused.
    #[error("signal: {0}")]
    Signal(#[from] SignalProtocolError),
    /// A key that is none.
    #[error("not a key")]
    Key,
    /// No account, or a device that published no keys.
    #[error("no keys for this device")]
    NoKeys,
    /// Neither `pkmsg` nor `msg`.
    #[error("unknown kind of ciphertext")]
    Kind,
}

/// The name of a session.
pub(in crate::sandbox) fn address(place: &Place) -> ProtocolAddress {
    ProtocolAddress::new(&place.number, u32::from(place.device).into())
}

struct Identity {
    pair: KeyPair,
    registration_id: u32,
}

struct Sessions<'a>(&'a mut HashMap<String, SessionRecord>);

struct Prekeys<'a> {
    one_time: &'a BTreeMap<u32, Secret>,
    signed: &'a Secret,
    signature: &'a [u8],
}

#[async_trait]
impl IdentityKeyStore for Identity {
    async fn get_identity_key_pair(&self) -> Outcome<IdentityKeyPair> {
        Ok(IdentityKeyPair::new(IdentityKey::new(self.pair.public_key), self.pair.private_key.clone()))
    }
    async fn get_local_registration_id(&self) -> Outcome<u32> {
        Ok(self.registration_id)
    }
    async fn save_identity(&mut self, _: &ProtocolAddress, _: &IdentityKey) -> Outcome<IdentityChange> {
        Ok(IdentityChange::NewOrUnchanged)
    }
    // A simulated phone trusts everybody: nobody looks at its security numbers.
    async fn is_trusted_identity(&self, _: &ProtocolAddress, _: &IdentityKey, _: Direction) -> Outcome<bool> {
        Ok(true)
    }
    async fn get_identity(&self, _: &ProtocolAddress) -> Outcome<Option<IdentityKey>> {
        Ok(None)
    }
}

#[async_trait]
impl SessionStore for Sessions<'_> {
    async fn load_session(&self, address: &ProtocolAddress) -> Outcome<Option<SessionRecord>> {
        Ok(self.0.get(address.as_str()).cloned())
    }
    async fn has_session(&self, address: &ProtocolAddress) -> Outcome<bool> {
        Ok(self.0.contains_key(address.as_str()))
    }
    async fn store_session(&mut self, address: &ProtocolAddress, mut record: SessionRecord) -> Outcome<()> {
        record.waive_counter_lease();
        self.0.insert(address.as_str().to_owned(), record);
        Ok(())
    }
}

#[async_trait]
impl PreKeyStore for Prekeys<'_> {
    async fn get_pre_key(&self, id: PreKeyId) -> Outcome<PreKeyRecord> {
        let secret = self.one_time.get(&u32::from(id)).ok_or(SignalProtocolError::InvalidPreKeyId)?;
        Ok(PreKeyRecord::new(id, &secret.0))
    }
    async fn save_pre_key(&mut self, _: PreKeyId, _: &PreKeyRecord) -> Outcome<()> {
        Err(SignalProtocolError::InvalidPreKeyId)
    }
    async fn remove_pre_key(&mut self, _: PreKeyId) -> Outcome<()> {
        // `World::decrypt` removes what was used, after the session is in place.
        Ok(())
    }
}

#[async_trait]
impl SignedPreKeyStore for Prekeys<'_> {
    async fn get_signed_pre_key(&self, id: SignedPreKeyId) -> Outcome<SignedPreKeyRecord> {
        if u32::from(id) != 1 {
            return Err(SignalProtocolError::InvalidSignedPreKeyId);
        }
        Ok(SignedPreKeyRecord::new(id, Timestamp::from_epoch_millis(0), &self.signed.0, self.signature))
    }
    async fn save_signed_pre_key(&mut self, _: SignedPreKeyId, _: &SignedPreKeyRecord) -> Outcome<()> {
        Err(SignalProtocolError::InvalidSignedPreKeyId)
    }
}

/// Runs a future that only touches memory.
pub(super) fn at_once<T>(future: impl Future<Output = Outcome<T>>) -> Outcome<T> {
    let waited = || Err(SignalProtocolError::InvalidState("sandbox", "a store in memory waited".to_owned()));
    future.now_or_never().unwrap_or_else(waited)
}

impl Account {
    fn signal_identity(&self) -> Identity {
        Identity { pair: self.identity.0.clone(), registration_id: self.registration_id }
    }
}

impl World {
    /// Encrypts for one device, starting a session where there is none. Gives the kind (`pkmsg` or `msg`) and the bytes.
    pub(super) fn encrypt(&mut self, number: &str, to: &Place, padded: &[u8]) -> Result<(&'static str, Vec<u8>), CipherError> {
        let address = address(to);
        let known = self.accounts.get(number).is_some_and(|account| account.sessions.contains_key(address.as_str()));
        // Only a new session spends one of the device's prekeys.
        let bundle = if known { None } else { Some(bundle(to, &self.take_offer(to).ok_or(CipherError::NoKeys)?)?) };
        let mut rng = self.ambient.rng();
        let account = self.accounts.get_mut(number).ok_or(CipherError::NoKeys)?;
        let mut identity = account.signal_identity();
        let mut sessions = Sessions(&mut account.sessions);
        if let Some(bundle) = bundle {
            let started = process_prekey_bundle(&address, &mut sessions, &mut identity, &bundle, &mut rng, UsePQRatchet::No);
            at_once(started)?;
        }
        let sealed = at_once(message_encrypt(padded, &address, &mut sessions, &mut identity))?;
        self.touch(Key::Session(number.to_owned(), address.as_str().to_owned()));
        match sealed {
            CiphertextMessage::PreKeySignalMessage(message) => Ok(("pkmsg", message.serialized().to_vec())),
            CiphertextMessage::SignalMessage(message) => Ok(("msg", message.serialized().to_vec())),
            _ => Err(CipherError::Kind),
        }
    }

    /// Decrypts what a device sent to the phone, and takes off the padding.
    pub(super) fn decrypt(&mut self, number: &str, from: &Place, kind: &str, bytes: &[u8]) -> Result<Vec<u8>, CipherError> {
        let address = address(from);
        let sealed = match kind {
            "pkmsg" => CiphertextMessage::PreKeySignalMessage(PreKeySignalMessage::try_from(bytes)?),
            "msg" => CiphertextMessage::SignalMessage(SignalMessage::try_from(bytes)?),
            _ => return Err(CipherError::Kind),
        };
        let mut rng = self.ambient.rng();
        let account = self.accounts.get_mut(number).ok_or(CipherError::NoKeys)?;
        let mut identity = account.signal_identity();
        let mut sessions = Sessions(&mut account.sessions);
        let signature = account.signed_key_signature.0.clone();
        let mut one_time = Prekeys { one_time: &account.prekeys, signed: &account.signed_key, signature: &signature };
        let signed = Prekeys { one_time: &account.prekeys, signed: &account.signed_key, signature: &signature };
        let opened = at_once(message_decrypt(
            &sealed,
            &address,
            &mut sessions,
            &mut identity,
            &mut one_time,
            &signed,
            &mut rng,
            UsePQRatchet::No,
        ))?;
        let spent = opened.consumed_prekey_id.map(u32::from).filter(|id| account.prekeys.remove(id).is_some());
        self.touch(Key::Session(number.to_owned(), address.as_str().to_owned()));
        if let Some(id) = spent {
            self.touch(Key::OneTime(number.to_owned(), id));
        }
        Ok(unpad(opened.plaintext))
    }

    /// Forgets the session with a device, so that the next message starts a new one.
    pub(super) fn forget_session(&mut self, number: &str, with: &Place) {
        let name = address(with).as_str().to_owned();
        if let Some(account) = self.accounts.get_mut(number) {
            account.sessions.remove(&name);
            self.touch(Key::Session(number.to_owned(), name));
        }
    }
}

fn bundle(to: &Place, offer: &Offer) -> Result<PreKeyBundle, CipherError> {
    let key = |bytes: &[u8]| PublicKey::from_djb_public_key_bytes(bytes).map_err(|_| CipherError::Key);
    let one_time = match &offer.one_time {
        Some((id, bytes)) => Some((PreKeyId::from(*id), key(bytes)?)),
        None => None,
    };
    let signature = offer.signed.signature.0.as_slice().into();
    Ok(PreKeyBundle::new(
        offer.registration_id,
        u32::from(to.device).into(),
        one_time,
        offer.signed.id.into(),
        key(&offer.signed.key.0)?,
        signature,
        IdentityKey::new(key(&offer.identity)?),
    )?)
}

/// The last byte says how many bytes of padding there are.
pub(super) fn unpad(mut plaintext: Vec<u8>) -> Vec<u8> {
    let padding = plaintext.last().map_or(0, |last| usize::from(*last));
    plaintext.truncate(plaintext.len().saturating_sub(padding));
    plaintext
}

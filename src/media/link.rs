//! Signed addresses: whoever has one may read one file until its time is over, without a credential.
//!
//! `{id}.{expiry}.{signature}`: the signature is HMAC-SHA256 over file, organization and expiry, under a key that is made at the first start,
//! kept in the database (sealed, when there is an encryption key) and never leaves. Nothing is stored per address, so none can be taken back;
//! they live for a day at most, and die with their file.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret as _, SecretBox};
use sha2::Sha256;

use super::Files;
use crate::domain::clock::Time;
use crate::domain::ids::{MediaId, SessionId};
use crate::domain::media::{Media, MediaState};
use crate::error::{Code, Error, Result};
use crate::store::{Cipher, Db};

/// Signs addresses and checks them.
pub struct Signer(SecretBox<[u8; 32]>);

impl Signer {
    /// Takes the database's key, or makes it.
    pub async fn open(db: &Db, cipher: &Cipher, fresh: [u8; 32]) -> Result<Self> {
        // Sealed like a session's secrets, under a name that no session has.
        let sealer = cipher.for_session(&SessionId::new("media links"));
        let place: &[&[u8]] = &[b"1"];
        let sealed = db.media_link_key(&sealer.seal("media_link_keys", place, &fresh)?).await?;
        let key = sealer.open("media_link_keys", place, &sealed)?;
        let key: [u8; 32] =
            key.try_into().map_err(|_| Error::internal(anyhow::anyhow!("the key of signed addresses is damaged")))?;
        Ok(Self(SecretBox::new(Box::new(key))))
    }

    /// The last part of an address under which `media` can be read until `expires`.
    pub fn sign(&self, media: &Media, expires: Time) -> String {
        let signature = self.mac(media, expires).finalize().into_bytes();
        format!("{}.{}.{}", media.id, expires.0, URL_SAFE_NO_PAD.encode(signature))
    }

    fn mac(&self, media: &Media, expires: Time) -> Hmac<Sha256> {
        let mut block = [0; 64];
        block[..32].copy_from_slice(self.0.expose_secret());
        let mut mac = Hmac::<Sha256>::new(&block.into());
        for part in ["media", media.id.as_str(), media.organization.as_str(), &expires.0.to_string()] {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part.as_bytes());
        }
        mac
    }

    /// Whether `token` was made by [`Signer::sign`] for `media` and still holds. Takes as long for a wrong signature as for a right one.
    fn holds(&self, media: &Media, expires: Time, signature: &[u8], now: Time) -> bool {
        let right = self.mac(media, expires).verify_slice(signature).is_ok();
        right && now < expires
    }
}

impl Files {
    /// The file that a signed address names.
    ///
    /// # Errors
    /// `not_found` for everything that is not right with it: a stranger learns nothing.
    pub async fn by_link(&self, signer: &Signer, token: &str) -> Result<Media> {
        let gone = || Error::new(Code::NotFound, "this address is not valid or its time is over").reason("media_link");
        let mut parts = token.split('.');
        let (Some(id), Some(expires), Some(signature), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
            return Err(gone());
        };
        let (Ok(expires), Ok(signature)) = (expires.parse().map(Time), URL_SAFE_NO_PAD.decode(signature)) else {
            return Err(gone());
        };
        let media = self.0.db.media_by_id(&MediaId::new(id)).await?.ok_or_else(gone)?;
        if !signer.holds(&media, expires, &signature, self.0.ambient.now()) || media.state != MediaState::Ready {
            return Err(gone());
        }
        Ok(media)
    }
}

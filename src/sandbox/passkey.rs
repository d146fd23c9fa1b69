//! Operations on a phone's passkey.

use super::Sandbox;
use crate::domain::jid::phone_digits;
use crate::error::{Code, Error, Result};

/// A phone's passkey, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passkey {
    /// The phone's number in digits.
    pub number: String,
    /// Whether the account has one, so that no device is linked without it.
    pub required: bool,
    /// The code that the phone shows while a device is being linked, `XXXX-XXXX`.
    pub code: Option<String>,
}

impl Sandbox {
    /// The phone's passkey. Fails when there is no such phone.
    pub async fn passkey(&self, number: &str) -> Result<Passkey> {
        let number = phone_digits("phoneNumber", number)?;
        let world = self.inner.world();
        let required = world.known(&number)?.passkey.is_some();
        Ok(Passkey { required, code: world.link_code(&number), number })
    }

    /// Gives the phone's account a passkey, or takes it away. Fails when there is no such phone.
    pub async fn set_passkey(&self, number: &str, required: bool) -> Result<Passkey> {
        let digits = phone_digits("phoneNumber", number)?;
        self.inner.act(|world| world.set_passkey(&digits, required))?;
        self.inner.settled().await;
        self.passkey(number).await
    }

    /// The phone's owner answers WhatsApp's request `options` (JSON) with the passkey; the assertion as JSON. Fails when there is no
    /// such phone, when it has no passkey, and for options that ask for another one.
    pub async fn sign_passkey(&self, number: &str, options: &str) -> Result<String> {
        let number = phone_digits("phoneNumber", number)?;
        let world = self.inner.world();
        let account = world.known(&number)?;
        let none = || Error::new(Code::Conflict, "this phone's account has no passkey").reason("no_passkey");
        account.passkey.as_ref().ok_or_else(none)?.sign(options, &account.lid)
    }
}

//! The passkey step of a pairing: WhatsApp asks for a WebAuthn assertion of the account before it links a device.
//!
//! The assertion is made elsewhere (a browser, a phone), for the relying party that WhatsApp names; here it is only checked for its
//! form and passed on.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use wacore::types::events::Event;
use whatsapp_rust::passkey::{Assertion, PasskeyError};

use super::connection::{Sender, Signal};

/// What the library tells about the step; `None` for everything else.
pub(super) fn signal(event: &Event) -> Option<Signal> {
    match event {
        Event::PairPasskeyRequest(it) => Some(Signal::PasskeyRequired { options: it.request_options_json.clone() }),
        Event::PairPasskeyConfirmation(it) => {
            // The library would skip the comparison for a device that was linked before. Ours forget their keys when they are
            // unlinked, so whatever is linked is new, and a person compares.
            Some(Signal::PasskeyConfirm { code: it.code.clone() })
        }
        Event::PairPasskeyError(it) => {
            tracing::warn!(error = it.error, continuation = it.continuation, "the passkey step failed");
            Some(Signal::PasskeyFailed)
        }
        _ => None,
    }
}

/// A WebAuthn assertion as a browser or a phone gives it: JSON with at least `rawId` (or `id`) and `response`.
#[derive(Clone, Debug)]
pub struct Proof(Assertion);

impl Proof {
    /// Reads the JSON.
    ///
    /// # Errors
    /// What is wrong with it, in words for people.
    pub fn parse(json: &str) -> Result<Self, &'static str> {
        let value: serde_json::Value = serde_json::from_str(json).map_err(|_| "not JSON")?;
        let response = value.get("response").ok_or("lacks `response`; give the whole assertion")?;
        let there = |name| response.get(name).is_some_and(serde_json::Value::is_string);
        if !["clientDataJSON", "authenticatorData", "signature"].into_iter().all(there) {
            return Err("`response` must have `clientDataJSON`, `authenticatorData` and `signature`");
        }
        let id = value.get("rawId").or_else(|| value.get("id")).and_then(serde_json::Value::as_str).ok_or("lacks `rawId`")?;
        let credential_id = URL_SAFE_NO_PAD.decode(id.trim_end_matches('=')).map_err(|_| "`rawId` must be base64url")?;
        if credential_id.is_empty() {
            return Err("`rawId` is empty");
        }
        Ok(Self(Assertion { assertion_json: json.as_bytes().to_vec(), credential_id }))
    }
}

/// Why WhatsApp or the library did not take an answer.
#[derive(Debug, thiserror::Error)]
#[error("the passkey step: {0}")]
pub struct Refused(#[from] PasskeyError);

impl Sender {
    /// Gives WhatsApp the proof that it asked for.
    pub async fn answer_passkey(&self, proof: Proof) -> Result<(), Refused> {
        Ok(Box::pin(self.client.send_passkey_response(proof.0)).await?)
    }

    /// Says that the codes are the same; the phone links the device then.
    pub async fn confirm_passkey(&self) -> Result<(), Refused> {
        Ok(Box::pin(self.client.send_passkey_confirmation()).await?)
    }
}

#[cfg(test)]
mod tests {
    use wacore::types::events::{PairPasskeyConfirmation, PairPasskeyError, PairPasskeyRequest};

    use super::*;

    #[test]
    fn the_library_s_events_become_signals() {
        let request = PairPasskeyRequest::builder().request_options_json("{\"challenge\":\"YQ\"}".into()).build();
        let signal_of = |event| signal(&event).unwrap();
        assert!(
            matches!(signal_of(Event::PairPasskeyRequest(request)), Signal::PasskeyRequired { options } if options.contains("YQ"))
        );
        let confirm = PairPasskeyConfirmation::builder().code("ABCD-1234".into()).skip_handoff_ux(true).build();
        let confirm = signal_of(Event::PairPasskeyConfirmation(confirm));
        assert!(matches!(confirm, Signal::PasskeyConfirm { code } if code == "ABCD-1234"));
        let error = PairPasskeyError::builder().error("no".into()).continuation(true).build();
        assert!(matches!(signal_of(Event::PairPasskeyError(error)), Signal::PasskeyFailed));
    }

    #[test]
    fn a_proof_has_the_form_of_an_assertion() {
        let good = r#"{"id":"AQID","rawId":"AQID","type":"public-key",
                       "response":{"clientDataJSON":"e30","authenticatorData":"AA","signature":"AA","userHandle":null}}"#;
        let Proof(assertion) = Proof::parse(good).unwrap();
        assert_eq!((assertion.credential_id.as_slice(), assertion.assertion_json.as_slice()), (&[1, 2, 3][..], good.as_bytes()));
        for bad in
            ["", "{}", "[]", "null", &good.replace("AQID", ""), &good.replace("AQID", "*"), &good.replace("signature", "s")]
        {
            assert!(Proof::parse(bad).is_err(), "{bad}");
        }
    }
}

//! Linking an account that has a passkey: the server asks for an assertion and checks it, the phone and the client agree on a key in
//! the open, show the same code, and only then the link goes its usual way.
//!
//! | client | server |
//! |---|---|
//! | | `<notification type="passkey_prologue_request">` with what is asked |
//! | `<ref/>` | a fresh reference |
//! | `<passkey_prologue>`: the assertion, and the client's commitment | takes it or not; then `<notification type="crsc_continuation">` with the phone's key |
//! | `<companion_nonce>` | the phone shows the code |
//! | `<encrypted_pairing_request>` | `pair-success`, as after a QR code |

use std::time::Duration;

use tokio::sync::oneshot;
use wacore_binary::Node;

use super::World;
use super::iq::{Answer, bad_request};
use super::pairing::Outcome;
use crate::error::{Code, Error, Result};
use crate::sandbox::keys::hex;
use crate::sandbox::phone::passkey::{Half, Passkey};
use crate::sandbox::wire::node::{SERVER, bytes, child_bytes, el};

/// How long the phone takes. The client notes what it has sent only after it has the answer; what comes at once finds it unprepared.
const PHONE: Duration = Duration::from_millis(150);

/// A link that waits for the passkey.
pub(super) struct PasskeyLink {
    number: String,
    challenge: [u8; 32],
    reference: String,
    half: Option<Half>,
    /// What the phone shows.
    code: Option<String>,
}

impl World {
    /// Gives the account a passkey, without which no device is linked any more, or takes it away.
    pub(in crate::sandbox) fn set_passkey(&mut self, number: &str, required: bool) -> Result<()> {
        let ambient = self.ambient.clone();
        let account = self.accounts.get_mut(number).ok_or_else(|| Error::not_found("phone"))?;
        if required != account.passkey.is_some() {
            account.passkey = required.then(|| Passkey::generate(&ambient));
            self.touch_account(number);
        }
        Ok(())
    }

    /// The code that the phone shows while a device is being linked.
    pub(in crate::sandbox) fn link_code(&self, number: &str) -> Option<String> {
        let links = self.connections.values().filter_map(|client| client.passkey.as_ref());
        links.filter(|link| link.number == number).find_map(|link| link.code.clone())
    }

    /// Asks the client for the account's passkey. For the phone that scanned that is all there is to do now.
    pub(super) fn ask_for_passkey(&mut self, connection: u64, number: &str, passkey: &Passkey) -> Result<Outcome> {
        let challenge = self.ambient.random::<32>();
        let options = el("passkey_request_options").bytes(passkey.options(&challenge).into_bytes()).build();
        let gone = || Error::new(Code::SessionNotConnected, "the device that shows the code is gone").reason("device_gone");
        let client = self.connections.get_mut(&connection).ok_or_else(gone)?;
        let number = number.to_owned();
        client.passkey = Some(PasskeyLink { number, challenge, reference: String::new(), half: None, code: None });
        self.withdraw_references(connection);
        let request = self.notification("passkey_prologue_request", options);
        self.send(connection, request);
        let (done, outcome) = oneshot::channel();
        let _ = done.send(Ok(()));
        Ok(outcome)
    }

    /// A step of the client's. Each answers before what comes of it.
    pub(super) fn on_passkey(&mut self, connection: u64, question: &Node, step: &Node) {
        match step.tag.as_ref() {
            "ref" => {
                let answer = self.new_reference(connection);
                self.answer(connection, question, answer);
            }
            "passkey_prologue" => {
                let greeted = self.greet(connection, step);
                let hello = greeted.as_ref().ok().cloned();
                self.answer(connection, question, greeted.map(|_| Vec::new()));
                if let Some(hello) = hello {
                    let hello = el("primary_ephemeral_identity").bytes(hello).build();
                    let continuation = self.notification("crsc_continuation", hello);
                    self.later(|world| world.send(connection, continuation));
                }
            }
            "companion_nonce" => {
                let link = self.connections.get_mut(&connection).and_then(|client| client.passkey.as_mut());
                let code = link.and_then(|link| {
                    link.code = link.half.as_ref()?.code(&bytes(step));
                    link.code.as_ref().map(drop)
                });
                self.answer(connection, question, code.map(|()| Vec::new()).ok_or_else(bad_request));
            }
            _ => {
                let link =
                    self.connections.get_mut(&connection).and_then(|client| client.passkey.take_if(|it| it.code.is_some()));
                let opened = link.and_then(|link| Some((link.half?.open(&bytes(step))?, link.number)));
                self.answer(connection, question, opened.as_ref().map(|_| Vec::new()).ok_or_else(bad_request));
                if let Some(((identity, secret), number)) = opened {
                    // Nobody waits for the outcome: the phone's owner has gone on with the day.
                    self.later(|world| drop(world.link(connection, &number, &identity, &secret)));
                }
            }
        }
    }

    fn new_reference(&mut self, connection: u64) -> Answer {
        let reference = hex(&self.ambient.random::<16>());
        let link = self.connections.get_mut(&connection).and_then(|client| client.passkey.as_mut()).ok_or_else(bad_request)?;
        link.reference.clone_from(&reference);
        Ok(vec![el("ref").bytes(reference.into_bytes()).build()])
    }

    /// Checks the assertion; the phone's answer to the client's first word.
    fn greet(&mut self, connection: u64, prologue: &Node) -> std::result::Result<Vec<u8>, (u16, &'static str)> {
        let ambient = self.ambient.clone();
        let link = self.connections.get_mut(&connection).and_then(|client| client.passkey.as_mut()).ok_or_else(bad_request)?;
        let part = |name| child_bytes(prologue, name).ok_or_else(bad_request);
        let (credential, assertion) = (part("credential_id")?, part("webauthn_assertion")?);
        let passkey = self.accounts.get(&link.number).and_then(|account| account.passkey.as_ref()).ok_or_else(bad_request)?;
        if !passkey.verify(&link.challenge, &credential, &assertion) {
            return Err((403, "forbidden"));
        }
        let half = Half::begin(&ambient, &part("prologue_payload")?, &link.reference).ok_or_else(bad_request)?;
        let hello = half.hello();
        link.half = Some(half);
        Ok(hello)
    }

    fn notification(&self, kind: &'static str, child: Node) -> Node {
        el("notification")
            .attr("from", SERVER)
            .attr("type", kind)
            .attr("id", self.stanza_id())
            .attr("t", self.now_secs().to_string())
            .children([child])
            .build()
    }

    /// Does something whose stanzas arrive a little later.
    fn later(&mut self, act: impl FnOnce(&mut Self)) {
        self.lateness = PHONE;
        act(self);
        self.lateness = Duration::ZERO;
    }
}

//! Linking by a code that is typed into the phone: the server's part, which only passes things on, and the phone's.

use tokio::sync::oneshot;
use wacore_binary::Node;

use super::World;
use super::iq::{Answer, bad_request};
use super::pairing::Outcome;
use crate::domain::clock::Time;
use crate::error::{Code, Error, Result};
use crate::sandbox::keys::hex;
use crate::sandbox::phone::link::{self, PhoneHalf};
use crate::sandbox::wire::node::{SERVER, attr, child_bytes, el, jid};

/// How long a code is valid.
const LIFETIME: std::time::Duration = std::time::Duration::from_secs(180);
/// How often it may be typed.
const ATTEMPTS: u32 = 3;

/// A client's wish to be linked by code.
pub(super) struct CodeRequest {
    number: String,
    reference: Vec<u8>,
    wrapped_ephemeral: Vec<u8>,
    until: Time,
    attempts: u32,
    /// What the phone keeps between typing and the client's answer.
    typed: Option<(PhoneHalf, oneshot::Sender<Result<Outcome>>)>,
}

/// What the phone needs to begin: the client's wrapped key.
pub(in crate::sandbox) struct Typing {
    connection: u64,
    /// The client's ephemeral key, encrypted under the code.
    pub(in crate::sandbox) wrapped_ephemeral: Vec<u8>,
}

impl World {
    /// `link_code_companion_reg`: the client asks for a code, or answers the phone.
    pub(super) fn on_link_code(&mut self, connection: u64, request: &Node) -> Answer {
        match attr(request, "stage").as_str() {
            "companion_hello" => self.companion_hello(connection, request),
            "companion_finish" => {
                self.companion_finish(connection, request);
                Ok(Vec::new())
            }
            _ => Err(bad_request()),
        }
    }

    fn companion_hello(&mut self, connection: u64, request: &Node) -> Answer {
        let number = jid(request, "jid").and_then(|jid| self.number_of(&jid)).ok_or((404, "item-not-found"))?;
        let wrapped = child_bytes(request, "link_code_pairing_wrapped_companion_ephemeral_pub").ok_or_else(bad_request)?;
        let reference = hex(&self.ambient.random::<16>()).into_bytes();
        let until = self.ambient.now().plus(LIFETIME);
        let client = self.connections.get_mut(&connection).ok_or_else(bad_request)?;
        client.code = Some(CodeRequest {
            number,
            reference: reference.clone(),
            wrapped_ephemeral: wrapped,
            until,
            attempts: 0,
            typed: None,
        });
        let reference = el("link_code_pairing_ref").bytes(reference).build();
        Ok(vec![el("link_code_companion_reg").attr("stage", "companion_hello").children([reference]).build()])
    }

    /// The phone's owner begins to type: finds the newest request for the number and counts the attempt.
    pub(in crate::sandbox) fn begin_typing(&mut self, number: &str) -> Result<Typing> {
        self.in_hand(number)?;
        let now = self.ambient.now();
        let newest = self
            .connections
            .iter_mut()
            .filter_map(|(id, client)| Some((*id, client.code.as_mut()?)))
            .filter(|(_, code)| code.number == number && code.until > now)
            .max_by_key(|(_, code)| code.until);
        let Some((connection, code)) = newest else {
            let none = Error::new(Code::SessionNotConnected, "no device asked for a pairing code for this number");
            return Err(none.reason("no_pairing_request"));
        };
        if code.attempts >= ATTEMPTS {
            return Err(Error::new(Code::RateLimited, "too many wrong codes; ask for a new one").reason("too_many_attempts"));
        }
        code.attempts += 1;
        Ok(Typing { connection, wrapped_ephemeral: code.wrapped_ephemeral.clone() })
    }

    /// The phone derived its half from the code: sends it to the client. The answer tells whether the code was right.
    pub(in crate::sandbox) fn send_typed(
        &mut self,
        typing: &Typing,
        half: PhoneHalf,
    ) -> Result<oneshot::Receiver<Result<Outcome>>> {
        let (id, now) = (self.stanza_id(), self.now_secs().to_string());
        let gone = || Error::new(Code::SessionNotConnected, "the device that shows the code is gone").reason("device_gone");
        let client = self.connections.get_mut(&typing.connection).ok_or_else(gone)?;
        let code = client.code.as_mut().ok_or_else(gone)?;
        let account = self.accounts.get(&code.number).ok_or_else(|| Error::not_found("phone"))?;
        let hello = el("link_code_companion_reg")
            .attr("stage", "primary_hello")
            .children([
                el("link_code_pairing_wrapped_primary_ephemeral_pub").bytes(half.wrapped.clone()).build(),
                el("primary_identity_pub").bytes(account.identity.public().to_vec()).build(),
                el("link_code_pairing_ref").bytes(code.reference.clone()).build(),
            ])
            .build();
        let (done, outcome) = oneshot::channel();
        code.typed = Some((half, done));
        let notification = el("notification")
            .attr("from", SERVER)
            .attr("type", "link_code_companion_reg")
            .attr("id", id)
            .attr("t", now)
            .children([hello])
            .build();
        self.send(typing.connection, notification);
        Ok(outcome)
    }

    fn companion_finish(&mut self, connection: u64, request: &Node) {
        let Some(code) = self.connections.get_mut(&connection).and_then(|client| client.code.as_mut()) else { return };
        let Some((half, done)) = code.typed.take() else { return };
        let number = code.number.clone();
        let opened = self.accounts.get(&number).and_then(|account| {
            let bundle = child_bytes(request, "link_code_pairing_wrapped_key_bundle")?;
            let identity = child_bytes(request, "companion_identity_public")?;
            let secret = link::open_key_bundle(account, &half, &bundle, &identity)?;
            Some((identity, secret))
        });
        let result = match opened {
            Some((identity, secret)) => self.begin_link(connection, &number, &identity, &secret),
            None => Err(Error::field("code", "this is not the code that the device shows").reason("wrong_code")),
        };
        // The caller may have gone away; the link goes on.
        let _ = done.send(result);
    }
}

//! Linking a device: references for the QR code, the signed identity, and the client's signature that completes the link.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::sync::oneshot;
use wacore_binary::Node;

use super::World;
use super::account::{Device, Place};
use super::queue::Queue;
use crate::domain::clock::Time;
use crate::error::{Code, Error, Result};
use crate::sandbox::fault::FaultKind;
use crate::sandbox::journal::Key;
use crate::sandbox::keys::Blob;
use crate::sandbox::phone::link;
use crate::sandbox::wire::node::{SERVER, child_bytes, el};

/// How many references a client gets; each is one QR code.
const REFERENCES: u32 = 6;
/// How long the first code lives.
const FIRST_LIFETIME: Duration = Duration::from_secs(60);
/// How long each further code lives.
const NEXT_LIFETIME: Duration = Duration::from_secs(20);
/// Closing the stream right after the signature races the client's own bookkeeping.
const RESTART_DELAY: Duration = Duration::from_millis(150);

/// A reference that a QR code carries.
pub(super) struct Reference {
    pub(super) connection: u64,
    until: Time,
}

/// A link that waits for the client's signature.
pub(super) struct Pending {
    place: Place,
    device: Device,
    done: oneshot::Sender<Result<()>>,
}

/// Tells a caller how the link that it began ended.
pub(in crate::sandbox) type Outcome = oneshot::Receiver<Result<()>>;

impl World {
    /// Sends the references that the client shows as QR codes, one after the other.
    pub(super) fn offer_references(&mut self, connection: u64) {
        let now = self.ambient.now();
        let mut offered = Vec::new();
        let expired = self.fault_strikes_pairing(FaultKind::ExpiredQr);
        let references = if self.fault_strikes_pairing(FaultKind::NoQr) { 0 } else { REFERENCES };
        for position in 0..references {
            let reference = format!("2@{}", STANDARD.encode(self.ambient.random::<48>()).replace('/', "_"));
            let until = if expired { now } else { now.plus(FIRST_LIFETIME + NEXT_LIFETIME * position) };
            offered.push(el("ref").bytes(reference.clone().into_bytes()).build());
            if let Some(client) = self.connections.get_mut(&connection) {
                client.offered.push(reference.clone());
            }
            self.references.insert(reference, Reference { connection, until });
        }
        let offer = el("iq")
            .attr("from", SERVER)
            .attr("type", "set")
            .attr("id", self.stanza_id())
            .attr("xmlns", "md")
            .children([el("pair-device").children(offered).build()])
            .build();
        self.send(connection, offer);
    }

    /// The codes of this client are worth nothing any more.
    pub(super) fn withdraw_references(&mut self, connection: u64) {
        let offered = self.connections.get_mut(&connection).map(|client| std::mem::take(&mut client.offered));
        for reference in offered.unwrap_or_default() {
            self.references.remove(&reference);
        }
    }

    /// The phone scans a QR code: begins the link.
    pub(in crate::sandbox) fn scan(&mut self, number: &str, code: &str) -> Result<Outcome> {
        self.in_hand(number)?;
        let scanned = link::parse_qr(code).ok_or_else(|| Error::field("code", "not the text of a pairing QR code"))?;
        let now = self.ambient.now();
        let reference = self.references.get(&scanned.reference).filter(|reference| reference.until > now);
        let connection = reference
            .map(|reference| reference.connection)
            .ok_or_else(|| Error::field("code", "this code is not valid any more").reason("code_expired"))?;
        let registered = self.connections.get(&connection).and_then(|client| client.registered.as_ref());
        if registered.is_some_and(|registered| registered.keys.identity.0 != scanned.identity) {
            return Err(Error::field("code", "this code names another identity than its device has registered"));
        }
        self.begin_link(connection, number, &scanned.identity, &scanned.adv_secret)
    }

    /// Begins the link of a client whose code the phone has: with an account that has a passkey, by asking for it.
    pub(super) fn begin_link(&mut self, connection: u64, number: &str, identity: &[u8], adv_secret: &[u8]) -> Result<Outcome> {
        match self.known(number)?.passkey.clone() {
            Some(passkey) => self.ask_for_passkey(connection, number, &passkey),
            None => self.link(connection, number, identity, adv_secret),
        }
    }

    /// Sends the client its signed identity and waits for its signature.
    pub(super) fn link(&mut self, connection: u64, number: &str, identity: &[u8], adv_secret: &[u8]) -> Result<Outcome> {
        let now = self.ambient.now();
        let lid_addressing = self.lid_addressing;
        let id = self.stanza_id();
        let mut rng = self.ambient.rng();
        let gone = || Error::new(Code::SessionNotConnected, "the device that shows the code is gone").reason("device_gone");
        let client = self.connections.get_mut(&connection).ok_or_else(gone)?;
        let account = self.accounts.get_mut(number).ok_or_else(|| Error::not_found("phone"))?;
        let device = account.next_device;
        account.next_device += 1;
        let signed = link::sign_device(account, device, now, identity, adv_secret, &mut rng)?;
        let (done, outcome) = oneshot::channel();
        client.pending = Some(Pending {
            place: Place { number: number.to_owned(), device },
            device: Device {
                noise_key: Blob(client.noise_key.to_vec()),
                identity: Blob(identity.to_vec()),
                key_index: u32::from(device),
                signed_identity: Blob::default(),
                linked_at: now,
                properties: client.registered.as_ref().map(|registered| registered.properties.clone()),
                has_app_state_key: false,
                dropped: 0,
                bundle: client.registered.as_ref().map(|registered| registered.keys.clone()),
                queue: Queue::default(),
                online: None,
            },
            done,
        });
        let business = account.business.as_ref().map(|profile| el("biz").attr("name", profile.name.clone()).build());
        let platform = if business.is_some() { "smba" } else { "android" };
        let success = [
            el("device-identity").bytes(signed).build(),
            el("device").attr("jid", account.jid(device, false)).attr("lid", account.jid(device, true)).build(),
            el("platform").attr("name", platform).build(),
            el("client-props").bytes(link::client_props(lid_addressing)).build(),
        ];
        let success = el("pair-success").children(success.into_iter().chain(business)).build();
        let stanza = el("iq")
            .attr("from", SERVER)
            .attr("type", "set")
            .attr("id", id)
            .attr("xmlns", "md")
            .attr("t", (now.0 / 1000).to_string())
            .children([success])
            .build();
        self.touch_account(number);
        // One code links one device.
        self.withdraw_references(connection);
        self.send(connection, stanza);
        Ok(outcome)
    }

    /// The client's answer to `pair-success`.
    pub(super) fn on_pair_answer(&mut self, connection: u64, answer: &Node) {
        let Some(client) = self.connections.get_mut(&connection) else { return };
        let Some(sign) = answer.get_optional_child("pair-device-sign") else {
            // An error answer: the client could not verify what the phone signed.
            if let Some(pending) = client.pending.take_if(|_| answer.get_optional_child("error").is_some()) {
                let refused = Error::field("code", "the device refused the link: the code does not belong to it");
                let _ = pending.done.send(Err(refused));
            }
            return;
        };
        let Some(mut pending) = client.pending.take() else { return };
        client.code = None;
        let place = pending.place;
        let Some(account) = self.accounts.get_mut(&place.number) else { return };
        let said = child_bytes(sign, "device-identity").unwrap_or_default();
        let Some(complete) = link::complete_identity(account, &pending.device.identity.0, &said) else {
            let _ = pending.done.send(Err(Error::field("code", "the device's signature of the link is wrong")));
            let error = el("stream:error").attr("code", "401").build();
            return self.send_last(connection, error, Duration::ZERO);
        };
        pending.device.signed_identity = Blob(complete);
        account.devices.insert(place.device, pending.device);
        self.touch_device(&place);
        self.touch(Key::Bundle(place.number.clone(), place.device));
        self.devices_changed(&place.number, "add", place.device);
        let restart = el("stream:error").attr("code", "515").build();
        let delay = self.fault_at_restart(&place).unwrap_or(RESTART_DELAY);
        self.send_last(connection, restart, delay);
        let _ = pending.done.send(Ok(()));
    }
}

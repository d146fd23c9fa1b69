//! What a client says about itself right after the handshake: a login, or the wish to be paired.

use std::time::Duration;

use tracing::debug;
use wacore_binary::{Jid, Node};
use waproto::whatsapp as wa;

use super::account::Place;
use super::{World, registration};
use crate::sandbox::PLACEHOLDER;
use crate::sandbox::wire::node::el;

impl World {
    /// Answers the client's payload: pairing references, `<success>`, or `<failure>`.
    pub(super) fn log_in(&mut self, connection: u64, payload: &wa::ClientPayload) {
        let number = payload.username.unwrap_or(0).to_string();
        if let Some(data) = payload.device_pairing_data.as_option() {
            match registration::check(data) {
                Ok(registered) => {
                    if let Some(connection) = self.connections.get_mut(&connection) {
                        connection.registered = Some(registered);
                    }
                }
                Err(part) => {
                    debug!(connection, part, "registration refused");
                    return self.send_last(connection, failure("400"), Duration::ZERO);
                }
            }
        }
        if payload.device_pairing_data.is_set() || number == "0" || number == PLACEHOLDER {
            let place = Place { number: PLACEHOLDER.to_owned(), device: 0 };
            if self.fault_at_login(connection, &place) {
                return;
            }
            return self.offer_references(connection);
        }
        let place = Place { number, device: payload.device.and_then(|device| u16::try_from(device).ok()).unwrap_or(0) };
        if self.fault_at_login(connection, &place) {
            return;
        }
        let key = self.connections.get(&connection).map(|connection| connection.noise_key);
        let Some(device) = self.device_mut(&place).filter(|device| key.is_some_and(|key| device.noise_key.0 == key)) else {
            debug!(connection, "login refused: no such device");
            return self.send_last(connection, failure("401"), Duration::ZERO);
        };
        let previous = device.online.replace(connection);
        if let Some(previous) = previous {
            let conflict = el("conflict").attr("type", "replaced").build();
            let error = el("stream:error").children([conflict]).build();
            self.send_last(previous, error, Duration::ZERO);
        }
        if let Some(connection) = self.connections.get_mut(&connection) {
            connection.place = Some(place.clone());
        }
        self.see_login(&place, true);
        let lid = self.accounts.get(&place.number).map(|account| account.lid.clone()).unwrap_or_default();
        let success = el("success")
            .attr("t", self.now_secs().to_string())
            .attr("lid", Jid::lid_device(lid, place.device))
            .attr("props", "27")
            .attr("abprops", "0")
            .attr("location", "sandbox")
            .attr("creation", "1700000000")
            .build();
        self.send(connection, success);
        self.fault_of_connection(connection, None);
    }
}

/// A refused login.
fn failure(reason: &'static str) -> Node {
    el("failure").attr("reason", reason).attr("location", "sandbox").build()
}

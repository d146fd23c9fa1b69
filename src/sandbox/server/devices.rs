//! Device lists: what an account's linked devices are, signed by its phone; changes to them; logging out.

use std::time::Duration;

use wacore_binary::Node;

use super::World;
use super::account::{Account, Place};
use crate::error::Result;
use crate::sandbox::journal::Key;
use crate::sandbox::keys::hex;
use crate::sandbox::phone::link;
use crate::sandbox::wire::node::el;

/// Ending the stream at once makes clients report their own logout as failed.
const LOGOUT_DELAY: Duration = Duration::from_millis(150);

impl World {
    /// `<devices>` of a usync answer.
    pub(super) fn device_list(&self, account: &Account) -> Option<Node> {
        let signed = self.signed_list(account)?;
        let mut devices = vec![el("device").attr("id", "0").build()];
        for (id, device) in &account.devices {
            devices.push(el("device").attr("id", id.to_string()).attr("key-index", device.key_index.to_string()).build());
        }
        let hash: String = hex(&signed).chars().rev().take(8).collect();
        Some(
            el("devices")
                .children([
                    el("device-list").attr("hash", format!("2:{hash}")).children(devices).build(),
                    el("key-index-list").attr("ts", self.now_secs().to_string()).bytes(signed).build(),
                ])
                .build(),
        )
    }

    fn signed_list(&self, account: &Account) -> Option<Vec<u8>> {
        link::sign_device_list(account, self.now_secs(), &mut self.ambient.rng())
    }

    /// Tells those who know the account that a device came (`add`) or went (`remove`).
    pub(super) fn devices_changed(&mut self, number: &str, change: &'static str, device: u16) {
        let Some(account) = self.accounts.get(number) else { return };
        let now = self.now_secs().to_string();
        let list = el("key-index-list").attr("ts", now.clone());
        let list = if change == "add" {
            self.signed_list(account)
                .map_or(list.build(), |bytes| el("key-index-list").attr("ts", now.clone()).bytes(bytes).build())
        } else {
            list.build()
        };
        let mut which = el("device").attr("jid", account.jid(device, false)).attr("lid", account.jid(device, true));
        if let Some(known) = account.devices.get(&device) {
            which = which.attr("key-index", known.key_index.to_string());
        }
        let action = wacore_binary::builder::NodeBuilder::new(change).children([which.build(), list]).build();
        let notification = el("notification")
            .attr("from", account.jid(0, false))
            .attr("lid", account.jid(0, true))
            .attr("type", "devices")
            .attr("id", self.stanza_id())
            .attr("t", now)
            .children([action])
            .build();
        let peers: Vec<String> = account.peers.iter().cloned().collect();
        let own = account.devices.keys().filter(|id| **id != device).map(|id| Place { number: number.to_owned(), device: *id });
        let mut listeners: Vec<Place> = own.collect();
        for peer in peers {
            let devices = self.accounts.get(&peer).map(|account| account.devices.keys().copied().collect::<Vec<_>>());
            listeners.extend(devices.unwrap_or_default().into_iter().map(|device| Place { number: peer.clone(), device }));
        }
        for listener in listeners {
            self.deliver(&listener, notification.clone());
        }
    }

    /// Tells those who know the account that its phone has a new identity.
    pub(in crate::sandbox) fn identity_changed(&mut self, number: &str, listeners: &[String]) {
        let Some(account) = self.accounts.get(number) else { return };
        let notification = el("notification")
            .attr("from", account.jid(0, self.lid_addressing))
            .attr("type", "encrypt")
            .attr("id", self.stanza_id())
            .attr("t", self.now_secs().to_string())
            .children([el("identity").build()])
            .build();
        for listener in listeners {
            for place in self.all_devices(listener).into_iter().filter(|place| place.device != 0) {
                self.deliver(&place, notification.clone());
            }
        }
    }

    /// A client logs itself out.
    pub(super) fn log_out(&mut self, connection: u64, place: &Place) {
        self.forget_device(place);
        self.send_last(connection, removed(), LOGOUT_DELAY);
    }

    /// The phone's owner removes a linked device; 0 means all.
    pub(in crate::sandbox) fn unlink(&mut self, number: &str, device: u16) -> Result<()> {
        let linked: Vec<u16> = self.known(number)?.devices.keys().copied().collect();
        if device != 0 && !linked.contains(&device) {
            return Err(crate::error::Error::not_found("device"));
        }
        for id in linked.into_iter().filter(|id| device == 0 || *id == device) {
            let place = Place { number: number.to_owned(), device: id };
            let online = self.device_mut(&place).and_then(|device| device.online);
            self.forget_device(&place);
            if let Some(connection) = online {
                self.send_last(connection, removed(), Duration::ZERO);
            }
        }
        Ok(())
    }

    fn forget_device(&mut self, place: &Place) {
        let Some(account) = self.accounts.get_mut(&place.number) else { return };
        let Some(device) = account.devices.remove(&place.device) else { return };
        let address = crate::sandbox::phone::signal::address(place);
        account.sessions.remove(address.as_str());
        self.touch(Key::Session(place.number.clone(), address.as_str().to_owned()));
        for (number, _) in device.queue.iter() {
            self.touch(Key::Queued(place.number.clone(), place.device, number));
        }
        self.touch(Key::Bundle(place.number.clone(), place.device));
        for id in device.bundle.iter().flat_map(|bundle| bundle.one_time.keys()) {
            self.touch(Key::Offered(place.number.clone(), place.device, *id));
        }
        self.touch_device(place);
        self.devices_changed(&place.number, "remove", place.device);
        if let Some(connection) = device.online.and_then(|id| self.connections.get_mut(&id)) {
            connection.place = None;
        }
    }
}

fn removed() -> Node {
    let conflict = el("conflict").attr("type", "device_removed").build();
    el("stream:error").attr("code", "401").children([conflict]).build()
}

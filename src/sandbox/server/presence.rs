//! Presence and chat states: passed on to who is there, never queued.

use wacore_binary::Node;

use super::World;
use super::account::Place;
use crate::sandbox::wire::node::{attr, el, jid};

/// Longer names are cut.
const MAX_NAME: usize = 100;

impl World {
    /// `<presence>`: an announcement, or the wish to know somebody's.
    pub(super) fn on_presence(&mut self, connection: u64, place: &Place, node: &Node) {
        if attr(node, "type") == "subscribe" {
            let Some(target) = jid(node, "to").and_then(|to| self.number_of(&to)) else { return };
            let id = connection;
            if let Some(connection) = self.connections.get_mut(&id) {
                connection.watches.insert(target.clone());
                self.watchers.entry(target.clone()).or_default().insert(id);
            }
            let to_lid = jid(node, "to").is_some_and(|to| to.is_lid());
            self.tell_presence(connection, &target, to_lid);
            return;
        }
        let name: String = attr(node, "name").chars().take(MAX_NAME).collect();
        if let Some(account) = self.accounts.get_mut(&place.number).filter(|account| !name.is_empty() && account.notify != name) {
            account.notify = name;
            self.touch_account(&place.number);
        }
        if let Some(connection) = self.connections.get_mut(&connection) {
            match attr(node, "type").as_str() {
                "available" => connection.available = true,
                "unavailable" => connection.available = false,
                _ => return,
            }
        }
        self.presence_changed(&place.number);
    }

    /// Tells the watchers of an account whether its user is there.
    pub(super) fn presence_changed(&mut self, number: &str) {
        for watcher in self.watchers.get(number).cloned().unwrap_or_default() {
            self.tell_presence(watcher, number, self.lid_addressing);
        }
    }

    fn tell_presence(&mut self, watcher: u64, number: &str, lid: bool) {
        let Some(account) = self.accounts.get(number) else { return };
        let online = account.devices.values().filter_map(|device| device.online);
        let available = online.filter_map(|id| self.connections.get(&id)).any(|connection| connection.available);
        let presence = el("presence").attr("from", account.jid(0, lid));
        let presence = if available {
            presence.attr("type", "available")
        } else {
            presence.attr("type", "unavailable").attr("last", self.now_secs().to_string())
        };
        self.send(watcher, presence.build());
    }

    /// `<chatstate>`: composing or paused, for those of the other side who are there.
    pub(super) fn on_chatstate(&mut self, place: &Place, node: &Node) {
        let Some(to) = jid(node, "to") else { return };
        let Some(target) = self.number_of(&to).and_then(|number| self.accounts.get(&number)) else { return };
        let online: Vec<u64> = target.devices.values().filter_map(|device| device.online).collect();
        let Some(from) = self.accounts.get(&place.number).map(|account| account.jid(0, to.is_lid())) else { return };
        for connection in online {
            let state = el("chatstate").attr("from", from.clone()).apply_content(node.content.clone()).build();
            self.send(connection, state);
        }
    }
}

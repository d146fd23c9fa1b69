//! Presence and chat states: passed on to who is there, never queued.

use wacore_binary::{Jid, JidExt as _, Node};

use super::World;
use super::account::{Account, Place};
use crate::sandbox::wire::node::{attr, child_bytes, children, el, jid};

/// Longer names are cut.
const MAX_NAME: usize = 100;

impl World {
    /// `<presence>`: an announcement, or the wish to know somebody's, or no longer to.
    pub(super) fn on_presence(&mut self, connection: u64, place: &Place, node: &Node) {
        if attr(node, "type") == "subscribe" {
            let Some(target) = jid(node, "to").and_then(|to| self.number_of(&to)) else { return };
            let id = connection;
            let shown = child_bytes(node, "tctoken");
            let known = self.accounts.get(&target).is_some_and(|owner| self.is_token(owner, &place.number, shown.as_deref()));
            if let Some(connection) = self.connections.get_mut(&id) {
                connection.watches.insert(target.clone(), known);
                self.watchers.entry(target.clone()).or_default().insert(id);
            }
            let to_lid = jid(node, "to").is_some_and(|to| to.is_lid());
            self.tell_presence(connection, &target, to_lid);
            return;
        }
        if attr(node, "type") == "unsubscribe" {
            if let Some(target) = jid(node, "to").and_then(|to| self.number_of(&to)) {
                self.unwatch(connection, &target);
            }
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
                "unavailable" => {
                    let was = std::mem::replace(&mut connection.available, false);
                    let now = self.now_secs();
                    if let Some(account) = self.accounts.get_mut(&place.number).filter(|_| was) {
                        account.last_seen = now;
                        self.touch_account(&place.number);
                    }
                }
                _ => return,
            }
        }
        self.presence_changed(&place.number);
    }

    /// A connection does not want to know any more.
    fn unwatch(&mut self, connection: u64, target: &str) {
        if let Some(connection) = self.connections.get_mut(&connection) {
            connection.watches.remove(target);
        }
        if let Some(watchers) = self.watchers.get_mut(target) {
            watchers.remove(&connection);
            if watchers.is_empty() {
                self.watchers.remove(target);
            }
        }
    }

    /// Tells the watchers of an account whether its user is there.
    pub(in crate::sandbox) fn presence_changed(&mut self, number: &str) {
        for watcher in self.watchers.get(number).cloned().unwrap_or_default() {
            self.tell_presence(watcher, number, self.lid_addressing);
        }
    }

    /// Whether the phone's owner or the user of a linked device is there.
    pub(in crate::sandbox) fn is_there(&self, account: &Account) -> bool {
        let online = account.devices.values().filter_map(|device| device.online);
        account.presence == Some(true) || online.filter_map(|id| self.connections.get(&id)).any(|connection| connection.available)
    }

    fn tell_presence(&mut self, watcher: u64, number: &str, lid: bool) {
        let Some(account) = self.accounts.get(number) else { return };
        let available = self.is_there(account);
        let Some(connection) = self.connections.get(&watcher) else { return };
        let Some(asker) = connection.place.as_ref().map(|place| place.number.as_str()) else { return };
        let known = connection.watches.get(number).copied().unwrap_or(false);
        if !self.lets_see(account, asker, "online", known) {
            return;
        }
        let presence = el("presence").attr("from", account.jid(0, lid));
        let presence = if available {
            presence.attr("type", "available")
        } else if !self.lets_see(account, asker, "last", known) {
            presence.attr("type", "unavailable").attr("last", "deny")
        } else if account.last_seen == 0 {
            presence.attr("type", "unavailable").attr("last", "none")
        } else {
            presence.attr("type", "unavailable").attr("last", account.last_seen.to_string())
        };
        self.send(watcher, presence.build());
    }

    /// `<chatstate>` of a client: composing or paused.
    pub(super) fn on_chatstate(&mut self, place: &Place, node: &Node) {
        let Some(to) = jid(node, "to") else { return };
        if let Some(state) = children(node).first() {
            self.relay_chatstate(place, &to, state);
        }
    }

    /// Tells those of the other side who are connected now; nothing is kept for the others.
    pub(in crate::sandbox) fn relay_chatstate(&mut self, from: &Place, to: &Jid, state: &Node) {
        let Some(sender) = self.accounts.get(&from.number) else { return };
        let (stanza, targets) = if to.is_group() {
            let author = sender.jid(0, self.lid_addressing);
            let stanza = el("chatstate").attr("from", to.to_non_ad()).attr("participant", author);
            let group = self.groups.get(to.user.as_str()).filter(|group| group.members.contains_key(&from.number));
            let others = group.into_iter().flat_map(|group| group.members.keys()).filter(|member| **member != from.number);
            (stanza, others.cloned().collect())
        } else {
            let stanza = el("chatstate").attr("from", sender.jid(0, to.is_lid()));
            (stanza, self.number_of(to).into_iter().collect::<Vec<String>>())
        };
        let stanza = stanza.children([state.clone()]).build();
        for target in targets {
            if self.blocks(&target, &from.number) {
                continue;
            }
            let devices = self.accounts.get(&target).map(|account| account.devices.values());
            let online: Vec<u64> = devices.into_iter().flatten().filter_map(|device| device.online).collect();
            for connection in online {
                self.send(connection, stanza.clone());
            }
        }
    }
}

//! Messages in groups: one ciphertext for all, and the keys to it for those devices that have them not yet.

use std::collections::HashMap;

use wacore_binary::{Jid, Node};

use super::World;
use super::account::Place;
use super::business::vouch;
use super::group::Group;
use super::message::Envelope;
use crate::sandbox::wire::node::{attr, children, jid};

impl World {
    /// `<message>` of a client to a group. Gives the code with which it is refused.
    pub(super) fn on_group_message(&mut self, from: &Place, chat: &Jid, node: &Node) -> Option<&'static str> {
        let Some(group) = self.groups.get(chat.user.as_str()) else { return Some("404") };
        if !may_write(group, &from.number) {
            return Some("403");
        }
        let extra = ["edit", "category"].map(|name| (name, attr(node, name)));
        let envelope = Envelope {
            id: attr(node, "id"),
            chat: chat.to_non_ad(),
            kind: attr(node, "type"),
            extra: extra.into_iter().filter(|(_, value)| !value.is_empty()).collect(),
            identity: node.get_optional_child("device-identity").cloned(),
            meta: node.get_children_by_tag("meta").cloned().collect(),
        };
        let shared: Vec<Node> = node.get_children_by_tag("enc").cloned().collect();
        // A resend for one device.
        if let Some(alone) = jid(node, "participant") {
            if let Some(place) = self.place_of(&alone) {
                self.deliver_in_group(from, &place, &envelope, shared);
            }
            return None;
        }
        let mut copies: HashMap<Place, Vec<Node>> = HashMap::new();
        if let Some(participants) = node.get_optional_child("participants") {
            for participant in participants.get_children_by_tag("to") {
                if let Some(place) = jid(participant, "jid").and_then(|to| self.place_of(&to)) {
                    copies.insert(place, children(participant).to_vec());
                }
            }
        }
        let readers = self.group_devices(&envelope.chat.user);
        self.distribute_in_group(from, &envelope, &readers, copies, &shared);
        None
    }

    /// Gives every reader's device the ciphertext, behind its own copy of the key where there is one.
    pub(in crate::sandbox) fn distribute_in_group(
        &mut self,
        from: &Place,
        envelope: &Envelope,
        readers: &[Place],
        mut copies: HashMap<Place, Vec<Node>>,
        shared: &[Node],
    ) {
        for place in readers {
            if place == from {
                continue;
            }
            self.acquaint(&from.number, &place.number);
            let mut encrypted = copies.remove(place).unwrap_or_default();
            encrypted.extend(shared.iter().cloned());
            self.deliver_in_group(from, place, envelope, encrypted);
        }
    }

    /// Every device of every member, phones included.
    pub(in crate::sandbox) fn group_devices(&self, id: &str) -> Vec<Place> {
        let members = self.groups.get(id).map(|group| group.members.keys());
        members.into_iter().flatten().flat_map(|number| self.all_devices(number)).collect()
    }

    /// Delivers one device's share.
    pub(in crate::sandbox) fn deliver_in_group(&mut self, from: &Place, to: &Place, envelope: &Envelope, encrypted: Vec<Node>) {
        let Some(sender) = self.accounts.get(&from.number) else { return };
        if encrypted.is_empty() {
            return;
        }
        let lid = self.lid_addressing;
        let other = if lid { "participant_pn" } else { "participant_lid" };
        let mut message = crate::sandbox::wire::node::el("message")
            .attr("from", envelope.chat.clone())
            .attr("participant", sender.jid(from.device, lid))
            .attr(other, sender.jid(0, !lid))
            .attr("addressing_mode", self.addressing_mode())
            .attr("id", envelope.id.clone())
            .attr("t", self.now_secs().to_string())
            .attr("type", envelope.kind.clone())
            .attr("notify", sender.notify.clone());
        for (name, value) in &envelope.extra {
            message = message.attr(name, value.clone());
        }
        let first = encrypted.iter().any(|encrypted| attr(encrypted, "type") == "pkmsg");
        let mut parts = encrypted;
        parts.extend(envelope.identity.clone().filter(|_| first));
        parts.extend(envelope.meta.iter().cloned());
        let message = vouch(sender, message, &mut parts);
        self.deliver(to, message.children(parts).build());
    }
}

/// Whether somebody may write in a group.
pub(in crate::sandbox) fn may_write(group: &Group, number: &str) -> bool {
    group.members.contains_key(number) && (!group.announcement || group.is_admin(number))
}

//! Status posts: one ciphertext for everybody whom the author names.

use std::collections::{BTreeSet, HashMap};

use wacore_binary::Node;

use super::World;
use super::account::Place;
use super::message::Envelope;
use crate::sandbox::phone::has_many;
use crate::sandbox::wire::node::{attr, children, jid};

impl World {
    /// `<message>` of a client to `status@broadcast`. Each reader is named by device with a copy of the key, or by account when its
    /// devices have the key.
    pub(super) fn on_status_message(&mut self, from: &Place, node: &Node) {
        let Some(chat) = jid(node, "to").filter(has_many) else { return };
        let extra = ["edit", "category"].map(|name| (name, attr(node, name)));
        let envelope = Envelope {
            id: attr(node, "id"),
            chat: chat.to_non_ad(),
            kind: attr(node, "type"),
            extra: extra.into_iter().filter(|(_, value)| !value.is_empty()).collect(),
            identity: node.get_optional_child("device-identity").cloned(),
            meta: Vec::new(),
        };
        let shared: Vec<Node> = node.get_children_by_tag("enc").cloned().collect();
        if let Some(alone) = jid(node, "participant") {
            if let Some(place) = self.place_of(&alone) {
                self.deliver_in_group(from, &place, &envelope, shared);
            }
            return;
        }
        let mut copies: HashMap<Place, Vec<Node>> = HashMap::new();
        let mut readers = BTreeSet::new();
        let named = node.get_optional_child("participants").map(children).unwrap_or_default();
        for reader in named {
            let Some(to) = jid(reader, "jid") else { continue };
            let Some(place) = self.place_of(&to) else { continue };
            if self.blocks(&place.number, &from.number) {
                continue;
            }
            if children(reader).is_empty() {
                readers.extend(self.all_devices(&place.number));
            } else {
                copies.insert(place.clone(), children(reader).to_vec());
                readers.insert(place);
            }
        }
        let readers: Vec<Place> = readers.into_iter().collect();
        self.distribute_in_group(from, &envelope, &readers, copies, &shared);
    }
}

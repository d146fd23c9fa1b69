//! Telling those who look on what happens. It costs nothing while nobody does.

use wacore_binary::Node;

use super::World;
use super::account::Place;
use crate::sandbox::PhoneMessage;
use crate::sandbox::fault::FaultKind;
use crate::sandbox::sight::{Sight, SightKind};
use crate::sandbox::wire::node::{attr, children};

impl World {
    fn see(&self, kind: SightKind, place: &Place, what: impl FnOnce() -> (String, String, String)) {
        if self.sights.receiver_count() == 0 {
            return;
        }
        let (name, id, peer) = what();
        let sight = Sight { at: self.ambient.now(), kind, number: place.number.clone(), device: place.device, name, id, peer };
        // Nobody looks on any more.
        let _ = self.sights.send(sight);
    }

    pub(super) fn see_login(&self, place: &Place, here: bool) {
        self.see(if here { SightKind::Login } else { SightKind::Logout }, place, Default::default);
    }

    pub(super) fn see_stanza(&self, place: &Place, node: &Node) {
        if node.tag == "receipt" {
            return self.see_receipt(place, &attr(node, "type"), &attr(node, "to"), node);
        }
        self.see(SightKind::Stanza, place, || (name_of(node), attr(node, "id"), attr(node, "to")));
    }

    pub(super) fn see_receipt(&self, place: &Place, kind: &str, peer: &str, node: &Node) {
        self.see(SightKind::Receipt, place, || {
            let kind = if kind.is_empty() { "delivered" } else { kind };
            (kind.to_owned(), attr(node, "id"), peer.to_owned())
        });
    }

    pub(super) fn see_delivery(&self, place: &Place, node: &Node) {
        self.see(SightKind::Delivery, place, || (name_of(node), attr(node, "id"), attr(node, "from")));
    }

    pub(in crate::sandbox) fn see_message(&self, number: &str, row: &PhoneMessage) {
        let place = Place { number: number.to_owned(), device: 0 };
        self.see(SightKind::Message, &place, || (row.kind.clone(), row.id.clone(), row.chat.clone()));
    }

    pub(super) fn see_fault(&self, kind: FaultKind, place: &Place, stanza: &str) {
        self.see(SightKind::Fault, place, || (snake(&format!("{kind:?}")), stanza.to_owned(), String::new()));
    }
}

fn name_of(node: &Node) -> String {
    match (node.tag.as_ref(), children(node).first()) {
        ("iq", Some(child)) => format!("iq/{}/{}", attr(node, "xmlns"), child.tag),
        ("iq", None) => format!("iq/{}", attr(node, "xmlns")),
        ("chatstate", Some(state)) => format!("chatstate/{}", state.tag),
        (tag @ ("notification" | "presence"), _) => format!("{tag}/{}", attr(node, "type")),
        (tag, _) => tag.to_owned(),
    }
}

/// `LikeThis` as `like_this`.
fn snake(name: &str) -> String {
    name.chars().fold(String::new(), |mut text, c| {
        if c.is_ascii_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.push(c.to_ascii_lowercase());
        text
    })
}

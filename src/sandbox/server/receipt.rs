//! Receipts: they acknowledge what a device got, and travel on to the devices of the message's author.

use wacore_binary::{Jid, Node};

use super::World;
use super::account::Place;
use crate::sandbox::phone::has_many;
use crate::sandbox::wire::node::{attr, children, el, jid};

impl World {
    /// `<receipt>` of a client.
    pub(super) fn on_receipt(&mut self, connection: u64, from: &Place, node: &Node) {
        let (id, kind) = (attr(node, "id"), attr(node, "type"));
        let to = jid(node, "to");
        // A receipt is how a client acknowledges a message; a read receipt may come much later and finds nothing then.
        let of_call = children(node).iter().any(|child| matches!(child.tag.as_ref(), "offer" | "accept" | "reject"));
        let class = if of_call { "call" } else { "message" };
        for id in Self::receipt_ids(node) {
            self.acknowledged(from, class, &id, to.as_ref(), "");
        }
        let mut ack = el("ack").attr("class", "receipt").attr("id", id);
        if let Some(participant) = jid(node, "participant") {
            ack = ack.attr("participant", participant);
        }
        if kind == "server-error" {
            self.phone_is_asked_for_media(from, node);
        }
        if let Some(to) = &to {
            ack = ack.attr("from", to.clone());
            if !of_call {
                self.relay_receipt(from, to, &kind, node);
            }
        }
        if !kind.is_empty() {
            ack = ack.attr("type", kind);
        }
        self.send(connection, ack.build());
    }

    /// Passes a receipt on to the author's devices; one that asks for a resend only to the device that sent.
    pub(in crate::sandbox) fn relay_receipt(&mut self, from: &Place, to: &Jid, kind: &str, node: &Node) {
        // These speak to the server alone.
        if matches!(kind, "peer_msg" | "hist_sync" | "sender" | "server-error") {
            return;
        }
        // In groups the author is named apart.
        let author = if has_many(to) { jid(node, "participant") } else { Some(to.clone()) };
        let Some(author) = author.and_then(|author| self.place_of(&author)) else { return };
        let own = author.number == from.number;
        let Some(sender) = self.accounts.get(&from.number) else { return };
        let mut receipt = if has_many(to) {
            let reader = sender.jid(from.device, self.lid_addressing);
            el("receipt").attr("from", to.to_non_ad()).attr("participant", reader)
        } else {
            el("receipt").attr("from", sender.jid(from.device, to.is_lid()))
        };
        receipt = receipt.attr("id", attr(node, "id")).attr("t", self.now_secs().to_string());
        if !kind.is_empty() {
            receipt = receipt.attr("type", kind.to_owned());
        }
        if own && let Some(recipient) = jid(node, "recipient") {
            receipt = receipt.attr("recipient", recipient);
        }
        let receipt = receipt.apply_content(node.content.clone()).build();
        let targets: Vec<Place> = if kind == "retry" {
            vec![author]
        } else if kind.ends_with("-self") {
            // Read silently: only the reader's own other devices learn of it.
            self.other_devices(from)
        } else if own {
            return;
        } else {
            self.all_devices(&author.number)
        };
        for target in targets {
            self.deliver(&target, receipt.clone());
        }
    }

    /// The phone and every linked device of an account.
    pub(in crate::sandbox) fn all_devices(&self, number: &str) -> Vec<Place> {
        let linked = self.accounts.get(number).map(|account| account.devices.keys().copied().collect::<Vec<_>>());
        std::iter::once(0).chain(linked.unwrap_or_default()).map(|device| Place { number: number.to_owned(), device }).collect()
    }

    /// Every device of the account but this one.
    pub(in crate::sandbox) fn other_devices(&self, place: &Place) -> Vec<Place> {
        self.all_devices(&place.number).into_iter().filter(|other| other != place).collect()
    }
}

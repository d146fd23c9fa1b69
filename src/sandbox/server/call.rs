//! Calls: offered to all devices of the called, answered by one of them, ended for all. The media itself is not simulated.

use wacore_binary::{Jid, Node};

use super::World;
use super::account::Place;
use crate::sandbox::wire::node::{attr, children, el, jid};

impl World {
    /// `<call>` of a client.
    pub(super) fn on_call(&mut self, connection: u64, from: &Place, node: &Node) {
        let Some(to) = jid(node, "to") else { return };
        let Some(action) = children(node).first() else { return };
        if let Some(peer) = self.number_of(&to) {
            self.relay_call(from, &peer, action.clone());
        }
        let ack = el("ack").attr("class", "call").attr("id", attr(node, "id")).attr("from", to);
        self.send(connection, ack.attr("type", action.tag.to_string()).build());
    }

    /// Tells all devices of `peer`, and where it concerns them the other devices of the one who acts.
    pub(in crate::sandbox) fn relay_call(&mut self, from: &Place, peer: &str, action: Node) {
        // Who is blocked hears it ring.
        if self.blocks(peer, &from.number) {
            return;
        }
        let elsewhere = match action.tag.as_ref() {
            "accept" => Some("accepted_elsewhere"),
            "reject" => Some("rejected_elsewhere"),
            _ => None,
        };
        if let Some(reason) = elsewhere {
            let end = el("terminate").attr("call-id", attr(&action, "call-id")).attr("reason", reason);
            let creator = jid(&action, "call-creator").map_or_else(|| self.member_jid(peer), |creator| creator.to_non_ad());
            let end = end.attr("call-creator", creator).build();
            let ended = self.call_node(self.member_jid(peer), peer, end);
            for place in self.other_devices(from) {
                self.deliver(&place, ended.clone());
            }
        }
        let Some(sender) = self.accounts.get(&from.number) else { return };
        let node = self.call_node(sender.jid(from.device, self.lid_addressing), &from.number, action);
        for place in self.all_devices(peer) {
            self.deliver(&place, node.clone());
        }
    }

    fn call_node(&self, from: Jid, name: &str, action: Node) -> Node {
        let notify = self.accounts.get(name).map(|account| account.notify.clone()).unwrap_or_default();
        el("call")
            .attr("from", from)
            .attr("id", self.stanza_id())
            .attr("t", self.now_secs().to_string())
            .attr("notify", notify)
            .children([action])
            .build()
    }
}

//! Messages between devices: the sender has encrypted one copy for each device; the server puts the right envelope around each.

use wacore_binary::{Jid, JidExt as _, Node};

use super::World;
use super::account::Place;
use super::business::vouch;
use crate::sandbox::wire::node::{attr, children, el, jid};

/// One device's encrypted copy.
pub(in crate::sandbox) struct Copy {
    pub(in crate::sandbox) to: Jid,
    pub(in crate::sandbox) encrypted: Vec<Node>,
}

/// What all copies of a message share.
pub(in crate::sandbox) struct Envelope {
    pub(in crate::sandbox) id: String,
    /// The chat as the sender addressed it.
    pub(in crate::sandbox) chat: Jid,
    /// `text`, `media`, `reaction`, …
    pub(in crate::sandbox) kind: String,
    /// Passed on as they are: `edit`, `category`.
    pub(in crate::sandbox) extra: Vec<(&'static str, String)>,
    /// The sender's signed identity, for those who get their first message of a session.
    pub(in crate::sandbox) identity: Option<Node>,
    /// `<meta>`, passed on as it is.
    pub(in crate::sandbox) meta: Vec<Node>,
}

impl World {
    /// `<message>` of a client: distributes it, then acknowledges. Both leave only when the queues are on disk.
    pub(super) fn on_message(&mut self, connection: u64, from: &Place, node: &Node) {
        let Some(chat) = jid(node, "to") else { return };
        let id = attr(node, "id");
        if id.is_empty() {
            return;
        }
        let ack = el("ack").attr("class", "message").attr("id", id.clone()).attr("from", chat.clone());
        let ack = ack.attr("t", self.now_secs().to_string());
        if let Some(code) = self.fault_at_message(from, &chat) {
            return self.send(connection, ack.attr("error", code.to_string()).build());
        }
        if chat.is_group() {
            let refused = self.on_group_message(from, &chat, node);
            let ack = refused.into_iter().fold(ack, |ack, code| ack.attr("error", code));
            return self.send(connection, ack.build());
        }
        if chat.is_newsletter() {
            let (name, value) = self.on_newsletter_message(from, &chat, node);
            return self.send(connection, ack.attr(name, value).build());
        }
        if chat.is_status_broadcast() {
            self.on_status_message(from, node);
            return self.send(connection, ack.build());
        }
        if !chat.is_pn() && !chat.is_lid() {
            return self.send(connection, ack.attr("error", "501").build());
        }
        if self.refuses_stranger(from, &chat, node) {
            return self.send(connection, ack.attr("error", "463").build());
        }
        let mut copies = Vec::new();
        if let Some(participants) = node.get_optional_child("participants") {
            for participant in participants.get_children_by_tag("to") {
                if let Some(to) = jid(participant, "jid") {
                    copies.push(Copy { to, encrypted: children(participant).to_vec() });
                }
            }
        }
        // A copy for one device alone: a resend, or a message to the own phone.
        let alone: Vec<Node> = node.get_children_by_tag("enc").cloned().collect();
        if !alone.is_empty() {
            copies.push(Copy { to: chat.clone(), encrypted: alone });
        }
        // A resend of an own device's copy names the chat apart.
        let chat = jid(node, "recipient").unwrap_or(chat);
        let extra = ["edit", "category"].map(|name| (name, attr(node, name)));
        let envelope = Envelope {
            id,
            chat,
            kind: attr(node, "type"),
            extra: extra.into_iter().filter(|(_, value)| !value.is_empty()).collect(),
            identity: node.get_optional_child("device-identity").cloned(),
            meta: node.get_children_by_tag("meta").cloned().collect(),
        };
        self.distribute(from, &envelope, copies);
        self.send(connection, ack.build());
    }

    /// Puts each copy into its device's queue.
    pub(in crate::sandbox) fn distribute(&mut self, from: &Place, envelope: &Envelope, copies: Vec<Copy>) {
        let now = self.now_secs().to_string();
        for Copy { to, encrypted } in copies {
            let Some(place) = self.place_of(&to).filter(|place| place != from) else { continue };
            let own = place.number == from.number;
            // Who is blocked writes into the void and is not told.
            if !own && self.blocks(&place.number, &from.number) {
                continue;
            }
            if !own {
                self.acquaint(&from.number, &place.number);
            }
            let Some(sender) = self.accounts.get(&from.number) else { return };
            let lid = to.is_lid();
            let mut message = el("message")
                .attr("from", sender.jid(from.device, lid))
                .attr("id", envelope.id.clone())
                .attr("t", now.clone())
                .attr("type", envelope.kind.clone())
                .attr("notify", sender.notify.clone());
            message = match (own, lid) {
                (true, _) => message.attr("recipient", envelope.chat.to_non_ad()),
                (false, true) => message.attr("sender_pn", sender.jid(0, false)),
                (false, false) => message.attr("sender_lid", sender.jid(0, true)),
            };
            for (name, value) in &envelope.extra {
                message = message.attr(name, value.clone());
            }
            let first = encrypted.iter().any(|encrypted| attr(encrypted, "type") == "pkmsg");
            let mut children = encrypted;
            children.extend(envelope.identity.clone().filter(|_| first));
            children.extend(envelope.meta.iter().cloned());
            let message = vouch(sender, message, &mut children);
            self.deliver(&place, message.children(children).build());
        }
    }
}

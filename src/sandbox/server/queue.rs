//! What a device has to receive: every stanza waits in its queue until the device acknowledges it, on disk when there is one.
//!
//! A device that is connected gets each stanza at once and, when it does not acknowledge it, once more at its next login with the
//! `offline` attribute. So a client that dies loses nothing; receiving twice is the client's to handle, as with the real server.
//!
//! A queue is bounded in number and in bytes. When a device stays away for so long that its queue is full, the oldest goes for each
//! stanza that comes, is counted in the device, and never arrives: the real server forgets after thirty days.

use std::collections::BTreeMap;

use bytes::BytesMut;
use serde::{Deserialize, Serialize};
use tracing::warn;
use wacore_binary::{Jid, Node};

use super::World;
use super::account::Place;
use crate::sandbox::fault::FaultKind;
use crate::sandbox::journal::Key;
use crate::sandbox::keys::Blob;
use crate::sandbox::wire::node::{SERVER, attr, children, el, jid, pack, unpack};

/// How many stanzas a queue holds.
const MAX_QUEUE: usize = 10_000;

/// How many bytes of stanzas a queue holds.
const MAX_QUEUE_BYTES: usize = 16 << 20;

/// How many queued stanzas are sent without being asked for.
const BATCH: usize = 200;

/// A stanza that waits for its acknowledgement.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::sandbox) struct Queued {
    /// `message`, `receipt` or `notification`.
    class: String,
    id: String,
    from: String,
    kind: String,
    pub(super) stanza: Blob,
}

/// What a device has not acknowledged, by its place from 1, oldest first.
#[derive(Debug, Default)]
pub(in crate::sandbox) struct Queue {
    waiting: BTreeMap<u64, Queued>,
    /// The last place that was given.
    last: u64,
    /// What the stanzas take.
    bytes: usize,
}

impl Queue {
    /// Puts something at the end. Gives its place.
    fn push(&mut self, queued: Queued) -> u64 {
        self.restore(self.last + 1, queued);
        self.last
    }

    /// Puts something back into its place, which is the last one.
    pub(in crate::sandbox) fn restore(&mut self, place: u64, queued: Queued) {
        self.bytes += queued.stanza.0.len();
        self.last = place;
        self.waiting.insert(place, queued);
    }

    fn remove(&mut self, place: u64) {
        self.bytes -= self.waiting.remove(&place).map_or(0, |gone| gone.stanza.0.len());
    }

    /// Takes the oldest out if there is too much. Gives its place.
    fn shed(&mut self) -> Option<u64> {
        let full = self.waiting.len() > MAX_QUEUE || self.bytes > MAX_QUEUE_BYTES;
        let oldest = self.waiting.first_key_value().filter(|_| full).map(|(place, _)| *place)?;
        self.remove(oldest);
        Some(oldest)
    }

    /// How many there are.
    pub(in crate::sandbox) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// All of it, oldest first.
    pub(in crate::sandbox) fn iter(&self) -> impl Iterator<Item = (u64, &Queued)> {
        self.waiting.iter().map(|(place, queued)| (*place, queued))
    }

    /// What is at this place.
    pub(in crate::sandbox) fn get(&self, place: u64) -> Option<&Queued> {
        self.waiting.get(&place)
    }
}

/// How far a connection has come with its offline queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Drain {
    /// It has not said that it is ready.
    Waiting,
    /// It got `sent` of the `total` that were announced, up to number `after`.
    Sending { after: u64, sent: usize, total: usize },
    /// It gets everything at once.
    Live,
}

impl World {
    /// Queues a stanza for a device and sends it when the device is there. Device 0 is the phone, which is always there.
    pub(in crate::sandbox) fn deliver(&mut self, to: &Place, mut node: Node) {
        self.fault_spoils(to, &mut node);
        if to.device == 0 {
            if self.accounts.get(&to.number).is_some_and(|account| account.off) {
                self.enqueue(to, &node);
            } else {
                self.phone_inbox.push_back((to.number.clone(), node));
            }
            return;
        }
        self.see_delivery(to, &node);
        self.enqueue(to, &node);
        let online = self.device_mut(to).and_then(|device| device.online);
        let live = online.filter(|id| self.connections.get(id).is_some_and(|connection| connection.drain == Drain::Live));
        if let Some(connection) = live {
            self.send_delivery(connection, to, node);
        }
    }

    /// Puts a stanza into the queue of a device, or of a phone that is switched off.
    fn enqueue(&mut self, to: &Place, node: &Node) {
        let Ok(packed) = pack(node) else { return warn!("a stanza that cannot be encoded") };
        let queued = Queued {
            class: node.tag.to_string(),
            id: attr(node, "id"),
            from: attr(node, "from"),
            kind: attr(node, "type"),
            stanza: Blob(packed),
        };
        let Some(queue) = self.queue_mut(to) else { return };
        let number = queue.push(queued);
        let shed: Vec<u64> = std::iter::from_fn(|| queue.shed()).collect();
        self.touch(Key::Queued(to.number.clone(), to.device, number));
        if !shed.is_empty() {
            warn!(stanzas = shed.len(), "a device's queue is full: the oldest is gone");
            if let Some(device) = self.device_mut(to) {
                device.dropped += shed.len() as u64;
                self.touch_device(to);
            }
        }
        for oldest in shed {
            self.touch(Key::Queued(to.number.clone(), to.device, oldest));
        }
    }

    /// The queue of a device or a phone.
    pub(in crate::sandbox) fn queue_mut(&mut self, place: &Place) -> Option<&mut Queue> {
        let account = self.accounts.get_mut(&place.number)?;
        if place.device == 0 {
            return Some(&mut account.inbox);
        }
        account.devices.get_mut(&place.device).map(|device| &mut device.queue)
    }

    /// A phone was switched on: it gets what has waited for it.
    pub(in crate::sandbox) fn drain_phone(&mut self, number: &str) {
        let phone = Place { number: number.to_owned(), device: 0 };
        let Some(queue) = self.queue_mut(&phone) else { return };
        for (place, queued) in std::mem::take(queue).waiting {
            self.touch(Key::Queued(number.to_owned(), 0, place));
            if let Ok(mut node) = unpack(BytesMut::from(queued.stanza.0.as_slice())) {
                node.attrs.insert("offline", "1");
                self.phone_inbox.push_back((number.to_owned(), node));
            }
        }
    }

    /// The client is ready: announces what waits and sends the first batch.
    pub(super) fn start_drain(&mut self, connection: u64, place: &Place) {
        let Some(device) = self.device_mut(place) else { return };
        let count = |class: &str| device.queue.iter().filter(|(_, queued)| queued.class == class).count();
        let (total, messages, receipts, notifications) =
            (device.queue.len(), count("message"), count("receipt"), count("notification"));
        let preview = el("offline_preview")
            .attr("count", total.to_string())
            .attr("message", messages.to_string())
            .attr("receipt", receipts.to_string())
            .attr("notification", notifications.to_string())
            .attr("appdata", "0")
            .build();
        self.send(connection, el("ib").attr("from", SERVER).children([preview]).build());
        if let Some(connection) = self.connections.get_mut(&connection) {
            connection.drain = Drain::Sending { after: 0, sent: 0, total };
        }
        self.continue_drain(connection, place, BATCH);
    }

    /// Sends the next `count` queued stanzas, and the end marker when none is left.
    fn continue_drain(&mut self, connection: u64, place: &Place, count: usize) {
        let Some(Drain::Sending { after, sent, total }) = self.connections.get(&connection).map(|connection| connection.drain)
        else {
            return;
        };
        let Some(device) = self.device_mut(place) else { return };
        // A client asks until it has what was announced; what came since then goes along with the last batch.
        let count = if sent + count >= total { usize::MAX } else { count };
        let mut rest = device.queue.waiting.range(after + 1..);
        let batch: Vec<(u64, Blob)> =
            rest.by_ref().take(count).map(|(number, queued)| (*number, queued.stanza.clone())).collect();
        let done = rest.next().is_none();
        let last = batch.last().map_or(after, |(number, _)| *number);
        let sent = sent + batch.len();
        for (_, stanza) in batch {
            if let Ok(mut node) = unpack(BytesMut::from(stanza.0.as_slice())) {
                node.attrs.insert("offline", "1");
                self.send(connection, node);
            }
        }
        if done {
            let marker = el("offline").attr("count", total.to_string()).build();
            self.send(connection, el("ib").attr("from", SERVER).children([marker]).build());
        }
        if let Some(connection) = self.connections.get_mut(&connection) {
            connection.drain = if done { Drain::Live } else { Drain::Sending { after: last, sent, total } };
        }
    }

    /// Small news of a client; the one that matters asks for more of the queue.
    pub(super) fn on_ib(&mut self, connection: u64, place: &Place, node: &Node) {
        if let Some(batch) = node.get_optional_child("offline_batch") {
            let count = attr(batch, "count").parse().unwrap_or(BATCH).min(BATCH);
            self.continue_drain(connection, place, count);
        }
    }

    /// An `<ack>` of a client.
    pub(super) fn on_ack(&mut self, place: &Place, node: &Node) {
        self.acknowledged(place, &attr(node, "class"), &attr(node, "id"), jid(node, "to").as_ref(), &attr(node, "type"));
    }

    /// Every message id that a receipt speaks of.
    pub(in crate::sandbox) fn receipt_ids(node: &Node) -> Vec<String> {
        let listed = node.get_optional_child("list").map(children).unwrap_or_default();
        std::iter::once(attr(node, "id")).chain(listed.iter().map(|item| attr(item, "id"))).filter(|id| !id.is_empty()).collect()
    }

    /// Takes the stanza that a device acknowledged out of its queue.
    pub(super) fn acknowledged(&mut self, place: &Place, class: &str, id: &str, to: Option<&Jid>, kind: &str) {
        let Some(device) = self.device_mut(place) else { return };
        let same = || device.queue.iter().filter(|(_, queued)| queued.class == class && queued.id == id);
        // Receipts share the message's id, so the sender and the type tell them apart where the client repeats them.
        let user = to.map(|to| to.user.to_string()).unwrap_or_default();
        let found = same()
            .find(|(_, queued)| queued.from.starts_with(&user) && (class != "receipt" || queued.kind == kind))
            .or_else(|| same().next())
            .map(|(number, _)| number);
        if let Some(number) = found {
            if self.fault_strikes(FaultKind::Redeliver, place, class) {
                return;
            }
            let Some(device) = self.device_mut(place) else { return };
            device.queue.remove(number);
            self.touch(Key::Queued(place.number.clone(), place.device, number));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::server::account::Device;

    const BOB: &str = "5511900000002";

    /// Somebody with a device that is away.
    fn away() -> (World, Place) {
        let mut world = World::for_tests();
        world.create_account(BOB, "Bob", true).unwrap();
        let device = Device {
            noise_key: Blob::default(),
            identity: Blob::default(),
            key_index: 1,
            signed_identity: Blob::default(),
            linked_at: world.ambient.now(),
            properties: None,
            has_app_state_key: true,
            dropped: 0,
            bundle: None,
            queue: Queue::default(),
            online: None,
        };
        world.accounts.get_mut(BOB).unwrap().devices.insert(1, device);
        (world, Place { number: BOB.to_owned(), device: 1 })
    }

    fn message(id: usize, bytes: usize) -> Node {
        el("message").attr("id", id.to_string()).attr("from", SERVER).bytes(vec![7; bytes]).build()
    }

    /// The first and the last id that wait, and how many were lost.
    fn rest(world: &mut World, place: &Place) -> (String, String, u64) {
        let device = world.device_mut(place).unwrap();
        let ids: Vec<String> = device.queue.iter().map(|(_, queued)| queued.id.clone()).collect();
        (ids[0].clone(), ids[ids.len() - 1].clone(), device.dropped)
    }

    #[test]
    fn a_full_queue_loses_its_oldest_and_counts_them() {
        let (mut world, place) = away();
        // By bytes: each is a little more than a megabyte.
        for id in 0..20 {
            world.deliver(&place, message(id, 1 << 20));
        }
        assert_eq!(rest(&mut world, &place), ("5".to_owned(), "19".to_owned(), 5));
        assert!(world.device_mut(&place).unwrap().queue.bytes <= MAX_QUEUE_BYTES);
        // What is acknowledged makes room.
        for id in 5..19 {
            world.acknowledged(&place, "message", &id.to_string(), None, "");
        }
        world.deliver(&place, message(20, 1 << 20));
        assert_eq!(rest(&mut world, &place), ("19".to_owned(), "20".to_owned(), 5));
        // By number.
        for id in 21..21 + MAX_QUEUE {
            world.deliver(&place, message(id, 1));
        }
        assert_eq!(rest(&mut world, &place), ("21".to_owned(), (20 + MAX_QUEUE).to_string(), 7));
        assert_eq!(world.device_mut(&place).unwrap().queue.len(), MAX_QUEUE);
    }
}

//! The simulated server: accounts, connections, and one file per family of stanzas.
//!
//! [`World`] is one value behind one lock. Every change goes through `Inner::act`, which runs one step to its end (phones included),
//! stamps what is to be sent with the generation of the state, and hands it to the connections' writers.

pub(super) mod account;
pub(super) mod app_state;
mod business;
mod call;
mod community;
mod contacts;
mod crowd;
mod devices;
pub(super) mod faults;
#[cfg(test)]
mod fuzz;
pub(super) mod group;
mod group_iq;
mod group_members;
pub(super) mod group_message;
mod iq;
mod login;
pub(super) mod media;
pub(super) mod message;
mod mex;
pub(super) mod newsletter;
mod newsletter_iq;
pub(super) mod pairing;
mod pairing_code;
mod passkey;
pub(super) mod prekeys;
mod presence;
pub(super) mod queue;
mod receipt;
pub(super) mod registration;
mod schedule;
mod sight;
mod small;
mod status;
pub(super) mod tokens;
mod usync;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Weak;
use std::time::Duration;

use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use tracing::debug;
use wacore_binary::{Jid, Node, Server};

use self::account::{Account, Place};
use self::faults::Faults;
use self::group::Group;
use self::media::MediaStore;
use self::newsletter::Newsletter;
use self::pairing::{Pending, Reference};
use self::pairing_code::CodeRequest;
use self::passkey::PasskeyLink;
use self::queue::Drain;
use self::registration::Registered;
use self::schedule::Schedules;
use super::Inner;
use super::journal::Key;
use super::sight::{BUFFER, Sight};
use super::wire::connection::{Outbox, Outgoing};
use super::wire::node::{attr, weight};
use crate::domain::clock::{Ambient, Time};

/// One client's connection, as the server sees it.
pub(super) struct Connection {
    outbox: Outbox,
    cut: CancellationToken,
    /// The client's static key.
    noise_key: [u8; 32],
    /// How the client calls the sandbox: its media host's name.
    host: String,
    /// The device it logged in as; none while pairing.
    place: Option<Place>,
    /// What it registered, if it came to be linked by itself.
    registered: Option<Registered>,
    /// How far its offline queue has been sent.
    drain: Drain,
    /// The pairing code it asked for.
    code: Option<CodeRequest>,
    /// A link that waits for the account's passkey.
    passkey: Option<PasskeyLink>,
    /// The references for QR codes that it has.
    offered: Vec<String>,
    /// A link that waits for the client's signature.
    pending: Option<Pending>,
    /// Whose presence it wants to know, and whether it showed their token.
    watches: BTreeMap<String, bool>,
    /// Whether it said that its user is there.
    available: bool,
    /// By a fault: nothing is read or written any more.
    half_open: bool,
    /// By a fault: nothing is written until then.
    stalled_until: Option<Time>,
    /// By a fault: bytes a second.
    pace: Option<u32>,
    /// By a fault: goes out after the next delivery.
    held_back: Option<Node>,
}

/// Something that a step wants to be sent.
struct Sending {
    connection: u64,
    /// None ends the connection.
    node: Option<Node>,
    /// How long everything behind it waits too.
    after: Duration,
    /// How long it alone waits.
    late: Duration,
}

/// Everything the simulator knows.
pub(super) struct World {
    pub(super) ambient: Ambient,
    /// Whether accounts address direct chats by LID, as migrated ones do.
    pub(super) lid_addressing: bool,
    pub(super) accounts: BTreeMap<String, Account>,
    lids: HashMap<String, String>,
    /// By the first part of their address.
    pub(super) groups: BTreeMap<String, Group>,
    /// By the first part of their address.
    pub(super) newsletters: BTreeMap<String, Newsletter>,
    /// The devices that look at a channel, and until when.
    newsletter_watch: BTreeMap<(String, Place), Time>,
    connections: HashMap<u64, Connection>,
    references: HashMap<String, Reference>,
    /// Who wants to know whose presence: connections by number.
    watchers: HashMap<String, BTreeSet<u64>>,
    next_connection: u64,
    outbound: Vec<Sending>,
    /// How late the answers of this step are, by a fault.
    lateness: Duration,
    faults: Faults,
    schedules: Schedules,
    /// The files on the media host.
    pub(super) media: MediaStore,
    /// Stanzas for phones, worked off before the step ends.
    pub(super) phone_inbox: VecDeque<(String, Node)>,
    /// What the journal must write.
    pub(super) changed: BTreeSet<Key>,
    /// Grows with every change that must survive.
    pub(super) generation: u64,
    /// What happens, for those who look on.
    pub(super) sights: broadcast::Sender<Sight>,
    /// The sandbox of this world, for what happens later.
    pub(super) inner: Weak<Inner>,
    /// IQs that nothing here answers, by namespace and first child.
    pub(super) unknown: BTreeMap<String, u64>,
}

impl World {
    pub(super) fn new(ambient: Ambient, lid_addressing: bool, media: MediaStore) -> Self {
        Self {
            ambient,
            lid_addressing,
            accounts: BTreeMap::new(),
            lids: HashMap::new(),
            groups: BTreeMap::new(),
            newsletters: BTreeMap::new(),
            newsletter_watch: BTreeMap::new(),
            connections: HashMap::new(),
            references: HashMap::new(),
            watchers: HashMap::new(),
            next_connection: 1,
            outbound: Vec::new(),
            lateness: Duration::ZERO,
            faults: Faults::default(),
            schedules: Schedules::default(),
            media,
            phone_inbox: VecDeque::new(),
            changed: BTreeSet::new(),
            generation: 0,
            sights: broadcast::Sender::new(BUFFER),
            inner: Weak::new(),
            unknown: BTreeMap::new(),
        }
    }

    /// One of the tests: nothing in it, and a clock that stands.
    #[cfg(test)]
    fn for_tests() -> Self {
        let media = MediaStore::new(None, 1 << 20, Duration::from_secs(3600), [0; 32]);
        Self::new(Ambient::held(Time(1_800_000_000_000)), true, media)
    }

    /// Puts an account in place, new or from the journal.
    pub(super) fn insert_account(&mut self, account: Account) {
        self.lids.insert(account.lid.clone(), account.number.clone());
        self.accounts.insert(account.number.clone(), account);
    }

    /// Takes an account out, to put it in place under another number.
    pub(super) fn take_account(&mut self, number: &str) -> Option<Account> {
        let account = self.accounts.remove(number)?;
        self.lids.remove(&account.lid);
        Some(account)
    }

    /// The number behind an address in either space.
    pub(super) fn number_of(&self, jid: &Jid) -> Option<String> {
        match jid.server {
            Server::Lid => self.lids.get(jid.user.as_str()).cloned(),
            Server::Pn => Some(jid.user.to_string()).filter(|number| self.accounts.contains_key(number)),
            _ => None,
        }
    }

    pub(super) fn place_of(&self, jid: &Jid) -> Option<Place> {
        Some(Place { number: self.number_of(jid)?, device: jid.device })
    }

    /// Marks something as changed: the journal writes it before any stanza of this step leaves.
    pub(super) fn touch(&mut self, key: Key) {
        self.changed.insert(key);
        self.generation += 1;
    }

    pub(super) fn touch_account(&mut self, number: &str) {
        self.touch(Key::Account(number.to_owned()));
    }

    /// Seconds since 1970, as stanzas carry them.
    pub(super) fn now_secs(&self) -> u64 {
        u64::try_from(self.ambient.now().0 / 1000).unwrap_or(0)
    }

    /// A fresh id for a stanza of the server.
    pub(super) fn stanza_id(&self) -> String {
        u32::from_be_bytes(self.ambient.random()).to_string()
    }

    // -- connections

    /// A client finished its handshake.
    pub(super) fn connect(
        &mut self,
        outbox: Outbox,
        cut: CancellationToken,
        host: String,
        noise_key: [u8; 32],
        payload: &waproto::whatsapp::ClientPayload,
    ) -> u64 {
        let id = self.next_connection;
        self.next_connection += 1;
        let connection = Connection {
            outbox,
            cut,
            noise_key,
            host,
            place: None,
            registered: None,
            drain: Drain::Waiting,
            code: None,
            passkey: None,
            offered: Vec::new(),
            pending: None,
            watches: BTreeMap::new(),
            available: false,
            half_open: false,
            stalled_until: None,
            pace: None,
            held_back: None,
        };
        self.connections.insert(id, connection);
        self.log_in(id, payload);
        id
    }

    /// A connection is gone. Harmless when the device has another one by now.
    pub(super) fn disconnect(&mut self, id: u64) {
        self.withdraw_references(id);
        let Some(connection) = self.connections.remove(&id) else { return };
        for number in connection.watches.keys() {
            if let Some(watchers) = self.watchers.get_mut(number) {
                watchers.remove(&id);
            }
        }
        let Some(place) = connection.place else { return };
        let now = self.now_secs();
        self.see_login(&place, false);
        let Some(device) = self.device_mut(&place) else { return };
        if device.online == Some(id) {
            device.online = None;
            if let Some(account) = self.accounts.get_mut(&place.number).filter(|_| connection.available) {
                account.last_seen = now;
            }
            self.presence_changed(&place.number);
        }
    }

    /// Sends a stanza to a connection when this step is done.
    pub(super) fn send(&mut self, connection: u64, node: Node) {
        let (after, late) = (Duration::ZERO, self.lateness);
        self.outbound.push(Sending { connection, node: Some(node), after, late });
    }

    /// Sends a last stanza after a while, then closes.
    pub(super) fn send_last(&mut self, connection: u64, node: Node, after: Duration) {
        let late = Duration::ZERO;
        self.outbound.push(Sending { connection, node: Some(node), after, late });
        self.outbound.push(Sending { connection, node: None, after: Duration::ZERO, late });
    }

    /// Ends a step: lets the phones do what is theirs, then hands out what is to be sent.
    pub(super) fn finish_step(&mut self) {
        while let Some((number, stanza)) = self.phone_inbox.pop_front() {
            self.phone_receives(&number, &stanza);
        }
        let now = self.ambient.now();
        for Sending { connection: id, node, after, late } in std::mem::take(&mut self.outbound) {
            let Some(connection) = self.connections.get_mut(&id).filter(|connection| !connection.half_open) else { continue };
            let stall = connection.stalled_until.take().map_or(Duration::ZERO, |until| until.since(now));
            let (generation, pace, weight) = (self.generation, connection.pace, node.as_ref().map_or(0, weight));
            let outgoing = Outgoing { node, after: after.max(stall), generation, pace, weight };
            if !late.is_zero() {
                send_later(connection, outgoing, late);
            } else if !connection.outbox.put(outgoing) {
                debug!(connection = id, "cut off: its queue is full");
                connection.cut.cancel();
            }
        }
    }

    /// The device a connection is logged in as.
    pub(super) fn place(&self, connection: u64) -> Option<Place> {
        self.connections.get(&connection)?.place.clone()
    }

    // -- stanzas

    /// A stanza from a client. What makes no sense is dropped: a client that waits for an answer times out, as with the real server.
    pub(super) fn on_stanza(&mut self, connection: u64, node: &Node) {
        if self.connections.get(&connection).is_none_or(|client| client.half_open)
            || self.fault_of_connection(connection, Some(node))
        {
            return;
        }
        if let Some(place) = self.connections.get(&connection).and_then(|client| client.place.as_ref()) {
            self.see_stanza(place, node);
        }
        if node.tag == "iq" {
            return self.on_iq(connection, node);
        }
        // Everything else needs a login.
        let Some(place) = self.place(connection) else { return };
        match node.tag.as_ref() {
            "message" => self.on_message(connection, &place, node),
            "receipt" => self.on_receipt(connection, &place, node),
            "ack" => self.on_ack(&place, node),
            "presence" => self.on_presence(connection, &place, node),
            "chatstate" => self.on_chatstate(&place, node),
            "call" => self.on_call(connection, &place, node),
            "ib" => self.on_ib(connection, &place, node),
            tag => debug!(tag, id = attr(node, "id"), "ignored a stanza"),
        }
    }
}

/// Sends to one connection after a while, without holding up what comes behind. Ends with the connection; a client has at most as many
/// of them as questions that faults made late.
fn send_later(connection: &Connection, outgoing: Outgoing, late: Duration) {
    // It is not weighed: it came from a fault, which strikes as often as it was told to.
    let outgoing = Outgoing { weight: 0, ..outgoing };
    let (outbox, cut) = (connection.outbox.queue.downgrade(), connection.cut.clone());
    tokio::spawn(cut.run_until_cancelled_owned(async move {
        tokio::time::sleep(late).await;
        if let Some(outbox) = outbox.upgrade() {
            let _ = outbox.send(outgoing).await;
        }
    }));
}

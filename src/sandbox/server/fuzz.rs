//! Arbitrary and damaged stanzas into the router of a small world: nothing panics, what must hold holds, and the world still serves.
//!
//! 48 worlds by default; `PROPTEST_CASES=100000 cargo test --lib sandbox::server::fuzz` takes longer.

mod templates;

use bytes::BytesMut;
use proptest::prelude::*;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use wacore_binary::builder::NodeBuilder;
use wacore_binary::{Node, NodeContent};
use waproto::whatsapp as wa;

use super::account::{Bundle, Device, Place, SignedKey};
use super::group::Role;
use super::queue::Queue;
use super::{Connection, World};
use crate::sandbox::keys::{Blob, Secret};
use crate::sandbox::phone::Chat;
use crate::sandbox::wire::connection::{Outbox, Outgoing};
use crate::sandbox::wire::node::{attr, el, unpack};

const ALICE: &str = "5511900000001";
const BOB: &str = "5511900000002";
/// Untouched by the fuzzer: they show that the world still serves.
const CAROL: &str = "5511900000003";
const DAVE: &str = "5511900000004";

/// A world with four phones, a group of three, devices of Alice, Bob and Carol that are logged in, and a client that wants to be paired.
struct Small {
    world: World,
    group: String,
    /// Alice's, Bob's, the stranger's; then Carol's.
    connections: [u64; 4],
    receivers: Vec<mpsc::Receiver<Outgoing>>,
}

impl Small {
    fn new() -> Self {
        let mut world = World::for_tests();
        for number in [ALICE, BOB, CAROL, DAVE] {
            world.create_account(number, "", true).unwrap();
        }
        let mut group = world.new_group(ALICE, "Fuzz".into());
        group.members.extend([BOB, CAROL].map(|number| (number.to_owned(), Role::Member)));
        let id = group.id.clone();
        world.insert_group(group);
        let mut small = Self { world, group: id, connections: [0; 4], receivers: Vec::new() };
        small.connections = [Some(ALICE), Some(BOB), None, Some(CAROL)].map(|number| small.connect(number));
        small
    }

    fn connect(&mut self, number: Option<&str>) -> u64 {
        let noise_key = self.world.ambient.random();
        if let Some(number) = number {
            self.link(number, noise_key);
        }
        let (queue, receiver) = mpsc::channel(4096);
        self.receivers.push(receiver);
        let payload =
            wa::ClientPayload { username: number.and_then(|number| number.parse().ok()), device: Some(1), ..Default::default() };
        let id = self.world.connect(Outbox::new(queue), CancellationToken::new(), String::new(), noise_key, &payload);
        self.world.finish_step();
        if number.is_some() {
            self.step(id, &question("passive", "set", el("active").build()));
        }
        id
    }

    fn link(&mut self, number: &str, noise_key: [u8; 32]) {
        let ambient = self.world.ambient.clone();
        let (identity, signed) = (Secret::generate(&ambient), Secret::generate(&ambient));
        let signature = identity.0.calculate_signature(&signed.0.public_key.serialize(), &mut ambient.rng()).unwrap();
        let bundle = Bundle {
            registration_id: 7,
            identity: Blob(identity.public().to_vec()),
            signed: SignedKey { id: 1, key: Blob(signed.public().to_vec()), signature: Blob(signature.to_vec()) },
            one_time: (1..4).map(|id| (id, Blob(Secret::generate(&ambient).public().to_vec()))).collect(),
        };
        let device = Device {
            noise_key: Blob(noise_key.to_vec()),
            identity: Blob(identity.public().to_vec()),
            key_index: 1,
            signed_identity: Blob::default(),
            linked_at: ambient.now(),
            properties: None,
            has_app_state_key: true,
            dropped: 0,
            bundle: Some(bundle),
            queue: Queue::default(),
            online: None,
        };
        let account = self.world.accounts.get_mut(number).unwrap();
        account.devices.insert(1, device);
        account.next_device = 2;
    }

    /// One step, as a connection's reader makes it.
    fn step(&mut self, connection: u64, stanza: &Node) {
        self.world.on_stanza(connection, stanza);
        self.world.finish_step();
    }

    /// Everything that was sent, by connection.
    fn sent(&mut self) -> Vec<Vec<Node>> {
        let all = |receiver: &mut mpsc::Receiver<Outgoing>| {
            std::iter::from_fn(|| receiver.try_recv().ok()).filter_map(|outgoing| outgoing.node).collect()
        };
        self.receivers.iter_mut().map(all).collect()
    }

    fn check(&self) {
        let World { accounts, outbound, phone_inbox, connections, references, unknown, .. } = &self.world;
        assert!(outbound.is_empty() && phone_inbox.is_empty(), "a step runs to its end");
        for (number, account) in accounts {
            for (key, place) in &account.by_id {
                let row = &account.messages.get(place).unwrap_or_else(|| panic!("{number}: an id without its row")).shown;
                assert_eq!((&row.chat, &row.id), (&key.0, &key.1));
            }
            for (id, device) in &account.devices {
                let connected = device.online.and_then(|online| connections.get(&online)).and_then(|known| known.place.clone());
                let here = Place { number: number.clone(), device: *id };
                assert!(device.online.is_none() || connected == Some(here), "{number}: online without a connection");
                for queued in device.queue.iter().map(|(_, queued)| queued) {
                    unpack(BytesMut::from(queued.stanza.0.as_slice())).expect("what is queued can be read");
                }
            }
        }
        assert!(references.values().all(|reference| connections.contains_key(&reference.connection)));
        assert!(unknown.len() <= 257);
    }

    /// A device asks, a phone writes: both as on the first day.
    fn serves(&mut self) {
        let carol = self.connections[3];
        self.sent();
        let ping = el("iq").attr("id", "still-there").attr("type", "get").attr("xmlns", "w:p").build();
        self.step(carol, &ping);
        let answered = self.sent().pop().unwrap();
        assert!(answered.iter().any(|node| attr(node, "id") == "still-there" && attr(node, "type") == "result"), "{answered:?}");
        let content = wa::Message { conversation: Some("still there".into()), ..Default::default() };
        let row = self.world.phone_sends(CAROL, &Chat::Person(DAVE.into()), &content).unwrap();
        self.world.finish_step();
        let dave = self.world.known(DAVE).unwrap();
        assert!(dave.messages.values().any(|stored| stored.shown.id == row.id && stored.shown.text == "still there"));
        let copied = self.sent().pop().unwrap();
        assert!(copied.iter().any(|node| node.tag == "message" && attr(node, "id") == row.id), "carol's device has a copy");
    }
}

fn question(namespace: &'static str, kind: &'static str, child: Node) -> Node {
    el("iq").attr("id", "1").attr("to", "s.whatsapp.net").attr("xmlns", namespace).attr("type", kind).children([child]).build()
}

/// What is changed in a stanza, and where.
#[derive(Clone, Debug)]
enum Change {
    DropAttribute,
    SetAttribute(String),
    DropChild,
    DoubleChild,
    Content(Option<Vec<u8>>),
    Text(String),
    Graft(Node),
}

/// Changes the `at`th element of the stanza, counted from the outside in.
fn change(node: &mut Node, at: &mut usize, pick: usize, what: &Change) {
    if *at > 0 {
        *at -= 1;
        if let Some(NodeContent::Nodes(children)) = &mut node.content {
            for child in children {
                change(child, at, pick, what);
                if *at == usize::MAX {
                    return;
                }
            }
        }
        return;
    }
    *at = usize::MAX;
    let attributes = node.attrs.0.len();
    match (what, &mut node.content) {
        (Change::DropAttribute, _) if attributes > 0 => drop(node.attrs.0.remove(pick % attributes)),
        (Change::SetAttribute(value), _) if attributes > 0 => {
            node.attrs.0[pick % attributes].1 = wacore_binary::NodeValue::from(value.clone());
        }
        (Change::DropChild, Some(NodeContent::Nodes(children))) if !children.is_empty() => {
            drop(children.remove(pick % children.len()));
        }
        (Change::DoubleChild, Some(NodeContent::Nodes(children))) if !children.is_empty() => {
            children.push(children[pick % children.len()].clone());
        }
        (Change::Graft(graft), Some(NodeContent::Nodes(children))) => children.push(graft.clone()),
        (Change::Content(content), place) => *place = content.clone().map(NodeContent::Bytes),
        (Change::Text(text), place) => *place = Some(NodeContent::String(text.as_str().into())),
        _ => {}
    }
}

/// Values that mean something, and some that do not.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "",
            "0",
            "1",
            "-1",
            "18446744073709551616",
            "get",
            "set",
            "result",
            "error",
            "available",
            "subscribe",
            "read",
            "retry",
            "s.whatsapp.net",
            "@s.whatsapp.net",
            "5511900000001@s.whatsapp.net",
            "5511900000002:1@s.whatsapp.net",
            "5511900000002:65535@s.whatsapp.net",
            "1@lid",
            "1@g.us",
            "g.us",
            "status@broadcast",
            "1@newsletter",
            "a.b:c_d@e",
        ])
        .prop_map(str::to_owned),
        "\\PC{0,24}",
    ]
}

fn any_change() -> impl Strategy<Value = Change> {
    prop_oneof![
        Just(Change::DropAttribute),
        value().prop_map(Change::SetAttribute),
        Just(Change::DropChild),
        Just(Change::DoubleChild),
        prop::option::of(prop::collection::vec(any::<u8>(), 0..70)).prop_map(Change::Content),
        value().prop_map(Change::Text),
        any_node().prop_map(Change::Graft),
    ]
}

/// A stanza of known names in any arrangement.
fn any_node() -> impl Strategy<Value = Node> {
    let name = || {
        prop::sample::select(vec![
            "iq",
            "message",
            "receipt",
            "ack",
            "presence",
            "chatstate",
            "ib",
            "notification",
            "call",
            "stream:error",
            "enc",
            "to",
            "participants",
            "participant",
            "list",
            "item",
            "key",
            "user",
            "usync",
            "query",
            "sync",
            "collection",
            "patch",
            "group",
            "create",
            "add",
            "remove",
            "subject",
            "picture",
            "privacy",
            "retry",
            "keys",
            "offline_batch",
            "active",
            "count",
            "digest",
            "xmlstreamend",
            "0",
        ])
    };
    let attribute = || {
        (
            prop::sample::select(vec![
                "id",
                "type",
                "to",
                "from",
                "xmlns",
                "jid",
                "participant",
                "recipient",
                "class",
                "name",
                "version",
                "count",
                "code",
                "v",
                "t",
            ]),
            value(),
        )
    };
    let node = |name: &'static str, attributes: Vec<(&'static str, String)>, content: Option<NodeContent>| {
        let node = attributes.into_iter().fold(NodeBuilder::new(name), |node, (name, value)| node.attr(name, value));
        node.apply_content(content).build()
    };
    let content = prop_oneof![
        Just(None),
        prop::collection::vec(any::<u8>(), 0..90).prop_map(|bytes| Some(NodeContent::Bytes(bytes))),
        value().prop_map(|text| Some(NodeContent::String(text.as_str().into()))),
    ];
    let attributes = move || prop::collection::vec(attribute(), 0..6);
    let leaf = (name(), attributes(), content).prop_map(move |(name, attributes, content)| node(name, attributes, content));
    leaf.prop_recursive(4, 24, 4, move |inner| {
        (name(), attributes(), prop::collection::vec(inner, 0..4))
            .prop_map(move |(name, attributes, children)| node(name, attributes, Some(NodeContent::Nodes(children))))
    })
}

/// What a client does next: which of three connections, and which stanza with what changed.
#[derive(Clone, Debug)]
enum Step {
    Any(Node),
    Damaged { template: prop::sample::Index, changes: Vec<(usize, usize, Change)> },
}

fn steps() -> impl Strategy<Value = Vec<(usize, Step)>> {
    let damaged = (any::<prop::sample::Index>(), prop::collection::vec((0usize..8, 0usize..8, any_change()), 0..4))
        .prop_map(|(template, changes)| Step::Damaged { template, changes });
    let step = prop_oneof![1 => any_node().prop_map(Step::Any), 3 => damaged];
    prop::collection::vec((0usize..3, step), 1..24)
}

/// As many worlds as the environment says, else a bounded number: each takes a tenth of a second in a debug build.
fn config() -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    ProptestConfig::with_cases(asked.unwrap_or(48))
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_router_survives_whatever_clients_say(steps in steps()) {
        let mut small = Small::new();
        let templates = small.templates();
        for (who, step) in steps {
            let stanza = match step {
                Step::Any(node) => node,
                Step::Damaged { template, changes } => {
                    let mut node = template.get(&templates).clone();
                    for (mut at, pick, what) in changes {
                        change(&mut node, &mut at, pick, &what);
                    }
                    node
                }
            };
            let connection = small.connections[who];
            small.step(connection, &stanza);
            small.check();
        }
        small.serves();
    }
}

/// Every template by itself is understood: it has an answer, or it has no need of one. Without this the fuzzer could damage nonsense.
#[test]
fn the_undamaged_stanzas_are_known() {
    let mut small = Small::new();
    let alice = small.connections[0];
    let logout = |node: &Node| node.get_optional_child("remove-companion-device").is_some();
    for stanza in small.templates().into_iter().filter(|node| !logout(node)) {
        small.step(alice, &stanza);
        small.check();
    }
    small.serves();
    // The link's own questions are for those who are not linked yet.
    let stranger = small.connections[2];
    for stanza in small.templates() {
        small.step(stranger, &stanza);
        small.check();
    }
    small.serves();
    let connection: &Connection = &small.world.connections[&alice];
    assert!(connection.place.is_some());
}

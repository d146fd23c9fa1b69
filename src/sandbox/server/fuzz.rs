//! Arbitrary and damaged stanzas into the router of a small world: nothing panics, what must hold holds, and the world still serves.
//!
//! 256 worlds by default; `PROPTEST_CASES=100000 cargo test --lib sandbox::server::fuzz` takes longer.

use std::collections::BTreeMap;

use bytes::BytesMut;
use proptest::prelude::*;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use wacore_binary::builder::NodeBuilder;
use wacore_binary::{Jid, Node, NodeContent};
use waproto::whatsapp as wa;

use super::account::{Bundle, Device, Place, SignedKey};
use super::group::Role;
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
            bundle: Some(bundle),
            queue: BTreeMap::new(),
            next_queued: 1,
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
                for queued in device.queue.values() {
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

    /// The stanzas of a working client, as the real library sends them.
    fn templates(&self) -> Vec<Node> {
        let group = Jid::group(self.group.as_str());
        let bob = self.world.known(BOB).unwrap();
        let (bob, bobs) = (bob.jid(0, true), bob.jid(1, true));
        let enc = |kind: &'static str| el("enc").attr("v", "2").attr("type", kind).bytes(vec![0x33; 80]).build();
        let to = |jid: &Jid| el("to").attr("jid", jid.clone()).children([enc("pkmsg")]).build();
        let participant = || el("participant").attr("jid", bob.clone()).build();
        let key = |id: u8| el("key").children([el("id").bytes(vec![0, 0, id]).build(), el("value").bytes(vec![id; 32]).build()]);
        let signed = || {
            let signature = el("signature").bytes(vec![5; 64]).build();
            el("skey")
                .children([el("id").bytes(vec![0, 0, 1]).build(), el("value").bytes(vec![4; 32]).build(), signature])
                .build()
        };
        let in_group = |child: Node| {
            el("iq").attr("xmlns", "w:g2").attr("to", group.clone()).attr("id", "1").attr("type", "set").children([child]).build()
        };
        let message = |chat: &Jid| el("message").attr("to", chat.clone()).attr("id", "3AFUZZ").attr("type", "text");
        let mut all = vec![
            message(&bob)
                .children([
                    el("participants").children([to(&bob), to(&bobs)]).build(),
                    el("device-identity").bytes(vec![1; 9]).build(),
                ])
                .build(),
            message(&bobs).children([enc("msg")]).build(),
            message(&group)
                .attr("phash", "2:abc")
                .attr("addressing_mode", "lid")
                .children([el("participants").children([to(&bobs)]).build(), enc("skmsg")])
                .build(),
            message(&Jid::status_broadcast()).children([el("participants").children([to(&bobs)]).build(), enc("skmsg")]).build(),
            el("receipt").attr("to", bob.clone()).attr("id", "3AFUZZ").build(),
            el("receipt")
                .attr("to", bobs.clone())
                .attr("id", "3AFUZZ")
                .attr("type", "read")
                .attr("t", "1800000000")
                .children([el("list").children([el("item").attr("id", "3B").build()]).build()])
                .build(),
            el("receipt")
                .attr("to", bobs.clone())
                .attr("id", "3AFUZZ")
                .attr("type", "retry")
                .children([
                    el("retry").attr("v", "1").attr("id", "3AFUZZ").attr("t", "1").attr("count", "2").build(),
                    el("registration").bytes(vec![0, 0, 0, 7]).build(),
                    el("keys")
                        .children([
                            el("type").bytes(vec![5]).build(),
                            el("identity").bytes(vec![2; 32]).build(),
                            key(1).build(),
                            signed(),
                        ])
                        .build(),
                ])
                .build(),
            el("receipt")
                .attr("to", group.clone())
                .attr("participant", bobs.clone())
                .attr("id", "3A")
                .attr("type", "read-self")
                .build(),
            el("ack").attr("class", "notification").attr("to", bob.clone()).attr("id", "3A").attr("type", "devices").build(),
            el("presence").attr("type", "available").attr("name", "Fuzz").build(),
            el("presence").attr("type", "subscribe").attr("to", bob.clone()).build(),
            el("chatstate").attr("to", bob.clone()).children([el("composing").attr("media", "audio").build()]).build(),
            el("chatstate").attr("to", group.clone()).children([el("paused").build()]).build(),
            el("ib").children([el("offline_batch").attr("count", "200").build()]).build(),
            el("ib").children([el("unified_session").attr("id", "1").build()]).build(),
            el("iq")
                .attr("type", "result")
                .attr("id", "1")
                .children([el("pair-device-sign")
                    .children([el("device-identity").attr("key-index", "1").bytes(vec![9; 60]).build()])
                    .build()])
                .build(),
            el("call")
                .attr("to", bob.clone())
                .attr("id", "1")
                .children([el("reject").attr("call-id", "1").attr("call-creator", bob.clone()).build()])
                .build(),
            in_group(el("subject").string_content("new").build()),
            in_group(el("description").attr("id", "1").children([el("body").string_content("new").build()]).build()),
            in_group(el("add").children([participant()]).build()),
            in_group(el("remove").children([participant()]).build()),
            in_group(el("promote").children([participant()]).build()),
            in_group(el("ephemeral").attr("expiration", "86400").build()),
            in_group(el("membership_approval_mode").children([el("group_join").attr("state", "on").build()]).build()),
            in_group(el("membership_requests_action").children([el("approve").children([participant()]).build()]).build()),
            in_group(
                el("links")
                    .children([el("link")
                        .attr("link_type", "sub_group")
                        .children([el("group").attr("jid", group.clone()).build()])
                        .build()])
                    .build(),
            ),
            in_group(el("invite").build()),
            in_group(el("query").attr("request", "interactive").build()),
        ];
        let own = |namespace: &'static str, kind: &'static str, child: Node| question(namespace, kind, child);
        all.extend([
            own("w:g2", "set", el("create").attr("subject", "x").children([participant()]).build()),
            own("w:g2", "get", el("participating").children([el("participants").build()]).build()),
            own("w:g2", "set", el("leave").children([el("group").attr("id", group.clone()).build()]).build()),
            own("w:g2", "get", el("invite").attr("code", "ABCDEF").build()),
            own("encrypt", "get", el("count").build()),
            own("encrypt", "get", el("digest").build()),
            own(
                "encrypt",
                "get",
                el("key").children([el("user").attr("jid", bobs.clone()).attr("reason", "identity").build()]).build(),
            ),
            own("encrypt", "set", el("rotate").children([signed()]).build()),
            el("iq")
                .attr("xmlns", "encrypt")
                .attr("type", "set")
                .attr("id", "1")
                .attr("to", "s.whatsapp.net")
                .children([
                    el("registration").bytes(vec![0, 0, 0, 7]).build(),
                    el("type").bytes(vec![5]).build(),
                    el("identity").bytes(vec![3; 32]).build(),
                    el("list").children([key(1).build(), key(2).build()]).build(),
                    signed(),
                ])
                .build(),
            own(
                "usync",
                "get",
                el("usync")
                    .attr("sid", "1")
                    .attr("mode", "query")
                    .attr("context", "interactive")
                    .attr("index", "0")
                    .attr("last", "true")
                    .children([
                        el("query")
                            .children([
                                el("contact").build(),
                                el("lid").build(),
                                el("devices").attr("version", "2").build(),
                                el("status").build(),
                                el("picture").build(),
                                el("business").build(),
                            ])
                            .build(),
                        el("list")
                            .children([
                                el("user").children([el("contact").string_content(format!("+{BOB}")).build()]).build(),
                                el("user").attr("jid", bob.clone()).build(),
                            ])
                            .build(),
                    ])
                    .build(),
            ),
            own(
                "w:sync:app:state",
                "set",
                el("sync")
                    .children([
                        el("collection")
                            .attr("name", "regular")
                            .attr("version", "0")
                            .attr("return_snapshot", "false")
                            .children([el("patch").bytes(vec![8; 40]).build()])
                            .build(),
                        el("collection")
                            .attr("name", "critical_block")
                            .attr("version", "0")
                            .attr("return_snapshot", "true")
                            .build(),
                    ])
                    .build(),
            ),
            own(
                "w:mex",
                "get",
                el("query")
                    .attr("query_id", "25399611239711790")
                    .string_content(r#"{"variables":{"input":{"a":[1,{"b":null}]}}}"#)
                    .build(),
            ),
            own("passive", "set", el("active").build()),
            own("md", "set", el("remove-companion-device").attr("jid", bobs.clone()).attr("reason", "user_initiated").build()),
            own(
                "md",
                "set",
                el("link_code_companion_reg")
                    .attr("jid", Jid::pn(BOB))
                    .attr("stage", "companion_hello")
                    .children([
                        el("link_code_pairing_wrapped_companion_ephemeral_pub").bytes(vec![1; 80]).build(),
                        el("companion_server_auth_key_pub").bytes(vec![1; 32]).build(),
                        el("companion_platform_id").string_content("1").build(),
                        el("companion_platform_display").string_content("Chrome").build(),
                        el("link_code_pairing_nonce").string_content("0").build(),
                    ])
                    .build(),
            ),
            own("md", "get", el("ref").build()),
            own("md", "set", el("passkey_prologue").bytes(vec![1; 60]).build()),
            own("w:m", "set", el("media_conn").build()),
            own("w:profile:picture", "get", el("picture").attr("type", "preview").attr("query", "url").build()),
            own("w:profile:picture", "set", el("picture").attr("type", "image").bytes(vec![0xff, 0xd8, 0xff]).build()),
            own("status", "set", el("status").string_content("busy").build()),
            own("privacy", "get", el("privacy").build()),
            own(
                "privacy",
                "set",
                el("privacy").children([el("category").attr("name", "last").attr("value", "none").build()]).build(),
            ),
            own(
                "privacy",
                "set",
                el("tokens")
                    .children([el("token").attr("jid", bob.clone()).attr("t", "1").attr("type", "trusted_contact").build()])
                    .build(),
            ),
            own("blocklist", "get", el("list").build()),
            own("blocklist", "set", el("item").attr("jid", bob.clone()).attr("action", "block").build()),
            own("disappearing_mode", "set", el("disappearing_mode").attr("duration", "86400").build()),
            own(
                "w:biz",
                "get",
                el("business_profile").attr("v", "116").children([el("profile").attr("jid", bob.clone()).build()]).build(),
            ),
            own("newsletter", "get", el("messages").attr("count", "10").attr("before", "100").build()),
            own("urn:xmpp:whatsapp:dirty", "set", el("clean").attr("type", "groups").attr("timestamp", "1").build()),
            own("abt", "get", el("props").attr("protocol", "1").build()),
            own("w:p", "get", el("ping").build()),
        ]);
        all
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

proptest! {
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

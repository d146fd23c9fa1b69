//! What surprises the authors of clients, and what other authors' clients rely on: each line with the test that shows it. The tests of
//! this file are those that had no other place.
//!
//! | what surprises | shown by |
//! |---|---|
//! | a restart (515) right after the link comes before the client has finished its own part | `a_restart_at_once_or_late_after_a_link_is_survived` |
//! | `xmlstreamend` brings a reconnect, often without the event of a disconnect: nothing may hang on that event | `the_end_of_a_stream_brings_the_client_back` |
//! | `disconnect()` is the end of a client object; after a replacement it can run again | `a_disconnected_client_is_done_and_a_replaced_one_is_not`, `pairing::a_second_connection_of_a_device_replaces_the_first` |
//! | an `Ok` from sending means "written", not "accepted" | `an_accepted_send_is_not_a_delivered_message` |
//! | offline messages come in several batches, and not before "connected" | `a_long_offline_queue_comes_whole`, `the_offline_queue_is_pulled_batch_by_batch` |
//! | receipts are `inactive` until the user is there | `receipts_are_inactive_until_the_user_is_there` |
//! | one person is a number or a LID, by the account's flag | `the_same_person_comes_by_number_or_by_lid` |
//! | copies of own messages and words between own devices come as messages too | `own_copies_and_words_between_own_devices_come_as_messages` |
//! | keys and old messages are asked of a phone that can decrypt | `restart::a_phone_that_cannot_decrypt_asks_for_the_message_again`, `groups::a_damaged_group_message_is_asked_for_again` |
//! | a panic under the server's lock ends one connection, and the others go on | `sandbox::tests::a_panic_under_the_lock_is_one_connections_end` (beside the code) |
//!
//! | what others rely on | shown by |
//! |---|---|
//! | XX with a registration; its keys and properties are kept; XX for each login, passive and pulling; a URL before the code; the account's key left out of the signature | `strangers::a_client_registers_by_itself_is_linked_and_gets_messages`, `strangers::its_keys_are_handed_out_with_an_identity_that_others_can_check` |
//! | `notify` is the name that the sender last announced | `a_message_carries_the_name_that_was_announced_last` |
//! | receipts wait for an offline sender; in groups they name the reader | `receipts_wait_for_an_offline_author_and_name_the_reader_in_groups` |
//! | news of a group reach those who are offline, before its messages | `a_new_group_is_told_to_the_absent_before_its_messages` |
//! | answers about members carry codes, roles, settings | `groups::members_come_and_go_each_with_a_code`, `groups::settings_are_told_to_everybody_also_later` |
//! | communities with their two groups, links both ways, lists | `groups::a_community_has_groups` |
//! | app state is kept, numbered, fanned out; an old version is a conflict with what is missing | `contacts::a_change_of_the_app_state_reaches_the_other_devices`, `an_old_version_of_the_app_state_is_a_conflict_with_what_is_missing` |
//! | newsletters: numbers of operations of other releases; pages; the media type of a post; live reactions | `newsletters::numbers_of_other_releases_are_known_and_unknown_ones_counted`, `newsletters::posts_reach_followers_and_can_be_read_again`, `newsletters::reactions_are_counted_and_told_to_those_who_look` |
//! | privacy tokens reach all devices of the peer; the properties that switch them on; the secret by history and by app state; 463 for a stranger | all of `tokens` |
//! | without a history a client waits: there is always a first piece | `history::what_happened_before_the_link_is_history`, `history::a_new_device_gets_the_whole_past_in_pieces` |
//! | pictures have fresh ids and are told to those who know the account; about texts too | `contacts::about_and_picture_are_shown_and_told` |
//! | chat states for the absent are dropped | `typing_for_somebody_absent_is_forgotten` |
//! | count, active, digest in this order; a state for each of five collections; a ping as a child; logging out and hanging up | `strangers::every_question_at_the_beginning_has_an_answer`, `strangers::a_client_that_logs_out_and_hangs_up_at_once_is_gone` |
//! | the account's name comes by app state, and a business's with the link | `business::a_business_says_who_it_is` |
//! | usync names the LID of everybody | `everybody_has_a_lid` |
//! | silent reading does not reach the author; an echo without `to` is only acknowledged | `silent_reading_and_echoes_do_not_reach_the_author` |

use std::time::Duration;

use wacore::types::events::Event;
use wacore_binary::{Jid, Node};
use whatsapp_gateway::domain::clock::Ambient;
use whatsapp_gateway::sandbox::fault::{FaultKind, FaultSpec};
use whatsapp_gateway::sandbox::{MessageState, SandboxConfig};

use super::client::{ALICE, BOB, Peer, Running};
use super::raw::{Keys, Raw, attr, child, content, el};

/// A linked raw device of an account, ready.
async fn ready(running: &Running, number: &str) -> (Raw, Keys, u16) {
    let keys = Keys::generate();
    let device = Raw::link(running, &keys, number).await;
    let mut raw = Raw::log_in(running.address, &keys, number, device).await;
    raw.make_ready(&keys).await;
    (raw, keys, device)
}

async fn away(running: &Running, number: &str, raw: Raw) {
    raw.leave().await;
    running.phone(number, "away", |phone| (!phone.devices[0].online).then_some(())).await;
}

#[tokio::test]
async fn a_restart_at_once_or_late_after_a_link_is_survived() {
    for pause in [None, Some(Duration::from_millis(1500))] {
        let running = Running::with_phones().await;
        let fault = FaultSpec { phone_number: ALICE.into(), duration: pause, ..FaultSpec::once(FaultKind::Restart) };
        running.sandbox.create_fault(fault).unwrap();
        let alice = running.linked(ALICE).await;
        running.sandbox.send_message(BOB, ALICE, "linked all the same").await.unwrap();
        alice.text("linked all the same").await;
        assert_eq!(running.sandbox.get_phone(ALICE).await.unwrap().devices.len(), 1);
        assert_eq!(running.sandbox.list_faults()[0].injected, 1);
    }
}

#[tokio::test]
async fn the_end_of_a_stream_brings_the_client_back() {
    let running = Running::with_phones().await;
    let alice = running.linked(ALICE).await;
    running.sandbox.create_fault(FaultSpec { phone_number: ALICE.into(), ..FaultSpec::once(FaultKind::StreamEnd) }).unwrap();
    running.phone(ALICE, "gone", |phone| (!phone.devices[0].online).then_some(())).await;
    alice.wait("connected again", |event| matches!(event, Event::Connected(_)).then_some(())).await;
    running.sandbox.send_message(BOB, ALICE, "as before").await.unwrap();
    alice.text("as before").await;
}

#[tokio::test]
async fn a_disconnected_client_is_done_and_a_replaced_one_is_not() {
    let running = Running::with_phones().await;
    let first = running.linked(ALICE).await;
    let second = Peer::new(running.address, first.backend.clone(), None).await;
    first.wait("replaced", |event| matches!(event, Event::StreamReplaced(_)).then_some(())).await;
    second.connected().await;
    second.client.disconnect().await;
    // Disconnected: it never runs again.
    tokio::time::timeout(super::client::PATIENCE, second.client.run()).await.expect("a later run returns at once");
    assert!(!second.client.is_connected());
    // Replaced: it may.
    let again = first.client.clone();
    let run = tokio::spawn(async move {
        let _ = again.run().await;
    });
    running.phone(ALICE, "online again", |phone| phone.devices[0].online.then_some(())).await;
    run.abort();
}

#[tokio::test]
async fn an_accepted_send_is_not_a_delivered_message() {
    let running = Running::with_phones().await;
    let alice = running.linked(ALICE).await;
    let refusal = FaultSpec { phone_number: ALICE.into(), code: Some(479), ..FaultSpec::once(FaultKind::RefuseMessage) };
    running.sandbox.create_fault(refusal).unwrap();
    let sent = alice.client.send_text(Jid::pn(BOB), "into the void").await.expect("sending itself succeeds");
    let error = alice
        .wait("the server's answer", |event| match event {
            Event::ServerAck(ack) if format!("{ack:?}").contains(&sent.message_id) => Some(format!("{ack:?}")),
            _ => None,
        })
        .await;
    assert!(error.contains("479"), "{error}");
    assert!(running.sandbox.list_messages(BOB, None).await.unwrap().is_empty());
    // New chats alone are refused until a time; to a known chat one may write on.
    alice.client.send_text(Jid::pn(BOB), "hello").await.unwrap();
    running.messages(BOB, "hello", |rows| rows.iter().any(|row| row.text == "hello").then_some(())).await;
    let carol = "5511900000003";
    running.sandbox.create_phone(carol, "Carol", true).await.unwrap();
    let strangers = FaultSpec { phone_number: ALICE.into(), count: None, ..FaultSpec::once(FaultKind::RefuseNewChats) };
    let fault = running.sandbox.create_fault(strangers).unwrap();
    alice.client.send_text(Jid::pn(carol), "we have not met").await.unwrap();
    alice
        .wait("refused", |event| (matches!(event, Event::ServerAck(ack) if format!("{ack:?}").contains("463"))).then_some(()))
        .await;
    alice.client.send_text(Jid::pn(BOB), "but we have").await.unwrap();
    running.messages(BOB, "a known chat", |rows| rows.iter().any(|row| row.text == "but we have").then_some(())).await;
    running.sandbox.delete_fault(fault.id).unwrap();
    alice.client.send_text(Jid::pn(carol), "now we may").await.unwrap();
    running.messages(carol, "a new chat", |rows| rows.iter().any(|row| row.text == "now we may").then_some(())).await;
    assert!(running.sandbox.list_messages(carol, None).await.unwrap().iter().all(|row| row.text != "we have not met"));
}

#[tokio::test]
async fn a_long_offline_queue_comes_whole() {
    let running = Running::with_phones().await;
    let bob = running.linked(BOB).await;
    let backend = bob.stop().await;
    running.phone(BOB, "offline", |phone| (!phone.devices[0].online).then_some(())).await;
    let count = 250;
    for n in 0..count {
        running.sandbox.send_message(ALICE, BOB, &format!("{n}")).await.unwrap();
    }
    let bob = Peer::new(running.address, backend, None).await;
    let mut seen = Vec::new();
    bob.wait("all of them", |event| match event {
        Event::Messages(batch) => {
            seen.extend(batch.iter().filter(|one| one.info.is_offline).filter_map(|one| one.message.conversation.clone()));
            (seen.len() >= count).then_some(())
        }
        _ => None,
    })
    .await;
    assert_eq!(seen, (0..count).map(|n| n.to_string()).collect::<Vec<_>>());
    running.phone(BOB, "all acknowledged", |phone| (phone.devices[0].queued == 0).then_some(())).await;
}

/// On the wire: the server announces, sends a first batch, and the rest when it is asked for; the marker comes behind all of it.
#[tokio::test]
async fn the_offline_queue_is_pulled_batch_by_batch() {
    let running = Running::with_phones().await;
    let keys = Keys::generate();
    let device = Raw::link(&running, &keys, BOB).await;
    for n in 0..250 {
        running.sandbox.send_message(ALICE, BOB, &format!("{n}")).await.unwrap();
    }
    let mut raw = Raw::log_in(running.address, &keys, BOB, device).await;
    raw.ask("passive", "set", vec![el("active").build()]).await;
    raw.ask("w:p", "get", Vec::new()).await;
    let queued = |raw: &Raw| raw.aside.iter().filter(|node| !attr(node, "offline").is_empty()).count();
    let marker = |node: &Node| node.tag == "ib" && node.get_optional_child("offline").is_some();
    assert_eq!((queued(&raw), raw.aside.iter().any(marker)), (200, false));
    let preview = raw.wait("the preview", |node| node.get_optional_child("offline_preview").is_some()).await;
    let announced: usize = attr(child(&preview, "offline_preview"), "count").parse().unwrap();
    raw.send(el("ib").children([el("offline_batch").attr("count", "200").build()]).build()).await;
    raw.wait("the marker", marker).await;
    assert_eq!(queued(&raw), announced);
}

#[tokio::test]
async fn receipts_are_inactive_until_the_user_is_there() {
    let running = Running::with_phones().await;
    let alice = running.linked(ALICE).await;
    let (mut bob, _, _) = ready(&running, BOB).await;
    let from_device = |node: &Node| {
        node.tag == "receipt"
            && node.attrs().optional_jid("from").is_some_and(|from| from.device == 1)
            && attr(node, "type") != "read"
    };
    alice.client.presence().set_unavailable().await.unwrap();
    running.sandbox.send_message(BOB, ALICE, "nobody looks").await.unwrap();
    let receipt = bob.wait("a receipt of the device", from_device).await;
    assert_eq!(attr(&receipt, "type"), "inactive");
    alice.client.presence().set_available().await.unwrap();
    running.sandbox.send_message(BOB, ALICE, "somebody looks").await.unwrap();
    let receipt = bob.wait("another receipt of the device", from_device).await;
    assert_eq!(attr(&receipt, "type"), "");
}

#[tokio::test]
async fn the_same_person_comes_by_number_or_by_lid() {
    for lid_addressing in [true, false] {
        let running = Running::with(SandboxConfig { lid_addressing, ..SandboxConfig::default() }, Ambient::system()).await;
        running.sandbox.create_phone(ALICE, "Alice", true).await.unwrap();
        let lid = running.sandbox.create_phone(BOB, "Bob", true).await.unwrap().lid;
        let alice = running.linked(ALICE).await;
        running.sandbox.send_message(BOB, ALICE, "who am I").await.unwrap();
        let (sender, other) = alice
            .wait("the message", |event| match event {
                Event::Messages(batch) => {
                    let source = &batch.iter().find(|one| one.message.conversation.as_deref() == Some("who am I"))?.info.source;
                    Some((
                        source.sender.to_non_ad().to_string(),
                        source.sender_alt.as_ref().map(|jid| jid.to_non_ad().to_string()),
                    ))
                }
                _ => None,
            })
            .await;
        let number = format!("{BOB}@s.whatsapp.net");
        let (shown, hidden) = if lid_addressing { (lid, number) } else { (number, lid) };
        assert_eq!((sender, other), (shown, Some(hidden)));
    }
}

#[tokio::test]
async fn own_copies_and_words_between_own_devices_come_as_messages() {
    let running = Running::with_phones().await;
    let client = running.client().await;
    let code = client.qr().await;
    running.sandbox.scan_qr(ALICE, &code).await.unwrap();
    // The key of the app state comes as a message from the own phone, with nothing to show.
    let between = |event: &Event| match event {
        Event::Messages(batch) => batch
            .iter()
            .find(|one| one.message.protocol_message.is_set())
            .map(|one| (one.info.source.is_from_me, one.message.conversation.is_none())),
        _ => None,
    };
    assert_eq!(client.wait("the key of the app state", between).await, (true, true));
    running.sandbox.send_message(ALICE, BOB, "from my phone").await.unwrap();
    let own = |event: &Event| match event {
        Event::Messages(batch) => {
            batch.iter().find(|one| one.info.source.is_from_me && one.message.conversation.is_some()).map(|_| ())
        }
        _ => None,
    };
    client.wait("the own copy", own).await;
}

#[tokio::test]
async fn a_message_carries_the_name_that_was_announced_last() {
    let running = Running::with_phones().await;
    let (mut alice, _, _) = ready(&running, ALICE).await;
    let (mut bob, _, _) = ready(&running, BOB).await;
    let notify = |node: &Node| node.tag == "message" && attr(node, "category") != "peer";
    running.sandbox.send_message(ALICE, BOB, "one").await.unwrap();
    assert_eq!(attr(&bob.wait("a message", notify).await, "notify"), "Alice");
    alice.send(el("presence").attr("type", "available").attr("name", "Alice in between").build()).await;
    alice.ask("w:p", "get", Vec::new()).await;
    running.sandbox.send_message(ALICE, BOB, "two").await.unwrap();
    assert_eq!(attr(&bob.wait("a message", notify).await, "notify"), "Alice in between");
}

#[tokio::test]
async fn receipts_wait_for_an_offline_author_and_name_the_reader_in_groups() {
    let running = Running::with_phones().await;
    let (mut bob, keys, device) = ready(&running, BOB).await;
    let member = el("participant").attr("jid", Jid::pn(ALICE)).build();
    let create = el("create").attr("subject", "Two").children([member]).build();
    bob.send(el("iq").attr("to", "g.us").attr("id", "g").attr("type", "set").attr("xmlns", "w:g2").children([create]).build())
        .await;
    let made = bob.wait("the group", |node| node.tag == "iq" && attr(node, "id") == "g").await;
    let group = format!("{}@g.us", attr(child(&made, "group"), "id").trim_end_matches("@g.us"));
    away(&running, BOB, bob).await;
    let direct = running.sandbox.send_message(BOB, ALICE, "alone").await.unwrap().id;
    let common = running.sandbox.send_message(BOB, &group, "together").await.unwrap().id;
    let mut bob = Raw::log_in(running.address, &keys, BOB, device).await;
    bob.make_ready(&keys).await;
    let receipt =
        |id: String| move |node: &Node| node.tag == "receipt" && attr(node, "id") == id && attr(node, "type").is_empty();
    let first = bob.wait("the receipt of the direct message", receipt(direct)).await;
    assert_eq!((attr(&first, "offline").is_empty(), attr(&first, "participant").as_str()), (false, ""));
    let second = bob.wait("the receipt of the group's message", receipt(common)).await;
    assert_eq!((attr(&second, "offline").is_empty(), attr(&second, "from")), (false, group));
    assert_eq!(second.attrs().optional_jid("participant").map(|reader| reader.device), Some(0));
}

#[tokio::test]
async fn a_new_group_is_told_to_the_absent_before_its_messages() {
    let running = Running::with_phones().await;
    let (alice, keys, device) = ready(&running, ALICE).await;
    away(&running, ALICE, alice).await;
    let (mut bob, _, _) = ready(&running, BOB).await;
    let member = el("participant").attr("jid", Jid::pn(ALICE)).build();
    let create = el("create").attr("subject", "Meanwhile").children([member]).build();
    bob.send(el("iq").attr("to", "g.us").attr("id", "g").attr("type", "set").attr("xmlns", "w:g2").children([create]).build())
        .await;
    let made = bob.wait("the group", |node| node.tag == "iq" && attr(node, "id") == "g").await;
    let group = format!("{}@g.us", attr(child(&made, "group"), "id").trim_end_matches("@g.us"));
    running.sandbox.send_message(BOB, &group, "you missed it").await.unwrap();
    let mut alice = Raw::log_in(running.address, &keys, ALICE, device).await;
    alice.make_ready(&keys).await;
    let of_group = |tag: &str| {
        let place = alice.aside.iter().position(|node| node.tag == tag && attr(node, "from") == group);
        place.unwrap_or_else(|| panic!("no {tag} of the group in {:?}", alice.aside))
    };
    let (news, message) = (of_group("notification"), of_group("message"));
    assert!(news < message && alice.aside[news].get_optional_child("create").is_some());
}

#[tokio::test]
async fn an_old_version_of_the_app_state_is_a_conflict_with_what_is_missing() {
    let running = Running::with_phones().await;
    let (mut raw, _, _) = ready(&running, ALICE).await;
    let ask = |version: &'static str, patch: Option<Vec<u8>>| {
        let collection = el("collection").attr("name", "critical_block").attr("version", version);
        let patch = patch.map(|bytes| el("patch").bytes(bytes).build());
        vec![el("sync").children([collection.children(patch).build()]).build()]
    };
    let first = raw.ask("w:sync:app:state", "set", ask("0", None)).await;
    assert_eq!(attr(child(child(&first, "sync"), "collection"), "version"), "1");
    // A patch on top of nothing, when there is something.
    let conflict = raw.ask("w:sync:app:state", "set", ask("0", Some(vec![1, 2, 3]))).await;
    let collection = child(child(&conflict, "sync"), "collection");
    assert_eq!((attr(collection, "type").as_str(), attr(child(collection, "error"), "code").as_str()), ("error", "409"));
    assert_eq!(child(collection, "patches").children().unwrap().len(), 1, "what is missing comes along");
}

#[tokio::test]
async fn typing_for_somebody_absent_is_forgotten() {
    let running = Running::with_phones().await;
    let (alice, keys, device) = ready(&running, ALICE).await;
    away(&running, ALICE, alice).await;
    let (mut bob, _, _) = ready(&running, BOB).await;
    bob.send(el("chatstate").attr("to", Jid::pn(ALICE)).children([el("composing").build()]).build()).await;
    bob.ask("w:p", "get", Vec::new()).await;
    running.sandbox.send_message(BOB, ALICE, "done typing").await.unwrap();
    let mut alice = Raw::log_in(running.address, &keys, ALICE, device).await;
    alice.make_ready(&keys).await;
    assert!(alice.aside.iter().any(|node| node.tag == "message"));
    assert!(alice.aside.iter().all(|node| node.tag != "chatstate"), "{:?}", alice.aside);
}

#[tokio::test]
async fn everybody_has_a_lid() {
    let running = Running::with_phones().await;
    let lid = running.sandbox.get_phone(BOB).await.unwrap().lid;
    let (mut raw, _, _) = ready(&running, ALICE).await;
    let query = el("query").children([el("contact").build(), el("lid").build(), el("devices").attr("version", "2").build()]);
    let by_text = el("user").children([el("contact").string_content(format!("+{BOB}")).build()]).build();
    let by_jid = el("user").attr("jid", Jid::pn(BOB)).build();
    let usync =
        el("usync").attr("sid", "1").attr("mode", "query").attr("context", "background").attr("index", "0").attr("last", "true");
    let usync = usync.children([query.build(), el("list").children([by_text, by_jid]).build()]).build();
    let answer = raw.ask("usync", "get", vec![usync]).await;
    let users = child(child(&answer, "usync"), "list").children().unwrap();
    assert_eq!(users.len(), 2);
    for user in users {
        assert_eq!(attr(child(user, "lid"), "val"), lid);
        // Without the signed list a client leaves out the companions.
        assert!(!content(child(child(user, "devices"), "key-index-list")).is_empty());
    }
}

#[tokio::test]
async fn silent_reading_and_echoes_do_not_reach_the_author() {
    let running = Running::start().await;
    running.sandbox.create_phone(ALICE, "Alice", false).await.unwrap();
    running.sandbox.create_phone(BOB, "Bob", false).await.unwrap();
    let (mut alice, mut keys, _) = ready(&running, ALICE).await;
    let (mut second, _, _) = ready(&running, ALICE).await;
    let (mut bob, _, _) = ready(&running, BOB).await;
    let id = running.sandbox.send_message(BOB, ALICE, "read in silence").await.unwrap().id;
    assert_eq!(alice.text(&mut keys).await, "read in silence");
    alice.send(el("receipt").attr("to", Jid::pn(BOB)).attr("id", id.clone()).attr("type", "read-self").build()).await;
    let own =
        second.wait("the own other device learns of it", |node| node.tag == "receipt" && attr(node, "type") == "read-self").await;
    assert_eq!(attr(&own, "id"), id);
    alice.send(el("receipt").attr("id", "3AECHO").attr("type", "sender").build()).await;
    let acknowledged = alice.wait("an echo is acknowledged", |node| node.tag == "ack" && attr(node, "id") == "3AECHO").await;
    assert_eq!(attr(&acknowledged, "class"), "receipt");
    // Everything that Bob's device has heard since then.
    bob.ask("w:p", "get", Vec::new()).await;
    assert!(bob.aside.iter().all(|node| !attr(node, "type").starts_with("read")), "{:?}", bob.aside);
    let row =
        running.messages(BOB, "delivered", |rows| rows.first().filter(|row| row.state != MessageState::Sent).cloned()).await;
    assert_eq!(row.state, MessageState::Delivered);
}

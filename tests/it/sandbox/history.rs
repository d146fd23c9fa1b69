//! The history that phones give to the devices that they link, as the real client library takes it.

use std::collections::{BTreeMap, BTreeSet};

use wacore::types::events::Event;
use wacore_binary::Jid;
use waproto::whatsapp as wa;
use waproto::whatsapp::history_sync::HistorySyncType;
use whatsapp_gateway::sandbox::fault::{FaultKind, FaultSpec};
use whatsapp_gateway::sandbox::history::Past;

use super::client::{ALICE, BOB, Peer, Running};

/// The next piece of history: what it says about itself, and what is in it.
async fn piece(device: &Peer) -> (wa::HistorySync, Option<String>) {
    device
        .wait("a piece of history", |event| match event {
            Event::HistorySync(lazy) => {
                let piece = lazy.get().unwrap().clone();
                assert_eq!((lazy.chunk_order(), lazy.progress()), (piece.chunk_order, piece.progress));
                Some((piece, lazy.peer_data_request_session_id().map(str::to_owned)))
            }
            _ => None,
        })
        .await
}

/// All pieces that come at linking, up to the given kind. The library takes two at a time, so one may come before those that were sent
/// before it; its place among those of its kind is its number.
async fn pieces(device: &Peer, last: HistorySyncType) -> Vec<wa::HistorySync> {
    let mut kinds = vec![HistorySyncType::INITIAL_BOOTSTRAP, HistorySyncType::PUSH_NAME, HistorySyncType::RECENT];
    kinds.extend((!kinds.contains(&last)).then_some(last));
    let mut pieces: Vec<wa::HistorySync> = Vec::new();
    // The last of a kind is the one that says that nothing is left.
    let whole = |pieces: &[wa::HistorySync], kind| {
        let numbers: BTreeSet<u32> = of_kind(pieces, kind).iter().map(|piece| piece.chunk_order.unwrap()).collect();
        let last = of_kind(pieces, kind).iter().find(|piece| piece.progress == Some(100)).and_then(|piece| piece.chunk_order);
        last.is_some_and(|last| numbers == (1..=last).collect())
    };
    while !kinds.iter().all(|kind| whole(&pieces, *kind)) {
        let (next, session) = piece(device).await;
        assert_eq!(session, None, "nobody asked for it");
        pieces.push(next);
    }
    pieces.sort_by_key(|piece| (kinds.iter().position(|kind| *kind == piece.sync_type), piece.chunk_order));
    pieces
}

/// Links a device without waiting for anything else, so that no event is skipped.
async fn linked(running: &Running, number: &str) -> Peer {
    let device = running.client().await;
    let code = device.qr().await;
    running.sandbox.scan_qr(number, &code).await.unwrap();
    device
}

fn of_kind(pieces: &[wa::HistorySync], kind: HistorySyncType) -> Vec<&wa::HistorySync> {
    pieces.iter().filter(|piece| piece.sync_type == kind).collect()
}

/// The ids of all messages by chat, and how many there are.
fn ids(pieces: &[wa::HistorySync]) -> (BTreeMap<String, BTreeSet<String>>, usize) {
    let mut ids: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut count = 0;
    for conversation in pieces.iter().flat_map(|piece| &piece.conversations) {
        for message in &conversation.messages {
            let key = message.message.as_option().unwrap().key.as_option().unwrap();
            assert_eq!(key.remote_jid.as_ref(), Some(&conversation.id));
            ids.entry(conversation.id.clone()).or_default().insert(key.id.clone().unwrap());
            count += 1;
        }
    }
    (ids, count)
}

#[tokio::test]
async fn a_new_device_gets_the_whole_past_in_pieces() {
    let running = Running::with_phones().await;
    let past = Past { chats: 12, messages: 200, days: 400, seed: 7 };
    assert_eq!(running.sandbox.generate_history(ALICE, past).await.unwrap(), 2400);
    let device = linked(&running, ALICE).await;
    let pieces = pieces(&device, HistorySyncType::FULL).await;

    // First the newest of each chat, with what a device must know at once.
    let bootstrap = of_kind(&pieces, HistorySyncType::INITIAL_BOOTSTRAP);
    assert_eq!(bootstrap[0].conversations.len(), 12);
    assert!(bootstrap[0].conversations.iter().all(|chat| chat.messages.len() == 10));
    assert_eq!(bootstrap[0].phone_number_to_lid_mappings.len(), 12);
    assert_eq!(bootstrap[0].nct_salt.as_ref().map(Vec::len), Some(32));
    let chat = &bootstrap[0].conversations[0];
    assert!(chat.id.ends_with("@lid") && chat.pn_jid.as_deref() == Some("628770000000@s.whatsapp.net"), "{:?}", chat.id);
    let newest = chat.messages[0].message.as_option().unwrap();
    assert_eq!(chat.last_msg_timestamp, newest.message_timestamp, "the newest comes first");
    assert!(!newest.message.as_option().unwrap().conversation.as_deref().unwrap().is_empty());

    let names = of_kind(&pieces, HistorySyncType::PUSH_NAME);
    assert!(names[0].pushnames.iter().any(|name| name.pushname.as_deref() == Some("Person 3")));
    // Then the rest: the last ninety days, and what is older, each in several pieces with growing progress.
    for kind in [HistorySyncType::RECENT, HistorySyncType::FULL] {
        let progress: Vec<u32> = of_kind(&pieces, kind).iter().map(|piece| piece.progress.unwrap()).collect();
        assert!(progress.is_sorted() && progress.last() == Some(&100), "{kind:?}: {progress:?}");
    }
    assert!(of_kind(&pieces, HistorySyncType::FULL).len() > 1);
    let (ids, count) = ids(&pieces);
    assert_eq!((ids.values().map(BTreeSet::len).sum::<usize>(), count), (2400, 2400), "each message once");
    // What is small lies in the notification, what is not was on the media host.
    let files = running.sandbox.list_media();
    assert!(!files.is_empty() && files.iter().all(|file| file.kind == "md-msg-hist") && files.len() < pieces.len());
    // The library keeps the salt.
    device.client.wait_for_connected(super::client::PATIENCE).await.unwrap();
    let salt = device.client.persistence_manager().get_device_snapshot().nct_salt.clone();
    assert_eq!(salt, bootstrap[0].nct_salt);

    // The same seed draws the same past, also for the people in it.
    let other = Running::with_phones().await;
    other.sandbox.generate_history(ALICE, past).await.unwrap();
    let texts = |messages: Vec<whatsapp_gateway::sandbox::PhoneMessage>| {
        messages.into_iter().map(|message| (message.id, message.text)).collect::<Vec<_>>()
    };
    let (one, same) = (running.sandbox.list_messages("628770000003", None), other.sandbox.list_messages("628770000003", None));
    assert_eq!(texts(one.await.unwrap()), texts(same.await.unwrap()));
}

/// What was really said is told too: texts, a changed one, one taken back, a reaction, a group with its members.
#[tokio::test]
async fn what_happened_before_the_link_is_history() {
    let running = Running::with_phones().await;
    let first = running.linked(BOB).await;
    running.sandbox.send_message(BOB, ALICE, "hello").await.unwrap();
    let sent = first.client.send_text(Jid::pn(ALICE), "wrong").await.unwrap();
    let changed = wa::Message { conversation: Some("right".into()), ..Default::default() };
    first.client.edit_message(Jid::pn(ALICE), sent.message_id.clone(), changed).await.unwrap();
    let gone = first.client.send_text(Jid::pn(ALICE), "never mind").await.unwrap();
    first.client.revoke_message(Jid::pn(ALICE), gone.message_id.clone(), whatsapp_rust::send::RevokeType::Sender).await.unwrap();
    let key = wa::MessageKey {
        remote_jid: Some(Jid::pn(ALICE).to_string()),
        from_me: Some(true),
        id: Some(sent.message_id.clone()),
        participant: None,
    };
    first.client.send_reaction(&Jid::pn(ALICE), key, "🎉").await.unwrap();
    running
        .messages(ALICE, "all of it", |messages| {
            let revoked = messages.iter().any(|message| message.kind == "revoked");
            (revoked && messages.iter().any(|message| message.kind == "reaction")).then_some(())
        })
        .await;
    let device = linked(&running, ALICE).await;
    let (bootstrap, _) = piece(&device).await;
    let chat = &bootstrap.conversations[0];
    assert_eq!(chat.pn_jid.as_deref(), Some("5511900000002@s.whatsapp.net"));
    let messages: Vec<&wa::WebMessageInfo> = chat.messages.iter().filter_map(|message| message.message.as_option()).collect();
    let texts: Vec<Option<&str>> =
        messages.iter().map(|message| message.message.as_option().and_then(|content| content.conversation.as_deref())).collect();
    assert_eq!(texts, [None, Some("right"), Some("hello")], "newest first");
    assert_eq!(messages[0].message_stub_type, Some(wa::web_message_info::StubType::REVOKE));
    assert_eq!(messages[1].reactions[0].text.as_deref(), Some("🎉"));
    assert_eq!(messages[1].push_name.as_deref(), Some("Bob"));
}

#[tokio::test]
async fn older_messages_come_on_demand() {
    let running = Running::with_phones().await;
    running.sandbox.generate_history(ALICE, Past { chats: 1, messages: 60, days: 10, seed: 1 }).await.unwrap();
    let device = linked(&running, ALICE).await;
    let first = pieces(&device, HistorySyncType::RECENT).await;
    device.client.wait_for_connected(super::client::PATIENCE).await.unwrap();
    let chat: Jid = first[0].conversations[0].id.parse().unwrap();
    let oldest = first[0].conversations[0].messages[9].message.as_option().unwrap();
    let key = oldest.key.as_option().unwrap();
    let moment = i64::try_from(oldest.message_timestamp.unwrap()).unwrap() * 1000;
    let ask = |count| {
        let (id, mine) = (key.id.clone().unwrap(), key.from_me.unwrap());
        let client = &device.client;
        let chat = &chat;
        async move { client.fetch_message_history(chat, &id, mine, moment, count).await.unwrap() }
    };
    let request = ask(20).await;
    let (answer, session) = piece(&device).await;
    assert_eq!((answer.sync_type, session.as_ref()), (HistorySyncType::ON_DEMAND, Some(&request)));
    let got = &answer.conversations[0];
    assert_eq!(got.messages.len(), 20);
    let newest = got.messages[0].message.as_option().unwrap();
    assert!(newest.message_timestamp <= oldest.message_timestamp && newest.key != oldest.key);
    use wa::conversation::EndOfHistoryTransferType as Ending;
    assert_eq!(got.end_of_history_transfer_type, Some(Ending::COMPLETE_ON_DEMAND_SYNC_BUT_MORE_MSG_REMAIN_ON_PRIMARY));
    ask(500).await;
    let (rest, _) = piece(&device).await;
    assert_eq!(rest.conversations[0].messages.len(), 50);
    assert_eq!(rest.conversations[0].end_of_history_transfer_type, Some(Ending::COMPLETE_AND_NO_MORE_MESSAGE_REMAIN_ON_PRIMARY));
    // A chat that the phone does not have is an empty answer, not silence.
    device.client.fetch_message_history(&Jid::pn("5511900009999"), "X", false, 0, 5).await.unwrap();
    let (nothing, _) = piece(&device).await;
    assert!(nothing.conversations.is_empty());
}

/// A message comes without its content: the phone, which has it, tells the device.
#[tokio::test]
async fn the_phone_fills_a_placeholder() {
    let running = Running::with_phones().await;
    let device = running.linked(ALICE).await;
    let spec = FaultSpec { phone_number: ALICE.into(), ..FaultSpec::once(FaultKind::Unavailable) };
    running.sandbox.create_fault(spec).unwrap();
    let sent = running.sandbox.send_message(BOB, ALICE, "you may have missed this").await.unwrap();
    let (id, _) = device.text("you may have missed this").await;
    assert_eq!(id, sent.id);
    assert_eq!(running.sandbox.list_faults()[0].injected, 1);
}

/// A piece has expired before the device came for it: the phone puts it up again.
#[tokio::test]
async fn a_piece_that_expired_comes_again() {
    let running = Running::with_phones().await;
    running.sandbox.generate_history(ALICE, Past { chats: 1, messages: 40, days: 10, seed: 1 }).await.unwrap();
    let gone = FaultSpec { stanza: "media/download/md-msg-hist".into(), count: None, ..FaultSpec::once(FaultKind::MediaGone) };
    let gone = running.sandbox.create_fault(gone).unwrap();
    let device = running.client().await;
    // The library keeps the notice for itself, so its id is read from the stanza around it.
    let _raw = device.client.acquire_raw_node_forwarding();
    let code = device.qr().await;
    running.sandbox.scan_qr(ALICE, &code).await.unwrap();
    let mut from_phone = Vec::new();
    while running.sandbox.list_faults()[0].injected == 0 {
        let id = device
            .wait("something from the own phone", |event| match event {
                Event::RawNode(node) => {
                    let node = node.get();
                    let peer = node.get_attr("category").is_some_and(|category| category.as_str() == "peer");
                    (node.tag == "message" && peer).then(|| node.get_attr("id").unwrap().as_str().into_owned())
                }
                Event::Connected(_) => Some(String::new()),
                _ => None,
            })
            .await;
        from_phone.push(id);
        if from_phone.len() >= 4 {
            super::client::eventually("the device tried", || async {
                (running.sandbox.list_faults()[0].injected > 0).then_some(())
            })
            .await;
        }
    }
    device.client.wait_for_connected(super::client::PATIENCE).await.unwrap();
    running.sandbox.delete_fault(gone.id).unwrap();
    for id in from_phone.iter().filter(|id| !id.is_empty()) {
        device.client.send_history_sync_server_error_receipt(id, &[7; 32]).await.unwrap();
    }
    // The first pieces lay in their notices and may come before it.
    let mut again = piece(&device).await.0;
    while again.sync_type != HistorySyncType::RECENT {
        again = piece(&device).await.0;
    }
    assert_eq!(ids(&[again]).1, 30);
    // The phone sends everything once more when it is told to.
    running.sandbox.send_history(ALICE, 1).await.unwrap();
    let again = pieces(&device, HistorySyncType::RECENT).await;
    assert_eq!(ids(&again).1, 40);
    assert!(running.sandbox.send_history(ALICE, 9).await.is_err());
}

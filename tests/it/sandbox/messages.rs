//! Messages between phones and linked devices, encrypted end to end.

use wacore::types::events::Event;
use wacore_binary::Jid;
use whatsapp_gateway::sandbox::{Direction, MessageState, PhoneMessage};

use super::client::{ALICE, BOB, Peer, Running};
use super::raw::{Keys, Raw, attr, child, el};

fn row(text: &str, state: MessageState) -> impl Fn(&[PhoneMessage]) -> Option<PhoneMessage> {
    move |rows| rows.iter().find(|row| row.text == text && row.state == state).cloned()
}

#[tokio::test]
async fn a_device_writes_to_a_phone_which_reads_it() {
    let running = Running::with_phones().await;
    let alice = running.linked(ALICE).await;
    let sent = alice.client.send_text(Jid::pn(BOB), "hello bob").await.unwrap();
    let got = running.messages(BOB, "bob has it", row("hello bob", MessageState::Received)).await;
    assert_eq!((got.id.as_str(), got.direction, got.arrivals), (sent.message_id.as_str(), Direction::In, 1));
    assert_eq!(got.chat, format!("{ALICE}@s.whatsapp.net"));
    let mut kinds = Vec::new();
    alice
        .wait("a read receipt", |event| match event {
            Event::Receipt(receipt) => {
                kinds.push(format!("{:?}", receipt.r#type));
                kinds.last().is_some_and(|kind| kind == "Read").then_some(())
            }
            _ => None,
        })
        .await;
    assert_eq!(kinds, ["Delivered", "Read"]);
    // Alice's own phone shows what her device sent, and that Bob has read it.
    let own = running.messages(ALICE, "alice's phone has it", row("hello bob", MessageState::Read)).await;
    assert_eq!((own.direction, own.id), (Direction::Out, got.id));
}

#[tokio::test]
async fn a_phone_writes_to_a_device_and_learns_that_it_arrived_and_was_read() {
    let running = Running::with_phones().await;
    let alice = running.linked(ALICE).await;
    for text in ["one", "two"] {
        let sent = running.sandbox.send_message(BOB, ALICE, text).await.unwrap();
        assert_eq!(sent.state, MessageState::Sent);
        let (id, offline) = alice.text(text).await;
        assert_eq!((id, offline), (sent.id, false));
    }
    // Alice's phone reads at once, so the state comes to read; her device's delivery alone is seen when her phone does not read.
    let read = running.messages(BOB, "bob sees it read", row("two", MessageState::Read)).await;
    assert!(read.delivered_at.is_some() && read.read_at.is_some());
    // And the answer uses the session that the message began.
    alice.client.send_text(Jid::pn(BOB), "three").await.unwrap();
    running.messages(BOB, "the answer", row("three", MessageState::Received)).await;
}

#[tokio::test]
async fn a_reading_device_moves_the_phones_message_to_read() {
    let running = Running::start().await;
    running.sandbox.create_phone(ALICE, "Alice", false).await.unwrap();
    running.sandbox.create_phone(BOB, "Bob", false).await.unwrap();
    let alice = running.linked(ALICE).await;
    running.sandbox.send_message(BOB, ALICE, "read me").await.unwrap();
    let (id, chat) = alice
        .wait("the message", |event| match event {
            Event::Messages(batch) => batch
                .iter()
                .find(|message| message.message.conversation.as_deref() == Some("read me"))
                .map(|message| (message.info.id.clone(), message.info.source.chat.clone())),
            _ => None,
        })
        .await;
    running.messages(BOB, "delivered", row("read me", MessageState::Delivered)).await;
    alice.client.mark_as_read(&chat, None, &[id.as_str()]).await.unwrap();
    running.messages(BOB, "read", row("read me", MessageState::Read)).await;
}

#[tokio::test]
async fn two_devices_of_different_accounts_write_to_each_other() {
    let running = Running::with_phones().await;
    let (alice, bob) = (running.linked(ALICE).await, running.linked(BOB).await);
    alice.client.send_text(Jid::pn(BOB), "to bob").await.unwrap();
    bob.text("to bob").await;
    bob.client.send_text(Jid::pn(ALICE), "to alice").await.unwrap();
    alice.text("to alice").await;
    for number in [ALICE, BOB] {
        running.messages(number, "both on each phone", |rows| (rows.len() == 2).then_some(())).await;
    }
}

#[tokio::test]
async fn what_a_phone_sends_is_copied_to_its_own_devices() {
    let running = Running::with_phones().await;
    let alice = running.linked(ALICE).await;
    running.sandbox.send_message(ALICE, BOB, "from my phone").await.unwrap();
    alice
        .wait("the own copy", |event| match event {
            Event::Messages(batch) => batch
                .iter()
                .find(|m| m.info.source.is_from_me && m.message.conversation.as_deref() == Some("from my phone"))
                .map(|_| ()),
            _ => None,
        })
        .await;
}

#[tokio::test]
async fn a_device_linked_later_gets_what_known_people_write() {
    let running = Running::with_phones().await;
    let alice = running.linked(ALICE).await;
    alice.client.send_text(Jid::pn(BOB), "before").await.unwrap();
    running.messages(BOB, "before", row("before", MessageState::Received)).await;
    let bob = running.linked(BOB).await;
    alice.wait("alice hears of bob's device", |event| matches!(event, Event::DeviceListUpdate(_)).then_some(())).await;
    alice.client.send_text(Jid::pn(BOB), "after").await.unwrap();
    bob.text("after").await;
}

#[tokio::test]
async fn what_was_written_meanwhile_waits_in_the_offline_queue() {
    let running = Running::with_phones().await;
    let bob = running.linked(BOB).await;
    let backend = bob.stop().await;
    running.phone(BOB, "offline", |phone| (!phone.devices[0].online).then_some(())).await;
    for n in 0..3 {
        running.sandbox.send_message(ALICE, BOB, &format!("while away {n}")).await.unwrap();
    }
    let bob = Peer::new(running.address, backend, None).await;
    let mut seen = Vec::new();
    bob.wait("all three", |event| match event {
        Event::Messages(batch) => {
            seen.extend(batch.iter().map(|message| (message.message.conversation.clone().unwrap(), message.info.is_offline)));
            (seen.len() >= 3).then_some(())
        }
        _ => None,
    })
    .await;
    assert_eq!(seen, [0, 1, 2].map(|n| (format!("while away {n}"), true)));
    running.phone(BOB, "the queue is empty", |phone| (phone.devices[0].queued == 0).then_some(())).await;
    let backend = bob.stop().await;
    let bob = Peer::new(running.address, backend, None).await;
    bob.connected().await;
    running.sandbox.send_message(ALICE, BOB, "once more").await.unwrap();
    let mut seen = Vec::new();
    bob.wait("once more", |event| match event {
        Event::Messages(batch) => {
            seen.extend(batch.iter().filter_map(|message| message.message.conversation.clone()));
            seen.iter().any(|text| text == "once more").then_some(())
        }
        _ => None,
    })
    .await;
    assert_eq!(seen, ["once more"], "nothing that was acknowledged comes again");
}

/// One one-time key is spent for all messages of a session, also over a new login.
#[tokio::test]
async fn a_session_is_used_again() {
    let running = Running::with_phones().await;
    let mut keys = Keys::generate();
    let device = Raw::link(&running, &keys, ALICE).await;
    let mut raw = Raw::log_in(running.address, &keys, ALICE, device).await;
    raw.make_ready(&keys).await;
    let left = async |raw: &mut Raw| {
        let answer = raw.ask("encrypt", "get", vec![el("count").build()]).await;
        attr(child(&answer, "count"), "value").parse::<usize>().unwrap()
    };
    let before = left(&mut raw).await;
    for text in ["one", "two", "three"] {
        running.sandbox.send_message(BOB, ALICE, text).await.unwrap();
        assert_eq!(raw.text(&mut keys).await, text);
    }
    assert_eq!(left(&mut raw).await, before - 1);
    raw.leave().await;
    running.phone(ALICE, "away", |phone| (!phone.devices[0].online).then_some(())).await;
    running.sandbox.send_message(BOB, ALICE, "four").await.unwrap();
    let mut raw = Raw::log_in(running.address, &keys, ALICE, device).await;
    raw.make_ready(&keys).await;
    assert_eq!(raw.text(&mut keys).await, "four");
    assert_eq!(left(&mut raw).await, before - 1);
}

//! Every fault that ends something or keeps something back, injected against a client, with what its report says of it afterwards. Faults
//! whose effects need more room are in `faults`, where the table of all of them is.

use std::time::Duration;

use wacore::types::events::Event;
use wacore_binary::Jid;
use whatsapp_gateway::domain::clock::{Ambient, Time};
use whatsapp_gateway::sandbox::SandboxConfig;
use whatsapp_gateway::sandbox::fault::{FaultKind, FaultSpec};

use super::client::{ALICE, BOB, Peer, Running, eventually};
use super::raw::{Keys, Raw, attr};

fn once(kind: FaultKind) -> FaultSpec {
    FaultSpec { phone_number: ALICE.into(), ..FaultSpec::once(kind) }
}

/// The report of a fault says that it struck Alice's first device once, at this stanza; the fault is gone then.
fn reported(running: &Running, id: u64, stanza: &str) {
    let fault = running.sandbox.list_faults().into_iter().find(|fault| fault.id == id).unwrap();
    assert_eq!((fault.injected, fault.injections.len()), (1, 1), "{fault:?}");
    let strike = &fault.injections[0];
    assert_eq!((strike.phone_number.as_str(), strike.device, strike.stanza.as_str()), (ALICE, 1, stanza), "{fault:?}");
    let age = running.ambient.now().since(strike.at);
    assert!(age < super::client::PATIENCE, "it tells when: {fault:?}");
    running.sandbox.delete_fault(id).unwrap();
}

#[tokio::test]
async fn a_connection_that_a_fault_ends_comes_back() {
    let running = Running::with_phones().await;
    let alice = running.linked(ALICE).await;
    let error = |code| FaultSpec { code: Some(code), ..once(FaultKind::StreamError) };
    for spec in [once(FaultKind::Drop), once(FaultKind::StreamEnd), error(515), error(503), error(429)] {
        let named = format!("{:?} {:?}", spec.kind, spec.code);
        let fault = running.sandbox.create_fault(spec).unwrap();
        alice.wait(&named, |event| matches!(event, Event::Connected(_)).then_some(())).await;
        running.sandbox.send_message(BOB, ALICE, named.as_str()).await.unwrap();
        alice.text(&named).await;
        reported(&running, fault.id, "");
    }
    let fault = running.sandbox.create_fault(once(FaultKind::Replaced)).unwrap();
    alice.wait("replaced", |event| matches!(event, Event::StreamReplaced(_)).then_some(())).await;
    reported(&running, fault.id, "");
}

/// Both sides believe in a connection over which nothing goes; what was sent meanwhile is not lost.
#[tokio::test]
async fn nothing_goes_over_a_half_open_connection() {
    let running = Running::with_phones().await;
    let mut keys = Keys::generate();
    let device = Raw::link(&running, &keys, ALICE).await;
    let mut raw = Raw::log_in(running.address, &keys, ALICE, device).await;
    raw.make_ready(&keys).await;
    running.sandbox.send_message(BOB, ALICE, "before").await.unwrap();
    assert_eq!(raw.text(&mut keys).await, "before");
    // What was said before has arrived by now.
    raw.ask("w:p", "get", Vec::new()).await;
    let fault = running.sandbox.create_fault(once(FaultKind::HalfOpen)).unwrap();
    let before = running.sandbox.get_phone(ALICE).await.unwrap().devices[0].queued;
    let question = raw.question("w:p", "get", Vec::new()).await;
    running.sandbox.send_message(BOB, ALICE, "meanwhile").await.unwrap();
    let phone = running.sandbox.get_phone(ALICE).await.unwrap();
    assert!(phone.devices[0].online && phone.devices[0].queued > before, "{phone:?}");
    reported(&running, fault.id, "");
    let mut again = Raw::log_in(running.address, &keys, ALICE, device).await;
    again.make_ready(&keys).await;
    assert_eq!(again.text(&mut keys).await, "meanwhile");
    // Over the old one not even the answer has come.
    let silence = tokio::time::timeout(Duration::from_millis(300), raw.next()).await;
    assert!(silence.is_err(), "{question}: {silence:?}");
}

#[tokio::test]
async fn a_login_is_refused_in_three_ways_or_ignored() {
    let running = Running::with_phones().await;
    let mut backend = running.linked(ALICE).await.stop().await;
    let hour = Duration::from_secs(3600);
    for code in [402, 405, 401] {
        running.phone(ALICE, "away", |phone| (!phone.devices[0].online).then_some(())).await;
        let spec = FaultSpec { code: Some(code), duration: Some(hour), ..once(FaultKind::RefuseLogin) };
        let fault = running.sandbox.create_fault(spec).unwrap();
        let alice = Peer::new(running.address, backend, None).await;
        let told = alice
            .wait("refused", |event| match event {
                Event::TemporaryBan(ban) => Some((402, Some(ban.expire))),
                Event::ClientOutdated(_) => Some((405, None)),
                Event::LoggedOut(out) if out.on_connect => Some((401, None)),
                _ => None,
            })
            .await;
        assert_eq!(told.0, code);
        if let Some(expires) = told.1 {
            assert_eq!(expires.num_seconds(), 3600, "the ban ends");
        }
        reported(&running, fault.id, "login");
        backend = alice.stop().await;
    }
    let fault = running.sandbox.create_fault(once(FaultKind::IgnoreLogin)).unwrap();
    let _alice = Peer::new(running.address, backend, None).await;
    eventually("ignored", || async { (running.sandbox.list_faults()[0].injected == 1).then_some(()) }).await;
    assert!(!running.sandbox.get_phone(ALICE).await.unwrap().devices[0].online);
    reported(&running, fault.id, "login");
}

#[tokio::test]
async fn messages_are_refused_once_or_until_a_time() {
    let running = Running::with(SandboxConfig::default(), Ambient::held(Time(1_800_000_000_000))).await;
    running.sandbox.create_phone(ALICE, "Alice", true).await.unwrap();
    running.sandbox.create_phone(BOB, "Bob", true).await.unwrap();
    let alice = running.linked(ALICE).await;
    for code in [463, 479] {
        let spec = FaultSpec { code: Some(code), ..once(FaultKind::RefuseMessage) };
        let fault = running.sandbox.create_fault(spec).unwrap();
        let sent = alice.client.send_text(Jid::pn(BOB), "refused").await.unwrap().message_id;
        assert_eq!(alice.refusal(&sent).await, Some(code.to_string()));
        reported(&running, fault.id, "message");
    }
    // New chats alone, until a time.
    let carol = "5511900000003";
    running.sandbox.create_phone(carol, "Carol", true).await.unwrap();
    let spec = FaultSpec { count: None, duration: Some(Duration::from_secs(60)), ..once(FaultKind::RefuseNewChats) };
    let fault = running.sandbox.create_fault(spec).unwrap();
    let sent = alice.client.send_text(Jid::pn(carol), "too early").await.unwrap().message_id;
    assert_eq!(alice.refusal(&sent).await.as_deref(), Some("463"));
    reported_many(&running, fault.id, "message");
    running.ambient.advance(Duration::from_secs(60));
    let sent = alice.client.send_text(Jid::pn(carol), "now we may").await.unwrap().message_id;
    assert_eq!(alice.refusal(&sent).await, None);
    assert_eq!(running.sandbox.list_faults()[0].injected, 1);
}

/// The same for a fault that goes on.
fn reported_many(running: &Running, id: u64, stanza: &str) {
    let fault = running.sandbox.list_faults().into_iter().find(|fault| fault.id == id).unwrap();
    assert_eq!(fault.injected, u64::try_from(fault.injections.len()).unwrap());
    assert!(fault.injections.iter().all(|strike| strike.phone_number == ALICE && strike.stanza == stanza), "{fault:?}");
}

#[tokio::test]
async fn a_damaged_message_is_asked_for_again_and_comes() {
    let running = Running::with_phones().await;
    let alice = running.linked(ALICE).await;
    // One copy is for the phone, the other for the device.
    let spec = FaultSpec { stanza: "message".into(), count: Some(2), ..once(FaultKind::Corrupt) };
    let fault = running.sandbox.create_fault(spec).unwrap();
    running.sandbox.send_message(BOB, ALICE, "damaged on the way").await.unwrap();
    alice.text("damaged on the way").await;
    reported_many(&running, fault.id, "message");
    let devices: Vec<u16> = running.sandbox.list_faults()[0].injections.iter().map(|strike| strike.device).collect();
    assert_eq!(devices, [0, 1]);
}

#[tokio::test]
async fn what_was_acknowledged_comes_again_after_the_next_login() {
    let running = Running::with_phones().await;
    let mut keys = Keys::generate();
    let device = Raw::link(&running, &keys, ALICE).await;
    let mut raw = Raw::log_in(running.address, &keys, ALICE, device).await;
    raw.make_ready(&keys).await;
    running.phone(ALICE, "linked", |phone| (phone.devices.len() == 1).then_some(())).await;
    let fault = running.sandbox.create_fault(FaultSpec { stanza: "message".into(), ..once(FaultKind::Redeliver) }).unwrap();
    let sent = running.sandbox.send_message(BOB, ALICE, "twice").await.unwrap().id;
    let first = raw.wait("the message", |node| node.tag == "message" && attr(node, "id") == sent).await;
    let from = first.attrs().optional_jid("from").unwrap();
    let receipt = super::raw::el("receipt").attr("to", from).attr("id", sent.clone());
    raw.send(receipt.build()).await;
    raw.wait("the receipt is taken", |node| node.tag == "ack" && attr(node, "id") == sent).await;
    reported(&running, fault.id, "message");
    raw.leave().await;
    running.phone(ALICE, "away", |phone| (!phone.devices[0].online).then_some(())).await;
    let mut again = Raw::log_in(running.address, &keys, ALICE, device).await;
    again.make_ready(&keys).await;
    let second = again.wait("the message again", |node| node.tag == "message" && attr(node, "id") == sent).await;
    assert_eq!((attr(&first, "offline"), attr(&second, "offline")), (String::new(), "1".to_owned()));
    assert_eq!(
        keys.open(&second.attrs().optional_jid("from").unwrap(), super::raw::child(&second, "enc")).await.conversation.as_deref(),
        Some("twice")
    );
}

#[tokio::test]
async fn a_client_without_codes_gives_up() {
    let running = Running::with_phones().await;
    let fault = running.sandbox.create_fault(FaultSpec::once(FaultKind::NoQr)).unwrap();
    let client = running.client().await;
    client.wait("no codes", |event| matches!(event, Event::PairingQrCodesExhausted(_)).then_some(())).await;
    let report = running.sandbox.list_faults().remove(0);
    assert_eq!((report.id, report.injected, report.injections[0].stanza.as_str()), (fault.id, 1, "login"));
}

//! Phones that answer by themselves, and looking on at the world.

use wacore_binary::Jid;
use whatsapp_gateway::sandbox::fault::{FaultKind, FaultSpec};
use whatsapp_gateway::sandbox::sight::{Sight, SightKind, Watcher};
use whatsapp_gateway::sandbox::{Direction, PhoneChange, PhoneMessage};

use super::client::{ALICE, BOB, PATIENCE, Running};

fn sent(rows: &[PhoneMessage]) -> Vec<String> {
    rows.iter().filter(|row| row.direction == Direction::Out).map(|row| row.text.clone()).collect()
}

async fn becomes(running: &Running, number: &str, change: PhoneChange) {
    running.sandbox.update_phone(number, change).await.unwrap();
}

#[tokio::test]
async fn an_echo_answers_people_and_never_another_echo() {
    let running = Running::with_phones().await;
    let alice = running.linked(ALICE).await;
    let echo = || PhoneChange { echo: Some(true), ..PhoneChange::default() };
    becomes(&running, BOB, echo()).await;
    alice.client.send_text(Jid::pn(BOB), "hello").await.unwrap();
    alice.text("hello").await;
    running.messages(BOB, "bob's echo", |rows| (sent(rows) == ["hello"]).then_some(())).await;
    // Both echo now: neither answers the other.
    becomes(&running, ALICE, echo()).await;
    alice.client.send_text(Jid::pn(BOB), "again").await.unwrap();
    running.messages(BOB, "again", |rows| rows.iter().any(|row| row.text == "again").then_some(())).await;
    let rows = running.sandbox.list_messages(BOB, None).await.unwrap();
    assert_eq!(sent(&rows), ["hello"]);
    // A stranger to that habit who writes without end is answered 30 times a minute.
    becomes(&running, ALICE, PhoneChange { echo: Some(false), ..PhoneChange::default() }).await;
    for n in 0..40 {
        running.sandbox.send_message(ALICE, BOB, &format!("{n}")).await.unwrap();
    }
    // The minute of the first answer may have passed meanwhile.
    let answers = sent(&running.sandbox.list_messages(BOB, None).await.unwrap()).len();
    assert!((30..=31).contains(&answers), "{answers}");
}

#[tokio::test]
async fn small_talk_is_the_same_for_the_same_seed() {
    let mut talks = Vec::new();
    for seed in [7, 7, 8] {
        let running = Running::with_phones().await;
        becomes(&running, BOB, PhoneChange { chatty: Some(true), seed: Some(seed), ..PhoneChange::default() }).await;
        for n in 1..=4 {
            running.sandbox.send_message(ALICE, BOB, "and then?").await.unwrap();
            running.messages(BOB, "an answer", |rows| (sent(rows).len() == n).then_some(())).await;
        }
        talks.push(sent(&running.sandbox.list_messages(BOB, None).await.unwrap()));
        let phone = running.sandbox.get_phone(BOB).await.unwrap();
        assert_eq!((phone.chatty, phone.echo), (Some(seed), false));
    }
    assert_eq!(talks[0], talks[1]);
    assert_ne!(talks[0], talks[2]);
}

async fn sees(watcher: &mut Watcher, what: &str, fits: impl Fn(&Sight) -> bool) -> Sight {
    let search = async {
        loop {
            let sight = watcher.next().await.unwrap();
            if fits(&sight) {
                return sight;
            }
        }
    };
    tokio::time::timeout(PATIENCE, search).await.unwrap_or_else(|_| panic!("never seen: {what}"))
}

#[tokio::test]
async fn whoever_looks_on_sees_what_happens_and_what_was_missed() {
    let running = Running::with_phones().await;
    let (mut all, mut of_bob) = (running.sandbox.watch(None).unwrap(), running.sandbox.watch(Some(BOB)).unwrap());
    let mut faults = running.sandbox.watch(Some(ALICE)).unwrap();
    running.sandbox.watch(Some("nobody")).err().unwrap();
    let alice = running.linked(ALICE).await;
    sees(&mut all, "the login", |it| it.kind == SightKind::Login && it.number == ALICE && it.device == 1).await;
    let spec = FaultSpec::once(FaultKind::Duplicate);
    let fault = FaultSpec { phone_number: ALICE.to_owned(), stanza: "message".to_owned(), ..spec };
    running.sandbox.create_fault(fault).unwrap();
    let id = alice.client.send_text(Jid::pn(BOB), "hi").await.unwrap().message_id;
    sees(&mut all, "the stanza", |it| it.kind == SightKind::Stanza && it.name == "message" && it.id == id).await;
    let seen = sees(&mut of_bob, "bob's receipt", |_| true).await;
    assert_eq!((seen.kind, seen.name.as_str(), seen.id.as_str()), (SightKind::Receipt, "delivered", id.as_str()));
    let seen = sees(&mut of_bob, "bob's message", |_| true).await;
    assert_eq!((seen.kind, seen.name.as_str(), seen.id), (SightKind::Message, "text", id));
    assert_eq!(seen.peer, format!("{ALICE}@s.whatsapp.net"));
    running.sandbox.send_message(BOB, ALICE, "ho").await.unwrap();
    sees(&mut all, "the delivery", |it| it.kind == SightKind::Delivery && it.name == "message").await;
    let seen = sees(&mut faults, "the fault", |it| it.kind == SightKind::Fault).await;
    assert_eq!((seen.name.as_str(), seen.number.as_str()), ("duplicate", ALICE));
    alice.stop().await;
    sees(&mut all, "the end", |it| it.kind == SightKind::Logout && it.number == ALICE).await;
    // Somebody who does not look for a while.
    for n in 0..300 {
        running.sandbox.send_message(BOB, ALICE, &format!("{n}")).await.unwrap();
    }
    let seen = sees(&mut all, "what was missed", |it| matches!(it.kind, SightKind::Missed(_))).await;
    assert!(matches!(seen.kind, SightKind::Missed(missed) if missed > 100), "{seen:?}");
    sees(&mut all, "the newest", |it| it.kind == SightKind::Message).await;
}

//! A sandbox that comes back from its state file.

use tokio::net::TcpListener;
use wacore_binary::Jid;
use whatsapp_gateway::domain::clock::Ambient;
use whatsapp_gateway::sandbox::{MessageState, Sandbox, SandboxConfig};

use super::client::{ALICE, BOB, Running};

#[tokio::test]
async fn a_restarted_sandbox_keeps_sessions_paired_and_ratchets_turning() {
    let directory = tempfile::tempdir().unwrap();
    let config = SandboxConfig { state_file: Some(directory.path().join("sandbox.journal")), ..Default::default() };
    let running = Running::with(config.clone(), Ambient::system()).await;
    running.sandbox.create_phone(ALICE, "Alice", true).await.unwrap();
    running.sandbox.create_phone(BOB, "Bob", true).await.unwrap();
    let alice = running.linked(ALICE).await;
    running.sandbox.send_message(BOB, ALICE, "before").await.unwrap();
    alice.text("before").await;
    alice.client.send_text(Jid::pn(BOB), "answer").await.unwrap();
    running.messages(BOB, "answer", |rows| rows.iter().any(|row| row.text == "answer").then_some(())).await;
    let (key, address) = (running.sandbox.static_public_key(), running.address);
    running.stop().await;

    let listener = TcpListener::bind(address).await.unwrap();
    let running = Running::on(listener, config, Ambient::system()).await;
    assert_eq!(running.sandbox.static_public_key(), key);
    let phone = running.sandbox.get_phone(ALICE).await.unwrap();
    assert_eq!((phone.push_name.as_str(), phone.devices.len()), ("Alice", 1));
    // Written before the client is back: it waits in the queue.
    running.sandbox.send_message(BOB, ALICE, "after").await.unwrap();
    alice.text("after").await;
    alice.client.send_text(Jid::pn(BOB), "still me").await.unwrap();
    let row = running.messages(BOB, "the ratchet goes on", |rows| rows.iter().find(|row| row.text == "still me").cloned()).await;
    assert_eq!(row.state, MessageState::Received);
    let rows = running.sandbox.list_messages(BOB, Some(ALICE)).await.unwrap();
    let texts: Vec<&str> = rows.iter().map(|row| row.text.as_str()).collect();
    assert_eq!(texts, ["before", "answer", "after", "still me"]);
    assert!(rows.iter().all(|row| row.state != MessageState::Undecryptable && row.arrivals == 1));
}

/// A copy of the journal, taken at any moment, is what a kill leaves behind.
#[tokio::test]
async fn what_was_answered_survives_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("sandbox.journal");
    let config = SandboxConfig { state_file: Some(file.clone()), ..Default::default() };
    let running = Running::with(config.clone(), Ambient::system()).await;
    running.sandbox.create_phone(ALICE, "Alice", true).await.unwrap();
    running.sandbox.create_phone(BOB, "Bob", true).await.unwrap();
    for n in 0..20 {
        running.sandbox.send_message(ALICE, BOB, &format!("{n}")).await.unwrap();
        let killed = directory.path().join(format!("killed-{n}"));
        std::fs::copy(&file, &killed).unwrap();
        // A kill in the middle of a write leaves part of a line.
        let mut bytes = std::fs::read(&killed).unwrap();
        bytes.extend_from_slice(b"{\"k\":{\"message\":[\"55");
        std::fs::write(&killed, bytes).unwrap();
        let after =
            Sandbox::open(SandboxConfig { state_file: Some(killed), ..Default::default() }, Ambient::system()).await.unwrap();
        for number in [ALICE, BOB] {
            let here = running.sandbox.list_messages(number, None).await.unwrap();
            assert_eq!(after.list_messages(number, None).await.unwrap(), here);
            assert_eq!(here.len(), n + 1);
        }
    }
}

/// A kill between two lines of a round: what belongs together is there together, or not at all.
#[tokio::test]
async fn a_round_that_was_cut_off_is_as_if_it_had_never_been() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("sandbox.journal");
    let config = SandboxConfig { state_file: Some(file.clone()), ..Default::default() };
    let running = Running::with(config, Ambient::system()).await;
    running.sandbox.create_phone(ALICE, "Alice", true).await.unwrap();
    running.sandbox.create_phone(BOB, "Bob", true).await.unwrap();
    let before = std::fs::read(&file).unwrap().len();
    running.sandbox.send_message(ALICE, BOB, "whole").await.unwrap();
    let bytes = std::fs::read(&file).unwrap();
    let ends = (before..bytes.len()).filter(|at| bytes[*at] == b'\n').map(|at| at + 1);
    let mut seen = Vec::new();
    for end in ends {
        let cut = directory.path().join(format!("cut-{end}"));
        std::fs::write(&cut, &bytes[..end]).unwrap();
        let config = SandboxConfig { state_file: Some(cut), ..Default::default() };
        let after = Sandbox::open(config, Ambient::system()).await.unwrap();
        let mut counts = [0; 2];
        for (count, number) in counts.iter_mut().zip([ALICE, BOB]) {
            *count = after.list_messages(number, None).await.unwrap().len();
        }
        seen.push(counts);
    }
    assert!(seen.len() > 3, "one message takes several lines: {seen:?}");
    assert_eq!((seen.first(), seen.last()), (Some(&[0, 0]), Some(&[1, 1])), "{seen:?}");
    assert!(seen.iter().all(|[alice, bob]| alice == bob), "{seen:?}");
}

/// A journal from before rounds had ends is read as it was.
#[tokio::test]
async fn a_journal_without_ends_of_rounds_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("sandbox.journal");
    let config = SandboxConfig { state_file: Some(file.clone()), ..Default::default() };
    let running = Running::with(config.clone(), Ambient::system()).await;
    running.sandbox.create_phone(ALICE, "Alice", true).await.unwrap();
    let key = running.sandbox.static_public_key();
    running.stop().await;
    let lines = std::fs::read_to_string(&file).unwrap();
    let former: String = lines.lines().filter(|line| !line.is_empty()).map(|line| format!("{line}\n")).collect();
    assert_ne!(former.len(), lines.len());
    std::fs::write(&file, former).unwrap();
    let after = Sandbox::open(config, Ambient::system()).await.unwrap();
    assert_eq!((after.static_public_key(), after.get_phone(ALICE).await.unwrap().push_name), (key, "Alice".to_owned()));
}

/// The phone loses a session, so it cannot read what the device sends in it: it asks again, and the device starts a new one.
#[tokio::test]
async fn a_phone_that_cannot_decrypt_asks_for_the_message_again() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("sandbox.journal");
    let config = SandboxConfig { state_file: Some(file.clone()), ..Default::default() };
    let running = Running::with(config.clone(), Ambient::system()).await;
    running.sandbox.create_phone(ALICE, "Alice", true).await.unwrap();
    running.sandbox.create_phone(BOB, "Bob", true).await.unwrap();
    let alice = running.linked(ALICE).await;
    alice.client.send_text(Jid::pn(BOB), "first").await.unwrap();
    running.messages(BOB, "first", |rows| rows.iter().any(|row| row.text == "first").then_some(())).await;
    running.sandbox.send_message(BOB, ALICE, "second").await.unwrap();
    alice.text("second").await;
    let address = running.address;
    running.stop().await;
    let lines = std::fs::read_to_string(&file).unwrap();
    let lost: String =
        lines.lines().filter(|line| !line.contains(r#""session":["5511900000002""#)).map(|line| format!("{line}\n")).collect();
    assert_ne!(lost.len(), lines.len());
    std::fs::write(&file, lost).unwrap();

    let running = Running::on(TcpListener::bind(address).await.unwrap(), config, Ambient::system()).await;
    running.phone(ALICE, "back", |phone| phone.devices[0].online.then_some(())).await;
    alice.connected().await;
    alice.client.send_text(Jid::pn(BOB), "third").await.unwrap();
    let row = running.messages(BOB, "third, after asking", |rows| rows.iter().find(|row| row.text == "third").cloned()).await;
    assert_eq!((row.state, row.arrivals), (MessageState::Received, 1));
}

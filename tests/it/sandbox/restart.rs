//! A sandbox that comes back from its state file.

use tokio::net::TcpListener;
use wacore_binary::Jid;
use whatsapp_gateway::domain::clock::Ambient;
use whatsapp_gateway::sandbox::{MessageState, SandboxConfig};

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
    let row = running
        .messages(BOB, "the ratchet goes on", |rows| rows.iter().find(|row| row.text == "still me").cloned())
        .await;
    assert_eq!(row.state, MessageState::Received);
    let rows = running.sandbox.list_messages(BOB, Some(ALICE)).await.unwrap();
    let texts: Vec<&str> = rows.iter().map(|row| row.text.as_str()).collect();
    assert_eq!(texts, ["before", "answer", "after", "still me"]);
    assert!(rows.iter().all(|row| row.state != MessageState::Undecryptable && row.arrivals == 1));
}

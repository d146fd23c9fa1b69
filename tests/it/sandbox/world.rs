//! The world file of the documentation, loaded and seen by a client.

use std::path::PathBuf;

use wacore::types::events::Event;
use wacore_binary::Jid;
use whatsapp_gateway::domain::clock::Ambient;
use whatsapp_gateway::sandbox::{Sandbox, SandboxConfig};

use super::client::{ALICE, BOB, Running};

fn config(seed: u64) -> SandboxConfig {
    let world = Some(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/world.toml"));
    SandboxConfig { world, seed, ..SandboxConfig::default() }
}

#[tokio::test]
async fn the_documented_world_is_there() {
    let running = Running::with(config(7), Ambient::system()).await;
    let sandbox = &running.sandbox;
    let names: Vec<String> = sandbox.list_phones().await.unwrap().into_iter().map(|phone| phone.push_name).collect();
    assert_eq!(names[..3], ["Alice", "Bob", "Carol"]);
    assert!(sandbox.get_phone(ALICE).await.unwrap().auto_read && !sandbox.get_phone(BOB).await.unwrap().auto_read);
    let chat = |number: &'static str, with: &'static str| async move {
        let rows = sandbox.list_messages(number, Some(with)).await.unwrap();
        rows.into_iter().map(|row| (row.text, row.timestamp.0)).collect::<Vec<_>>()
    };
    let (of_alice, of_bob) = (chat(ALICE, BOB).await, chat(BOB, ALICE).await);
    assert_eq!(of_alice, of_bob, "both remember it");
    assert_eq!(of_alice[0], ("Two loaves for tomorrow, please".to_owned(), 1_769_853_600_000));
    assert_eq!(sandbox.list_messages(ALICE, None).await.unwrap().len(), 3 + 1 + 100);
    let channel = &sandbox.list_channels()[0];
    assert_eq!((channel.name.as_str(), channel.followers.as_slice(), channel.posts), ("Fresh bread", &[BOB.to_owned()][..], 2));

    let device = running.client().await;
    let code = device.qr().await;
    sandbox.scan_qr(ALICE, &code).await.unwrap();
    let (mut named, mut told) = (false, false);
    while !(named && told) {
        device
            .wait("names and history", |event| match event {
                Event::ContactUpdate(it) if it.jid == Jid::pn(BOB) => {
                    assert_eq!(it.action.full_name.as_deref(), Some("Bob Builder"));
                    named = true;
                    Some(())
                }
                Event::HistorySync(lazy) => {
                    let piece = lazy.get().unwrap();
                    let bakery = piece.conversations.iter().find(|chat| chat.name.as_deref() == Some("Bakery"));
                    told |= bakery.is_some_and(|chat| chat.messages.len() == 1 && chat.participant.len() == 3);
                    Some(())
                }
                _ => None,
            })
            .await;
    }
    device.connected().await;
    let groups = device.client.groups().get_participating().await.unwrap();
    assert_eq!(groups.len(), 1);
    let business = device.client.get_business_profile(&Jid::pn(BOB)).await.unwrap().unwrap();
    assert_eq!((business.description.as_str(), business.business_hours.business_config.unwrap().len()), ("Sheds and fences", 2));
    assert_eq!(sandbox.get_phone(BOB).await.unwrap().privacy["messages"], "contacts");
}

#[tokio::test]
async fn the_same_seed_makes_the_same_world_and_a_known_one_stays() {
    let ambient = || Ambient::held(whatsapp_gateway::domain::clock::Time(1_800_000_000_000));
    let rows = |sandbox: Sandbox| async move {
        let rows = sandbox.list_messages(ALICE, None).await.unwrap();
        rows.into_iter().map(|row| (row.id, row.chat, row.text, row.timestamp)).collect::<Vec<_>>()
    };
    let open = |config| Sandbox::open(config, ambient());
    let one = rows(open(config(7)).await.unwrap()).await;
    assert_eq!(one, rows(open(config(7)).await.unwrap()).await);
    assert_ne!(one, rows(open(config(8)).await.unwrap()).await);

    let directory = tempfile::tempdir().unwrap();
    let state_file = Some(directory.path().join("sandbox.journal"));
    let kept = || SandboxConfig { state_file: state_file.clone(), ..config(7) };
    let first = open(kept()).await.unwrap();
    first.create_phone("5511900000009", "New", true).await.unwrap();
    drop(first);
    let again = open(kept()).await.unwrap();
    assert!(again.get_phone("5511900000009").await.is_ok());
    assert_eq!(one, rows(again).await, "nothing was added twice");

    let missing = SandboxConfig { world: Some("no/such/file.toml".into()), ..SandboxConfig::default() };
    let error = open(missing).await.err().unwrap();
    assert!(error.to_string().contains("no/such/file.toml"), "{error}");
}

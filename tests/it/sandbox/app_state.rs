//! What phones' owners do to chats and contacts, as linked devices learn of it: live by patches, later by one file.

use std::collections::BTreeMap;

use wacore::types::events::Event;
use wacore_binary::Jid;
use whatsapp_gateway::sandbox::chats::{ChatChange, Label};
use whatsapp_gateway::sandbox::fault::{FaultKind, FaultSpec};

use super::client::{ALICE, BOB, Running};

#[tokio::test]
async fn a_linked_device_sees_what_the_phone_does() {
    let running = Running::with_phones().await;
    let message = running.sandbox.send_message(BOB, ALICE, "keep this").await.unwrap();
    let device = running.linked(ALICE).await;
    let (sandbox, change) = (&running.sandbox, ChatChange::default());

    sandbox.save_contact(ALICE, BOB, "Bob the Builder", "").await.unwrap();
    let saved = device
        .wait("the contact", |event| match event {
            Event::ContactUpdate(update) => Some(update.clone()),
            _ => None,
        })
        .await;
    assert_eq!(saved.jid, Jid::pn(BOB));
    assert_eq!(saved.action.full_name.as_deref(), Some("Bob the Builder"));
    assert_eq!(saved.action.first_name.as_deref(), Some("Bob"));
    assert!(saved.action.lid_jid.as_deref().unwrap().ends_with("@lid"));

    sandbox.change_chat(ALICE, BOB, ChatChange { pinned: Some(true), ..change }).await.unwrap();
    let pinned = device
        .wait("the pin", |event| match event {
            Event::PinUpdate(update) => update.action.pinned,
            _ => None,
        })
        .await;
    assert!(pinned);
    sandbox.change_chat(ALICE, BOB, ChatChange { muted: Some(true), ..change }).await.unwrap();
    let muted = device
        .wait("the mute", |event| match event {
            Event::MuteUpdate(update) => Some((update.action.muted, update.action.mute_end_timestamp)),
            _ => None,
        })
        .await;
    assert_eq!(muted, (Some(true), Some(-1)));
    sandbox.change_chat(ALICE, BOB, ChatChange { archived: Some(true), read: Some(false), ..change }).await.unwrap();
    device
        .wait("the archive", |event| matches!(event, Event::ArchiveUpdate(it) if it.action.archived == Some(true)).then_some(()))
        .await;
    device
        .wait("the mark", |event| matches!(event, Event::MarkChatAsReadUpdate(it) if it.action.read == Some(false)).then_some(()))
        .await;
    sandbox.star_message(ALICE, BOB, &message.id, true).await.unwrap();
    let starred = device
        .wait("the star", |event| match event {
            Event::StarUpdate(update) => Some((update.message_id.clone(), update.from_me)),
            _ => None,
        })
        .await;
    assert_eq!(starred, (message.id.clone(), false));
    assert!(sandbox.star_message(ALICE, BOB, "UNKNOWN", true).await.is_err());

    let label = Label { id: "7".into(), name: "New order".into(), color: 3, deleted: false };
    sandbox.save_label(ALICE, &label).await.unwrap();
    sandbox.label_chat(ALICE, "7", BOB, true).await.unwrap();
    device
        .wait("the label", |event| {
            matches!(event, Event::LabelEditUpdate(it) if it.action.name.as_deref() == Some("New order")).then_some(())
        })
        .await;
    device.wait("its chat", |event| matches!(event, Event::LabelAssociationUpdate(_)).then_some(())).await;
}

/// What came before is one file for a device that has nothing; it goes on from there, and so do others.
#[tokio::test]
async fn a_long_collection_comes_as_one_file() {
    let running = Running::with_phones().await;
    let sandbox = &running.sandbox;
    sandbox
        .generate_history(ALICE, whatsapp_gateway::sandbox::history::Past { chats: 30, messages: 1, days: 1, seed: 1 })
        .await
        .unwrap();
    let person = |at: usize| (628_770_000_000_u64 + u64::try_from(at).unwrap()).to_string();
    for at in 0..30 {
        sandbox.save_contact(ALICE, &person(at), &format!("Old Name {at}"), "").await.unwrap();
    }
    sandbox.save_contact(ALICE, &person(3), "Changed Since", "").await.unwrap();
    let device = running.client().await;
    let code = device.qr().await;
    sandbox.scan_qr(ALICE, &code).await.unwrap();
    let mut names = BTreeMap::new();
    while names.len() < 30 {
        let (jid, name) = device
            .wait("a contact", |event| match event {
                Event::ContactUpdate(update) => {
                    assert!(update.from_full_sync);
                    Some((update.jid.clone(), update.action.full_name.clone().unwrap()))
                }
                _ => None,
            })
            .await;
        assert!(names.insert(jid.user.to_string(), name).is_none(), "each entry once, as it is now");
    }
    assert_eq!(names[&person(3)], "Changed Since");
    assert_eq!(names[&person(4)], "Old Name 4");
    let files = || sandbox.list_media().into_iter().filter(|file| file.kind == "md-app-state").count();
    assert_eq!(files(), 1);

    // It goes on with patches, of the phone and of its own, and the sums stay right.
    sandbox.save_contact(ALICE, BOB, "Bob", "").await.unwrap();
    let next = device
        .wait("the next contact", |event| match event {
            Event::ContactUpdate(update) => Some((update.jid.clone(), update.from_full_sync)),
            _ => None,
        })
        .await;
    assert_eq!(next, (Jid::pn(BOB), false));
    device
        .client
        .chat_actions()
        .save_contact(&Jid::pn(BOB), Some("Robert Builder".into()), Some("Robert".into()), false)
        .await
        .unwrap();
    // A second device gets a new file with all of it; a third one the same.
    let second = running.client().await;
    let code = second.qr().await;
    sandbox.scan_qr(ALICE, &code).await.unwrap();
    second
        .wait("the contact of the other device", |event| {
            matches!(event, Event::ContactUpdate(it) if it.action.full_name.as_deref() == Some("Robert Builder")).then_some(())
        })
        .await;
    assert_eq!(files(), 2);
    let _third = running.linked(ALICE).await;
    assert_eq!(files(), 2, "a file is put up once for a version");
}

/// The file cannot be had at first: the device asks again and has all of it in the end.
#[tokio::test]
async fn a_file_that_fails_is_fetched_again() {
    let running = Running::with_phones().await;
    let sandbox = &running.sandbox;
    for at in 0..12 {
        sandbox.save_contact(ALICE, BOB, &format!("Name {at}"), "").await.unwrap();
    }
    let stanza = "media/download/md-app-state".to_owned();
    sandbox.create_fault(FaultSpec { stanza, ..FaultSpec::once(FaultKind::MediaNotFound) }).unwrap();
    let device = running.client().await;
    let code = device.qr().await;
    sandbox.scan_qr(ALICE, &code).await.unwrap();
    device
        .wait("the contact", |event| {
            matches!(event, Event::ContactUpdate(it) if it.action.full_name.as_deref() == Some("Name 11")).then_some(())
        })
        .await;
    assert_eq!(sandbox.list_faults()[0].injected, 1);
}

/// What is done on one device happens on the others too, in every collection.
#[tokio::test]
async fn what_one_device_does_the_other_sees() {
    let running = Running::with_phones().await;
    let first = running.linked(ALICE).await;
    let second = running.linked(ALICE).await;
    let sent = running.sandbox.send_message(BOB, ALICE, "hello").await.unwrap().id;
    first.text("hello").await;
    let bob = Jid::pn(BOB);
    let actions = first.client.chat_actions();
    let sees = async |what: &'static str, seen: fn(&Event) -> bool| second.wait(what, |event| seen(event).then_some(())).await;
    actions.archive_chat(&bob, None).await.unwrap();
    sees("archived", |event| matches!(event, Event::ArchiveUpdate(it) if it.action.archived == Some(true))).await;
    actions.unarchive_chat(&bob, None).await.unwrap();
    sees("unarchived", |event| matches!(event, Event::ArchiveUpdate(it) if it.action.archived == Some(false))).await;
    actions.star_message(&bob, None, &sent, false).await.unwrap();
    sees("starred", |event| matches!(event, Event::StarUpdate(it) if it.action.starred == Some(true))).await;
    actions.mark_chat_as_read(&bob, false, None).await.unwrap();
    sees("unread", |event| matches!(event, Event::MarkChatAsReadUpdate(it) if it.action.read == Some(false))).await;
    actions.save_contact(&bob, Some("Bob the Baker".into()), Some("Bob".into()), true).await.unwrap();
    sees("named", |event| matches!(event, Event::ContactUpdate(it) if it.action.first_name.as_deref() == Some("Bob"))).await;
    actions.delete_message_for_me(&bob, None, &sent, false, false, None).await.unwrap();
    sees("a message less", |event| matches!(event, Event::DeleteMessageForMeUpdate(_))).await;
    actions.clear_chat(&bob, true, true, None).await.unwrap();
    sees("emptied", |event| matches!(event, Event::ClearChatUpdate(_))).await;
    actions.delete_chat(&bob, true, None).await.unwrap();
    sees("gone", |event| matches!(event, Event::DeleteChatUpdate(_))).await;
    first.client.labels().create_label("7", "Paid", 3).await.unwrap();
    sees("a label", |event| matches!(event, Event::LabelEditUpdate(_))).await;
    first.client.labels().add_chat_label("7", &bob).await.unwrap();
    sees("labelled", |event| matches!(event, Event::LabelAssociationUpdate(_))).await;
}

//! What accounts tell about themselves, to whom, and what their own devices agree on.

use wacore::iq::privacy::{PrivacyCategory, PrivacyValue};
use wacore::types::events::Event;
use wacore_binary::Jid;
use whatsapp_gateway::sandbox::fault::{FaultKind, FaultSpec};

use super::client::{ALICE, BOB, Peer, Running};

/// Alice's and Bob's devices, which have written to each other.
async fn acquainted() -> (Running, Peer, Peer) {
    let running = Running::with_phones().await;
    let (alice, bob) = (running.linked(ALICE).await, running.linked(BOB).await);
    alice.client.send_text(Jid::pn(BOB), "hello").await.unwrap();
    bob.text("hello").await;
    (running, alice, bob)
}

async fn info(peer: &Peer, number: &str) -> whatsapp_rust::UserInfo {
    let jid = Jid::pn(number);
    let mut infos = peer.client.contacts().get_user_info(std::slice::from_ref(&jid)).await.unwrap();
    infos.remove(&jid).unwrap()
}

#[tokio::test]
async fn about_and_picture_are_shown_and_told() {
    let (_running, alice, bob) = acquainted().await;
    bob.client.profile().set_status_text("gone fishing").await.unwrap();
    let about = alice.wait("bob's about", |event| match event {
        Event::UserAboutUpdate(update) => Some(update.status.clone()),
        _ => None,
    });
    assert_eq!(about.await, "gone fishing");
    let seen = info(&alice, BOB).await;
    assert_eq!((seen.status.as_deref(), seen.picture_id.as_deref()), (Some("gone fishing"), None));
    assert!(seen.lid.is_some() && seen.devices.len() == 2);

    let id = bob.client.profile().set_profile_picture(vec![0xff, 0xd8, 0xff]).await.unwrap().id;
    let told = alice.wait("bob's picture", |event| match event {
        Event::PictureUpdate(update) => Some((update.removed, update.picture_id.clone())),
        _ => None,
    });
    assert_eq!(told.await, (false, Some(id.clone())));
    let shown = alice.client.contacts().get_profile_picture(&Jid::pn(BOB), false).await.unwrap().unwrap();
    assert_eq!(shown.id, id);
    assert_eq!(info(&alice, BOB).await.picture_id, Some(id.clone()));
    let second = bob.client.profile().set_profile_picture(vec![0xff, 0xd8, 0xfe]).await.unwrap().id;
    assert_ne!(second, id, "each picture has an id of its own");
    bob.client.profile().remove_profile_picture().await.unwrap();
    alice.wait("no picture", |event| matches!(event, Event::PictureUpdate(update) if update.removed).then_some(())).await;
    assert!(alice.client.contacts().get_profile_picture(&Jid::pn(BOB), false).await.unwrap().is_none());
}

#[tokio::test]
async fn privacy_is_kept_and_obeyed() {
    let (_running, alice, bob) = acquainted().await;
    bob.client.set_privacy_setting(PrivacyCategory::Status, PrivacyValue::None).await.unwrap();
    let settings = bob.client.fetch_privacy_settings().await.unwrap();
    let status = settings.settings.iter().find(|setting| setting.category == PrivacyCategory::Status).unwrap();
    assert_eq!(status.value, PrivacyValue::None);
    assert!(info(&alice, BOB).await.status.is_none_or(|about| about.is_empty()), "what is hidden is not shown");
    // Who wants to be asked cannot be added to groups, only invited.
    bob.client.set_privacy_setting(PrivacyCategory::GroupAdd, PrivacyValue::None).await.unwrap();
    let group = alice.client.groups().create_group(whatsapp_rust::GroupCreateOptions::new("G")).await.unwrap().metadata.id;
    let added = alice.client.groups().add_participants(group.clone(), &[Jid::pn(BOB)]).await.unwrap();
    assert_eq!(added[0].error.as_deref(), Some("403"));
    let invitation = added[0].add_request.clone().unwrap();
    let expiration = i64::try_from(invitation.expiration).unwrap();
    let joined =
        bob.client.groups().join_with_invite_v4(group.clone(), &invitation.code, expiration, Jid::pn(ALICE)).await.unwrap();
    assert_eq!(joined, whatsapp_rust::JoinGroupResult::Joined(group));
}

#[tokio::test]
async fn who_is_blocked_is_not_heard() {
    let (running, alice, bob) = acquainted().await;
    let jid = Jid::pn(BOB);
    alice.client.blocking().block(&jid).await.unwrap();
    assert_eq!(alice.client.blocking().get_blocklist().await.unwrap().len(), 1);
    bob.client.send_text(Jid::pn(ALICE), "can you hear me?").await.unwrap();
    alice.client.blocking().unblock(&jid).await.unwrap();
    assert!(alice.client.blocking().get_blocklist().await.unwrap().is_empty());
    bob.client.send_text(Jid::pn(ALICE), "and now?").await.unwrap();
    alice.text("and now?").await;
    let rows = running.sandbox.list_messages(ALICE, Some(BOB)).await.unwrap();
    assert!(rows.iter().all(|row| row.text != "can you hear me?"), "{rows:?}");
}

#[tokio::test]
async fn numbers_are_found_and_have_lids() {
    let (running, alice, _bob) = acquainted().await;
    let asked = [Jid::pn(BOB), Jid::pn("5511900000099")];
    let found = alice.client.contacts().is_on_whatsapp(&asked).await.unwrap();
    let bob = found.iter().find(|result| result.jid.user == BOB).unwrap();
    assert!(bob.is_registered);
    assert_eq!(bob.lid.as_ref().unwrap().to_string(), running.sandbox.get_phone(BOB).await.unwrap().lid);
    assert!(found.iter().filter(|result| result.jid.user != BOB).all(|result| !result.is_registered));
}

#[tokio::test]
async fn a_change_of_the_app_state_reaches_the_other_devices() {
    let running = Running::with_phones().await;
    let first = running.linked(ALICE).await;
    let second = running.linked(ALICE).await;
    let chat = Jid::pn(BOB);
    first.client.chat_actions().pin_chat(&chat).await.unwrap();
    second.wait("the pin", |event| matches!(event, Event::PinUpdate(_)).then_some(())).await;
    second.client.chat_actions().mute_chat(&chat).await.unwrap();
    first.wait("the mute", |event| matches!(event, Event::MuteUpdate(_)).then_some(())).await;
    first.client.profile().set_push_name("Alice II").await.unwrap();
    running.phone(ALICE, "the phone has the name", |phone| (phone.push_name == "Alice II").then_some(())).await;
    // A conflict is resolved by the client with what it missed.
    running
        .sandbox
        .create_fault(FaultSpec { phone_number: ALICE.into(), ..FaultSpec::once(FaultKind::AppStateConflict) })
        .unwrap();
    let _ = first.client.chat_actions().unpin_chat(&chat).await;
    assert_eq!(running.sandbox.list_faults()[0].injected, 1);
    first.client.chat_actions().unpin_chat(&chat).await.unwrap();
    second.wait("the unpin", |event| matches!(event, Event::PinUpdate(_)).then_some(())).await;
    // A device that comes later has it all.
    let third = running.linked(ALICE).await;
    third.wait("the mute", |event| matches!(event, Event::MuteUpdate(_)).then_some(())).await;
}

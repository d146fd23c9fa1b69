//! Clients of other authors: they come by XX, register by themselves, and want things in their own order.

use wacore_binary::Jid;
use waproto::whatsapp::client_payload::DevicePairingRegistrationData;
use whatsapp_gateway::sandbox::MessageState;

use super::client::{ALICE, BOB, Running};
use super::raw::{Keys, Raw, SERVER, attr, child, content, el};

#[tokio::test]
async fn a_client_registers_by_itself_is_linked_and_gets_messages() {
    let running = Running::with_phones().await;
    let mut keys = Keys::generate();
    let device = Raw::link(&running, &keys, ALICE).await;
    assert_eq!(device, 1);
    // Written before it has ever logged in: the keys that it registered are enough.
    running.sandbox.send_message(BOB, ALICE, "welcome").await.unwrap();
    let mut raw = Raw::log_in(running.address, &keys, ALICE, device).await;
    raw.make_ready(&keys).await;
    assert_eq!(raw.text(&mut keys).await, "welcome");
    running.sandbox.send_message(BOB, ALICE, "and live").await.unwrap();
    assert_eq!(raw.text(&mut keys).await, "and live");
    running.phone(ALICE, "everything acknowledged", |phone| (phone.devices[0].queued == 0).then_some(())).await;
    let phone = running.sandbox.get_phone(ALICE).await.unwrap();
    assert_eq!((phone.devices[0].os.as_str(), phone.devices[0].platform.as_str()), ("Plan 9", "FIREFOX"));
    // And at its next login it needs no new keys.
    raw.leave().await;
    running.phone(ALICE, "gone", |phone| (!phone.devices[0].online).then_some(())).await;
    let mut raw = Raw::log_in(running.address, &keys, ALICE, device).await;
    let count = raw.ask("encrypt", "get", vec![el("count").build()]).await;
    assert_ne!(attr(child(&count, "count"), "value"), "0");
}

#[tokio::test]
async fn its_keys_are_handed_out_with_an_identity_that_others_can_check() {
    let running = Running::with_phones().await;
    let (keys, other) = (Keys::generate(), Keys::generate());
    Raw::link(&running, &keys, ALICE).await;
    let device = Raw::link(&running, &other, BOB).await;
    let mut raw = Raw::log_in(running.address, &other, BOB, device).await;
    let user = el("user").attr("jid", Jid::pn_device(ALICE, 1)).build();
    let answer = raw.ask("encrypt", "get", vec![el("key").children([user]).build()]).await;
    let user = child(child(&answer, "list"), "user");
    assert_eq!(content(child(user, "registration")), keys.registration_id.to_be_bytes());
    assert_eq!(content(child(user, "identity")), keys.identity.public_key.public_key_bytes());
    assert_eq!(content(child(child(user, "skey"), "value")), keys.signed.public_key.public_key_bytes());
    // It left the account's key out when it signed; whoever asks gets it all the same.
    let identity = content(child(user, "device-identity"));
    let identity = <waproto::whatsapp::ADVSignedDeviceIdentity as buffa::Message>::decode_from_slice(&identity).unwrap();
    assert_eq!(identity.account_signature_key.map(|key| key.len()), Some(32));
    assert!(identity.device_signature.is_some());
}

/// Every part that the real server would not believe.
#[tokio::test]
async fn a_registration_that_cannot_be_true_is_refused() {
    type Spoil = fn(&mut DevicePairingRegistrationData);
    let running = Running::with_phones().await;
    let keys = Keys::generate();
    let cases: [(&str, Spoil); 9] = [
        ("no registration id", |data| data.e_regid = None),
        ("a long registration id", |data| data.e_regid = Some(vec![1; 5])),
        ("another key type", |data| data.e_keytype = Some(vec![6])),
        ("a short identity", |data| data.e_ident = Some(vec![1; 31])),
        ("somebody else's identity", |data| data.e_ident = Some(vec![9; 32])),
        ("a long prekey id", |data| data.e_skey_id = Some(vec![0; 4])),
        ("a signature of something else", |data| data.e_skey_sig.as_mut().unwrap()[3] ^= 1),
        ("no build hash", |data| data.build_hash = None),
        ("properties that are none", |data| data.device_props = Some(vec![0xff; 7])),
    ];
    for (what, spoil) in cases {
        let mut data = keys.registration();
        spoil(&mut data);
        let mut raw = Raw::register(running.address, &keys, data).await;
        let failure = raw.next().await.unwrap_or_else(|| panic!("{what}: closed without a word"));
        assert_eq!((failure.tag.as_ref(), attr(&failure, "reason").as_str()), ("failure", "400"), "{what}");
        raw.ended().await;
    }
    // The same without a fault is welcome.
    Raw::link(&running, &keys, ALICE).await;
}

#[tokio::test]
async fn a_code_of_another_identity_and_a_forged_signature_link_nothing() {
    let running = Running::with_phones().await;
    let (keys, other) = (Keys::generate(), Keys::generate());
    let mut raw = Raw::register(running.address, &keys, keys.registration()).await;
    let reference = raw.reference().await;
    let refused = running.sandbox.scan_qr(ALICE, &other.qr(&reference)).await.unwrap_err();
    assert!(refused.to_string().contains("another identity"), "{refused}");
    // It signs with a key that is not the one of its code.
    let forged = async {
        let success = raw.until("iq").await;
        let bytes = content(child(child(&success, "pair-success"), "device-identity"));
        let hmac = <waproto::whatsapp::ADVSignedDeviceIdentityHMAC as buffa::Message>::decode_from_slice(&bytes).unwrap();
        let mut signed =
            <waproto::whatsapp::ADVSignedDeviceIdentity as buffa::Message>::decode_from_slice(&hmac.details.unwrap()).unwrap();
        signed.device_signature = Some(vec![3; 64]);
        let identity = el("device-identity").attr("key-index", "1").bytes(buffa::Message::encode_to_vec(&signed)).build();
        let sign = el("pair-device-sign").children([identity]).build();
        raw.send(el("iq").attr("to", SERVER).attr("type", "result").attr("id", attr(&success, "id")).children([sign]).build())
            .await;
        raw.ended().await;
    };
    let code = keys.qr(&reference);
    let (scanned, ()) = tokio::join!(running.sandbox.scan_qr(ALICE, &code), forged);
    assert!(scanned.unwrap_err().to_string().contains("signature"));
    assert!(running.sandbox.get_phone(ALICE).await.unwrap().devices.is_empty());
}

#[tokio::test]
async fn keys_that_nobody_could_use_are_not_published() {
    let running = Running::with_phones().await;
    let keys = Keys::generate();
    let device = Raw::link(&running, &keys, ALICE).await;
    let mut raw = Raw::log_in(running.address, &keys, ALICE, device).await;
    let mut wrong_signature = Keys::generate();
    wrong_signature.signature = [1; 64];
    for wrong in [&wrong_signature, &Keys::generate()] {
        let refused = raw.publish(wrong).await;
        assert_eq!(attr(child(&refused, "error"), "code"), "406", "{refused:?}");
    }
    assert_eq!(attr(&raw.publish(&keys).await, "type"), "result");
}

/// What other clients wait for before they call a connection open, and how they keep it.
#[tokio::test]
async fn every_question_at_the_beginning_has_an_answer() {
    let running = Running::with_phones().await;
    let keys = Keys::generate();
    let device = Raw::link(&running, &keys, ALICE).await;
    let mut raw = Raw::log_in(running.address, &keys, ALICE, device).await;
    raw.make_ready(&keys).await;
    // All five collections at once, from nothing: each has an answer with its version, or the client would ask for ever.
    let names = ["critical_block", "critical_unblock_low", "regular_high", "regular_low", "regular"];
    let asked =
        names.map(|name| el("collection").attr("name", name).attr("version", "0").attr("return_snapshot", "true").build());
    let answer = raw.ask("w:sync:app:state", "set", vec![el("sync").children(asked).build()]).await;
    let answered = child(&answer, "sync").children().unwrap();
    let mut answered: Vec<(String, bool)> = answered
        .iter()
        .map(|collection| (attr(collection, "name"), attr(collection, "version").parse::<u64>().is_ok()))
        .collect();
    answered.sort();
    let mut wanted = names.map(|name| (name.to_owned(), true));
    wanted.sort();
    assert_eq!(answered, wanted);
    for (namespace, kind) in [("w:p", "get"), ("urn:xmpp:ping", "get")] {
        let pong = raw.ask(namespace, kind, vec![el("ping").build()]).await;
        assert_eq!(attr(&pong, "type"), "result");
    }
}

#[tokio::test]
async fn a_client_that_logs_out_and_hangs_up_at_once_is_gone() {
    let running = Running::with_phones().await;
    let keys = Keys::generate();
    let device = Raw::link(&running, &keys, ALICE).await;
    let mut raw = Raw::log_in(running.address, &keys, ALICE, device).await;
    let out = el("remove-companion-device").attr("jid", Jid::pn_device(ALICE, device)).attr("reason", "user_initiated");
    raw.question("md", "set", vec![out.build()]).await;
    raw.leave().await;
    running.phone(ALICE, "the device is gone", |phone| phone.devices.is_empty().then_some(())).await;
    let payload =
        waproto::whatsapp::ClientPayload { username: ALICE.parse().ok(), device: Some(u32::from(device)), ..Default::default() };
    let mut again = Raw::connect(running.address, &keys.noise, &payload).await;
    assert_eq!(attr(&again.next().await.unwrap(), "reason"), "401");
}

/// The real library and a stranger on two sides of one chat.
#[tokio::test]
async fn a_stranger_and_the_library_write_to_each_others_accounts() {
    let running = Running::with_phones().await;
    let mut keys = Keys::generate();
    let device = Raw::link(&running, &keys, ALICE).await;
    let mut raw = Raw::log_in(running.address, &keys, ALICE, device).await;
    raw.make_ready(&keys).await;
    let bob = running.linked(BOB).await;
    bob.client.send_text(Jid::pn(ALICE), "from the library").await.unwrap();
    assert_eq!(raw.text(&mut keys).await, "from the library");
    let row = |rows: &[whatsapp_gateway::sandbox::PhoneMessage]| {
        rows.iter().any(|row| row.text == "from the library" && row.state == MessageState::Received).then_some(())
    };
    running.messages(ALICE, "the phone has it too", row).await;
}

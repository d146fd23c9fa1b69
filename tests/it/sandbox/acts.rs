//! What people do with their phones beside writing: files, reading, typing, being there, calls, status posts, changes of who they are.

use std::time::Duration;

use wacore::download::MediaType;
use wacore::iq::privacy::{PrivacyCategory, PrivacyValue};
use wacore::types::call::CallAction;
use wacore::types::events::{Event, InboundMessage};
use wacore_binary::Jid;
use whatsapp_gateway::domain::clock::Ambient;
use whatsapp_gateway::sandbox::draft::{Content, Draft, File, FileKind};
use whatsapp_gateway::sandbox::{CallState, Direction, MessageState, PhoneChange, PhoneMessage, SandboxConfig, Typing};

use super::client::{ALICE, BOB, Peer, Running};

const CAROL: &str = "5511900000003";
const NEW: &str = "5511900000042";

async fn arrival(peer: &Peer, id: &str) -> InboundMessage {
    peer.wait(id, |event| match event {
        Event::Messages(batch) => batch.iter().find(|message| message.info.id == id).cloned(),
        _ => None,
    })
    .await
}

fn row(id: &str, fits: impl Fn(&PhoneMessage) -> bool) -> impl Fn(&[PhoneMessage]) -> Option<PhoneMessage> {
    let id = id.to_owned();
    move |rows| rows.iter().find(|row| row.id == id && fits(row)).cloned()
}

#[tokio::test]
async fn files_go_from_phone_to_device_and_phone() {
    let running = Running::with_phones().await;
    let alice = running.linked(ALICE).await;
    let kinds = [FileKind::Image, FileKind::Audio, FileKind::Document, FileKind::Sticker, FileKind::Video];
    for kind in kinds {
        let bytes = if kind == FileKind::Video { b"\0\0\0\x18ftypmp42 not much of a film".to_vec() } else { Vec::new() };
        let mut file = File::new(kind, bytes);
        (file.file_name, file.voice, file.seconds) = ("note.txt".into(), kind == FileKind::Audio, 3);
        if matches!(kind, FileKind::Image | FileKind::Video | FileKind::Document) {
            file.caption = "look".into();
        }
        let sent = running.sandbox.send_message(BOB, ALICE, Draft::file(file)).await.unwrap();
        let got = arrival(&alice, &sent.id).await;
        macro_rules! of {
            ($field:ident) => {{
                let it = got.message.$field.as_option().unwrap();
                (it.direct_path.clone().unwrap(), it.media_key.clone().unwrap(), it.file_sha256.clone().unwrap())
            }};
        }
        let ((path, key, hash), media, name) = match kind {
            FileKind::Image => (of!(image_message), MediaType::Image, "image"),
            FileKind::Video => (of!(video_message), MediaType::Video, "video"),
            FileKind::Audio => (of!(audio_message), MediaType::Audio, "audio"),
            FileKind::Document => (of!(document_message), MediaType::Document, "document"),
            FileKind::Sticker => (of!(sticker_message), MediaType::Sticker, "sticker"),
        };
        let plain = running.sandbox.download_media(&path, &key, media).unwrap();
        assert_eq!(<sha2::Sha256 as sha2::Digest>::digest(&plain).to_vec(), hash);
        let shown = running.messages(ALICE, "on alice's phone", row(&sent.id, |_| true)).await;
        assert_eq!(shown.kind, name);
        assert_eq!(running.sandbox.open_file(ALICE, &sent.id).unwrap().1, plain);
        let info = shown.media.unwrap();
        assert_eq!(info.length, u64::try_from(plain.len()).unwrap());
        match kind {
            FileKind::Image => assert!((info.width, info.thumbnail > 0) == (320, true) && shown.text == "look"),
            FileKind::Audio => assert!(info.voice && info.seconds == 3),
            FileKind::Document => assert_eq!((info.file_name.as_str(), shown.text.as_str()), ("note.txt", "look")),
            FileKind::Sticker => assert_eq!((info.mime_type.as_str(), info.width), ("image/webp", 512)),
            FileKind::Video => assert_eq!(info.mime_type, "video/mp4"),
        }
    }
    // Once only, and as part of an album.
    let once = Draft { view_once: true, ..Draft::file(File::new(FileKind::Image, Vec::new())) };
    let sent = running.sandbox.send_message(BOB, ALICE, once).await.unwrap();
    assert!(arrival(&alice, &sent.id).await.message.view_once_message_v2.is_set() && sent.view_once);
    let head = running.sandbox.send_message(BOB, ALICE, Content::Album { images: 1, videos: 0 }).await.unwrap();
    assert_eq!(arrival(&alice, &head.id).await.message.album_message.as_option().unwrap().expected_image_count, Some(1));
    let part = File { album: Some(head.id.clone()), ..File::new(FileKind::Image, Vec::new()) };
    let part = running.sandbox.send_message(BOB, ALICE, Draft::file(part)).await.unwrap();
    let shown = running.messages(ALICE, "in the album", row(&part.id, |_| true)).await;
    assert_eq!(shown.media.unwrap().album, Some(head.id));
    running.sandbox.send_message(BOB, ALICE, Draft::file(File::new(FileKind::Video, Vec::new()))).await.unwrap_err();
}

#[tokio::test]
async fn a_phone_reads_and_plays_as_its_privacy_allows() {
    let running = Running::start().await;
    for (number, name) in [(ALICE, "Alice"), (BOB, "Bob")] {
        running.sandbox.create_phone(number, name, false).await.unwrap();
    }
    let (alice, bob) = (running.linked(ALICE).await, running.linked(BOB).await);
    let send = async |text: &str| {
        let sent = alice.client.send_text(Jid::pn(BOB), text).await.unwrap().message_id;
        running.messages(BOB, "bob has it", row(&sent, |row| row.read_at.is_none())).await;
        sent
    };
    let (one, two) = (send("one").await, send("two").await);
    let read = running.sandbox.read_messages(BOB, ALICE, std::slice::from_ref(&one), false).await.unwrap();
    assert!(read.len() == 1 && read[0].read_at.is_some());
    running.messages(ALICE, "one is read", row(&one, |row| row.state == MessageState::Read)).await;
    let rest = running.sandbox.read_messages(BOB, ALICE, &[], true).await.unwrap();
    assert_eq!(rest.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), [two.as_str()]);
    running.messages(ALICE, "two is played", row(&two, |row| row.state == MessageState::Played)).await;
    running.sandbox.read_messages(BOB, ALICE, &["3ANONE".to_owned()], false).await.unwrap_err();

    // Bob tells nobody any more what he reads, but his own device learns of it.
    let silent = PrivacyCategory::ReadReceipts;
    bob.client.set_privacy_setting(silent, PrivacyValue::None).await.unwrap();
    let three = send("three").await;
    running.sandbox.read_messages(BOB, ALICE, &[], false).await.unwrap();
    bob.wait("read by himself", |event| match event {
        Event::Receipt(receipt) => (format!("{:?}", receipt.r#type) == "ReadSelf").then_some(()),
        _ => None,
    })
    .await;
    let seen = running.messages(ALICE, "three arrived", row(&three, |row| row.state >= MessageState::Delivered)).await;
    assert_eq!(seen.state, MessageState::Delivered);
}

#[tokio::test]
async fn typing_and_presence_reach_only_those_who_are_there() {
    let running = Running::with_phones().await;
    let alice = running.linked(ALICE).await;
    alice.client.presence().subscribe(Jid::pn(BOB)).await.unwrap();
    running.sandbox.update_phone(BOB, PhoneChange { online: Some(true), ..PhoneChange::default() }).await.unwrap();
    let presence = async |away: bool| {
        alice
            .wait("bob's presence", |event| match event {
                Event::Presence(presence) if presence.unavailable == away => Some(presence.last_seen),
                _ => None,
            })
            .await
    };
    presence(false).await;
    for (state, word) in
        [(Typing::Composing, "Composing Text"), (Typing::Recording, "Composing Audio"), (Typing::Paused, "Paused Text")]
    {
        running.sandbox.typing(BOB, ALICE, state).await.unwrap();
        alice
            .wait(word, |event| match event {
                Event::ChatPresence(it) => (format!("{:?} {:?}", it.state, it.media) == word).then_some(()),
                _ => None,
            })
            .await;
    }
    let bob = running.sandbox.update_phone(BOB, PhoneChange { online: Some(false), ..PhoneChange::default() }).await.unwrap();
    while presence(true).await.is_none() {}
    assert!(!bob.online && bob.last_seen.is_some());
    // Who does not want to know any more is told no more; what is typed comes unasked. The answer to a question shows how far it is.
    alice.client.presence().unsubscribe(&Jid::pn(BOB)).await.unwrap();
    alice.client.fetch_privacy_settings().await.unwrap();
    for online in [true, false] {
        running.sandbox.update_phone(BOB, PhoneChange { online: Some(online), ..PhoneChange::default() }).await.unwrap();
    }
    running.sandbox.typing(BOB, ALICE, Typing::Composing).await.unwrap();
    alice
        .wait("what is typed", |event| match event {
            Event::Presence(presence) if !presence.unavailable => panic!("told unasked: {presence:?}"),
            Event::ChatPresence(_) => Some(()),
            _ => None,
        })
        .await;
    // Who is known to be away receives in silence.
    let sent = alice.client.send_text(Jid::pn(BOB), "are you there?").await.unwrap().message_id;
    let kind = alice
        .wait("a receipt", |event| match event {
            Event::Receipt(receipt) => receipt.message_ids.contains(&sent).then(|| format!("{:?}", receipt.r#type)),
            _ => None,
        })
        .await;
    assert_eq!(kind, "Inactive");
    // What is typed while nobody is there is not kept.
    let backend = alice.stop().await;
    running.phone(ALICE, "offline", |phone| (!phone.devices[0].online).then_some(())).await;
    let before = running.sandbox.get_phone(ALICE).await.unwrap().devices[0].queued;
    running.sandbox.typing(BOB, ALICE, Typing::Composing).await.unwrap();
    assert_eq!(running.sandbox.get_phone(ALICE).await.unwrap().devices[0].queued, before);
    drop(Peer::new(running.address, backend, None).await);
}

#[tokio::test]
async fn a_phone_calls_and_is_declined_hangs_up_and_waits_in_vain() {
    let running = Running::with_phones().await;
    let alice = running.linked(ALICE).await;
    let rings = async || {
        alice
            .wait("it rings", |event| match event {
                Event::IncomingCall(call) => match &call.action {
                    CallAction::Offer { call_id, call_creator, is_video, .. } => {
                        Some((call_id.clone(), call.from.clone(), call_creator.clone(), *is_video))
                    }
                    _ => None,
                },
                _ => None,
            })
            .await
    };
    let ended = async |id: &str| {
        alice
            .wait("the end", |event| match event {
                Event::IncomingCall(call) => match &call.action {
                    CallAction::Terminate { call_id, .. } => (call_id == id).then_some(()),
                    _ => None,
                },
                _ => None,
            })
            .await;
    };
    let state = async |number: &str, id: &str, state: CallState| {
        super::client::eventually("the call's state", || async {
            running.sandbox.list_calls(number).unwrap().into_iter().find(|call| call.id == id && call.state == state)
        })
        .await
    };
    let long = Duration::from_secs(600);
    let call = running.sandbox.start_call(BOB, ALICE, true, long).await.unwrap();
    let (id, from, creator, video) = rings().await;
    assert_eq!((id.as_str(), video, call.state), (call.id.as_str(), true, CallState::Ringing));
    alice.client.voip().reject_call(&id, &from, &creator).await.unwrap();
    state(BOB, &id, CallState::Rejected).await;
    // Alice's own phone stops ringing.
    let own = state(ALICE, &id, CallState::Rejected).await;
    assert_eq!((own.direction, own.peer), (Direction::In, format!("{BOB}@s.whatsapp.net")));
    running.sandbox.end_call(BOB, &id).await.unwrap_err();

    let call = running.sandbox.start_call(BOB, ALICE, false, long).await.unwrap();
    rings().await;
    running.sandbox.end_call(BOB, &call.id).await.unwrap();
    ended(&call.id).await;
    let call = running.sandbox.start_call(BOB, ALICE, false, Duration::from_millis(1)).await.unwrap();
    ended(&call.id).await;
    state(BOB, &call.id, CallState::TimedOut).await;
    state(ALICE, &call.id, CallState::TimedOut).await;
}

#[tokio::test]
async fn status_posts_reach_their_audience_alone() {
    let running = Running::with_phones().await;
    running.sandbox.create_phone(CAROL, "Carol", true).await.unwrap();
    let alice = running.linked(ALICE).await;
    // From a phone to a device and another phone.
    let post = Draft { audience: vec![ALICE.into()], ..Draft::from("my day") };
    let sent = running.sandbox.send_message(BOB, "status@broadcast", post).await.unwrap();
    let got = arrival(&alice, &sent.id).await;
    assert_eq!(got.info.source.chat.to_string(), "status@broadcast");
    let shown = running.messages(ALICE, "on alice's phone", row(&sent.id, |row| row.text == "my day")).await;
    assert_eq!((shown.chat.as_str(), shown.sender), ("status@broadcast", format!("{BOB}@s.whatsapp.net")));
    running.messages(BOB, "alice has seen it", row(&sent.id, |row| row.state == MessageState::Read)).await;
    // Another audience: who saw the first does not see the second.
    let post = Draft { audience: vec![CAROL.into()], ..Draft::from("for carol") };
    let second = running.sandbox.send_message(BOB, "status@broadcast", post).await.unwrap();
    running.messages(CAROL, "carol sees it", row(&second.id, |row| row.text == "for carol")).await;
    assert!(running.sandbox.list_messages(ALICE, None).await.unwrap().iter().all(|row| row.id != second.id));
    running.sandbox.send_message(BOB, ALICE, Draft { audience: vec![CAROL.into()], ..Draft::from("x") }).await.unwrap_err();
    // From a device, twice: the second needs no more keys.
    for text in ["one", "two"] {
        let font = waproto::whatsapp::message::extended_text_message::FontType::SYSTEM;
        let to = [Jid::pn(BOB)];
        let sent = alice.client.status().send_text(text, 0, font, &to, Default::default()).await.unwrap();
        running.messages(BOB, text, row(&sent.message_id, |row| row.text == text && row.chat == "status@broadcast")).await;
    }
}

#[tokio::test]
async fn those_who_know_a_person_learn_of_changes() {
    let running = Running::with_phones().await;
    running.sandbox.create_phone(CAROL, "Carol", true).await.unwrap();
    let (alice, carol) = (running.linked(ALICE).await, running.linked(CAROL).await);
    running.sandbox.send_message(BOB, ALICE, "hello").await.unwrap();
    alice.text("hello").await;
    let phone = running.sandbox.set_picture(BOB, Some(vec![0xff, 0xd8, 1])).await.unwrap();
    let id = alice
        .wait("the picture", |event| match event {
            Event::PictureUpdate(update) => Some(update.picture_id.clone()),
            _ => None,
        })
        .await;
    assert!(id.is_some() && id == phone.picture_id);
    let change = PhoneChange { about: Some("busy".into()), push_name: Some("Robert".into()), ..PhoneChange::default() };
    let phone = running.sandbox.update_phone(BOB, change).await.unwrap();
    assert_eq!((phone.about.as_str(), phone.push_name.as_str()), ("busy", "Robert"));
    alice
        .wait("the about", |event| match event {
            Event::UserAboutUpdate(update) => (update.status == "busy").then_some(()),
            _ => None,
        })
        .await;
    let sent = running.sandbox.send_message(BOB, ALICE, "it's me").await.unwrap();
    assert_eq!(arrival(&alice, &sent.id).await.info.push_name, "Robert");

    // A new identity: the next messages go through both ways.
    running.sandbox.reinstall(BOB).await.unwrap();
    alice.wait("the new identity", |event| matches!(event, Event::IdentityChange(_)).then_some(())).await;
    running.sandbox.send_message(BOB, ALICE, "from the new phone").await.unwrap();
    alice.text("from the new phone").await;
    let sent = alice.client.send_text(Jid::pn(BOB), "to the new phone").await.unwrap().message_id;
    running.messages(BOB, "read with the new keys", row(&sent, |row| row.text == "to the new phone")).await;

    // A new number.
    running.sandbox.change_number(BOB, CAROL).await.unwrap_err();
    let phone = running.sandbox.change_number(BOB, NEW).await.unwrap();
    assert_eq!(phone.number, NEW);
    let (old, new) = alice
        .wait("the new number", |event| match event {
            Event::ContactNumberChanged(change) => Some((change.old_jid.user.to_string(), change.new_jid.user.to_string())),
            _ => None,
        })
        .await;
    assert_eq!((old.as_str(), new.as_str()), (BOB, NEW));
    running.sandbox.get_phone(BOB).await.unwrap_err();
    running.sandbox.send_message(NEW, ALICE, "from the new number").await.unwrap();
    alice.text("from the new number").await;
    let sent = alice.client.send_text(Jid::pn(NEW), "to the new number").await.unwrap().message_id;
    running.messages(NEW, "at the new number", row(&sent, |row| row.text == "to the new number")).await;

    // Who is blocked is not heard; whoever does not know Bob learned of nothing.
    running.sandbox.block(ALICE, NEW, true).await.unwrap();
    let lost = running.sandbox.send_message(NEW, ALICE, "anybody?").await.unwrap();
    running.sandbox.block(ALICE, NEW, false).await.unwrap();
    running.sandbox.send_message(NEW, ALICE, "again").await.unwrap();
    alice.text("again").await;
    assert!(running.sandbox.list_messages(ALICE, None).await.unwrap().iter().all(|row| row.id != lost.id));
    let curious = |event: &Event| {
        matches!(
            event,
            Event::PictureUpdate(_) | Event::UserAboutUpdate(_) | Event::IdentityChange(_) | Event::ContactNumberChanged(_)
        )
    };
    assert!(!carol.saw(curious));
}

#[tokio::test]
async fn what_people_did_survives_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("sandbox.journal");
    let config = SandboxConfig { state_file: Some(file), ..SandboxConfig::default() };
    let running = Running::with(config.clone(), Ambient::system()).await;
    for (number, name) in [(ALICE, "Alice"), (BOB, "Bob")] {
        running.sandbox.create_phone(number, name, true).await.unwrap();
    }
    let options = vec!["yes".to_owned(), "no".to_owned()];
    let poll = Content::Poll { question: "?".into(), options, selectable: 1 };
    let poll = running.sandbox.send_message(BOB, ALICE, poll).await.unwrap().id;
    let vote = |option: &str| Content::Vote { message: poll.clone(), options: vec![option.into()] };
    running.sandbox.send_message(ALICE, BOB, vote("yes")).await.unwrap();
    let file = running.sandbox.send_message(BOB, ALICE, Draft::file(File::new(FileKind::Document, b"kept".to_vec()))).await;
    let file = file.unwrap().id;
    running.sandbox.start_call(BOB, ALICE, false, Duration::from_secs(600)).await.unwrap();
    running.sandbox.change_number(BOB, NEW).await.unwrap();
    running.sandbox.reinstall(ALICE).await.unwrap();
    let echo = PhoneChange { echo: Some(true), about: Some("moved".into()), ..PhoneChange::default() };
    let changed = running.sandbox.update_phone(NEW, echo).await.unwrap();
    let before = running.sandbox.list_messages(NEW, None).await.unwrap();
    running.stop().await;

    let running = Running::with(config, Ambient::system()).await;
    running.sandbox.get_phone(BOB).await.unwrap_err();
    assert_eq!(running.sandbox.get_phone(NEW).await.unwrap(), changed);
    assert_eq!(running.sandbox.list_messages(NEW, None).await.unwrap(), before);
    assert_eq!(before.iter().find(|row| row.id == poll).unwrap().poll.as_ref().unwrap().options[0].voters.len(), 1);
    // Nobody is left who would stop the ringing.
    assert_eq!(running.sandbox.list_calls(NEW).unwrap()[0].state, CallState::Ended);
    assert_eq!(running.sandbox.open_file(ALICE, &file).unwrap().1, b"kept");
    // The poll's secret is still there, and the new identities write to each other.
    running.sandbox.send_message(NEW, ALICE, "after the restart").await.unwrap();
    let rows = running.sandbox.list_messages(ALICE, None).await.unwrap();
    assert!(rows.iter().any(|row| row.text == "after the restart"));
}

/// Nothing is delivered to a phone that is switched off, nothing is answered by it, and nothing is lost.
#[tokio::test]
async fn a_phone_that_is_switched_off_gets_everything_later() {
    let directory = tempfile::tempdir().unwrap();
    let config = SandboxConfig { state_file: Some(directory.path().join("sandbox.journal")), ..SandboxConfig::default() };
    let running = Running::with(config.clone(), Ambient::system()).await;
    for (number, name) in [(ALICE, "Alice"), (BOB, "Bob")] {
        running.sandbox.create_phone(number, name, true).await.unwrap();
    }
    let alice = running.linked(ALICE).await;
    let switch = |on| PhoneChange { switched_on: Some(on), ..PhoneChange::default() };
    assert!(!running.sandbox.update_phone(BOB, switch(false)).await.unwrap().switched_on);
    let sent = alice.client.send_text(Jid::pn(BOB), "call me back").await.unwrap().message_id;
    let accepted = alice.wait("accepted", |event| match event {
        Event::ServerAck(ack) if ack.id == sent => Some(ack.error.clone()),
        _ => None,
    });
    assert_eq!(accepted.await, None);
    let refused = running.sandbox.send_message(BOB, ALICE, "no battery").await.unwrap_err();
    assert_eq!(refused.reason, Some("phone_off"));
    assert!(running.sandbox.list_messages(BOB, None).await.unwrap().is_empty());
    let own = running.messages(ALICE, "on alice's own phone", row(&sent, |_| true)).await;
    assert_eq!(own.state, MessageState::Sent, "nobody has it");
    // It waits, also over a restart.
    let listener = running.address;
    let backend = alice.stop().await;
    running.stop().await;
    let listener = tokio::net::TcpListener::bind(listener).await.unwrap();
    let running = Running::on(listener, config, Ambient::system()).await;
    let alice = Peer::new(running.address, backend, None).await;
    alice.connected().await;
    assert!(running.sandbox.update_phone(BOB, switch(true)).await.unwrap().switched_on);
    running.messages(BOB, "bob has it", row(&sent, |row| row.text == "call me back")).await;
    alice
        .wait("bob has read it", |event| match event {
            Event::Receipt(receipt) => {
                (receipt.message_ids.contains(&sent) && format!("{:?}", receipt.r#type) == "Read").then_some(())
            }
            _ => None,
        })
        .await;
    running.sandbox.send_message(BOB, ALICE, "here I am").await.unwrap();
    alice.text("here I am").await;
}

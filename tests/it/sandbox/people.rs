//! What people send with their phones and see on them, against the real client.

use wacore::poll::PollVoteCiphertext;
use wacore::types::events::{Event, InboundMessage};
use wacore_binary::Jid;
use waproto::whatsapp as wa;
use whatsapp_gateway::sandbox::draft::{Content, Draft};
use whatsapp_gateway::sandbox::seen::{Card, Location, Reaction};
use whatsapp_gateway::sandbox::{Direction, PhoneMessage};
use whatsapp_rust::{GroupCreateOptions, GroupParticipantOptions, RevokeType};

use super::client::{ALICE, BOB, Peer, Running};

const CAROL: &str = "5511900000003";

/// Waits for the message with this id.
async fn arrival(peer: &Peer, id: &str) -> InboundMessage {
    peer.wait(id, |event| match event {
        Event::Messages(batch) => batch.iter().find(|message| message.info.id == id).cloned(),
        _ => None,
    })
    .await
}

fn address(number: &str) -> String {
    format!("{number}@s.whatsapp.net")
}

fn row(id: &str, fits: impl Fn(&PhoneMessage) -> bool) -> impl Fn(&[PhoneMessage]) -> Option<PhoneMessage> {
    let id = id.to_owned();
    move |rows| rows.iter().find(|row| row.id == id && fits(row)).cloned()
}

#[tokio::test]
async fn a_phone_sends_every_kind_and_the_client_gets_it() {
    let running = Running::with_phones().await;
    let alice = running.linked(ALICE).await;
    let send = async |draft: Draft| {
        let sent = running.sandbox.send_message(BOB, ALICE, draft).await.unwrap();
        (arrival(&alice, &sent.id).await, sent)
    };
    let place = Location { latitude: -6.2, longitude: 106.8, name: "Monas".into(), address: "Jakarta".into() };
    // The library shows neither the stanza's type nor its kind of media, so they are read from the stanza itself.
    let raw = alice.client.acquire_raw_node_forwarding();
    let sent = running.sandbox.send_message(BOB, ALICE, Content::Location(place.clone())).await.unwrap();
    let on_the_wire = alice
        .wait("the stanza", |event| match event {
            Event::RawNode(node) => {
                let node = node.get();
                let text = |name: &str| node.get_attr(name).map(|value| value.as_str().into_owned());
                let encrypted = node.get_optional_child("enc").filter(|_| text("id").as_deref() == Some(sent.id.as_str()))?;
                Some((text("type"), encrypted.get_attr("mediatype").map(|value| value.as_str().into_owned())))
            }
            _ => None,
        })
        .await;
    assert_eq!(on_the_wire, (Some("media".to_owned()), Some("location".to_owned())));
    drop(raw);
    let got = arrival(&alice, &sent.id).await;
    let it = got.message.location_message.as_option().unwrap();
    assert_eq!((it.degrees_latitude, it.name.as_deref()), (Some(-6.2), Some("Monas")));
    assert_eq!((sent.kind.as_str(), sent.location), ("location", Some(place)));

    let card = |name: &str| Card { name: name.into(), vcard: format!("BEGIN:VCARD\nFN:{name}\nEND:VCARD") };
    let (got, _) = send(Content::Contacts(vec![card("Dewi")]).into()).await;
    assert_eq!(got.message.contact_message.as_option().unwrap().display_name.as_deref(), Some("Dewi"));
    let (got, sent) = send(Content::Contacts(vec![card("Dewi"), card("Eko")]).into()).await;
    assert_eq!(got.message.contacts_array_message.as_option().unwrap().contacts.len(), 2);
    assert_eq!(sent.contacts.len(), 2);

    // A text with everything that can be beside it.
    let (_, first) = send("first".into()).await;
    let draft = Draft {
        quote: Some(first.id.clone()),
        mentions: vec![ALICE.to_owned()],
        forwarded: true,
        expires: 86_400,
        ..Draft::from("second @5511900000001")
    };
    let (got, sent) = send(draft).await;
    let it = got.message.extended_text_message.as_option().unwrap();
    let context = it.context_info.as_option().unwrap();
    assert_eq!(context.stanza_id.as_ref(), Some(&first.id));
    assert_eq!(context.quoted_message.as_option().unwrap().conversation.as_deref(), Some("first"));
    assert!(context.participant.as_ref().unwrap().ends_with("@lid"), "the author under the address of the chat");
    assert_eq!((context.mentioned_jid.len(), context.is_forwarded, context.expiration), (1, Some(true), Some(86_400)));
    assert_eq!((sent.quoted.as_deref(), sent.forwarded, sent.expires), (Some("first"), true, 86_400));

    // An edit, a reaction and its removal, and the end of the message.
    let (got, changed) = {
        let edit = Content::Edit { message: first.id.clone(), text: "first, changed".into() };
        let changed = running.sandbox.send_message(BOB, ALICE, edit).await.unwrap();
        let got = alice
            .wait("the edit", |event| match event {
                Event::Messages(batch) => batch.iter().find(|it| it.message.protocol_message.is_set()).cloned(),
                _ => None,
            })
            .await;
        (got, changed)
    };
    let protocol = got.message.protocol_message.as_option().unwrap();
    assert_eq!(protocol.edited_message.as_option().unwrap().conversation.as_deref(), Some("first, changed"));
    assert_eq!((changed.id.as_str(), changed.text.as_str(), changed.edited), (first.id.as_str(), "first, changed", true));
    let react = |emoji: &str| Content::Reaction { message: first.id.clone(), emoji: emoji.into() };
    let (got, sent) = send(react("👍").into()).await;
    let reaction = got.message.reaction_message.as_option().unwrap();
    assert_eq!((reaction.text.as_deref(), reaction.key.as_option().unwrap().id.as_ref()), (Some("👍"), Some(&first.id)));
    assert_eq!((sent.kind.as_str(), sent.target.as_ref()), ("reaction", Some(&first.id)));
    let own = running.messages(ALICE, "at the message", row(&first.id, |row| !row.reactions.is_empty())).await;
    assert_eq!(own.reactions, [Reaction { sender: address(BOB), emoji: "👍".into() }]);
    let (got, _) = send(react("").into()).await;
    assert_eq!(got.message.reaction_message.as_option().unwrap().text.as_deref(), Some(""));
    running.messages(ALICE, "the reaction is gone", row(&first.id, |row| row.reactions.is_empty() && row.edited)).await;
    running.sandbox.send_message(BOB, ALICE, Content::Revoke { message: first.id.clone() }).await.unwrap();
    let revoked = alice
        .wait("the revocation", |event| match event {
            Event::Messages(batch) => batch.iter().find_map(|it| {
                let protocol = it.message.protocol_message.as_option()?;
                protocol.key.as_option().and_then(|key| key.id.clone())
            }),
            _ => None,
        })
        .await;
    assert_eq!(revoked, first.id);
    let gone = running.messages(ALICE, "revoked on alice's phone", row(&first.id, |row| row.kind == "revoked")).await;
    assert_eq!(gone.text, "");
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_by_name() {
    let running = Running::with_phones().await;
    let to_alice = running.sandbox.send_message(BOB, ALICE, "mine").await.unwrap();
    let place = Location { latitude: 91.0, ..Location::default() };
    let vote = |message: &str| Content::Vote { message: message.into(), options: vec!["x".into()] };
    let poll = |options: &[&str], selectable| Content::Poll {
        question: "?".into(),
        options: options.iter().map(|option| (*option).to_owned()).collect(),
        selectable,
    };
    let refused: [(Draft, &str); 9] = [
        ("".into(), "text"),
        (Content::Location(place).into(), "location"),
        (Content::Contacts(Vec::new()).into(), "contacts"),
        (poll(&["a", "a"], 1).into(), "poll.options"),
        (poll(&["a", "b"], 3).into(), "poll.selectable"),
        (vote("3ANONE").into(), "vote.messageId"),
        (vote(&to_alice.id).into(), "vote.messageId"),
        (Draft { quote: Some("3ANONE".into()), ..Draft::from("x") }, "replyTo"),
        (Draft { view_once: true, ..Draft::from("x") }, "viewOnce"),
    ];
    for (draft, field) in refused {
        let error = running.sandbox.send_message(BOB, ALICE, draft).await.unwrap_err();
        assert!(format!("{error:?}").contains(field), "{field}: {error:?}");
    }
    // Others' messages are not Alice's to change.
    let edit = Content::Edit { message: to_alice.id.clone(), text: "yours".into() };
    running.sandbox.send_message(ALICE, BOB, edit).await.unwrap_err();
    running.sandbox.send_message(ALICE, BOB, Content::Revoke { message: to_alice.id.clone() }).await.unwrap_err();
    let rows = running.sandbox.list_messages(BOB, None).await.unwrap();
    assert_eq!((rows.len(), rows[0].text.as_str()), (1, "mine"));
}

#[tokio::test]
async fn votes_are_opened_by_phones_and_cast_by_them() {
    let running = Running::with_phones().await;
    running.sandbox.create_phone(CAROL, "Carol", true).await.unwrap();
    let alice = running.linked(ALICE).await;
    let participants = [BOB, CAROL].map(|number| GroupParticipantOptions::new(Jid::pn(number)));
    let options = GroupCreateOptions::new("Friends").with_participants(participants.to_vec());
    let group = alice.client.groups().create_group(options).await.unwrap().metadata.id;
    let chats = [(ALICE.to_owned(), Jid::pn(BOB)), (group.to_string(), group.clone())];
    for (of_bob, of_alice) in chats {
        // Bob's phone asks, Alice's device votes.
        let options = vec!["tea".to_owned(), "coffee".to_owned()];
        let poll = Content::Poll { question: "What?".into(), options: options.clone(), selectable: 1 };
        let sent = running.sandbox.send_message(BOB, &of_bob, poll).await.unwrap();
        let got = arrival(&alice, &sent.id).await;
        assert!(got.message.poll_creation_message_v3.is_set());
        let secret = got.message.message_context_info.as_option().unwrap().message_secret.clone().unwrap();
        let creator = got.info.source.sender.clone();
        for choice in ["coffee", "tea"] {
            let chosen = [choice.to_owned()];
            let chat = got.info.source.chat.clone();
            alice.client.polls().vote(chat, &sent.id, &creator, &secret, &chosen).await.unwrap();
            let voted = |row: &PhoneMessage| {
                let options = &row.poll.as_ref().unwrap().options;
                options.iter().all(|option| option.voters.is_empty() != (option.name == choice))
            };
            let row = running.messages(BOB, "alice's vote", row(&sent.id, voted)).await;
            assert!(row.poll.unwrap().options.iter().flat_map(|it| &it.voters).eq([&address(ALICE)]));
        }
        // Alice's device asks, Bob's phone votes.
        let (asked, secret) = alice.client.polls().create(&of_alice, "Which?", &options, 1).await.unwrap();
        running.messages(BOB, "the poll", row(&asked.message_id, |row| row.kind == "poll")).await;
        let vote = Content::Vote { message: asked.message_id.clone(), options: vec!["tea".into()] };
        let sent = running.sandbox.send_message(BOB, &of_bob, vote).await.unwrap();
        assert_eq!((sent.kind.as_str(), sent.text.as_str()), ("vote", "tea"));
        let got = arrival(&alice, &sent.id).await;
        let vote = got.message.poll_update_message.as_option().unwrap().vote.as_option().unwrap();
        let (enc_payload, enc_iv) = (vote.enc_payload.as_deref().unwrap(), vote.enc_iv.as_deref().unwrap());
        let sealed = PollVoteCiphertext { enc_payload, enc_iv };
        let own = alice.client.lid().unwrap();
        let voter = got.info.source.sender.to_non_ad();
        let opened = alice.client.polls().decrypt_vote(sealed, &secret, &asked.message_id, &own, &voter).await.unwrap();
        assert_eq!(opened, [wacore::poll::compute_option_hash("tea").to_vec()]);
        // Alice's own phone has both, too.
        let counted = |row: &PhoneMessage| row.poll.as_ref().is_some_and(|poll| poll.options[0].voters == [address(BOB)]);
        running.messages(ALICE, "bob's vote", row(&asked.message_id, counted)).await;
    }
}

#[tokio::test]
async fn a_phone_shows_every_kind_that_a_client_sends() {
    let running = Running::with_phones().await;
    let alice = running.linked(ALICE).await;
    let bob = Jid::pn(BOB);
    let send = async |message: wa::Message| {
        let sent = alice.client.send_message(bob.clone(), message).await.unwrap();
        running.messages(BOB, "bob has it", row(&sent.message_id, |_| true)).await
    };
    let location = wa::message::LocationMessage {
        degrees_latitude: Some(1.5),
        degrees_longitude: Some(2.5),
        name: Some("here".into()),
        ..Default::default()
    };
    let shown = send(wa::Message { location_message: buffa::MessageField::some(location), ..Default::default() }).await;
    assert_eq!((shown.kind.as_str(), shown.text.as_str()), ("location", "here"));
    assert_eq!(shown.location.as_ref().map(|it| (it.latitude, it.longitude)), Some((1.5, 2.5)));
    let image = wa::message::ImageMessage {
        caption: Some("look".into()),
        mimetype: Some("image/jpeg".into()),
        file_sha256: Some(vec![0xab; 32]),
        file_length: Some(7),
        ..Default::default()
    };
    let inner = wa::Message { image_message: buffa::MessageField::some(image), ..Default::default() };
    let once = wa::message::FutureProofMessage { message: buffa::MessageField::some(inner) };
    let shown = send(wa::Message { view_once_message: buffa::MessageField::some(once), ..Default::default() }).await;
    let media = shown.media.as_ref().unwrap();
    assert_eq!((shown.kind.as_str(), shown.text.as_str(), shown.view_once), ("image", "look", true));
    assert_eq!((media.mime_type.as_str(), media.length, media.sha256.clone()), ("image/jpeg", 7, "ab".repeat(32)));

    // A message of Alice's is changed and taken back; one of Bob's gets a reaction.
    let first = send(wa::Message { conversation: Some("typo".into()), ..Default::default() }).await;
    let better = wa::Message { conversation: Some("correct".into()), ..Default::default() };
    alice.client.edit_message(bob.clone(), first.id.clone(), better).await.unwrap();
    running.messages(BOB, "edited", row(&first.id, |row| row.edited && row.text == "correct")).await;
    alice.client.revoke_message(bob.clone(), first.id.clone(), RevokeType::Sender).await.unwrap();
    for phone in [ALICE, BOB] {
        running.messages(phone, "revoked", row(&first.id, |row| row.kind == "revoked")).await;
    }
    let of_bob = running.sandbox.send_message(BOB, ALICE, "hi").await.unwrap();
    let chat = arrival(&alice, &of_bob.id).await.info.source.chat.clone();
    let key = wa::MessageKey {
        remote_jid: Some(chat.to_string()),
        from_me: Some(false),
        id: Some(of_bob.id.clone()),
        participant: None,
    };
    alice.client.send_reaction(chat, key, "🎉").await.unwrap();
    let shown = running.messages(BOB, "the reaction", row(&of_bob.id, |row| !row.reactions.is_empty())).await;
    assert_eq!(shown.reactions, [Reaction { sender: address(ALICE), emoji: "🎉".into() }]);
    assert_eq!(shown.direction, Direction::Out);
}

#[tokio::test]
async fn an_admin_takes_back_what_others_wrote_in_a_group() {
    let running = Running::with_phones().await;
    running.sandbox.create_phone(CAROL, "Carol", true).await.unwrap();
    let alice = running.linked(ALICE).await;
    let participants = [BOB, CAROL].map(|number| GroupParticipantOptions::new(Jid::pn(number)));
    let options = GroupCreateOptions::new("Friends").with_participants(participants.to_vec());
    let group = alice.client.groups().create_group(options).await.unwrap().metadata.id.to_string();
    let sent = running.sandbox.send_message(BOB, &group, "rude").await.unwrap();
    running.messages(CAROL, "carol sees it", row(&sent.id, |row| row.text == "rude")).await;
    let revoke = || Content::Revoke { message: sent.id.clone() };
    running.sandbox.send_message(CAROL, &group, revoke()).await.unwrap_err();
    running.sandbox.send_message(ALICE, &group, revoke()).await.unwrap();
    for phone in [BOB, CAROL] {
        running.messages(phone, "it is gone", row(&sent.id, |row| row.kind == "revoked")).await;
    }
    // Who leaves writes there no more and gets no more.
    running.sandbox.leave_group(CAROL, &group).await.unwrap();
    running.sandbox.leave_group(CAROL, &group).await.unwrap_err();
    running.sandbox.send_message(CAROL, &group, "still here?").await.unwrap_err();
    let after = running.sandbox.send_message(BOB, &group, "she has left").await.unwrap();
    running.messages(ALICE, "alice reads it", row(&after.id, |row| row.text == "she has left")).await;
    assert!(running.sandbox.list_messages(CAROL, None).await.unwrap().iter().all(|row| row.id != after.id));
}

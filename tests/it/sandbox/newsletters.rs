//! Channels, as the real client library uses them.

use serde_json::json;
use wacore::types::events::Event;
use wacore_binary::Jid;
use wacore_binary::JidExt as _;
use waproto::whatsapp as wa;
use whatsapp_gateway::domain::clock::Ambient;
use whatsapp_gateway::sandbox::{MessageState, SandboxConfig};
use whatsapp_rust::features::{NewsletterMessageType, NewsletterRole};

use super::client::{ALICE, BOB, Peer, Running};

fn text(text: &str) -> wa::Message {
    wa::Message { conversation: Some(text.into()), ..Default::default() }
}

/// Waits for a post and gives its id, number, text, and edit mark.
async fn post(device: &Peer, what: &str, accept: impl Fn(&wa::Message) -> bool) -> (String, i32) {
    device
        .wait(what, |event| match event {
            Event::Messages(batch) => batch
                .iter()
                .find(|message| message.info.source.chat.is_newsletter() && accept(&message.message))
                .map(|message| (message.info.id.clone(), message.info.server_id)),
            _ => None,
        })
        .await
}

#[tokio::test]
async fn a_channel_is_founded_found_followed_and_left() {
    let running = Running::with_phones().await;
    let (alice, bob) = tokio::join!(running.linked(ALICE), running.linked(BOB));
    let made = alice.client.newsletter().create("Daily bread", Some("recipes")).await.unwrap();
    assert_eq!(
        (made.name.as_str(), made.description.as_deref(), made.role.clone()),
        ("Daily bread", Some("recipes"), Some(NewsletterRole::Owner))
    );
    let invite = made.invite_code.clone().unwrap();
    let found = bob.client.newsletter().get_metadata_by_invite(&invite).await.unwrap();
    assert_eq!(
        (found.jid.clone(), found.role.clone(), found.subscriber_count),
        (made.jid.clone(), Some(NewsletterRole::Guest), 0)
    );
    assert!(bob.client.newsletter().list_subscribed().await.unwrap().is_empty());

    let joined = bob.client.newsletter().join(&made.jid).await.unwrap();
    assert_eq!((joined.role, joined.subscriber_count), (Some(NewsletterRole::Subscriber), 1));
    assert_eq!(bob.client.newsletter().list_subscribed().await.unwrap()[0].jid, made.jid);
    bob.client.newsletter().set_follower_mute(&made.jid, true).await.unwrap();
    let changed = alice.client.newsletter().update(&made.jid, Some("Weekly bread"), None).await.unwrap();
    assert_eq!(changed.name, "Weekly bread");
    bob.wait("the new name", |event| match event {
        Event::MexNotification(news) => (news.op_name == "NotificationNewsletterUpdate").then_some(()),
        _ => None,
    })
    .await;
    assert!(bob.client.newsletter().update(&made.jid, Some("Mine"), None).await.is_err(), "only the owner");
    assert!(alice.client.newsletter().join(&made.jid).await.is_err(), "the owner reads it anyway");

    bob.client.newsletter().leave(&made.jid).await.unwrap();
    assert!(bob.client.newsletter().leave(&made.jid).await.is_err());
    assert_eq!(running.sandbox.list_channels()[0].followers, Vec::<String>::new());
    let nobodys: Jid = "120363400000000009@newsletter".parse().unwrap();
    let unknown = bob.client.newsletter().get_metadata(&nobodys).await.unwrap_err();
    assert!(format!("{unknown:?}").contains("no such channel"), "{unknown:?}");
}

#[tokio::test]
async fn posts_reach_followers_and_can_be_read_again() {
    let running = Running::with_phones().await;
    let (alice, bob) = tokio::join!(running.linked(ALICE), running.linked(BOB));
    let channel = alice.client.newsletter().create("News", None).await.unwrap().jid;
    bob.client.newsletter().join(&channel).await.unwrap();
    let sent = alice.client.send_message(channel.clone(), text("first")).await.unwrap();
    let (id, first) = post(&bob, "the post", |message| message.conversation.as_deref() == Some("first")).await;
    assert_eq!(id, sent.message_id);
    assert_eq!(first, 100);
    running
        .messages(BOB, "the phone shows it", |messages| {
            messages.iter().any(|message| message.chat == channel.to_string() && message.text == "first").then_some(())
        })
        .await;
    // Who only reads cannot write.
    let refused = bob.client.send_message(channel.clone(), text("me too")).await.unwrap();
    bob.wait("the refusal", |event| match event {
        Event::ServerAck(ack) if ack.id == refused.message_id => ack.error.as_ref().map(ToString::to_string),
        _ => None,
    })
    .await;
    for n in 0..30 {
        running.sandbox.post(ALICE, &channel.to_string(), &format!("post {n}"), b"").await.unwrap();
    }
    let picture = running.sandbox.post(ALICE, &channel.to_string(), "look", b"not really a jpeg").await.unwrap();
    assert_eq!(picture.server_id, 131);

    let newest = bob.client.newsletter().get_messages(channel.clone(), 10, None).await.unwrap();
    assert_eq!(newest.iter().map(|post| post.server_id).collect::<Vec<_>>(), (122..=131).collect::<Vec<_>>());
    assert_eq!(newest[9].message_type, NewsletterMessageType::Media);
    let image = newest[9].message.as_ref().unwrap().image_message.as_option().unwrap();
    assert_eq!(bob.client.download(image).await.unwrap(), b"not really a jpeg");
    let before = bob.client.newsletter().get_messages(channel.clone(), 10, Some(122)).await.unwrap();
    assert_eq!(before.iter().map(|post| post.server_id).collect::<Vec<_>>(), (112..=121).collect::<Vec<_>>());
    let all = bob.client.newsletter().get_messages(channel.clone(), 100, Some(103)).await.unwrap();
    assert_eq!(
        all.iter().filter_map(|post| post.message.as_ref()?.conversation.as_deref()).collect::<Vec<_>>(),
        ["first", "post 0", "post 1"]
    );
    assert!(!all[0].is_sender);
    assert!(alice.client.newsletter().get_messages(channel, 1, None).await.unwrap()[0].is_sender);
}

#[tokio::test]
async fn reactions_are_counted_and_told_to_those_who_look() {
    let running = Running::with_phones().await;
    let (alice, bob) = tokio::join!(running.linked(ALICE), running.linked(BOB));
    let channel = running.sandbox.create_channel(ALICE, "News", "").await.unwrap();
    let jid: Jid = channel.jid.parse().unwrap();
    let made = running.sandbox.post(ALICE, &channel.jid, "like this", b"").await.unwrap();
    running.sandbox.follow_channel(BOB, &channel.invite, true).await.unwrap();
    assert!(running.sandbox.follow_channel(ALICE, &channel.jid, true).await.is_err());
    assert_eq!(alice.client.newsletter().subscribe_live_updates(jid.clone()).await.unwrap(), 300);

    bob.client.newsletter().send_reaction(&jid, made.server_id, "🎉").await.unwrap();
    let told = |count: u64| {
        let alice = &alice;
        async move {
            alice
                .wait("the new counts", |event| match event {
                    Event::NewsletterLiveUpdate(update) => {
                        let message = &update.messages[0];
                        let counts: Vec<(String, u64)> =
                            message.reactions.iter().map(|reaction| (reaction.code.clone(), reaction.count)).collect();
                        (counts.iter().map(|(_, count)| count).sum::<u64>() == count).then_some(counts)
                    }
                    _ => None,
                })
                .await
        }
    };
    assert_eq!(told(1).await, [("🎉".to_owned(), 1)]);
    running.sandbox.react_in_channel(ALICE, &channel.jid, made.server_id, "🎉").await.unwrap();
    assert_eq!(told(2).await, [("🎉".to_owned(), 2)]);
    let read = bob.client.newsletter().get_messages(jid.clone(), 1, None).await.unwrap();
    assert_eq!((read[0].reactions[0].code.as_str(), read[0].reactions[0].count), ("🎉", 2));
    bob.client.newsletter().send_reaction(&jid, made.server_id, "").await.unwrap();
    assert_eq!(told(1).await, [("🎉".to_owned(), 1)]);
    running.sandbox.create_phone("5511900000003", "Carol", false).await.unwrap();
    assert!(running.sandbox.react_in_channel("5511900000003", &channel.jid, made.server_id, "👎").await.is_err());
}

#[tokio::test]
async fn posts_are_changed_and_taken_back() {
    let running = Running::with_phones().await;
    let (alice, bob) = tokio::join!(running.linked(ALICE), running.linked(BOB));
    let channel = alice.client.newsletter().create("News", None).await.unwrap().jid;
    bob.client.newsletter().join(&channel).await.unwrap();
    let sent = alice.client.send_message(channel.clone(), text("mistake")).await.unwrap().message_id;
    post(&bob, "the post", |message| message.conversation.as_deref() == Some("mistake")).await;
    alice.client.newsletter().edit_message(&channel, sent.as_str(), text("corrected")).await.unwrap();
    let (id, _) = post(&bob, "the change", |message| message.conversation.as_deref() == Some("corrected")).await;
    assert_eq!(id, sent);
    let row = |kind: &'static str| {
        running.messages(BOB, kind, move |messages| {
            messages.iter().find(|message| message.edited && (message.kind == kind)).cloned()
        })
    };
    assert_eq!(row("text").await.text, "corrected");
    let read = bob.client.newsletter().get_messages(channel.clone(), 5, None).await.unwrap();
    assert_eq!(read[0].message.as_ref().unwrap().conversation.as_deref(), Some("corrected"));

    alice.client.newsletter().revoke_message(&channel, sent.as_str()).await.unwrap();
    let gone = row("revoked").await;
    assert_eq!((gone.text.as_str(), gone.state), ("", MessageState::Received));
    let read = bob.client.newsletter().get_messages(channel.clone(), 5, None).await.unwrap();
    assert_eq!((read.len(), read[0].message_type.clone(), read[0].message.clone()), (1, NewsletterMessageType::Revoke, None));
    assert!(running.sandbox.change_post(BOB, &channel.to_string(), read[0].server_id, Some("mine")).await.is_err());
}

/// Other releases ask by other numbers; what nobody knows is refused in words, and counted.
#[tokio::test]
async fn numbers_of_other_releases_are_known_and_unknown_ones_counted() {
    use wacore::iq::mex::{MexDoc, MexQuerySpec};
    let running = Running::with_phones().await;
    let alice = running.linked(ALICE).await;
    let channel = running.sandbox.create_channel(BOB, "News", "").await.unwrap().jid;
    let ask = |id: &'static str, variables: serde_json::Value| {
        let client = &alice.client;
        async move { client.execute(MexQuerySpec::new(MexDoc { name: "test", id }, &variables).unwrap()).await.unwrap() }
    };
    let named = json!({"newsletter_id": channel});
    for (id, name) in [
        ("9926858900719341", "xwa2_newsletter_join_v2"),
        ("6274038279359549", "xwa2_newsletter_mute_v2"),
        ("9864994326891137", "xwa2_newsletter_unmute_v2"),
        ("7238632346214362", "xwa2_newsletter_leave_v2"),
        // A desktop client's number for two things.
        ("8621797084555037", "xwa2_newsletter_subscribed"),
    ] {
        let answer = ask(id, named.clone()).await;
        assert!(answer.data.as_ref().unwrap()[name].is_object(), "{id}: {answer:?}");
    }
    assert_eq!(running.sandbox.list_channels()[0].followers, [ALICE]);
    let listed = ask("6388546374527196", json!({})).await;
    assert_eq!(listed.data.unwrap()["xwa2_newsletter_subscribed"].as_array().unwrap().len(), 1);
    let timelock = alice.client.mex().fetch_reachout_timelock().await.unwrap();
    assert_eq!(timelock.is_active, Some(false));

    let unknown = alice.client.execute(MexQuerySpec::new(MexDoc { name: "test", id: "12345" }, &json!({})).unwrap()).await;
    assert!(format!("{unknown:?}").contains("does not know the query 12345"), "{unknown:?}");
    assert_eq!(running.sandbox.unknown_requests().get("w:mex 12345"), Some(&1));
}

#[tokio::test]
async fn channels_survive_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let config = || SandboxConfig { state_file: Some(directory.path().join("sandbox.journal")), ..Default::default() };
    let running = Running::with(config(), Ambient::system()).await;
    running.sandbox.create_phone(ALICE, "Alice", false).await.unwrap();
    running.sandbox.create_phone(BOB, "Bob", false).await.unwrap();
    let channel = running.sandbox.create_channel(ALICE, "News", "all of it").await.unwrap().jid;
    running.sandbox.follow_channel(BOB, &channel, true).await.unwrap();
    let post = running.sandbox.post(ALICE, &channel, "kept", b"").await.unwrap();
    running.sandbox.react_in_channel(BOB, &channel, post.server_id, "👍").await.unwrap();
    let before = (running.sandbox.list_channels(), running.sandbox.list_posts(&channel).unwrap());
    running.stop().await;
    let running = Running::with(config(), Ambient::system()).await;
    assert_eq!((running.sandbox.list_channels(), running.sandbox.list_posts(&channel).unwrap()), before);
    assert_eq!(running.sandbox.post(ALICE, &channel, "next", b"").await.unwrap().server_id, post.server_id + 1);
}

//! Privacy tokens: who shows that they are no stranger, to whom, and what is refused to those who cannot.

use wacore::iq::privacy::{PrivacyCategory, PrivacyValue};
use wacore::types::events::Event;
use wacore_binary::{Jid, Node};
use whatsapp_gateway::sandbox::PhoneChange;

use super::client::{ALICE, BOB, Peer, Running, eventually};
use super::raw::{Keys, Raw, attr, child, el};

/// Whom Alice does not know.
const CAROL: &str = "5511900000003";

/// Alice wants no strangers: in her messages, at her picture, and at her being there.
async fn reserved() -> Running {
    let running = Running::with_phones().await;
    running.sandbox.create_phone(CAROL, "Carol", true).await.unwrap();
    let privacy = [("messages", "contacts"), ("profile", "contacts"), ("last", "contacts"), ("online", "match_last_seen")];
    let privacy = privacy.map(|(name, who)| (name.to_owned(), who.to_owned()));
    let change = PhoneChange { privacy: privacy.into(), ..PhoneChange::default() };
    let phone = running.sandbox.update_phone(ALICE, change).await.unwrap();
    assert_eq!(phone.privacy["messages"], "contacts");
    running
}

async fn lid(running: &Running, number: &str) -> Jid {
    running.sandbox.get_phone(number).await.unwrap().lid.parse().unwrap()
}

/// The token that a device keeps of somebody, once it has one.
async fn token(device: &Peer, of: &Jid) -> Vec<u8> {
    let kept = eventually("a token", || async {
        device.backend.get_tc_token(&of.user).await.unwrap().filter(|entry| !entry.token.is_empty())
    });
    kept.await.token
}

/// Takes away the secret from which a device makes tokens of its own, once it has come by the app state and will not come again.
async fn forget_secret(device: &Peer) {
    let manager = device.client.persistence_manager();
    eventually("the secret", || async { manager.get_device_snapshot().nct_salt_sync_seen.then_some(()) }).await;
    manager.modify_device(|device| device.nct_salt = None).await;
}

#[tokio::test]
async fn who_was_written_to_has_a_token_on_each_device_and_shows_it() {
    let running = reserved().await;
    let alice = running.linked(ALICE).await;
    // Without the secret for a token of their own.
    let bob = running.client().await;
    bob.client.set_skip_history_sync(true);
    let code = bob.qr().await;
    running.sandbox.scan_qr(BOB, &code).await.unwrap();
    bob.connected().await;
    let second = running.linked(BOB).await;
    alice.client.send_text(Jid::pn(BOB), "write back").await.unwrap();
    let (of_alice, of_bob) = (lid(&running, ALICE).await, lid(&running, BOB).await);
    assert_eq!(token(&bob, &of_alice).await, token(&second, &of_alice).await);
    forget_secret(&bob).await;
    bob.client.fetch_props().await.unwrap();
    let sent = bob.client.send_text(Jid::pn(ALICE), "here I am").await.unwrap().message_id;
    assert_eq!(bob.refusal(&sent).await, None);
    alice.text("here I am").await;
    // That was not forgotten, and Bob's own token came with it.
    let again = bob.stop().await;
    let bob = Peer::new(running.address, again, None).await;
    bob.connected().await;
    bob.client.fetch_props().await.unwrap();
    let sent = bob.client.send_text(Jid::pn(ALICE), "and again").await.unwrap().message_id;
    assert_eq!(bob.refusal(&sent).await, None);
    token(&alice, &of_bob).await;
}

#[tokio::test]
async fn a_stranger_without_a_token_is_refused() {
    let running = reserved().await;
    let alice = running.linked(ALICE).await;
    let carol = running.linked(CAROL).await;
    forget_secret(&carol).await;
    let sent = carol.client.send_text(Jid::pn(ALICE), "hello stranger").await.unwrap().message_id;
    assert_eq!(carol.refusal(&sent).await.as_deref(), Some("463"));
    // Neither does a token that nobody gave her, nor one of another secret.
    let keys = Keys::generate();
    let device = Raw::link(&running, &keys, CAROL).await;
    let mut raw = Raw::log_in(running.address, &keys, CAROL, device).await;
    let forged: [Vec<Node>; 3] = [
        vec![el("tctoken").bytes(vec![7; 16]).build()],
        vec![el("cstoken").bytes(vec![7; 32]).build()],
        vec![el("tctoken").bytes(Vec::new()).build(), el("cstoken").bytes(Vec::new()).build()],
    ];
    for (at, shown) in forged.into_iter().enumerate() {
        let parts = std::iter::once(el("participants").build()).chain(shown);
        let message = el("message").attr("id", format!("3F{at}")).attr("type", "text").attr("to", lid(&running, ALICE).await);
        raw.send(message.children(parts).build()).await;
        let ack = raw.wait("the ack", |node| node.tag == "ack" && attr(node, "id") == format!("3F{at}")).await;
        assert_eq!(attr(&ack, "error"), "463", "{at}");
    }
    assert!(running.sandbox.list_messages(ALICE, None).await.unwrap().is_empty());
    // Who is in the address book is no stranger.
    running.sandbox.save_contact(ALICE, CAROL, "Carol", "").await.unwrap();
    let sent = carol.client.send_text(Jid::pn(ALICE), "hello friend").await.unwrap().message_id;
    assert_eq!(carol.refusal(&sent).await, None);
    alice.text("hello friend").await;
}

/// The secret comes with the history, and with the app state to those who do not want the history.
#[tokio::test]
async fn a_first_message_shows_a_token_of_ones_own() {
    for skip in [false, true] {
        let running = reserved().await;
        let alice = running.linked(ALICE).await;
        let carol = running.client().await;
        carol.client.set_skip_history_sync(skip);
        let code = carol.qr().await;
        running.sandbox.scan_qr(CAROL, &code).await.unwrap();
        carol.connected().await;
        eventually("the secret", || async { carol.client.persistence_manager().get_device_snapshot().nct_salt.clone() }).await;
        // The features are switched on by then, too.
        carol.client.fetch_props().await.unwrap();
        let sent = carol.client.send_text(Jid::pn(ALICE), "we have not met").await.unwrap().message_id;
        assert_eq!(carol.refusal(&sent).await, None, "history skipped: {skip}");
        alice.text("we have not met").await;
    }
}

#[tokio::test]
async fn pictures_and_presence_are_for_those_who_show_a_token() {
    let running = reserved().await;
    let (alice, bob) = (running.linked(ALICE).await, running.linked(BOB).await);
    let picture = running.sandbox.set_picture(ALICE, Some(vec![0xff, 0xd8, 0xff])).await.unwrap().picture_id;
    alice.client.presence().set_available().await.unwrap();
    running.phone(ALICE, "there", |phone| phone.online.then_some(())).await;
    let of_alice = lid(&running, ALICE).await;
    let shown = async || bob.client.contacts().get_profile_picture(&of_alice, true).await.ok().flatten().map(|it| it.id);
    assert_eq!(shown().await, None);
    bob.client.presence().subscribe(of_alice.clone()).await.unwrap();
    bob.client.fetch_privacy_settings().await.unwrap();
    assert!(!bob.saw(|event| matches!(event, Event::Presence(_))));

    alice.client.tc_token().issue_tokens(&[lid(&running, BOB).await]).await.unwrap();
    token(&bob, &of_alice).await;
    assert_eq!(shown().await, picture);
    bob.client.presence().subscribe(of_alice).await.unwrap();
    bob.wait("alice is there", |event| matches!(event, Event::Presence(presence) if !presence.unavailable).then_some(())).await;
    // What a client sets is set for its phone.
    alice.client.set_privacy_setting(PrivacyCategory::Messages, PrivacyValue::All).await.unwrap();
    assert_eq!(running.sandbox.get_phone(ALICE).await.unwrap().privacy["messages"], "all");
}

#[tokio::test]
async fn the_properties_switch_the_tokens_on() {
    let running = Running::with_phones().await;
    let keys = Keys::generate();
    let device = Raw::link(&running, &keys, ALICE).await;
    let mut raw = Raw::log_in(running.address, &keys, ALICE, device).await;
    let answer = raw.ask("abt", "get", vec![el("props").attr("protocol", "1").build()]).await;
    let properties = child(&answer, "props").children().unwrap();
    let pairs: Vec<_> = properties.iter().map(|it| (attr(it, "config_code"), attr(it, "config_value"))).collect();
    assert_eq!(pairs, [("10518".to_owned(), "1".to_owned()), ("24941".to_owned(), "1".to_owned())]);
}

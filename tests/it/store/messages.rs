//! Messages: stored once, advanced forwards only, counted for the sending budgets.

use whatsapp_gateway::domain::content::Content;
use whatsapp_gateway::domain::message::{Direction, Marks, Message, MessageStatus};
use whatsapp_gateway::domain::session::Session;
use whatsapp_gateway::error::Code;
use whatsapp_gateway::store::Db;

use super::{NOW, later, on_both_engines, organization, stored_session};
use crate::support::catalogue::content;

on_both_engines!(
    every_field_comes_back,
    a_message_is_stored_once,
    found_by_either_id_and_only_by_the_owner,
    idempotency_keys_are_the_organizations,
    news_only_moves_forward,
    news_of_many_messages,
    budgets_count_what_was_sent_from_here,
    the_past_is_news_once,
);

pub(super) fn incoming(id: &str, session: &Session) -> Message {
    Message {
        id: id.into(),
        session: session.id.clone(),
        organization: session.organization.clone(),
        wa_message_id: format!("WA-{id}"),
        chat_jid: "4917@s.whatsapp.net".into(),
        sender_jid: "4917@s.whatsapp.net".into(),
        sender_lid: None,
        sender_name: None,
        direction: Direction::In,
        from_me: false,
        kind: "text".into(),
        body: None,
        content: Content::default(),
        status: None,
        error: None,
        idempotency_key: None,
        idempotency_hash: None,
        timestamp: NOW,
        created_at: NOW,
        marks: Marks::default(),
    }
}

fn outgoing(id: &str, session: &Session) -> Message {
    Message { direction: Direction::Out, from_me: true, status: Some(MessageStatus::Pending), ..incoming(id, session) }
}

async fn store(db: &Db, message: &Message) -> bool {
    let mut tx = db.begin().await.unwrap();
    let new = tx.insert_message(message).await.unwrap();
    tx.commit().await.unwrap();
    new
}

/// What the past has brought without telling it is told when it comes live, once; and what was told is not told by the past.
async fn the_past_is_news_once(db: Db) {
    let session = stored_session(&db, "S1", "a").await;
    let mut tx = db.begin().await.unwrap();
    let past = [incoming("M1", &session), incoming("M2", &session)];
    assert_eq!(tx.insert_past(&past).await.unwrap(), ["M1", "M2"]);
    let live = Message { id: "L1".into(), wa_message_id: past[0].wa_message_id.clone(), ..incoming("L1", &session) };
    for told in [Some("M1".to_owned()), None] {
        assert!(!tx.insert_message(&live).await.unwrap());
        assert_eq!(tx.tell_past(&live).await.unwrap(), told);
    }
    let fresh = incoming("M3", &session);
    assert!(tx.insert_message(&fresh).await.unwrap());
    assert_eq!(tx.insert_past(&[Message { id: "P3".into(), ..fresh.clone() }]).await.unwrap(), [""; 0]);
    assert_eq!(tx.tell_past(&fresh).await.unwrap(), None);
    tx.commit().await.unwrap();
}

async fn advance(db: &Db, session: &Session, ids: &[&str], status: MessageStatus, error: Option<&str>) -> Vec<Message> {
    let ids: Vec<String> = ids.iter().map(|id| (*id).to_owned()).collect();
    let mut tx = db.begin().await.unwrap();
    let changed = tx.advance_message_status(&session.id, &ids, status, error, later(1)).await.unwrap();
    tx.commit().await.unwrap();
    changed
}

async fn every_field_comes_back(db: Db) {
    let session = stored_session(&db, "S1", "a").await;
    let full = Message {
        sender_lid: Some("7@lid".into()),
        sender_name: Some("Zoë".into()),
        body: Some("line\nline \u{1F600} 'quoted' $1".into()),
        status: Some(MessageStatus::Failed),
        error: Some("no such number".into()),
        idempotency_key: Some("key".into()),
        idempotency_hash: Some("hash".into()),
        timestamp: later(7),
        content: content(),
        marks: Marks { starred: true, ..Marks::default() },
        ..outgoing("M1", &session)
    };
    assert!(store(&db, &full).await);
    assert_eq!(db.message(&session.organization, &session.id, "M1").await.unwrap().as_ref(), Some(&full));
    let bare = incoming("M2", &session);
    assert!(store(&db, &bare).await);
    assert_eq!(db.message(&session.organization, &session.id, "M2").await.unwrap(), Some(bare));
}

async fn a_message_is_stored_once(db: Db) {
    let session = stored_session(&db, "S1", "a").await;
    let other = stored_session(&db, "S2", "a").await;
    let first = Message { body: Some("first".into()), ..incoming("M1", &session) };
    assert!(store(&db, &first).await);
    let again = Message { id: "M2".into(), body: Some("second".into()), ..first.clone() };
    assert!(!store(&db, &again).await);
    assert_eq!(db.message(&first.organization, &first.session, "M1").await.unwrap().unwrap().body.as_deref(), Some("first"));
    // Another chat, another sender, another session: other messages.
    for (id, change) in [("M3", "chat"), ("M4", "sender"), ("M5", "session")] {
        let mut message = Message { id: id.into(), ..first.clone() };
        match change {
            "chat" => message.chat_jid = "1-2@g.us".into(),
            "sender" => message.sender_jid = "50@s.whatsapp.net".into(),
            _ => message.session = other.id.clone(),
        }
        assert!(store(&db, &message).await, "{change}");
    }
}

async fn found_by_either_id_and_only_by_the_owner(db: Db) {
    let session = stored_session(&db, "S1", "a").await;
    let message = incoming("M1", &session);
    store(&db, &message).await;
    for id in ["M1", "WA-M1"] {
        assert_eq!(db.message(&session.organization, &session.id, id).await.unwrap().as_ref(), Some(&message), "{id}");
        assert_eq!(db.message(&organization("b"), &session.id, id).await.unwrap(), None);
    }
    assert_eq!(db.message(&session.organization, &session.id, "M9").await.unwrap(), None);
}

async fn idempotency_keys_are_the_organizations(db: Db) {
    let (a, b) = (stored_session(&db, "S1", "a").await, stored_session(&db, "S2", "b").await);
    let keyed = |id: &str, session: &Session| Message { idempotency_key: Some("k".into()), ..outgoing(id, session) };
    store(&db, &keyed("M1", &a)).await;
    store(&db, &keyed("M2", &b)).await;
    let mut tx = db.begin().await.unwrap();
    assert_eq!(tx.insert_message(&keyed("M3", &a)).await.unwrap_err().code, Code::Conflict);
    drop(tx);
    let found = db.message_by_idempotency_key(&a.organization, "k").await.unwrap();
    assert_eq!(found.unwrap().id, "M1");
    let mut tx = db.begin().await.unwrap();
    assert_eq!(tx.message_by_idempotency_key(&b.organization, "k").await.unwrap().unwrap().id, "M2");
    assert_eq!(tx.message_by_idempotency_key(&b.organization, "other").await.unwrap(), None);
}

async fn news_only_moves_forward(db: Db) {
    use MessageStatus::{Delivered, Failed, Pending, Played, Read, Sent};
    let session = stored_session(&db, "S1", "a").await;
    let steps = [
        (Pending, Failed),
        (Failed, Pending),
        (Failed, Sent),
        (Sent, Failed),
        (Pending, Read),
        (Read, Delivered),
        (Read, Read),
        (Read, Played),
        (Delivered, Pending),
    ];
    for (at, (from, to)) in steps.into_iter().enumerate() {
        let message = Message { status: Some(from), error: Some("why".into()), ..outgoing(&format!("M{at}"), &session) };
        store(&db, &message).await;
        let changed = advance(&db, &session, &[&message.wa_message_id], to, None).await;
        let step = |wanted| (to == wanted).then(|| later(1));
        let marks = Marks {
            sent_at: step(Sent),
            delivered_at: step(Delivered),
            read_at: step(Read),
            played_at: step(Played),
            failed_at: step(Failed),
            ..Marks::default()
        };
        let expected =
            if from.advances_to(to) { Message { status: Some(to), error: None, marks, ..message.clone() } } else { message };
        let moved = expected.status == Some(to) && from != to;
        assert_eq!(changed, if moved { vec![expected.clone()] } else { vec![] }, "{from:?} to {to:?}");
        assert_eq!(db.message(&session.organization, &session.id, &expected.id).await.unwrap(), Some(expected));
    }
}

async fn news_of_many_messages(db: Db) {
    let session = stored_session(&db, "S1", "a").await;
    let other = stored_session(&db, "S2", "a").await;
    let mut tx = db.begin().await.unwrap();
    for at in 0..300 {
        tx.insert_message(&outgoing(&format!("M{at}"), &session)).await.unwrap();
    }
    tx.insert_message(&Message { wa_message_id: "WA-M1".into(), ..outgoing("X", &other) }).await.unwrap();
    tx.insert_message(&incoming("I", &session)).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(db.pending_messages(&session.id).await.unwrap().len(), 300);
    let ids: Vec<String> = (0..300).map(|at| format!("WA-M{at}")).chain(["WA-I".into(), "WA-none".into()]).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    assert_eq!(advance(&db, &session, &ids, MessageStatus::Sent, None).await.len(), 300);
    assert_eq!(advance(&db, &session, &ids, MessageStatus::Sent, None).await, []);
    assert_eq!(advance(&db, &session, &[], MessageStatus::Read, None).await, []);
    let failed = advance(&db, &other, &["WA-M1"], MessageStatus::Failed, Some("refused")).await;
    assert_eq!(failed[0].error.as_deref(), Some("refused"));
    assert_eq!(db.pending_messages(&session.id).await.unwrap(), []);
    assert_eq!(db.message(&session.organization, &session.id, "I").await.unwrap().unwrap().status, None);
}

async fn budgets_count_what_was_sent_from_here(db: Db) {
    let session = stored_session(&db, "S1", "a").await;
    for at in 1..=5 {
        let message = Message { created_at: later(at * 10), ..outgoing(&format!("M{at}"), &session) };
        store(&db, &message).await;
    }
    store(&db, &Message { created_at: later(30), ..incoming("I", &session) }).await;
    let id = &session.id;
    // The window is open at its start: what was sent exactly then has left it.
    assert_eq!(db.sent_since(id, later(20)).await.unwrap(), 3);
    assert_eq!(db.oldest_sent_since(id, later(20)).await.unwrap(), Some(later(30)));
    assert_eq!(db.nth_sent_since(id, later(20), 2).await.unwrap(), Some(later(50)));
    assert_eq!(db.nth_sent_since(id, later(20), 3).await.unwrap(), None);
    let mut tx = db.begin().await.unwrap();
    assert_eq!(tx.sent_since(id, NOW).await.unwrap(), 5);
    assert_eq!(tx.nth_sent_since(id, NOW, 0).await.unwrap(), Some(later(10)));
}

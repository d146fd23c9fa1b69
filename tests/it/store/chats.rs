//! Conversations: one for each person in every order of discovery, searched by words, changed by what people do.

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use whatsapp_gateway::domain::chat::{ChatKind, ChatPatch, Reaction, Vote, tally};
use whatsapp_gateway::domain::clock::Time;
use whatsapp_gateway::domain::content::{Content, Poll};
use whatsapp_gateway::domain::identity::{Learned, Names, Seen, Source};
use whatsapp_gateway::domain::message::{Direction, Message};
use whatsapp_gateway::domain::session::Session;
use whatsapp_gateway::store::Db;

use super::messages::incoming;
use super::{NOW, later, on_both_engines, stored_session};

on_both_engines!(
    one_person_is_one_conversation_in_every_order,
    chats_come_latest_first_page_by_page,
    what_holds_of_a_chat,
    found_by_words,
    texts_that_change_are_found_as_they_are,
    reactions_and_votes_are_each_persons_last,
    a_poll_ends_once,
    a_deed_is_new_once,
);

const LID: &str = "205227043110953@lid";
const PHONE: &str = "6281234567890@s.whatsapp.net";
const GROUP: &str = "120363000000000001@g.us";

/// One message as it comes: under which addresses, where, by whom, and whether it is one that came before.
#[derive(Clone, Copy, Debug)]
struct Step {
    addresses: u8,
    in_group: bool,
    from_me: bool,
    again: bool,
}

fn step() -> impl Strategy<Value = Step> {
    (0..3u8, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(|(addresses, in_group, from_me, again)| Step {
        addresses,
        in_group,
        from_me,
        again,
    })
}

/// The address after everything that was learned later.
fn settled(learned: &[Learned], at: usize) -> String {
    let later = learned.iter().skip(at + 1).flat_map(|one| &one.moved);
    later.fold(learned[at].address.clone(), |jid, (from, to)| if jid == *from { to.clone() } else { jid })
}

async fn one_person_is_one_conversation_in_every_order(db: Db) {
    let steps = proptest::collection::vec(step(), 1..9);
    let cases = (steps, 1..4usize);
    let handle = tokio::runtime::Handle::current();
    let number = std::cell::Cell::new(0);
    tokio::task::block_in_place(|| {
        let config = Config { cases: 48, failure_persistence: None, ..Config::default() };
        let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
        let outcome = TestRunner::new_with_rng(config, rng).run(&cases, |(steps, batch)| {
            number.set(number.get() + 1);
            handle.block_on(check(&db, &format!("s-{}", number.get()), &steps, batch));
            Ok(())
        });
        outcome.unwrap();
    });
}

async fn check(db: &Db, id: &str, steps: &[Step], batch: usize) {
    let session = stored_session(db, id, "org-a").await;
    // At the end somebody says who is who.
    let last = Step { addresses: 2, in_group: false, from_me: false, again: false };
    let steps: Vec<Step> = steps.iter().copied().chain([last]).collect();
    let (mut ids, mut sent) = (Vec::new(), 0usize);
    for (number, chunk) in steps.chunks(batch).enumerate() {
        let mut tx = db.begin().await.unwrap();
        let seen: Vec<Seen> = chunk
            .iter()
            .map(|step| {
                let addresses: &[&str] = [&[LID][..], &[PHONE], &[LID, PHONE]][usize::from(step.addresses)];
                let source = if step.in_group { Source::Group } else { Source::Dm };
                Seen::new(addresses.iter().copied(), Names::push(Some("Ana")), Some(source)).unwrap()
            })
            .collect();
        let learned = tx.learn(&session.id, &seen, later(1)).await.unwrap();
        for (at, step) in chunk.iter().enumerate() {
            let who = settled(&learned, at);
            // A message that comes again comes in the same chat, from the same side.
            let before = ids.iter().find(|(_, in_group, from_me)| (*in_group, *from_me) == (step.in_group, step.from_me));
            let wa_message_id = match before {
                Some((id, ..)) if step.again => String::clone(id),
                _ => {
                    sent += 1;
                    let id = format!("WA-{sent}");
                    ids.push((id.clone(), step.in_group, step.from_me));
                    id
                }
            };
            let message = Message {
                wa_message_id,
                chat_jid: if step.in_group { GROUP.into() } else { who.clone() },
                sender_jid: if step.from_me { "own@s.whatsapp.net".into() } else { who },
                from_me: step.from_me,
                direction: if step.from_me { Direction::Out } else { Direction::In },
                ..incoming(&format!("{id}-{number}-{at}"), &session)
            };
            tx.insert_message(&message).await.unwrap();
        }
        tx.commit().await.unwrap();
    }
    let chats = db.chats(&session.id, None, 100).await.unwrap();
    let direct: Vec<_> = chats.iter().filter(|chat| chat.kind == ChatKind::Dm).collect();
    assert_eq!(direct.len(), 1, "{steps:?}: {chats:#?}");
    assert_eq!((direct[0].jid.as_str(), direct[0].name.as_deref()), (PHONE, Some("Ana")), "{steps:?}");
    let lid = [LID.to_owned()];
    let known = steps.iter().any(|step| step.addresses != 1);
    assert_eq!(direct[0].aliases, if known { &lid[..] } else { &[] }, "{steps:?}");
    let of = |in_group: bool, from_me: Option<bool>| {
        ids.iter().filter(|one| one.1 == in_group && from_me.is_none_or(|from_me| one.2 == from_me)).count()
    };
    let said = db.chat_messages(&session.id, PHONE, None, 100).await.unwrap();
    assert_eq!(said.len(), of(false, None), "every message once: {steps:?}: {said:#?}");
    assert!(said.iter().all(|message| message.from_me || message.sender_jid == PHONE), "{steps:?}: {said:#?}");
    let in_group = db.chat_messages(&session.id, GROUP, None, 100).await.unwrap();
    assert_eq!(in_group.len(), of(true, None), "every message once: {steps:?}: {in_group:#?}");
    assert!(in_group.iter().all(|message| message.from_me || message.sender_jid == PHONE), "{steps:?}: {in_group:#?}");
}

async fn said(db: &Db, session: &Session, id: &str, chat: &str, at: u64, body: &str) -> Message {
    let message = Message {
        chat_jid: chat.into(),
        sender_jid: chat.into(),
        body: Some(body.into()),
        timestamp: later(at),
        ..incoming(id, session)
    };
    let mut tx = db.begin().await.unwrap();
    assert!(tx.insert_message(&message).await.unwrap());
    tx.commit().await.unwrap();
    message
}

async fn chats_come_latest_first_page_by_page(db: Db) {
    let session = stored_session(&db, "S1", "a").await;
    let other = stored_session(&db, "S2", "a").await;
    let number = |last: u64| format!("628123456780{last}@s.whatsapp.net");
    for at in 0..5 {
        said(&db, &session, &format!("M{at}"), &number(at), at, "hello").await;
    }
    said(&db, &session, "M5", &number(0), 9, "again").await;
    said(&db, &other, "X", &number(0), 10, "elsewhere").await;
    let mut found = Vec::new();
    let mut after = None;
    loop {
        let page = db.chats(&session.id, after, 2).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some((last.last_message_at, last.id));
        found.extend(page.into_iter().map(|chat| (chat.jid, chat.unread)));
    }
    let expected = [(number(0), 2), (number(4), 1), (number(3), 1), (number(2), 1), (number(1), 1)];
    assert_eq!(found, expected);
}

async fn what_holds_of_a_chat(db: Db) {
    let session = stored_session(&db, "S1", "a").await;
    let chat = async || db.chat_by_jid(&session.id, PHONE).await.unwrap().unwrap();
    for at in 1..=3 {
        said(&db, &session, &format!("M{at}"), PHONE, at, "hello").await;
    }
    assert_eq!((chat().await.unread, chat().await.last_message_at), (3, later(3)));
    let change = async |patch: ChatPatch| {
        let mut tx = db.begin().await.unwrap();
        tx.set_chat(&session.id, PHONE, &patch, NOW).await.unwrap();
        tx.commit().await.unwrap();
    };
    change(ChatPatch { archived: Some(true), muted_until: Some(Some(later(99))), ..ChatPatch::default() }).await;
    change(ChatPatch { pinned: Some(true), ephemeral: Some(60), marked_unread: Some(true), ..ChatPatch::default() }).await;
    let all = chat().await;
    assert_eq!((all.archived, all.pinned, all.marked_unread, all.ephemeral), (true, true, true, 60));
    assert_eq!(all.muted_until, Some(later(99)));
    change(ChatPatch { muted_until: Some(None), archived: Some(false), ..ChatPatch::default() }).await;
    assert_eq!((chat().await.muted_until, chat().await.archived), (None, false));
    // Read up to the second, then everything.
    let mut tx = db.begin().await.unwrap();
    tx.chat_read(&session.id, PHONE, Some(later(2))).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!((chat().await.unread, chat().await.marked_unread), (1, false));
    let mut tx = db.begin().await.unwrap();
    tx.chat_read(&session.id, PHONE, None).await.unwrap();
    assert!(tx.delete_chat(&session.id, PHONE, false).await.unwrap());
    tx.commit().await.unwrap();
    assert_eq!((chat().await.unread, db.chat_messages(&session.id, PHONE, None, 9).await.unwrap().len()), (0, 0));
    let mut tx = db.begin().await.unwrap();
    assert!(tx.delete_chat(&session.id, PHONE, true).await.unwrap());
    assert!(!tx.delete_chat(&session.id, PHONE, true).await.unwrap());
    tx.commit().await.unwrap();
    assert_eq!(db.chat_by_jid(&session.id, PHONE).await.unwrap(), None);
}

async fn search(db: &Db, session: &Session, words: &[&str], chat: Option<&str>) -> Vec<String> {
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    let found = db.search_messages(&session.id, &words, chat, None, 50).await.unwrap();
    found.into_iter().map(|message| message.id).collect()
}

async fn found_by_words(db: Db) {
    let session = stored_session(&db, "S1", "a").await;
    let other = stored_session(&db, "S2", "a").await;
    said(&db, &session, "A1", PHONE, 1, "The invoice for March is attached").await;
    said(&db, &session, "A2", PHONE, 2, "Thanks, INVOICE received").await;
    said(&db, &session, "A3", LID, 3, "Faktur untuk bulan Maret: invoices").await;
    said(&db, &session, "A4", PHONE, 4, "it's a 'quoted' \"thing\" & (more) | !no :* OR NOT").await;
    said(&db, &other, "B1", PHONE, 5, "another invoice").await;
    assert_eq!(search(&db, &session, &["invoice"], None).await, ["A3", "A2", "A1"]);
    assert_eq!(search(&db, &session, &["INVOICE", "march"], None).await, ["A1"]);
    assert_eq!(search(&db, &session, &["inv"], Some(PHONE)).await, ["A2", "A1"], "the beginning of a word is enough");
    assert_eq!(search(&db, &session, &["voice"], None).await, [""; 0]);
    assert_eq!(search(&db, &session, &["quoted", "OR", "not"], None).await, ["A4"], "nothing is an operator");
    for hostile in ["\"", "'", "\\", "a\" OR body : \"b", "') | ('", "*", "session_id"] {
        assert_eq!(search(&db, &session, &[hostile, "nothing-of-that-kind"], None).await, [""; 0], "{hostile}");
    }
    assert_eq!(search(&db, &other, &["invoice"], None).await, ["B1"]);
    // Page by page.
    let words = ["invoice".to_owned()];
    let (mut found, mut after): (Vec<String>, Option<(Time, String)>) = (Vec::new(), None);
    loop {
        let cursor = after.as_ref().map(|(at, id)| (*at, id.as_str()));
        let page = db.search_messages(&session.id, &words, None, cursor, 1).await.unwrap();
        let Some(last) = page.into_iter().next() else { break };
        after = Some((last.timestamp, last.id.clone()));
        found.push(last.id);
    }
    assert_eq!(found, ["A3", "A2", "A1"]);
}

async fn texts_that_change_are_found_as_they_are(db: Db) {
    let session = stored_session(&db, "S1", "a").await;
    let message = said(&db, &session, "A1", PHONE, 1, "first words").await;
    let mut tx = db.begin().await.unwrap();
    tx.edit_message(&message.id, Some("second thoughts"), &Content::default(), later(2)).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(search(&db, &session, &["first"], None).await, [""; 0]);
    assert_eq!(search(&db, &session, &["second"], None).await, ["A1"]);
    let edited = db.message(&session.organization, &session.id, "A1").await.unwrap().unwrap();
    assert_eq!((edited.body.as_deref(), edited.marks.edited_at), (Some("second thoughts"), Some(later(2))));
    let mut tx = db.begin().await.unwrap();
    tx.revoke_message(&message.id, later(3)).await.unwrap();
    tx.edit_message(&message.id, Some("too late"), &Content::default(), later(4)).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(search(&db, &session, &["second"], None).await, [""; 0]);
    let gone = db.message(&session.organization, &session.id, "A1").await.unwrap().unwrap();
    assert_eq!((gone.body, gone.marks.deleted_at), (None, Some(later(3))));
    let mut tx = db.begin().await.unwrap();
    assert!(tx.star_message(&session.id, &message.wa_message_id, true).await.unwrap());
    assert!(!tx.star_message(&session.id, &message.wa_message_id, true).await.unwrap());
    assert_eq!(tx.newest_of(&session.id, &[message.wa_message_id]).await.unwrap(), Some(later(1)));
}

async fn reactions_and_votes_are_each_persons_last(db: Db) {
    let session = stored_session(&db, "S1", "a").await;
    let reaction = |who: &str, emoji: &str, at: u64| Reaction {
        sender_jid: who.into(),
        from_me: false,
        emoji: emoji.into(),
        timestamp: later(at),
    };
    let vote = |who: &str, selected: &[&str], at: u64| Vote {
        sender_jid: who.into(),
        name: None,
        from_me: false,
        selected: selected.iter().map(|&it| it.to_owned()).collect(),
        timestamp: later(at),
    };
    let mut tx = db.begin().await.unwrap();
    for one in [reaction(LID, "👍", 1), reaction(PHONE, "❤", 2), reaction("1@lid", "😀", 3), reaction("1@lid", "", 4)] {
        assert!(tx.react(&session.id, "W", &one).await.unwrap());
    }
    assert!(!tx.react(&session.id, "W", &reaction(PHONE, "👎", 1)).await.unwrap(), "older news");
    for one in [vote(LID, &["tea"], 1), vote("1@lid", &["tea"], 2), vote(PHONE, &["coffee"], 3), vote("2@lid", &[], 4)] {
        assert!(tx.vote(&session.id, "W", &one).await.unwrap());
    }
    // Only now it is told that two of them are one.
    let both = Seen::new([LID, PHONE], Names::push(Some("Ana")), Some(Source::Dm)).unwrap();
    tx.learn(&session.id, &[both], later(5)).await.unwrap();
    tx.commit().await.unwrap();
    let found = db.reactions(&session.id, &["W".into(), "none".into()]).await.unwrap();
    assert_eq!(found.get("W"), Some(&vec![reaction(PHONE, "❤", 2)]));
    let votes = db.votes(&session.id, "W").await.unwrap();
    let told: Vec<_> =
        votes.iter().map(|vote| (vote.sender_jid.as_str(), vote.name.as_deref(), vote.selected.join(","))).collect();
    assert_eq!(told, [("1@lid", None, "tea".into()), (PHONE, Some("Ana"), "coffee".into())]);
    let poll = Poll { options: vec!["tea".into(), "coffee".into(), "none".into()], ..Poll::default() };
    assert_eq!(tally(&poll, &votes), [("tea".into(), 1), ("coffee".into(), 1), ("none".into(), 0)]);
}

async fn a_poll_ends_once(db: Db) {
    let session = stored_session(&db, "S1", "a").await;
    let mut tx = db.begin().await.unwrap();
    for (id, end) in [("P1", Some(later(5))), ("P2", Some(later(50))), ("P3", None)] {
        let poll = Poll { name: id.into(), end_at: end, ..Poll::default() };
        let content = Content { poll: Some(poll), ..Content::default() };
        assert!(tx.insert_message(&Message { content, kind: "poll".into(), ..incoming(id, &session) }).await.unwrap());
    }
    tx.commit().await.unwrap();
    let ended = async |at: u64| {
        let mut tx = db.begin().await.unwrap();
        let ended = tx.ended_polls(later(at), 10).await.unwrap();
        tx.commit().await.unwrap();
        ended.into_iter().map(|message| message.id).collect::<Vec<_>>()
    };
    assert_eq!(ended(4).await, [""; 0]);
    // Told by somebody whose transaction came to nothing, it is told again.
    let mut tx = db.begin().await.unwrap();
    assert_eq!(tx.ended_polls(later(5), 10).await.unwrap().len(), 1);
    drop(tx);
    assert_eq!(ended(5).await, ["P1"]);
    assert_eq!(ended(5).await, [""; 0]);
    assert_eq!(ended(60).await, ["P2"]);
}

async fn a_deed_is_new_once(db: Db) {
    let session = stored_session(&db, "S1", "a").await;
    let mut tx = db.begin().await.unwrap();
    for (id, who, new) in [("W", "1@lid", true), ("W", "1@lid", false), ("W", "2@lid", true), ("V", "1@lid", true)] {
        assert_eq!(tx.is_new_deed(&session.id, id, who, later(1)).await.unwrap(), new, "{id} {who}");
    }
    tx.commit().await.unwrap();
    assert_eq!(db.forget_deeds(later(1), 10).await.unwrap(), 0);
    assert_eq!(db.forget_deeds(later(2), 2).await.unwrap(), 2);
    assert_eq!(db.forget_deeds(later(2), 10).await.unwrap(), 1);
}

//! Groups: members come, go, rise and fall, each once, whichever address WhatsApp names them by.

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use whatsapp_gateway::domain::clock::Time;
use whatsapp_gateway::domain::group::{GroupFacts, MemberAction, MemberFacts, Role};
use whatsapp_gateway::domain::identity::{Names, Seen, Source};
use whatsapp_gateway::domain::ids::SessionId;
use whatsapp_gateway::store::Db;

use super::{later, on_both_engines, stored_session};

on_both_engines!(
    snapshots_make_a_history,
    one_person_is_one_member,
    every_order_is_one_member,
    news_keeps_it_current,
    a_short_answer_forgets_nothing,
    a_group_that_was_left,
);

const GROUP: &str = "120363000000000001@g.us";

fn who(addresses: &[&str]) -> Seen {
    Seen::new(addresses.iter().copied(), Names::default(), Some(Source::Group)).unwrap()
}

fn member(addresses: &[&str], role: Role) -> MemberFacts {
    MemberFacts { seen: who(addresses), role, tag: None }
}

fn facts(members: Vec<MemberFacts>) -> GroupFacts {
    GroupFacts { jid: GROUP.into(), subject: Some("Friends".into()), members: Some(members), ..GroupFacts::default() }
}

async fn record(db: &Db, session: &SessionId, facts: &GroupFacts, at: Time) -> i64 {
    let mut tx = db.begin().await.unwrap();
    let id = tx.record_group(session, facts, at).await.unwrap();
    tx.commit().await.unwrap();
    id
}

async fn news(db: &Db, session: &SessionId, action: MemberAction, people: &[Seen], at: Time) -> bool {
    let mut tx = db.begin().await.unwrap();
    let known = tx.members_changed(session, GROUP, action, people, Some("9@lid"), at).await.unwrap();
    tx.commit().await.unwrap();
    known
}

/// The present members, each with its role's first letter, and what happened, oldest first.
async fn seen(db: &Db, group: i64) -> (String, String) {
    let members = db.members(group, false, 0, 100).await.unwrap();
    let mut present: Vec<String> = members
        .iter()
        .map(|one| format!("{}{}", one.person.lid_or_phone().split('@').next().unwrap(), &one.role.word()[..1]))
        .collect();
    present.sort();
    let mut history = db.group_history(group, i64::MAX, 100).await.unwrap();
    history.reverse();
    let told = history.iter().map(|one| format!("{}{}", one.action.word(), one.person.lid_or_phone().split('@').next().unwrap()));
    (present.join(" "), told.collect::<Vec<_>>().join(" "))
}

async fn snapshots_make_a_history(db: Db) {
    let session = stored_session(&db, "s-1", "org-a").await.id;
    let first = vec![member(&["1@lid"], Role::Superadmin), member(&["2@lid"], Role::Member), member(&["3@lid"], Role::Member)];
    let group = record(&db, &session, &facts(first), later(1)).await;
    assert_eq!(seen(&db, group).await, ("1s 2m 3m".into(), String::new()), "what is seen first did not happen now");
    let second = vec![member(&["1@lid"], Role::Superadmin), member(&["2@lid"], Role::Admin), member(&["4@lid"], Role::Member)];
    assert_eq!(record(&db, &session, &facts(second.clone()), later(2)).await, group);
    let (present, told) = seen(&db, group).await;
    let mut told: Vec<&str> = told.split(' ').collect();
    told.sort_unstable();
    assert_eq!((present.as_str(), told), ("1s 2a 4m", vec!["join4", "leave3", "promote2"]));
    record(&db, &session, &facts(second), later(3)).await;
    let known = db.group(&session, GROUP).await.unwrap().unwrap();
    assert_eq!((known.participant_count, known.refreshed_at), (3, Some(later(3))));
    assert_eq!(db.members(group, true, 0, 100).await.unwrap().len(), 4, "who has left is still known");
    assert_eq!(db.group_history(group, i64::MAX, 100).await.unwrap().len(), 3, "and nothing more happened");
    let person = db.identity(&session, "2@lid").await.unwrap().unwrap();
    assert_eq!(db.memberships(person.id).await.unwrap()[0].role, Role::Admin);
}

async fn one_person_is_one_member(db: Db) {
    const PHONE: &str = "6281234567890@s.whatsapp.net";
    let session = stored_session(&db, "s-1", "org-a").await.id;
    // By LID and by number, nobody knows that it is one; then somebody tells.
    let apart = vec![member(&["1@lid"], Role::Admin), member(&[PHONE], Role::Member)];
    let group = record(&db, &session, &facts(apart.clone()), later(1)).await;
    assert_eq!(db.members(group, false, 0, 10).await.unwrap().len(), 2);
    let mut tx = db.begin().await.unwrap();
    tx.learn_one(&session, &who(&["1@lid", PHONE]), later(2)).await.unwrap();
    tx.commit().await.unwrap();
    let members = db.members(group, true, 0, 10).await.unwrap();
    assert_eq!((members.len(), members[0].person.address().as_str()), (1, PHONE));
    assert_eq!(db.group(&session, GROUP).await.unwrap().unwrap().participant_count, 1);
    // Named twice in one answer, and by either address later.
    record(&db, &session, &facts(apart), later(3)).await;
    news(&db, &session, MemberAction::Join, &[who(&[PHONE])], later(4)).await;
    assert_eq!(db.members(group, true, 0, 10).await.unwrap().len(), 1);
}

/// How a person is named, and by what: a list of the group's members, or news of one.
#[derive(Clone, Copy, Debug)]
struct Sight {
    addresses: u8,
    listed: bool,
}

fn sight() -> impl Strategy<Value = Sight> {
    (0..3u8, any::<bool>()).prop_map(|(addresses, listed)| Sight { addresses, listed })
}

async fn every_order_is_one_member(db: Db) {
    let handle = tokio::runtime::Handle::current();
    let number = std::cell::Cell::new(0);
    tokio::task::block_in_place(|| {
        let config = Config { cases: 32, failure_persistence: None, ..Config::default() };
        let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
        let outcome = TestRunner::new_with_rng(config, rng).run(&proptest::collection::vec(sight(), 0..8), |sights| {
            number.set(number.get() + 1);
            handle.block_on(seen_as(&db, &format!("s-{}", number.get()), &sights));
            Ok(())
        });
        outcome.unwrap();
    });
}

/// One person in a group, seen under its addresses in this order and at the end under both.
async fn seen_as(db: &Db, id: &str, sights: &[Sight]) {
    const ADDRESSES: [&[&str]; 3] = [&["1@lid"], &["6281234567890@s.whatsapp.net"], &["1@lid", "6281234567890@s.whatsapp.net"]];
    let session = stored_session(db, id, "org-a").await.id;
    let founder = || member(&["7@lid"], Role::Superadmin);
    let group = record(db, &session, &facts(vec![founder()]), later(1)).await;
    let last = Sight { addresses: 2, listed: false };
    for (at, Sight { addresses, listed }) in sights.iter().copied().chain([last]).enumerate() {
        let (at, addresses) = (later(2 + u64::try_from(at).unwrap()), ADDRESSES[usize::from(addresses)]);
        match listed {
            true => {
                record(db, &session, &facts(vec![founder(), member(addresses, Role::Member)]), at).await;
            }
            false => assert!(news(db, &session, MemberAction::Join, &[who(addresses)], at).await),
        }
    }
    let members = db.members(group, true, 0, 10).await.unwrap();
    let people: Vec<String> = members.iter().map(|one| one.person.address()).collect();
    assert_eq!(people.len(), 2, "{sights:?}: {people:?}");
    assert!(people.contains(&ADDRESSES[1][0].to_owned()), "{sights:?}: {people:?}");
    assert_eq!(members.iter().filter(|one| one.left_at.is_some()).count(), 0, "{sights:?}");
    assert_eq!(db.group(&session, GROUP).await.unwrap().unwrap().participant_count, 2, "{sights:?}");
}

async fn news_keeps_it_current(db: Db) {
    let session = stored_session(&db, "s-1", "org-a").await.id;
    assert!(!news(&db, &session, MemberAction::Join, &[who(&["1@lid"])], later(1)).await, "nobody knows the group");
    let group = record(&db, &session, &facts(vec![member(&["1@lid"], Role::Superadmin)]), later(1)).await;
    for (action, at) in [(MemberAction::Join, 2), (MemberAction::Promote, 3), (MemberAction::Demote, 4), (MemberAction::Leave, 5)]
    {
        assert!(news(&db, &session, action, &[who(&["2@lid"])], later(at)).await);
    }
    // The same again, and one that was long on its way.
    news(&db, &session, MemberAction::Leave, &[who(&["2@lid"])], later(5)).await;
    news(&db, &session, MemberAction::Promote, &[who(&["2@lid"])], later(3)).await;
    assert_eq!(seen(&db, group).await, ("1s".into(), "join2 promote2 demote2 leave2".into()));
    assert_eq!(db.group(&session, GROUP).await.unwrap().unwrap().participant_count, 1);
    let history = db.group_history(group, i64::MAX, 10).await.unwrap();
    assert!(history.iter().all(|one| one.actor_jid.as_deref() == Some("9@lid")));
}

async fn a_short_answer_forgets_nothing(db: Db) {
    let session = stored_session(&db, "s-1", "org-a").await.id;
    let full = GroupFacts {
        description: Some("All about us".into()),
        ephemeral: 86400,
        approval: true,
        ..facts(vec![member(&["1@lid"], Role::Admin)])
    };
    let group = record(&db, &session, &full, later(1)).await;
    let short = GroupFacts { jid: GROUP.into(), subject: Some("New".into()), ..GroupFacts::default() };
    assert_eq!(record(&db, &session, &short, later(2)).await, group);
    let known = db.group(&session, GROUP).await.unwrap().unwrap();
    let kept = (known.facts.subject.as_deref(), known.facts.description.as_deref(), known.facts.ephemeral, known.facts.approval);
    assert_eq!(kept, (Some("New"), Some("All about us"), 86400, true));
    assert_eq!((known.participant_count, known.refreshed_at), (1, Some(later(1))));
}

async fn a_group_that_was_left(db: Db) {
    let session = stored_session(&db, "s-1", "org-a").await.id;
    record(&db, &session, &facts(vec![member(&["1@lid"], Role::Admin)]), later(1)).await;
    let mut tx = db.begin().await.unwrap();
    tx.group_left(&session, GROUP, later(2)).await.unwrap();
    tx.commit().await.unwrap();
    assert!(db.groups(&session, 0, 10).await.unwrap().is_empty());
    assert_eq!(db.group(&session, GROUP).await.unwrap().unwrap().left_at, Some(later(2)));
    record(&db, &session, &facts(vec![member(&["1@lid"], Role::Admin)]), later(3)).await;
    assert_eq!(db.groups(&session, 0, 10).await.unwrap().len(), 1, "and entered again");
}

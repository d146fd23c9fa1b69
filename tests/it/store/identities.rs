//! People: one row each, in every order of discovery, also when two discover them at the same moment.

use whatsapp_gateway::domain::identity::{ContactFilter, Learned, Names, Seen, Source};
use whatsapp_gateway::domain::ids::SessionId;
use whatsapp_gateway::domain::jid::Address;
use whatsapp_gateway::store::Db;

use super::{later, on_both_engines, stored_session};

on_both_engines!(
    every_order_is_one_contact,
    ids_names_and_sources_last,
    many_at_a_time,
    two_at_the_same_moment,
    sessions_do_not_share,
    found_by_parts_of_names,
);

const LID: &str = "205227043110953@lid";
const PHONE: &str = "6281234567890@s.whatsapp.net";

fn seen(addresses: &[&str], name: Option<&str>, source: Source) -> Seen {
    Seen::new(addresses.iter().copied(), Names::push(name), Some(source)).unwrap()
}

async fn learn(db: &Db, session: &SessionId, seen: &[Seen]) -> Vec<Learned> {
    let mut tx = db.begin().await.unwrap();
    let learned = tx.learn(session, seen, later(1)).await.unwrap();
    tx.commit().await.unwrap();
    learned
}

async fn all(db: &Db, session: &SessionId) -> Vec<whatsapp_gateway::domain::identity::Identity> {
    db.contacts(session, &ContactFilter::default(), 0, 1000).await.unwrap()
}

async fn every_order_is_one_contact(db: Db) {
    // Three sights in every order, all in one batch and one after another.
    let sights: [&[&str]; 3] = [&[LID], &[PHONE], &[LID, PHONE]];
    for (at, order) in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]].into_iter().enumerate() {
        for together in [true, false] {
            let session = stored_session(&db, &format!("s-{at}-{together}"), "org-a").await.id;
            let sights = order.map(|one| seen(sights[one], Some("Ana"), Source::Dm));
            let last = match together {
                true => learn(&db, &session, &sights).await.pop(),
                false => {
                    let mut last = None;
                    for sight in sights {
                        last = learn(&db, &session, &[sight]).await.pop();
                    }
                    last
                }
            };
            let people = all(&db, &session).await;
            assert_eq!(people.len(), 1, "{order:?}: {people:#?}");
            assert_eq!((people[0].lid.as_deref(), people[0].address()), (Some(LID), PHONE.to_owned()), "{order:?}");
            assert_eq!(last.unwrap().id, people[0].id, "{order:?}");
            for address in [LID, PHONE] {
                assert_eq!(db.identity(&session, address).await.unwrap().as_ref(), Some(&people[0]), "{order:?}");
                let address = Address::parse("to", address).unwrap();
                assert_eq!(db.canonical(&session, &address).await.unwrap(), PHONE);
            }
            assert_eq!(db.aliases(people[0].id).await.unwrap(), [LID, PHONE]);
        }
    }
}

async fn ids_names_and_sources_last(db: Db) {
    let session = stored_session(&db, "s-1", "org-a").await.id;
    let first = learn(&db, &session, &[seen(&[PHONE], Some("Ana"), Source::Group)]).await.remove(0);
    assert!(first.changed && first.moved.is_empty());
    let second = learn(&db, &session, &[seen(&[LID], None, Source::Dm)]).await.remove(0);
    assert_ne!(first.id, second.id, "nobody knows yet");
    let joined = learn(&db, &session, &[seen(&[LID, PHONE], Some(""), Source::Group)]).await.remove(0);
    assert_eq!((joined.id, joined.moved), (first.id, vec![(LID.to_owned(), PHONE.to_owned())]), "the older row stays");
    let person = all(&db, &session).await.remove(0);
    assert_eq!((person.name(), person.dm, person.in_group), (Some("Ana"), true, true));
    let again = learn(&db, &session, &[seen(&[LID, PHONE], None, Source::Dm)]).await.remove(0);
    assert!(!again.changed && again.moved.is_empty());
    // A number passes to somebody else: the name stays with the person.
    let other = learn(&db, &session, &[seen(&["99@lid", PHONE], Some("Ben"), Source::Dm)]).await.remove(0);
    assert_ne!(other.id, first.id);
    assert_eq!(db.identity(&session, PHONE).await.unwrap().unwrap().name(), Some("Ben"));
    let ana = db.identity(&session, LID).await.unwrap().unwrap();
    assert_eq!((ana.id, ana.name(), ana.phone.as_deref()), (first.id, Some("Ana"), None));
}

async fn many_at_a_time(db: Db) {
    let session = stored_session(&db, "s-1", "org-a").await.id;
    let people: Vec<Seen> = (0..1300)
        .map(|n| seen(&[&format!("{}@lid", 10_000 + n), &format!("62812{n:07}@s.whatsapp.net")], Some("Somebody"), Source::Group))
        .collect();
    let first = learn(&db, &session, &people).await;
    let second = learn(&db, &session, &people).await;
    assert_eq!(first.iter().map(|one| one.id).collect::<Vec<_>>(), second.iter().map(|one| one.id).collect::<Vec<_>>());
    assert!(first.iter().all(|one| one.id > 0 && one.changed) && second.iter().all(|one| !one.changed));
    let (mut after, mut seen) = (0, 0);
    loop {
        let page = db.contacts(&session, &ContactFilter::default(), after, 500).await.unwrap();
        let Some(last) = page.last() else { break };
        (after, seen) = (last.id, seen + page.len());
    }
    assert_eq!(seen, 1300);
}

async fn two_at_the_same_moment(db: Db) {
    let session = stored_session(&db, "s-1", "org-a").await.id;
    let tasks = (0..8).map(|n| {
        let (db, session) = (db.clone(), session.clone());
        let addresses: &[&str] = match n % 3 {
            0 => &[LID],
            1 => &[PHONE],
            _ => &[LID, PHONE],
        };
        tokio::spawn(async move { learn(&db, &session, &[seen(addresses, None, Source::Dm)]).await })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    assert_eq!(all(&db, &session).await.len(), 1);
}

async fn sessions_do_not_share(db: Db) {
    let one = stored_session(&db, "s-1", "org-a").await;
    let other = stored_session(&db, "s-2", "org-a").await;
    learn(&db, &one.id, &[seen(&[LID, PHONE], Some("Ana"), Source::Dm)]).await;
    assert!(all(&db, &other.id).await.is_empty() && db.identity(&other.id, LID).await.unwrap().is_none());
    let mut tx = db.begin().await.unwrap();
    assert!(tx.delete_session(&one.organization, &one.id).await.unwrap());
    tx.commit().await.unwrap();
    assert!(db.identity(&one.id, LID).await.unwrap().is_none(), "it goes with its session");
}

async fn found_by_parts_of_names(db: Db) {
    let session = stored_session(&db, "s-1", "org-a").await.id;
    let people = [
        seen(&["1@lid"], Some("ÄNNE 100%"), Source::Dm),
        seen(&["2@lid", "4915112345678@s.whatsapp.net"], Some("Ben_jamin"), Source::Group),
        seen(&["3@lid"], None, Source::Group),
    ];
    learn(&db, &session, &people).await;
    let found = async |filter: ContactFilter| {
        let found = db.contacts(&session, &filter, 0, 10).await.unwrap();
        found.into_iter().map(|person| person.lid.unwrap()).collect::<Vec<_>>()
    };
    let text = |text: &str| ContactFilter { text: Some(text.into()), ..ContactFilter::default() };
    assert_eq!(found(text("änne")).await, ["1@lid"]);
    assert_eq!(found(text("0%")).await, ["1@lid"]);
    assert_eq!(found(text("n_j")).await, ["2@lid"]);
    assert_eq!(found(text("5112345")).await, ["2@lid"]);
    assert!(found(text("%%%")).await.is_empty());
    assert_eq!(found(ContactFilter { source: Some(Source::Group), ..ContactFilter::default() }).await, ["2@lid", "3@lid"]);
    assert_eq!(found(ContactFilter { source: Some(Source::Dm), ..ContactFilter::default() }).await, ["1@lid"]);
    let except = (Some("3@lid".into()), Some("4915112345678".into()));
    assert_eq!(found(ContactFilter { except, ..ContactFilter::default() }).await, ["1@lid"]);
}

//! The event log: sequences without gaps, in the order of commits, whoever writes at the same time.

use std::collections::HashMap;

use whatsapp_gateway::domain::event::{AuthCode, Code, NewEvent, Payload};
use whatsapp_gateway::domain::ids::SessionId;
use whatsapp_gateway::domain::session::{Reason, Session, State, Status};
use whatsapp_gateway::store::Db;

use super::{NOW, later, on_both_engines, organization, stored_session};
use crate::support::catalogue::payloads;

on_both_engines!(
    every_kind_of_event_comes_back,
    sequences_are_each_organizations_own,
    filters_and_limits,
    bounds_tell_what_can_be_read,
    pruning_cuts_the_old_end_only,
    a_reader_never_sees_a_gap_that_is_filled_later,
);

pub(super) fn event(id: &str, session: &Session) -> NewEvent {
    NewEvent {
        id: format!("evt_{id}"),
        session: session.id.clone(),
        organization: session.organization.clone(),
        timestamp: NOW,
        payload: Payload::SessionStatus(State::new(Status::Starting, Reason::Connecting, NOW)),
    }
}

async fn append(db: &Db, events: &[NewEvent]) -> Vec<i64> {
    let mut tx = db.begin().await.unwrap();
    let sequences = tx.append_events(events).await.unwrap().sequences;
    tx.commit().await.unwrap();
    sequences
}

async fn every_kind_of_event_comes_back(db: Db) {
    let session = stored_session(&db, "S1", "a").await;
    let mut payloads = payloads();
    payloads.push(Payload::AuthCode(AuthCode::Shown(Code { code: "ABCD-EFGH".into(), expires_at: None })));
    let all: Vec<i64> = (1..).take(payloads.len()).collect();
    let events: Vec<NewEvent> = payloads
        .into_iter()
        .enumerate()
        .map(|(at, payload)| NewEvent { payload, timestamp: later(at as u64), ..event(&at.to_string(), &session) })
        .collect();
    assert_eq!(append(&db, &events).await, all);
    let read = db.list_events(&session.organization, 0, 100, &[], &[]).await.unwrap();
    assert_eq!(read.iter().map(|one| one.sequence).collect::<Vec<_>>(), all);
    assert_eq!(read.into_iter().map(|one| one.event).collect::<Vec<_>>(), events);
}

async fn sequences_are_each_organizations_own(db: Db) {
    let (a, b) = (stored_session(&db, "S1", "a").await, stored_session(&db, "S2", "b").await);
    let mixed = [event("1", &b), event("2", &a), event("3", &b)];
    assert_eq!(append(&db, &mixed).await, [1, 1, 2]);
    assert_eq!(append(&db, &[]).await, [0i64; 0]);
    // What was rolled back leaves no hole.
    let mut tx = db.begin().await.unwrap();
    assert_eq!(tx.append_events(&[event("4", &a)]).await.unwrap().sequences, [2]);
    drop(tx);
    assert_eq!(append(&db, &[event("5", &a)]).await, [2]);
    // Two appends in one transaction, and more events than one statement takes.
    let mut tx = db.begin().await.unwrap();
    assert_eq!(tx.append_events(&[event("6", &a)]).await.unwrap().sequences, [3]);
    let many: Vec<NewEvent> = (0..201).map(|at| event(&format!("m{at}"), &a)).collect();
    assert_eq!(tx.append_events(&many).await.unwrap().sequences, (4..205).collect::<Vec<i64>>());
    tx.commit().await.unwrap();
    let mut unseen = event("7", &a);
    unseen.organization = organization("unseen");
    assert!(db.begin().await.unwrap().append_events(&[unseen]).await.is_err());
}

async fn filters_and_limits(db: Db) {
    let (one, two) = (stored_session(&db, "S1", "a").await, stored_session(&db, "S2", "a").await);
    let qr = |id: &str, session: &Session| {
        let payload = Payload::AuthQr(Code { code: id.into(), expires_at: None });
        NewEvent { payload, ..event(id, session) }
    };
    append(&db, &[event("1", &one), qr("2", &one), event("3", &two), qr("4", &two), event("5", &one)]).await;
    let owner = organization("a");
    let read = async |after: i64, limit: i64, sessions: &[&str], names: &[&str]| {
        let sessions: Vec<SessionId> = sessions.iter().map(|id| SessionId::new(*id)).collect();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let events = db.list_events(&owner, after, limit, &sessions, &names).await.unwrap();
        events.into_iter().map(|one| one.sequence).collect::<Vec<_>>()
    };
    assert_eq!(read(0, 9, &[], &[]).await, [1, 2, 3, 4, 5]);
    assert_eq!(read(2, 2, &[], &[]).await, [3, 4]);
    assert_eq!(read(0, 9, &["S1"], &[]).await, [1, 2, 5]);
    assert_eq!(read(0, 9, &[], &["auth.qr"]).await, [2, 4]);
    assert_eq!(read(1, 1, &["S1", "S2", "S3"], &["auth.qr", "session.status", "message"]).await, [2]);
    assert_eq!(read(0, 9, &["S2"], &["session.status"]).await, [3]);
    assert_eq!(read(0, 9, &["' OR 1=1 --"], &[]).await, [0i64; 0]);
    assert_eq!(read(5, 9, &[], &[]).await, [0i64; 0]);
    assert_eq!(db.list_events(&organization("b"), 0, 9, &[], &[]).await.unwrap(), []);
}

async fn bounds_tell_what_can_be_read(db: Db) {
    let owner = organization("a");
    assert_eq!(db.event_bounds(&owner).await.unwrap(), (1, 0));
    let session = stored_session(&db, "S1", "a").await;
    assert_eq!(db.event_bounds(&owner).await.unwrap(), (1, 0));
    append(&db, &[event("1", &session), event("2", &session)]).await;
    assert_eq!(db.event_bounds(&owner).await.unwrap(), (1, 2));
    assert_eq!(db.prune_events(later(1), 1).await.unwrap(), 1);
    assert_eq!(db.event_bounds(&owner).await.unwrap(), (2, 2));
    assert_eq!(db.prune_events(later(1), 10).await.unwrap(), 1);
    assert_eq!(db.event_bounds(&owner).await.unwrap(), (3, 2));
    assert_eq!(append(&db, &[event("3", &session)]).await, [3]);
}

async fn pruning_cuts_the_old_end_only(db: Db) {
    let (a, b) = (stored_session(&db, "S1", "a").await, stored_session(&db, "S2", "b").await);
    let at = |id: &str, session: &Session, seconds: u64| NewEvent { timestamp: later(seconds), ..event(id, session) };
    // The fourth is old, but behind a young one: its time was taken before it waited for its turn.
    append(&db, &[at("1", &a, 0), at("2", &a, 1), at("3", &a, 9), at("4", &a, 1), at("5", &b, 0)]).await;
    assert_eq!(db.prune_events(later(5), 1).await.unwrap(), 2);
    assert_eq!(db.prune_events(later(5), 100).await.unwrap(), 1);
    assert_eq!(db.prune_events(later(5), 100).await.unwrap(), 0);
    assert_eq!(db.event_bounds(&organization("a")).await.unwrap(), (3, 4));
    assert_eq!(db.event_bounds(&organization("b")).await.unwrap(), (2, 1));
}

async fn a_reader_never_sees_a_gap_that_is_filled_later(db: Db) {
    const WRITERS: usize = 6;
    const EACH: usize = 20;
    let session = stored_session(&db, "S1", "a").await;
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (db, session) = (db.clone(), session.clone());
            tokio::spawn(async move {
                let mut written = 0;
                for turn in 0..EACH {
                    let events: Vec<_> = (0..turn % 3 + 1).map(|at| event(&format!("{writer}-{turn}-{at}"), &session)).collect();
                    let mut tx = db.begin().await.unwrap();
                    tx.append_events(&events).await.unwrap();
                    // Others get a chance to overtake between the numbering and the commit.
                    tx.ensure_organization(&session.organization, NOW).await.unwrap();
                    tokio::task::yield_now().await;
                    if turn % 5 == 4 {
                        drop(tx);
                    } else {
                        tx.commit().await.unwrap();
                        written += events.len();
                    }
                }
                written
            })
        })
        .collect();
    let expected: usize = WRITERS * (0..EACH).filter(|turn| turn % 5 != 4).map(|turn| turn % 3 + 1).sum::<usize>();
    let mut seen: Vec<String> = Vec::new();
    let follow = async {
        while seen.len() < expected {
            let after = i64::try_from(seen.len()).unwrap();
            for one in db.list_events(&session.organization, after, 7, &[], &[]).await.unwrap() {
                assert_eq!(one.sequence, i64::try_from(seen.len()).unwrap() + 1, "a gap, which a cursor would skip");
                seen.push(one.event.id);
            }
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), follow).await.expect("every event becomes visible");
    let mut written = 0;
    for writer in writers {
        written += writer.await.unwrap();
    }
    assert_eq!((written, seen.len()), (expected, expected));
    assert_eq!(db.event_bounds(&session.organization).await.unwrap(), (1, i64::try_from(expected).unwrap()));
    // Each transaction's events stand together.
    let mut turns: HashMap<String, usize> = HashMap::new();
    for (place, id) in seen.iter().enumerate() {
        let (turn, at) = id.rsplit_once('-').unwrap();
        let first = *turns.entry(turn.to_owned()).or_insert(place);
        assert_eq!(place - first, at.parse::<usize>().unwrap(), "{id}");
    }
}

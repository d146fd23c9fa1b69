//! Sessions: every field comes back, every organization sees its own, a former holder's word is refused.

use whatsapp_gateway::domain::ids::{GatewayId, SessionId};
use whatsapp_gateway::domain::session::{Account, Desired, Fence, Ignore, Reason, Session, Settings, State, Status};
use whatsapp_gateway::error::Code;
use whatsapp_gateway::store::Db;

use super::{NOW, later, new_session, on_both_engines, organization, stored_session};

on_both_engines!(
    every_field_comes_back,
    another_organization_sees_nothing,
    a_dropped_transaction_leaves_nothing,
    settings_are_replaced,
    desires_and_generations,
    states_are_fenced_by_epoch_and_generation,
    supervision_finds_what_to_run,
    deleting_takes_everything_but_the_log,
);

async fn every_field_comes_back(db: Db) {
    let full = Session {
        created_by_user: Some("user-7".into()),
        settings: Settings {
            label: Some("Büro \u{1F4F1}'; DROP TABLE sessions --".into()),
            auto_read: true,
            presence_typing: false,
            rate_per_min: i32::MAX,
            rate_per_hour: 0,
            ignore: Ignore { status: true, groups: false, channels: true, broadcast: false },
            metadata: [("customer".to_owned(), "4711 \"x\"".to_owned())].into(),
            new_contacts_per_day: 7,
            warm_up_days: 30,
        },
        desired: Desired::Running,
        generation: 41,
        state: State { until: Some(later(3)), data: Some("{}".into()), ..State::new(Status::Failed, Reason::Banned, later(1)) },
        account: Some(Account {
            phone_number: "6281".into(),
            wa_jid: "6281@s.whatsapp.net".into(),
            wa_lid: Some("1@lid".into()),
        }),
        is_admin: true,
        last_connected_at: Some(later(2)),
        created_at: later(4),
        updated_at: later(5),
        ..new_session("S2", "a")
    };
    let bare = stored_session(&db, "S1", "a").await;
    let mut tx = db.begin().await.unwrap();
    tx.insert_session(&full).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(db.session(&organization("a"), &full.id).await.unwrap().as_ref(), Some(&full));
    assert_eq!(db.session_by_id(&bare.id).await.unwrap().as_ref(), Some(&bare));
    assert_eq!(db.list_sessions(&organization("a")).await.unwrap(), [bare, full.clone()]);
    let mut tx = db.begin().await.unwrap();
    assert_eq!(tx.insert_session(&full).await.unwrap_err().code, Code::Conflict);
}

async fn another_organization_sees_nothing(db: Db) {
    let (mine, other) = (stored_session(&db, "S1", "a").await, organization("b"));
    stored_session(&db, "S2", "b").await;
    assert_eq!(db.session(&other, &mine.id).await.unwrap(), None);
    assert_eq!(db.list_sessions(&other).await.unwrap().len(), 1);
    let mut tx = db.begin().await.unwrap();
    assert_eq!(tx.update_settings(&other, &mine.id, &Settings::default(), NOW).await.unwrap(), None);
    assert_eq!(tx.set_desired(&other, &mine.id, Desired::Running, true, NOW).await.unwrap(), None);
    assert_eq!(tx.lock_session(&other, &mine.id).await.unwrap(), None);
    assert!(!tx.delete_session(&other, &mine.id).await.unwrap());
    tx.commit().await.unwrap();
    assert_eq!(db.session_by_id(&mine.id).await.unwrap(), Some(mine));
}

async fn a_dropped_transaction_leaves_nothing(db: Db) {
    let mut tx = db.begin().await.unwrap();
    tx.ensure_organization(&organization("a"), NOW).await.unwrap();
    tx.insert_session(&new_session("S1", "a")).await.unwrap();
    drop(tx);
    assert_eq!(db.session_by_id(&SessionId::new("S1")).await.unwrap(), None);
    stored_session(&db, "S1", "a").await;
}

async fn settings_are_replaced(db: Db) {
    let session = stored_session(&db, "S1", "a").await;
    let settings = Settings { label: Some("shop".into()), auto_read: true, rate_per_min: 1, ..Settings::default() };
    let mut tx = db.begin().await.unwrap();
    let changed = tx.update_settings(&session.organization, &session.id, &settings, later(1)).await.unwrap();
    tx.commit().await.unwrap();
    let expected = Session { settings, updated_at: later(1), ..session.clone() };
    assert_eq!(changed.as_ref(), Some(&expected));
    assert_eq!(db.session_by_id(&session.id).await.unwrap(), Some(expected));
    let mut tx = db.begin().await.unwrap();
    let cleared = tx.update_settings(&session.organization, &session.id, &Settings::default(), later(2)).await.unwrap();
    assert_eq!(cleared.unwrap().settings.label, None);
}

async fn desires_and_generations(db: Db) {
    let session = stored_session(&db, "S1", "a").await;
    let mut tx = db.begin().await.unwrap();
    let (owner, id) = (&session.organization, &session.id);
    let running = tx.set_desired(owner, id, Desired::Running, false, later(1)).await.unwrap().unwrap();
    assert_eq!((running.desired, running.generation), (Desired::Running, 0));
    assert_eq!(tx.set_desired(owner, id, Desired::Running, true, later(1)).await.unwrap().unwrap().generation, 1);
    let locked = tx.lock_session(owner, id).await.unwrap().unwrap();
    assert_eq!((locked.desired, locked.generation), (Desired::Running, 1));
    tx.commit().await.unwrap();
    assert_eq!(db.session_by_id(id).await.unwrap(), Some(locked));
}

async fn states_are_fenced_by_epoch_and_generation(db: Db) {
    let session = stored_session(&db, "S1", "a").await;
    let id = &session.id;
    let (one, two) = (GatewayId::new("gw-1"), GatewayId::new("gw-2"));
    let ttl = std::time::Duration::from_secs(10);
    let old = db.acquire_lease(id, &one, NOW, ttl).await.unwrap().unwrap().epoch;
    let new = db.acquire_lease(id, &two, later(11), ttl).await.unwrap().unwrap().epoch;
    let working = State::new(Status::Working, Reason::Connected, later(12));
    let account = Account { phone_number: "6281".into(), wa_jid: "6281@s.whatsapp.net".into(), wa_lid: None };
    let mut tx = db.begin().await.unwrap();
    let fence = |epoch, generation| Some(Fence { epoch, generation });
    for refused in [fence(old, 0), fence(new, 1), fence(new + 1, 0)] {
        assert!(!tx.set_state(id, refused, &working, later(12)).await.unwrap(), "{refused:?}");
    }
    assert!(tx.set_state(id, fence(new, 0), &working, later(12)).await.unwrap());
    assert!(tx.set_account(id, Some(&account), later(13)).await.unwrap());
    assert!(tx.set_last_connected(id, later(12)).await.unwrap());
    assert!(!tx.set_account(&SessionId::new("none"), Some(&account), later(13)).await.unwrap());
    assert!(!tx.set_state(&SessionId::new("none"), None, &working, later(12)).await.unwrap());
    tx.commit().await.unwrap();
    let stored = db.session_by_id(id).await.unwrap().unwrap();
    let expected = Session {
        gateway: two,
        state: working.clone(),
        account: Some(account),
        last_connected_at: Some(later(12)),
        attached_at: Some(later(13)),
        updated_at: later(13),
        ..session
    };
    assert_eq!(stored, expected);
    let stopped = State { until: Some(later(99)), ..State::new(Status::LoggedOut, Reason::Unlinked, later(14)) };
    let mut tx = db.begin().await.unwrap();
    assert!(tx.set_state(&expected.id, None, &stopped, later(14)).await.unwrap());
    assert!(tx.set_account(&expected.id, None, later(14)).await.unwrap());
    tx.commit().await.unwrap();
    let stored = db.session_by_id(&expected.id).await.unwrap().unwrap();
    assert_eq!((stored.state, stored.account), (stopped, None));
}

async fn supervision_finds_what_to_run(db: Db) {
    for (id, owner) in [("S1", "a"), ("S2", "b"), ("S3", "b")] {
        stored_session(&db, id, owner).await;
    }
    let mut tx = db.begin().await.unwrap();
    tx.set_desired(&organization("b"), &SessionId::new("S2"), Desired::Running, false, NOW).await.unwrap().unwrap();
    tx.commit().await.unwrap();
    let (one, two) = (GatewayId::new("gw-1"), GatewayId::new("gw-2"));
    let ids = |sessions: Vec<Session>| sessions.into_iter().map(|one| one.id.to_string()).collect::<Vec<_>>();
    assert_eq!(ids(db.sessions_to_run(&one).await.unwrap()), ["S2"]);
    assert_eq!(ids(db.sessions_of_gateway(&one).await.unwrap()), ["S1", "S2", "S3"]);
    assert_eq!(ids(db.sessions_to_run(&two).await.unwrap()), [""; 0]);
}

async fn deleting_takes_everything_but_the_log(db: Db) {
    let session = stored_session(&db, "S1", "a").await;
    let mut tx = db.begin().await.unwrap();
    tx.insert_message(&super::messages::incoming("M1", &session)).await.unwrap();
    tx.append_events(&[super::events::event("E1", &session)]).await.unwrap();
    tx.commit().await.unwrap();
    let mut tx = db.begin().await.unwrap();
    assert!(tx.delete_session(&session.organization, &session.id).await.unwrap());
    assert!(!tx.delete_session(&session.organization, &session.id).await.unwrap());
    tx.commit().await.unwrap();
    assert_eq!(db.message(&session.organization, &session.id, "M1").await.unwrap(), None);
    assert_eq!(db.list_events(&session.organization, 0, 10, &[], &[]).await.unwrap().len(), 1);
}

//! Leases: one holder at a time, and the epoch tells the holders apart.

use std::time::Duration;

use whatsapp_gateway::domain::ids::{GatewayId, SessionId};
use whatsapp_gateway::domain::session::Lease;
use whatsapp_gateway::store::Db;

use super::{NOW, later, on_both_engines, stored_session};

on_both_engines!(
    a_held_lease_is_refused_to_others,
    an_expired_lease_changes_hands,
    only_current_leases_are_renewed,
    many_leases_are_renewed_at_once,
    of_many_that_try_one_gets_it,
);

const TTL: Duration = Duration::from_secs(10);

async fn a_held_lease_is_refused_to_others(db: Db) {
    let id = stored_session(&db, "S1", "a").await.id;
    let (one, two) = (GatewayId::new("gw-1"), GatewayId::new("gw-2"));
    let lease = db.acquire_lease(&id, &one, NOW, TTL).await.unwrap();
    assert_eq!(lease, Some(Lease { session: id.clone(), holder: one.clone(), epoch: 1, expires_at: later(10) }));
    assert_eq!(db.acquire_lease(&id, &two, later(9), TTL).await.unwrap(), None);
    // The holder itself gets it again, as a new holding: its former one can no longer write.
    assert_eq!(db.acquire_lease(&id, &one, later(1), TTL).await.unwrap().unwrap().epoch, 2);
    assert_eq!(db.acquire_lease(&SessionId::new("none"), &one, NOW, TTL).await.unwrap(), None);
    // Giving back a holding that is no longer the current one changes nothing.
    db.release_lease(&id, 1).await.unwrap();
    assert_eq!(db.acquire_lease(&id, &two, later(2), TTL).await.unwrap(), None);
    db.release_lease(&id, 2).await.unwrap();
    assert_eq!(db.acquire_lease(&id, &two, later(2), TTL).await.unwrap().unwrap().epoch, 3);
}

async fn an_expired_lease_changes_hands(db: Db) {
    let id = stored_session(&db, "S1", "a").await.id;
    let (one, two) = (GatewayId::new("gw-1"), GatewayId::new("gw-2"));
    db.acquire_lease(&id, &one, NOW, TTL).await.unwrap().unwrap();
    let taken = db.acquire_lease(&id, &two, later(10), TTL).await.unwrap().unwrap();
    assert_eq!((taken.epoch, taken.expires_at), (2, later(20)));
    assert_eq!(db.session_by_id(&id).await.unwrap().unwrap().gateway, two);
    assert_eq!(db.renew_leases(&one, &[(id.clone(), 1)], later(11), TTL).await.unwrap(), [id]);
}

async fn only_current_leases_are_renewed(db: Db) {
    let one = GatewayId::new("gw-1");
    let mut leases = Vec::new();
    for name in ["S1", "S2", "S3"] {
        let id = stored_session(&db, name, "a").await.id;
        let epoch = db.acquire_lease(&id, &one, NOW, TTL).await.unwrap().unwrap().epoch;
        leases.push((id, epoch));
    }
    db.acquire_lease(&leases[1].0, &one, NOW, TTL).await.unwrap().unwrap();
    db.release_lease(&leases[2].0, leases[2].1).await.unwrap();
    // S1 has run out, but nobody took it.
    let lost = db.renew_leases(&one, &leases, later(15), TTL).await.unwrap();
    assert_eq!(lost, [leases[1].0.clone(), leases[2].0.clone()]);
    assert_eq!(db.acquire_lease(&leases[0].0, &GatewayId::new("gw-2"), later(24), TTL).await.unwrap(), None);
    assert_eq!(db.renew_leases(&one, &[], NOW, TTL).await.unwrap(), []);
}

async fn many_leases_are_renewed_at_once(db: Db) {
    let one = GatewayId::new("gw-1");
    let mut leases = Vec::new();
    for at in 0..300 {
        let id = stored_session(&db, &format!("S{at}"), "a").await.id;
        let epoch = db.acquire_lease(&id, &one, NOW, TTL).await.unwrap().unwrap().epoch;
        leases.push((id, epoch));
    }
    leases[299].1 += 1;
    assert_eq!(db.renew_leases(&one, &leases, later(1), TTL).await.unwrap(), [leases[299].0.clone()]);
}

async fn of_many_that_try_one_gets_it(db: Db) {
    let id = stored_session(&db, "S1", "a").await.id;
    let tries: Vec<_> = (0..8)
        .map(|at| {
            let (db, id, gateway) = (db.clone(), id.clone(), GatewayId::new(format!("gw-{at}")));
            tokio::spawn(async move { db.acquire_lease(&id, &gateway, NOW, TTL).await.unwrap() })
        })
        .collect();
    let mut got = Vec::new();
    for one in tries {
        got.extend(one.await.unwrap());
    }
    assert_eq!(got.len(), 1, "{got:?}");
    assert_eq!(got[0].epoch, 1);
}

//! Backfills of a large account under fire: rate limits, dropped connections, kill -9 in the middle. And two who start one at a time.

mod import;
mod largest;
pub(crate) mod made;
mod watched;
pub(crate) mod world;

use serde_json::json;
use whatsapp_gateway::domain::backfill::{BackfillJob, BackfillStatus, Phase};
use whatsapp_gateway::domain::ids::GatewayId;
use whatsapp_gateway::error::Code;
use whatsapp_gateway::store::Db;

use self::world::{Size, World};
use crate::store::{on_both_engines, stored_session};

on_both_engines!(of_two_starters_one_wins, a_claim_holds_until_it_runs_out);

const NOW: whatsapp_gateway::domain::clock::Time = whatsapp_gateway::domain::clock::Time(1_760_000_000_000);

async fn of_two_starters_one_wins(db: Db) {
    let session = stored_session(&db, "s-1", "org-a").await;
    for round in 0..5 {
        let starts = (0..2).map(|n| {
            let (db, session) = (db.clone(), session.clone());
            tokio::spawn(async move {
                let job = BackfillJob::new(format!("job-{round}-{n}"), session.id, session.organization, NOW);
                let mut tx = db.begin().await?;
                tx.insert_backfill(&job).await?;
                tx.commit().await
            })
        });
        let mut won = 0;
        for start in starts.collect::<Vec<_>>() {
            match start.await.unwrap() {
                Ok(()) => won += 1,
                Err(error) => assert_eq!(error.code, Code::Conflict, "{error:?}"),
            }
        }
        assert_eq!(won, 1);
        let token = format!("token-{round}");
        let mut job =
            db.claim_backfill(&GatewayId::new("gw-1"), &token, NOW, std::time::Duration::from_secs(60)).await.unwrap().unwrap();
        assert_eq!(db.latest_backfill(&session.id).await.unwrap().as_ref(), Some(&job));
        (job.status, job.finished_at, job.phase) = (BackfillStatus::Succeeded, Some(NOW), Phase::Done);
        let mut tx = db.begin().await.unwrap();
        assert_eq!(tx.advance_backfill(&job, &token, NOW, std::time::Duration::ZERO).await.unwrap(), Some(false));
        tx.commit().await.unwrap();
    }
}

async fn a_claim_holds_until_it_runs_out(db: Db) {
    let session = stored_session(&db, "s-1", "org-a").await;
    let (ours, others) = (GatewayId::new("gw-1"), GatewayId::new("gw-2"));
    let minute = std::time::Duration::from_secs(60);
    let job = BackfillJob::new("job".into(), session.id.clone(), session.organization.clone(), NOW);
    let mut tx = db.begin().await.unwrap();
    tx.insert_backfill(&job).await.unwrap();
    tx.commit().await.unwrap();
    assert!(db.claim_backfill(&others, "theirs", NOW, minute).await.unwrap().is_none(), "it goes with the session's gateway");
    assert!(db.claim_backfill(&ours, "first", NOW, minute).await.unwrap().is_some());
    assert!(db.claim_backfill(&ours, "second", NOW, minute).await.unwrap().is_none());
    assert!(db.cancel_backfill(&session.id).await.unwrap());
    let mut tx = db.begin().await.unwrap();
    assert_eq!(tx.advance_backfill(&job, "first", NOW, minute).await.unwrap(), Some(true), "somebody wants it to end");
    tx.add_backfill_groups("job", &["1@g.us", "2@g.us"]).await.unwrap();
    tx.add_backfill_groups("job", &["2@g.us", "3@g.us"]).await.unwrap();
    tx.finish_backfill_group("job", "1@g.us", Some(7)).await.unwrap();
    tx.finish_backfill_group("job", "2@g.us", None).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(db.backfill_groups("job").await.unwrap(), (3, 1, 7));
    assert_eq!(db.next_backfill_group("job").await.unwrap().as_deref(), Some("3@g.us"));
    let later = NOW.plus(minute);
    assert!(db.claim_backfill(&ours, "second", later, minute).await.unwrap().is_some());
    let mut tx = db.begin().await.unwrap();
    assert_eq!(tx.advance_backfill(&job, "first", later, minute).await.unwrap(), None, "its claim has passed on");
    drop(tx);
    // The gateway's next life does not wait.
    db.adopt_backfills(&others).await.unwrap();
    assert!(db.claim_backfill(&ours, "early", later, minute).await.unwrap().is_none());
    db.adopt_backfills(&ours).await.unwrap();
    assert!(db.claim_backfill(&ours, "second", later, minute).await.unwrap().is_some());
    db.release_backfill("job", "second").await.unwrap();
    assert!(db.claim_backfill(&ours, "third", later, minute).await.unwrap().is_some());
}

/// 20,000 contacts and 300 groups of 500 with `WAGW_TEST_BACKFILL=full` (some minutes), a tenth of it without.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_account_is_pulled_under_fire() {
    let size = match std::env::var("WAGW_TEST_BACKFILL").as_deref() {
        Ok("full") => Size { contacts: 20_000, groups: 300, members: 500 },
        _ => Size { contacts: 1_000, groups: 30, members: 50 },
    };
    let mut world = World::new(size).await;
    let session = world.large_account().await;
    world.arm().await;
    let (status, job) = world.admin("POST", &format!("/api/v1/admin/sessions/{session}:backfill")).await;
    assert_eq!(status, 202, "{job}");
    // In the middle of it the process dies without a word.
    world.until_groups(&session, size.groups / 3).await;
    world.kill().await;
    world.arm().await;
    let done = world.until_done(&session).await;
    let told = |name: &str| usize::try_from(done[name].as_i64().unwrap()).unwrap();
    assert_eq!((&done["status"], &done["failures"], &done["id"]), (&json!("succeeded"), &json!([]), &job["id"]), "{done}");
    // The account itself may be among those that its device has cached.
    assert!((size.contacts..=size.contacts + 1).contains(&told("contacts")), "{done}");
    assert_eq!((told("groups"), told("groupMembers")), (size.groups, size.groups * size.members));
    world.check_directory(&session).await;
    let told = world.call("GET", "/api/v1/events?events=backfill.progress&limit=1000", None).await;
    let told = told["data"].as_array().unwrap();
    let last = &told.last().unwrap()["payload"]["job"];
    assert!(told.len() > 1, "{told:?}");
    assert_eq!((&last["id"], &last["status"], &last["groups"]), (&job["id"], &json!("succeeded"), &done["groups"]));
    world.note(&done);
}

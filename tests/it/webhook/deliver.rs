//! Deliveries under everything that receivers and workers do, on both engines.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::Value;
use whatsapp_gateway::domain::event::Payload;
use whatsapp_gateway::domain::ids::SessionId;
use whatsapp_gateway::domain::session::{Reason, State, Status};
use whatsapp_gateway::domain::webhook::{BREAKER, Backlog, DeliveryStatus, Disabled, Policy, Retry};
use whatsapp_gateway::event::follow::bounds;
use whatsapp_gateway::store::Db;

use super::bench::{Bench, START, organization};
use super::{Receiver, Reply, until};

crate::store::on_both_engines!(
    every_failure_is_tried_again_with_the_same_id,
    a_receiver_that_hangs_is_given_up_for_now,
    dead_letters_can_be_sent_again,
    a_span_of_time_can_be_sent_again,
    a_receiver_that_is_gone_switches_its_webhook_off,
    order_is_kept_within_a_session_only,
    a_killed_workers_delivery_is_made_again,
    an_open_breaker_drops_nothing,
    retry_after_is_honoured_within_limits,
    only_what_the_filters_let_through_is_planned,
    changes_count_from_the_next_event_on,
    two_gateways_share_the_work,
    an_end_in_good_order_finishes_what_is_under_way,
);

const PENDING: DeliveryStatus = DeliveryStatus::Pending;
const DELIVERED: DeliveryStatus = DeliveryStatus::Delivered;
const DEAD: DeliveryStatus = DeliveryStatus::Dead;

async fn every_failure_is_tried_again_with_the_same_id(db: Db) {
    let bench = Bench::new(db).await;
    let failures = [500, 401, 429, 404, 302, 503];
    let receiver = Receiver::start(failures.map(Reply::Status)).await;
    let id = bench.webhook(&receiver, |_| {}).await;
    let _workers = bench.run();
    bench.tell_qr("S1", "1@x").await;
    for (tries, status) in (1..).zip(failures) {
        let all = bench.until_all(&id, "a recorded failure", |one| one.outcome.status == Some(status.into())).await;
        assert_eq!((all[0].status, all[0].attempt), (PENDING, tries));
        let due = all[0].due_at.since(bench.ambient.now()).as_secs();
        assert!((7200..=8640).contains(&due), "due in {due} s");
        bench.ambient.advance(Duration::from_secs(8641));
    }
    let all = bench.until_all(&id, "the delivery", |one| one.status == DELIVERED).await;
    assert_eq!((all[0].attempt, all[0].outcome.status), (7, Some(200)));
    let hits = receiver.hits();
    for (tries, hit) in (1..).zip(&hits) {
        assert_eq!(hit.header("webhook-id"), all[0].event_id);
        assert_eq!(hit.header("x-webhook-request-id"), all[0].event_id);
        assert_eq!(hit.header("x-webhook-attempt"), tries.to_string());
        assert_eq!(hit.header("x-customer"), "7");
        assert_eq!(hit.header("content-type"), "application/json");
        assert_eq!(hit.body, hits[0].body);
    }
    assert_ne!(hits[0].header("webhook-timestamp"), hits[6].header("webhook-timestamp"), "each try has its own time");
    let body: Value = serde_json::from_slice(&hits[0].body).unwrap();
    assert_eq!((&body["event"], &body["payload"]["code"]), (&"auth.qr".into(), &"1@x".into()));
}

async fn a_receiver_that_hangs_is_given_up_for_now(db: Db) {
    let bench = Bench::new(db).await;
    let receiver = Receiver::start([Reply::Hang]).await;
    let id = bench.webhook(&receiver, |_| {}).await;
    let _workers = bench.run();
    bench.tell_qr("S1", "1@x").await;
    let all = bench.until_all(&id, "the end of patience", |one| one.outcome.error.is_some()).await;
    assert_eq!(all[0].outcome.error.as_deref(), Some("did not answer in time"));
    bench.ambient.advance(Duration::from_secs(8641));
    bench.until_all(&id, "the delivery", |one| one.status == DELIVERED).await;
    assert_eq!(receiver.count(), 2);
}

async fn dead_letters_can_be_sent_again(db: Db) {
    let bench = Bench::new(db).await;
    let receiver = Receiver::start([]).await;
    receiver.henceforth(Some(Reply::With(500, "x-a", "b".into(), "é".repeat(200))));
    let retry = Retry { policy: Policy::Constant, delay_seconds: 0, attempts: 2 };
    let id = bench.webhook(&receiver, |it| it.retry = retry).await;
    let _workers = bench.run();
    bench.tell_qr("S1", "1@x").await;
    let dead = bench.until_all(&id, "the dead letter", |one| one.status == DEAD).await;
    assert_eq!((dead[0].attempt, receiver.count()), (2, 2));
    assert_eq!(dead[0].outcome.answer.as_deref(), Some("é".repeat(128).as_str()), "the first 256 bytes");
    assert!(dead[0].finished_at.is_some());

    receiver.henceforth(None);
    let mut tx = bench.db.begin().await.unwrap();
    assert_eq!(tx.redeliver_dead(&id, bench.ambient.now()).await.unwrap(), 1);
    tx.commit().await.unwrap();
    let all = bench.until_all(&id, "the delivery", |one| one.status == DELIVERED).await;
    assert_eq!((all[0].attempt, &all[0].event_id), (3, &dead[0].event_id));

    // By its id, although it was delivered.
    let mut tx = bench.db.begin().await.unwrap();
    let ids = [all[0].event_id.clone(), "evt_unknown".to_owned()];
    assert_eq!(tx.redeliver_events(&id, &ids, bench.ambient.now()).await.unwrap(), 1);
    tx.commit().await.unwrap();
    let hits = receiver.until_hits(4).await;
    assert_eq!(hits[3].header("webhook-id"), all[0].event_id);
    bench.until_all(&id, "the record", |one| one.status == DELIVERED && one.attempt == 4).await;
}

async fn a_span_of_time_can_be_sent_again(db: Db) {
    let bench = Bench::new(db).await;
    for code in ["early", "before the webhook"] {
        bench.tell_qr("S1", code).await;
        bench.ambient.advance(Duration::from_secs(60));
    }
    bench.tell("S1", Payload::SessionStatus(State::new(Status::Working, Reason::Connected, START))).await;
    let receiver = Receiver::start([]).await;
    let id = bench.webhook(&receiver, |it| it.events = vec!["auth.*".into()]).await;
    let _workers = bench.run();
    bench.tell_qr("S1", "after").await;
    bench.until_all(&id, "the delivery", |one| one.status == DELIVERED).await;

    let now = bench.ambient.now();
    let (webhook, mut tx) = (bench.get(&id).await, bench.db.begin().await.unwrap());
    let since = START.plus(Duration::from_secs(60));
    let count = tx.redeliver_span(&webhook, since, now.plus(Duration::from_secs(1)), now).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(count, 2, "neither what came before the span nor what the filters hold back");
    receiver.until_hits(3).await;
    let all = bench.until_all(&id, "the deliveries", |one| one.status == DELIVERED).await;
    assert_eq!(all.iter().map(|one| (one.sequence, one.attempt)).collect::<Vec<_>>(), [(2, 1), (4, 2)]);
}

async fn a_receiver_that_is_gone_switches_its_webhook_off(db: Db) {
    let bench = Bench::new(db).await;
    let (receiver, other) = (Receiver::start([Reply::Status(410)]).await, Receiver::start([]).await);
    let id = bench.webhook(&receiver, |it| it.events = vec!["auth.qr".into()]).await;
    let witness = bench.webhook(&other, |it| it.events = vec!["webhook.*".into()]).await;
    let _workers = bench.run();
    bench.tell_qr("S1", "1@x").await;
    until("the end of the webhook", async || bench.get(&id).await.disabled == Some(Disabled::Gone)).await;
    let told = other.until_hits(1).await;
    let body: Value = serde_json::from_slice(&told[0].body).unwrap();
    assert_eq!(body["event"], "webhook.disabled");
    assert_eq!(body["payload"], serde_json::json!({"webhookId": id.as_str(), "reason": "gone"}));
    bench.until_all(&witness, "the witness's record", |one| one.status == DELIVERED).await;

    // While it is off nothing is planned, and nothing is lost of what was.
    bench.tell_qr("S1", "2@x").await;
    let waiting = bench.until_all(&id, "the record", |one| one.outcome.status == Some(410)).await;
    assert_eq!((waiting.len(), waiting[0].status), (1, PENDING));
    let mut webhook = bench.get(&id).await;
    webhook.disabled = None;
    bench.put(&webhook).await;
    bench.until_all(&id, "the delivery", |one| one.status == DELIVERED).await;
    assert_eq!(receiver.count(), 2);
}

async fn order_is_kept_within_a_session_only(db: Db) {
    let bench = Bench::new(db).await;
    let receiver = Receiver::start([]).await;
    let id = bench.webhook(&receiver, |it| it.ordered = true).await;
    for (session, code) in [("A", "A1"), ("A", "A2"), ("B", "B1"), ("A", "A3"), ("B", "B2"), ("C", "C1")] {
        bench.tell_qr(session, code).await;
    }
    // The first try of each session fails.
    receiver.henceforth(Some(Reply::Status(500)));
    let workers = bench.run();
    until("each session's first try", async || {
        let all = bench.deliveries(&id).await;
        [0, 2, 5].iter().all(|at| all[*at].outcome.status == Some(500))
    })
    .await;
    let all = bench.deliveries(&id).await;
    assert_eq!(all.iter().map(|one| one.attempt).collect::<Vec<_>>(), [1, 0, 1, 0, 0, 1], "nobody overtakes");
    receiver.henceforth(None);
    bench.ambient.advance(Duration::from_secs(8641));
    bench.until_all(&id, "everything", |one| one.status == DELIVERED).await;
    workers.kill().await;
    let codes: Vec<String> = receiver.hits()[3..].iter().map(code).collect();
    let of = |session: &str| codes.iter().filter(|code| code.starts_with(session)).cloned().collect::<Vec<_>>();
    assert_eq!((of("A"), of("B"), of("C")), (names(&["A1", "A2", "A3"]), names(&["B1", "B2"]), names(&["C1"])));

    // A dead letter does not hold up what comes behind it.
    let mut webhook = bench.get(&id).await;
    webhook.retry = Retry { policy: Policy::Constant, delay_seconds: 0, attempts: 1 };
    bench.put(&webhook).await;
    let before = receiver.count();
    receiver.inner.replies.lock().unwrap().push_back(Reply::Status(500));
    bench.tell_qr("D", "D1").await;
    bench.tell_qr("D", "D2").await;
    let _workers = bench.run();
    receiver.until_hits(before + 2).await;
    bench.until_all(&id, "both ends", |one| one.status != PENDING).await;
    let ends: Vec<_> = bench.deliveries(&id).await.iter().skip(6).map(|one| one.status).collect();
    assert_eq!(ends, [DEAD, DELIVERED]);
}

async fn a_killed_workers_delivery_is_made_again(db: Db) {
    let bench = Bench::new(db).await;
    let receiver = Receiver::start([Reply::Hang]).await;
    let id = bench.webhook(&receiver, |_| {}).await;
    let workers = bench.run();
    bench.tell_qr("S1", "1@x").await;
    receiver.until_hits(1).await;
    workers.kill().await;
    let _workers = bench.run();
    let held = bench.deliveries(&id).await;
    assert_eq!((held[0].status, held[0].attempt, held[0].due_at.since(START).as_secs()), (PENDING, 1, 30), "its claim holds");
    bench.ambient.advance(Duration::from_secs(60));
    let hits = receiver.until_hits(2).await;
    assert_eq!(hits[0].header("webhook-id"), hits[1].header("webhook-id"));
    assert_eq!((hits[0].header("x-webhook-attempt"), hits[1].header("x-webhook-attempt")), ("1", "2"));
    bench.until_all(&id, "the delivery", |one| one.status == DELIVERED).await;
}

async fn an_open_breaker_drops_nothing(db: Db) {
    let bench = Bench::new(db).await;
    let receiver = Receiver::start([]).await;
    receiver.henceforth(Some(Reply::Status(503)));
    let id = bench.webhook(&receiver, |_| {}).await;
    let _workers = bench.run();
    for number in 0..40 {
        bench.tell_qr("S1", &number.to_string()).await;
    }
    until("the breaker", async || bench.get(&id).await.paused_until.is_some()).await;
    // Those that were under way end; then nothing is tried.
    until("quiet", async || {
        let all = bench.deliveries(&id).await;
        let tried = all.iter().filter(|one| one.attempt > 0).count();
        tried == all.iter().filter(|one| one.outcome.status.is_some()).count()
    })
    .await;
    let tried = receiver.count();
    assert!(tried < 20, "{tried} tries with a receiver that fails");
    let webhook = bench.get(&id).await;
    assert_eq!(webhook.failures, i64::try_from(tried).unwrap());
    assert!(webhook.failures >= BREAKER && webhook.paused_until > Some(START));
    let behind = Backlog { pending: 40, since: Some(START) };
    assert_eq!(bench.db.webhook_backlog(&id).await.unwrap(), behind);
    assert_eq!(bench.db.webhook_backlogs(&organization()).await.unwrap(), HashMap::from([(id.clone(), behind)]));

    // One probe at a time while it fails on, then everything.
    bench.ambient.advance(Duration::from_secs(300));
    receiver.until_hits(tried + 1).await;
    until("the probe's record", async || bench.get(&id).await.failures == webhook.failures + 1).await;
    receiver.henceforth(None);
    bench.ambient.advance(Duration::from_secs(9000));
    let all = bench.until_all(&id, "everything", |one| one.status == DELIVERED).await;
    assert_eq!(all.len(), 40);
    let webhook = bench.get(&id).await;
    assert_eq!((webhook.failures, webhook.paused_until), (0, None));
    assert_eq!(bench.db.webhook_backlog(&id).await.unwrap(), Backlog::default());
    assert!(bench.db.webhook_backlogs(&organization()).await.unwrap().is_empty());
}

async fn retry_after_is_honoured_within_limits(db: Db) {
    let bench = Bench::new(db).await;
    let wish = |text: &str| Reply::With(429, "retry-after", text.to_owned(), String::new());
    let receiver = Receiver::start([wish("120"), wish("999999"), wish("soon")]).await;
    let id = bench.webhook(&receiver, |_| {}).await;
    let _workers = bench.run();
    bench.tell_qr("S1", "1@x").await;
    for (tries, expected) in [(1, 120..=120), (2, 3600..=3600), (3, 7200..=8640)] {
        let now = bench.ambient.now();
        let recorded = |one: &_| {
            let one: &whatsapp_gateway::domain::webhook::Delivery = one;
            one.attempt == tries && one.due_at.since(now).as_secs() != 30
        };
        let all = bench.until_all(&id, "the record", recorded).await;
        assert!(expected.contains(&all[0].due_at.since(now).as_secs()), "try {tries}: {:?}", all[0]);
        if tries < 3 {
            assert_eq!(bench.get(&id).await.paused_until, Some(all[0].due_at), "the whole endpoint is left alone");
        }
        bench.ambient.advance(all[0].due_at.since(now));
    }
    bench.until_all(&id, "the delivery", |one| one.status == DELIVERED).await;
}

async fn only_what_the_filters_let_through_is_planned(db: Db) {
    let bench = Bench::new(db).await;
    let receiver = Receiver::start([]).await;
    let all = bench.webhook(&receiver, |_| {}).await;
    let named = bench.webhook(&receiver, |it| it.events = vec!["message".into(), "session.status".into()]).await;
    let beginning = bench.webhook(&receiver, |it| it.events = vec!["auth.*".into()]).await;
    let session = bench.webhook(&receiver, |it| it.session = Some(SessionId::new("B"))).await;
    let off = bench.webhook(&receiver, |it| it.disabled = Some(Disabled::ByCaller)).await;
    bench.tell_qr("A", "1@x").await;
    bench.tell_qr("B", "2@x").await;
    bench.tell("A", Payload::SessionStatus(State::new(Status::Working, Reason::Connected, START))).await;
    let mut planned = Vec::new();
    for id in [&all, &named, &beginning, &session, &off] {
        planned.push(bench.deliveries(id).await.iter().map(|one| one.sequence).collect::<Vec<_>>());
    }
    assert_eq!(planned, [vec![1, 2, 3], vec![3], vec![1, 2], vec![2], vec![]]);
}

/// On the gateway that made the change and on one that was told nothing.
async fn changes_count_from_the_next_event_on(db: Db) {
    let bench = Bench::new(db.clone()).await;
    let other = Bench::beside(db, bench.ambient.clone());
    let receiver = Receiver::start([]).await;
    bench.tell_qr("A", "1").await;
    other.tell_qr("A", "2").await;
    let id = bench.webhook(&receiver, |_| {}).await;
    other.tell_qr("A", "3").await;
    bench.tell_qr("A", "4").await;
    let mut webhook = bench.get(&id).await;
    webhook.session = Some(SessionId::new("B"));
    other.put(&webhook).await;
    for gateway in [&bench, &other] {
        gateway.tell_qr("A", "5 and 6").await;
        gateway.tell_qr("B", "7 and 8").await;
    }
    // A change that came to nothing is not remembered either.
    let mut recording = bench.log.begin().await.unwrap();
    recording.tx.change_webhooks(&organization()).await.unwrap();
    recording.tx.disable_webhook(&id, Disabled::ByCaller, START).await.unwrap();
    drop(recording);
    bench.tell_qr("B", "9").await;
    let planned: Vec<_> = bench.deliveries(&id).await.iter().map(|one| one.sequence).collect();
    assert_eq!(planned, [3, 4, 6, 8, 9]);
    // Neither the events nor the deliveries of a transaction that is dropped are there.
    let mut recording = bench.log.begin().await.unwrap();
    recording.tell(&organization(), &SessionId::new("B"), Payload::WebhookTest(id.clone()));
    drop(recording);
    assert_eq!(bounds(&bench.db, &organization()).await.unwrap().newest, 9);
    assert_eq!(bench.deliveries(&id).await.len(), 5);
}

async fn two_gateways_share_the_work(db: Db) {
    let bench = Bench::new(db.clone()).await;
    let other = Bench::beside(db, bench.ambient.clone());
    let receiver = Receiver::start([]).await;
    let id = bench.webhook(&receiver, |it| it.concurrency = 3).await;
    for number in 0..60 {
        bench.tell_qr("S1", &number.to_string()).await;
    }
    let _workers = (bench.run(), other.run());
    bench.until_all(&id, "everything", |one| one.status == DELIVERED).await;
    let mut ids: Vec<String> = receiver.hits().iter().map(|hit| hit.header("webhook-id").to_owned()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!((receiver.count(), ids.len()), (60, 60), "each exactly once");
    assert!(receiver.most_busy() <= 3, "{} at a time", receiver.most_busy());
}

async fn an_end_in_good_order_finishes_what_is_under_way(db: Db) {
    let bench = Bench::new(db).await;
    let receiver = Receiver::start([Reply::Hang]).await;
    let id = bench.webhook(&receiver, |_| {}).await;
    let draining = tokio_util::sync::CancellationToken::new();
    let workers = tokio::spawn(bench.workers.clone().run(draining.clone()));
    bench.tell_qr("S1", "1@x").await;
    receiver.until_hits(1).await;
    draining.cancel();
    workers.await.unwrap();
    let all = bench.deliveries(&id).await;
    assert_eq!(all[0].outcome.error.as_deref(), Some("did not answer in time"), "it was recorded before the end");
}

fn code(hit: &super::Hit) -> String {
    let body: Value = serde_json::from_slice(&hit.body).unwrap();
    body["payload"]["code"].as_str().unwrap().to_owned()
}

fn names(all: &[&str]) -> Vec<String> {
    all.iter().map(|name| (*name).to_owned()).collect()
}

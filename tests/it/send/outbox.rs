//! The outbox: what waits, what is taken back, what is paced, what is restricted, and that each message's end is the truth.

use std::time::Duration;

use serde_json::{Value, json};
use whatsapp_gateway::domain::clock::{Ambient, Time};

use super::{BUDI, DEWI, SHOP, Shop};
use crate::gateway::{Home, KEY, on_both_engines};

on_both_engines!(
    what_waits_goes_when_it_is_time,
    what_is_queued_can_be_taken_back,
    budgets_hold_exactly,
    restrictions_pause_first_words,
    too_many_messages_are_told,
    new_contacts_have_a_budget,
    unanswered_messages_go_again_under_the_same_id,
    what_is_over_is_ended,
);

fn text(to: &str, text: &str) -> Value {
    json!({"type": "text", "to": to, "text": text})
}

async fn settled(shop: &Shop, id: &Value, state: &str) -> Value {
    let path = format!("{}/messages/{}", shop.path, id.as_str().unwrap());
    shop.gateway.until(&path, state, |message| message["delivery"]["state"] == state).await
}

async fn what_waits_goes_when_it_is_time(home: Home) {
    let shop = Shop::open(home.start().await).await;
    let (status, later) = shop.send(text(BUDI, "later"), "?async=true").await;
    assert_eq!((status, &later["mode"], &later["status"]), (202, &json!("async"), &json!("pending")), "{later}");
    let sent = settled(&shop, &later["outboxId"], "sent").await;
    assert!(sent["delivery"]["settledAt"].as_i64() >= sent["delivery"]["queuedAt"].as_i64(), "{sent}");
    // With the session stopped it waits, and goes as soon as the session is back.
    shop.gateway.post(&format!("{}:stop", shop.path), json!({})).await;
    let (status, waiting) = shop.send(text(BUDI, "when you are back"), "?async=true").await;
    assert_eq!(status, 202, "{waiting}");
    let queue = shop.gateway.get(&format!("{}/outbox", shop.path)).await;
    assert_eq!(
        (queue["data"].as_array().unwrap().len(), &queue["data"][0]["delivery"]["state"]),
        (1, &json!("queued")),
        "{queue}"
    );
    shop.gateway.post(&format!("{}:start", shop.path), json!({})).await;
    settled(&shop, &waiting["outboxId"], "sent").await;
    // Scheduled: not before its time.
    let now = Ambient::system().now().plus(Duration::from_secs(2));
    let mut body = text(BUDI, "on time");
    body["sendAt"] = json!(now.0);
    let (status, timed) = shop.send(body, "").await;
    assert_eq!((status, &timed["mode"]), (202, &json!("async")), "{timed}");
    let sent = settled(&shop, &timed["outboxId"], "sent").await;
    assert!(sent["delivery"]["sendingAt"].as_i64() >= Some(now.0), "{sent}");
    for answer in [&later, &waiting, &timed] {
        let row = shop.shown(BUDI, &answer["waMessageId"], "it", |row| row["kind"] == "text").await;
        assert_eq!(row["arrivals"], 1, "{row}");
    }
    shop.gateway.stop().await;
}

async fn what_is_queued_can_be_taken_back(home: Home) {
    let shop = Shop::open(home.start().await).await;
    let mut body = text(BUDI, "never");
    body["sendAt"] = json!(Ambient::system().now().plus(Duration::from_secs(3600)).0);
    for path in ["messages", "outbox"] {
        let (_, queued) = shop.send(body.clone(), "").await;
        let id = queued["outboxId"].as_str().unwrap();
        let one = format!("{}/{path}/{id}", shop.path);
        let given = (path == "messages").then(|| json!({}));
        let (status, answer) = shop.gateway.call_as(Some(KEY), "DELETE", &one, given).await;
        assert_eq!((status, &answer["mode"]), (200, &json!("cancelled")), "{answer}");
        let message = settled(&shop, &queued["outboxId"], "cancelled").await;
        assert_eq!(message["status"], "failed", "{message}");
        let (status, again) = shop.gateway.call_as(Some(KEY), "DELETE", &format!("{}/outbox/{id}", shop.path), None).await;
        assert_eq!((status, &again["error"]["details"]["reason"]), (409, &json!("not_queued")), "{again}");
    }
    let page = shop.gateway.get(&format!("/sandbox/v1/phones/{BUDI}/messages")).await;
    assert_eq!(page["data"], json!([]));
    shop.gateway.stop().await;
}

/// How many messages 50 callers get accepted, each wanting to send `each`, one after the other. Each takes a millisecond of the clock:
/// who comes later goes later.
async fn rush(shop: &Shop, ambient: &Ambient, each: usize) -> usize {
    let caller = async |n: usize| {
        let (mut accepted, to) = (0, [BUDI, DEWI][n % 2]);
        for at in 0..each {
            ambient.advance(Duration::from_millis(1));
            let (status, answer) = shop.send(text(to, &format!("{n}/{at}")), "").await;
            assert!(matches!(status, 200 | 429), "{answer}");
            assert!(status == 200 || answer["error"]["details"]["retryAfterSeconds"].as_i64() > Some(0), "{answer}");
            accepted += usize::from(status == 200);
        }
        accepted
    };
    futures_util::future::join_all((0..50).map(caller)).await.into_iter().sum()
}

/// 20 a minute and 600 an hour, under 50 callers at once, across restarts, by a clock of its own.
async fn budgets_hold_exactly(home: Home) {
    let ambient = Ambient::held(Time::from_secs(1_800_000_000));
    let mut shop = Shop::open(home.start_with(&[], ambient.clone()).await).await;
    let session = shop.gateway.get(&shop.path).await;
    assert_eq!((&session["ratePerMin"], &session["ratePerHour"]), (&json!(20), &json!(600)), "the defaults");
    let again = async |shop: Shop, later: u64| {
        let path = shop.path.clone();
        shop.gateway.stop().await;
        ambient.advance(Duration::from_secs(later));
        let gateway = home.start_with(&[], ambient.clone()).await;
        gateway.until(&path, "working", |s| s["status"] == "working").await;
        Shop { gateway, path }
    };
    assert_eq!(rush(&shop, &ambient, 1).await, 20, "a minute's budget");
    shop = again(shop, 0).await;
    assert_eq!(rush(&shop, &ambient, 1).await, 0, "a restart gives nothing back");
    shop = again(shop, 61).await;
    assert_eq!(rush(&shop, &ambient, 1).await, 20, "the next minute's");
    let (status, _) = shop.gateway.call_as(Some(KEY), "PATCH", &shop.path, Some(json!({"ratePerMin": 10_000}))).await;
    assert_eq!(status, 200);
    assert_eq!(rush(&shop, &ambient, 14).await, 560, "what is left of the hour's");
    shop = again(shop, 0).await;
    assert_eq!(rush(&shop, &ambient, 1).await, 0, "a restart gives nothing back");
    // What may wait takes its place when there is one.
    let (_, waiting) = shop.send(text(BUDI, "patient"), "?async=true").await;
    let queued = shop.message(&waiting["outboxId"]).await;
    assert_eq!(queued["delivery"]["state"], "queued", "{queued}");
    // An hour after the first twenty there are as many places, and no more: one is the patient's.
    shop = again(shop, 3600 - 61).await;
    settled(&shop, &waiting["outboxId"], "sent").await;
    assert_eq!(rush(&shop, &ambient, 1).await, 19, "the places of the first twenty");
    shop.gateway.stop().await;
}

async fn restrictions_pause_first_words(home: Home) {
    let shop = Shop::open(home.start().await).await;
    shop.written(BUDI, "hello?").await;
    let fault = json!({"kind": "refuse_message", "phoneNumber": SHOP, "code": 463});
    shop.gateway.post("/sandbox/v1/faults", fault).await;
    let (status, error) = shop.send(text(DEWI, "a first word"), "").await;
    let details = &error["error"]["details"];
    assert_eq!((status, &details["reason"]), (429, &json!("restricted")), "{error}");
    assert!(details["until"].as_i64() > Some(Ambient::system().now().0), "{error}");
    let session = shop.gateway.until(&shop.path, "the restriction", |s| s["statusDetail"]["reason"] == "restricted").await;
    assert_eq!((&session["status"], &session["statusDetail"]["until"]), (&json!("working"), &details["until"]), "{session}");
    // Known now, so nothing goes out to be refused again; who may wait waits; answers go on.
    let (status, error) = shop.send(text(DEWI, "again"), "").await;
    assert_eq!((status, &error["error"]["details"]["reason"]), (429, &json!("restricted")), "{error}");
    let (status, waiting) = shop.send(text(DEWI, "when it is over"), "?async=true").await;
    assert_eq!(status, 202);
    shop.sent(text(BUDI, "an answer")).await;
    assert_eq!(shop.message(&waiting["outboxId"]).await["delivery"]["state"], "queued");
    // Whoever writes is no stranger any more.
    shop.written(DEWI, "who are you?").await;
    settled(&shop, &waiting["outboxId"], "sent").await;
    let events = shop.gateway.events("account.restricted").await;
    assert_eq!((events.len(), &events[0]["payload"]["restricted"]), (1, &json!(true)), "{events:?}");
    shop.gateway.stop().await;
}

async fn too_many_messages_are_told(home: Home) {
    let shop = Shop::open(home.start().await).await;
    let fault = json!({"kind": "refuse_message", "phoneNumber": SHOP, "code": 429, "count": 2});
    shop.gateway.post("/sandbox/v1/faults", fault).await;
    let (status, error) = shop.send(text(BUDI, "too much"), "").await;
    let details = &error["error"]["details"];
    assert_eq!((status, &details["reason"]), (429, &json!("whatsapp_rate_limit")), "{error}");
    assert!(details["until"].as_i64() > Some(Ambient::system().now().0), "{error}");
    // Who may wait waits, and it is not told twice.
    let (_, waiting) = shop.send(text(BUDI, "later"), "?async=true").await;
    let path = format!("{}/messages/{}", shop.path, waiting["outboxId"].as_str().unwrap());
    let message = shop.gateway.until(&path, "why it waits", |it| it["delivery"]["reason"] == "too_much").await;
    assert_eq!(message["delivery"]["state"], "queued", "{message}");
    let events = shop.gateway.events("account.restricted").await;
    let told = &events[0]["payload"];
    assert_eq!((events.len(), &told["kind"], &told["code"]), (1, &json!("rate"), &json!("429")), "{events:?}");
    assert!(told["until"].as_i64() > Some(Ambient::system().now().0), "{told}");
    shop.gateway.stop().await;
}

async fn new_contacts_have_a_budget(home: Home) {
    let shop = Shop::open(home.start().await).await;
    let body = json!({"newContactsPerDay": 1, "warmUpDays": 3});
    let (status, session) = shop.gateway.call_as(Some(KEY), "PATCH", &shop.path, Some(body)).await;
    assert_eq!((status, &session["newContactsPerDay"], &session["warmUpDays"]), (200, &json!(1), &json!(3)), "{session}");
    shop.sent(text(BUDI, "hello")).await;
    shop.sent(text(BUDI, "it is me again")).await;
    let (status, error) = shop.send(text(DEWI, "hello"), "").await;
    assert_eq!((status, &error["error"]["details"]["reason"]), (429, &json!("new_contacts_used_up")), "{error}");
    shop.written(DEWI, "write to me").await;
    shop.sent(text(DEWI, "gladly")).await;
    shop.gateway.stop().await;
}

/// The sandbox drops the socket when a message comes: nobody knows whether it has it. It goes again under the same id.
async fn unanswered_messages_go_again_under_the_same_id(home: Home) {
    let shop = Shop::open(home.start().await).await;
    let fault = json!({"kind": "drop", "phoneNumber": SHOP, "stanza": "message"});
    shop.gateway.post("/sandbox/v1/faults", fault).await;
    let (status, accepted) = shop.send(text(BUDI, "through all of it"), "?async=true").await;
    assert_eq!(status, 202);
    let sent = settled(&shop, &accepted["outboxId"], "sent").await;
    assert!(sent["delivery"]["attempts"].as_i64() > Some(1), "{sent}");
    let row = shop.shown(BUDI, &accepted["waMessageId"], "it", |row| row["kind"] == "text").await;
    assert_eq!(row["arrivals"], 1, "{row}");
    shop.gateway.stop().await;
}

async fn what_is_over_is_ended(home: Home) {
    let ambient = Ambient::held(Time::from_secs(1_800_000_000));
    let shop = Shop::open(home.start_with(&[], ambient.clone()).await).await;
    shop.gateway.post(&format!("{}:stop", shop.path), json!({})).await;
    let (status, waiting) = shop.send(text(BUDI, "too late"), "?async=true").await;
    assert_eq!(status, 202);
    ambient.advance(Duration::from_secs(24 * 3600 + 1));
    let message = settled(&shop, &waiting["outboxId"], "failed").await;
    assert_eq!((&message["status"], &message["delivery"]["reason"]), (&json!("failed"), &json!("expired")), "{message}");
    shop.gateway.stop().await;
}

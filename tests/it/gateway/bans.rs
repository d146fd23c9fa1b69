//! What WhatsApp forbids a number for a time has an end, which is told once, whatever becomes of the gateway meanwhile.

use std::time::Duration;

use serde_json::{Value, json};
use whatsapp_gateway::domain::clock::{Ambient, Time};
use whatsapp_gateway::session::Timing;

use super::{Gateway, Home, KEY, on_both_engines};

on_both_engines!(
    a_ban_that_ends_behind_a_restart_is_told_once,
    a_ban_goes_on_behind_a_restart,
    a_restriction_that_ends_while_nobody_runs_is_told_once,
    a_restriction_that_ends_meanwhile_is_told_once,
);

const SHOP: &str = "6281200000001";
const BUDI: &str = "6281200000002";
const HOUR: Duration = Duration::from_secs(3600);

/// The restrictions that were told, by kind and whether they began, and when.
async fn told(gateway: &Gateway) -> Vec<(String, bool, i64)> {
    let told = gateway.events("account.restricted").await;
    let one = |event: &Value| {
        let payload = &event["payload"];
        let kind = payload["kind"].as_str().unwrap().to_owned();
        (kind, payload["restricted"].as_bool().unwrap(), event["timestamp"].as_i64().unwrap())
    };
    told.iter().map(one).collect()
}

fn kinds(told: &[(String, bool, i64)]) -> Vec<(&str, bool)> {
    told.iter().map(|(kind, began, _)| (kind.as_str(), *began)).collect()
}

async fn until_state(gateway: &Gateway, path: &str, status: &str, reason: &str) -> Value {
    let fits = |s: &Value| s["status"] == status && s["statusDetail"]["reason"] == reason;
    gateway.until(path, &format!("{status}/{reason}"), fits).await
}

/// Bans the number at its next login, which is now.
async fn ban(gateway: &Gateway, path: &str, lasts: Duration) -> i64 {
    let millis = u64::try_from(lasts.as_millis()).unwrap();
    let refuse = json!({"kind": "refuse_login", "phoneNumber": SHOP, "code": 402, "durationMs": millis});
    for fault in [refuse, json!({"kind": "drop", "phoneNumber": SHOP})] {
        gateway.post("/sandbox/v1/faults", fault).await;
    }
    until_state(gateway, path, "failed", "banned").await["statusDetail"]["until"].as_i64().unwrap()
}

/// By the machine's own clock.
async fn a_ban_that_ends_behind_a_restart_is_told_once(home: Home) {
    let gateway = home.start().await;
    let path = format!("/api/v1/sessions/{}", gateway.paired(SHOP).await);
    let until = ban(&gateway, &path, Duration::from_secs(4)).await;
    gateway.stop().await;
    // The simulator of the next life knows of no ban: only the gateway's own memory keeps it away until then.
    let gateway = home.start().await;
    until_state(&gateway, &path, "working", "connected").await;
    let all = told(&gateway).await;
    assert_eq!(kinds(&all), [("banned", true), ("banned", false)], "{all:?}");
    assert!(all[1].2 >= until, "not before {until}: {all:?}");
    gateway.stop().await;
    let gateway = home.start().await;
    until_state(&gateway, &path, "working", "connected").await;
    assert_eq!(told(&gateway).await, all, "and not again");
    gateway.stop().await;
}

async fn a_ban_goes_on_behind_a_restart(home: Home) {
    let ambient = Ambient::held(Time::from_secs(1_800_000_000));
    let start = || home.start_with(&[], ambient.clone());
    let gateway = start().await;
    let path = format!("/api/v1/sessions/{}", gateway.paired(SHOP).await);
    let until = ban(&gateway, &path, HOUR).await;
    gateway.stop().await;
    let gateway = start().await;
    let banned = gateway.get(&path).await;
    assert_eq!((&banned["status"], &banned["statusDetail"]["reason"]), (&json!("failed"), &json!("banned")), "{banned}");
    assert_eq!(banned["statusDetail"]["until"], until, "{banned}");
    assert_eq!(kinds(&told(&gateway).await), [("banned", true)]);
    // A caller who knows better is believed, and WhatsApp lets the number in.
    let (status, answer) = gateway.call_as(Some(KEY), "POST", &format!("{path}:restart"), None).await;
    assert_eq!(status, 200, "{answer}");
    until_state(&gateway, &path, "working", "connected").await;
    assert_eq!(kinds(&told(&gateway).await), [("banned", true), ("banned", false)]);
    // The next one ends while the gateway is down.
    ban(&gateway, &path, HOUR).await;
    gateway.stop().await;
    ambient.advance(HOUR);
    let gateway = start().await;
    until_state(&gateway, &path, "working", "connected").await;
    let all = told(&gateway).await;
    let word = [("banned", true), ("banned", false)];
    assert_eq!(kinds(&all), [word, word].concat(), "{all:?}");
    gateway.stop().await;
}

/// Has a first word refused because the number may begin no conversations; gives until when.
async fn restrict(gateway: &Gateway, path: &str) -> Time {
    gateway.post("/sandbox/v1/faults", json!({"kind": "refuse_message", "phoneNumber": SHOP, "code": 463})).await;
    let (status, refused) = gateway.call_as(Some(KEY), "POST", &format!("{path}/messages"), Some(first_word())).await;
    assert_eq!((status, &refused["error"]["details"]["reason"]), (429, &json!("restricted")), "{refused}");
    Time(refused["error"]["details"]["until"].as_i64().unwrap())
}

fn first_word() -> Value {
    json!({"type": "text", "to": BUDI, "text": "a first word"})
}

async fn a_restriction_that_ends_meanwhile_is_told_once(home: Home) {
    let ambient = Ambient::held(Time::from_secs(1_800_000_000));
    let timing = Timing { look: Duration::from_millis(100), ..Timing::default() };
    let gateway = home.start_as(&[], ambient.clone(), timing).await;
    gateway.phone(BUDI).await;
    let path = format!("/api/v1/sessions/{}", gateway.paired(SHOP).await);
    let until = restrict(&gateway, &path).await;
    until_state(&gateway, &path, "working", "restricted").await;
    assert_eq!(kinds(&told(&gateway).await), [("cold_messages", true)]);
    ambient.advance(until.since(ambient.now()));
    until_state(&gateway, &path, "working", "connected").await;
    // Another connection has nothing to add.
    let restarted = gateway.call_as(Some(KEY), "POST", &format!("{path}:restart"), None).await;
    assert_eq!(restarted.0, 200, "{}", restarted.1);
    until_state(&gateway, &path, "working", "connected").await;
    let all = told(&gateway).await;
    assert_eq!(kinds(&all), [("cold_messages", true), ("cold_messages", false)], "{all:?}");
    assert!(all[1].2 >= until.0, "not before {until:?}: {all:?}");
    gateway.stop().await;
}

async fn a_restriction_that_ends_while_nobody_runs_is_told_once(home: Home) {
    let ambient = Ambient::held(Time::from_secs(1_800_000_000));
    let start = || home.start_with(&[], ambient.clone());
    let gateway = start().await;
    gateway.phone(BUDI).await;
    let path = format!("/api/v1/sessions/{}", gateway.paired(SHOP).await);
    let until = restrict(&gateway, &path).await;
    // Before its time a restart ends nothing.
    gateway.stop().await;
    ambient.advance(HOUR / 2);
    let gateway = start().await;
    let session = until_state(&gateway, &path, "working", "restricted").await;
    assert_eq!(session["statusDetail"]["until"], until.0, "{session}");
    assert_eq!(kinds(&told(&gateway).await), [("cold_messages", true)]);
    gateway.stop().await;
    ambient.advance(until.since(ambient.now()));
    let gateway = start().await;
    until_state(&gateway, &path, "working", "connected").await;
    let all = told(&gateway).await;
    assert_eq!(kinds(&all), [("cold_messages", true), ("cold_messages", false)], "{all:?}");
    let sent = gateway.post(&format!("{path}/messages"), first_word()).await;
    assert_eq!(sent["status"], "sent", "{sent}");
    gateway.stop().await;
    let gateway = start().await;
    until_state(&gateway, &path, "working", "connected").await;
    assert_eq!(told(&gateway).await, all, "and not again");
    gateway.stop().await;
}

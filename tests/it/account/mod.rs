//! What a session does as its account: presence, profile, privacy, labels.

mod calls;
mod channels;
mod groups;
mod labels;
mod questions;
mod status;
mod watched;

use serde_json::{Value, json};

use self::labels::labels_are_kept_on_all_devices;
use self::questions::many_readers_ask_once;
use crate::gateway::{Gateway, Home, KEY, on_both_engines};
use crate::support::Engine;

const SHOP: &str = "6281200000001";
const BUDI: &str = "6281200000002";

on_both_engines!(labels_are_kept_on_all_devices, many_readers_ask_once);

async fn put(gateway: &Gateway, path: &str, body: Value) -> (u16, Value) {
    gateway.call_as(Some(KEY), "PUT", path, Some(body)).await
}

async fn patch(gateway: &Gateway, path: &str, body: Value) -> (u16, Value) {
    gateway.call_as(Some(KEY), "PATCH", path, Some(body)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn presence_goes_both_ways() {
    let home = Home::new(Engine::Sqlite).await;
    let gateway = home.start().await;
    let (ours, theirs) = (gateway.paired(SHOP).await, gateway.paired(BUDI).await);
    let (us, them) = (format!("/api/v1/sessions/{ours}"), format!("/api/v1/sessions/{theirs}"));
    let watched = format!("{us}/chats/{BUDI}/presence");

    // The first look asks WhatsApp, and has its first word. The other one says that it is there a moment after it has connected.
    let first = gateway.get(&watched).await;
    assert!(["available", "unavailable"].contains(&first["state"].as_str().unwrap()), "{first}");
    let there = gateway.until(&watched, "there", |p| p["state"] == "available").await;
    assert_eq!((&there["unavailable"], &there["chatJid"]), (&json!(false), &json!(format!("{BUDI}@s.whatsapp.net"))));

    // Away, and after a dropped connection still away.
    assert_eq!(put(&gateway, &format!("{them}/presence"), json!({"state": "offline"})).await.0, 204);
    let away = gateway.until(&watched, "away", |p| p["state"] == "unavailable").await;
    assert!(away["lastSeen"].as_i64() > Some(1_600_000_000_000), "{away}");
    // A typist is heard whatever one's presence, and what was typed long ago is not shown; both by the same address.
    assert_eq!(put(&gateway, &format!("{them}/chats/{SHOP}/presence"), json!({"state": "recording"})).await.0, 204);
    let typing = gateway.until(&watched, "recording", |p| p["state"] == "composing").await;
    assert_eq!(typing["media"], "audio");
    assert_eq!(put(&gateway, &format!("{them}/chats/{SHOP}/presence"), json!({"state": "paused"})).await.0, 204);
    gateway.until(&watched, "paused", |p| p["state"] == "paused").await;
    assert_eq!(put(&gateway, &format!("{them}/presence"), json!({"state": "online"})).await.0, 204);
    gateway.until(&watched, "there again", |p| p["state"] == "available").await;

    // What is not known, and what is not possible.
    let nothing = gateway.get(&format!("{us}/chats/120363000000000001@g.us/presence")).await;
    assert_eq!((&nothing["state"], nothing.get("lastSeen")), (&json!("unknown"), None), "{nothing}");
    for body in [json!({}), json!({"state": "asleep"})] {
        assert_eq!(put(&gateway, &format!("{us}/presence"), body).await.0, 400);
    }
    let (status, _) = gateway.call_as(Some(KEY), "GET", &format!("{us}/chats/1@newsletter/presence"), None).await;
    assert_eq!(status, 400);
    gateway.post(&format!("{us}:stop"), json!({})).await;
    let (status, why) = gateway.call_as(Some(KEY), "GET", &watched, None).await;
    assert_eq!((status, &why["error"]["code"]), (409, &json!("session_not_connected")));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_profile_and_privacy_are_changed() {
    let home = Home::new(Engine::Sqlite).await;
    let gateway = home.start().await;
    let (ours, theirs) = (gateway.paired(SHOP).await, gateway.paired(BUDI).await);
    let us = format!("/api/v1/sessions/{ours}");
    let profile = format!("{us}/profile");
    let before = gateway.until(&profile, "its name", |p| p["name"].is_string()).await;
    assert_eq!((&before["phoneNumber"], &before["name"]), (&json!(SHOP), &json!("Shop")));
    assert!(before.get("pictureId").is_none(), "{before}");

    // A JPEG's first bytes are all that is looked at.
    let wish = json!({"name": "Shop & Sons", "about": "Open at nine", "picture": "/9j/4AAQSkZJRg=="});
    let (status, changed) = patch(&gateway, &profile, wish).await;
    assert_eq!((status, &changed["name"], &changed["about"]), (200, &json!("Shop & Sons"), &json!("Open at nine")), "{changed}");
    assert!(changed["pictureId"].is_string() && changed["pictureUrl"].is_string(), "{changed}");
    let seen = gateway.get(&format!("/api/v1/sessions/{theirs}/contacts/{SHOP}/about")).await;
    assert_eq!(seen["about"], "Open at nine", "others see it");
    let (status, gone) = patch(&gateway, &profile, json!({"picture": ""})).await;
    assert_eq!((status, gone.get("pictureId")), (200, None), "{gone}");
    for (field, wish) in [("name", json!(" ")), ("picture", json!("R0lGODlh")), ("about", json!("x".repeat(140)))] {
        let (status, why) = patch(&gateway, &profile, json!({field: wish})).await;
        assert_eq!((status, &why["error"]["details"]["fields"][0]["field"]), (400, &json!(field)), "{why}");
    }

    let privacy = format!("{us}/privacy");
    assert_eq!(gateway.get(&privacy).await["lastSeen"], "all");
    let (status, now) = patch(&gateway, &privacy, json!({"about": "none", "online": "match_last_seen"})).await;
    assert_eq!(
        (status, &now["about"], &now["online"], &now["groupAdd"]),
        (200, &json!("none"), &json!("match_last_seen"), &json!("all"))
    );
    for wish in [json!({"readReceipts": "contacts"}), json!({"about": "contact_blacklist"}), json!({"online": "friends"})] {
        let (status, why) = patch(&gateway, &privacy, wish.clone()).await;
        assert_eq!(status, 400, "{wish}: {why}");
    }
    let (status, _) = gateway.call_as(Some(KEY), "POST", &format!("{us}/calls/no-such-call:reject"), None).await;
    assert_eq!(status, 404);
    gateway.stop().await;
}

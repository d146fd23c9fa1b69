//! Presence, channels, status posts and backups, as documented.

use serde_json::json;

use super::{BUDI, Contract, check};
use crate::backfill::made::{DIGITS, Made, crypt15, database};
use crate::backfill::world::form;
use crate::gateway::{Gateway, KEY};

/// What this file shows to succeed.
pub(super) async fn calls(c: &mut Contract, gateway: &Gateway, id: &str, own: &'static str) {
    for state in ["offline", "online"] {
        c.call(gateway, "setPresence", &[id], Some(json!({"state": state}))).await;
    }
    for state in ["composing", "recording", "paused"] {
        c.call(gateway, "setChatPresence", &[id, BUDI], Some(json!({"state": state}))).await;
    }
    c.call(gateway, "getChatPresence", &[id, BUDI], None).await;
    c.call(gateway, "getChatPresence", &[id, "120363000000000001@g.us"], None).await;

    let made = c.call(gateway, "createChannel", &[id], Some(json!({"name": "Offers", "description": "Cheap"}))).await;
    let jid = made["jid"].as_str().unwrap();
    c.call(gateway, "followChannel", &[id, jid], None).await;
    c.call(gateway, "muteChannel", &[id, jid], Some(json!({"mute": true}))).await;
    gateway.post(&format!("/api/v1/sessions/{id}/channels/{jid}/messages"), json!({"text": "An offer"})).await;
    gateway.until(&format!("/api/v1/sessions/{id}/channels/{jid}/messages"), "the offer", |p| p["data"][0].is_object()).await;
    c.call(gateway, "listChannelMessages", &[id, jid], None).await;
    let follower = gateway.paired("6281200000008").await;
    c.call(gateway, "followChannel", &[&follower, jid], None).await;
    c.call(gateway, "unfollowChannel", &[&follower, jid], None).await;
    c.call(gateway, "deleteSession", &[&follower], None).await;
    let post = json!({"type": "text", "text": "Open until nine", "audience": [BUDI]});
    c.call(gateway, "postStatus", &[id], Some(post)).await;
    backup(c, gateway, id, own).await;
}

/// The one operation whose body is a form.
async fn backup(c: &mut Contract, gateway: &Gateway, id: &str, own: &'static str) {
    let (status, _) = c.call_as(gateway, Some(KEY), "backupStatus", &[id], "", None).await;
    assert_eq!(status, 404, "there was none");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("msgstore.db");
    database(&path, &Made { messages: 100, people: 3, groups: 2, extra: None, own }).await;
    let file = crypt15(&std::fs::read(&path).unwrap(), true);
    let (kind, body) = form(&[("file", &file), ("key", DIGITS.as_bytes())]);
    let url = format!("{}/api/v1/sessions/{id}/backfill", gateway.base);
    let call = reqwest::Client::new().post(url).bearer_auth(KEY).header("content-type", kind).body(body);
    let answer = call.send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 202);
    let job = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    let schema = json!({"$ref": "#/components/schemas/BackfillImport"});
    let problems = check::problems(&c.schemas, &schema, &job);
    assert!(problems.is_empty(), "{problems:#?} in {job:#}");
    c.succeeded.insert("importBackup".to_owned());
    gateway.until(&format!("/api/v1/sessions/{id}/backfill"), "its end", |job| job["status"] == "succeeded").await;
    c.call(gateway, "backupStatus", &[id], None).await;
}

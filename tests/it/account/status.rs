//! Status posts.

use serde_json::json;

use super::{BUDI, SHOP};
use crate::gateway::{Home, KEY};
use crate::media::picture;
use crate::support::Engine;

/// The head of an MP4 file, which is all that is looked at.
const FILM: &[u8] = b"\0\0\0\x18ftypisom\0\0\x02\0isomiso2avc1mp41";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_status_goes_to_whom_it_is_for() {
    let home = Home::new(Engine::Sqlite).await;
    let gateway = home.start().await;
    let (ours, theirs) = (gateway.paired(SHOP).await, gateway.paired(BUDI).await);
    let post = format!("/api/v1/sessions/{ours}/status");
    let (status, why) = gateway.call_as(Some(KEY), "POST", &post, Some(json!({"type": "text", "text": "Open until nine"}))).await;
    assert_eq!((status, &why["error"]["details"]["fields"][0]["field"]), (400, &json!("audience")), "nobody is known yet: {why}");
    let posted =
        gateway.post(&post, json!({"type": "text", "text": "Open until nine", "audience": [BUDI, format!("+{BUDI}")]})).await;
    assert_eq!(posted["recipients"], 1, "{posted}");
    let id = posted["messageId"].as_str().unwrap();
    let theirs = format!("/api/v1/sessions/{theirs}/messages/{id}");
    let seen = async || gateway.call_as(Some(KEY), "GET", &theirs, None).await;
    let wait = async {
        while seen().await.0 != 200 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    assert!(tokio::time::timeout(crate::gateway::PATIENCE, wait).await.is_ok(), "it did not arrive");
    let (_, message) = seen().await;
    assert_eq!((&message["chatJid"], &message["body"]), (&json!("status@broadcast"), &json!("Open until nine")), "{message}");
    let own = gateway.get(&format!("/api/v1/sessions/{ours}/messages/{id}")).await;
    assert_eq!((&own["chatJid"], &own["direction"]), (&json!("status@broadcast"), &json!("out")), "{own}");
    // Pictures and films, with captions; without an audience to all who are known, but for some.
    for (kind, file) in [("image", picture(40, 30, image::ImageFormat::Jpeg)), ("video", FILM.to_vec())] {
        let upload = format!("{}/api/v1/sessions/{ours}/media", gateway.base);
        let kept = reqwest::Client::new().post(upload).bearer_auth(KEY).body(file).send().await.unwrap();
        let kept: serde_json::Value = kept.json().await.unwrap();
        let posted = gateway.post(&post, json!({"type": kind, "text": "look", "mediaId": kept["id"], "audience": [BUDI]})).await;
        let id = posted["messageId"].as_str().unwrap().to_owned();
        let path = format!("/sandbox/v1/phones/{BUDI}/messages");
        let row =
            |page: &serde_json::Value| page["data"].as_array().unwrap().iter().find(|row| row["id"] == id.as_str()).cloned();
        let page = gateway.until(&path, kind, |page| row(page).is_some()).await;
        let row = row(&page).unwrap();
        assert_eq!(
            (&row["kind"], &row["text"], &row["media"]["sha256"]),
            (&json!(kind), &json!("look"), &kept["sha256"]),
            "{row}"
        );
    }
    gateway.post(&format!("/sandbox/v1/phones/{BUDI}/messages"), json!({"to": SHOP, "text": "hello"})).await;
    gateway.until(&format!("/api/v1/sessions/{ours}/contacts"), "Budi", |page| page["data"][0].is_object()).await;
    assert_eq!(gateway.post(&post, json!({"type": "text", "text": "to all"})).await["recipients"], 1);
    let (status, why) =
        gateway.call_as(Some(KEY), "POST", &post, Some(json!({"type": "text", "text": "to none", "except": [BUDI]}))).await;
    assert_eq!((status, &why["error"]["details"]["fields"][0]["field"]), (400, &json!("audience")), "{why}");
    for (field, body) in [
        ("text", json!({"type": "text", "text": " ", "audience": [BUDI]})),
        ("except", json!({"type": "text", "text": "x", "audience": [BUDI], "except": [SHOP]})),
        ("audience[0]", json!({"type": "text", "text": "x", "audience": ["1203630000@g.us"]})),
    ] {
        let (status, why) = gateway.call_as(Some(KEY), "POST", &post, Some(body)).await;
        assert_eq!((status, &why["error"]["details"]["fields"][0]["field"]), (400, &json!(field)), "{why}");
    }
    gateway.stop().await;
}

//! Status posts.

use serde_json::json;

use super::{BUDI, SHOP};
use crate::gateway::{Home, KEY};
use crate::support::Engine;

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

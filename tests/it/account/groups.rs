//! What a session does with groups beside what the contract shows: each on both sides.

use serde_json::{Value, json};

use super::{BUDI, SHOP, patch, put};
use crate::gateway::{Home, KEY};
use crate::media::picture;
use crate::support::Engine;

const DEWI: &str = "6281200000003";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_are_led() {
    let home = Home::new(Engine::Sqlite).await;
    let gateway = home.start().await;
    let (ours, theirs) = (gateway.paired(SHOP).await, gateway.paired(BUDI).await);
    let dewi = gateway.paired(DEWI).await;
    let (us, them) = (format!("/api/v1/sessions/{ours}/groups"), format!("/api/v1/sessions/{theirs}/groups"));
    let made = gateway.post(&us, json!({"name": "Staff", "participants": [BUDI]})).await;
    let gid = made["groupJid"].as_str().unwrap().to_owned();
    let group = format!("{us}/{gid}");
    gateway.until(&format!("{them}/{gid}"), "the group", |it| it["subject"] == "Staff").await;

    // Messages that disappear, newcomers that wait, and a picture.
    let (status, why) =
        patch(&gateway, &group, json!({"ephemeralSeconds": 86_400, "requiresApproval": true, "locked": true})).await;
    assert_eq!(status, 204, "{why}");
    let seen = gateway.until(&format!("{them}/{gid}"), "the changes", |it| it["requiresApproval"] == true).await;
    assert_eq!(seen["ephemeralSeconds"], 86_400, "{seen}");
    use base64::Engine as _;
    let jpeg = base64::engine::general_purpose::STANDARD.encode(picture(64, 64, image::ImageFormat::Jpeg));
    let (status, shown) = put(&gateway, &format!("{group}/picture"), json!({"picture": jpeg})).await;
    assert_eq!(status, 200, "{shown}");
    assert!(shown["id"].as_str().is_some_and(|id| !id.is_empty()), "{shown}");

    // Dewi asks to be let in, and is not; then again, and is.
    let invite = gateway.get(&format!("{group}/invite")).await["invite"].clone();
    let requests = format!("{group}/requests");
    for (word, let_in) in [("members:reject", false), ("members:approve", true)] {
        let joined = gateway.post(&format!("/api/v1/sessions/{dewi}/groups:join"), json!({"invite": invite})).await;
        assert_eq!(joined["pendingApproval"], true, "{joined}");
        let waiting = gateway.until(&requests, "one who waits", |it| it["data"].as_array().unwrap().len() == 1).await;
        let who = json!({"participants": [waiting["data"][0]["jid"]]});
        let (status, why) = gateway.call_as(Some(KEY), "POST", &format!("{group}/{word}"), Some(who)).await;
        assert_eq!(status, 204, "{word}: {why}");
        assert_eq!(gateway.get(&requests).await["data"], json!([]), "{word}");
        let count = if let_in { 3 } else { 2 };
        let members = |it: &Value| it["data"].as_array().unwrap().len() == count;
        gateway.until(&format!("{group}/members"), word, members).await;
    }
    // Who is an admin leads as well, and who is none any more does not.
    for (word, status) in [("promote", 204), ("demote", 403)] {
        let change = gateway.call_as(Some(KEY), "POST", &format!("{group}/members/{BUDI}/{word}"), None).await;
        assert_eq!(change.0, 204, "{word}: {}", change.1);
        let (found, why) = patch(&gateway, &format!("{them}/{gid}"), json!({"subject": format!("Staff ({word}d)")})).await;
        assert_eq!(found, status, "{word}: {why}");
    }
    gateway.until(&group, "the new name", |it| it["subject"] == "Staff (promoted)").await;
    gateway.stop().await;
}

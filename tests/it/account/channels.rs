//! Channels, as the account founds, follows, reads and writes them.

use serde_json::{Value, json};

use super::{BUDI, SHOP, put};
use crate::gateway::{Home, KEY};
use crate::support::Engine;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn channels_are_founded_followed_read_and_written() {
    let home = Home::new(Engine::Sqlite).await;
    let gateway = home.start().await;
    let (ours, theirs) = (gateway.paired(SHOP).await, gateway.paired(BUDI).await);
    let (us, them) = (format!("/api/v1/sessions/{ours}/channels"), format!("/api/v1/sessions/{theirs}/channels"));
    let made = gateway.post(&us, json!({"name": "Offers", "description": "What is cheap today"})).await;
    let jid = made["jid"].as_str().unwrap().to_owned();
    assert!(jid.ends_with("@newsletter"), "{made}");
    let (ours, theirs) = (format!("{us}/{jid}"), format!("{them}/{jid}"));
    let told = gateway.get(&ours).await;
    assert_eq!(
        (&told["name"], &told["description"], &told["role"]),
        (&json!("Offers"), &json!("What is cheap today"), &json!("owner"))
    );

    // Follow, mute, unfollow.
    let act = async |what: &str, body: Option<Value>| {
        let (status, answer) = gateway.call_as(Some(KEY), "POST", &format!("{theirs}:{what}"), body).await;
        assert_eq!(status, 204, "{what}: {answer}");
    };
    act("follow", None).await;
    assert_eq!(gateway.get(&them).await["data"].as_array().unwrap().len(), 1);
    act("mute", Some(json!({"mute": true}))).await;
    act("mute", Some(json!({"mute": false}))).await;

    // Posts in pages, the newest first, and reactions.
    for n in 0..5 {
        let posted = gateway.post(&format!("{ours}/messages"), json!({"text": format!("offer {n}")})).await;
        assert!(posted["messageId"].is_string(), "{posted}");
    }
    let all = gateway.until(&format!("{theirs}/messages"), "five posts", |p| p["data"].as_array().unwrap().len() == 5).await;
    assert_eq!(
        (&all["nextCursor"], &all["data"][0]["body"], &all["data"][0]["fromMe"]),
        (&Value::Null, &json!("offer 4"), &json!(false))
    );
    let (mut texts, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = gateway.get(&format!("{theirs}/messages?limit=2{cursor}")).await;
        texts.extend(page["data"].as_array().unwrap().iter().map(|one| one["body"].as_str().unwrap().to_owned()));
        let Some(next) = page["nextCursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(texts, ["offer 4", "offer 3", "offer 2", "offer 1", "offer 0"]);
    let post = format!("{theirs}/messages/{}/reaction", all["data"][0]["id"].as_str().unwrap());
    assert_eq!(put(&gateway, &post, json!({"emoji": "👍"})).await.0, 204);
    let counted = |p: &Value| p["data"][0]["reactions"] == json!([{"emoji": "👍", "count": 1}]);
    gateway.until(&format!("{ours}/messages?limit=1"), "the reaction", counted).await;
    assert_eq!(put(&gateway, &post, json!({"emoji": ""})).await.0, 204);
    gateway.until(&format!("{ours}/messages?limit=1"), "no reaction", |p| p["data"][0]["reactions"] == json!([])).await;

    act("unfollow", None).await;
    assert_eq!(gateway.get(&them).await["data"], json!([]));
    // Digits alone name a channel.
    for (path, expected) in
        [("999999999999@newsletter", 404), ("6281200000001", 404), ("6281200000001@c.us", 400), ("1203630000@g.us", 400)]
    {
        let (status, why) = gateway.call_as(Some(KEY), "GET", &format!("{us}/{path}"), None).await;
        assert_eq!(status, expected, "{path}: {why}");
    }
    let (status, why) = gateway.call_as(Some(KEY), "POST", &us, Some(json!({"name": " "}))).await;
    assert_eq!((status, &why["error"]["details"]["fields"][0]["field"]), (400, &json!("name")));
    gateway.stop().await;
}

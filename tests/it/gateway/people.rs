//! Simulated phones as people, over the control API of a running gateway.

use serde_json::{Value, json};

use super::{Gateway, Home, KEY, on_both_engines};

on_both_engines!(people_send_every_kind_over_rest, people_act_and_are_watched_over_rest);

const SHOP: &str = "6281200000001";
const BUDI: &str = "6281200000002";

async fn sends(gateway: &Gateway, from: &str, to: &str, mut body: Value) -> Value {
    body["to"] = json!(to);
    gateway.post(&format!("/sandbox/v1/phones/{from}/messages"), body).await
}

async fn people_send_every_kind_over_rest(home: Home) {
    let gateway = home.start().await;
    gateway.phone(SHOP).await;
    gateway.phone(BUDI).await;
    let shown = sends(&gateway, BUDI, SHOP, json!({"location": {"latitude": -6.2, "longitude": 106.8, "name": "Monas"}})).await;
    assert_eq!((&shown["kind"], &shown["location"]["latitude"]), (&json!("location"), &json!(-6.2)));
    let shown = sends(&gateway, BUDI, SHOP, json!({"contacts": [{"name": "Dewi", "phoneNumber": "+62 812 3456"}]})).await;
    assert_eq!(shown["contacts"][0]["name"], json!("Dewi"), "{shown}");
    let shown = sends(&gateway, BUDI, SHOP, json!({"poll": {"question": "Which?", "options": ["a", "b"]}})).await;
    let vote = json!({"vote": {"messageId": shown["id"], "options": ["b"]}});
    sends(&gateway, SHOP, BUDI, vote).await;
    let path = format!("/sandbox/v1/phones/{BUDI}/messages");
    let rows = gateway.get(&path).await;
    let poll = rows["data"].as_array().unwrap().iter().find(|row| row["kind"] == "poll").unwrap();
    assert_eq!(poll["poll"]["options"][1]["voters"], json!([format!("{SHOP}@s.whatsapp.net")]));
    let first = sends(&gateway, BUDI, SHOP, json!({"text": "one"})).await;
    let reply = sends(&gateway, SHOP, BUDI, json!({"text": "two", "replyTo": first["id"]})).await;
    assert_eq!((&reply["targetId"], &reply["quotedText"]), (&first["id"], &json!("one")));
    let both = json!({"to": SHOP, "text": "x", "reaction": {"messageId": first["id"], "emoji": "👍"}});
    let (status, error) = gateway.call_as(Some(KEY), "POST", &path, Some(both)).await;
    assert_eq!((status, &error["error"]["code"]), (400, &json!("validation_error")), "{error}");
    gateway.stop().await;
}

async fn people_act_and_are_watched_over_rest(home: Home) {
    let gateway = home.start().await;
    gateway.phone(SHOP).await;
    let business = format!("/sandbox/v1/phones/{SHOP}/business");
    let profile = json!({"name": "Shop", "hours": [{"day": "mon", "opensAt": 480, "closesAt": 1020}, {"day": "sat"}]});
    let (status, shown) = gateway.call_as(Some(KEY), "PUT", &business, Some(json!({"profile": profile}))).await;
    assert_eq!((status, &shown["business"]["hours"][0]["opensAt"]), (200, &json!(480)), "{shown}");
    let backwards = json!({"profile": {"name": "Shop", "hours": [{"day": "mon", "opensAt": 480, "closesAt": 60}]}});
    let (status, error) = gateway.call_as(Some(KEY), "PUT", &business, Some(backwards)).await;
    assert_eq!((status, &error["error"]["details"]["fields"][0]["field"]), (400, &json!("profile.hours")), "{error}");
    let (status, shown) = gateway.call_as(Some(KEY), "PUT", &business, Some(json!({}))).await;
    assert_eq!((status, &shown["business"]), (200, &json!(null)), "{shown}");
    let privacy = json!({"privacy": {"messages": "contacts"}});
    let (status, shown) = gateway.call_as(Some(KEY), "PATCH", &format!("/sandbox/v1/phones/{SHOP}"), Some(privacy)).await;
    assert_eq!((status, &shown["privacy"]["messages"]), (200, &json!("contacts")), "{shown}");
    let unknown = json!({"privacy": {"moods": "contacts"}});
    let (status, error) = gateway.call_as(Some(KEY), "PATCH", &format!("/sandbox/v1/phones/{SHOP}"), Some(unknown)).await;
    assert_eq!((status, &error["error"]["code"]), (400, &json!("validation_error")), "{error}");
    gateway.post("/sandbox/v1/phones", json!({"phoneNumber": BUDI, "echo": true, "chatty": true, "seed": 5})).await;
    let watch = format!("{}/sandbox/v1/watch?phoneNumber={BUDI}&kinds=message", gateway.base);
    let watch = reqwest::Client::new().get(watch).bearer_auth(KEY).header("accept", "application/x-ndjson");
    let mut watch = watch.send().await.unwrap();
    assert_eq!(watch.status(), 200);
    let image = json!({"text": "look", "media": {"kind": "image"}});
    let shown = sends(&gateway, SHOP, BUDI, image).await;
    assert_eq!((&shown["kind"], &shown["media"]["mimeType"]), (&json!("image"), &json!("image/jpeg")));
    let line = loop {
        let chunk = watch.chunk().await.unwrap().expect("the stream goes on");
        let text = String::from_utf8(chunk.to_vec()).unwrap();
        if let Some(line) = text.lines().find(|line| line.contains("\"image\"")) {
            break serde_json::from_str::<Value>(line).unwrap();
        }
    };
    assert_eq!((&line["kind"], &line["id"], &line["phoneNumber"]), (&json!("message"), &shown["id"], &json!(BUDI)));
    let id = shown["id"].as_str().unwrap();
    let file = gateway.get(&format!("/sandbox/v1/phones/{BUDI}/messages/{id}/media")).await;
    assert_eq!((&file["sha256"], &file["length"]), (&shown["media"]["sha256"], &shown["media"]["length"]));

    let phone = format!("/sandbox/v1/phones/{BUDI}");
    let quiet = json!({"about": "away", "chatty": false, "echo": false, "online": false});
    let (status, changed) = gateway.call_as(Some(KEY), "PATCH", &phone, Some(quiet)).await;
    assert_eq!((status, &changed["about"], &changed["chatty"]), (200, &json!("away"), &json!(false)), "{changed}");
    let picture = json!({"data": "/9j/"});
    let (status, changed) = gateway.call_as(Some(KEY), "PUT", &format!("{phone}/picture"), Some(picture)).await;
    assert_eq!(status, 200);
    assert_ne!(changed["pictureId"], json!(""));
    let read = gateway.post(&format!("{phone}:read"), json!({"chat": SHOP, "messageIds": [id]})).await;
    assert_eq!(read["data"][0]["id"], shown["id"]);
    let (status, _) = gateway.call_as(Some(KEY), "POST", &format!("{phone}:type"), Some(json!({"chat": SHOP}))).await;
    assert!(matches!(status, 200 | 204), "{status}");
    let call = gateway.post(&format!("{phone}/calls"), json!({"to": SHOP, "video": true})).await;
    assert_eq!(call["state"], "ringing");
    let call = call["id"].as_str().unwrap();
    let over = gateway.post(&format!("/sandbox/v1/phones/{SHOP}/calls/{call}:end"), json!({})).await;
    assert_eq!((&over["state"], &over["direction"]), (&json!("rejected"), &json!("in")));
    let calls = gateway.get(&format!("{phone}/calls")).await;
    assert_eq!(calls["data"][0]["state"], "rejected");
    let blocked = gateway.post(&format!("{phone}:block"), json!({"person": SHOP})).await;
    assert_eq!(blocked["blocked"], json!([SHOP]));
    let blocked = gateway.post(&format!("{phone}:unblock"), json!({"person": SHOP})).await;
    assert_eq!(blocked["blocked"], json!([]));
    gateway.post(&format!("{phone}:reinstall"), json!({})).await;
    let moved = gateway.post(&format!("{phone}:change-number"), json!({"newNumber": "6281200000099"})).await;
    assert_eq!(moved["phoneNumber"], "6281200000099");
    drop(watch);
    gateway.stop().await;
}

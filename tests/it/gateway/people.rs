//! Simulated phones as people, over the control API of a running gateway.

use serde_json::{Value, json};

use super::{Gateway, Home, KEY, on_both_engines};

on_both_engines!(people_send_every_kind_over_rest);

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
    assert_eq!((status, &error["code"]), (400, &json!("INVALID_ARGUMENT")), "{error}");
    gateway.stop().await;
}

//! Labels.

use serde_json::{Value, json};

use super::{BUDI, SHOP, patch, put};
use crate::gateway::{Home, KEY};

pub(super) async fn labels_are_kept_on_all_devices(home: Home) {
    let gateway = home.start().await;
    let id = gateway.paired(SHOP).await;
    // A second session of the same number is another device of the same account.
    let second = gateway.post("/api/v1/sessions", json!({"start": true})).await["id"].as_str().unwrap().to_owned();
    let qr = gateway.get(&format!("/api/v1/sessions/{second}/qr?wait=30")).await;
    gateway.post(&format!("/sandbox/v1/phones/{SHOP}:scan"), json!({"code": qr["code"]})).await;
    gateway.until(&format!("/api/v1/sessions/{second}"), "working", |s| s["status"] == "working").await;
    gateway.phone(BUDI).await;

    let labels = format!("/api/v1/sessions/{id}/labels");
    let elsewhere = format!("/api/v1/sessions/{second}/labels");
    let names = |list: &Value| {
        let names: Vec<String> = list["data"].as_array().unwrap().iter().map(|l| l["name"].as_str().unwrap().into()).collect();
        names.join(" ")
    };
    let new = gateway.post(&labels, json!({"name": "Paid"})).await;
    let open = gateway.post(&labels, json!({"name": "Open", "color": 7})).await;
    assert_ne!(new["id"], open["id"]);
    assert_eq!(open["color"], 7);
    assert_eq!(names(&gateway.get(&labels).await), "Paid Open");
    gateway.until(&elsewhere, "both labels", |l| names(l) == "Paid Open").await;

    let label = format!("{labels}/{}", new["id"].as_str().unwrap());
    let chat = format!("{label}/chats/{BUDI}");
    for _ in 0..2 {
        assert_eq!(put(&gateway, &chat, json!({})).await.0, 204, "repeating it changes nothing");
    }
    let chats = gateway.get(&format!("{label}/chats")).await;
    assert_eq!(chats["data"], json!([{"chatJid": format!("{BUDI}@s.whatsapp.net")}]));
    assert_eq!(names(&gateway.get(&format!("{labels}?chat={BUDI}")).await), "Paid");
    gateway.until(&elsewhere, "one chat", |l| l["data"][0]["chats"] == 1).await;
    assert_eq!(gateway.call_as(Some(KEY), "DELETE", &chat, None).await.0, 204);
    gateway.until(&elsewhere, "no chat", |l| l["data"][0]["chats"] == 0).await;

    let (status, renamed) = patch(&gateway, &label, json!({"name": "Paid in full"})).await;
    assert_eq!((status, &renamed["name"], &renamed["color"]), (200, &json!("Paid in full"), &new["color"]));
    gateway.until(&elsewhere, "the new name", |l| names(l) == "Paid in full Open").await;
    assert_eq!(gateway.call_as(Some(KEY), "DELETE", &label, None).await.0, 204);
    gateway.until(&elsewhere, "one label", |l| names(l) == "Open").await;
    assert_eq!(gateway.call_as(Some(KEY), "GET", &format!("{label}/chats"), None).await.0, 404);
    let third = gateway.post(&labels, json!({"name": "Third"})).await;
    assert_ne!(third["id"], new["id"], "no id is given twice");
    assert_eq!(gateway.call_as(Some(KEY), "POST", &labels, Some(json!({"name": " "}))).await.0, 400);
    gateway.stop().await;
}

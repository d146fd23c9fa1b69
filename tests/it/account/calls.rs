//! Calls: refused by a caller of the API, and by the session itself when its settings say so.

use serde_json::{Value, json};

use super::{BUDI, SHOP, patch};
use crate::gateway::{Gateway, Home, KEY};
use crate::support::Engine;

async fn rings(gateway: &Gateway) -> String {
    let call = gateway.post(&format!("/sandbox/v1/phones/{BUDI}/calls"), json!({"to": SHOP, "ringSeconds": 600})).await;
    call["id"].as_str().unwrap().to_owned()
}

async fn is_declined(gateway: &Gateway, id: &str) {
    let declined = |calls: &Value| {
        let calls = calls["data"].as_array().unwrap();
        calls.iter().any(|call| call["id"] == id && call["state"] == "rejected")
    };
    gateway.until(&format!("/sandbox/v1/phones/{BUDI}/calls"), "the call declined", declined).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_are_refused() {
    let home = Home::new(Engine::Sqlite).await;
    let gateway = home.start().await;
    let session = gateway.paired(SHOP).await;
    gateway.phone(BUDI).await;
    let us = format!("/api/v1/sessions/{session}");
    let id = rings(&gateway).await;
    let reject = format!("{us}/calls/{id}:reject");
    let refused = async {
        // It rings here a moment after it began there.
        while gateway.call_as(Some(KEY), "POST", &reject, None).await.0 == 404 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    assert!(tokio::time::timeout(crate::gateway::PATIENCE, refused).await.is_ok(), "it does not ring");
    is_declined(&gateway, &id).await;
    assert_eq!(gateway.call_as(Some(KEY), "POST", &reject, None).await.0, 404, "it does not ring any more");

    let (status, settings) = patch(&gateway, &us, json!({"autoRejectCalls": true})).await;
    assert_eq!((status, &settings["autoRejectCalls"]), (200, &json!(true)));
    let id = rings(&gateway).await;
    is_declined(&gateway, &id).await;
    gateway.stop().await;
}

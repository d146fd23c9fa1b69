//! An account with a passkey, from the scan to the linked number: the simulated server checks a real signature.

use serde_json::{Value, json};
use tokio_stream::StreamExt as _;
use whatsapp_gateway::proto::gateway::pairing_service_client::PairingServiceClient;
use whatsapp_gateway::proto::gateway::watch_pairing_response::Update;
use whatsapp_gateway::proto::gateway::{AnswerPasskeyRequest, ConfirmPasskeyRequest, WatchPairingRequest};

use super::{Page, link, path};
use crate::gateway::{Gateway, Home, KEY, PATIENCE, on_both_engines};

on_both_engines!(by_the_page, by_the_calls, by_typed_code_too);

const SHOP: &str = "6281200000001";

async fn phone_with_passkey(gateway: &Gateway) {
    gateway.phone(SHOP).await;
    let path = format!("/sandbox/v1/phones/{SHOP}/passkey");
    let (status, passkey) = gateway.call_as(Some(KEY), "PATCH", &path, Some(json!({"required": true}))).await;
    assert_eq!((status, passkey), (200, json!({"phoneNumber": SHOP, "required": true})));
}

/// What the phone's authenticator makes of WhatsApp's request.
async fn signed(gateway: &Gateway, options: &str) -> String {
    let answer = gateway.post(&format!("/sandbox/v1/phones/{SHOP}/passkey:sign"), json!({"options": options})).await;
    answer["assertion"].as_str().unwrap().to_owned()
}

async fn code_on_the_phone(gateway: &Gateway) -> Value {
    let path = format!("/sandbox/v1/phones/{SHOP}/passkey");
    gateway.until(&path, "the code", |passkey| passkey["code"].is_string()).await["code"].clone()
}

async fn by_the_page(home: Home) {
    let gateway = home.start().await;
    phone_with_passkey(&gateway).await;
    let (id, made) = link(&gateway, json!({})).await;
    let (session, link) = (format!("/api/v1/sessions/{id}"), path(&made));
    let mut page = Page::open(&gateway, &link).await;
    page.until("a QR code", |view| view["qr"].is_string()).await;
    let qr = gateway.get(&format!("{session}/qr")).await;
    let scanned = gateway.post(&format!("/sandbox/v1/phones/{SHOP}:scan"), json!({"code": qr["code"]})).await;
    assert_eq!(scanned["devices"], json!([]), "nothing is linked without the passkey");

    let view = page.until("the passkey step", |view| view["face"] == "passkey").await;
    assert_eq!((&view["options"]["rpId"], view.get("qr")), (&json!("web.whatsapp.com"), None), "{view}");
    let row = gateway.get(&session).await;
    let detail = &row["statusDetail"];
    assert_eq!((&row["status"], &detail["reason"]), (&json!("scan_qr_code"), &json!("passkey_required")), "{row}");
    assert!(detail["until"].as_i64() > detail["since"].as_i64(), "{detail}");
    let options = detail["data"].as_str().unwrap();
    assert_eq!(serde_json::from_str::<Value>(options).unwrap(), view["options"]);

    // Not the right signature, and an answer that nobody waits for yet.
    let good = signed(&gateway, options).await;
    let mut forged: Value = serde_json::from_str(&good).unwrap();
    forged["response"]["signature"] = json!("A".repeat(86));
    for (call, body, reason) in
        [("passkey", json!({"assertion": forged.to_string()}), "passkey_refused"), ("confirm", json!({}), "not_asked_for")]
    {
        let (status, answer) = gateway.call_as(None, "POST", &format!("{link}/{call}"), Some(body)).await;
        assert_eq!((status, &answer["reason"]), (409, &json!(reason)), "{call}: {answer}");
    }
    let (status, answer) = gateway.call_as(None, "POST", &format!("{link}/passkey"), Some(json!({"assertion": good}))).await;
    assert_eq!(status, 204, "{answer}");
    let view = page.until("the code", |view| view["face"] == "confirm").await;
    assert_eq!(view["code"], code_on_the_phone(&gateway).await, "both show the same");
    let (status, answer) = gateway.call_as(None, "POST", &format!("{link}/confirm"), Some(json!({}))).await;
    assert_eq!(status, 204, "{answer}");
    page.until("the end", |view| view["face"] == "paired").await;
    let row = gateway.until(&session, "working", |row| row["status"] == "working").await;
    assert_eq!((&row["phoneNumber"], row["statusDetail"].get("data")), (&json!(SHOP), None));
    gateway.stop().await;
}

async fn by_the_calls(home: Home) {
    let gateway = home.start().await;
    phone_with_passkey(&gateway).await;
    let session = gateway.post("/api/v1/sessions", json!({"presenceTyping": false})).await["id"].as_str().unwrap().to_owned();
    let mut calls = PairingServiceClient::new(gateway.channel().await);
    let watch = calls.watch_pairing(WatchPairingRequest { session: session.clone() }).await.unwrap();
    let mut watch = watch.into_inner();
    gateway.post(&format!("/api/v1/sessions/{session}:start"), json!({})).await;
    let mut told = Vec::new();
    let follow = async {
        while let Some(step) = watch.next().await {
            let session = session.clone();
            match step.unwrap().update.unwrap() {
                Update::Qr(qr) if told.is_empty() => {
                    told.push("qr");
                    gateway.post(&format!("/sandbox/v1/phones/{SHOP}:scan"), json!({"code": qr.code})).await;
                }
                Update::PasskeyRequired(asked) => {
                    told.push("required");
                    let assertion = signed(&gateway, &asked.options).await;
                    calls.answer_passkey(AnswerPasskeyRequest { session, assertion }).await.unwrap();
                }
                Update::PasskeyConfirm(it) => {
                    told.push("confirm");
                    assert_eq!(json!(it.code), code_on_the_phone(&gateway).await);
                    calls.confirm_passkey(ConfirmPasskeyRequest { session }).await.unwrap();
                }
                Update::Paired(_) => told.push("paired"),
                Update::Failed(failed) => panic!("{failed:?}"),
                Update::Qr(_) | Update::Status(_) | Update::PairingCode(_) => {}
            }
        }
    };
    tokio::time::timeout(PATIENCE, follow).await.expect("the stream ends by itself");
    assert_eq!(told, ["qr", "required", "confirm", "paired"]);
    gateway.until(&format!("/api/v1/sessions/{session}"), "working", |row| row["status"] == "working").await;
    gateway.stop().await;
}

async fn by_typed_code_too(home: Home) {
    let gateway = home.start().await;
    phone_with_passkey(&gateway).await;
    let session = gateway.post("/api/v1/sessions", json!({})).await;
    let session = format!("/api/v1/sessions/{}", session["id"].as_str().unwrap());
    let code = gateway.post(&format!("{session}/pairing-code"), json!({"phone": SHOP})).await;
    gateway.post(&format!("/sandbox/v1/phones/{SHOP}:enter-code"), json!({"code": code["code"]})).await;
    let asked = |row: &Value| row["statusDetail"]["reason"] == "passkey_required";
    let row = gateway.until(&session, "the passkey step", asked).await;
    // A phone without a passkey, and a request for another's, sign nothing.
    let sign = format!("/sandbox/v1/phones/{SHOP}/passkey:sign");
    let (status, _) = gateway.call_as(Some(KEY), "POST", &sign, Some(json!({"options": "{}"}))).await;
    assert_eq!(status, 400);
    let options = row["statusDetail"]["data"].as_str().unwrap();
    let body = Some(json!({"assertion": signed(&gateway, options).await}));
    assert_eq!(gateway.call_as(Some(KEY), "POST", &format!("{session}/passkey"), body).await.0, 204);
    let row = gateway.until(&session, "the code", |row| row["statusDetail"]["reason"] == "passkey_confirm").await;
    assert_eq!(row["statusDetail"]["data"], code_on_the_phone(&gateway).await);
    assert_eq!(gateway.call_as(Some(KEY), "POST", &format!("{session}/passkey:confirm"), Some(json!({}))).await.0, 204);
    gateway.until(&session, "working", |row| row["status"] == "working").await;
    gateway.stop().await;
}

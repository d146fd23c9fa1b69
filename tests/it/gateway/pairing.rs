//! Attaching a number, by both ways, and losing it.

use serde_json::json;
use tokio_stream::StreamExt as _;
use whatsapp_gateway::proto::gateway::WatchPairingRequest;
use whatsapp_gateway::proto::gateway::pairing_service_client::PairingServiceClient;
use whatsapp_gateway::proto::gateway::watch_pairing_response::Update;

use super::{Home, KEY, PATIENCE, on_both_engines};

on_both_engines!(
    by_qr_code,
    by_typed_code,
    the_watch_tells_it_all,
    unlinked_by_the_phone,
    logged_out_by_a_caller,
    stopped_and_started
);

const SHOP: &str = "6281200000001";

async fn by_qr_code(home: Home) {
    let gateway = home.start().await;
    let id = gateway.paired(SHOP).await;
    let session = gateway.get(&format!("/api/v1/sessions/{id}")).await;
    assert_eq!(session["phoneNumber"], SHOP);
    assert_eq!(session["waJid"], format!("{SHOP}@s.whatsapp.net"));
    assert!(session["waLid"].as_str().unwrap().ends_with("@lid"));
    assert!(session["lastConnectedAt"].is_i64());
    let me = gateway.get(&format!("/api/v1/sessions/{id}/me")).await;
    assert_eq!((me["connected"].as_bool(), &me["phoneNumber"]), (Some(true), &json!(SHOP)));
    let phone = gateway.get(&format!("/sandbox/v1/phones/{SHOP}")).await;
    assert_eq!(phone["devices"].as_array().map(Vec::len), Some(1));
    for (method, path, body) in [("GET", "qr", None), ("POST", "pairing-code", Some(json!({"phone": SHOP})))] {
        let (status, answer) = gateway.call_as(Some(KEY), method, &format!("/api/v1/sessions/{id}/{path}"), body).await;
        assert_eq!((status, &answer["error"]["details"]["reason"]), (400, &json!("already_paired")), "{answer}");
    }
    gateway.stop().await;
}

async fn by_typed_code(home: Home) {
    let gateway = home.start().await;
    gateway.phone(SHOP).await;
    let session = gateway.post("/api/v1/sessions", json!({})).await;
    let id = session["id"].as_str().unwrap();
    let code = gateway.post(&format!("/api/v1/sessions/{id}/pairing-code"), json!({"phone": "+62 812-0000-0001"})).await;
    let text = code["code"].as_str().unwrap();
    assert!(text.len() == 9 && text.as_bytes()[4] == b'-', "{text}");
    gateway.post(&format!("/sandbox/v1/phones/{SHOP}:enter-code"), json!({"code": text})).await;
    let session = gateway.until(&format!("/api/v1/sessions/{id}"), "working", |s| s["status"] == "working").await;
    assert_eq!(session["phoneNumber"], SHOP);
    gateway.stop().await;
}

async fn the_watch_tells_it_all(home: Home) {
    let gateway = home.start().await;
    gateway.phone(SHOP).await;
    let session = gateway.post("/api/v1/sessions", json!({})).await;
    let id = session["id"].as_str().unwrap().to_owned();
    let mut client = PairingServiceClient::new(gateway.channel().await);
    let mut watch = client.watch_pairing(WatchPairingRequest { session: id.clone() }).await.unwrap().into_inner();
    gateway.post(&format!("/api/v1/sessions/{id}:start"), json!({})).await;
    let mut told = Vec::new();
    let follow = async {
        while let Some(step) = watch.next().await {
            let update = step.unwrap().update.unwrap();
            if let Update::Qr(qr) = &update
                && !told.contains(&"qr")
            {
                gateway.post(&format!("/sandbox/v1/phones/{SHOP}:scan"), json!({"code": qr.code})).await;
            }
            told.push(match update {
                Update::Status(_) => "status",
                Update::Qr(_) => "qr",
                Update::PairingCode(_) => "code",
                Update::Paired(paired) => {
                    assert_eq!(paired.phone_number, SHOP);
                    "paired"
                }
                Update::Failed(failed) => panic!("{failed:?}"),
                passkey @ (Update::PasskeyRequired(_) | Update::PasskeyConfirm(_)) => panic!("nobody asked for {passkey:?}"),
            });
        }
    };
    tokio::time::timeout(PATIENCE, follow).await.expect("the stream ends by itself after `paired`");
    assert_eq!((told.first(), told.last()), (Some(&"status"), Some(&"paired")), "{told:?}");
    assert!(told.contains(&"qr"), "{told:?}");
    gateway.stop().await;
}

async fn unlinked_by_the_phone(home: Home) {
    let gateway = home.start().await;
    let id = gateway.paired(SHOP).await;
    gateway.post(&format!("/sandbox/v1/phones/{SHOP}:unlink"), json!({})).await;
    let path = format!("/api/v1/sessions/{id}");
    let session = gateway.until(&path, "logged_out", |s| s["status"] == "logged_out").await;
    assert_eq!(session["statusDetail"]["reason"], "unlinked");
    assert_eq!(session.get("phoneNumber"), None, "no number is attached any more");
    // The same slot takes the number again.
    gateway.post(&format!("{path}:start"), json!({})).await;
    let qr = gateway.get(&format!("{path}/qr?wait=30")).await;
    gateway.post(&format!("/sandbox/v1/phones/{SHOP}:scan"), json!({"code": qr["code"]})).await;
    gateway.until(&path, "working", |s| s["status"] == "working").await;
    gateway.stop().await;
}

async fn logged_out_by_a_caller(home: Home) {
    let gateway = home.start().await;
    let id = gateway.paired(SHOP).await;
    let session = gateway.post(&format!("/api/v1/sessions/{id}:logout"), json!({})).await;
    assert_eq!((&session["status"], &session["statusDetail"]["reason"]), (&json!("logged_out"), &json!("logged_out")));
    let phone = gateway.get(&format!("/sandbox/v1/phones/{SHOP}")).await;
    assert_eq!(phone["devices"], json!([]), "WhatsApp's side knows it too");
    let again = gateway.post(&format!("/api/v1/sessions/{id}:logout"), json!({})).await;
    assert_eq!(again["status"], "logged_out", "and again is fine");
    gateway.stop().await;
}

async fn stopped_and_started(home: Home) {
    let gateway = home.start().await;
    let id = gateway.paired(SHOP).await;
    let path = format!("/api/v1/sessions/{id}");
    let stopped = gateway.post(&format!("{path}:stop"), json!({})).await;
    assert_eq!((&stopped["status"], &stopped["phoneNumber"]), (&json!("stopped"), &json!(SHOP)), "the pairing stays");
    gateway.until(&format!("/sandbox/v1/phones/{SHOP}"), "the device offline", |p| p["devices"][0]["online"] == false).await;
    let (status, body) = gateway
        .call_as(Some(KEY), "POST", &format!("{path}/messages"), Some(json!({"type": "text", "to": SHOP, "text": "x"})))
        .await;
    assert_eq!((status, &body["error"]["code"]), (409, &json!("session_not_connected")));
    for verb in ["start", "start", "restart"] {
        gateway.post(&format!("{path}:{verb}"), json!({})).await;
        gateway.until(&path, "working", |s| s["status"] == "working").await;
    }
    assert_eq!(gateway.events("auth.qr").await.len(), 1, "it was paired once");
    gateway.stop().await;
}

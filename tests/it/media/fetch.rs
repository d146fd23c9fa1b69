//! Files that come with messages: a real client of the library sends them through the sandbox, the gateway fetches, decrypts and checks them.

use std::net::TcpListener;
use std::sync::Arc;

use serde_json::{Value, json};
use wacore::download::MediaType;
use wacore::store::InMemoryBackend;
use wacore::types::events::Event;
use wacore_binary::Jid;
use waproto::whatsapp as wa;
use whatsapp_gateway::domain::clock::Ambient;
use whatsapp_gateway::sandbox::Sandbox;
use whatsapp_gateway::sandbox::fault::{FaultKind, FaultSpec};
use whatsapp_rust::upload::{UploadOptions, UploadResponse};

use super::doors::down;
use super::{pattern, picture};
use crate::gateway::{Gateway, Home, KEY};
use crate::sandbox::client::Peer;
use crate::support::Engine;

const SHOP: &str = "6281200000001";
const BUDI: &str = "6281200000002";

/// A gateway with a session of the shop's number, and Budi's linked client.
struct Story {
    gateway: Gateway,
    /// Where its files are, as long as the story lasts.
    _home: Home,
    session: String,
    budi: Peer,
}

impl Story {
    async fn begin(more: &[(&str, String)]) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut settings = vec![("WAGW_SANDBOX_LISTEN", format!("127.0.0.1:{port}"))];
        settings.extend(more.iter().cloned());
        let home = Home::new(Engine::Sqlite).await;
        let gateway = home.start_with(&settings, Ambient::system()).await;
        let session = gateway.paired(SHOP).await;
        gateway.phone(BUDI).await;
        let sandbox = gateway.running.sandbox.clone().unwrap();
        let trust = Some((sandbox.static_public_key(), true));
        let budi = Peer::new(([127, 0, 0, 1], port).into(), Arc::new(InMemoryBackend::new()), trust).await;
        let code = budi.qr().await;
        sandbox.scan_qr(BUDI, &code).await.unwrap();
        budi.wait("connected", |event| matches!(event, Event::Connected(_)).then_some(())).await;
        Self { gateway, _home: home, session, budi }
    }

    fn sandbox(&self) -> &Sandbox {
        self.gateway.running.sandbox.as_ref().unwrap()
    }

    /// Budi sends a picture; the path of its message, once the gateway has it, and where the file lies at WhatsApp.
    async fn sends(&self, file: &[u8], mimetype: &str) -> (String, UploadResponse) {
        let up = self.budi.client.upload(file.to_vec(), MediaType::Image, UploadOptions::new()).await.unwrap();
        let image = wa::message::ImageMessage {
            url: Some(up.url.clone()),
            direct_path: Some(up.direct_path.clone()),
            media_key: Some(up.media_key.to_vec()),
            file_sha256: Some(up.file_sha256.to_vec()),
            file_enc_sha256: Some(up.file_enc_sha256.to_vec()),
            file_length: Some(up.file_length),
            mimetype: Some(mimetype.to_owned()),
            ..Default::default()
        };
        let message = wa::Message { image_message: buffa::MessageField::some(image), ..Default::default() };
        let sent = self.budi.client.send_message(Jid::pn(SHOP), message).await.unwrap();
        let path = format!("/api/v1/sessions/{}/messages/{}", self.session, sent.message_id);
        let has =
            |events: &Value| events["data"].as_array().unwrap().iter().any(|it| it["payload"]["waMessageId"] == *sent.message_id);
        self.gateway.until("/api/v1/events?limit=1000&events=message", "the picture", has).await;
        (path, up)
    }

    fn fault(&self, kind: FaultKind) -> String {
        let stanza = "media/download/image".to_owned();
        let spec = FaultSpec { phone_number: SHOP.into(), stanza, ..FaultSpec::once(kind) };
        self.sandbox().create_fault(spec).unwrap().id.to_string()
    }
}

/// The reason in an error's answer.
fn reason(content: &[u8]) -> Value {
    serde_json::from_slice::<Value>(content).unwrap()["error"]["details"]["reason"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_picture_is_fetched_kept_and_told_by_a_signed_address() {
    let story = Story::begin(&[]).await;
    let gateway = &story.gateway;
    let file = picture(300, 200, image::ImageFormat::Jpeg);
    let (message, up) = story.sends(&file, "image/jpeg").await;
    let path = format!("{message}/media");
    let (status, headers, content) = down(gateway, &path, &[]).await;
    assert!(status == 200 && content == file, "{status}: {}", String::from_utf8_lossy(&content));
    assert_eq!(
        (headers["content-type"].to_str().unwrap(), headers["content-disposition"].to_str().unwrap()),
        ("image/jpeg", "attachment")
    );
    let told = gateway.until("/api/v1/events?events=media.ready", "it", |it| it["data"][0].is_object()).await;
    assert_eq!(told["data"].as_array().map(Vec::len), Some(1), "{told}");
    // It is kept: WhatsApp can forget it, and parts of it can be had.
    story.sandbox().delete_media(&up.direct_path).await.unwrap();
    let (status, _, content) = down(gateway, &path, &[("range", "bytes=10-19")]).await;
    assert!(status == 206 && content == file[10..20]);
    let known = gateway.post(&format!("{path}:fetch"), json!({})).await;
    assert_eq!((&known["state"], &known["size"]), (&json!("ready"), &json!(file.len())), "{known}");
    // By a signed address, without a credential.
    let made = gateway.post(&format!("{message}/media-url"), json!({"expiresIn": 60})).await;
    let url = made["url"].as_str().unwrap();
    let answer = reqwest::get(url).await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["content-disposition"], &answer.headers()["x-content-type-options"]),
        (200, &"attachment".parse().unwrap(), &"nosniff".parse().unwrap())
    );
    assert!(answer.bytes().await.unwrap() == file);
    // Others get neither.
    let stranger = gateway.stranger().await;
    assert_eq!(gateway.call_as(Some(&stranger), "GET", &path, None).await.0, 404);
    assert_eq!(gateway.call_as(Some(&stranger), "POST", &format!("{message}/media-url"), Some(json!({}))).await.0, 404);
    assert_eq!(gateway.call_as(None, "GET", &path, None).await.0, 401);
    // Guessing is slowed down.
    let mut answers = Vec::new();
    for _ in 0..101 {
        answers.push(reqwest::get(format!("{url}x")).await.unwrap().status().as_u16());
    }
    assert!(answers[..100].iter().all(|status| *status == 404) && answers[100] == 429, "{answers:?}");
    story.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_whatsapp_lost_the_phone_gives_again_or_it_is_gone() {
    let story = Story::begin(&[]).await;
    let gateway = &story.gateway;
    let (message, _) = story.sends(&pattern(5000), "image/jpeg").await;
    story.sandbox().expire_media(None).await.unwrap();
    let (status, headers, content) = down(gateway, &format!("{message}/media"), &[]).await;
    assert!(status == 200 && content == pattern(5000), "{status}: {}", String::from_utf8_lossy(&content));
    assert_eq!(headers["content-type"].to_str().unwrap(), "application/octet-stream", "what the sender said is not true");

    let (message, up) = story.sends(&pattern(6000), "image/jpeg").await;
    story.sandbox().delete_media(&up.direct_path).await.unwrap();
    let (status, _, content) = down(gateway, &format!("{message}/media"), &[]).await;
    assert_eq!((status, reason(&content)), (404, json!("media_expired")));
    let known = gateway.post(&format!("{message}/media:fetch"), json!({})).await;
    assert_eq!((&known["state"], &known["reason"]), (&json!("expired"), &json!("gone")), "{known}");
    story.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_arrives_damaged_is_never_ready() {
    let story = Story::begin(&[("WAGW_MEDIA_MAX_BYTES", "100000".to_owned())]).await;
    let gateway = &story.gateway;
    for (at, kind) in [FaultKind::MediaCorrupted, FaultKind::MediaTruncated, FaultKind::MediaRefused].into_iter().enumerate() {
        let (message, _) = story.sends(&pattern(20_000 + at), "image/jpeg").await;
        story.fault(kind);
        // All who ask at once wait for one fetch: a second one would have got it whole.
        let path = format!("{message}/media");
        let answers = futures_util::future::join_all((0..8).map(|_| down(gateway, &path, &[]))).await;
        for (status, _, content) in answers {
            assert_eq!((status, reason(&content)), (503, json!("media_failed")), "{kind:?}");
        }
        let known = gateway.post(&format!("{path}:fetch"), json!({})).await;
        let why = known["reason"].as_str().unwrap();
        assert!(known["state"] == "failed" && ["corrupt", "unreachable"].contains(&why), "{kind:?}: {known}");
        assert!(kind != FaultKind::MediaCorrupted || why == "corrupt", "{known}");
    }
    let (message, _) = story.sends(&pattern(100_001), "image/jpeg").await;
    let (status, _, content) = down(gateway, &format!("{message}/media"), &[]).await;
    assert_eq!((status, reason(&content)), (400, json!("media_too_large")));
    story.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_come_by_themselves_when_the_session_wants_it() {
    let story = Story::begin(&[]).await;
    let gateway = &story.gateway;
    let path = format!("/api/v1/sessions/{}", story.session);
    let (_, before) = story.sends(&pattern(3000), "image/jpeg").await;
    let (status, changed) = gateway.call_as(Some(KEY), "PATCH", &path, Some(json!({"autoDownload": true}))).await;
    assert_eq!((status, &changed["autoDownload"]), (200, &json!(true)), "{changed}");
    let mut messages = Vec::new();
    for at in 1..=6 {
        messages.push(story.sends(&pattern(3000 + at), "image/jpeg").await);
    }
    let all = |it: &Value| it["data"].as_array().unwrap().len() == 6;
    gateway.until("/api/v1/events?events=media.ready&limit=100", "six files", all).await;
    story.sandbox().expire_media(None).await.unwrap();
    for (at, (message, up)) in messages.iter().enumerate() {
        story.sandbox().delete_media(&up.direct_path).await.unwrap();
        let (status, _, content) = down(gateway, &format!("{message}/media"), &[]).await;
        assert!(status == 200 && content == pattern(3001 + at));
    }
    assert!(!before.direct_path.is_empty() && gateway.events("media.ready").await.len() == 6, "the one before was not asked for");
    story.gateway.stop().await;
}

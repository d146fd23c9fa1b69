//! Every kind of message by both doors, and every operation by gRPC: each arrives at the phone that it is for. (By REST the operations
//! are shown in `operations`.)

use std::io::Cursor;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost_types::Timestamp;
use serde_json::{Value, json};
use whatsapp_gateway::proto::DESCRIPTORS;
use whatsapp_gateway::proto::gateway::chat_service_client::ChatServiceClient;
use whatsapp_gateway::proto::gateway::media_service_client::MediaServiceClient;
use whatsapp_gateway::proto::gateway::message_action_service_client::MessageActionServiceClient;
use whatsapp_gateway::proto::gateway::message_service_client::MessageServiceClient;
use whatsapp_gateway::proto::gateway::{
    AddReactionRequest, AlbumMediaPayload, CancelMessageRequest, ContactCard, EditMessageRequest, ForwardMessageRequest,
    ListOutboxRequest, MarkPlayedRequest, MediaPayload, MessageType, PinMessageRequest, ReadChatRequest, RemoveReactionRequest,
    RevokeMessageRequest, SendMessageRequest, SendResult, StarMessageRequest, UnpinMessageRequest, UnstarMessageRequest,
    UploadMediaRequest, VoteMessageRequest,
};
use whatsapp_gateway::rest::render::Renderer;

use super::wrong::body;
use super::{BUDI, DEWI, SHOP, Shop};
use crate::gateway::{Home, on_both_engines};
use crate::media::{picture, sound, web_file};

on_both_engines!(every_kind_by_both_doors, every_operation_by_grpc);

/// The head of an MP4 file, which is all that is looked at.
const FILM: &[u8] = b"\0\0\0\x18ftypisom\0\0\x02\0isomiso2avc1mp41";

fn new(kind: MessageType) -> SendMessageRequest {
    SendMessageRequest { r#type: kind.into(), to: BUDI.into(), ..Default::default() }
}

/// A sticker as phones take them.
fn sticker() -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let blank = image::RgbaImage::from_pixel(512, 512, image::Rgba([9, 9, 9, 0]));
    image::DynamicImage::ImageRgba8(blank).write_to(&mut bytes, image::ImageFormat::WebP).unwrap();
    bytes.into_inner()
}

/// Every kind, and what the phone shows it as.
async fn kinds(shop: &Shop, session: &str) -> Vec<(SendMessageRequest, &'static str)> {
    let data = |bytes: &[u8]| Some(MediaPayload { data: Some(STANDARD.encode(bytes)), ..Default::default() });
    let url = web_file("image/png", &picture(32, 32, image::ImageFormat::Png)).await;
    let mut media = MediaServiceClient::new(shop.gateway.channel().await);
    let head = UploadMediaRequest { session: session.into(), filename: "words.txt".into(), ..Default::default() };
    let chunk = UploadMediaRequest { chunk: b"some words".to_vec(), ..Default::default() };
    let kept = media.upload_media(tokio_stream::iter([head, chunk])).await.unwrap().into_inner();
    let part = |kind: &str, bytes: &[u8]| AlbumMediaPayload {
        r#type: Some(kind.into()),
        data: Some(STANDARD.encode(bytes)),
        ..Default::default()
    };
    let some = |text: &str| Some(text.to_owned());
    let card = ContactCard { name: some("Dewi"), phone: some(DEWI), vcard: None };
    let end = Some(Timestamp { seconds: 4_000_000_000, nanos: 0 });
    let from_web = MediaPayload { url: Some(format!("{url}/a.png")), ..Default::default() };
    let uploaded = MediaPayload { id: Some(kept.id), filename: some("words.txt"), ..Default::default() };
    vec![
        (SendMessageRequest { text: some("hello"), mentions: vec![DEWI.into()], ..new(MessageType::Text) }, "text"),
        (SendMessageRequest { media: Some(from_web), caption: some("look"), ..new(MessageType::Image) }, "image"),
        (SendMessageRequest { media: data(FILM), view_once: Some(true), ..new(MessageType::Video) }, "video"),
        (SendMessageRequest { media: data(&sound(2)), ..new(MessageType::Audio) }, "audio"),
        (SendMessageRequest { media: data(&sound(2)), voice: Some(true), ..new(MessageType::Audio) }, "audio"),
        (SendMessageRequest { media: Some(uploaded), ..new(MessageType::Document) }, "document"),
        (SendMessageRequest { media: data(&sticker()), ..new(MessageType::Sticker) }, "sticker"),
        (
            SendMessageRequest {
                medias: vec![part("image", &picture(9, 9, image::ImageFormat::Png)), part("video", FILM)],
                ..new(MessageType::Album)
            },
            "album",
        ),
        (
            SendMessageRequest {
                latitude: Some(-6.5),
                longitude: Some(106.5),
                name: some("Monas"),
                ..new(MessageType::Location)
            },
            "location",
        ),
        (SendMessageRequest { contact: Some(card), ..new(MessageType::Contact) }, "contact"),
        (
            SendMessageRequest {
                name: some("Which?"),
                options: vec!["tea".into(), "coffee".into()],
                poll_end_time: end,
                poll_hide_votes: Some(true),
                ..new(MessageType::Poll)
            },
            "poll",
        ),
    ]
}

async fn every_kind_by_both_doors(home: Home) {
    let shop = Shop::open(home.start().await).await;
    shop.unlimited().await;
    let session = shop.path.rsplit('/').next().unwrap().to_owned();
    let renderer = Renderer::new(DESCRIPTORS, "whatsapp.gateway.v1.SendMessageRequest").unwrap();
    let mut client = MessageServiceClient::new(shop.gateway.channel().await);
    for (request, kind) in kinds(&shop, &session).await {
        let by_http = shop.sent(body(&renderer, &request)).await["waMessageId"].clone();
        let by_grpc = client.send_message(SendMessageRequest { session: session.clone(), ..request }).await.unwrap().into_inner();
        assert_eq!((by_grpc.mode.as_str(), by_grpc.phone_number.as_deref()), ("sync", Some(BUDI)), "{kind}");
        let mut rows = Vec::new();
        for id in [by_http, json!(by_grpc.wa_message_id)] {
            let mut row = shop.shown(BUDI, &id, kind, |row| row["kind"] == kind).await;
            assert_eq!(row["arrivals"], 1, "{row}");
            for own in ["id", "timestamp", "deliveredAt", "readAt", "state"] {
                row.as_object_mut().unwrap().remove(own);
            }
            rows.push(row);
        }
        assert_eq!(rows[0], rows[1], "{kind}");
    }
    // The albums' parts, which come behind their heads.
    let path = format!("/sandbox/v1/phones/{BUDI}/messages?with={SHOP}");
    let parts = |page: &Value| {
        let rows = page["data"].as_array().unwrap().iter();
        rows.filter(|row| row["media"]["albumId"].as_str().is_some_and(|id| !id.is_empty())).count()
    };
    shop.gateway.until(&path, "both albums", |page| parts(page) == 4).await;
    shop.gateway.stop().await;
}

async fn every_operation_by_grpc(home: Home) {
    let shop = Shop::open(home.start().await).await;
    shop.unlimited().await;
    let session = shop.path.rsplit('/').next().unwrap().to_owned();
    let mut actions = MessageActionServiceClient::new(shop.gateway.channel().await);
    let mut messages = MessageServiceClient::new(shop.gateway.channel().await);
    let text = |text: &str| SendMessageRequest { session: session.clone(), text: Some(text.into()), ..new(MessageType::Text) };
    let id = |sent: SendResult| sent.wa_message_id.unwrap();
    let sent = id(messages.send_message(text("helo")).await.unwrap().into_inner());
    let own = json!(sent);
    let question = shop.written(BUDI, "really?").await["waMessageId"].as_str().unwrap().to_owned();
    let (session, mid) = (|| session.clone(), || sent.clone());

    let edit = EditMessageRequest { session: session(), mid: mid(), text: Some("hello".into()), ..Default::default() };
    actions.edit_message(edit).await.unwrap();
    shop.shown(BUDI, &own, "the new text", |row| row["text"] == "hello" && row["edited"] == true).await;
    let (asked, emoji) = (|| question.clone(), Some("👍".to_owned()));
    actions.add_reaction(AddReactionRequest { session: session(), mid: asked(), emoji, ..Default::default() }).await.unwrap();
    shop.shown(BUDI, &json!(question), "the reaction", |row| row["reactions"][0]["emoji"] == "👍").await;
    actions.remove_reaction(RemoveReactionRequest { session: session(), mid: asked(), ..Default::default() }).await.unwrap();
    shop.shown(BUDI, &json!(question), "none", |row| row["reactions"].as_array().is_none_or(Vec::is_empty)).await;
    let forward = ForwardMessageRequest { session: session(), mid: asked(), to: DEWI.into(), ..Default::default() };
    let passed = id(actions.forward_message(forward).await.unwrap().into_inner());
    shop.shown(DEWI, &json!(passed), "it", |row| row["text"] == "really?" && row["forwarded"] == true).await;

    // A poll of another's, a voice message, and what is kept in sight.
    let sandbox = format!("/sandbox/v1/phones/{BUDI}/messages");
    let poll = shop.gateway.post(&sandbox, json!({"to": SHOP, "poll": {"question": "?", "options": ["a", "b"]}})).await;
    let voice = shop.gateway.post(&sandbox, json!({"to": SHOP, "media": {"kind": "audio", "voice": true}})).await;
    let both = |page: &Value| page["data"].as_array().unwrap().iter().filter(|it| it["type"] != "text").count() == 2;
    shop.gateway.until(&format!("{}/chats/{BUDI}/messages", shop.path), "both", both).await;
    let of = |row: &Value| row["id"].as_str().unwrap().to_owned();
    let vote = VoteMessageRequest { session: session(), mid: of(&poll), options: vec!["b".into()], ..Default::default() };
    actions.vote_message(vote).await.unwrap();
    let mine = json!([format!("{SHOP}@s.whatsapp.net")]);
    shop.shown(BUDI, &poll["id"], "the vote", |row| row["poll"]["options"][1]["voters"] == mine).await;
    actions.mark_played(MarkPlayedRequest { session: session(), mid: of(&voice) }).await.unwrap();
    shop.shown(BUDI, &voice["id"], "that it was played", |row| row["state"] == "played").await;
    ChatServiceClient::new(shop.gateway.channel().await)
        .read_chat(ReadChatRequest { session: session(), cid: BUDI.into() })
        .await
        .unwrap();
    shop.shown(BUDI, &json!(question), "that it was read", |row| row["state"] == "read").await;
    actions.star_message(StarMessageRequest { session: session(), mid: asked() }).await.unwrap();
    assert_eq!(shop.message(&json!(question)).await["starred"], true);
    actions.unstar_message(UnstarMessageRequest { session: session(), mid: asked() }).await.unwrap();
    assert_eq!(shop.message(&json!(question)).await["starred"], false);
    actions.pin_message(PinMessageRequest { session: session(), mid: mid(), days: Some(7) }).await.unwrap();
    actions.unpin_message(UnpinMessageRequest { session: session(), mid: mid() }).await.unwrap();
    actions.revoke_message(RevokeMessageRequest { session: session(), mid: mid(), ..Default::default() }).await.unwrap();
    shop.shown(BUDI, &own, "it taken back", |row| row["kind"] == "revoked").await;

    // What is queued is listed and can be taken back.
    let later = Timestamp { seconds: whatsapp_gateway::domain::clock::Ambient::system().now().0 / 1000 + 3600, nanos: 0 };
    let queued = messages.send_message(SendMessageRequest { send_at: Some(later), ..text("later") }).await.unwrap().into_inner();
    let listed = actions.list_outbox(ListOutboxRequest { session: session(), ..Default::default() }).await.unwrap().into_inner();
    assert_eq!((listed.data.len(), Some(&listed.data[0].id)), (1, queued.outbox_id.as_ref()));
    let cancel = CancelMessageRequest { session: session(), mid: queued.outbox_id.unwrap() };
    assert_eq!(actions.cancel_message(cancel).await.unwrap().into_inner().mode, "cancelled");
    shop.gateway.stop().await;
}

//! What is wrong is refused with the field's name, by both doors alike.

use prost::Message as _;
use prost_types::Timestamp;
use serde_json::{Value, json};
use tonic_types::StatusExt as _;
use whatsapp_gateway::proto::DESCRIPTORS;
use whatsapp_gateway::proto::gateway::message_service_client::MessageServiceClient;
use whatsapp_gateway::proto::gateway::{AlbumMediaPayload, ContactCard, MediaPayload, MessageType, SendMessageRequest};
use whatsapp_gateway::rest::render::Renderer;

use super::{BUDI, Shop};
use crate::gateway::{Home, on_both_engines};

on_both_engines!(what_is_wrong_is_named);

/// The body that stands for a message by HTTP: what is in the path, the query and the headers is not in it.
pub(super) fn body(renderer: &Renderer, request: &SendMessageRequest) -> Value {
    let mut body: Value = serde_json::from_slice(&renderer.json(&request.encode_to_vec()).unwrap()).unwrap();
    for elsewhere in ["session", "idempotencyKey", "async"] {
        body.as_object_mut().unwrap().remove(elsewhere);
    }
    body
}

fn cases() -> Vec<(SendMessageRequest, &'static str)> {
    let new = |kind: MessageType| SendMessageRequest { r#type: kind.into(), to: BUDI.into(), ..Default::default() };
    let text = |to: &str, text: Option<String>| SendMessageRequest { to: to.into(), text, ..new(MessageType::Text) };
    let poll = |options: Vec<String>| SendMessageRequest { name: Some("?".into()), options, ..new(MessageType::Poll) };
    let place = |latitude, longitude| SendMessageRequest {
        latitude: Some(latitude),
        longitude: Some(longitude),
        ..new(MessageType::Location)
    };
    let image = |data: &str| SendMessageRequest {
        media: Some(MediaPayload { data: Some(data.into()), ..Default::default() }),
        ..new(MessageType::Image)
    };
    let (thirteen, some) = ((0..13).map(|n| n.to_string()).collect(), || Some("x".to_owned()));
    let part = AlbumMediaPayload { r#type: Some("image".into()), data: Some("AAAA".into()), ..Default::default() };
    let card = ContactCard { name: some(), ..Default::default() };
    vec![
        (text(BUDI, None), "text"),
        (text(BUDI, Some(String::new())), "text"),
        (text(BUDI, Some("x".repeat(70_000))), "text"),
        (text("", some()), "to"),
        (text("nobody", some()), "to"),
        (text("6281299999999", some()), "to"),
        (SendMessageRequest { r#type: 99, to: BUDI.into(), ..Default::default() }, "type"),
        (SendMessageRequest { caption: some(), ..text(BUDI, some()) }, "caption"),
        (poll(Vec::new()), "options"),
        (poll(thirteen), "options"),
        (poll(vec!["a".into(), "a".into()]), "options[1]"),
        (place(90.5, 0.0), "latitude"),
        (place(0.0, -181.0), "longitude"),
        (SendMessageRequest { contact: Some(card), ..new(MessageType::Contact) }, "contact.phone"),
        (new(MessageType::Image), "media"),
        (image("%%%"), "media.data"),
        (image("aGVsbG8gd29ybGQ="), "media.mimetype"),
        (SendMessageRequest { medias: vec![part], ..new(MessageType::Album) }, "medias"),
        (SendMessageRequest { reply_to: Some("NOT-THERE".into()), ..text(BUDI, some()) }, "replyTo"),
        (SendMessageRequest { send_at: Some(Timestamp { seconds: 95_617_584_000, nanos: 0 }), ..text(BUDI, some()) }, "sendAt"),
    ]
}

async fn what_is_wrong_is_named(home: Home) {
    let shop = Shop::open(home.start().await).await;
    let session = shop.path.rsplit('/').next().unwrap().to_owned();
    let renderer = Renderer::new(DESCRIPTORS, "whatsapp.gateway.v1.SendMessageRequest").unwrap();
    let mut client = MessageServiceClient::new(shop.gateway.channel().await);
    for (request, field) in cases() {
        let (status, error) = shop.send(body(&renderer, &request), "").await;
        let shown: String = format!("{request:?}").chars().take(200).collect();
        assert_eq!((status, &error["error"]["code"]), (400, &json!("validation_error")), "{shown}: {error}");
        let by_http: Vec<(&str, &str)> = error["error"]["details"]["fields"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|one| (one["field"].as_str().unwrap(), one["message"].as_str().unwrap()))
            .collect();
        assert!(by_http.iter().any(|(named, _)| *named == field), "{shown}: {error}");

        let refused = client.send_message(SendMessageRequest { session: session.clone(), ..request }).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::InvalidArgument, "{shown}: {refused}");
        let details = refused.get_error_details();
        let violations = details.bad_request().map(|it| it.field_violations.as_slice()).unwrap_or_default();
        // An unknown word is found while the body is read, an unknown number only behind that: the sentences differ.
        let by_grpc: Vec<(&str, &str)> = violations.iter().map(|it| (it.field.as_str(), it.description.as_str())).collect();
        match field {
            "type" => assert_eq!(by_grpc.first().map(|(named, _)| *named), Some("type"), "{shown}: {refused}"),
            _ => assert_eq!(by_grpc, by_http, "{shown}"),
        }
    }
    let page = shop.gateway.get(&format!("/sandbox/v1/phones/{BUDI}/messages")).await;
    assert_eq!(page["data"], json!([]), "nothing of it went out");

    let send = |to: &str| SendMessageRequest {
        session: session.clone(),
        r#type: MessageType::Text.into(),
        to: to.into(),
        text: Some("x".into()),
        ..Default::default()
    };
    // A group that the account is not in: refused, and recorded as such.
    let outside = send("120363000000000009@g.us");
    let (status, error) = shop.send(body(&renderer, &outside), "").await;
    assert!(matches!(status, 400 | 409), "{status} {error}");
    let refused = client.send_message(outside).await.unwrap_err();
    assert!(matches!(refused.code(), tonic::Code::InvalidArgument | tonic::Code::Aborted), "{refused}");
    // Not connected: the documented code, and never 501.
    shop.gateway.post(&format!("{}:stop", shop.path), json!({})).await;
    let (status, error) = shop.send(body(&renderer, &send(BUDI)), "").await;
    assert_eq!((status, &error["error"]["code"]), (409, &json!("session_not_connected")), "{error}");
    let refused = client.send_message(send(BUDI)).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::FailedPrecondition, "{refused}");
    let details = refused.get_error_details();
    assert_eq!(details.error_info().map(|it| it.reason.as_str()), Some("session_not_connected"), "{refused}");
    shop.gateway.stop().await;
}

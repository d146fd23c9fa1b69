//! Every kind of message that a phone sends arrives as documented: told as an event and kept as a row, the same by REST and by gRPC.

use prost::Message as _;
use serde_json::{Value, json};
use whatsapp_gateway::proto::DESCRIPTORS;
use whatsapp_gateway::proto::gateway::event_service_client::EventServiceClient;
use whatsapp_gateway::proto::gateway::message_service_client::MessageServiceClient;
use whatsapp_gateway::proto::gateway::{GetMessageRequest, ListEventsRequest};
use whatsapp_gateway::rest::render::Renderer;

use super::{BUDI, Contract, SHOP, TYPED, check};
use crate::gateway::{Gateway, Home, KEY, on_both_engines};

on_both_engines!(every_kind_that_phones_send_arrives_as_documented);

/// What a phone sends, what it is told as, and what the message is.
fn kinds() -> Vec<(Value, &'static str)> {
    let file = |kind: &str, more: Value| {
        let mut media = json!({"kind": kind});
        media.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"media": media})
    };
    let film = json!({"data": "AAAAGGZ0eXBpc29tAAACAGlzb21pc28y", "mimeType": "video/mp4", "seconds": 3});
    let card = |name: &str| json!({"name": name, "phoneNumber": TYPED});
    vec![
        (json!({"text": "Good morning."}), "text"),
        (json!({"text": "for @you", "mentions": [SHOP], "forwarded": true, "expiresSeconds": 86400}), "text"),
        (file("image", json!({})), "image"),
        (json!({"media": {"kind": "image"}, "text": "look once", "viewOnce": true}), "image"),
        (file("video", film.clone()), "video"),
        (file("audio", json!({"seconds": 2})), "audio"),
        (file("audio", json!({"voice": true, "seconds": 2})), "audio"),
        (file("document", json!({"fileName": "list.txt", "data": "aGVsbG8gd29ybGQ=", "mimeType": "text/plain"})), "document"),
        (file("sticker", json!({})), "sticker"),
        (json!({"album": {"images": 1, "videos": 1}}), "album"),
        (json!({"location": {"latitude": -6.5, "longitude": 106.5, "name": "Monas", "address": "Jakarta"}}), "location"),
        (json!({"contacts": [card("Dewi")]}), "contact"),
        (json!({"contacts": [card("Dewi"), card("Citra")]}), "contact"),
        (json!({"poll": {"question": "Which?", "options": ["tea", "coffee"], "selectable": 1}}), "poll"),
    ]
}

/// The two doors, and what both have to say.
struct Doors<'a> {
    gateway: &'a Gateway,
    session: String,
    contract: Contract,
    event: Renderer,
    message: Renderer,
}

impl Doors<'_> {
    async fn sends(&self, mut body: Value) -> String {
        body["to"] = json!(SHOP);
        let sent = self.gateway.post(&format!("/sandbox/v1/phones/{BUDI}/messages"), body).await;
        sent["id"].as_str().unwrap().to_owned()
    }

    /// The event `name` that has `id` in its payload's field `by`: as documented, and the same by both doors.
    async fn told(&self, name: &str, by: &str, id: &str) -> Value {
        let path = format!("/api/v1/events?limit=1000&events={name}");
        let find = |page: &Value| page["data"].as_array().unwrap().iter().find(|event| event["payload"][by] == id).cloned();
        let page = self.gateway.until(&path, &format!("{name} of {id}"), |page| find(page).is_some()).await;
        let event = find(&page).unwrap();
        let seen = self.contract.check_events(std::slice::from_ref(&event));
        assert!(seen.contains(name), "{name} is not documented");
        let mut client = EventServiceClient::new(self.gateway.channel().await);
        let request = ListEventsRequest { after: event["sequence"].as_i64().unwrap() - 1, limit: 1, ..Default::default() };
        let by_grpc = client.list_events(request).await.unwrap().into_inner().data.remove(0);
        let by_grpc: Value = serde_json::from_slice(&self.event.json(&by_grpc.encode_to_vec()).unwrap()).unwrap();
        assert_eq!(by_grpc, event, "{name}");
        event["payload"].clone()
    }

    /// The message's row: as documented, and the same by both doors.
    async fn row(&self, id: &str) -> Value {
        let row = self.gateway.get(&format!("/api/v1/sessions/{}/messages/{id}", self.session)).await;
        let schema = json!({"$ref": "#/components/schemas/Message"});
        let problems = check::problems(&self.contract.schemas, &schema, &row);
        assert!(problems.is_empty(), "{problems:#?} in {row:#}");
        let mut client = MessageServiceClient::new(self.gateway.channel().await);
        let request = GetMessageRequest { session: self.session.clone(), mid: id.to_owned() };
        let by_grpc = client.get_message(request).await.unwrap().into_inner();
        let by_grpc: Value = serde_json::from_slice(&self.message.json(&by_grpc.encode_to_vec()).unwrap()).unwrap();
        assert_eq!(by_grpc, row);
        row
    }

    /// The file of a message, fetched and decrypted.
    async fn file(&self, id: &str) -> Vec<u8> {
        let url = format!("{}/api/v1/sessions/{}/messages/{id}/media", self.gateway.base, self.session);
        let answer = reqwest::Client::new().get(url).bearer_auth(KEY).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 200);
        answer.bytes().await.unwrap().to_vec()
    }
}

async fn every_kind_that_phones_send_arrives_as_documented(home: Home) {
    let gateway = home.start().await;
    let session = gateway.paired(SHOP).await;
    gateway.phone(BUDI).await;
    let renderer = |name: &str| Renderer::new(DESCRIPTORS, &format!("whatsapp.gateway.v1.{name}")).unwrap();
    let (event, message) = (renderer("Event"), renderer("Message"));
    let doors = Doors { gateway: &gateway, session, contract: Contract::read(), event, message };
    let (mut first, mut poll, mut album) = (String::new(), String::new(), String::new());
    for (body, kind) in kinds() {
        let id = doors.sends(body.clone()).await;
        let told = doors.told("message", "waMessageId", &id).await;
        let row = doors.row(&id).await;
        for one in [&told, &row] {
            assert_eq!((&one["type"], &one["fromMe"]), (&json!(kind), &json!(false)), "{body}: {one}");
            assert_eq!(one["hasMedia"], json!(body["media"].is_object()), "{body}: {one}");
        }
        for same in ["body", "location", "contacts", "poll", "media", "viewOnce", "forwarded", "ephemeralSeconds"] {
            let of = |one: &Value| one.get(same).filter(|it| **it != json!({})).cloned();
            assert_eq!(of(&told), of(&row), "{same} of {body}");
        }
        match kind {
            "text" if first.is_empty() => first = id,
            "poll" => poll = id,
            "album" => album = id,
            "document" => assert_eq!(doors.file(&id).await, b"hello world"),
            "image" | "video" | "audio" | "sticker" => {
                let size = told["media"]["size"].as_i64().unwrap();
                assert_eq!(i64::try_from(doors.file(&id).await.len()).unwrap(), size, "{told}");
            }
            _ => {}
        }
    }
    // What belongs to an album, and what answers something.
    let part = doors.sends(json!({"media": {"kind": "image", "albumId": album}})).await;
    assert_eq!(doors.told("message", "waMessageId", &part).await["type"], "image");
    doors.row(&part).await;
    let reply = doors.sends(json!({"text": "Hello?", "replyTo": first})).await;
    let told = doors.told("message", "waMessageId", &reply).await;
    assert_eq!((&told["quotedMessageId"], &told["quotedBody"]), (&json!(first), &json!("Good morning.")));
    assert_eq!(doors.row(&reply).await["quotedMessageId"], json!(first));

    // What is done to messages.
    doors.sends(json!({"vote": {"messageId": poll, "options": ["coffee"]}})).await;
    assert_eq!(doors.told("poll.vote", "targetId", &poll).await["selectedOptions"], json!(["coffee"]));
    assert_eq!(doors.row(&poll).await["pollResults"][1]["count"], 1);
    doors.sends(json!({"reaction": {"messageId": first, "emoji": "👍"}})).await;
    assert_eq!(doors.told("message.reaction", "targetId", &first).await["reaction"], "👍");
    assert_eq!(doors.row(&first).await["reactions"][0]["emoji"], "👍");
    doors.sends(json!({"edit": {"messageId": first, "text": "Good evening."}})).await;
    assert_eq!(doors.told("message.edited", "targetId", &first).await["body"], "Good evening.");
    assert_eq!(doors.row(&first).await["body"], "Good evening.");
    doors.sends(json!({"revoke": {"messageId": first}})).await;
    doors.told("message.revoked", "targetId", &first).await;
    assert_eq!(doors.row(&first).await["deleted"], true);
    gateway.stop().await;
}

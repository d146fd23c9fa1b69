//! Every kind of message arrives as what it was sent as; what is wrong is refused with the field's name.

use serde_json::{Value, json};
use tonic::Request;
use whatsapp_gateway::proto::gateway::message_service_client::MessageServiceClient;
use whatsapp_gateway::proto::gateway::{MessageType, SendMessageRequest};

use super::{BUDI, DEWI, SHOP, Shop};
use crate::gateway::{Home, KEY, on_both_engines};

on_both_engines!(texts_places_cards_and_polls, answers_and_names, every_form_of_address_is_one, files_of_every_kind);

async fn texts_places_cards_and_polls(home: Home) {
    let shop = Shop::open(home.start().await).await;
    let text = shop.sent(json!({"type": "text", "to": BUDI, "text": "hello"})).await;
    let row = shop.shown(BUDI, &text["waMessageId"], "the text", |row| row["text"] == "hello").await;
    assert_eq!((&row["kind"], &row["arrivals"]), (&json!("text"), &json!(1)));

    let place = json!({"type": "location", "to": BUDI, "latitude": -6.1754, "longitude": 106.8272, "name": "Monas"});
    let place = shop.sent(place).await;
    let row = shop.shown(BUDI, &place["waMessageId"], "the place", |row| row["kind"] == "location").await;
    assert_eq!((&row["location"]["latitude"], &row["location"]["name"]), (&json!(-6.1754), &json!("Monas")));

    let card = json!({"type": "contact", "to": BUDI, "contact": {"name": "Dewi", "phone": "+62 812-0000-0003"}});
    let card = shop.sent(card).await;
    let row = shop.shown(BUDI, &card["waMessageId"], "the card", |row| row["kind"] == "contact").await;
    assert_eq!(row["contacts"][0]["name"], json!("Dewi"), "{row}");

    for (selectable, hidden) in [(1, false), (0, true)] {
        let poll = json!({"type": "poll", "to": BUDI, "name": "Lunch?", "options": ["Soto", "Rendang", "Gado"],
                          "selectableCount": selectable, "pollHideVotes": hidden, "pollEndTime": 4_000_000_000_000_i64});
        let poll = shop.sent(poll).await;
        let row = shop.shown(BUDI, &poll["waMessageId"], "the poll", |row| row["kind"] == "poll").await;
        let options: Vec<&str> =
            row["poll"]["options"].as_array().unwrap().iter().map(|option| option["name"].as_str().unwrap_or_default()).collect();
        assert_eq!(options, ["Soto", "Rendang", "Gado"], "{row}");
    }

    // The same over gRPC.
    let mut client = MessageServiceClient::new(shop.gateway.channel().await);
    let session = shop.path.rsplit('/').next().unwrap().to_owned();
    let request = SendMessageRequest {
        session,
        r#type: MessageType::Location.into(),
        to: BUDI.into(),
        latitude: Some(1.5),
        longitude: Some(-2.5),
        ..Default::default()
    };
    let answer = client.send_message(Request::new(request.clone())).await.unwrap().into_inner();
    assert_eq!((answer.mode.as_str(), answer.phone_number.as_deref()), ("sync", Some(BUDI)));
    shop.shown(BUDI, &json!(answer.wa_message_id), "the place", |row| row["location"]["latitude"] == json!(1.5)).await;
    let bad = SendMessageRequest { latitude: Some(91.0), ..request };
    let error = client.send_message(Request::new(bad)).await.unwrap_err();
    assert_eq!(error.code(), tonic::Code::InvalidArgument);
    assert!(error.message().contains("latitude"), "{error}");
    shop.gateway.stop().await;
}

async fn answers_and_names(home: Home) {
    let shop = Shop::open(home.start().await).await;
    let question = shop.written(BUDI, "are you open?").await;
    let reply = json!({"type": "text", "to": BUDI, "text": "yes @6281200000003", "replyTo": question["id"], "mentions": [DEWI]});
    let reply = shop.sent(reply).await;
    let row = shop.shown(BUDI, &reply["waMessageId"], "the answer", |row| row["kind"] == "text").await;
    assert_eq!((&row["targetId"], &row["quotedText"]), (&question["waMessageId"], &json!("are you open?")), "{row}");
    assert_eq!(row["mentions"], json!([format!("{DEWI}@s.whatsapp.net")]));
    // By WhatsApp's id just as well; and not what is not there, or elsewhere.
    shop.sent(json!({"type": "text", "to": BUDI, "text": "come in", "replyTo": question["waMessageId"]})).await;
    for (to, reply_to) in [(BUDI, json!("NOT-THERE")), (DEWI, question["id"].clone())] {
        let (status, error) = shop.send(json!({"type": "text", "to": to, "text": "x", "replyTo": reply_to}), "").await;
        assert_eq!((status, &error["error"]["details"]["fields"][0]["field"]), (400, &json!("replyTo")), "{error}");
    }
    shop.gateway.stop().await;
}

async fn every_form_of_address_is_one(home: Home) {
    let shop = Shop::open(home.start().await).await;
    shop.unlimited().await;
    let first = shop.sent(json!({"type": "text", "to": BUDI, "text": "first"})).await;
    let lid = first["lid"].as_str().map(str::to_owned);
    let jid = format!("{BUDI}@s.whatsapp.net");
    let mut forms = vec!["+62 812-0000-0002".to_owned(), format!("{BUDI}@c.us"), jid.clone(), format!("{BUDI}:7@s.whatsapp.net")];
    forms.extend(lid);
    for form in forms {
        let answer = shop.sent(json!({"type": "text", "to": form, "text": format!("as {form}")})).await;
        assert_eq!((&answer["chatJid"], &answer["phoneNumber"]), (&json!(jid), &json!(BUDI)), "{form}: {answer}");
        let lid = answer["lid"].as_str().unwrap_or_default();
        assert!(lid.ends_with("@lid"), "{form}: {answer}");
        shop.shown(BUDI, &answer["waMessageId"], "it", |row| row["arrivals"] == 1).await;
    }
    shop.gateway.stop().await;
}

/// A picture of one dark pixel, PNG.
pub(super) const PIXEL: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==";

async fn files_of_every_kind(home: Home) {
    let shop = Shop::open(home.start().await).await;
    shop.unlimited().await;
    let image = json!({"type": "image", "to": BUDI, "media": {"data": PIXEL}, "caption": "look"});
    let image = shop.sent(image).await;
    let row = shop.shown(BUDI, &image["waMessageId"], "the picture", |row| row["kind"] == "image").await;
    assert_eq!((&row["text"], &row["media"]["mimeType"]), (&json!("look"), &json!("image/png")), "{row}");
    let once = json!({"type": "image", "to": BUDI, "media": {"data": PIXEL}, "viewOnce": true});
    let once = shop.sent(once).await;
    shop.shown(BUDI, &once["waMessageId"], "the picture", |row| row["viewOnce"] == true).await;
    let document = json!({"type": "document", "to": BUDI, "media": {"data": "aGVsbG8gd29ybGQ=", "filename": "hello.txt", "mimetype": "text/plain"}});
    let document = shop.sent(document).await;
    shop.shown(BUDI, &document["waMessageId"], "the document", |row| row["kind"] == "document").await;
    let part = json!({"type": "image", "data": PIXEL});
    let album = shop.sent(json!({"type": "album", "to": BUDI, "medias": [part, part, part], "caption": "three"})).await;
    shop.shown(BUDI, &album["waMessageId"], "the album", |row| row["kind"] == "album").await;
    let path = format!("/sandbox/v1/phones/{BUDI}/messages?with={SHOP}");
    let pictures = |page: &Value| page["data"].as_array().unwrap().iter().filter(|row| row["kind"] == "image").count();
    shop.gateway.until(&path, "three more pictures", |page| pictures(page) == 5).await;
    // A file that is not what it is said to be.
    let wrong = json!({"type": "video", "to": BUDI, "media": {"data": PIXEL}});
    let (status, error) = shop.send(wrong, "").await;
    assert_eq!(status, 400, "{error}");
    let (status, _) = shop.gateway.call_as(Some(KEY), "GET", &shop.path, None).await;
    assert_eq!(status, 200);
    shop.gateway.stop().await;
}

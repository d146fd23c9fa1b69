//! What is done to messages arrives where they are, and is told.

use serde_json::{Value, json};

use super::{BUDI, DEWI, SHOP, Shop};
use crate::gateway::{Home, KEY, on_both_engines};

on_both_engines!(edits_revokes_reactions, votes_and_forwards, what_cannot_be_done);

async fn edits_revokes_reactions(home: Home) {
    let shop = Shop::open(home.start().await).await;
    let call = async |method: &str, path: String, body: Value| {
        let (status, answer) =
            shop.gateway.call_as(Some(KEY), method, &format!("{}/messages/{path}", shop.path), Some(body)).await;
        assert_eq!(status, 200, "{method} {path}: {answer}");
        answer
    };
    let sent = shop.sent(json!({"type": "text", "to": BUDI, "text": "helo"})).await;
    let id = &sent["waMessageId"];
    let mid = id.as_str().unwrap();
    let edited = call("PATCH", mid.to_owned(), json!({"text": "hello"})).await;
    assert_eq!(edited["chatJid"], sent["chatJid"]);
    let row = shop.shown(BUDI, id, "the new text", |row| row["text"] == "hello").await;
    assert_eq!(row["edited"], true, "{row}");
    let event = &shop.gateway.events("message.edited").await[0]["payload"];
    assert_eq!((&event["targetId"], &event["body"], &event["fromMe"]), (id, &json!("hello"), &json!(true)), "{event}");

    // Reactions to one's own and to others' messages, and back again.
    let question = shop.written(BUDI, "really?").await;
    for id in [id, &question["waMessageId"]] {
        let path = format!("{}/reaction", id.as_str().unwrap());
        call("POST", path.clone(), json!({"emoji": "👍🏽"})).await;
        let row = shop.shown(BUDI, id, "the reaction", |row| row["reactions"][0]["emoji"] == "👍🏽").await;
        assert_eq!(
            row["reactions"][0]["sender"].as_str().or(row["reactions"][0]["senderJid"].as_str()),
            Some(&*format!("{SHOP}@s.whatsapp.net")),
            "{row}"
        );
        call("DELETE", path, json!({})).await;
        shop.shown(BUDI, id, "no reaction", |row| row["reactions"].as_array().is_none_or(Vec::is_empty)).await;
    }
    assert_eq!(shop.gateway.events("message.reaction").await.len(), 4);

    call("POST", format!("{mid}/pin"), json!({"days": 1})).await;
    call("DELETE", mid.to_owned(), json!({})).await;
    shop.shown(BUDI, id, "it taken back", |row| row["kind"] == "revoked").await;
    let event = &shop.gateway.events("message.revoked").await[0]["payload"];
    assert_eq!(&event["targetId"], id, "{event}");
    for (method, what) in [("POST", "star"), ("DELETE", "star")] {
        let path = format!("{}/messages/{}/{what}", shop.path, question["id"].as_str().unwrap());
        let body = (method == "POST").then(|| json!({}));
        let (status, answer) = shop.gateway.call_as(Some(KEY), method, &path, body).await;
        assert_eq!(status, 204, "{answer}");
    }
    shop.gateway.stop().await;
}

async fn votes_and_forwards(home: Home) {
    let shop = Shop::open(home.start().await).await;
    let base = format!("{}/messages", shop.path);
    let poll = json!({"to": SHOP, "poll": {"question": "Which?", "options": ["a", "b"]}});
    let poll = shop.gateway.post(&format!("/sandbox/v1/phones/{BUDI}/messages"), poll).await;
    let path = format!("{base}/{}", poll["id"].as_str().unwrap());
    let stored = async {
        while shop.gateway.call_as(Some(KEY), "GET", &path, None).await.0 != 200 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(crate::gateway::PATIENCE, stored).await.expect("the poll is stored");
    let (status, error) = shop.gateway.call_as(Some(KEY), "POST", &format!("{path}/vote"), Some(json!({"options": ["c"]}))).await;
    assert_eq!(status, 400, "{error}");
    let voted = shop.gateway.post(&format!("{path}/vote"), json!({"options": ["b"]})).await;
    assert_eq!(voted["mode"], "sync");
    let mine = json!([format!("{SHOP}@s.whatsapp.net")]);
    let rows = format!("/sandbox/v1/phones/{BUDI}/messages?with={SHOP}");
    let counted = |page: &Value| page["data"].as_array().unwrap().iter().any(|row| row["poll"]["options"][1]["voters"] == mine);
    shop.gateway.until(&rows, "the vote, opened", counted).await;

    let question = shop.written(BUDI, "pass this on").await;
    let path = format!("{base}/{}/forward", question["id"].as_str().unwrap());
    let passed = shop.gateway.post(&path, json!({"to": DEWI})).await;
    let row = shop.shown(DEWI, &passed["waMessageId"], "it", |row| row["text"] == "pass this on").await;
    assert_eq!(row["forwarded"], true, "{row}");
    // A picture that was sent from here, by its keys.
    let picture = json!({"type": "image", "to": BUDI, "media": {"data": super::kinds::PIXEL}, "caption": "look"});
    let picture = shop.sent(picture).await;
    let first = shop.shown(BUDI, &picture["waMessageId"], "it", |row| row["kind"] == "image").await;
    let path = format!("{base}/{}/forward", picture["waMessageId"].as_str().unwrap());
    let passed = shop.gateway.post(&path, json!({"to": DEWI})).await;
    let row = shop.shown(DEWI, &passed["waMessageId"], "it", |row| row["kind"] == "image").await;
    assert_eq!((&row["media"]["sha256"], &row["text"]), (&first["media"]["sha256"], &json!("look")), "{row}");
    shop.gateway.stop().await;
}

async fn what_cannot_be_done(home: Home) {
    let shop = Shop::open(home.start().await).await;
    let question = shop.written(DEWI, "hello?").await;
    let theirs = question["waMessageId"].as_str().unwrap();
    let sent = shop.sent(json!({"type": "location", "to": DEWI, "latitude": 1, "longitude": 1})).await;
    let place = sent["waMessageId"].as_str().unwrap();
    let cases = [
        ("PATCH", theirs.to_owned(), json!({"text": "mine now"}), 409, "not_own"),
        ("PATCH", place.to_owned(), json!({"text": "x"}), 409, "not_editable"),
        ("PATCH", place.to_owned(), json!({"text": " "}), 400, ""),
        ("PATCH", "NOT-THERE".to_owned(), json!({"text": "x"}), 404, ""),
        ("DELETE", theirs.to_owned(), json!({}), 409, "not_own"),
        ("POST", format!("{theirs}/reaction"), json!({"emoji": "yes"}), 400, ""),
        ("POST", format!("{theirs}/reaction"), json!({}), 400, ""),
        ("POST", format!("{theirs}/pin"), json!({"days": 2}), 400, ""),
        ("POST", format!("{theirs}/played"), json!({}), 409, "not_playable"),
    ];
    for (method, path, body, wanted, reason) in cases {
        let (status, error) =
            shop.gateway.call_as(Some(KEY), method, &format!("{}/messages/{path}", shop.path), Some(body)).await;
        assert_eq!(status, wanted, "{method} {path}: {error}");
        if !reason.is_empty() {
            assert_eq!(error["error"]["details"]["reason"], reason, "{method} {path}: {error}");
        }
    }
    shop.gateway.stop().await;
}

//! What people do is told and stored: over the control API of the sandbox in, over REST out.

use serde_json::{Value, json};

use super::{Gateway, Home, KEY, on_both_engines};

on_both_engines!(
    everything_that_people_do_is_told_and_stored,
    chats_are_kept_as_their_owner_wants_them,
    filters_leave_out_everything_of_a_source,
);

const SHOP: &str = "6281200000001";
const BUDI: &str = "6281200000002";
const DEWI: &str = "6281200000003";

async fn sends(gateway: &Gateway, from: &str, to: &str, mut body: Value) -> String {
    body["to"] = json!(to);
    let shown = gateway.post(&format!("/sandbox/v1/phones/{from}/messages"), body).await;
    shown["id"].as_str().unwrap().to_owned()
}

/// The first event of that name that fits.
async fn told(gateway: &Gateway, name: &str, fits: impl Fn(&Value) -> bool) -> Value {
    let path = format!("/api/v1/events?limit=1000&events={name}");
    let find = |page: &Value| page["data"].as_array().unwrap().iter().find(|event| fits(&event["payload"])).cloned();
    let page = gateway.until(&path, name, |page| find(page).is_some()).await;
    find(&page).unwrap()["payload"].clone()
}

async fn everything_that_people_do_is_told_and_stored(home: Home) {
    let gateway = home.start().await;
    let id = gateway.paired(SHOP).await;
    let accepted = told(&gateway, "auth.code", |it| it["jid"].is_string()).await;
    assert_eq!(accepted["jid"], json!(format!("{SHOP}@s.whatsapp.net")), "the account is told once a phone has accepted");
    gateway.phone(BUDI).await;
    let budi = format!("{BUDI}@s.whatsapp.net");
    let messages = format!("/api/v1/sessions/{id}/messages");

    let first = sends(&gateway, BUDI, SHOP, json!({"text": "Good morning, is the shop open?"})).await;
    let event = told(&gateway, "message", |it| it["waMessageId"] == json!(first)).await;
    assert_eq!((&event["chatJid"], &event["senderPhone"], &event["type"]), (&json!(budi), &json!(BUDI), &json!("text")));
    assert!(event["chatLid"].as_str().is_some_and(|lid| lid.ends_with("@lid")), "every address that is known: {event}");

    let reply = json!({"text": "Hello?", "replyTo": first, "mentions": [SHOP], "forwarded": true, "expiresSeconds": 86400});
    let reply = sends(&gateway, BUDI, SHOP, reply).await;
    let event = told(&gateway, "message", |it| it["waMessageId"] == json!(reply)).await;
    assert_eq!((&event["quotedMessageId"], &event["quotedBody"]), (&json!(first), &json!("Good morning, is the shop open?")));
    assert_eq!((&event["quotedSenderJid"], &event["quotedFromMe"]), (&json!(budi), &json!(false)));
    assert_eq!((event["forwarded"].as_i64() > Some(0), &event["ephemeralSeconds"]), (true, &json!(86400)), "{event}");
    assert_eq!(event["mentions"].as_object().unwrap().len(), 1, "{event}");

    let place = sends(&gateway, BUDI, SHOP, json!({"location": {"latitude": -6.5, "longitude": 106.5, "name": "Monas"}})).await;
    let event = told(&gateway, "message", |it| it["waMessageId"] == json!(place)).await;
    assert_eq!((&event["type"], &event["location"]["latitude"]), (&json!("location"), &json!(-6.5)));
    let card = sends(&gateway, BUDI, SHOP, json!({"contacts": [{"name": "Dewi", "phoneNumber": DEWI}]})).await;
    let event = told(&gateway, "message", |it| it["waMessageId"] == json!(card)).await;
    assert_eq!((&event["type"], &event["contact"]["displayName"]), (&json!("contact"), &json!("Dewi")));

    let poll = sends(&gateway, BUDI, SHOP, json!({"poll": {"question": "Which?", "options": ["tea", "coffee"]}})).await;
    let event = told(&gateway, "message", |it| it["waMessageId"] == json!(poll)).await;
    assert_eq!((&event["poll"]["name"], &event["poll"]["options"]), (&json!("Which?"), &json!(["tea", "coffee"])));
    sends(&gateway, BUDI, SHOP, json!({"vote": {"messageId": poll, "options": ["coffee"]}})).await;
    let event = told(&gateway, "poll.vote", |it| it["targetId"] == json!(poll)).await;
    assert_eq!(event["selectedOptions"], json!(["coffee"]));
    let detail = gateway.get(&format!("{messages}/{poll}")).await;
    assert_eq!(detail["pollResults"][1], json!({"option": "coffee", "count": 1, "voters": [budi]}), "{detail}");

    sends(&gateway, BUDI, SHOP, json!({"reaction": {"messageId": first, "emoji": "👍"}})).await;
    let event = told(&gateway, "message.reaction", |it| it["targetId"] == json!(first)).await;
    assert_eq!((&event["reaction"], &event["type"]), (&json!("👍"), &json!("reaction")));
    let detail = gateway.get(&format!("{messages}/{first}")).await;
    assert_eq!((&detail["reactions"][0]["emoji"], &detail["reactions"][0]["senderJid"]), (&json!("👍"), &json!(budi)));
    sends(&gateway, BUDI, SHOP, json!({"reaction": {"messageId": first, "emoji": ""}})).await;
    told(&gateway, "message.reaction", |it| it["reaction"] == json!("")).await;
    assert_eq!(gateway.get(&format!("{messages}/{first}")).await["reactions"], json!([]));

    sends(&gateway, BUDI, SHOP, json!({"edit": {"messageId": first, "text": "Good evening, is the shop closed?"}})).await;
    let event = told(&gateway, "message.edited", |it| it["targetId"] == json!(first)).await;
    assert_eq!(event["body"], json!("Good evening, is the shop closed?"));
    let detail = gateway.get(&format!("{messages}/{first}")).await;
    assert_eq!((&detail["body"], &detail["edited"]), (&json!("Good evening, is the shop closed?"), &json!(true)));

    sends(&gateway, BUDI, SHOP, json!({"revoke": {"messageId": reply}})).await;
    told(&gateway, "message.revoked", |it| it["targetId"] == json!(reply)).await;
    let detail = gateway.get(&format!("{messages}/{reply}")).await;
    assert_eq!((&detail["body"], &detail["deleted"]), (&Value::Null, &json!(true)), "what was taken back is forgotten");

    // None of what was done is a message of its own.
    let page = gateway.get(&format!("/api/v1/sessions/{id}/chats/{BUDI}/messages")).await;
    let kinds: Vec<&str> = page["data"].as_array().unwrap().iter().map(|it| it["type"].as_str().unwrap()).collect();
    assert_eq!(kinds.len(), 5, "{kinds:?}");
    assert!(!kinds.iter().any(|kind| ["reaction", "edited", "revoked", "vote"].contains(kind)), "{kinds:?}");
    gateway.stop().await;
}

async fn chats_are_kept_as_their_owner_wants_them(home: Home) {
    let gateway = home.start().await;
    let id = gateway.paired(SHOP).await;
    gateway.phone(BUDI).await;
    gateway.phone(DEWI).await;
    let chats = format!("/api/v1/sessions/{id}/chats");
    let asked = sends(&gateway, BUDI, SHOP, json!({"text": "the blue invoice"})).await;
    sends(&gateway, BUDI, SHOP, json!({"text": "the red invoice"})).await;
    // Different chats are dealt with side by side: what is the latest is certain when the others are there.
    gateway.until(&chats, "the first chat", |it| it["data"][0]["unreadCount"] == json!(2)).await;
    sends(&gateway, DEWI, SHOP, json!({"text": "a green invoice"})).await;
    let list = gateway.until(&chats, "both chats", |it| it["data"][1]["unreadCount"] == json!(2)).await;
    assert_eq!(list["data"][0]["jid"], json!(format!("{DEWI}@s.whatsapp.net")), "the latest first");
    assert_eq!((&list["data"][1]["name"], &list["data"][1]["type"]), (&json!(format!("Phone {BUDI}")), &json!("dm")));
    let first = gateway.get(&format!("{chats}?limit=1")).await;
    let second = gateway.get(&format!("{chats}?limit=1&cursor={}", first["nextCursor"].as_str().unwrap())).await;
    assert_eq!((&second["data"][0]["id"], &second["nextCursor"]), (&list["data"][1]["id"], &Value::Null));

    // By its number and by every address.
    let chat = list["data"][1].clone();
    let lid = chat["aliases"].as_array().unwrap().iter().find(|it| it.as_str().unwrap().ends_with("@lid")).unwrap();
    for form in [&chat["id"].to_string(), BUDI, &format!("+{BUDI}"), &format!("{BUDI}@c.us"), lid.as_str().unwrap()] {
        assert_eq!(gateway.get(&format!("{chats}/{}", form.replace('+', "%2B"))).await["id"], chat["id"], "{form}");
    }
    let (status, _) = gateway.call_as(Some(KEY), "GET", &format!("{chats}/999999"), None).await;
    assert_eq!(status, 404);

    // Words.
    let search = format!("/api/v1/sessions/{id}/messages?q=");
    let found = async |query: &str| {
        let page = gateway.get(&format!("{search}{query}")).await;
        let bodies = page["data"].as_array().unwrap().iter().map(|it| it["body"].as_str().unwrap().to_owned());
        bodies.collect::<Vec<_>>()
    };
    assert_eq!(found("invoice").await, ["a green invoice", "the red invoice", "the blue invoice"]);
    assert_eq!(found(&format!("invoice&chat={BUDI}")).await, ["the red invoice", "the blue invoice"]);
    assert_eq!(found("BLUE%20inv").await, ["the blue invoice"]);
    assert_eq!(found("yellow").await, [""; 0]);
    let (status, _) = gateway.call_as(Some(KEY), "GET", &format!("{search}%20!%20"), None).await;
    assert_eq!(status, 400, "no word at all");

    // Reading tells the sender.
    let read = gateway.post(&format!("{chats}/{BUDI}/read"), json!({})).await;
    assert_eq!(read["unreadCount"], json!(0));
    let seen = |it: &Value| it["data"].as_array().unwrap().iter().any(|row| row["id"] == json!(asked) && row["state"] == "read");
    gateway.until(&format!("/sandbox/v1/phones/{BUDI}/messages"), "that its message was read", seen).await;
    told(&gateway, "chat.update", |it| it["change"] == "read" && it["chatJid"] == chat["jid"]).await;

    // State, on all devices.
    let patch = async |body: Value| gateway.call_as(Some(KEY), "PATCH", &format!("{chats}/{BUDI}"), Some(body)).await;
    let (status, changed) = patch(json!({"archived": true, "pinned": true, "mutedUntil": 4_000_000_000_000_i64})).await;
    assert_eq!((status, &changed["archived"], &changed["pinned"]), (200, &json!(true), &json!(true)), "{changed}");
    assert_eq!(changed["mutedUntil"], json!(4_000_000_000_000_i64));
    let (_, changed) = patch(json!({"archived": false, "unmute": true})).await;
    assert_eq!((&changed["archived"], &changed["mutedUntil"]), (&json!(false), &Value::Null));
    for wrong in [json!({"mutedUntil": 1}), json!({"mutedUntil": 4_000_000_000_000_i64, "unmute": true})] {
        assert_eq!(patch(wrong).await.0, 400);
    }
    told(&gateway, "chat.update", |it| it["change"] == "muted" && it["removed"] == json!(true)).await;

    let (status, _) = gateway.call_as(Some(KEY), "DELETE", &format!("{chats}/{BUDI}"), None).await;
    assert_eq!(status, 204);
    assert_eq!(gateway.get(&chats).await["data"].as_array().unwrap().len(), 1);
    assert_eq!(found("invoice").await, ["a green invoice"]);
    // What comes later begins it anew.
    sends(&gateway, BUDI, SHOP, json!({"text": "still there?"})).await;
    gateway.until(&format!("{chats}?limit=5"), "the chat again", |it| it["data"][1].is_object()).await;
    gateway.stop().await;
}

async fn filters_leave_out_everything_of_a_source(home: Home) {
    let gateway = home.start().await;
    let id = gateway.paired(SHOP).await;
    gateway.phone(BUDI).await;
    let made = json!({"name": "Friends", "participants": [BUDI]});
    let group = gateway.post(&format!("/api/v1/sessions/{id}/groups"), made).await;
    let gid = group["groupJid"].as_str().unwrap().to_owned();
    let heard = sends(&gateway, BUDI, &gid, json!({"text": "hello all"})).await;
    let event = told(&gateway, "message", |it| it["waMessageId"] == json!(heard)).await;
    assert_eq!((&event["chatJid"], &event["senderPhone"]), (&json!(gid), &json!(BUDI)));
    let ignore = json!({"ignoreGroups": true});
    let (status, _) = gateway.call_as(Some(KEY), "PATCH", &format!("/api/v1/sessions/{id}"), Some(ignore)).await;
    assert_eq!(status, 200);
    let before = gateway.get("/api/v1/events?limit=1000").await["data"].as_array().unwrap().len();
    let unheard = sends(&gateway, BUDI, &gid, json!({"text": "psst"})).await;
    sends(&gateway, BUDI, &gid, json!({"reaction": {"messageId": heard, "emoji": "👍"}})).await;
    sends(&gateway, BUDI, &gid, json!({"revoke": {"messageId": unheard}})).await;
    let last = sends(&gateway, BUDI, SHOP, json!({"text": "to you alone"})).await;
    told(&gateway, "message", |it| it["waMessageId"] == json!(last)).await;
    let events = gateway.get("/api/v1/events?limit=1000").await;
    let about = events["data"].as_array().unwrap()[before..].iter().filter(|event| event.to_string().contains(&gid)).count();
    assert_eq!(about, 0, "{events:#}");
    gateway.stop().await;
}

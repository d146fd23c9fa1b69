//! Messages both ways, their receipts, and what a restart must not lose.

use serde_json::json;

use super::{Gateway, Home, KEY, on_both_engines};

on_both_engines!(
    messages_go_both_ways,
    what_comes_meanwhile_is_not_lost,
    a_repeated_send_is_one_message,
    budgets_are_exact,
    auto_read_and_the_log_in_pages,
);

const SHOP: &str = "6281200000001";
const BUDI: &str = "6281200000002";

async fn write(gateway: &Gateway, from: &str, to: &str, text: &str) {
    gateway.post(&format!("/sandbox/v1/phones/{from}/messages"), json!({"to": to, "text": text})).await;
}

async fn messages_go_both_ways(home: Home) {
    let gateway = home.start().await;
    let id = gateway.paired(SHOP).await;
    gateway.phone(BUDI).await;
    write(&gateway, BUDI, SHOP, "Hello?").await;
    let page = gateway.until("/api/v1/events?events=message", "the message", |e| e["data"][0].is_object()).await;
    let event = &page["data"][0];
    assert_eq!((&event["schema"], &event["event"], &event["session"]), (&json!("v1"), &json!("message"), &json!(id)));
    let payload = &event["payload"];
    assert_eq!((&payload["body"], &payload["type"], &payload["fromMe"]), (&json!("Hello?"), &json!("text"), &json!(false)));
    assert_eq!(payload["senderPhone"], BUDI);
    assert_eq!(payload["chatJid"], format!("{BUDI}@s.whatsapp.net"), "one canonical form");
    assert!(payload["senderLid"].as_str().unwrap().ends_with("@lid"));
    assert_eq!(payload["media"], json!({}), "the contract wants it there");

    let sent = gateway
        .post(&format!("/api/v1/sessions/{id}/messages"), json!({"type": "text", "to": BUDI, "text": "Good morning."}))
        .await;
    assert_eq!((&sent["mode"], &sent["status"], &sent["replayed"]), (&json!("sync"), &json!("sent"), &json!(false)));
    let shown = format!("/sandbox/v1/phones/{BUDI}/messages");
    let arrived = |m: &serde_json::Value| m["data"].as_array().unwrap().iter().any(|m| m["text"] == "Good morning.");
    let messages = gateway.until(&shown, "our answer, decrypted", arrived).await;
    let ours = messages["data"].as_array().unwrap().iter().find(|m| m["text"] == "Good morning.").unwrap();
    assert_eq!((&ours["id"], &ours["arrivals"]), (&sent["waMessageId"], &json!(1)));

    let mid = sent["waMessageId"].as_str().unwrap();
    let stored = gateway.until(&format!("/api/v1/sessions/{id}/messages/{mid}"), "read", |m| m["status"] == "read").await;
    assert_eq!((&stored["direction"], &stored["body"]), (&json!("out"), &json!("Good morning.")));
    // The server's answer and the receipts come by different ways and may overtake each other; what is told only goes forward.
    let steps = ["sent", "delivered", "read"];
    let events = gateway.events("message.status").await;
    let told: Vec<_> = events.iter().map(|e| steps.iter().position(|step| e["payload"]["status"] == *step).unwrap()).collect();
    assert!(told.is_sorted_by(|a, b| a < b) && told.last() == Some(&2), "{events:?}");
    gateway.stop().await;
}

async fn what_comes_meanwhile_is_not_lost(home: Home) {
    let gateway = home.start().await;
    let id = gateway.paired(SHOP).await;
    gateway.phone(BUDI).await;
    let path = format!("/api/v1/sessions/{id}");
    gateway.post(&format!("{path}:stop"), json!({})).await;
    for n in 0..20 {
        write(&gateway, BUDI, SHOP, &format!("message {n}")).await;
    }
    gateway.post(&format!("{path}:start"), json!({})).await;
    gateway.until("/api/v1/events?events=message&limit=100", "20 messages", |e| e["data"].as_array().unwrap().len() == 20).await;
    // A restart of everything: the wanted session comes back by itself, without pairing, and misses nothing.
    gateway.stop().await;
    let gateway = home.start().await;
    gateway.until(&path, "working", |s| s["status"] == "working").await;
    write(&gateway, BUDI, SHOP, "after the restart").await;
    let done = |e: &serde_json::Value| e["data"].as_array().unwrap().len() == 21;
    let page = gateway.until("/api/v1/events?events=message&limit=100", "21 messages", done).await;
    let texts: Vec<_> = page["data"].as_array().unwrap().iter().map(|e| e["payload"]["body"].as_str().unwrap()).collect();
    let mut expected: Vec<_> = (0..20).map(|n| format!("message {n}")).collect();
    expected.push("after the restart".into());
    assert_eq!(texts, expected, "each once, in order");
    assert_eq!(gateway.events("auth.qr").await.len(), 1, "it was paired once");
    gateway.stop().await;
}

async fn a_repeated_send_is_one_message(home: Home) {
    let gateway = home.start().await;
    let id = gateway.paired(SHOP).await;
    gateway.phone(BUDI).await;
    let send = async |key: &str, text: &str| {
        let url = format!("{}/api/v1/sessions/{id}/messages", gateway.base);
        let body = json!({"type": "text", "to": BUDI, "text": text}).to_string();
        let call = reqwest::Client::new().post(url).bearer_auth(KEY).header("idempotency-key", key);
        let answer = call.header("content-type", "application/json").body(body).send().await.unwrap();
        let status = answer.status().as_u16();
        (status, serde_json::from_str::<serde_json::Value>(&answer.text().await.unwrap()).unwrap())
    };
    let (first, second) = tokio::join!(send("k1", "once"), send("k1", "once"));
    assert_eq!((first.0, second.0), (200, 200), "{} {}", first.1, second.1);
    assert_eq!(first.1["waMessageId"], second.1["waMessageId"]);
    let third = send("k1", "once").await;
    assert_eq!(third.1["replayed"], true, "{}", third.1);
    let other = send("k1", "something else").await;
    assert_eq!((other.0, &other.1["error"]["code"]), (409, &json!("conflict")), "{}", other.1);
    let shown = gateway.until(&format!("/sandbox/v1/phones/{BUDI}/messages"), "it", |m| m["data"][0].is_object()).await;
    assert_eq!(shown["data"].as_array().map(Vec::len), Some(1));
    gateway.stop().await;
}

async fn budgets_are_exact(home: Home) {
    let gateway = home.start().await;
    let id = gateway.paired(SHOP).await;
    gateway.phone(BUDI).await;
    let path = format!("/api/v1/sessions/{id}");
    assert_eq!(gateway.call_as(Some(KEY), "PATCH", &path, Some(json!({"ratePerMin": 5}))).await.0, 200);
    let messages = format!("{path}/messages");
    let body = || Some(json!({"type": "text", "to": BUDI, "text": "x"}));
    let answers = futures_util::future::join_all((0..20).map(|_| gateway.call_as(Some(KEY), "POST", &messages, body()))).await;
    // On its way counts like sent: what is exact is how many got a place.
    let accepted = answers.iter().filter(|(status, _)| matches!(status, 200 | 202)).count();
    let refused = answers.iter().filter(|(status, _)| *status == 429).count();
    assert_eq!((accepted, refused), (5, 15), "{answers:?}");
    let (_, refused) = answers.iter().find(|(status, _)| *status == 429).unwrap();
    let wait = refused["error"]["details"]["retryAfterSeconds"].as_i64().unwrap();
    assert!((1..=60).contains(&wait), "{refused}");
    gateway.stop().await;
}

async fn auto_read_and_the_log_in_pages(home: Home) {
    let gateway = home.start().await;
    let id = gateway.paired(SHOP).await;
    gateway.phone(BUDI).await;
    gateway.call_as(Some(KEY), "PATCH", &format!("/api/v1/sessions/{id}"), Some(json!({"autoRead": true}))).await;
    write(&gateway, BUDI, SHOP, "read me").await;
    let shown = format!("/sandbox/v1/phones/{BUDI}/messages");
    gateway.until(&shown, "a read receipt", |m| m["data"][0]["state"] == "read").await;

    let all = gateway.get("/api/v1/events?limit=1000").await["data"].as_array().unwrap().clone();
    let (mut after, mut paged) = (json!(0), Vec::new());
    while !after.is_null() {
        let page = gateway.get(&format!("/api/v1/events?limit=2&after={after}")).await;
        paged.extend(page["data"].as_array().unwrap().clone());
        after = page["nextCursor"].clone();
    }
    assert_eq!(paged, all, "pages join without gap or overlap");
    let sequences: Vec<_> = all.iter().map(|e| e["sequence"].as_i64().unwrap()).collect();
    assert!(sequences.windows(2).all(|w| w[1] == w[0] + 1), "{sequences:?}");
    let (status, future) = gateway.call_as(Some(KEY), "GET", "/api/v1/events?after=999999", None).await;
    assert_eq!(status, 400, "{future}");
    gateway.stop().await;
}

//! WebSockets for browsers, opened with one-time tickets.

use serde_json::json;
use tokio_websockets::CloseCode;
use whatsapp_gateway::domain::clock::{Ambient, Time};

use super::{Socket, key, ticket, write};
use crate::gateway::{Gateway, Home, KEY, on_both_engines};
use crate::support::Engine;

on_both_engines!(a_ticket_opens_one_socket, a_socket_ends_with_its_credential);

async fn opened(gateway: &Gateway, key: &str, rest: &str) -> Socket {
    let ticket = ticket(gateway, key).await;
    Socket::open(gateway, &format!("/api/v1/realtime?ticket={ticket}{rest}")).await
}

async fn a_ticket_opens_one_socket(home: Home) {
    let gateway = home.start().await;
    let made = gateway.post("/api/v1/realtime/ticket", json!({})).await;
    let (ticket, url) = (made["ticket"].as_str().unwrap(), made["url"].as_str().unwrap());
    assert!(ticket.starts_with("wst_") && ticket.len() == 47, "{ticket}");
    assert_eq!(url, format!("{}/api/v1/realtime?ticket={ticket}", gateway.base.replacen("http", "ws", 1)));
    let mut socket = Socket::open(&gateway, &format!("/api/v1/realtime?ticket={ticket}&after=0&events=session.status")).await;
    assert!(socket.item().await["position"].is_object());
    let session = gateway.post("/api/v1/sessions", json!({"start": true})).await;
    // Whatever a client says is heard and changes nothing.
    socket.send("hello").await;
    let item = socket.item().await;
    let listed = gateway.get("/api/v1/events?events=session.status&limit=1").await;
    assert_eq!(item["event"], listed["data"][0], "the same JSON as everywhere");
    assert_eq!(item["event"]["session"], session["id"]);
    assert_eq!(socket.item().await["event"]["event"], "session.status", "the codes are filtered out");

    let mut again = Socket::open(&gateway, &format!("/api/v1/realtime?ticket={ticket}")).await;
    assert_eq!(again.item().await["error"]["code"], "unauthorized");
    assert_eq!(again.closed().await, (CloseCode::POLICY_VIOLATION, "unauthorized".to_owned()));

    // A ticket is worth nothing elsewhere, and is used up by the try.
    let other = super::ticket(&gateway, KEY).await;
    assert_eq!(gateway.call_as(Some(&other), "GET", "/api/v1/sessions", None).await.0, 403);
    assert_eq!(gateway.call_as(Some(&other), "GET", "/api/v1/events?limit=1", None).await.0, 401);
    // Server-Sent Events take it too; a browser's EventSource has no headers either.
    let third = super::ticket(&gateway, KEY).await;
    let mut call = reqwest::Client::new().get(format!("{}/api/v1/realtime?ticket={third}&after=0", gateway.base));
    call = call.header("accept", "text/event-stream");
    let mut answer = call.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.chunk().await.unwrap().unwrap().starts_with(b"event: position\n"));

    // The end of the program is told, and waits for no socket.
    let stopping = tokio::spawn(gateway.stop());
    loop {
        let item = socket.item().await;
        if item["error"].is_object() {
            assert_eq!(item["error"]["details"]["reason"], "shutting_down");
            break;
        }
    }
    assert_eq!(socket.closed().await, (CloseCode::GOING_AWAY, "gateway_unavailable".to_owned()));
    drop((socket, again, answer));
    stopping.await.unwrap();
}

async fn a_socket_ends_with_its_credential(home: Home) {
    let gateway = home.start().await;
    let (id, secret) = key(&gateway, json!({"name": "page", "capabilities": ["events"]})).await;
    let mut socket = opened(&gateway, &secret, "").await;
    assert!(socket.item().await["position"].is_object());
    let unused = ticket(&gateway, &secret).await;
    assert_eq!(gateway.call_as(Some(KEY), "DELETE", &format!("/api/v1/api-keys/{id}"), None).await.0, 204);
    assert_eq!(socket.item().await["error"]["code"], "unauthorized");
    assert_eq!(socket.closed().await, (CloseCode::POLICY_VIOLATION, "unauthorized".to_owned()));
    let mut late = Socket::open(&gateway, &format!("/api/v1/realtime?ticket={unused}")).await;
    assert_eq!(late.item().await["error"]["code"], "unauthorized", "a ticket is worth no more than what it was made with");
    let (_, reader) = key(&gateway, json!({"name": "reader", "capabilities": ["read"]})).await;
    assert_eq!(gateway.call_as(Some(&reader), "POST", "/api/v1/realtime/ticket", Some(json!({}))).await.0, 403);
    drop((socket, late));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_lives_half_a_minute_and_carries_restrictions() {
    let home = Home::new(Engine::Sqlite).await;
    let clock = Ambient::held(Time(1_790_000_000_000));
    let gateway = home.start_with(&[], clock.clone()).await;
    let (mine, theirs) = (gateway.post("/api/v1/sessions", json!({})).await, gateway.post("/api/v1/sessions", json!({})).await);
    let (mine, theirs) = (mine["id"].as_str().unwrap(), theirs["id"].as_str().unwrap());
    let (_, restricted) = key(&gateway, json!({"name": "x", "capabilities": ["events"], "sessions": [mine]})).await;
    write(&home, theirs, ["not for you".to_owned()]).await;
    write(&home, mine, ["for you".to_owned()]).await;
    let mut socket = opened(&gateway, &restricted, "&after=0&events=auth.qr").await;
    assert!(socket.item().await["position"].is_object());
    assert_eq!(socket.item().await["event"]["payload"]["code"], "for you");
    for (seconds, lives) in [(29, true), (31, false)] {
        let ticket = ticket(&gateway, KEY).await;
        clock.advance(std::time::Duration::from_secs(seconds));
        let mut socket = Socket::open(&gateway, &format!("/api/v1/realtime?ticket={ticket}")).await;
        assert_eq!(socket.item().await["position"].is_object(), lives, "after {seconds} s");
    }
    // Plain callers keep their answers: a handshake that is none, and an upgrade of what does not stream.
    let http = reqwest::Client::new();
    let upgrade = |path: &str, version: &str| {
        let call = http.get(format!("{}{path}", gateway.base)).bearer_auth(KEY);
        call.header("connection", "upgrade").header("upgrade", "websocket").header("sec-websocket-version", version.to_owned())
    };
    assert_eq!(upgrade("/api/v1/realtime", "13").send().await.unwrap().status(), 400, "no key");
    let one = upgrade("/api/v1/realtime", "8").header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    assert_eq!(one.send().await.unwrap().status(), 400);
    let one = upgrade("/api/v1/sessions", "13").header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    assert_eq!(one.send().await.unwrap().status(), 200, "a list does not stream");
    drop(socket);
    gateway.stop().await;
}

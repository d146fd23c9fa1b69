//! A cursor that retention has passed is refused in the same words by every door, and names where to go on.

use serde_json::{Value, json};
use tonic_types::StatusExt as _;
use whatsapp_gateway::proto::gateway::SubscribeRequest;
use whatsapp_gateway::proto::gateway::event_service_client::EventServiceClient;
use whatsapp_gateway::store::{Db, Options};

use super::{Socket, ticket, write};
use crate::gateway::{Home, KEY, on_both_engines};

on_both_engines!(every_door_names_the_oldest_position);

async fn every_door_names_the_oldest_position(home: Home) {
    let gateway = home.start().await;
    write(&home, "", (0..30).map(|at| at.to_string())).await;
    let db = Db::open(home.database_url(), Options::default()).await.unwrap();
    // By size, in pieces: 30 events, of which 8 are kept.
    let mut pruned = Vec::new();
    loop {
        let count = db.prune_events_beyond(8, 9).await.unwrap();
        if count == 0 {
            break;
        }
        pruned.push(count);
    }
    assert_eq!(pruned, [9, 9, 4]);
    let fits = |error: &Value, door: &str| {
        assert_eq!(error["code"], "validation_error", "{door}: {error}");
        assert_eq!((&error["details"]["reason"], &error["details"]["oldest"]), (&json!("cursor_expired"), &json!(23)), "{door}");
        assert!(error["message"].as_str().unwrap().contains("after=22"), "{door}: {error}");
    };
    for (door, accept) in [("a page", "application/json"), ("SSE", "text/event-stream"), ("NDJSON", "application/x-ndjson")] {
        let call = reqwest::Client::new().get(format!("{}/api/v1/events?after=5", gateway.base)).bearer_auth(KEY);
        let answer = call.header("accept", accept).send().await.unwrap();
        assert_eq!(answer.status(), 400, "{door}");
        fits(&answer.json::<Value>().await.unwrap()["error"], door);
    }
    let ticket = ticket(&gateway, KEY).await;
    let mut socket = Socket::open(&gateway, &format!("/api/v1/realtime?ticket={ticket}&after=5")).await;
    fits(&socket.item().await["error"], "a WebSocket");
    let subscribe = |after| SubscribeRequest { after: Some(after), ..SubscribeRequest::default() };
    let mut client = EventServiceClient::new(gateway.channel().await);
    let refused = client.subscribe(subscribe(5)).await.unwrap_err();
    let details = refused.get_error_details();
    let info = details.error_info().unwrap();
    assert_eq!((info.reason.as_str(), info.metadata["oldest"].as_str()), ("cursor_expired", "23"));
    // Where it says to go on, it goes on.
    let mut items = client.subscribe(subscribe(22)).await.unwrap().into_inner();
    items.message().await.unwrap().unwrap();
    let first = items.message().await.unwrap().unwrap();
    assert!(format!("{first:?}").contains("sequence: 23"), "{first:?}");
    drop((items, client, socket));
    db.close().await;
    gateway.stop().await;
}

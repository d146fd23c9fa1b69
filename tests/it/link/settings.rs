//! Filters, metadata, a creation that is repeated, and what a deletion says.

use serde_json::{Value, json};
use whatsapp_gateway::domain::clock::{Ambient, Time};
use whatsapp_gateway::domain::ids::{GatewayId, SessionId};
use whatsapp_gateway::domain::session::{Fence, Ignore, Settings};
use whatsapp_gateway::event::EventLog;
use whatsapp_gateway::event::hub::Hub;
use whatsapp_gateway::session::recorder::Recorder;
use whatsapp_gateway::session::{Context, Timing};
use whatsapp_gateway::store::{Cipher, Db};
use whatsapp_gateway::wa::Endpoint;
use whatsapp_gateway::wa::normalize::{Inbound, Origin};

use crate::gateway::{Gateway, Home, KEY, on_both_engines};

on_both_engines!(
    settings_and_metadata,
    metadata_goes_with_events,
    a_repeated_creation_is_one_session,
    a_deletion_says_what_the_phone_knows,
);

const SHOP: &str = "6281200000001";

async fn settings_and_metadata(home: Home) {
    let gateway = home.start().await;
    let made = gateway.post("/api/v1/sessions", json!({"ignoreStatus": true, "metadata": {"customer": "4711", "b": "2"}})).await;
    assert_eq!((&made["ignoreStatus"], &made["ignoreGroups"]), (&json!(true), &json!(false)));
    assert_eq!(made["metadata"], json!({"b": "2", "customer": "4711"}));
    let path = format!("/api/v1/sessions/{}", made["id"].as_str().unwrap());
    let patch = async |body: Value| gateway.call_as(Some(KEY), "PATCH", &path, Some(body)).await;
    let (status, changed) =
        patch(json!({"ignoreGroups": true, "ignoreChannels": true, "ignoreStatus": false, "metadata": {"b": "", "c": "3"}}))
            .await;
    assert_eq!(status, 200, "{changed}");
    let filters = ["ignoreStatus", "ignoreGroups", "ignoreChannels", "ignoreBroadcast"].map(|f| changed[f].clone());
    assert_eq!(filters, [json!(false), json!(true), json!(true), json!(false)]);
    assert_eq!(changed["metadata"], json!({"c": "3", "customer": "4711"}), "what is absent stays");
    assert_eq!(gateway.get(&path).await, changed);
    let many: serde_json::Map<_, _> = (0..21).map(|n| (format!("k{n}"), json!("v"))).collect();
    for wrong in
        [json!({"": "x"}), json!({"k".repeat(65): "x"}), json!({"k": "x".repeat(513)}), Value::Object(many), json!({"k": 7})]
    {
        let (status, body) = patch(json!({"metadata": wrong})).await;
        assert_eq!(status, 400, "{body}");
        assert!(body["error"]["details"]["fields"].to_string().contains("metadata"), "{body}");
    }
    assert_eq!(gateway.get(&path).await, changed, "a refused change changes nothing");
    gateway.stop().await;
}

async fn metadata_goes_with_events(home: Home) {
    let gateway = home.start().await;
    let made = gateway.post("/api/v1/sessions", json!({"metadata": {"customer": "1"}})).await;
    let path = format!("/api/v1/sessions/{}", made["id"].as_str().unwrap());
    gateway.call_as(Some(KEY), "PATCH", &path, Some(json!({"metadata": {"customer": "2"}}))).await;
    gateway.call_as(Some(KEY), "DELETE", &path, None).await;
    gateway.post("/api/v1/sessions", json!({})).await;
    let told: Vec<_> = gateway.events("session.status").await.iter().map(|event| event["metadata"].clone()).collect();
    assert_eq!(told, [json!({"customer": "1"}), json!({"customer": "2"}), json!({})], "each as it was then");
    gateway.stop().await;
}

async fn create(gateway: &Gateway, key: &str, body: &Value) -> (u16, Value) {
    let call = reqwest::Client::new().post(format!("{}/api/v1/sessions", gateway.base)).bearer_auth(KEY);
    let call = call.header("idempotency-key", key).header("content-type", "application/json").body(body.to_string());
    let answer = call.send().await.unwrap();
    (answer.status().as_u16(), serde_json::from_str(&answer.text().await.unwrap()).unwrap())
}

async fn a_repeated_creation_is_one_session(home: Home) {
    let clock = Ambient::held(Ambient::system().now());
    let gateway = home.start_with(&[], clock.clone()).await;
    let body = json!({"label": "once", "metadata": {"a": "1", "b": "2"}});
    let (first, second) = tokio::join!(create(&gateway, "k1", &body), create(&gateway, "k1", &body));
    assert_eq!((first.0, second.0), (201, 201), "{} {}", first.1, second.1);
    assert_eq!(first.1["id"], second.1["id"]);
    let third = create(&gateway, "k1", &json!({"metadata": {"b": "2", "a": "1"}, "label": "once"})).await;
    assert_eq!((third.0, &third.1["replayed"], &third.1["id"]), (201, &json!(true), &first.1["id"]));
    let page = gateway.get("/api/v1/sessions").await;
    assert_eq!(page["data"].as_array().map(Vec::len), Some(1));
    assert_eq!(page["data"][0].get("replayed"), None, "only the call's answer has it");
    let other = create(&gateway, "k1", &json!({"label": "twice"})).await;
    assert_eq!((other.0, &other.1["error"]["details"]["reason"]), (409, &json!("idempotency_key_reused")), "{}", other.1);
    assert_eq!(create(&gateway, "k2", &body).await.1["replayed"], false);
    // A day later the key is free.
    clock.advance(std::time::Duration::from_secs(24 * 3600));
    let later = create(&gateway, "k1", &json!({"label": "twice"})).await;
    assert_eq!((later.0, &later.1["replayed"]), (201, &json!(false)), "{}", later.1);
    gateway.stop().await;
}

async fn a_deletion_says_what_the_phone_knows(home: Home) {
    let gateway = home.start().await;
    let id = gateway.paired(SHOP).await;
    assert_eq!(gateway.call_as(Some(KEY), "DELETE", &format!("/api/v1/sessions/{id}"), None).await.0, 204);
    let last = gateway.events("session.status").await.pop().unwrap();
    assert_eq!(last["payload"]["statusDetail"]["reason"], "deleted");
    assert_eq!(gateway.get(&format!("/sandbox/v1/phones/{SHOP}")).await["devices"], json!([]));
    let id = gateway.paired("6281200000002").await;
    gateway.post(&format!("/api/v1/sessions/{id}:stop"), json!({})).await;
    assert_eq!(gateway.call_as(Some(KEY), "DELETE", &format!("/api/v1/sessions/{id}"), None).await.0, 204);
    let last = gateway.events("session.status").await.pop().unwrap();
    assert_eq!(last["payload"]["statusDetail"]["reason"], "deleted_still_linked");
    gateway.stop().await;
}

/// What is left out, where messages come in.
mod filters {
    use super::*;

    crate::store::on_both_engines!(ignored_sources_leave_nothing);

    async fn ignored_sources_leave_nothing(db: Db) {
        let session = crate::store::stored_session(&db, "S1", "a").await;
        let ambient = Ambient::held(Time(1_760_000_000_000));
        let log = EventLog::new(db.clone(), Hub::default(), ambient.clone());
        let cipher = Cipher::new(ambient.clone(), None, Vec::new());
        let endpoint = Endpoint::WhatsApp { version: None };
        let context = Context::new(db.clone(), log, ambient, endpoint, cipher, GatewayId::new("gw-1"), Timing::default());
        let fence = Fence { epoch: 0, generation: 0 };
        let recorder = Recorder::new(&context, session.organization.clone(), session.id.clone(), fence);
        let chats = ["status@broadcast", "1203@g.us", "99@newsletter", "123@broadcast", "6281@s.whatsapp.net"];
        let cases = [
            (Ignore::default(), vec![0, 1, 2, 3, 4]),
            (Ignore { status: true, ..Ignore::default() }, vec![1, 2, 3, 4]),
            (Ignore { groups: true, ..Ignore::default() }, vec![0, 2, 3, 4]),
            (Ignore { channels: true, broadcast: true, ..Ignore::default() }, vec![0, 1, 4]),
            (Ignore::ALL, vec![4]),
        ];
        let mut expected = Vec::new();
        for (round, (ignore, kept)) in cases.into_iter().enumerate() {
            let settings = Settings { ignore, ..Settings::default() };
            let mut tx = db.begin().await.unwrap();
            tx.update_settings(&session.organization, &session.id, &settings, Time(1)).await.unwrap();
            tx.commit().await.unwrap();
            let messages: Vec<_> = chats.iter().map(|chat| inbound(chat, &format!("M{round}"))).collect();
            recorder.received(&messages).await.unwrap();
            for (at, chat) in chats.iter().enumerate() {
                let found = stored(&db, &session.id, &format!("M{round}")).await;
                assert_eq!(found.contains(&(*chat).to_owned()), kept.contains(&at), "{ignore:?} {chat}");
            }
            expected.extend(kept.iter().map(|at| chats[*at].to_owned()));
        }
        let events = db.list_events(&session.organization, 0, 100, &[], &[]).await.unwrap();
        let told: Vec<_> = events
            .into_iter()
            .map(|event| match event.event.payload {
                whatsapp_gateway::domain::event::Payload::Message(it) => it.chat.jid,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(told, expected, "what is not stored is not told");
    }

    async fn stored(db: &Db, session: &SessionId, wa_message_id: &str) -> Vec<String> {
        let organization = whatsapp_gateway::domain::ids::OrganizationId::new("a");
        let events = db.list_events(&organization, 0, 100, std::slice::from_ref(session), &[]).await.unwrap();
        let mut chats = Vec::new();
        for event in events {
            if let whatsapp_gateway::domain::event::Payload::Message(it) = event.event.payload
                && it.wa_message_id == wa_message_id
            {
                chats.push(it.chat.jid);
            }
        }
        assert_eq!(db.message(&organization, session, wa_message_id).await.unwrap().is_some(), !chats.is_empty());
        chats
    }

    fn inbound(chat: &str, id: &str) -> Inbound {
        Inbound {
            wa_message_id: id.to_owned(),
            chat_jid: chat.to_owned(),
            sender_jid: "6281@s.whatsapp.net".to_owned(),
            sender_lid: None,
            from_me: false,
            kind: "text",
            body: Some("x".to_owned()),
            push_name: None,
            timestamp: Time(1_760_000_000_000),
            origin: Origin { chat: chat.parse().unwrap(), sender: None },
        }
    }
}

//! Messages of every kind, and what is done to them, as documented.

use serde_json::{Value, json};

use super::{BUDI, Contract};
use crate::gateway::Gateway;

/// What this file shows to succeed.
pub(super) async fn calls(c: &mut Contract, gateway: &Gateway, id: &str) {
    let poll = json!({"type": "poll", "to": BUDI, "name": "Lunch?", "options": ["a", "b"], "selectableCount": 1});
    let card = json!({"name": "Ann", "phone": "6281200000009"});
    let kinds = [
        json!({"type": "text", "to": BUDI, "text": "hello", "mentions": [BUDI]}),
        json!({"type": "location", "to": BUDI, "latitude": 1.5, "longitude": 2.5, "name": "here"}),
        json!({"type": "contact", "to": BUDI, "contact": card}),
        poll,
    ];
    let mut sent = Vec::new();
    for body in kinds {
        let answer = c.call(gateway, "sendMessage", &[id], Some(body)).await;
        assert_eq!(answer["mode"], "sync");
        sent.push(answer["waMessageId"].as_str().unwrap().to_owned());
    }
    let reply = json!({"type": "text", "to": BUDI, "text": "and", "replyTo": sent[0]});
    c.call(gateway, "sendMessage", &[id], Some(reply)).await;
    let vote = c.call(gateway, "voteMessage", &[id, &sent[3]], Some(json!({"options": ["b"]}))).await;
    assert_eq!(vote["mode"], "sync");
    let passed = c.call(gateway, "forwardMessage", &[id, &sent[1]], Some(json!({"to": BUDI}))).await;
    assert_eq!(passed["mode"], "sync");
    let text = sent[0].as_str();
    c.call(gateway, "editMessage", &[id, text], Some(json!({"text": "hello!"}))).await;
    c.call(gateway, "addReaction", &[id, text], Some(json!({"emoji": "👍"}))).await;
    c.call(gateway, "removeReaction", &[id, text], Some(json!({}))).await;
    let revoked: Value = c.call(gateway, "revokeMessage", &[id, text], Some(json!({}))).await;
    assert_eq!(revoked["mode"], "sync");
}

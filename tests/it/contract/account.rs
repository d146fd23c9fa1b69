//! Presence, as documented.

use serde_json::json;

use super::{BUDI, Contract};
use crate::gateway::Gateway;

/// What this file shows to succeed.
pub(super) async fn calls(c: &mut Contract, gateway: &Gateway, id: &str) {
    for state in ["offline", "online"] {
        c.call(gateway, "setPresence", &[id], Some(json!({"state": state}))).await;
    }
    for state in ["composing", "recording", "paused"] {
        c.call(gateway, "setChatPresence", &[id, BUDI], Some(json!({"state": state}))).await;
    }
    c.call(gateway, "getChatPresence", &[id, BUDI], None).await;
    c.call(gateway, "getChatPresence", &[id, "120363000000000001@g.us"], None).await;
}

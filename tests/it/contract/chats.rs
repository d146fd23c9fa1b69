//! Conversations, as documented.

use serde_json::{Value, json};

use super::{BUDI, Contract};
use crate::gateway::{Gateway, KEY};

/// What this file shows to succeed; `BUDI` has written to the session before.
pub(super) async fn calls(c: &mut Contract, gateway: &Gateway, id: &str) {
    let list = c.call(gateway, "listChats", &[id], None).await;
    assert!(!list["data"].as_array().unwrap().is_empty(), "{list}");
    c.call_as(gateway, Some(KEY), "listChats", &[id], "?limit=1", None).await;
    let chat = c.call(gateway, "getChat", &[id, BUDI], None).await;
    assert_eq!(chat["type"], "dm");
    let messages = c.call(gateway, "listChatMessages", &[id, BUDI], None).await;
    assert!(messages["data"].as_array().unwrap().iter().any(|it| it["body"] == "Hello?"), "{messages}");
    c.call_as(gateway, Some(KEY), "listChatMessages", &[id, BUDI], "?limit=1", None).await;
    for wrong in ["?cursor=nonsense", "?limit=100000"] {
        for operation in ["listChats", "listChatMessages"] {
            let variables = if operation == "listChats" { vec![id] } else { vec![id, BUDI] };
            let (status, _) = c.call_as(gateway, Some(KEY), operation, &variables, wrong, None).await;
            assert_eq!(status, 400, "{operation}{wrong}");
        }
    }
    let changes: [Value; 4] = [
        json!({"archived": true, "pinned": true}),
        json!({"mutedUntil": 4_000_000_000_000_i64}),
        json!({"unmute": true, "archived": false, "pinned": false}),
        json!({}),
    ];
    for change in changes {
        c.call(gateway, "updateChat", &[id, BUDI], Some(change)).await;
    }
    let read = c.call(gateway, "readChat", &[id, BUDI], None).await;
    assert_eq!(read["unreadCount"], 0);
    c.call(gateway, "deleteChat", &[id, BUDI], None).await;
    let (status, _) = c.call_as(gateway, Some(KEY), "getChat", &[id, BUDI], "", None).await;
    assert_eq!(status, 404);
}

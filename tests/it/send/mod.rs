//! Sending: every kind, what is done to messages, the outbox with its budgets and restrictions, and that everything arrives once.

mod bench;
mod cli;
mod doors;
mod kinds;
mod large;
mod once;
mod operations;
mod outbox;
mod typing;
mod wrong;

use serde_json::{Value, json};

use crate::gateway::{Gateway, KEY};

const SHOP: &str = "6281200000001";
const BUDI: &str = "6281200000002";
const DEWI: &str = "6281200000003";

/// A gateway's session that is connected, among people.
pub(crate) struct Shop {
    pub(crate) gateway: Gateway,
    /// `/api/v1/sessions/{id}`.
    pub(crate) path: String,
}

impl Shop {
    pub(crate) async fn open(gateway: Gateway) -> Self {
        for number in [BUDI, DEWI] {
            gateway.phone(number).await;
        }
        let id = gateway.paired(SHOP).await;
        Self { gateway, path: format!("/api/v1/sessions/{id}") }
    }

    /// A sent message: the status and the answer.
    async fn send(&self, body: Value, query: &str) -> (u16, Value) {
        self.gateway.call_as(Some(KEY), "POST", &format!("{}/messages{query}", self.path), Some(body)).await
    }

    /// A sent message that must be accepted by WhatsApp.
    async fn sent(&self, body: Value) -> Value {
        let (status, answer) = self.send(body.clone(), "").await;
        assert_eq!((status, &answer["mode"], &answer["status"]), (200, &json!("sync"), &json!("sent")), "{body}: {answer}");
        answer
    }

    /// What a phone shows of a message, as soon as `fits`.
    async fn shown(&self, phone: &str, id: &Value, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let of = |page: &Value| page["data"].as_array().unwrap().iter().find(|row| row["id"] == *id).cloned();
        let path = format!("/sandbox/v1/phones/{phone}/messages?with={SHOP}");
        let page = self.gateway.until(&path, what, |page| of(page).is_some_and(|row| fits(&row))).await;
        of(&page).unwrap()
    }

    /// A person writes to the shop; resolves when the session has it.
    async fn written(&self, from: &str, text: &str) -> Value {
        let row = self.gateway.post(&format!("/sandbox/v1/phones/{from}/messages"), json!({"to": SHOP, "text": text})).await;
        let path = format!("{}/messages/{}", self.path, row["id"].as_str().unwrap());
        let stored = async {
            loop {
                if let (200, message) = self.gateway.call_as(Some(KEY), "GET", &path, None).await {
                    return message;
                }
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(crate::gateway::PATIENCE, stored).await.expect("the session gets the message")
    }

    /// Limits that are in nobody's way.
    async fn unlimited(&self) {
        let body = json!({"ratePerMin": 10_000, "ratePerHour": 100_000});
        let (status, answer) = self.gateway.call_as(Some(KEY), "PATCH", &self.path, Some(body)).await;
        assert_eq!(status, 200, "{answer}");
    }

    async fn message(&self, id: &Value) -> Value {
        self.gateway.get(&format!("{}/messages/{}", self.path, id.as_str().unwrap())).await
    }
}

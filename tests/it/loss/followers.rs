//! Followers that lose their stream again and again and go on by its cursor.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt as _;
use serde_json::Value;
use tokio_websockets::ClientBuilder;

use crate::gateway::KEY;

/// By which door one follows.
#[derive(Clone, Copy, Debug)]
pub(super) enum Door {
    Lines,
    ServerSent,
    Socket,
}

/// What a follower has seen so far.
#[derive(Clone)]
pub(super) struct Follower {
    pub(super) door: Door,
    seen: Arc<Mutex<Vec<(i64, String)>>>,
    messages: Arc<AtomicUsize>,
    pub(super) resumed: Arc<AtomicUsize>,
}

impl Follower {
    /// Follows the whole log at `base` from its beginning until the test ends.
    pub(super) fn start(door: Door, base: String) -> Self {
        let follower = Self { door, seen: Arc::default(), messages: Arc::default(), resumed: Arc::default() };
        let own = follower.clone();
        tokio::spawn(async move {
            loop {
                // However a stream ends, what was seen of it counts, and the next one goes on behind it.
                let _ = own.follow(&base).await;
                own.resumed.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        follower
    }

    pub(super) fn seen(&self) -> Vec<(i64, String)> {
        self.seen.lock().unwrap().clone()
    }

    /// How many messages it has seen.
    pub(super) fn messages(&self) -> usize {
        self.messages.load(Ordering::Relaxed)
    }

    fn last(&self) -> i64 {
        self.seen.lock().unwrap().last().map_or(0, |(sequence, _)| *sequence)
    }

    fn note(&self, event: &Value) {
        if event["event"] == "message" {
            self.messages.fetch_add(1, Ordering::Relaxed);
        }
        let entry = (event["sequence"].as_i64().unwrap(), event["id"].as_str().unwrap().to_owned());
        self.seen.lock().unwrap().push(entry);
    }

    async fn follow(&self, base: &str) -> Option<()> {
        let http = reqwest::Client::builder().connect_timeout(Duration::from_secs(2)).build().unwrap();
        let after = self.last();
        let accept = match self.door {
            Door::Lines => "application/x-ndjson",
            Door::ServerSent => "text/event-stream",
            Door::Socket => return self.by_socket(&http, base, after).await,
        };
        let call = http.get(format!("{base}/api/v1/events?after={after}")).bearer_auth(KEY).header("accept", accept);
        let answer = call.send().await.ok()?;
        let (mut body, mut text) = (answer.error_for_status().ok()?.bytes_stream(), Vec::new());
        while let Some(chunk) = body.next().await {
            text.extend_from_slice(&chunk.ok()?);
            while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = text.drain(..=end).collect();
                let line = String::from_utf8(line).unwrap();
                let event = match self.door {
                    Door::Lines => serde_json::from_str::<Value>(&line).unwrap()["event"].take(),
                    // Only events have `schema`; positions and heartbeats are named.
                    _ => line.strip_prefix("data: ").map_or(Value::Null, |data| serde_json::from_str(data).unwrap()),
                };
                if event["schema"].is_string() {
                    self.note(&event);
                }
            }
        }
        Some(())
    }

    async fn by_socket(&self, http: &reqwest::Client, base: &str, after: i64) -> Option<()> {
        let call = http.post(format!("{base}/api/v1/realtime/ticket")).bearer_auth(KEY).timeout(Duration::from_secs(10));
        let made = call.header("content-type", "application/json").body("{}").send().await.ok()?.error_for_status().ok()?;
        let made: Value = serde_json::from_str(&made.text().await.ok()?).ok()?;
        let uri = format!("{}&after={after}", made["url"].as_str()?).parse().unwrap();
        let (mut socket, _) = ClientBuilder::from_uri(uri).connect().await.ok()?;
        while let Some(Ok(message)) = socket.next().await {
            let Some(text) = message.as_text() else { continue };
            let item: Value = serde_json::from_str(text).unwrap();
            if item["event"].is_object() {
                self.note(&item["event"]);
            }
        }
        Some(())
    }
}

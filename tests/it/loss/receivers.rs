//! Webhook receivers with moods.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use serde_json::Value;
use tokio::net::TcpListener;

/// What a receiver may do instead of taking an event.
#[derive(Clone, Copy, Debug)]
pub(super) enum Mood {
    /// It always takes.
    Good,
    /// It answers this status now and then.
    Answers(u16),
    /// It now and then sends the sender elsewhere, where the event is taken.
    Redirects,
    /// It does not answer at all, now and then.
    Hangs,
}

/// A receiver: what it took, by the event's id, and how often.
#[derive(Clone)]
pub(super) struct Receiver {
    pub(super) mood: Mood,
    pub(super) url: String,
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    mood: Mood,
    hits: u64,
    hung: u32,
    taken: BTreeMap<String, (Value, u32)>,
}

impl Receiver {
    pub(super) async fn start(mood: Mood) -> Self {
        let inner = Arc::new(Mutex::new(Inner { mood, hits: 0, hung: 0, taken: BTreeMap::new() }));
        let router = Router::new().route("/hook", post(hook)).route("/elsewhere", post(elsewhere)).with_state(inner.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { mood, url, inner }
    }

    /// The ids of what it took.
    pub(super) fn taken(&self) -> Vec<String> {
        self.inner.lock().unwrap().taken.keys().cloned().collect()
    }

    pub(super) fn count(&self) -> usize {
        self.inner.lock().unwrap().taken.len()
    }

    /// How often it was asked, and how often it took something anew.
    pub(super) fn repeated(&self) -> (u64, u32) {
        let inner = self.inner.lock().unwrap();
        (inner.hits, inner.taken.values().map(|(_, times)| times - 1).sum())
    }
}

async fn hook(State(inner): State<Arc<Mutex<Inner>>>, request: Request) -> Response {
    let mood = {
        let mut inner = inner.lock().unwrap();
        inner.hits += 1;
        // Not the first ones, so that nobody's breaker opens for good; one in five.
        if inner.hits % 5 == 3 { Some(inner.mood) } else { None }
    };
    match mood {
        None | Some(Mood::Good) => take(&inner, request).await,
        Some(Mood::Answers(status)) => {
            let status = StatusCode::from_u16(status).unwrap();
            (status, [(header::RETRY_AFTER, "1")], "not now").into_response()
        }
        Some(Mood::Redirects) => (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, "/elsewhere")]).into_response(),
        Some(Mood::Hangs) => {
            let hangs = {
                let mut inner = inner.lock().unwrap();
                inner.hung += 1;
                inner.hung <= 4
            };
            if hangs { std::future::pending::<Response>().await } else { take(&inner, request).await }
        }
    }
}

async fn elsewhere(State(inner): State<Arc<Mutex<Inner>>>, request: Request) -> Response {
    take(&inner, request).await
}

async fn take(inner: &Mutex<Inner>, request: Request) -> Response {
    let id = request.headers()["webhook-id"].to_str().unwrap().to_owned();
    let body = axum::body::to_bytes(request.into_body(), 1 << 20).await.unwrap();
    let event: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(event["id"], id.as_str());
    let mut inner = inner.lock().unwrap();
    let row = inner.taken.entry(id).or_insert_with(|| (event.clone(), 0));
    assert_eq!(row.0, event, "the same id is the same event");
    row.1 += 1;
    StatusCode::OK.into_response()
}

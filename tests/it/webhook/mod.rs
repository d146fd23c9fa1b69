//! Webhooks against real receivers, and the egress guard against hostile addresses.

mod api;
mod bench;
mod deliver;
mod egress;

mod standard;

use std::collections::VecDeque;
use std::future::pending;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use http::HeaderMap;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// How long a condition may take to become true; tests wait for conditions, never for time.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a receiver does with a request.
#[derive(Clone, Debug)]
enum Reply {
    /// Answers this status.
    Status(u16),
    /// Answers this status with a header and a body.
    With(u16, &'static str, String, String),
    /// Takes the request and never answers.
    Hang,
}

/// A request that a receiver got.
#[derive(Clone, Debug)]
struct Hit {
    path: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Hit {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// A receiver of webhooks: does what it was told for each request in turn, then answers 200.
#[derive(Clone)]
struct Receiver {
    address: SocketAddr,
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    replies: Mutex<VecDeque<Reply>>,
    always: Mutex<Option<Reply>>,
    hits: Mutex<Vec<Hit>>,
    busy: AtomicUsize,
    most_busy: AtomicUsize,
}

impl Receiver {
    async fn start(replies: impl IntoIterator<Item = Reply>) -> Self {
        Self::start_at("127.0.0.1:0", replies).await
    }

    async fn start_at(address: &str, replies: impl IntoIterator<Item = Reply>) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let inner = Arc::new(Inner { replies: Mutex::new(replies.into_iter().collect()), ..Inner::default() });
        let receiver = Self { address: listener.local_addr().unwrap(), inner: inner.clone() };
        let router = Router::new().fallback(answer).with_state(inner);
        tokio::spawn(async move { axum::serve(listener, router).await });
        receiver
    }

    fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// What it does once it has done everything that it was told in turn.
    fn henceforth(&self, reply: Option<Reply>) {
        *self.inner.always.lock().unwrap() = reply;
    }

    fn hits(&self) -> Vec<Hit> {
        self.inner.hits.lock().unwrap().clone()
    }

    fn count(&self) -> usize {
        self.inner.hits.lock().unwrap().len()
    }

    fn most_busy(&self) -> usize {
        self.inner.most_busy.load(Ordering::SeqCst)
    }

    async fn until_hits(&self, count: usize) -> Vec<Hit> {
        until("hits", async || self.count() >= count).await;
        self.hits()
    }
}

async fn answer(State(inner): State<Arc<Inner>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap();
    let busy = inner.busy.fetch_add(1, Ordering::SeqCst) + 1;
    inner.most_busy.fetch_max(busy, Ordering::SeqCst);
    inner.hits.lock().unwrap().push(Hit { path: parts.uri.path().to_owned(), headers: parts.headers, body });
    let told = inner.replies.lock().unwrap().pop_front();
    let reply = told.or_else(|| inner.always.lock().unwrap().clone()).unwrap_or(Reply::Status(200));
    // Long enough for deliveries side by side to meet.
    tokio::task::yield_now().await;
    let response = match reply {
        Reply::Status(status) => Response::builder().status(status).body(Body::empty()).unwrap(),
        Reply::With(status, name, value, body) => {
            Response::builder().status(status).header(name, value).body(Body::from(body)).unwrap()
        }
        Reply::Hang => pending().await,
    };
    inner.busy.fetch_sub(1, Ordering::SeqCst);
    response
}

/// Waits for a condition.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, wait).await.is_ok(), "waited in vain for {what}");
}

/// Ends a task with its owner, as a killed process does.
struct Killable(JoinHandle<()>);

impl Killable {
    async fn kill(mut self) {
        self.0.abort();
        let _ended = (&mut self.0).await;
    }
}

impl Drop for Killable {
    fn drop(&mut self) {
        self.0.abort();
    }
}

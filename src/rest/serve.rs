//! One port for gRPC, gRPC-Web, REST and the health checks.
//!
//! # Limits of a connection
//! | what | bound |
//! |---|---|
//! | connections | [`Limits::connections`]; further ones wait in the listener's queue |
//! | connections of one address | [`Limits::per_address`]; further ones are closed at once. Trusted proxies have no such bound |
//! | a request's head, and time idle between requests (HTTP/1.1) | [`Limits::head_timeout`] |
//! | the first request on a connection, whatever the protocol | [`Limits::head_timeout`] |
//! | a dead peer (HTTP/2) | a ping every 20 s, answered within 20 s |
//! | a request's head | 64 KiB and 100 headers (HTTP/1.1), 32 KiB (HTTP/2) |
//! | requests at once on a connection (HTTP/2) | 250 |
//! | bytes that wait for a client that takes none, per stream (HTTP/2) | 64 KiB |

use std::convert::Infallible;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use prost_reflect::DescriptorPool;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::Status;
use tonic::body::Body;
use tonic::service::Routes;
use tower::util::BoxCloneSyncService;
use tower::{Layer as _, Service, ServiceExt as _, service_fn};
use tracing::Instrument as _;

use crate::api::attempts::Peer;
use crate::api::auth::Authenticator;
use crate::api::forwarded;
use crate::api::guard::{Audit, Checked, Gate, Guard};
use crate::api::layers::{Calls, REQUEST_ID, RequestId, cors, panic_text};
use crate::domain::clock::Ambient;
use crate::domain::network::Own;
use crate::domain::principal::Principal;
use crate::error::Error;
use crate::rest::Rest;
use crate::rest::crowd::Crowd;
use crate::rest::docs::Docs;
use crate::rest::response::{Failure, content};
use crate::rest::socket::Seat;
use crate::telemetry::trace;

/// Tells what keeps the program from being ready; nothing when it is.
pub type Ready = Arc<dyn Fn() -> BoxFuture<'static, Vec<String>> + Send + Sync>;

/// Gives the metrics in the text form of Prometheus.
pub type Scrape = Arc<dyn Fn() -> BoxFuture<'static, String> + Send + Sync>;

/// Pages for browsers beside the contract: what answers, and under which beginnings of paths.
pub type Pages = Vec<(&'static str, axum::Router)>;

/// What the edge is made of.
pub struct Edge {
    /// The contract: an encoded `FileDescriptorSet`.
    pub descriptors: &'static [u8],
    /// The gRPC services, health and reflection among them.
    pub routes: Routes,
    /// Who is calling.
    pub authenticator: Authenticator,
    /// Where is recorded what was done and what was refused; nowhere without one.
    pub audit: Option<Audit>,
    /// Origins of browsers that may call, such as `https://console.example.org`; none means no CORS, `*` means all.
    pub origins: Vec<String>,
    /// Whether `/docs` and the description of the API are served.
    pub docs: bool,
    /// Answers `/readyz`.
    pub ready: Ready,
    /// Answers `/metrics`; without it there is nothing there.
    pub metrics: Option<Scrape>,
    /// Web pages, and the beginnings of the paths that are theirs, such as `/pair/`.
    pub pages: Pages,
    /// For request ids.
    pub ambient: Ambient,
    /// Streams end when this is cancelled.
    pub shutdown: CancellationToken,
}

impl fmt::Debug for Edge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Edge").field("origins", &self.origins).finish_non_exhaustive()
    }
}

/// The finished service of one port. Cheap to clone.
pub type EdgeService = BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;

/// The doors behind the one port.
struct Doors {
    grpc: Calls,
    rest: Rest,
    docs: Option<Docs>,
    ready: Ready,
    metrics: Option<Scrape>,
    pages: Pages,
}

impl Edge {
    /// Builds the service of the port.
    ///
    /// # Errors
    /// A contract that cannot be served: see [`Gate::new`] and [`Rest::new`]; an origin that is none.
    pub fn build(self) -> anyhow::Result<EdgeService> {
        let pool = DescriptorPool::decode(self.descriptors).context("the descriptors cannot be read")?;
        let guard = Guard::new(Gate::new(&pool, self.authenticator, self.ambient.clone(), self.audit)?, self.routes);
        let grpc = Calls::new(&pool, guard, self.shutdown);
        let rest = Rest::new(self.descriptors, grpc.clone())?;
        let docs = self.docs.then(|| Docs::new(self.descriptors)).transpose()?;
        let doors = Arc::new(Doors { grpc, rest, docs, ready: self.ready, metrics: self.metrics, pages: self.pages });
        let inner = service_fn(move |request| {
            let doors = doors.clone();
            async move { Ok::<_, Infallible>(doors.answer(request).await) }
        });
        let inner = match cors(&self.origins)? {
            Some(layer) => BoxCloneSyncService::new(layer.layer(inner)),
            None => BoxCloneSyncService::new(inner),
        };
        let ambient = self.ambient;
        Ok(BoxCloneSyncService::new(service_fn(move |request| outermost(request, ambient.clone(), inner.clone()))))
    }
}

/// Gives the request its id and its span, and tells how it went.
async fn outermost(mut request: Request<Body>, ambient: Ambient, inner: EdgeService) -> Result<Response<Body>, Infallible> {
    let begun = Instant::now();
    let door = door(&request);
    // Nobody outside can set extensions; this keeps it so whatever stands in front of us one day.
    request.extensions_mut().remove::<Checked>();
    request.extensions_mut().remove::<Principal>();
    let id = RequestId::of(request.headers(), &ambient);
    request.extensions_mut().insert(id.clone());
    let span = tracing::info_span!(
        "request",
        request_id = id.as_str(),
        method = request.method().as_str(),
        route = tracing::field::Empty,
    );
    trace::adopt(&span, request.headers());
    async move {
        let answered = AssertUnwindSafe(inner.oneshot(request)).catch_unwind().await;
        let mut response = match answered {
            Ok(Ok(response)) => response,
            Err(panic) => {
                let error = Error::internal(anyhow::anyhow!("panic: {}", panic_text(panic.as_ref())));
                Failure::from(error).response(&id)
            }
        };
        response.headers_mut().insert(REQUEST_ID, id.header());
        let grpc = response.headers().get(Status::GRPC_STATUS).and_then(|v| v.to_str().ok()).map(str::to_owned);
        let (status, micros) = (response.status().as_u16(), begun.elapsed().as_micros());
        metrics::counter!("wagw_http_requests_total", "door" => door, "status" => status.to_string()).increment(1);
        metrics::histogram!("wagw_http_request_seconds", "door" => door).record(begun.elapsed().as_secs_f64());
        tracing::info!(status, grpc_status = grpc, duration_us = u64::try_from(micros).unwrap_or(u64::MAX), "answered");
        Ok(response)
    }
    .instrument(span)
    .await
}

/// Which door a request comes by, for the metrics.
fn door(request: &Request<Body>) -> &'static str {
    let kind = request.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    match request.uri().path() {
        _ if kind.starts_with(b"application/grpc-web") => "grpc_web",
        _ if kind.starts_with(b"application/grpc") => "grpc",
        "/healthz" | "/readyz" | "/metrics" => "probe",
        path if path.starts_with("/api/") || path.starts_with("/sandbox/") => "rest",
        _ => "page",
    }
}

async fn scraped(scrape: &Scrape) -> Response<Body> {
    content(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", scrape().await)
}

/// The service of a port that answers `/metrics` and nothing else.
pub fn metrics_only(scrape: Scrape) -> EdgeService {
    BoxCloneSyncService::new(service_fn(move |request: Request<Body>| {
        let scrape = scrape.clone();
        async move {
            Ok(match (request.method(), request.uri().path()) {
                (&Method::GET, "/metrics") => scraped(&scrape).await,
                _ => content(StatusCode::NOT_FOUND, "text/plain", "there is nothing here but /metrics\n"),
            })
        }
    }))
}

impl Doors {
    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let kind = request.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
        if kind.starts_with(b"application/grpc") {
            tracing::Span::current().record("route", request.uri().path());
            let mut grpc = self.grpc.clone();
            let answer = match kind.starts_with(b"application/grpc-web") {
                true => Box::pin(tonic_web::GrpcWebLayer::new().layer(grpc).call(request)).await,
                false => grpc.call(request).await,
            };
            return answer.unwrap_or_else(|never| match never {});
        }
        match request.uri().path() {
            "/healthz" => content(StatusCode::OK, "application/json", json!({"status": "alive"}).to_string()),
            "/readyz" => {
                let reasons = (self.ready)().await;
                match reasons.is_empty() {
                    true => content(StatusCode::OK, "application/json", json!({"status": "ready"}).to_string()),
                    false => {
                        let body = json!({"status": "not_ready", "reasons": reasons}).to_string();
                        content(StatusCode::SERVICE_UNAVAILABLE, "application/json", body)
                    }
                }
            }
            path => {
                if let Some(scrape) = self.metrics.as_ref().filter(|_| path == "/metrics") {
                    return scraped(scrape).await;
                }
                if let Some((beginning, page)) = self.pages.iter().find(|(beginning, _)| path.starts_with(beginning)) {
                    // The path may hold a secret and stays out of the log.
                    tracing::Span::current().record("route", beginning);
                    let answer = page.clone().oneshot(request.map(axum::body::Body::new)).await;
                    return answer.unwrap_or_else(|never| match never {}).map(Body::new);
                }
                match self.docs.as_ref().and_then(|docs| docs.answer(&request)) {
                    Some(page) => page,
                    None => self.rest.answer(request).await,
                }
            }
        }
    }
}

/// Bounds of the port, see the table above, and whom it believes.
#[derive(Clone, Debug)]
pub struct Limits {
    /// How many connections are held at once.
    pub connections: usize,
    /// How many of them one address may have.
    pub per_address: usize,
    /// How long a connection may take to bring a request's head.
    pub head_timeout: Duration,
    /// Networks of the proxies whose word about the client's address counts.
    pub trusted_proxies: Arc<[Own]>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 10_000, per_address: 1000, head_timeout: Duration::from_secs(30), trusted_proxies: Arc::default() }
    }
}

/// Serves `edge` on `listener` until `shutdown`; then accepts nothing more and returns when the last request is answered. There is
/// no deadline here: whoever has one drops the future, and every connection with it.
pub async fn serve(listener: TcpListener, edge: EdgeService, limits: Limits, shutdown: CancellationToken) -> anyhow::Result<()> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(limits.head_timeout).max_buf_size(64 << 10).max_headers(100);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(32 << 10)
        .max_concurrent_streams(250)
        // What lies ready for a client that does not take it, per stream.
        .max_send_buf_size(64 << 10)
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(20));
    let builder = Arc::new(builder);
    let slots = Arc::new(Semaphore::new(limits.connections));
    let crowd = Crowd::default();
    let graceful = GracefulShutdown::new();
    // Owns the connections: they end with this function, however it ends.
    let mut connections = JoinSet::new();
    // WebSockets go on beyond their connection's task; they end when this is dropped, at the latest.
    let (sockets, gone) = (TaskTracker::new(), CancellationToken::new());
    let _gone = gone.clone().drop_guard();
    loop {
        while connections.try_join_next().is_some() {}
        let (stream, peer, slot) = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            accepted = accept(&listener, &slots) => accepted?,
        };
        let proxies = limits.trusted_proxies.clone();
        let most = if proxies.iter().any(|own| own.has_address(peer.0.to_canonical())) { usize::MAX } else { limits.per_address };
        let Some(member) = crowd.join(peer.0, most) else {
            tracing::debug!(most, "an address has too many connections");
            continue;
        };
        // Without it, gRPC's closing headers wait 40 ms for an acknowledgement.
        if let Err(cause) = stream.set_nodelay(true) {
            tracing::debug!(%cause, "a connection was gone before it began");
            continue;
        }
        let requested = Arc::new(Notify::new());
        let seat = Seat { tasks: sockets.clone(), gone: gone.clone(), _counted: Arc::new((slot, member)) };
        let service = TowerToHyperService::new(service_fn({
            let (edge, requested, seat) = (edge.clone(), requested.clone(), seat.clone());
            move |mut request: Request<Incoming>| {
                let client = forwarded::client(peer.0, request.headers(), &proxies);
                request.extensions_mut().insert(Peer(client));
                request.extensions_mut().insert(seat.clone());
                requested.notify_one();
                edge.clone().oneshot(request.map(Body::new))
            }
        }));
        let builder = builder.clone();
        let watcher = graceful.watcher();
        connections.spawn(async move {
            let _seat = seat;
            let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned();
            let mut connection = std::pin::pin!(watcher.watch(connection));
            // hyper's own timeout begins behind the protocol detection; a silent connection never gets that far.
            let ended = tokio::select! {
                biased;
                ended = &mut connection => Some(ended),
                () = requested.notified() => None,
                () = tokio::time::sleep(limits.head_timeout) => return,
            };
            let ended = match ended {
                Some(ended) => ended,
                None => connection.await,
            };
            if let Err(cause) = ended {
                tracing::debug!(%cause, "a connection broke");
            }
        });
    }
    drop(listener);
    graceful.shutdown().await;
    while connections.join_next().await.is_some() {}
    sockets.close();
    sockets.wait().await;
    Ok(())
}

/// Waits for a free slot and a connection. Failures of single connections, and of a moment without free file descriptors, pass.
async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> anyhow::Result<(TcpStream, Peer, tokio::sync::OwnedSemaphorePermit)> {
    let slot = slots.clone().acquire_owned().await.context("the slots are closed")?;
    loop {
        match listener.accept().await {
            Ok((stream, address)) => return Ok((stream, Peer(address.ip()), slot)),
            Err(cause) => {
                tracing::warn!(%cause, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

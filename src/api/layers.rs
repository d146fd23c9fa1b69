//! What every call passes before the guard: a request id, a bound on time and number, an answer even to a panic.
//!
//! # Limits
//! | what | bound | over it |
//! |---|---|---|
//! | a message, a REST body | 4 MiB ([`BODY_LIMIT`]; also tonic's own default for gRPC) | `validation_error` |
//! | time until a call answers (a stream: until it begins) | 60 s, or the caller's `grpc-timeout` if shorter | `timeout` |
//! | time until an upload is answered | 2 h, or the caller's `grpc-timeout` if shorter; services bound how long nothing may come | `timeout` |
//! | calls being answered at once (streams count until they begin) | 4096 | `gateway_unavailable`, retry after 1 s |

use std::any::Any;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body::{Frame, SizeHint};
use prost_reflect::DescriptorPool;
use tokio::sync::Semaphore;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::body::Body;
use tonic::{Code as Grpc, Status};
use tower::Service;
use tower_http::cors::{AllowOrigin, Any as Anything, CorsLayer};
use tracing::Span;

use crate::api::guard::{Gate, Guard};
use crate::api::meter::{Meter, Method};
use crate::api::status::{complete, to_status};
use crate::domain::clock::Ambient;
use crate::error::{Code, Error};

/// The longest message and the longest REST body, in bytes.
pub const BODY_LIMIT: usize = 4 << 20;
/// The header that carries the request id, both ways.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

const CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// Two gigabytes, the most that WhatsApp takes, come through a line of 2.5 Mbit/s in this time.
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(2 * 3600);
const CALLS_AT_ONCE: usize = 4096;

/// The id of a request: the caller's own when it is sane, otherwise a fresh ULID. It is on every answer, error and log line.
#[derive(Clone, Debug, Default)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// Takes the caller's id if it has 1 to 128 letters, digits and `-_.:`, or makes one.
    pub fn of(headers: &HeaderMap, ambient: &Ambient) -> Self {
        let sane =
            |id: &&str| (1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b));
        match headers.get(&REQUEST_ID).and_then(|v| v.to_str().ok()).filter(sane) {
            Some(id) => Self(id.into()),
            None => Self(ambient.ulid().into()),
        }
    }

    /// The id's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id as a header.
    pub fn header(&self) -> HeaderValue {
        HeaderValue::from_str(&self.0).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
    }
}

/// CORS for the configured origins, such as `https://console.example.org`; without any, browsers elsewhere are not answered.
///
/// # Errors
/// An origin that cannot stand in a header.
pub fn cors(origins: &[String]) -> anyhow::Result<Option<CorsLayer>> {
    if origins.is_empty() {
        return Ok(None);
    }
    let layer = CorsLayer::new()
        .allow_methods(Anything)
        .allow_headers(Anything)
        .expose_headers(["grpc-status", "grpc-message", "grpc-status-details-bin", "x-request-id"].map(HeaderName::from_static))
        .max_age(Duration::from_secs(3600));
    if origins.iter().any(|o| o == "*") {
        return Ok(Some(layer.allow_origin(Anything)));
    }
    let list = origins.iter().map(|o| {
        let origin = o.trim_end_matches('/');
        origin.parse::<HeaderValue>().map_err(|_| anyhow::anyhow!("`{origin}` is not an origin"))
    });
    Ok(Some(layer.allow_origin(AllowOrigin::list(list.collect::<anyhow::Result<Vec<_>>>()?))))
}

/// What a panic said, for the log.
pub fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("?")
}

/// The gRPC services behind the guard and the limits: the one service that gRPC, gRPC-Web and REST all call. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Calls(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    guard: Guard,
    methods: HashMap<String, Method>,
    slots: Arc<Semaphore>,
    shutdown: CancellationToken,
}

impl Calls {
    /// Wraps `guard`. Streams of the methods that `pool` declares end with UNAVAILABLE when `shutdown` is cancelled.
    pub fn new(pool: &DescriptorPool, guard: Guard, shutdown: CancellationToken) -> Self {
        let methods = pool.services().flat_map(|s| s.methods().collect::<Vec<_>>());
        let known = methods.map(|method| {
            let name: Arc<str> = format!("{}/{}", method.parent_service().full_name(), method.name()).into();
            let streaming = method.is_server_streaming();
            // A file ends by itself, and half of one is worth nothing.
            let endless = streaming && method.output().name() != "FilePiece";
            (format!("/{name}"), Method { name, streaming, endless, upload: method.is_client_streaming() })
        });
        let slots = Arc::new(Semaphore::new(CALLS_AT_ONCE));
        Self(Arc::new(Shared { guard, methods: known.collect(), slots, shutdown }))
    }

    /// The gate of the guard.
    pub fn gate(&self) -> &Gate {
        self.0.guard.gate()
    }
}

impl Service<Request<Body>> for Calls {
    type Response = Response<Body>;
    type Error = std::convert::Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let shared = &self.0;
        let id = request.extensions().get::<RequestId>().cloned().unwrap_or_default();
        let method = shared.methods.get(request.uri().path());
        let mut meter = Meter::begin(method);
        let stop = method.is_some_and(|method| method.endless).then(|| Box::pin(shared.shutdown.clone().cancelled_owned()));
        let most = if method.is_some_and(|method| method.upload) { UPLOAD_TIMEOUT } else { CALL_TIMEOUT };
        let limit = grpc_timeout(request.headers()).map_or(most, |t| t.min(most));
        let slot = shared.slots.clone().try_acquire_owned();
        let answer = AssertUnwindSafe(shared.guard.call(request)).catch_unwind();
        Box::pin(async move {
            let Ok(_slot) = slot else {
                let busy = Error::new(Code::Unavailable, "too many calls at once").retry_after(Duration::from_secs(1));
                let status = to_status(busy);
                meter.end(status.code());
                return Ok(complete(&status, id.as_str()).into_http());
            };
            let status = match tokio::time::timeout(limit, answer).await {
                Ok(Ok(Ok(response))) => match Status::from_header_map(response.headers()) {
                    Some(status) if status.code() != Grpc::Ok => status,
                    _ => return Ok(response.map(|inner| Body::new(Finished::new(inner, id, stop, meter)))),
                },
                Ok(Ok(Err(never))) => match never {},
                Ok(Err(panic)) => panicked(panic.as_ref()),
                Err(_) => to_status(Error::new(Code::Timeout, "the call took too long; whether it happened is not known")),
            };
            meter.end(status.code());
            Ok(complete(&status, id.as_str()).into_http())
        })
    }
}

fn panicked(panic: &(dyn Any + Send)) -> Status {
    to_status(Error::internal(anyhow::anyhow!("panic: {}", panic_text(panic))))
}

/// `grpc-timeout`: at most eight digits and a unit.
fn grpc_timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let n: u64 = digits.parse().ok().filter(|_| digits.len() <= 8)?;
    Some(match unit {
        "H" => Duration::from_secs(n * 3600),
        "M" => Duration::from_secs(n * 60),
        "S" => Duration::from_secs(n),
        "m" => Duration::from_millis(n),
        "u" => Duration::from_micros(n),
        "n" => Duration::from_nanos(n),
        _ => return None,
    })
}

/// A reply's body: its closing status is completed, a panic in it becomes one, and a stream ends when the program does.
struct Finished {
    inner: Body,
    id: RequestId,
    stop: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    span: Span,
    over: bool,
    meter: Meter,
}

impl Finished {
    fn new(inner: Body, id: RequestId, stop: Option<Pin<Box<WaitForCancellationFutureOwned>>>, meter: Meter) -> Self {
        Self { inner, id, stop, span: Span::current(), over: false, meter }
    }

    fn close(&mut self, status: &Status) -> Frame<Bytes> {
        self.over = true;
        self.meter.end(status.code());
        let mut trailers = HeaderMap::new();
        if complete(status, self.id.as_str()).add_header(&mut trailers).is_err() {
            trailers.insert("grpc-status", HeaderValue::from_static("13"));
        }
        Frame::trailers(trailers)
    }
}

impl http_body::Body for Finished {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        if this.over {
            return Poll::Ready(None);
        }
        let span = this.span.clone();
        let _inside = span.enter();
        if this.stop.as_mut().is_some_and(|stop| stop.as_mut().poll(cx).is_ready()) {
            let status = to_status(Error::new(Code::Unavailable, "the gateway is shutting down").reason("shutting_down"));
            return Poll::Ready(Some(Ok(this.close(&status))));
        }
        let polled = catch_unwind(AssertUnwindSafe(|| Pin::new(&mut this.inner).poll_frame(cx)));
        let frame = match polled {
            Ok(polled) => ready!(polled),
            Err(panic) => return Poll::Ready(Some(Ok(this.close(&panicked(panic.as_ref()))))),
        };
        Poll::Ready(match frame {
            Some(Ok(frame)) => Some(Ok(match frame.trailers_ref().and_then(Status::from_header_map) {
                Some(status) if status.code() != Grpc::Ok => this.close(&status),
                Some(_) => {
                    this.meter.end(Grpc::Ok);
                    frame
                }
                None => frame,
            })),
            other => other,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.over || self.inner.is_end_stream()
    }

    /// Nothing is promised: a body that says how long its data is gets a `content-length`, and gRPC-Web's closing frame, which comes
    /// behind the data, would be cut off by it.
    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sane_request_ids_are_taken_over() {
        let ambient = Ambient::system();
        let of = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, text.parse().unwrap());
            RequestId::of(&headers, &ambient)
        };
        assert_eq!(of("job-7:a_b.c").as_str(), "job-7:a_b.c");
        for bad in ["", "a b", "x\"y", &"a".repeat(129)] {
            assert_eq!(of(bad).as_str().len(), 26, "{bad:?} was taken over");
        }
    }

    #[test]
    fn grpc_timeouts_are_read() {
        let of =
            |text: &str| grpc_timeout(&HeaderMap::from_iter([(HeaderName::from_static("grpc-timeout"), text.parse().unwrap())]));
        assert_eq!(of("20m"), Some(Duration::from_millis(20)));
        assert_eq!(of("2S"), Some(Duration::from_secs(2)));
        for bad in ["", "S", "5", "123456789S", "-1S"] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }
}

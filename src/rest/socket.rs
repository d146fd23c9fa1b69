//! Server streams over a WebSocket: each text frame is one line of the stream's newline-delimited JSON.
//!
//! What goes wrong is told inside: browsers do not show the answer to a handshake that is refused. An error is the last frame,
//! `{"error":…}`, and the socket is closed with 1008 (the credential), 1001 (the program ends) or 1011 and the error's code as the
//! reason. A stream that ends by itself closes with 1000.
//!
//! # Limits
//! | what | bound |
//! |---|---|
//! | what a client may send | frames of 4 KiB, which are ignored |
//! | silence | a ping after 20 s; without a sign of life for another 60 s the socket is cut |
//! | a client that takes nothing | cut after 60 s; it comes back with `after` |

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use sha1::{Digest as _, Sha1};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_websockets::proto::CloseCode;
use tokio_websockets::{Limits, Message, ServerBuilder, WebSocketStream};
use tonic::body::Body;
use tonic::{Code as Grpc, Status, Streaming};
use tracing::Instrument as _;

use crate::api::layers::RequestId;
use crate::api::status::by_grpc;
use crate::rest::plan::Plans;
use crate::rest::response::{Failure, malformed};
use crate::rest::writer::write;

/// After how much silence a ping asks whether the client is there.
const PING: Duration = Duration::from_secs(20);
/// How long a client may take to show a sign of life, or to take a frame.
const DEAD: Duration = Duration::from_secs(60);
/// The longest frame that a client may send.
const LONGEST: usize = 4 << 10;
/// What is appended to a client's key, by RFC 6455.
const MAGIC: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A connection's place among those of the port. Whoever goes on with the connection beyond its request keeps this as long.
#[derive(Clone)]
pub(super) struct Seat {
    pub(super) tasks: TaskTracker,
    /// Cancelled when the port is gone.
    pub(super) gone: CancellationToken,
    pub(super) _counted: Arc<dyn Send + Sync>,
}

/// A client's wish to go on by WebSocket.
pub(super) struct Handshake {
    accept: HeaderValue,
    upgrade: OnUpgrade,
    seat: Option<Seat>,
}

type Socket = WebSocketStream<TokioIo<Upgraded>>;

impl Handshake {
    /// The wish of a request, if it has one.
    pub(super) fn of<T>(request: &mut Request<T>) -> Result<Option<Self>, Failure> {
        let headers = request.headers();
        if !has_word(headers, header::UPGRADE, "websocket") || !has_word(headers, header::CONNECTION, "upgrade") {
            return Ok(None);
        }
        let key = headers.get(header::SEC_WEBSOCKET_KEY).map(|key| key.as_bytes().to_vec()).unwrap_or_default();
        if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") || key.is_empty() {
            return Err(Failure::refused(StatusCode::BAD_REQUEST, "only WebSocket version 13 is spoken, with a key"));
        }
        let digest = Sha1::new().chain_update(key).chain_update(MAGIC).finalize();
        let accept = HeaderValue::try_from(BASE64_STANDARD.encode(digest)).map_err(|_| malformed())?;
        let seat = request.extensions().get::<Seat>().cloned();
        Ok(Some(Self { accept, upgrade: hyper::upgrade::on(request), seat }))
    }

    /// Accepts the wish; what `opened` gives, or why it gives nothing, is told inside.
    pub(super) fn serve(
        self,
        plans: Arc<Plans>,
        message: usize,
        id: RequestId,
        opened: Result<Streaming<Bytes>, Failure>,
    ) -> Response<Body> {
        let Self { accept, upgrade, seat } = self;
        let (tasks, gone) = match &seat {
            Some(seat) => (seat.tasks.clone(), seat.gone.clone()),
            None => (TaskTracker::new(), CancellationToken::new()),
        };
        let work = async move {
            let _seat = seat;
            let Ok(upgraded) = upgrade.await else { return };
            let limits = Limits::default().max_payload_len(Some(LONGEST));
            let (sink, stream) = ServerBuilder::new().limits(limits).serve(TokioIo::new(upgraded)).split();
            let heard = AtomicBool::new(true);
            let talk = Talk { sink, plans, message, id, heard: &heard };
            tokio::select! {
                biased;
                () = gone.cancelled() => {}
                () = listen(stream, &heard) => {}
                () = talk.run(opened) => {}
            }
        };
        tasks.spawn(work.in_current_span());
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
        response
    }
}

/// Hears the client until it goes: notes signs of life, answers pings on the way, ignores the rest.
async fn listen(mut stream: SplitStream<Socket>, heard: &AtomicBool) {
    while let Some(Ok(message)) = stream.next().await {
        heard.store(true, Ordering::Relaxed);
        if message.is_close() {
            return;
        }
    }
}

/// The speaking half.
struct Talk<'a> {
    sink: SplitSink<Socket, Message>,
    plans: Arc<Plans>,
    message: usize,
    id: RequestId,
    heard: &'a AtomicBool,
}

impl Talk<'_> {
    async fn run(mut self, opened: Result<Streaming<Bytes>, Failure>) {
        let ended = match opened {
            Ok(items) => self.items(items).await,
            Err(failure) => Some(failure),
        };
        let (code, reason) = match &ended {
            None => (CloseCode::NORMAL_CLOSURE, ""),
            Some(failure) => (close_code(&failure.status), by_grpc(failure.status.code()).word),
        };
        if let Some(failure) = ended {
            let told = Message::text(failure.body(&self.id).to_string());
            if !self.send(told).await {
                return;
            }
        }
        self.send(Message::close(Some(code), reason)).await;
    }

    /// Sends items until they end or the client does; gives the error at their end.
    async fn items(&mut self, mut items: Streaming<Bytes>) -> Option<Failure> {
        let mut silent = Duration::ZERO;
        loop {
            let message = match tokio::time::timeout(PING, items.message()).await {
                Ok(Ok(Some(bytes))) => {
                    let mut json = Vec::with_capacity(bytes.len() * 2 + 32);
                    match write(&self.plans, self.message, &bytes, &mut json).and_then(|()| String::from_utf8(json).ok()) {
                        Some(json) => Message::text(json),
                        None => return Some(malformed().into()),
                    }
                }
                Ok(Ok(None)) => return None,
                Ok(Err(status)) => return Some(status.into()),
                Err(_) => Message::ping(&b""[..]),
            };
            silent = match (message.is_ping(), self.heard.swap(false, Ordering::Relaxed)) {
                (true, false) => silent + PING,
                _ => Duration::ZERO,
            };
            if silent > DEAD || !self.send(message).await {
                return None;
            }
        }
    }

    /// False when the client is gone, or takes nothing.
    async fn send(&mut self, message: Message) -> bool {
        matches!(tokio::time::timeout(DEAD, self.sink.send(message)).await, Ok(Ok(())))
    }
}

fn close_code(status: &Status) -> CloseCode {
    match status.code() {
        Grpc::Unauthenticated | Grpc::PermissionDenied | Grpc::InvalidArgument => CloseCode::POLICY_VIOLATION,
        Grpc::Unavailable => CloseCode::GOING_AWAY,
        _ => CloseCode::INTERNAL_SERVER_ERROR,
    }
}

/// Whether a header that is a list of words has this one.
fn has_word(headers: &HeaderMap, name: header::HeaderName, word: &str) -> bool {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|found| found.trim().eq_ignore_ascii_case(word))
}

//! The HTTP door: upgrades `/ws/chat` to a websocket, is the media host, and answers everything else with 404.

use std::convert::Infallible;
use std::io::Write as _;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{CONNECTION, HOST, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use sha1::{Digest as _, Sha1};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_websockets::{Limits, ServerBuilder};
use tracing::debug;

use super::connection;
use super::media::{self, Body};
use crate::sandbox::Inner;

/// Where clients connect.
pub(in crate::sandbox) const PATH: &str = "/ws/chat";

/// No websocket message is larger; whole frames are smaller still.
const MAX_MESSAGE: usize = 2 * 1024 * 1024;

/// What one connection too many is told.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

/// Accepts connections until `shutdown`, then closes all and returns when they are gone.
pub(in crate::sandbox) async fn serve(inner: Arc<Inner>, listener: TcpListener, shutdown: CancellationToken) {
    let tasks = TaskTracker::new();
    let seats = Arc::new(Semaphore::new(inner.config.max_connections));
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => match Arc::clone(&seats).try_acquire_owned() {
                    Ok(seat) => drop(tasks.spawn(handle(Arc::clone(&inner), stream, tasks.clone(), shutdown.clone(), seat))),
                    // A fresh socket takes this much at once; then it is closed.
                    Err(_) => drop(stream.into_std().and_then(|mut stream| stream.write(FULL))),
                },
                Err(error) => {
                    // Out of file descriptors, mostly: give the others a moment to end.
                    debug!(%error, "accept failed");
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                }
            }
        }
    }
    tasks.close();
    tasks.wait().await;
}

async fn handle(
    inner: Arc<Inner>,
    stream: TcpStream,
    tasks: TaskTracker,
    shutdown: CancellationToken,
    seat: OwnedSemaphorePermit,
) {
    // Small frames go out at once; without this each answer waits for the peer's delayed acknowledgement.
    let _ = stream.set_nodelay(true);
    let deadline = inner.config.handshake_deadline;
    let ended = shutdown.clone();
    let seat = Arc::new(seat);
    let service = service_fn(move |request: Request<Incoming>| {
        let (inner, tasks, shutdown, seat) = (Arc::clone(&inner), tasks.clone(), shutdown.clone(), Arc::clone(&seat));
        async move {
            let answer = if media::is_media(request.uri().path()) {
                // A task of its own, which sees the end of an upload that its connection does not survive.
                let answer = tasks.spawn(media::answer(inner, request)).await;
                answer.unwrap_or_else(|_| plain(StatusCode::INTERNAL_SERVER_ERROR, ""))
            } else {
                upgrade(request, &inner, &tasks, &shutdown, &seat)
            };
            Ok::<_, Infallible>(answer)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(deadline)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::select! {
        biased;
        () = ended.cancelled() => {}
        result = connection => if let Err(error) = result {
            debug!(%error, "http connection ended");
        }
    }
}

fn upgrade(
    mut request: Request<Incoming>,
    inner: &Arc<Inner>,
    tasks: &TaskTracker,
    shutdown: &CancellationToken,
    seat: &Arc<OwnedSemaphorePermit>,
) -> Response<Body> {
    if request.uri().path() != PATH {
        return plain(StatusCode::NOT_FOUND, "not found\n");
    }
    let wants = request.headers().get(UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"));
    let Some(key) = request.headers().get(SEC_WEBSOCKET_KEY).filter(|_| wants) else {
        return plain(StatusCode::UPGRADE_REQUIRED, "this path speaks websocket\n");
    };
    let mut digest = Sha1::new();
    digest.update(key.as_bytes());
    digest.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let accept = STANDARD.encode(digest.finalize());
    // What the client calls us is what it will reach the media host by.
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default().to_owned();
    let pending = hyper::upgrade::on(&mut request);
    let (inner, shutdown, seat) = (Arc::clone(inner), shutdown.clone(), Arc::clone(seat));
    tasks.spawn(async move {
        let upgraded = tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            upgraded = pending => upgraded,
        };
        match upgraded {
            Ok(upgraded) => {
                let limits = Limits::default().max_payload_len(Some(MAX_MESSAGE));
                let socket = ServerBuilder::new().limits(limits).serve(TokioIo::new(upgraded));
                connection::run(inner, socket, host, shutdown).await;
            }
            Err(error) => debug!(%error, "upgrade failed"),
        }
        drop(seat);
    });
    let answer = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, "websocket")
        .header(SEC_WEBSOCKET_ACCEPT, accept)
        .body(media::whole(""));
    answer.unwrap_or_else(|_| plain(StatusCode::INTERNAL_SERVER_ERROR, ""))
}

fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(media::whole(text));
    *response.status_mut() = status;
    response
}

//! The media host over HTTP: `POST /mms/{kind}/{token}` puts a file up, `GET` of its direct path brings it back, in ranges too.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderValue, RANGE};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

use crate::sandbox::Inner;
use crate::sandbox::PLACEHOLDER;
use crate::sandbox::server::account::Place;
use crate::sandbox::server::faults::Spoilt;
use crate::sandbox::server::media::{self, Found, ROOT, Record};

/// The body of every answer here.
pub(super) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// The largest file that is taken.
const MAX_UPLOAD: u64 = 128 * 1024 * 1024;

/// How long an upload may bring nothing.
const UPLOAD_SILENCE: Duration = Duration::from_secs(30);

/// Bytes that are sent at once.
const PIECE: usize = 64 * 1024;

/// Whether a path belongs to the media host.
pub(super) fn is_media(path: &str) -> bool {
    path.starts_with(ROOT) || upload_of(path).is_some()
}

/// The kind and the token in the path of an upload.
fn upload_of(path: &str) -> Option<(&str, &str)> {
    let (root, rest) = path.strip_prefix('/')?.split_once('/')?;
    let (kind, token) = rest.split_once('/')?;
    (["mms", "newsletter", "product"].contains(&root) && !token.is_empty()).then_some((kind, token))
}

/// Answers a question to the media host.
pub(super) async fn answer(inner: Arc<Inner>, request: Request<Incoming>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    match (&parts.method, upload_of(&path)) {
        (&Method::POST, Some((kind, token))) => upload(&inner, &parts, kind, token, body).await,
        (&Method::GET, None) => download(&inner, &parts, &path).await,
        _ => refusal(StatusCode::METHOD_NOT_ALLOWED, "files are posted to /mms and got by their direct path"),
    }
}

// -- up

async fn upload(inner: &Arc<Inner>, parts: &Parts, kind: &str, token: &str, body: Incoming) -> Response<Body> {
    // Clients write the hash in either alphabet, with and without its end marks.
    let token = percent_decode_str(token).decode_utf8_lossy().trim_end_matches('=').replace('+', "-").replace('/', "_");
    let kind = kind.trim_start_matches("newsletter-").to_owned();
    if !kind.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-') {
        return refusal(StatusCode::NOT_FOUND, "no such kind of media");
    }
    let auth = query(parts, "auth").unwrap_or_default();
    let now = inner.ambient.now();
    let Some(place) = inner.world().media.granted(&auth, now) else {
        return refusal(StatusCode::UNAUTHORIZED, "the right to upload is none, or has expired");
    };
    if let Some(Spoilt::Refused(code)) = inner.act(|world| world.fault_at_media(&place, &format!("media/upload/{kind}"))) {
        return refusal(StatusCode::from_u16(code).unwrap_or(StatusCode::BAD_GATEWAY), "refused by a fault");
    }
    if query(parts, "resume").is_some() {
        return progress(inner, parts, &token);
    }
    let length = parts.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    let Some(length) = length else { return refusal(StatusCode::LENGTH_REQUIRED, "an upload says how long it is") };
    let offset = query(parts, "file_offset").and_then(|offset| offset.parse::<u64>().ok()).unwrap_or(0);
    if offset.saturating_add(length) > MAX_UPLOAD {
        return refusal(StatusCode::PAYLOAD_TOO_LARGE, "files have at most 128 MiB here");
    }
    let begun = inner.act(|world| {
        let known = if offset > 0 { world.media.take_partial(&token).unwrap_or_default() } else { Vec::new() };
        world.reserve_media(offset.saturating_add(length)).map(|()| known)
    });
    let Ok(mut bytes) = begun else { return refusal(StatusCode::INSUFFICIENT_STORAGE, &media::Full.to_string()) };
    let answer = match usize::try_from(offset) {
        Ok(offset) if offset <= bytes.len() => {
            bytes.truncate(offset);
            match receive(body, &mut bytes).await {
                Ok(()) => store(inner, parts, &kind, &token, bytes.into()).await,
                Err(Interrupted) => {
                    inner.act(|world| world.media.keep_partial(&token, bytes));
                    refusal(StatusCode::REQUEST_TIMEOUT, "the upload was interrupted")
                }
            }
        }
        _ => refusal(StatusCode::RANGE_NOT_SATISFIABLE, "the file's beginning is not here; send it whole"),
    };
    inner.act(|world| world.media.release(offset.saturating_add(length)));
    answer
}

/// Whether the file is there already, or from where it can be resumed.
fn progress(inner: &Inner, parts: &Parts, token: &str) -> Response<Body> {
    let world = inner.world();
    let answer = match (world.media_path(token), world.media.partial(token)) {
        (Some(path), _) => json!({"resume": "complete", "url": url(parts, &path), "direct_path": path}),
        (None, Some(offset)) => json!({"resume": offset.to_string()}),
        (None, None) => json!({}),
    };
    drop(world);
    text(StatusCode::OK, answer.to_string())
}

/// An upload whose connection broke, or went silent.
struct Interrupted;

/// Takes what comes until the end.
async fn receive(mut body: Incoming, bytes: &mut Vec<u8>) -> Result<(), Interrupted> {
    loop {
        match tokio::time::timeout(UPLOAD_SILENCE, body.frame()).await {
            Ok(None) => return Ok(()),
            Ok(Some(Ok(frame))) => {
                if let Ok(data) = frame.into_data() {
                    bytes.extend_from_slice(&data);
                }
            }
            Ok(Some(Err(_))) | Err(_) => return Err(Interrupted),
        }
    }
}

async fn store(inner: &Arc<Inner>, parts: &Parts, kind: &str, token: &str, bytes: Bytes) -> Response<Body> {
    if media::token(&bytes) != token {
        return refusal(StatusCode::BAD_REQUEST, "the file's hash is not the one in the path");
    }
    let (path, file) = {
        let world = inner.world();
        let path = world.new_media_path(kind);
        let file = world.media.file(&path);
        (path, file)
    };
    if let Some(file) = file {
        let copy = bytes.clone();
        let written = tokio::task::spawn_blocking(move || media::write(&file, &copy)).await;
        if !matches!(written, Ok(Ok(()))) {
            return refusal(StatusCode::INTERNAL_SERVER_ERROR, "the media folder cannot be written");
        }
    }
    inner.act(|world| world.record_media(&path, kind, bytes));
    inner.settled().await;
    text(StatusCode::OK, json!({"url": url(parts, &path), "direct_path": path, "handle": token}).to_string())
}

// -- down

async fn download(inner: &Arc<Inner>, parts: &Parts, path: &str) -> Response<Body> {
    let now = inner.ambient.now();
    let (found, file, spoilt) = inner.act(|world| {
        let asks = query(parts, "auth").and_then(|auth| world.media.granted(&auth, now));
        let asks = asks.unwrap_or_else(|| Place { number: PLACEHOLDER.to_owned(), device: 0 });
        let found = world.find_media(path);
        let kind = path.strip_prefix(ROOT).and_then(|rest| rest.split('/').next()).unwrap_or_default();
        let spoilt = world.fault_at_media(&asks, &format!("media/download/{kind}"));
        (found, world.media.file(path), spoilt)
    });
    let record = match (found, &spoilt) {
        (_, Some(Spoilt::Refused(code))) => {
            return refusal(StatusCode::from_u16(*code).unwrap_or(StatusCode::BAD_GATEWAY), "refused by a fault");
        }
        (Found::Nothing, _) => return refusal(StatusCode::NOT_FOUND, "there is no such file"),
        (Found::Expired, _) => return refusal(StatusCode::GONE, "the file has expired"),
        (Found::File(record), _) => record,
    };
    let size = record.size;
    let Some((first, mut length, partial)) = range(parts.headers.get(RANGE), size) else {
        let mut answer = refusal(StatusCode::RANGE_NOT_SATISFIABLE, "the file is shorter");
        header(&mut answer, CONTENT_RANGE, &format!("bytes */{size}"));
        return answer;
    };
    let last = first + length.saturating_sub(1);
    if matches!(spoilt, Some(Spoilt::Truncated)) {
        length /= 2;
    }
    let Ok(pieces) = pieces(record, file, first, length).await else {
        return refusal(StatusCode::NOT_FOUND, "there is no such file");
    };
    let mut answer = Response::new(StreamBody::new(spoil(pieces, spoilt).map(|piece| piece.map(Frame::data))).boxed_unsync());
    header(&mut answer, CONTENT_TYPE, "application/octet-stream");
    header(&mut answer, ACCEPT_RANGES, "bytes");
    header(&mut answer, CONTENT_LENGTH, &length.to_string());
    if partial {
        *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
        header(&mut answer, CONTENT_RANGE, &format!("bytes {first}-{last}/{size}"));
    }
    answer
}

type Pieces = std::pin::Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

/// A part of a file, piece by piece.
async fn pieces(record: Record, file: Option<std::path::PathBuf>, first: u64, length: u64) -> io::Result<Pieces> {
    if let Some(bytes) = record.bytes {
        let at = |place: u64| usize::try_from(place).unwrap_or(usize::MAX).min(bytes.len());
        let part = bytes.slice(at(first)..at(first + length));
        let pieces = futures_util::stream::unfold(part, |mut rest| async move {
            (!rest.is_empty()).then(|| (Ok(rest.split_to(PIECE.min(rest.len()))), rest))
        });
        return Ok(pieces.boxed());
    }
    let mut file = tokio::fs::File::open(file.ok_or(io::ErrorKind::NotFound)?).await?;
    file.seek(io::SeekFrom::Start(first)).await?;
    let pieces = futures_util::stream::unfold((file.take(length), false), |(mut file, failed)| async move {
        if failed {
            return None;
        }
        let mut piece = bytes::BytesMut::with_capacity(PIECE);
        match file.read_buf(&mut piece).await {
            Ok(0) => None,
            Ok(_) => Some((Ok(piece.freeze()), (file, false))),
            Err(error) => Some((Err(error), (file, true))),
        }
    });
    Ok(pieces.boxed())
}

/// What a fault makes of a file that is on its way.
fn spoil(pieces: Pieces, spoilt: Option<Spoilt>) -> Pieces {
    match spoilt {
        Some(Spoilt::Slow(rate)) => {
            let piece = usize::try_from(rate / 10).unwrap_or(PIECE).max(1);
            let small = pieces.flat_map(move |whole| {
                let parts: Vec<io::Result<Bytes>> = match whole {
                    Ok(mut whole) => {
                        std::iter::from_fn(|| (!whole.is_empty()).then(|| Ok(whole.split_to(piece.min(whole.len()))))).collect()
                    }
                    Err(error) => vec![Err(error)],
                };
                futures_util::stream::iter(parts)
            });
            let pause = |part| async move {
                tokio::time::sleep(Duration::from_millis(100)).await;
                part
            };
            small.then(pause).boxed()
        }
        Some(Spoilt::Corrupted) => pieces.map(|piece| piece.map(|piece| damage(&piece))).boxed(),
        _ => pieces,
    }
}

fn damage(piece: &[u8]) -> Bytes {
    let mut damaged = piece.to_vec();
    if let Some(byte) = damaged.first_mut() {
        *byte ^= 0x55;
    }
    damaged.into()
}

/// First byte, length, and whether it is a part; `None` when the file does not reach so far.
fn range(asked: Option<&HeaderValue>, size: u64) -> Option<(u64, u64, bool)> {
    let asked = asked.and_then(|range| range.to_str().ok()?.strip_prefix("bytes=")?.split_once('-'));
    // A range that makes no sense, and several at once, are as good as none.
    let whole = Some((0, size, false));
    let Some((from, to)) = asked else { return whole };
    let (first, last) = match (from.parse::<u64>(), to.parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last => (first, last.min(size.saturating_sub(1))),
        (Ok(first), Err(_)) if to.is_empty() => (first, size.saturating_sub(1)),
        (Err(_), Ok(count)) if from.is_empty() => (size.saturating_sub(count), size.saturating_sub(1)),
        _ => return whole,
    };
    (first < size).then(|| (first, last - first + 1, true))
}

// -- answers

fn query(parts: &Parts, name: &str) -> Option<String> {
    let pairs = parts.uri.query()?.split('&');
    let value = pairs.filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name)?.1;
    Some(percent_decode_str(value).decode_utf8_lossy().into_owned())
}

/// The URL of a direct path on the host that was asked.
fn url(parts: &Parts, path: &str) -> String {
    let host = parts.headers.get(http::header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    format!("https://{host}{path}")
}

fn refusal(status: StatusCode, why: &str) -> Response<Body> {
    text(status, json!({"error": why}).to_string())
}

fn text(status: StatusCode, text: String) -> Response<Body> {
    let mut answer = Response::new(whole(text));
    *answer.status_mut() = status;
    header(&mut answer, CONTENT_TYPE, "application/json");
    answer
}

/// A body that is there already.
pub(super) fn whole(text: impl Into<Bytes>) -> Body {
    Full::new(text.into()).map_err(|never| match never {}).boxed_unsync()
}

fn header(answer: &mut Response<Body>, name: http::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        answer.headers_mut().insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read() {
        let ask = |text: &'static str| range(Some(&HeaderValue::from_static(text)), 100);
        assert_eq!(range(None, 100), Some((0, 100, false)));
        assert_eq!(ask("bytes=0-9"), Some((0, 10, true)));
        assert_eq!(ask("bytes=90-"), Some((90, 10, true)));
        assert_eq!(ask("bytes=90-1000"), Some((90, 10, true)));
        assert_eq!(ask("bytes=-5"), Some((95, 5, true)));
        assert_eq!(ask("bytes=100-"), None);
        assert_eq!(ask("bytes=9-1"), Some((0, 100, false)));
        assert_eq!(ask("lines=1-2"), Some((0, 100, false)));
    }

    #[test]
    fn only_media_paths_are_media() {
        assert!(is_media("/mms/image/abc") && is_media("/v/t62/image/ABC") && is_media("/newsletter/newsletter-image/x"));
        assert!(!is_media("/mms/image/") && !is_media("/mms") && !is_media("/ws/chat") && !is_media("/"));
    }
}

//! Files over HTTP: bodies that are no JSON, in either direction, in pieces.
//!
//! A client stream whose messages have a `chunk` takes its body as it is: the first message has what path, query and headers give, the
//! following ones have the bytes. Of a form (`multipart/form-data`) the first field is the file, with its own name and type. A server stream of
//! `FilePiece` is answered as the file that it is, with what HTTP has for files. It is always offered for saving and never shown: what
//! strangers send runs in nobody's browser.

use std::time::Duration;

use axum::extract::multipart::{Field, Multipart};
use axum::extract::{DefaultBodyLimit, FromRequest as _};
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use prost::Message as _;
use tokio::sync::mpsc;
use tonic::body::Body;
use tonic::{Status, Streaming};
use tonic_types::StatusExt as _;

use crate::error::{Code, Error};
use crate::proto::gateway::{FileHead, FilePiece};
use crate::rest::response::{Failure, malformed};
use crate::rest::wire::put_bytes;

/// The message that files are read in.
pub(super) const PIECE: &str = "whatsapp.gateway.v1.FilePiece";

/// How long nothing may come of a body.
pub(super) const STALL: Duration = Duration::from_secs(30);
/// How much of a body that was refused is read and dropped, so that its sender gets to see the answer.
pub(super) const DRAIN: usize = 16 << 20;
/// How long that sender may pause meanwhile: whoever pauses for longer may well be waiting for the answer.
pub(super) const LULL: Duration = Duration::from_secs(2);
/// Bytes of a body in one message.
pub(super) const LONGEST: usize = 1 << 20;
/// Messages that wait between the body and its reader.
pub(super) const WAITING: usize = 2;

/// What stands in a file's name as it is, see RFC 5987.
const ATTRIBUTE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'!').remove(b'#').remove(b'$').remove(b'&').remove(b'+').remove(b'-');
const PLAIN: &AsciiSet = &ATTRIBUTE.remove(b'.').remove(b'^').remove(b'_').remove(b'`').remove(b'|').remove(b'~');

/// A file's name and type, as a form gives them.
#[derive(Debug, Default)]
pub(super) struct Named {
    pub(super) filename: Option<String>,
    pub(super) mimetype: Option<String>,
}

/// Whether the body is a form.
pub(super) fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.trim_start().to_ascii_lowercase().starts_with("multipart/form-data")
}

/// A form whose files may be of any size.
pub(super) async fn form(headers: &HeaderMap, body: Body) -> Result<Multipart, Failure> {
    let mut request = Request::new(axum::body::Body::new(body));
    if let Some(kind) = headers.get(header::CONTENT_TYPE) {
        request.headers_mut().insert(header::CONTENT_TYPE, kind.clone());
    }
    DefaultBodyLimit::disable().apply(&mut request);
    Multipart::from_request(request, &()).await.map_err(|_| broken())
}

/// The form's first field, which must be a file: what stands behind it is not read.
pub(super) async fn first_file(form: &mut Multipart) -> Result<(Named, Incoming<'_>), Failure> {
    let field = tokio::time::timeout(STALL, form.next_field()).await.map_err(|_| late())?;
    let field = field.map_err(|_| broken())?.filter(|field| field.file_name().is_some() || field.name() == Some("file"));
    let field = field.ok_or_else(|| Failure::from(Error::field("file", "missing; the form's first field must be the file")))?;
    let named = Named { filename: field.file_name().map(str::to_owned), mimetype: field.content_type().map(str::to_owned) };
    Ok((named, Incoming::Field(Box::new(field))))
}

/// A body on its way in.
pub(super) enum Incoming<'a> {
    /// All of it is the file.
    Body(Body),
    /// A form's field.
    Field(Box<Field<'a>>),
}

impl Incoming<'_> {
    async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        let next = async {
            match self {
                Self::Field(field) => field.chunk().await.map_err(|_| broken()),
                Self::Body(body) => loop {
                    match body.frame().await {
                        None => return Ok(None),
                        Some(Err(_)) => return Err(broken()),
                        Some(Ok(frame)) => {
                            if let Ok(data) = frame.into_data() {
                                return Ok(Some(data));
                            }
                        }
                    }
                },
            }
        };
        tokio::time::timeout(STALL, next).await.map_err(|_| late())?
    }

    /// Reads on for a while, for the sake of a sender that reads answers only behind its body.
    async fn drain(&mut self) {
        let mut left = DRAIN;
        while let Ok(Ok(Some(bytes))) = tokio::time::timeout(LULL, self.next()).await {
            match left.checked_sub(bytes.len()) {
                Some(less) => left = less,
                None => return,
            }
        }
    }
}

/// Calls `call` with the messages of an upload: `first`, then `body` as field `chunk` of further ones. A body that breaks off ends the call.
pub(super) async fn upload<F>(
    first: Bytes,
    chunk: u32,
    mut body: Incoming<'_>,
    call: impl FnOnce(mpsc::Receiver<Bytes>) -> F,
) -> Result<Bytes, Failure>
where
    F: Future<Output = Result<Bytes, Status>>,
{
    let (messages, waiting) = mpsc::channel(WAITING);
    let mut answer = std::pin::pin!(call(waiting));
    let pump = async {
        let _ = messages.send(first).await;
        while let Some(mut bytes) = body.next().await.map_err(|failure| (failure, messages.clone()))? {
            while !bytes.is_empty() {
                let piece = bytes.split_to(bytes.len().min(LONGEST));
                let mut message = Vec::with_capacity(piece.len() + 8);
                put_bytes(&mut message, chunk, &piece);
                // Nobody takes them any more: the call has been answered.
                if messages.send(message.into()).await.is_err() {
                    return Ok(());
                }
            }
        }
        drop(messages);
        Ok(())
    };
    let early = {
        let mut pump = std::pin::pin!(pump);
        tokio::select! {
            biased;
            answer = &mut answer => Some(answer),
            pumped = &mut pump => match pumped {
                Ok(()) => None,
                // With the channel still open, so that what has come does not look like everything. The call ends with this function.
                Err::<(), (Failure, mpsc::Sender<Bytes>)>((failure, _open)) => return Err(failure),
            },
        }
    };
    match early {
        None => Ok(answer.await?),
        Some(Ok(reply)) => Ok(reply),
        Some(Err(status)) => {
            body.drain().await;
            Err(status.into())
        }
    }
}

/// Answers with the file that `items` are.
pub(super) async fn download(headers: &HeaderMap, mut items: Streaming<Bytes>) -> Result<Response<Body>, Failure> {
    let first = items.message().await.map_err(failed)?.ok_or_else(malformed)?;
    let head = FilePiece::decode(first).ok().and_then(|piece| piece.head).ok_or_else(malformed)?;
    let tag = format!("\"{}\"", head.tag);
    let mut response = Response::new(Body::empty());
    let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let known = known.flat_map(|value| value.split(',')).map(|one| one.trim().trim_start_matches("W/"));
    if known.into_iter().any(|one| one == tag || one == "*") {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    } else {
        *response.status_mut() = if head.partial { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
        describe(response.headers_mut(), &head);
        let pieces = stream::unfold(Some(items), async |items| {
            let mut items = items?;
            match items.message().await {
                Ok(None) => None,
                Ok(Some(message)) => match FilePiece::decode(message) {
                    Ok(piece) => Some((Ok(Frame::data(Bytes::from(piece.chunk))), Some(items))),
                    Err(cause) => Some((Err(Status::internal(cause.to_string())), None)),
                },
                // The connection breaks, so that half a file is not taken for one.
                Err(status) => Some((Err(status), None)),
            }
        });
        *response.body_mut() = Body::new(StreamBody::new(pieces));
    }
    let all = response.headers_mut();
    put(all, header::ETAG, &tag);
    put(all, header::ACCEPT_RANGES, "bytes");
    put(all, header::CACHE_CONTROL, "private, no-cache");
    put(all, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    put(all, header::CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox");
    put(all, header::REFERRER_POLICY, "no-referrer");
    Ok(response)
}

fn describe(all: &mut HeaderMap, head: &FileHead) {
    put(all, header::CONTENT_TYPE, if head.mimetype.is_empty() { "application/octet-stream" } else { &head.mimetype });
    put(all, header::CONTENT_LENGTH, &head.length.to_string());
    put(all, header::CONTENT_DISPOSITION, &disposition(head.filename.as_deref()));
    if head.partial {
        put(all, header::CONTENT_RANGE, &format!("bytes {}-{}/{}", head.offset, head.offset + head.length - 1, head.size));
    }
}

fn put(all: &mut HeaderMap, name: header::HeaderName, value: &str) {
    // A value that cannot stand in a header says nothing worth an error.
    if let Ok(value) = HeaderValue::from_str(value) {
        all.insert(name, value);
    }
}

/// To be saved, under this name.
fn disposition(filename: Option<&str>) -> String {
    let Some(name) = filename else { return "attachment".to_owned() };
    let plain = |c: char| if c.is_ascii_alphanumeric() || " .-_()".contains(c) { c } else { '_' };
    let simple: String = name.chars().map(plain).collect();
    format!("attachment; filename=\"{simple}\"; filename*=UTF-8''{}", utf8_percent_encode(name, PLAIN))
}

/// A part beyond the end has a status of its own in HTTP.
pub(super) fn failed(status: Status) -> Failure {
    let beyond = status.get_details_error_info().is_some_and(|info| info.reason == "range_not_satisfiable");
    Failure { http: beyond.then_some(StatusCode::RANGE_NOT_SATISFIABLE), ..status.into() }
}

pub(super) fn broken() -> Failure {
    Error::new(Code::Validation, "the body ended early or is no form").into()
}

pub(super) fn late() -> Failure {
    let late = Error::new(Code::Timeout, "nothing came of the body for 30 seconds");
    Failure { http: Some(StatusCode::REQUEST_TIMEOUT), ..late.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_safe_in_a_header() {
        for (name, expected) in [
            (None, "attachment"),
            (Some("a.pdf"), "attachment; filename=\"a.pdf\"; filename*=UTF-8''a.pdf"),
            (Some("a\"; x=\"b.html"), "attachment; filename=\"a__ x__b.html\"; filename*=UTF-8''a%22%3B%20x%3D%22b.html"),
            (Some("März\r\n"), "attachment; filename=\"M_rz__\"; filename*=UTF-8''M%C3%A4rz%0D%0A"),
        ] {
            let value = disposition(name);
            assert_eq!(value, expected);
            assert!(HeaderValue::from_str(&value).is_ok());
        }
    }
}

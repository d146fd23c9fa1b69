//! Server streams over HTTP: Server-Sent Events and newline-delimited JSON.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::StreamBody;
use tonic::body::Body;
use tonic::{Status, Streaming};

use crate::api::layers::RequestId;
use crate::rest::plan::{Kind, Plans};
use crate::rest::qr::preferences;
use crate::rest::response::{Failure, content, malformed};
use crate::rest::wire::{Raw, Reader};
use crate::rest::writer::{value, write};

/// After how much silence a comment says that the stream is alive. Proxies tend to cut silent streams after 30 or 60 s.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How a stream is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Events,
    Lines,
}

impl Format {
    /// The format that the caller asks for by name.
    pub(super) fn asked_for(headers: &HeaderMap) -> Option<Self> {
        preferences(headers).iter().find_map(|kind| match kind.as_str() {
            "text/event-stream" => Some(Self::Events),
            "application/x-ndjson" => Some(Self::Lines),
            _ => None,
        })
    }
}

/// A stream's items, to be written one by one.
struct Writer {
    plans: Arc<Plans>,
    message: usize,
    format: Format,
    id: RequestId,
    items: Option<Streaming<Bytes>>,
}

impl Writer {
    /// The next piece of the body; `None` at the end.
    async fn next(&mut self) -> Option<Vec<u8>> {
        let items = self.items.as_mut()?;
        let item = match self.format {
            Format::Lines => items.message().await,
            Format::Events => match tokio::time::timeout(KEEP_ALIVE, items.message()).await {
                Ok(item) => item,
                Err(_) => return Some(b": keep-alive\n\n".to_vec()),
            },
        };
        let written = match item {
            Ok(None) => return None,
            Ok(Some(bytes)) => self.frame(&bytes).ok_or_else(malformed),
            Err(status) => Err(status),
        };
        Some(written.unwrap_or_else(|status| {
            self.items = None;
            self.last(status)
        }))
    }

    fn last(&self, status: Status) -> Vec<u8> {
        let error = Failure::from(status).body(&self.id);
        match self.format {
            Format::Events => format!("event: error\ndata: {error}\n\n").into_bytes(),
            Format::Lines => format!("{error}\n").into_bytes(),
        }
    }

    fn frame(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::with_capacity(bytes.len() * 2 + 32);
        match self.format {
            Format::Lines => {
                write(&self.plans, self.message, bytes, &mut out)?;
                out.push(b'\n');
            }
            Format::Events => self.event(bytes, &mut out)?,
        }
        Some(out)
    }

    /// One Server-Sent Event. A message that is exactly one oneof stands for its member: the member with a `(stream_id)` field is
    /// a plain event with that `id`, the others are named.
    fn event(&self, bytes: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let plan = &self.plans.messages[self.message];
        let mut kind = Kind::Message(self.message);
        let mut raw = Raw::Bytes(bytes);
        let mut name = None;
        if plan.is_one_oneof() {
            let mut reader = Reader::new(bytes);
            while !reader.is_empty() {
                let (number, found) = reader.field()?;
                let Some(at) = plan.by_number(number) else { continue };
                (kind, raw, name) = (plan.fields[at].kind, found, Some(plan.fields[at].name.as_str()));
            }
        }
        match (self.stream_id(kind, raw), name) {
            (Some(id), _) => {
                out.extend_from_slice(b"id: ");
                out.extend_from_slice(&id);
                out.push(b'\n');
            }
            (None, Some(name)) => {
                out.extend_from_slice(b"event: ");
                out.extend_from_slice(name.as_bytes());
                out.push(b'\n');
            }
            (None, None) => {}
        }
        out.extend_from_slice(b"data: ");
        value(&self.plans, kind, raw, out)?;
        out.extend_from_slice(b"\n\n");
        Some(())
    }

    /// The value of the message's own `(stream_id)` field.
    fn stream_id(&self, kind: Kind, raw: Raw<'_>) -> Option<Vec<u8>> {
        let (Kind::Message(id), Raw::Bytes(bytes)) = (kind, raw) else { return None };
        let field = self.plans.messages[id].fields.iter().find(|f| f.stream_id)?;
        let (mut reader, mut found) = (Reader::new(bytes), Raw::Number(0));
        while !reader.is_empty() {
            match reader.field()? {
                (number, raw) if number == field.number => found = raw,
                _ => {}
            }
        }
        let mut out = Vec::new();
        value(&self.plans, field.kind, found, &mut out)?;
        // A text's quotes are not part of the id.
        Some(out.into_iter().filter(|c| *c != b'"').collect())
    }
}

/// The answer that writes `items` as they come. It owns them: when the caller goes away, so do they.
pub(super) fn respond(
    plans: Arc<Plans>,
    message: usize,
    format: Format,
    id: RequestId,
    items: Streaming<Bytes>,
) -> Response<Body> {
    let writer = Writer { plans, message, format, id, items: Some(items) };
    let pieces = stream::unfold(writer, |mut writer| async move {
        let piece = writer.next().await?;
        Some((Ok::<_, Infallible>(Frame::data(Bytes::from(piece))), writer))
    });
    let kind = match format {
        Format::Events => "text/event-stream",
        Format::Lines => "application/x-ndjson",
    };
    let mut response = content(StatusCode::OK, kind, Bytes::new());
    *response.body_mut() = Body::new(StreamBody::new(pieces));
    // Proxies that buffer would hold events back.
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-store"));
    response
}

//! Replies: protobuf bytes → the contract's JSON, and statuses → the contract's errors. The rules are in the room's documentation.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body::Body as _;
use http_body_util::Full;
use serde_json::{Map, Value, json};
use tonic::body::Body;
use tonic::{Code as Grpc, Status};
use tonic_types::StatusExt as _;

use crate::api::layers::RequestId;
use crate::api::status::{by_grpc, to_status};
use crate::error::{Code, Error};
use crate::rest::plan::{Count, Field, Kind, Plans, Unset};
use crate::rest::wire::{Raw, Reader, Shape};

/// Facts in `details` that are numbers.
const NUMBERS: [&str; 4] = ["until", "oldest", "limit", "retryAfterSeconds"];

/// An error on its way to an HTTP caller. The status is the table's, unless HTTP has a better one (405, 413, 415).
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) status: Status,
    pub(super) http: Option<StatusCode>,
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self { status, http: None }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        to_status(error).into()
    }
}

impl Failure {
    /// A refused request with its own HTTP status.
    pub(super) fn refused(http: StatusCode, message: impl Into<String>) -> Self {
        Self { status: to_status(Error::new(Code::Validation, message)), http: Some(http) }
    }

    /// `{"error":{"code","message","details"}}`, from nothing but the gRPC status.
    pub(super) fn body(&self, id: &RequestId) -> Value {
        let row = by_grpc(self.status.code());
        let found = self.status.get_error_details();
        let mut details = Map::new();
        if let Some(info) = found.error_info() {
            for (key, text) in &info.metadata {
                let number = NUMBERS.contains(&key.as_str()).then(|| text.parse::<i64>().ok()).flatten();
                details.insert(key.clone(), number.map_or_else(|| json!(text), |n| json!(n)));
            }
            if info.reason != row.word {
                details.insert("reason".into(), json!(info.reason));
            }
        }
        if let Some(request) = found.bad_request() {
            let fields = request.field_violations.iter().map(|v| json!({"field": v.field, "message": v.description}));
            details.insert("fields".into(), fields.collect());
        }
        if let Some(seconds) = retry_after(&self.status) {
            details.insert("retryAfterSeconds".into(), json!(seconds));
        }
        details.insert("requestId".into(), json!(id.as_str()));
        json!({"error": {"code": row.word, "message": self.status.message(), "details": details}})
    }

    pub(super) fn response(&self, id: &RequestId) -> Response<Body> {
        let status = self.http.unwrap_or(by_grpc(self.status.code()).http);
        let mut response = content(status, "application/json", self.body(id).to_string());
        if self.status.code() == Grpc::Unauthenticated {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = retry_after(&self.status) {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

/// Whole seconds, rounded up.
fn retry_after(status: &Status) -> Option<u64> {
    let wait = status.get_details_retry_info()?.retry_delay?;
    Some(wait.as_secs() + u64::from(wait.subsec_nanos() > 0))
}

/// An answer with a body, which nobody keeps.
pub(super) fn content(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::new(Full::new(body.into())));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The answer to HEAD: as to GET, without the body.
pub(super) fn without_body(response: Response<Body>) -> Response<Body> {
    let (mut parts, body) = response.into_parts();
    if let Some(length) = body.size_hint().exact() {
        parts.headers.insert(header::CONTENT_LENGTH, length.into());
    }
    Response::from_parts(parts, Body::empty())
}

/// A reply of ours that is not what its descriptor says.
pub(super) fn malformed() -> Status {
    to_status(Error::internal(anyhow::anyhow!("a reply does not fit its descriptor")))
}

/// Writes the message `bytes` as JSON. `None` for bytes that are no such message.
pub(super) fn write(plans: &Plans, message: usize, bytes: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let plan = &plans.messages[message];
    // Where each field stands: the last value of a single one, the bytes from the first occurrence of a list.
    let mut slots: Vec<Option<(&[u8], Raw<'_>)>> = vec![None; plan.fields.len()];
    let mut reader = Reader::new(bytes);
    while !reader.is_empty() {
        let from = reader.rest();
        let (number, value) = reader.field()?;
        let Some(at) = plan.by_number(number) else { continue };
        if plan.fields[at].count == Count::One || slots[at].is_none() {
            slots[at] = Some((from, value));
        }
    }
    let mut comma = Comma::open(out, b'{');
    for (field, slot) in plan.fields.iter().zip(&slots) {
        let nested = field.oneof.and_then(|o| plan.oneofs[o].nested.as_deref());
        match (slot, field.unset) {
            (None, Unset::Nothing) => continue,
            _ => comma.next(out),
        }
        out.extend_from_slice(nested.unwrap_or(&field.key));
        match (slot, field.count) {
            (None, _) if field.unset == Unset::Null => out.extend_from_slice(b"null"),
            (None, Count::List) => out.extend_from_slice(b"[]"),
            (None, Count::Map) => out.extend_from_slice(b"{}"),
            (None, Count::One) => value(plans, field.kind, zero(field.kind), out)?,
            (Some((_, raw)), Count::One) => value(plans, field.kind, *raw, out)?,
            (Some((from, _)), _) => list(plans, field, from, out)?,
        }
    }
    for (at, oneof) in plan.oneofs.iter().enumerate() {
        let set = plan.fields.iter().zip(&slots).any(|(f, s)| f.oneof == Some(at) && s.is_some());
        if let (Some(key), false) = (&oneof.nested, set) {
            comma.next(out);
            out.extend_from_slice(key);
            out.extend_from_slice(b"{}");
        }
    }
    out.push(b'}');
    Some(())
}

/// Writes commas between things.
struct Comma(bool);

impl Comma {
    fn open(out: &mut Vec<u8>, bracket: u8) -> Self {
        out.push(bracket);
        Self(false)
    }

    fn next(&mut self, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.0, true) {
            out.push(b',');
        }
    }
}

fn zero(kind: Kind) -> Raw<'static> {
    if kind.shape() == Shape::Length { Raw::Bytes(&[]) } else { Raw::Number(0) }
}

/// Writes all occurrences of a list or a map, `from` its first one on.
fn list(plans: &Plans, field: &Field, from: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let (open, close) = if field.count == Count::Map { (b'{', b'}') } else { (b'[', b']') };
    let mut comma = Comma::open(out, open);
    let mut reader = Reader::new(from);
    while !reader.is_empty() {
        let (number, raw) = reader.field()?;
        match raw {
            _ if number != field.number => {}
            Raw::Bytes(entry) if field.count == Count::Map => {
                comma.next(out);
                map_entry(plans, field.kind, entry, out)?;
            }
            Raw::Bytes(packed) if field.kind.shape() != Shape::Length => {
                let mut packed = Reader::new(packed);
                while !packed.is_empty() {
                    comma.next(out);
                    value(plans, field.kind, Raw::Number(packed.number(field.kind.shape())?), out)?;
                }
            }
            raw => {
                comma.next(out);
                value(plans, field.kind, raw, out)?;
            }
        }
    }
    out.push(close);
    Some(())
}

fn map_entry(plans: &Plans, entry: Kind, bytes: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let Kind::Message(id) = entry else { return None };
    let [key_field, value_field] = plans.messages[id].fields.as_slice() else { return None };
    let (mut key, mut found) = (zero(key_field.kind), zero(value_field.kind));
    let mut reader = Reader::new(bytes);
    while !reader.is_empty() {
        match reader.field()? {
            (1, raw) => key = raw,
            (2, raw) => found = raw,
            _ => {}
        }
    }
    if key_field.kind == Kind::Text {
        value(plans, key_field.kind, key, out)?;
    } else {
        out.push(b'"');
        value(plans, key_field.kind, key, out)?;
        out.push(b'"');
    }
    out.push(b':');
    value(plans, value_field.kind, found, out)
}

/// Writes one value.
pub(super) fn value(plans: &Plans, kind: Kind, raw: Raw<'_>, out: &mut Vec<u8>) -> Option<()> {
    match (kind, raw) {
        (Kind::Text, Raw::Bytes(bytes)) => text(std::str::from_utf8(bytes).ok()?, out)?,
        (Kind::Bytes, Raw::Bytes(bytes)) => text(&BASE64_STANDARD.encode(bytes), out)?,
        (Kind::Message(id), Raw::Bytes(bytes)) => write(plans, id, bytes, out)?,
        (Kind::Time, Raw::Bytes(bytes)) => integer(millis(bytes)?, out),
        (Kind::Bool, Raw::Number(n)) => out.extend_from_slice(if n == 0 { b"false" } else { b"true" }),
        (Kind::Enum(id), Raw::Number(n)) => text(plans.enums[id].name(low(n).cast_signed()).unwrap_or("unknown"), out)?,
        (Kind::Int64 | Kind::Sfixed64, Raw::Number(n)) => integer(n.cast_signed(), out),
        (Kind::Int32 | Kind::Sfixed32, Raw::Number(n)) => integer(low(n).cast_signed(), out),
        (Kind::Uint32 | Kind::Fixed32, Raw::Number(n)) => integer(low(n), out),
        (Kind::Uint64 | Kind::Fixed64, Raw::Number(n)) => integer(n, out),
        (Kind::Sint32 | Kind::Sint64, Raw::Number(n)) => integer((n >> 1).cast_signed() ^ -(n & 1).cast_signed(), out),
        (Kind::Double, Raw::Number(n)) => serde_json::to_writer(out, &f64::from_bits(n)).ok()?,
        (Kind::Float, Raw::Number(n)) => serde_json::to_writer(out, &f32::from_bits(low(n))).ok()?,
        _ => return None,
    }
    Some(())
}

/// A timestamp's epoch milliseconds.
fn millis(bytes: &[u8]) -> Option<i64> {
    let (mut seconds, mut nanos) = (0, 0);
    let mut reader = Reader::new(bytes);
    while !reader.is_empty() {
        match reader.field()? {
            (1, Raw::Number(n)) => seconds = n.cast_signed(),
            (2, Raw::Number(n)) => nanos = n.cast_signed(),
            _ => {}
        }
    }
    seconds.checked_mul(1000)?.checked_add(nanos / 1_000_000)
}

/// The low half, as protobuf reads a varint into a 32-bit field.
#[expect(clippy::cast_possible_truncation, reason = "that is what the format asks for")]
fn low(n: u64) -> u32 {
    n as u32
}

fn integer(n: impl itoa::Integer, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(n).as_bytes());
}

fn text(text: &str, out: &mut Vec<u8>) -> Option<()> {
    if text.bytes().all(|c| c >= 0x20 && c != b'"' && c != b'\\') {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
        return Some(());
    }
    serde_json::to_writer(out, text).ok()
}

//! Replies: statuses → the contract's errors, and what HTTP answers are made of. The rules are in the room's documentation.

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

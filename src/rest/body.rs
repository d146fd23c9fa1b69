//! Bodies of requests, read whole.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt as _;
use tonic::body::Body;

use crate::api::layers::BODY_LIMIT;
use crate::error::{Code, Error};
use crate::rest::response::Failure;

/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// How much of a body that is too long is read and dropped, so that its sender gets to see the answer.
const DRAIN_LIMIT: usize = 16 << 20;

/// Reads a body whole, within its limits, and checks what it claims to be.
pub(super) async fn read(body: Body, headers: &HeaderMap) -> Result<Bytes, Failure> {
    let Ok(body) = tokio::time::timeout(BODY_TIMEOUT, collect(body)).await else {
        let late = Error::new(Code::Timeout, "the body took too long to arrive");
        return Err(Failure { http: Some(StatusCode::REQUEST_TIMEOUT), ..late.into() });
    };
    let body = body?;
    let kind = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !body.is_empty() && !kind.eq_ignore_ascii_case("application/json") {
        return Err(Failure::refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the body must have `content-type: application/json`"));
    }
    Ok(body)
}

async fn collect(mut body: Body) -> Result<Bytes, Failure> {
    let (mut bytes, mut length) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Error::new(Code::Validation, "the body ended early"))?;
        let Some(data) = frame.data_ref() else { continue };
        length += data.len();
        if length > DRAIN_LIMIT {
            break;
        }
        if length <= BODY_LIMIT {
            bytes.extend_from_slice(data);
        } else {
            bytes = Vec::new();
        }
    }
    if length > BODY_LIMIT {
        return Err(Failure::refused(StatusCode::PAYLOAD_TOO_LARGE, format!("the body is longer than {BODY_LIMIT} bytes")));
    }
    Ok(bytes.into())
}

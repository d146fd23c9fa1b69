//! The one table from our error codes to the wire, and the one place where an [`Error`] becomes a [`Status`].

use std::collections::HashMap;

use http::StatusCode;
use tonic::{Code as Grpc, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt as _};

use crate::error::{Code, Error};

/// The `domain` of every `ErrorInfo`.
pub const DOMAIN: &str = "whatsapp-gateway";

/// One line of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Our code.
    pub code: Code,
    /// Its word on the wire.
    pub word: &'static str,
    /// Its HTTP status.
    pub http: StatusCode,
    /// Its gRPC code.
    pub grpc: Grpc,
}

const fn row(code: Code, word: &'static str, http: StatusCode, grpc: Grpc) -> Row {
    Row { code, word, http, grpc }
}

/// Every code, with what stands for it on the wire. `conflict` is ABORTED instead when it has a reason, see [`to_status`].
pub const TABLE: [Row; 11] = [
    row(Code::Validation, "validation_error", StatusCode::BAD_REQUEST, Grpc::InvalidArgument),
    row(Code::Unauthorized, "unauthorized", StatusCode::UNAUTHORIZED, Grpc::Unauthenticated),
    row(Code::Forbidden, "forbidden", StatusCode::FORBIDDEN, Grpc::PermissionDenied),
    row(Code::NotFound, "not_found", StatusCode::NOT_FOUND, Grpc::NotFound),
    row(Code::Conflict, "conflict", StatusCode::CONFLICT, Grpc::AlreadyExists),
    row(Code::SessionNotConnected, "session_not_connected", StatusCode::CONFLICT, Grpc::FailedPrecondition),
    row(Code::RateLimited, "rate_limited", StatusCode::TOO_MANY_REQUESTS, Grpc::ResourceExhausted),
    row(Code::NotImplemented, "not_implemented", StatusCode::NOT_IMPLEMENTED, Grpc::Unimplemented),
    row(Code::Unavailable, "gateway_unavailable", StatusCode::SERVICE_UNAVAILABLE, Grpc::Unavailable),
    row(Code::Timeout, "timeout", StatusCode::GATEWAY_TIMEOUT, Grpc::DeadlineExceeded),
    row(Code::Internal, "internal", StatusCode::INTERNAL_SERVER_ERROR, Grpc::Internal),
];

const INTERNAL: Row = TABLE[10];

/// The line of one of our codes.
pub fn by_code(code: Code) -> Row {
    TABLE.into_iter().find(|r| r.code == code).unwrap_or(INTERNAL)
}

/// The line of a gRPC code, also of those that only tonic makes.
pub fn by_grpc(code: Grpc) -> Row {
    let code = match code {
        Grpc::Aborted => Grpc::AlreadyExists,
        // tonic's word for a message above the size limit.
        Grpc::OutOfRange => Grpc::InvalidArgument,
        Grpc::Cancelled => Grpc::DeadlineExceeded,
        other => other,
    };
    TABLE.into_iter().find(|r| r.grpc == code).unwrap_or(INTERNAL)
}

/// Turns an error into what leaves the program: the code, the sentence, and as details `ErrorInfo` (always; its reason is the
/// error's own or else the code's word, its metadata are the error's details and `until` in epoch milliseconds), `BadRequest`
/// for fields and `RetryInfo` where waiting helps. What happened inside is logged here, once, and stays here.
///
/// A conflict without a reason, or with one that ends in `exists`, is ALREADY_EXISTS; any other is ABORTED.
#[expect(clippy::needless_pass_by_value, reason = "the end of the error's way; reads well in `map_err`")]
pub fn to_status(error: Error) -> Status {
    let row = by_code(error.code);
    match error.cause() {
        Some(cause) if error.code == Code::Internal => tracing::error!(cause = format!("{cause:#}"), "internal error"),
        Some(cause) => tracing::info!(code = row.word, cause = format!("{cause:#}"), "request failed"),
        None if error.code == Code::Internal => tracing::error!(message = error.message, "internal error"),
        None => {}
    }
    let grpc = match (error.code, error.reason) {
        (Code::Conflict, Some(reason)) if !reason.ends_with("exists") => Grpc::Aborted,
        _ => row.grpc,
    };
    let mut facts: HashMap<String, String> = error.details.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect();
    if let Some(until) = error.until {
        facts.insert("until".to_owned(), until.0.to_string());
    }
    let mut details = ErrorDetails::new();
    details.set_error_info(error.reason.unwrap_or(row.word), DOMAIN, facts);
    if !error.fields.is_empty() {
        details.set_bad_request(error.fields.iter().map(|f| FieldViolation::new(&f.field, &f.message)).collect::<Vec<_>>());
    }
    if let Some(wait) = error.retry_after {
        details.set_retry_info(Some(wait));
    }
    // An internal error says nothing of itself outward, whoever made it.
    let message = if error.code == Code::Internal { "internal error" } else { &error.message };
    Status::with_error_details(grpc, message, details)
}

/// Completes a status on its way out: every error has an `ErrorInfo` and a `RequestInfo`, whoever made it.
pub(super) fn complete(status: &Status, request_id: &str) -> Status {
    let row = by_grpc(status.code());
    let mut details = status.get_error_details();
    if details.error_info().is_none() {
        details.set_error_info(row.word, DOMAIN, HashMap::new());
    }
    details.set_request_info(request_id, "");
    let message = match status.code() {
        Grpc::Unimplemented if status.message().is_empty() => "no such method",
        _ => status.message(),
    };
    Status::with_error_details_and_metadata(status.code(), message, details, status.metadata().clone())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::clock::Time;

    #[test]
    fn every_code_has_one_line_and_comes_back() {
        for row in TABLE {
            assert_eq!(by_code(row.code), row);
            assert_eq!(by_grpc(to_status(Error::new(row.code, "x")).code()), row);
        }
    }

    #[test]
    fn details_travel_and_causes_do_not() {
        let mut error = Error::field("label", "must have at most 128 characters")
            .reason("too_long")
            .detail("limit", 128)
            .retry_after(Duration::from_secs(3))
            .because(anyhow::anyhow!("SELECT secret"));
        error.until = Some(Time(17));
        let status = to_status(error);
        let details = status.get_error_details();
        let info = details.error_info().unwrap();
        assert_eq!((info.reason.as_str(), info.domain.as_str()), ("too_long", DOMAIN));
        assert_eq!((info.metadata["limit"].as_str(), info.metadata["until"].as_str()), ("128", "17"));
        assert_eq!(details.bad_request().unwrap().field_violations[0].field, "label");
        assert_eq!(details.retry_info().unwrap().retry_delay, Some(Duration::from_secs(3)));
        assert!(!format!("{status:?}").contains("secret"));
        let mut internal = Error::internal(anyhow::anyhow!("SELECT secret"));
        internal.message = "/etc/secret".into();
        let internal = to_status(internal);
        assert!(!format!("{internal:?}").contains("secret"));
    }

    #[test]
    fn a_conflict_with_a_reason_is_aborted() {
        assert_eq!(to_status(Error::new(Code::Conflict, "x")).code(), Grpc::AlreadyExists);
        assert_eq!(to_status(Error::new(Code::Conflict, "x").reason("phone_exists")).code(), Grpc::AlreadyExists);
        assert_eq!(to_status(Error::new(Code::Conflict, "x").reason("idempotency_key_reused")).code(), Grpc::Aborted);
    }

    #[test]
    fn foreign_statuses_are_completed() {
        let status = complete(&Status::unimplemented(""), "r1");
        let details = status.get_error_details();
        assert_eq!(details.error_info().unwrap().reason, "not_implemented");
        assert_eq!(details.request_info().unwrap().request_id, "r1");
    }
}

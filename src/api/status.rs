//! The one place where an error becomes a gRPC status.

use crate::error::{Code, Error};

/// Turns an error of the rooms below into what a gRPC caller sees.
#[expect(clippy::needless_pass_by_value, reason = "used as a function in map_err")]
pub fn to_status(error: Error) -> tonic::Status {
    let code = match error.code {
        Code::Validation => tonic::Code::InvalidArgument,
        Code::Unauthorized => tonic::Code::Unauthenticated,
        Code::Forbidden => tonic::Code::PermissionDenied,
        Code::NotFound => tonic::Code::NotFound,
        Code::Conflict => tonic::Code::AlreadyExists,
        Code::SessionNotConnected => tonic::Code::FailedPrecondition,
        Code::RateLimited => tonic::Code::ResourceExhausted,
        Code::NotImplemented => tonic::Code::Unimplemented,
        Code::Unavailable => tonic::Code::Unavailable,
        Code::Timeout => tonic::Code::DeadlineExceeded,
        Code::Internal => tonic::Code::Internal,
    };
    tonic::Status::new(code, error.message)
}

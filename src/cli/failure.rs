//! How a command fails: one line on the standard error output and an exit code that says which kind of failure it was.

use std::io::{self, Write};
use std::process::ExitCode;

use tonic::{Code, Status};
use tonic_types::StatusExt;

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub(super) struct Failure {
    exit: u8,
    line: String,
    status: Option<Code>,
}

impl Failure {
    /// The arguments are wrong.
    pub(super) fn usage(line: impl Into<String>) -> Self {
        Self { exit: 2, line: line.into(), status: None }
    }

    /// It was tried and did not come about.
    pub(super) fn other(line: impl Into<String>) -> Self {
        Self { exit: 1, line: line.into(), status: None }
    }

    /// The gateway cannot be reached.
    pub(super) fn unreachable(line: impl Into<String>) -> Self {
        Self { exit: 5, line: line.into(), status: Some(Code::Unavailable) }
    }

    /// Whether trying again soon makes sense: the gateway restarts, or the connection was lost.
    pub(super) fn passes(&self) -> bool {
        matches!(self.status, Some(Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Internal | Code::DeadlineExceeded))
    }

    /// What happened, in one line.
    pub(super) fn line(&self) -> &str {
        &self.line
    }

    /// Tells it and gives the exit code.
    pub(super) fn report(&self) -> ExitCode {
        if !self.line.is_empty() {
            // When not even this can be written, the exit code has to do.
            let _ = writeln!(io::stderr(), "error: {}", self.line);
        }
        ExitCode::from(self.exit)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        // Whoever reads our output has enough of it (`… | head`): nothing to tell.
        let line = if error.kind() == io::ErrorKind::BrokenPipe { String::new() } else { error.to_string() };
        Self::other(line)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::other(format!("{error:#}"))
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        let exit = match status.code() {
            Code::InvalidArgument => 2,
            Code::Unauthenticated | Code::PermissionDenied => 3,
            Code::NotFound => 4,
            Code::Unavailable | Code::DeadlineExceeded => 5,
            _ => 1,
        };
        Self { exit, line: describe(&status), status: Some(status.code()) }
    }
}

/// Reason, message, fields and request id in one line.
fn describe(status: &Status) -> String {
    let details = status.get_error_details();
    let reason = details.error_info().map_or_else(|| code_word(status.code()), |info| info.reason.clone());
    let mut line = format!("{reason}: {}", status.message());
    if let Some(bad) = details.bad_request() {
        for violation in &bad.field_violations {
            // The message mostly names the field already.
            if !status.message().contains(&violation.description) {
                line.push_str(&format!("; {}: {}", violation.field, violation.description));
            }
        }
    }
    if let Some(wait) = details.retry_info().and_then(|info| info.retry_delay) {
        line.push_str(&format!("; try again in {} s", wait.as_secs().max(1)));
    }
    let header = || status.metadata().get("x-request-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
    if let Some(id) = details.request_info().map(|info| info.request_id.clone()).or_else(header) {
        line.push_str(&format!(" (request {id})"));
    }
    line
}

/// The code of a status that came from no gateway, such as a connection that broke.
fn code_word(code: Code) -> String {
    match code {
        Code::Unavailable => "gateway_unavailable".into(),
        Code::DeadlineExceeded => "timeout".into(),
        other => format!("{other:?}").to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tonic_types::ErrorDetails;

    use super::*;

    #[test]
    fn a_refusal_is_one_line_with_everything_in_it() {
        let mut details = ErrorDetails::new();
        details.set_error_info("validation_error", "whatsapp-gateway", HashMap::new());
        details.add_bad_request_violation("label", "must have at most 128 characters");
        details.set_request_info("01J", "");
        let failure = Failure::from(Status::with_error_details(Code::InvalidArgument, "the request is not valid", details));
        assert_eq!(
            failure.line(),
            "validation_error: the request is not valid; label: must have at most 128 characters (request 01J)"
        );
        assert_eq!(failure.exit, 2);
        assert!(!failure.passes());
        assert!(Failure::from(Status::unavailable("connection refused")).passes());
    }
}

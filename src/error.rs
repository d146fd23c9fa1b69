//! The one error type of everything below the edges, and the closed list of codes that leave the program.
//!
//! Rooms below `api/` return [`Error`]; it becomes a gRPC status in `api/status.rs` and JSON in `rest/response.rs`, nowhere else.
//! What happened inside (SQL, paths, addresses) travels as `source`, is logged once at the edge, and never leaves.

use std::fmt;
use std::time::Duration;

use crate::domain::clock::Time;

/// The answer of everything that can fail for a reason a caller may be told.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of failure it is. The wire names, HTTP and gRPC codes are in one table, `api/status.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// The request itself is wrong; repeating it will not help.
    Validation,
    /// No credential, or one that is not valid.
    Unauthorized,
    /// A valid credential that may not do this.
    Forbidden,
    /// It does not exist, or belongs to another organization.
    NotFound,
    /// It exists already, or somebody else changed it meanwhile.
    Conflict,
    /// The session is not connected to WhatsApp now.
    SessionNotConnected,
    /// Too much in too short a time; waiting helps.
    RateLimited,
    /// This build or configuration cannot do it.
    NotImplemented,
    /// The gateway cannot answer now; trying again soon helps.
    Unavailable,
    /// It took too long; whether it happened is not known.
    Timeout,
    /// A fault of ours.
    Internal,
}

/// What is wrong with one field of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldViolation {
    /// Path of the field in JSON names, such as `label` or `options[2].text`.
    pub field: String,
    /// What is wrong and what to do.
    pub message: String,
}

/// A failure that can be told to a caller.
#[derive(Debug)]
pub struct Error {
    /// The kind of failure.
    pub code: Code,
    /// One sentence for people: lower-case, no full stop.
    pub message: String,
    /// A stable word that says more than the code, such as `already_paired`.
    pub reason: Option<&'static str>,
    /// The fields at fault.
    pub fields: Vec<FieldViolation>,
    /// Facts worth carrying to programs, such as `oldest` → `17`.
    pub details: Vec<(&'static str, String)>,
    /// After how long trying again makes sense.
    pub retry_after: Option<Duration>,
    /// Until when the cause lasts.
    pub until: Option<Time>,
    source: Option<anyhow::Error>,
}

impl Error {
    /// Makes an error of `code` that says `message`.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            reason: None,
            fields: Vec::new(),
            details: Vec::new(),
            retry_after: None,
            until: None,
            source: None,
        }
    }

    /// A request whose `field` is wrong.
    pub fn field(field: impl Into<String>, message: impl Into<String>) -> Self {
        let (field, message) = (field.into(), message.into());
        let mut error = Self::new(Code::Validation, format!("{field}: {message}"));
        error.fields.push(FieldViolation { field, message });
        error
    }

    /// `noun` does not exist for this caller.
    pub fn not_found(noun: &str) -> Self {
        Self::new(Code::NotFound, format!("{noun} not found"))
    }

    /// A fault of ours, told outward only as "internal error".
    pub fn internal(source: impl Into<anyhow::Error>) -> Self {
        Self { source: Some(source.into()), ..Self::new(Code::Internal, "internal error") }
    }

    /// Adds the stable word that says more than the code.
    #[must_use]
    pub fn reason(mut self, reason: &'static str) -> Self {
        self.reason = Some(reason);
        self
    }

    /// Adds a fact for programs.
    #[must_use]
    pub fn detail(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        self.details.push((key, value.to_string()));
        self
    }

    /// Says after how long trying again makes sense.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// Keeps what happened inside, for the log.
    #[must_use]
    pub fn because(mut self, source: impl Into<anyhow::Error>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What happened inside: for the log, never for a caller.
    pub fn cause(&self) -> Option<&anyhow::Error> {
        self.source.as_ref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|e| e.as_ref() as _)
    }
}

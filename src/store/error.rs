//! What a driver's error means to a caller. The SQL and the driver's words stay inside, as the cause.

use sqlx::error::ErrorKind;

use crate::error::{Code, Error};

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        let code = match &error {
            sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::WorkerCrashed => Code::Unavailable,
            sqlx::Error::Database(told) if told.kind() == ErrorKind::UniqueViolation => Code::Conflict,
            sqlx::Error::Database(told) if told.code().is_some_and(|code| passes(&code)) => Code::Unavailable,
            _ => Code::Internal,
        };
        match code {
            Code::Unavailable => Self::new(code, "the database does not answer now").because(error),
            Code::Conflict => Self::new(code, "it exists already").because(error),
            _ => Self::internal(error),
        }
    }
}

/// Whether a database's error code names something that passes by itself.
fn passes(code: &str) -> bool {
    match code {
        // PostgreSQL: serialization failure, deadlock, lock timeout, shutting down or starting up.
        "40001" | "40P01" | "55P03" | "57P01" | "57P02" | "57P03" => true,
        // SQLite gives its extended result code; the low byte is the kind: 5 is busy, 6 locked, 10 a read or write error, 13 a full disk.
        _ if code.len() <= 4 => code.parse::<u32>().is_ok_and(|code| matches!(code & 0xff, 5 | 6 | 10 | 13)),
        // PostgreSQL classes: connection exceptions, insufficient resources.
        _ => code.starts_with("08") || code.starts_with("53"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_passes_by_itself_is_worth_another_try() {
        for code in ["5", "6", "517", "13", "40P01", "57P03", "53300", "08006"] {
            assert!(passes(code), "{code}");
        }
        for code in ["1", "19", "2067", "1555", "42601", "23505", "22P02"] {
            assert!(!passes(code), "{code}");
        }
    }

    #[test]
    fn no_sql_in_what_callers_are_told() {
        let error = Error::from(sqlx::Error::Protocol("SELECT secret FROM sessions".into()));
        assert_eq!((error.code, error.message.as_str()), (Code::Internal, "internal error"));
        assert!(error.cause().is_some());
    }
}

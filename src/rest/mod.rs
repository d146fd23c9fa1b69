//! Room `rest`.

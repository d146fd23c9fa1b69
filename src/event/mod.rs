//! Room `event`.

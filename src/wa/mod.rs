//! Room `wa`.

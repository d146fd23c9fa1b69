//! Room `api`.

pub mod status;

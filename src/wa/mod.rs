//! Room `wa`.

pub mod device;

//! Domain values as protobuf messages and back, one file per noun. Nothing is decided here.

pub mod api_key;
pub mod audit;
pub mod backfill;
pub mod contact;
pub mod content;
pub mod event;
pub mod group;
pub mod media;
pub mod message;
pub mod payload;
pub mod session;
pub mod webhook;

use crate::domain::clock::Time;

/// A moment as protobuf has it.
pub fn timestamp(at: Time) -> prost_types::Timestamp {
    let nanos = i32::try_from(at.0.rem_euclid(1000) * 1_000_000).unwrap_or(0);
    prost_types::Timestamp { seconds: at.0.div_euclid(1000), nanos }
}

/// A moment as we have it; what is finer than a millisecond is cut.
pub fn time(at: &prost_types::Timestamp) -> Time {
    Time(at.seconds.saturating_mul(1000).saturating_add(i64::from(at.nanos / 1_000_000)))
}
